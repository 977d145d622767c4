"""FOCUS 1.4 out: CostAndUsage, InvoiceDetail, BillingPeriod of a month as `Books` has it."""

from collections import defaultdict
from datetime import datetime, timedelta, timezone
from fractions import Fraction

from oracle_catalog import allocate, read_toml, to_places, utc_month
from oracle_close import text_of
from oracle_meters import ADDS_UP_OVER_DAYS, aggregate, cut
from oracle_prices import IDLE, LAST, by, rated

COST = (
    "AllocatedMethodDetails,AllocatedMethodId,AllocatedResourceId,AllocatedResourceName,AllocatedTags,AvailabilityZone,BilledCost,BillingAccountId,"
    "BillingAccountName,BillingAccountType,BillingCurrency,BillingPeriodEnd,BillingPeriodStart,CapacityReservationId,CapacityReservationStatus,ChargeCategory,"
    "ChargeClass,ChargeDescription,ChargeFrequency,ChargePeriodEnd,ChargePeriodStart,CommitmentDiscountCategory,CommitmentDiscountId,CommitmentDiscountName,"
    "CommitmentDiscountQuantity,CommitmentDiscountStatus,CommitmentDiscountType,CommitmentDiscountUnit,CommitmentProgramEligibilityDetails,ConsumedQuantity,"
    "ConsumedUnit,ContractApplied,ContractedCost,ContractedUnitPrice,EffectiveCost,HostProviderName,InvoiceDetailId,InvoiceId,InvoiceIssuerName,ListCost,"
    "ListUnitPrice,PricingCategory,PricingCurrency,PricingCurrencyContractedUnitPrice,PricingCurrencyEffectiveCost,PricingCurrencyListUnitPrice,PricingQuantity,"
    "PricingUnit,RegionId,RegionName,ResourceId,ResourceName,ResourceType,ServiceCategory,ServiceName,ServiceProviderName,ServiceSubcategory,SkuId,SkuMeter,"
    "SkuPriceDetails,SkuPriceId,SubAccountId,SubAccountName,SubAccountType,Tags,x_AllocationRule,x_CorrectionEntry,x_RetainedReason,"
    "x_UpstreamBillingAccountId,x_UpstreamInvoiceId"
).split(",")
DETAIL = (
    "BilledCost,BillingAccountId,BillingCurrency,BillingPeriodEnd,BillingPeriodStart,ChargeCategory,InvoiceDetailCreated,InvoiceDetailDescription,"
    "InvoiceDetailGrain,InvoiceDetailId,InvoiceDetailLastUpdated,InvoiceId,InvoiceIssueDate,InvoiceIssueStatus,InvoiceIssuerName,PaymentCurrency,"
    "PaymentCurrencyBilledCost,PaymentCurrencyInvoiceDetailId,PaymentDueDate,PaymentTerms,PurchaseOrderNumber,ReferenceInvoiceId"
).split(",")
PERIOD = "BillingPeriodCreated,BillingPeriodEnd,BillingPeriodLastUpdated,BillingPeriodStart,BillingPeriodStatus,InvoiceIssuerName".split(",")
CREATED = "2025-11-30T00:00:00Z"
UNITS = {"h": "Hours", "s": "Seconds", "min": "Minutes", "d": "Days", "mo": "Months", "1": "Units", "10*3": "1000 Units"}
PLURALS = {"h": "Hours", "mo": "Months", "d": "Days", "s": "Seconds", "min": "Minutes"}


def unit_name(unit):
    """FOCUS's name of a UCUM unit; of one that it has none for, UCUM's own."""
    if unit is None:
        return "Units"
    if unit in UNITS:
        return UNITS[unit]
    amount, _, span = unit.partition(".")
    if amount.endswith("By") and (not span or span in PLURALS):
        return amount[:-1] + (f"-{PLURALS[span]}" if span else "")
    return unit


def unit_is_said(unit):
    """Whether the rules or FOCUS's own names leave no choice."""
    return unit is None or unit in ("h", "1") or len(unit) == 3 and unit.isupper() or unit_name(unit) != unit and unit != "10*3"


def eighteen(value):
    return to_places(value, 18, "half-even")


class Export:
    def __init__(self, books, month):
        self.books, self.month, self.catalog = books, month, books.catalog
        focus = read_toml(books.folder / "focus.toml")
        self.by_provider, self.by_sku = focus.get("provider", {}), focus.get("sku", {})
        self.operator = read_toml(books.folder / "catalog.toml")
        self.start, self.end = utc_month(month)

    def lines(self, biller=None):
        """Statement lines in order, each with the number it has on its statement."""
        count, found = defaultdict(int), []
        for row in self.books.month_lines(self.month):
            if row["biller"] == (biller or self.catalog.operator):
                statement = self.books.statement_id(row, self.month)
                count[statement] += 1
                found.append((row, statement, count[statement]))
        return found

    def sku(self, row):
        return next((sku for sku in self.catalog.skus[row["provider"]] if sku["id"] == row["sku"]), None)

    def service(self, row):
        own = {**self.by_provider.get(row["provider"], {}), **self.by_sku.get(row["sku"], {})}
        name = self.catalog.providers[row["provider"]]["name"]
        return own.get("service", name), own.get("category", "Other"), own.get("subcategory", "Other (Other)")

    def is_priced(self, row):
        # FOCUS has no price below zero.
        if row["_line"] is not None and row["_line"]["amount"] < 0:
            return False
        own = row["currency"] == self.catalog.providers[row["provider"]]["currency"]
        # What is passed on without a cost line has no price to show.
        return row["category"] == "usage" and row["sku"] is not None and own and row["retained_reason"] not in ("disputed", "unmetered") and row["_line"] is not None and not row["grant"]

    def kind(self, row):
        """ChargeCategory and ChargeFrequency."""
        if row["category"] in ("tax", "credit"):
            return row["category"].title(), "One-Time"
        if self.is_priced(row):
            sku = self.sku(row)
            if "meter" in sku:
                return "Usage", "Usage-Based"
            if "of" not in sku:
                return "Purchase", "One-Time" if row["_line"]["price"]["every"] == "once" else "Recurring"
        return "Adjustment", "One-Time"


    def who(self, row):
        if row["kind"] == "retained":
            return self.operator["operator"], self.operator["name"], "Operator"
        customer = self.catalog.customers[row["customer"]]
        kind = customer.get("kind", "customer")
        if isinstance(kind, list):
            first = f"{self.month}-01"
            kind = next(one["is"] for one in kind if one.get("from", "") <= first < one.get("until", "9999"))
        return row["customer"], customer["name"], "Partner" if kind == "partner" else "Customer"

    def common(self, row, statement, number):
        category, frequency = self.kind(row)
        service, service_category, subcategory = self.service(row)
        account, name, account_type = self.who(row)
        sku = self.sku(row)
        operator = self.operator["name"]
        keeps_sku = self.is_priced(row)
        retained = row["kind"] == "retained"
        billed = row["amount"] if retained else row["billed_amount"]
        out = dict.fromkeys(COST) | {
            "BilledCost": billed, "BillingAccountId": account, "BillingAccountName": name, "BillingAccountType": account_type,
            "BillingCurrency": row["currency"] if retained else row["billed_currency"], "BillingPeriodStart": self.start, "BillingPeriodEnd": self.end,
            "ChargeCategory": category, "ChargeFrequency": frequency, "ChargeClass": "Correction" if row["correction"] else None,
            "ChargeDescription": sku["name"] if sku else row["description"], "ChargePeriodStart": row["charge_period_start"],
            "ChargePeriodEnd": row["charge_period_end"], "HostProviderName": self.catalog.providers[row["provider"]]["name"], "InvoiceDetailId": str(number),
            "InvoiceId": statement, "InvoiceIssuerName": operator, "ServiceProviderName": operator, "PricingCurrency": row["currency"],
            "ServiceName": service, "ServiceCategory": service_category, "ServiceSubcategory": subcategory, "SkuId": row["sku"] if keeps_sku else None,
            "SkuMeter": sku.get("meter", sku["name"]) if keeps_sku else None, "x_CorrectionEntry": row["correction"], "x_RetainedReason": row["retained_reason"],
            "x_UpstreamBillingAccountId": row["billing_account"], "x_UpstreamInvoiceId": row["invoice"],
        }
        return out

    def cost(self, out, billed, amount):
        out |= {"BilledCost": billed, "EffectiveCost": billed, "PricingCurrencyEffectiveCost": amount}
        if out["ListCost"] is None:
            out |= {"ListCost": billed, "ContractedCost": billed}
        return out

    def cost_and_usage(self, scope=None, day=False):
        found = []
        for row, statement, number in self.lines(scope[1] if scope and scope[0] == "partner" else None):
            out = self.common(row, statement, number)
            if scope and scope[0] == "customer" and out["BillingAccountId"] != scope[1] or scope and scope[0] == "provider" and row["provider"] != scope[1]:
                continue
            amount = row["amount"]
            if row["correction"] or not self.is_priced(row):
                found.append(self.cost(out, out["BilledCost"], amount))
                continue
            line, sku, price = row["_line"], self.sku(row), row["_line"]["price"]
            unit_price = eighteen(line["amount"] / line["quantity"]) if line["quantity"] else Fraction(0)
            unit = self.by_sku.get(row["sku"], {}).get("unit") or unit_name(line["unit"])
            rule = sku["allocation"]
            out |= {name: unit_price for name in ("ContractedUnitPrice", "ListUnitPrice", "PricingCurrencyContractedUnitPrice", "PricingCurrencyListUnitPrice")}
            out |= {"PricingCategory": "Standard", "PricingUnit": unit, "SkuPriceId": f"{row['sku']}@{price['from']}", "x_AllocationRule": rule}
            charges = [charge for charge in row["_charges"] if self.bears(charge, row)]
            is_usage = out["ChargeCategory"] == "Usage"
            if is_usage and any(charge["subject"] for charge in charges):
                billed = self.shared(out["BilledCost"], charges)
                own = self.shared(amount, charges)
                for index, charge in sorted(enumerate(charges), key=lambda one: text_of(one[1]["subject"]).encode()):
                    part = out | {name: charge["subject"] for name in ("SubAccountId", "SubAccountName")} | {"SubAccountType": "Subject" if charge["subject"] else None}
                    found += self.quantified(part, row, charge, self.quantity(line, charge, rule, row), billed[index], own[index], unit_price, unit, day and "meter" in sku)
            else:
                quantity = sum((self.quantity(line, charge, rule, row) for charge in charges), Fraction(0))
                if rule in ("even", "fixed"):
                    ratio = self.ratio(row)
                    name = self.catalog.customers[row["customer"]]["name"] if row["customer"] else None
                    out |= {"AllocatedMethodId": rule, "AllocatedResourceId": row["customer"], "AllocatedResourceName": name,
                        "AllocatedMethodDetails": f'{{"Elements":[{{"AllocatedRatio":{text_of(ratio)}}}]}}'}
                found += self.quantified(out, row, None, quantity, out["BilledCost"], amount, unit_price, unit, False)
        return found

    def bears(self, charge, row):
        """Whether a charge is of this statement line: its sharer's, or of somebody whom the sharer bills on."""
        who = self.catalog.customers.get(charge["who"], {}).get("bills_to", charge["who"]) if row["biller"] == self.catalog.operator else charge["who"]
        return who == row["_who"]

    def ratio(self, row):
        """The shares of an even or fixed line, to 18 places, by what was shared."""
        weights = {}
        for charge in row["_charges"]:
            weights[charge["who"]] = self.weight(row, charge["who"])
        shares = allocate(Fraction(1), 18, weights)
        return sum(shares[charge["who"]] for charge in row["_charges"] if self.bears(charge, row))

    def weight(self, row, who):
        sku = self.sku(row)
        return Fraction(sku["shares"].get(who, "0")) if sku["allocation"] == "fixed" else Fraction(1)

    def quantity(self, line, charge, rule, row):
        if rule in ("even", "fixed"):
            # The parts of a line add up to it.
            ratios = allocate(Fraction(1), 18, {one["who"]: self.weight(row, one["who"]) for one in row["_charges"]})
            return allocate(eighteen(line["quantity"]), 18, ratios)[charge["who"]]
        if rule in ("by_meter", "standalone") or charge["quantity"] is None:
            if len(row["_charges"]) == 1:
                return eighteen(line["quantity"])
            return eighteen(line["quantity"] * charge["amount"] / line["amount"]) if line["amount"] else Fraction(0)
        return to_places(charge["quantity"], 9, "half-even")

    def shared(self, amount, charges):
        """A statement line over its subjects: by exact charge, or else quantity, or else alike; to 18 places."""
        weights = [abs(charge["amount"]) for charge in charges]
        if not any(weights):
            weights = [charge["quantity"] or Fraction(0) for charge in charges]
        if not any(weights):
            weights = [Fraction(1) for _ in charges]
        order = {(text_of(charge["subject"]), index): index for index, charge in enumerate(charges)}
        shares = allocate(amount, 18, {key: weights[index] for key, index in order.items()})
        return {index: shares[key] for key, index in order.items()}

    def quantified(self, out, row, charge, quantity, billed, amount, unit_price, unit, day):
        parts = [((out["ChargePeriodStart"], out["ChargePeriodEnd"]), quantity, billed, amount)]
        if day and charge and self.is_additive(row):
            parts = self.days(row, charge, quantity, billed, amount) or parts
        for (start, end), quantity, billed, amount in parts:
            cost = eighteen(unit_price * quantity)
            part = out | {"ChargePeriodStart": start, "ChargePeriodEnd": end, "PricingQuantity": quantity, "ListCost": cost, "ContractedCost": cost}
            if out["ChargeCategory"] == "Usage":
                part |= {"ConsumedQuantity": quantity, "ConsumedUnit": unit}
            yield self.cost(part, billed, amount)

    def is_additive(self, row):
        sku = self.sku(row)
        meter = self.catalog.meters[sku["meter"]]
        adds = meter["aggregation"] in ADDS_UP_OVER_DAYS and meter.get("over", "sum") == "sum" and "greater_of" not in meter
        return adds and sku["allocation"] in ("proportional", "direct")

    def days(self, row, charge, quantity, billed, amount):
        """By UTC day of use: exact quantities are the weights."""
        usage, line, sku = self.books.usage, row["_line"], self.sku(row)
        meter, weights = self.catalog.meters[sku["meter"]], {}
        period = line["charge_period_start"], line["charge_period_end"]
        for item, customer, _ in rated(usage, row["provider"], row["_of"])[row["sku"]]:
            if (customer or LAST) != charge["who"] or item.event.subject != charge["subject"]:
                continue
            midnights, at = set(), item.start.replace(hour=0, minute=0, second=0, microsecond=0)
            while item.end and at < item.end:
                midnights.add(at)
                at += timedelta(days=1)
            for piece in cut(item, midnights):
                if period[0] <= piece.start < period[1]:
                    weights.setdefault(piece.start.replace(hour=0, minute=0, second=0, microsecond=0), []).append((piece, customer))
        zone = self.catalog.providers[row["provider"]]["time_zone"]
        weights = {day: aggregate(usage, meter, items, period, zone) for day, items in weights.items()}
        weights = {day: weight for day, weight in weights.items() if weight} or weights
        if not any(weights.values()):
            return None
        quantities, costs, own = allocate(quantity, 9, weights), allocate(billed, 18, weights), allocate(amount, 18, weights)
        return [((max(day, period[0]), min(day + timedelta(days=1), period[1])), quantities[day], costs[day], own[day]) for day in sorted(weights)]

    def invoice_detail(self):
        found = []
        closed = self.month in self.books.closes
        for row, statement, number in self.lines():
            out = self.common(row, statement, number)
            if not out["BilledCost"]:
                continue
            grain = {"ServiceName": out["ServiceName"], "x_ChargePeriodStart": text_of(row["charge_period_start"]), "x_CorrectionEntry": row["correction"],
                "x_SkuId": row["sku"], "x_UpstreamInvoiceId": row["invoice"]}
            import json

            grain = json.dumps({name: value for name, value in grain.items() if value is not None}, separators=(",", ":"), ensure_ascii=False)
            found.append(dict.fromkeys(DETAIL) | {name: out[name] for name in DETAIL if name in out} | {
                "InvoiceDetailCreated": CREATED, "InvoiceDetailLastUpdated": CREATED, "InvoiceDetailDescription": out["ChargeDescription"], "InvoiceDetailGrain": grain,
                "InvoiceIssueDate": CREATED if closed else None, "InvoiceIssueStatus": "Issued" if closed else "Open", "PaymentCurrency": out["BillingCurrency"],
                "PaymentCurrencyBilledCost": out["BilledCost"], "PaymentCurrencyInvoiceDetailId": str(number), "PaymentTerms": "As agreed",
                "ReferenceInvoiceId": self.books.statement_id(row, row["_of"]),
            })
        return found

    def billing_period(self):
        return [{"BillingPeriodCreated": CREATED, "BillingPeriodLastUpdated": CREATED, "BillingPeriodStart": self.start, "BillingPeriodEnd": self.end,
            "BillingPeriodStatus": "Closed" if self.month in self.books.closes else "Open", "InvoiceIssuerName": self.operator["name"]}]


def cost_and_usage(books, month, scope=None, day=False):
    return Export(books, month).cost_and_usage(scope, day)


def invoice_detail(books, month):
    return Export(books, month).invoice_detail()


def billing_period_rows(books, month):
    return Export(books, month).billing_period()

"""Invoices against the ledger: the rows of a month's comparison, their figures, verdicts and classes."""

import csv
from collections import defaultdict
from datetime import timezone
from fractions import Fraction
from pathlib import Path

from oracle_catalog import FOREVER, midnight, minor_digits, month_after, seconds, to_places, worth
from oracle_invoices import billing_period, config, file_unit, month_of, policies
from oracle_meters import aggregate, cut
from oracle_prices import costs, provider_lines, rated

COMPARISON = (
    "provider period sku sub_account invoice_text charge_period_start charge_period_end currency invoices lines ledger_quantity invoice_quantity"
    " ledger_amount ledger_settled invoice_amount before variance quantity_variance price_variance tolerance verdict class status hint"
).split()
# What a quotient of two quantities may be that says "another unit". NOTES.md
FACTORS = sorted({Fraction(1000) ** a * Fraction(1024) ** b * c for a in range(-4, 5) for b in range(-4, 5) if a * b == 0 for c in (1,)}
    | {Fraction(1024**k, 1000**k) for k in (1, 2, 3, 4)} | {Fraction(1000**k, 1024**k) for k in (1, 2, 3, 4)}
    | {f for n in (60, 3600, 86400, 24, 1440, 8, 100, 720, 730, 744, 7, 168, 10080, 604800) for f in (Fraction(n), Fraction(1, n))})
FACTORS.remove(1)


class Row:
    def __init__(self, **fields):
        self.lines, self.costs, self.earlier = [], [], {}
        self.sku = self.account = self.text = self.use = self.segment = None
        self.__dict__.update(fields)


class Map:
    """invoice_map.csv of a provider."""

    def __init__(self, folder, catalog, provider):
        self.entries, self.catalog, self.provider = [], catalog, provider
        file = Path(folder) / "providers" / provider["id"] / "invoice_map.csv"
        if file.exists():
            zone = provider["time_zone"]
            with file.open(newline="") as rows:
                for row in csv.DictReader(rows):
                    until = midnight(row["until"], zone) if row["until"] else FOREVER
                    self.entries.append((row["kind"], row["text"], row["id"], midnight(row["from"], zone), until))
        self.skus = {sku["id"]: sku for sku in catalog.skus[provider["id"]]}

    def find(self, kind, text, time):
        if text is None:
            return None
        for entry, of, id, start, until in self.entries:
            if entry == kind and of == text and start <= time < until:
                return id
        ids = self.skus if kind == "sku" else self.catalog.customers
        return text if text in ids else None


class Comparing:
    """One provider's lines of one month against its cost lines. `lines` are of the invoices as they are, `earlier` of the versions before."""

    def __init__(self, usage, folder, name, month, lines, earlier, complete):
        self.usage, self.catalog, self.month, self.name = usage, usage.catalog, month, name
        self.provider = usage.catalog.providers[name]
        self.map = Map(folder, self.catalog, self.provider)
        self.skus, self.lines, self.earlier, self.complete = self.map.skus, lines, earlier, complete
        self.passing, self.stated_tolerance = policies(folder, name)
        try:
            self.setup = config(folder, name)
        except Exception:
            self.setup = None
        self.cost_lines = provider_lines(usage, name, month) if name != self.catalog.operator else []
        self.digits = minor_digits

    # What a line is about

    def sort(self, line):
        """('own',), ('unmapped', ...) or ('sku', sku, month of use)"""
        sku = self.map.find("sku", line["sku_text"], line["charge_period_start"])
        if line["category"] in ("tax", "adjustment"):
            return ("own",)
        if line["category"] == "credit" and not (sku and "of" in self.skus[sku]):
            return ("own",)
        if line["category"] == "fee" and not sku:
            return ("own",)
        account, direct = None, sku and self.skus[sku]["allocation"] == "direct"
        if line["sub_account"] is not None and direct:
            account = self.map.find("account", line["sub_account"], line["charge_period_start"])
        if sku is None or direct and line["sub_account"] is not None and account is None or line["billing_account"] != self.provider["billing_account"]:
            return ("unmapped", line["billing_account"], line["sku_text"], line["sub_account"] if direct else None, line["currency"])
        return ("sku", sku, month_of(self.provider, line["charge_period_start"]), account)

    def segments(self, sku, use):
        start, end = billing_period(self.provider, use)
        spans = [self.catalog.in_force(self.name, price) for price in self.skus[sku]["price"]]
        return sorted((max(start, since), min(end, until)) for since, until in spans if since < end and until > start)

    def segment_of(self, line, segments):
        return next(((since, until) for since, until in segments if since <= line["charge_period_start"] and line["charge_period_end"] <= until), None)

    def cost_segment(self, sku, line, segments):
        price = line["price"]
        start, end = billing_period(self.provider, self.month)
        if price is None:
            return None
        since, until = self.catalog.in_force(self.name, price)
        return max(since, start), min(until, end)

    # Rows

    def rows(self):
        rows, by_sku = [], defaultdict(list)
        unmapped = {}
        for line in self.lines:
            sort = self.sort(line)
            if sort[0] == "own":
                rows.append(Row(kind="own", category=line["category"], billing_account=line["billing_account"], text=line["description"], currency=line["currency"], lines=[line]))
            elif sort[0] == "unmapped":
                if sort not in unmapped:
                    unmapped[sort] = Row(kind="unmapped", category="usage", billing_account=sort[1], text=sort[2], account=sort[3], currency=sort[4])
                    rows.append(unmapped[sort])
                unmapped[sort].lines.append(line)
            else:
                by_sku[sort[1], sort[2]].append((line, sort[3]))
        costs_of = defaultdict(list)
        for line, charges in self.cost_lines:
            costs_of[line["sku"], self.month].append((line, charges))
        for key in sorted(by_sku.keys() | costs_of.keys()):
            rows += self.sku_rows(*key, by_sku[key], costs_of[key])
        for row in rows:
            self.judge(row)
        self.roundings(rows)
        self.hint(rows)
        return rows

    def roundings(self, rows):
        """What adds up to more than FOCUS's tolerance is no rounding any more."""
        small = [row for row in rows if row.cls == "rounding"]
        minor, lines = Fraction(1, 10 ** minor_digits(self.provider["currency"])), sum(row.n for row in rows)
        total = abs(sum((row.variance for row in small), Fraction(0)))
        if total > 100 * minor and total**2 > lines * minor**2 / 4:
            for row in small:
                row.verdict, row.status = "variance", "open"
                if row.costs and row.f is not None:
                    row.quantity_variance, row.price_variance = row.f - row.a_L, row.a_I - row.f

    def sku_rows(self, sku, use, lines, cost_lines):
        by_account = self.skus[sku]["allocation"] == "direct" and all(account is not None for _, account in lines)
        segments = self.segments(sku, use)
        cells = [(line["sub_account"] if by_account else None, self.cost_segment(sku, line, segments)) for line, _ in cost_lines]
        by_segment = all(self.segment_of(line, segments) for line, _ in lines) and len(set(cells)) == len(cells)
        earlier = []
        for line in self.earlier:
            sort = self.sort(line)
            if sort[:3] == ("sku", sku, use):
                earlier.append((line, sort[3]))

        def cell(account, segment):
            return account if by_account else None, segment if by_segment else None

        found = {}
        for line, account in lines:
            found.setdefault(cell(account, self.segment_of(line, segments)), []).append(line)
        rows = {}
        for (account, segment), part in found.items():
            for line in part:
                key = account, segment, line["currency"]
                if key not in rows:
                    rows[key] = self.sku_row(sku, use, account, segment, line["currency"])
                rows[key].lines.append(line)
        for line, charges in cost_lines:
            account, segment = cell(line["sub_account"], self.cost_segment(sku, line, segments))
            currencies = sorted(currency for one, other, currency in rows if (one, other) == (account, segment))
            own = self.provider["currency"]
            currency = own if own in currencies or not currencies else currencies[0]
            key = account, segment, currency
            if key not in rows:
                rows[key] = self.sku_row(sku, use, account, segment, currency)
            rows[key].costs.append((line, charges))
        for line, account in earlier:
            # A line of a version before that would not lie in a segment stands in none.
            key = *cell(account, self.segment_of(line, segments)), line["currency"]
            if key in rows:
                invoice = line["invoice"]
                rows[key].earlier[invoice] = rows[key].earlier.get(invoice, 0) + line["amount"]
        return list(rows.values())

    def sku_row(self, sku, use, account, segment, currency):
        return Row(kind="sku", category="usage", sku=sku, use=use, account=account, segment=segment, currency=currency, billing_account=self.provider["billing_account"])

    # Figures

    def in_unit(self, sku, line):
        """A line's quantity in the SKU's unit: a number, nothing (it says none), or False (it cannot be said)."""
        quantity, own = line["quantity"], self.skus[sku]
        if quantity is None:
            return None
        unit = own.get("unit") or (self.provider["currency"] if "of" in own else None)
        if line["unit"] is None or unit is None:
            return quantity
        known = file_unit(self.setup, line["unit"]) if self.setup else None
        if known is None:
            return False
        start, end = billing_period(self.provider, month_of(self.provider, line["charge_period_start"]))
        month = seconds(end - start) if own.get("month") == "calendar" else own.get("month")
        try:
            if dimension(known[1]) != dimension(unit):
                return False
            return quantity * known[0] * worth(known[1], month) / worth(unit, month)
        except (StopIteration, TypeError, AttributeError):
            return False

    def is_money(self, sku):
        meter = self.catalog.meters.get(self.skus[sku].get("meter"))
        return meter is not None and len(meter["unit"]) == 3 and meter["unit"].isupper() and meter["aggregation"] == "sum"

    def invoice_quantity(self, row):
        if not row.lines:
            return None
        if row.sku is None:
            quantities = [line["quantity"] for line in row.lines if line["quantity"] is not None]
            return sum(quantities) if quantities else None
        if self.is_money(row.sku):
            return row.a_I
        quantities = [self.in_unit(row.sku, line) for line in row.lines]
        if False in [quantity for quantity in quantities if quantity is False]:
            return None
        quantities = [quantity for quantity in quantities if quantity is not None]
        if quantities:
            return sum(quantities)
        return Fraction(len(row.lines)) if self.skus[row.sku]["price"][0]["model"] == "flat" else None

    def f(self, row, quantity):
        """What the ledger's price makes of a quantity, to 18 places; nothing where that cannot be said."""
        if row.sku is None or not row.costs or quantity is None:
            return None
        sku = self.skus[row.sku]
        meter = self.catalog.meters.get(sku.get("meter"))
        if "of" in sku or meter and ("window" in meter or "over" in meter):
            return None
        if len(row.costs) > 1:
            q_L = sum(line["quantity"] for line, _ in row.costs)
            return to_places(quantity * row.a_L / q_L, 18, "half-even") if q_L else None
        line = row.costs[0][0]
        if line["model"] == "flat":
            return to_places(quantity * line["amount"], 18, "half-even")
        siblings = [other for other, _ in self.cost_lines if other["sku"] == row.sku and other["sub_account"] == line["sub_account"]]
        parts = [(other["price"], quantity if other is line else other["quantity"]) for other in siblings]
        exact = list(costs(self.provider, parts))[[other is line for other in siblings].index(True)]
        return to_places(exact, 18, "half-even")

    def ledger_within(self, row, start, end):
        """What the ledger has of the row's cost lines within dates, in the SKU's unit."""
        sku, total = self.skus[row.sku], Fraction(0)
        meter = self.catalog.meters[sku["meter"]]
        length = None
        found = rated(self.usage, self.name, self.month)[row.sku]
        for line, _ in row.costs:
            begin, stop = billing_period(self.provider, self.month)
            length = seconds(stop - begin) if sku.get("month") == "calendar" else sku.get("month")
            unit = {"count": "1", "unique": "1", "time_weighted": meter["unit"] + ".s", "rate": meter["unit"] + "/s"}.get(meter["aggregation"], meter["unit"])
            factor = worth(unit, length) / worth(sku["unit"], length)
            pieces = []
            for item, customer, _ in found:
                if sku["allocation"] == "direct" and customer != line["sub_account"]:
                    continue
                for piece in cut(item, {start, end}):
                    if max(start, line["charge_period_start"]) <= piece.start < min(end, line["charge_period_end"]):
                        pieces.append((piece, customer))
            if pieces:
                span = (line["charge_period_start"], line["charge_period_end"])
                total += aggregate(self.usage, meter, pieces, span, self.provider["time_zone"], factor, line["price"].get("increment"))
        return total

    # The verdict

    def judge(self, row):
        own = self.provider["currency"]
        row.period, row.provider = self.month, self.name
        row.n = len(row.lines)
        row.a_I = sum((line["amount"] for line in row.lines), Fraction(0))
        row.a_L = sum((line["amount"] for line, _ in row.costs), Fraction(0))
        row.settled = sum((line["settled"] for line, _ in row.costs), Fraction(0))
        row.q_L = sum((line["quantity"] for line, _ in row.costs), Fraction(0)) if row.costs else None
        row.q_I = self.invoice_quantity(row)
        if len(row.costs) == 1:
            row.dates = row.costs[0][0]["charge_period_start"], row.costs[0][0]["charge_period_end"]
        elif row.sku:
            row.dates = billing_period(self.provider, row.use)
        else:
            row.dates = min(line["charge_period_start"] for line in row.lines), max(line["charge_period_end"] for line in row.lines)
        unit = Fraction(1, 10 ** minor_digits(row.currency))
        per_line = unit if self.provider["rounding"]["mode"] in ("up", "down") else unit / 2
        row.t = Fraction(self.stated_tolerance) if self.stated_tolerance is not None else max(1, row.n) * per_line
        row.before = sum(row.earlier.values()) if row.earlier else None
        row.f = self.f(row, row.q_I) if row.lines and row.currency == own else None
        row.repeated = [line for line in row.lines if line["repeats"] is not None]
        row.verdict, row.cls = self.verdict(row)
        row.foreign = row.kind == "sku" and row.currency != own
        row.variance = None if row.cls == "currency" else row.a_I - row.a_L
        says = row.verdict == "variance" and row.cls != "currency" and row.costs and row.f is not None
        row.quantity_variance = row.f - row.a_L if says else None
        row.price_variance = row.a_I - row.f if says else None
        row.status = None
        if row.verdict == "variance":
            row.status = "awaited" if row.cls == "awaited" else "open"

    def verdict(self, row):
        if row.kind == "own":
            if row.repeated:
                return "variance", "duplicate"
            if row.a_I == 0:
                return "match", None
            return "policy" if row.category in self.passing else "variance", row.category
        if row.kind == "unmapped":
            return ("match", None) if all(line["amount"] == 0 for line in row.lines) else ("variance", "unmapped")
        if row.currency != self.provider["currency"]:
            return "variance", "currency"
        if abs(row.a_I - row.a_L) <= row.t:
            return "match", None if row.a_I in (row.a_L, row.settled) else "rounding"
        now = defaultdict(Fraction)
        for line in row.lines:
            now[line["invoice"]] += line["amount"]
        if any(amount != now[invoice] for invoice, amount in row.earlier.items()):
            return "variance", "restated"
        if row.repeated:
            return "variance", "duplicate"
        if not row.costs:
            return "variance", "timing" if row.use != self.month else "missing_in_ledger"
        if not row.lines:
            return "variance", "missing_on_invoice" if self.complete else "awaited"
        if row.f is None:
            return "variance", "amount"
        if abs(row.f - row.a_L) <= row.t:
            return "variance", "price"
        if abs(row.a_I - row.f) <= row.t:
            start, end = min(line["charge_period_start"] for line in row.lines), max(line["charge_period_end"] for line in row.lines)
            if "meter" in self.skus[row.sku] and (start, end) != row.dates:
                within = self.f(row, self.ledger_within(row, start, end))
                if within is not None and abs(within - row.f) <= row.t:
                    return "variance", "timing"
            return "variance", "quantity"
        return "variance", "quantity_and_price"

    def hint(self, rows):
        for row in rows:
            hints = []
            if row.verdict == "variance":
                if row.sku and row.cls != "currency" and row.q_I and row.q_L and not self.is_money(row.sku):
                    ratio = row.q_I / row.q_L
                    for factor in FACTORS:
                        if abs(ratio / factor - 1) <= Fraction(1, 10**6):
                            hints.append(f"factor {decimal(factor)}")
                            break
                # Where the text is known it is the account that is not.
                if row.cls == "unmapped" and not any(self.map.find("sku", line["sku_text"], line["charge_period_start"]) for line in row.lines):
                    missing = [other for other in rows if other.cls == "missing_on_invoice" and other.currency == row.currency and abs(other.a_L - row.a_I) <= row.t]
                    if len(missing) == 1:
                        hints.append(f"map {missing[0].sku}")
                if row.repeated:
                    hints.append("repeats " + " ".join(f"{line['line']}={line['repeats']}" for line in row.repeated))
            row.hint = "; ".join(hints) or None

    def record(self, row):
        q = lambda value: None if value is None else to_places(value, 9, "half-even")
        has_ledger, has_invoice = bool(row.costs), bool(row.lines)
        return {
            "provider": row.provider, "period": row.period, "sku": row.sku, "sub_account": row.account, "invoice_text": row.text,
            "charge_period_start": row.dates[0], "charge_period_end": row.dates[1], "currency": row.currency,
            "invoices": " ".join(sorted({line["invoice"] for line in row.lines}, key=str.encode)) or None, "lines": row.n,
            "ledger_quantity": q(row.q_L), "invoice_quantity": q(row.q_I), "ledger_amount": row.a_L if has_ledger else None,
            "ledger_settled": row.settled if has_ledger else None, "invoice_amount": row.a_I if has_invoice else None, "before": row.before,
            "variance": row.variance, "quantity_variance": row.quantity_variance, "price_variance": row.price_variance, "tolerance": row.t,
            "verdict": row.verdict, "class": row.cls, "status": row.status, "hint": row.hint,
        }


DIMENSIONS = {"By": "d", "bit": "d", "s": "t", "min": "t", "h": "t", "d": "t", "mo": "t", "W": "w"}


def dimension(unit):
    """What a unit measures, so that bytes are not made of hours."""
    found = defaultdict(int)
    for place, over in enumerate(unit.split("/")):
        for number, term in enumerate(over.split(".")):
            if len(term) == 3 and term.isalpha() and term.isupper():
                name = term
            elif term == "1" or term.startswith("10*"):
                continue
            else:
                name = DIMENSIONS[next(name for name in ("bit", "By", "min", "mo", "s", "h", "d", "W") if term.endswith(name))]
            found[name] += -1 if place and not number else 1
    return {name: count for name, count in found.items() if count}


def decimal(value):
    from oracle import plain

    # Exact: what has no decimals is a fraction.
    return plain(value, 60) if 10**60 % value.denominator == 0 else f"{value.numerator}/{value.denominator}"

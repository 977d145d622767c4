"""Invoices in: from a file's bytes and the provider's `invoice.toml` to lines. Exact; nothing passes through a float."""

import json
import re
import xml.etree.ElementTree as xml
from collections import Counter
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

from oracle_catalog import billing_days, midnight, minor_digits, month_after, read_toml, to_places

LINE = (
    "provider invoice version period line line_id billing_account sub_account sku_text description category"
    " charge_period_start charge_period_end quantity unit unit_price amount currency repeats"
).split()
DIFFERENCE = "difference to the stated total"


class Refused(Exception):
    """The file is not taken."""


# The mappings that the binary ships, as far as this oracle needs them.

FOCUS = {
    "columns": {
        "invoice": ["InvoiceId"], "line_id": ["InvoiceDetailId"], "billing_account": ["BillingAccountId"], "sub_account": ["SubAccountId"],
        "sku": ["SkuId"], "description": ["ChargeDescription"], "start": ["ChargePeriodStart"], "end": ["ChargePeriodEnd"],
        "quantity": ["PricingQuantity"], "unit": ["PricingUnit"], "unit_price": ["ContractedUnitPrice"], "amount": ["BilledCost"],
        "currency": ["BillingCurrency"], "month": ["BillingPeriodStart"],
    },
    "rows": [{"when": {"ChargeCategory": name.title()}, "is": name} for name in ("tax", "credit", "adjustment")],
    "units": {
        "Hours": "h", "Hour": "h", "Seconds": "s", "Minutes": "min", "Days": "d", "Months": "mo", "Units": "1", "Requests": "1", "Count": "1",
        **{name: name.replace("B", "By") for name in ("B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB")},
        **{f"{name}-{span}": f"{name.replace('B', 'By')}.{ucum}" for name in ("MB", "GB", "TB", "MiB", "GiB", "TiB") for span, ucum in (("Months", "mo"), ("Hours", "h"), ("Days", "d"))},
    },
    "file": {"date": "iso", "zone": "UTC", "null": "NULL"},
}
CUR = {
    "columns": {
        name: [legacy, re.sub(r"(?<!^)(?=[A-Z])", "_", legacy.replace("/", "_")).replace("__", "_").lower()]
        for name, legacy in {
            "line_id": "identity/LineItemId", "invoice": "bill/InvoiceId", "billing_account": "bill/PayerAccountId", "month": "bill/BillingPeriodStartDate",
            "sub_account": "lineItem/UsageAccountId", "start": "lineItem/UsageStartDate", "end": "lineItem/UsageEndDate", "sku": "lineItem/UsageType",
            "quantity": "lineItem/UsageAmount", "currency": "lineItem/CurrencyCode", "unit_price": "lineItem/UnblendedRate", "amount": "lineItem/UnblendedCost",
            "description": "lineItem/LineItemDescription", "unit": "pricing/unit",
        }.items()
    },
    "rows": [{"when": {column: value}, "is": kind} for column in ("lineItem/LineItemType", "line_item_line_item_type") for value, kind in (
        ("Tax", "tax"), ("Credit", "credit"), ("Refund", "credit"), ("Fee", "fee"), ("RIFee", "fee"), ("SavingsPlanRecurringFee", "fee"), ("SavingsPlanUpfrontFee", "fee"))],
    "units": {"Hrs": "h", "GB-Mo": "GBy.mo", "GB": "GBy", "Requests": "1"},
    "file": {"date": "iso", "zone": "UTC"},
}
SHIPPED = {"focus": FOCUS, "aws-cur": CUR, "csv": {"columns": {}, "rows": [], "units": {}, "file": {}}, "en16931": {"columns": {}, "rows": [], "units": {}, "file": {}}}
# UN/ECE Rec 20
REC20 = {"C62": "1", "EA": "1", "H87": "1", "HUR": "h", "DAY": "d", "MON": "mo", "MIN": "min", "SEC": "s", "KWH": "kW.h", "E34": "GBy", "E35": "TBy", "4L": "MBy", "AD": "By"}


def config(folder, provider):
    """The provider's mapping: what ships, and the file's keys over it."""
    own = read_toml(Path(folder) / "providers" / provider / "invoice.toml")
    if not own:
        raise Refused(f"{provider} has no invoice.toml")
    shipped = SHIPPED[own["format"]]
    merged = {name: {**shipped[name], **own.get(name, {})} for name in ("columns", "units", "file")}
    return merged | {"rows": own.get("rows", shipped["rows"]), "format": own["format"], "pass": own.get("pass", {}), "reconcile": own.get("reconcile", {}), "more": own.get("more", [])}


def policies(folder, provider):
    own = read_toml(Path(folder) / "providers" / provider / "invoice.toml")
    return own.get("pass", {}), own.get("reconcile", {}).get("tolerance")


# Values


def squeeze(name):
    return re.sub(r"[\s_]", "", name).lower()


def number(text, decimal=".", thousands=None):
    if text is None or text.strip() == "":
        return None
    text = text.strip()
    if thousands and thousands in text:
        whole = text.split(decimal)[0].lstrip("+-")
        if not re.fullmatch(rf"[0-9]{{1,3}}({re.escape(thousands)}[0-9]{{3}})*", whole):
            raise Refused(f"{text}: {thousands} does not stand between groups of three")
        text = text.replace(thousands, "")
    text = text.replace(decimal, ".")
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise Refused(f"{text} is no number")
    return to_places(Fraction(Decimal(text)), 18, "half-even")


def moment(text, file, zone):
    """A date alone is midnight of the provider; a date-time without a zone is UTC."""
    if text is None or text.strip() == "":
        return None
    text, form = text.strip(), file.get("date", "iso")
    if form == "iso":
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return midnight(text, file.get("zone", zone))
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    return midnight(datetime.strptime(text, form).date(), zone)


def day_after(time, zone):
    return midnight(time.astimezone(ZoneInfo(zone)).date() + timedelta(days=1), zone)


def month_of(provider, time):
    """The month whose billing period contains the instant."""
    zone, anchor = provider["time_zone"], int(provider.get("anchor", "1"))
    month = time.astimezone(ZoneInfo(zone)).strftime("%Y-%m")
    for candidate in (month, month_after(month), month_after(month, -1)):
        start, end = (midnight(day, zone) for day in billing_days(candidate, anchor))
        if start <= time < end:
            return candidate
    raise AssertionError


def billing_period(provider, month):
    return tuple(midnight(day, provider["time_zone"]) for day in billing_days(month, int(provider.get("anchor", "1"))))


# Records


def split_records(text, quote='"'):
    """CSV records as they stand, line ends within quotes included."""
    record, quoted = "", False
    for piece in text.splitlines(keepends=True):
        record += piece
        quoted ^= piece.count(quote) % 2 == 1
        if not quoted:
            yield record.rstrip("\r\n")
            record = ""
    if record:
        yield record.rstrip("\r\n")


def flatten(value, prefix=""):
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from flatten(inner, f"{prefix}{name}.")
        elif inner is not None:
            yield prefix + name, inner if isinstance(inner, str) else ("true" if inner is True else "false" if inner is False else str(inner))


class Literal(str):
    """A JSON number as it is written."""


def records(name, data, file):
    """(raw record, {squeezed header: text})"""
    import csv

    text = data.decode(file.get("encoding", "utf-8")).removeprefix("\ufeff")
    if ".json" in name:
        for raw in text.splitlines():
            if raw.strip():
                parsed = json.loads(raw, parse_float=Literal, parse_int=Literal)
                yield raw, {squeeze(key): value for key, value in flatten(parsed)}
        return
    header = None
    for raw in split_records(text):
        if raw == "":
            continue
        fields = next(csv.reader([raw], delimiter=file.get("delimiter", ",")))
        if header is None:
            header = []
            for field in fields:
                inside = re.search(r"\((.+)\)\s*$", field)
                header.append({squeeze(field), *([squeeze(inside[1])] if inside else [])})
            width = None
            continue
        width = width or len(fields)
        if len(fields) != width or width > len(header):
            raise Refused(f"a record has {len(fields)} fields")
        null = file.get("null")
        yield raw, {name: (None if value == null and null else value) for names, value in zip(header, fields) for name in names}


def pick(record, wanted):
    """A column, a list of columns to try in order, or a text that is put together."""
    for one in [wanted] if isinstance(wanted, str) else wanted:
        if "{" in one:
            return re.sub(r"\{([^}]*)\}", lambda found: record.get(squeeze(found[1])) or "", one) or None
        if squeeze(one) in record:
            return record[squeeze(one)] or None
    return None


def kind_of(record, rows):
    for row in rows:
        if all((record.get(squeeze(name)) or "") in ([values] if isinstance(values, str) else values) for name, values in row["when"].items()):
            return row["is"]
    return "usage"


class Invoice:
    """One file: one invoice."""

    def __init__(self, id, period, lines, stated, partial, preliminary):
        self.id, self.period, self.lines, self.stated, self.partial, self.preliminary = id, period, lines, stated, partial, preliminary


def read_invoice(folder, provider, name, data, invoice=None, period=None, partial=False):
    """`provider` is the table of provider.toml."""
    setup = config(folder, provider["id"])
    if setup["format"] == "en16931":
        return read_ubl(provider, data, invoice, partial)
    file, columns, zone = setup["file"], setup["columns"], provider["time_zone"]

    def value(record, column):
        return pick(record, columns[column]) if column in columns else None

    def amount_of(text):
        return number(text, file.get("decimal", "."), file.get("thousands"))

    lines, stated, first, months, ids = [], {}, {}, [], []
    for raw, record in records(name, data, file):
        kind = kind_of(record, setup["rows"])
        if kind == "skip":
            continue
        amount, currency = amount_of(value(record, "amount")), value(record, "currency") or provider["currency"]
        if amount is None:
            raise Refused("an amount is missing")
        ids.append(value(record, "invoice"))
        if kind == "total":
            stated[currency] = stated.get(currency, 0) + amount
            continue
        start, end = moment(value(record, "start"), file, zone), moment(value(record, "end"), file, zone)
        if start and file.get("end") == "day" or start and end is None:
            end = day_after(start, zone)
        elif end and file.get("end") == "inclusive":
            end = day_after(end, zone)
        if month := moment(value(record, "month"), file, zone):
            months.append(month_of(provider, month))
        line = {
            "provider": provider["id"], "line": len(lines) + 1, "line_id": value(record, "line_id"),
            "billing_account": value(record, "billing_account") or provider["billing_account"], "sub_account": value(record, "sub_account"),
            "sku_text": value(record, "sku"), "description": value(record, "description"), "category": kind, "charge_period_start": start,
            "charge_period_end": end, "quantity": amount_of(value(record, "quantity")), "unit": value(record, "unit"),
            "unit_price": amount_of(value(record, "unit_price")), "amount": amount, "currency": currency, "repeats": first.get(raw),
        }
        first.setdefault(raw, line["line"])
        lines.append(line)
    blank = not any(ids) and invoice is None
    found = period or (max(months) if months else None) or most(provider, lines)
    id = invoice or next((id for id in ids if id), None) or f"{provider['id']}-preliminary-{found}"
    return finish(provider, id, found, lines, stated, partial or blank, blank)


def most(provider, lines):
    counts = Counter(month_of(provider, line["charge_period_start"]) for line in lines if line["charge_period_start"])
    return max(counts, key=lambda month: (counts[month], month))


def finish(provider, id, period, lines, stated, partial, preliminary):
    for line in lines:
        if line["charge_period_start"] is None:
            line["charge_period_start"], line["charge_period_end"] = billing_period(provider, period)
    if not partial:
        for currency, total in stated.items():
            own = [line for line in lines if line["currency"] == currency]
            difference = total - sum(line["amount"] for line in own)
            minor = Fraction(1, 10 ** minor_digits(currency))
            if difference:
                # max(100, √lines ÷ 2) minor units, squared to stay exact
                if abs(difference) > 100 * minor and difference**2 > len(own) * minor**2 / 4:
                    raise Refused(f"the lines of {id} add up to {total - difference}, the file says {total}")
                start, end = billing_period(provider, period)
                lines.append({
                    "provider": provider["id"], "line": len(lines) + 1, "line_id": None, "billing_account": provider["billing_account"], "sub_account": None,
                    "sku_text": None, "description": DIFFERENCE, "category": "adjustment", "charge_period_start": start, "charge_period_end": end,
                    "quantity": None, "unit": None, "unit_price": None, "amount": difference, "currency": currency, "repeats": None,
                })
    return Invoice(id, period, lines, {} if partial else stated, partial, preliminary)


# EN 16931 (UBL)


def read_ubl(provider, data, invoice, partial):
    root = xml.fromstring(data)
    for element in root.iter():
        element.tag = element.tag.split("}")[-1]
    credit_note = root.tag == "CreditNote"
    sign = -1 if credit_note or root.findtext("InvoiceTypeCode") in ("381",) else 1
    zone, currency = provider["time_zone"], root.findtext("DocumentCurrencyCode")

    def text(node, path):
        found = node.findtext(path) if node is not None else None
        return found.strip() if found is not None and found.strip() else None

    def days(node):
        start, end = text(node, "InvoicePeriod/StartDate"), text(node, "InvoicePeriod/EndDate")
        if not start:
            return None, None
        return midnight(start, zone), day_after(midnight(end or start, zone), zone)

    whole = days(root)
    issued = midnight(text(root, "IssueDate"), zone)
    period = month_of(provider, whole[0] or issued)
    lines = []

    def add(category, amount, description, **more):
        start, end = more.pop("days", (None, None))
        if start is None:
            start, end = whole if whole[0] else billing_period(provider, period)
        lines.append({
            "provider": provider["id"], "line": len(lines) + 1, "line_id": None, "billing_account": provider["billing_account"], "sub_account": None,
            "sku_text": None, "description": description, "category": category, "charge_period_start": start, "charge_period_end": end, "quantity": None,
            "unit": None, "unit_price": None, "amount": amount, "currency": currency, "repeats": None,
        } | more)

    item = "CreditNoteLine" if credit_note else "InvoiceLine"
    for node in root.findall(item):
        quantity = node.find("CreditedQuantity" if credit_note else "InvoicedQuantity")
        name = text(node, "Item/Name")
        price = text(node, "Price/PriceAmount")
        base = number(text(node, "Price/BaseQuantity")) or Fraction(1)
        add(
            "usage", sign * number(text(node, "LineExtensionAmount")), name, days=days(node), line_id=text(node, "ID"),
            sku_text=text(node, "Item/SellersItemIdentification/ID") or name,
            quantity=None if quantity is None else sign * number(quantity.text), unit=None if quantity is None else quantity.get("unitCode"),
            unit_price=None if price is None else to_places(number(price) / base, 18, "half-even"),
        )
    for node in root.findall("AllowanceCharge"):
        charge = text(node, "ChargeIndicator") == "true"
        amount = number(text(node, "Amount"))
        add("fee" if charge else "credit", sign * (amount if charge else -amount), text(node, "AllowanceChargeReason") or ("charge" if charge else "allowance"))
    for node in root.findall("TaxTotal/TaxSubtotal"):
        rate = text(node, "TaxCategory/Percent")
        amount = number(text(node, "TaxAmount"))
        add("tax", sign * amount, f"VAT {text(node, 'TaxCategory/ID')}" + (f" {rate} %" if rate else ""))
    rounding = number(text(root, "LegalMonetaryTotal/PayableRoundingAmount")) or Fraction(0)
    if rounding:
        add("adjustment", sign * rounding, "rounding")
    total = number(text(root, "LegalMonetaryTotal/TaxInclusiveAmount")) + rounding
    return finish(provider, invoice or text(root, "ID"), period, lines, {currency: sign * total}, partial, False)


def file_unit(setup, unit):
    """The file's unit as (factor, UCUM), or nothing where it is not known."""
    known = setup["units"].get(unit) if setup["format"] != "en16931" or unit in setup["units"] else REC20.get(unit)
    if known is None:
        return None
    parts = known.split()
    return (Fraction(Decimal(parts[0])), parts[1]) if len(parts) == 2 else (Fraction(1), parts[0])

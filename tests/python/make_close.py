"""Months that are hard to close: `make_close.py SEED OUT [RECORDS]` writes OUT/{catalog,events,invoices,…}, OUT/commands.json, commands.sh and OUT/expected/.

Even seeds stand on make_month.py (one month, many odd events), odd ones on make_prices.py (two months, every price; without grants). What the
providers bill is what the oracle rates, with breaks put in; commands.json says after each command which tables must be what.
The same seed gives the same bytes. Paths in commands are relative to OUT.
"""

import json
import random
import re
import shlex
import shutil
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).parent))

import make_month
import make_prices
import oracle
from make_month import literal, save, table
from oracle import plain
from oracle_catalog import Catalog, billing_days, midnight, minor_digits, month_after, to_places
from oracle_close import COMPARISON, LINE, MORE, STATEMENT, Books, Refuses, comparison_rows, write
from oracle_compare import Comparing
from oracle_focus import COST, DETAIL, PERIOD, billing_period_rows, cost_and_usage, invoice_detail, unit_is_said, unit_name
from oracle_invoices import billing_period
from oracle_prices import provider_lines

RECONCILES = "provider invoice version period currency total charged retained difference".split()
GL = "date account debit credit currency reference".split()
NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)
FORMATS = ["focus", "aws-cur", "aws-cur 2", "german", "jsonl", "ubl"]


class Case:
    def __init__(self, seed, out, records):
        self.random, self.out, self.seed = random.Random(f"close {seed}"), Path(out), seed
        self.commands, self.intended, self.step = [], [], 0
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        self.make_base(records)
        self.books = Books(NOW)
        self.run()

    def chance(self, percent):
        return self.random.randrange(100) < percent

    def pick(self, choices):
        return self.random.choice(choices)

    # What it stands on

    def make_base(self, records):
        catalog, raw = self.out / "catalog", self.out / "raw"
        if self.seed % 2 == 0:
            month = make_month.Month(self.seed, records)
            month.save_catalog(catalog)
            month.save_events(raw)
            _, ledger = oracle.read_events(raw, NOW)
            lines, _ = oracle.rate(Catalog(catalog), ledger, month.period)
            month.sharpen(lines)
            month.save_catalog(catalog)
            self.month = month.period
            self.following = month_after(self.month)
            shifted = self.shifted([json.loads(line) for line in self.lines_of(raw) if self.is_event(line)])
        else:
            pair = make_prices.Pair(self.seed)
            # What a grant is in FOCUS is not said.
            pair.grants = pair.grants if self.chance(30) else []
            pair.save(self.out)
            shutil.move(self.out / "events", raw)
            self.month, self.following = pair.months
            if pair.rates:
                self.more_rates(catalog / "fx.csv", {(row[0], row[1], row[2]) for row in pair.rates})
            shifted = []
        if self.chance(75):
            # FOCUS forbids prices below 0.
            for file in sorted(catalog.glob("providers/*/prices.toml")):
                file.write_text(re.sub(r'("?(unit_price|amount|flat|package_price)"? = )"-', r'\1"', file.read_text()))
        lines = self.lines_of(raw)
        self.late = [line for line in lines if self.chance(3)][:30]
        held = set(map(id, self.late))
        first = [line for line in lines if id(line) not in held]
        self.late += self.corrections(first) + shifted
        self.save_lines("events", first)
        shutil.rmtree(raw)

    def more_rates(self, file, known):
        """Also of the month after, and of the currency that nobody bills in."""
        currencies = ["EUR", "USD", "JPY", "KWD", "CHF"]
        months = [month_after(self.month, count) for count in (-2, -1, 0, 1, 2, 3)]
        with file.open("a") as rows:
            for key in [(month, one, other) for month in months for one in currencies for other in currencies if one != other]:
                if key not in known:
                    rows.write(",".join(key) + f",{self.pick(['0.9', '1.17', '0.0061', '171.5'])},a bank\n")

    def lines_of(self, folder):
        return [line for file in sorted(folder.glob("*.ndjson"), key=lambda file: file.name.encode()) for line in file.read_bytes().split(b"\n") if line]

    def is_event(self, line):
        from oracle_ledger import Refused, decode

        try:
            return decode(line, NOW)
        except Refused:
            return None

    def shifted(self, events):
        """Some of the month's events again, a month later."""
        found = []
        for number, event in enumerate(self.random.sample(events, min(len(events), 60))):
            time = datetime.fromisoformat(event["time"].replace("Z", "+00:00")).astimezone(timezone.utc) + timedelta(days=self.pick([27, 28, 30]))
            value = self.is_event(json.dumps(event).encode())
            found.append(json.dumps(event | {"id": f"next-{number}", "time": time.strftime("%Y-%m-%dT%H:%M:%SZ"), "data": event["data"] | {"value": plain(value.value, 9)}}).encode() if value else b"{}")
        return found

    def corrections(self, lines):
        decoded = [event for event in map(self.is_event, lines) if event]
        # Of several corrections of one event the first counts; that is the ledger's to try, not the close's.
        taken = {event.correction[1:3] for event in decoded if event.correction}
        events = [event for event in decoded if event.correction is None and (event.source, event.id) not in taken]
        found = []
        for number, event in enumerate(self.random.sample(events, min(len(events), 12))):
            if (event.source, event.id) in taken:
                # It came twice, and is corrected once.
                continue
            taken.add((event.source, event.id))
            data = {"value": plain(event.value * self.pick([0, 1, 2]) + self.pick([0, 0, 1]), 9), "dimensions": dict(event.dimensions)}
            if len(data["value"].split(".")[0]) > 19:
                continue
            data |= {"provider": event.provider} if event.provider else {}
            data |= {"resource": dict(event.resource)} if event.has_resource else {}
            data["correction"] = {"action": self.pick(["void", "replace"]), "source": event.source, "id": event.id, "reason": "seen again"}
            found.append(json.dumps({"specversion": "1.0", "id": f"corr-{number}", "source": "//ops/late", "type": event.type, "subject": event.subject,
                "time": event.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "data": data}, ensure_ascii=False).encode())
        return found

    def save_lines(self, folder, lines):
        (self.out / folder).mkdir(exist_ok=True)
        (self.out / folder / "01.ndjson").write_bytes(b"\n".join(lines) + b"\n")

    # Mappings

    def make_mappings(self):
        """An invoice.toml and an invoice_map.csv for every provider that bills."""
        catalog = Catalog(self.out / "catalog")
        self.shape, self.texts, self.accounts, self.labels = {}, {}, {}, {}
        for name, provider in catalog.providers.items():
            if name == catalog.operator:
                continue
            shapes = [shape for shape in FORMATS if shape != "ubl" or minor_digits(provider["currency"]) == 2 and self.chance(60)]
            shape = self.shape[name] = self.pick(shapes)
            self.texts[name], self.accounts[name], self.labels[name] = {}, {}, {}
            rows, begins = [], str(billing_days(self.month, int(provider.get("anchor", "1")))[0])
            for sku in catalog.skus[name]:
                text = self.texts[name][sku["id"]] = sku["id"] if self.chance(40) else f"text {sku['id']}" if shape != "german" else f"ART{sku['id']}/{self.pick(['', 'EU'])}"
                if text != sku["id"]:
                    rows.append(("sku", text, sku["id"]))
                elif shape == "german":
                    self.texts[name][sku["id"]] = text = f"{text}/"
                    rows.append(("sku", text, sku["id"]))
                if "unit" in sku:
                    self.labels[name].setdefault(sku["unit"], f"U{len(self.labels[name])}")
            for customer in catalog.customers:
                text = self.accounts[name][customer] = customer if self.chance(40) else f"K {customer}"
                if text != customer:
                    rows.append(("account", text, customer))
            # Before this month a text may have meant something else.
            for number, (kind, text, id) in enumerate(rows):
                spans = [("2023-01-01", "")]
                if self.chance(15):
                    other = self.pick([sku["id"] for sku in catalog.skus[name]] if kind == "sku" else sorted(catalog.customers))
                    spans = [(begins, "")] if self.chance(30) else [("2023-01-01", begins, other), (begins, "")]
                rows[number] = [(kind, text, *(more or [id]), since, until) for since, until, *more in spans]
            rows = [row for group in rows for row in group]
            own = self.out / "catalog/providers" / name
            self.random.shuffle(rows)
            quote = lambda text: '"' + text.replace('"', '""') + '"'
            save(own / "invoice_map.csv", "kind,text,id,from,until\n" + "".join(f"{kind},{quote(text)},{quote(id)},{since},{until}\n" for kind, text, id, since, until in rows))
            units = {label: unit for unit, label in self.labels[name].items()}
            self.thousand = {}
            passing = {category: self.pick(["by_cost", "by_cost", "even", "retain"]) for category in ("tax", "credit", "fee", "adjustment", "usage") if self.chance(45)}
            text = {"format": {"aws-cur 2": "aws-cur", "ubl": "en16931", "german": "csv", "jsonl": "csv"}.get(shape, shape)}
            text = table(text)
            if shape == "german":
                text += '\n[file]\ndelimiter = ";"\ndecimal = ","\nthousands = "."\ndate = "%d.%m.%Y"\nend = "inclusive"\n'
                text += "\n[columns]\n" + table({"invoice": "Rechnung", "line_id": "Pos", "billing_account": "Konto", "sub_account": "Unterkonto", "sku": "{Artikel}/{Ziel}",
                    "description": "Text", "start": "Von", "end": "Bis", "quantity": "Menge", "unit": "Einheit", "unit_price": "Einzelpreis", "amount": "Betrag", "currency": "Währung"})
                for value, kind in (("SUMME", "total"), ("MWST", "tax"), ("GUTSCHRIFT", "credit"), ("GEBÜHR", "fee"), ("RUNDUNG", "adjustment"), ("HINWEIS", "skip")):
                    text += "\n[[rows]]\n" + table({"when": {"Artikel": [value] if self.chance(50) else value}, "is": kind})
            if shape == "jsonl":
                text += '\n[file]\ndate = "iso"\n'
                text += "\n[columns]\n" + table({"invoice": "bill.id", "line_id": "n", "billing_account": ["account", "bill.account"], "sub_account": "usage.project", "sku": "usage.sku", "description": "what",
                    "start": "usage.from", "end": "usage.to", "quantity": "usage.quantity", "unit": "usage.unit", "amount": "cost.amount", "currency": "cost.currency"})
                for kind in ("tax", "credit", "fee", "adjustment"):
                    text += "\n[[rows]]\n" + table({"when": {"type": kind}, "is": kind})
            if units:
                text += "\n[units]\n" + table({literal(label) if " " in label else label: unit for label, unit in units.items()})
            if passing:
                text += "\n[pass]\n" + table(passing)
            if self.chance(15):
                text += "\n[reconcile]\n" + table({"tolerance": self.pick(["0.02", "0.001", "1"])})
            save(own / "invoice.toml", text)
        save(self.out / "catalog/gl.toml", 'payable = "3300-{provider}"\nclearing = "1590"\nreceivable = "1200-{customer}"\nretained = "6850-{reason}"\n')
        focus = ""
        for name in catalog.providers:
            if self.chance(60):
                focus += f"[provider.{name}]\n" + table({"service": f"{name} things", "category": "Compute", "subcategory": "Virtual Machines"})
        save(self.out / "catalog/focus.toml", focus)

    # What a provider would bill

    def bill_of(self, name, month):
        """Lines as the ledger has them, some in parts, some rounded."""
        provider, found = self.books.catalog.providers[name], []
        rounded = self.chance(50) or self.shape[name] == "ubl"
        digits = minor_digits(provider["currency"])
        for line, charges in provider_lines(self.books.usage, name, month):
            one = {"sku": line["sku"], "account": line["sub_account"], "quantity": line["quantity"] if line["model"] != "flat" else Fraction(1), "unit": line["unit"],
                "amount": line["amount"], "start": line["charge_period_start"], "end": line["charge_period_end"], "category": "usage", "currency": provider["currency"],
                "text": self.texts[name][line["sku"]], "description": f"{line['sku']} as usual", "cost": line, "billing": provider["billing_account"]}
            if line["unit"] == provider["currency"] and "of" in self.sku_of(name, line["sku"]):
                one |= {"quantity": None, "unit": None}
            if one["quantity"] is not None:
                one["quantity"] = to_places(one["quantity"], self.pick([9, 12, 18]), "half-even")
            parts = self.pick([1, 1, 1, 2, 3]) if line["model"] != "flat" and one["quantity"] else 1
            left, left_amount = one["quantity"], one["amount"]
            for number in range(parts):
                part = dict(one)
                if number + 1 < parts:
                    part["quantity"] = to_places(left / self.pick([2, 3, 7]), 9, "down")
                    part["amount"] = to_places(left_amount / self.pick([2, 3, 7]), self.pick([digits, 18]), "down")
                    left, left_amount = left - part["quantity"], left_amount - part["amount"]
                    part["description"] += f", part {number}"
                else:
                    part |= {"quantity": left, "amount": left_amount}
                if rounded:
                    part["amount"] = to_places(part["amount"], digits, provider["rounding"]["mode"])
                found.append(part)
        return found

    def sku_of(self, name, id):
        return next(sku for sku in self.books.catalog.skus[name] if sku["id"] == id)

    def meter_of(self, name, id):
        return self.books.catalog.meters.get(self.sku_of(name, id).get("meter"))

    def says_f(self, name, id):
        meter = self.meter_of(name, id)
        return "of" not in self.sku_of(name, id) and not (meter and ("window" in meter or "over" in meter))

    def f(self, name, line, quantity):
        comparing = Comparing(self.books.usage, self.books.folder, name, self.at, [], [], True)
        from oracle_compare import Row

        row = Row(kind="sku", sku=line["sku"], currency=line["currency"], costs=[next(pair for pair in comparing.cost_lines if pair[0] is line)])
        row.a_L = line["amount"]
        return comparing.f(row, quantity), comparing, row

    def with_breaks(self, name, month):
        """The bill of a provider, with what is wrong on it; the class that each break is meant to have."""
        self.at = month
        lines, digits = self.bill_of(name, month), minor_digits(self.books.catalog.providers[name]["currency"])
        unit, out = Fraction(1, 10**digits), []
        single = Counter((line["sku"], line["account"], line["start"]) for line in lines)
        for line in lines:
            alone = single[line["sku"], line["account"], line["start"]] == 1
            kind = self.pick(["price", "quantity", "both", "duplicate", "unmapped", "missing", "timing", "currency", "no quantity", "account", "other account"]) if self.chance(30) else None
            cost, what = line["cost"], (name, line["sku"], line["account"])
            money = self.meter_of(name, line["sku"]) and len(self.meter_of(name, line["sku"])["unit"]) == 3 and self.meter_of(name, line["sku"])["unit"].isupper()
            says = alone and self.says_f(name, line["sku"])
            if kind == "price" and alone:
                line["amount"] += unit * self.pick([3, 100, -3, 1234])
                self.intended.append((what, "price" if says and not money else "quantity" if says else "amount"))
            elif kind in ("quantity", "both") and alone and line["quantity"] and line["unit"]:
                line["quantity"] *= self.pick([1000, Fraction(1, 1000), 2, Fraction(9, 10)])
                value, _, _ = self.f(name, cost, line["quantity"])
                if value is not None and not money:
                    line["amount"] = to_places(value, digits if self.shape[name] == "ubl" else 18, "half-even") + (unit * 7 if kind == "both" else 0)
                    if abs(value - cost["amount"]) > 4 * unit:
                        self.intended.append((what, "quantity" if kind == "quantity" else "quantity_and_price"))
            elif kind == "duplicate" and self.shape[name] != "ubl" and abs(line["amount"]) > 2 * unit * len(lines):
                out.append(line)
                self.intended.append((what, "duplicate"))
            elif kind == "unmapped":
                line["text"] = f"new {line['sku']}" if self.shape[name] != "german" else f"NEU{line['sku']}/"
            elif kind == "missing":
                if alone and abs(cost["amount"]) > unit:
                    self.intended.append((what, "missing_on_invoice"))
                continue
            elif kind == "timing" and alone and "meter" in self.sku_of(name, line["sku"]) and says and not money and self.shape[name] != "ubl":
                zone = self.books.catalog.providers[name]["time_zone"]
                cut = midnight((line["start"] + (line["end"] - line["start"]) * self.random.randint(2, 8) / 10).astimezone(ZoneInfo(zone)).date(), zone)
                if line["start"] < cut < line["end"]:
                    _, comparing, row = self.f(name, cost, Fraction(0))
                    quantity = to_places(comparing.ledger_within(row, line["start"], cut), 12, "half-even")
                    value = comparing.f(row, quantity)
                    if value is not None and abs(value - cost["amount"]) > 4 * unit:
                        line |= {"end": cut, "quantity": quantity, "amount": value}
                        if len(comparing.segments(line["sku"], month)) == 1 or True:
                            self.intended.append((what, "timing"))
            elif kind == "currency" and alone and self.shape[name] != "ubl":
                line["currency"] = self.pick([one for one in ("EUR", "USD", "JPY", "CHF") if one != line["currency"]])
                self.intended.append((what, "currency"))
            elif kind == "no quantity" and alone and line["unit"]:
                line |= {"quantity": None, "amount": line["amount"] + 5 * unit}
                if not money:
                    self.intended.append((what, "amount"))
            elif kind == "account" and line["account"]:
                line["account"] = self.pick(["nobody-known", self.pick(sorted(self.books.catalog.customers))])
            elif kind == "other account" and self.shape[name] != "ubl":
                line["billing"] = "A-other"
            out.append(line)
        provider = self.books.catalog.providers[name]
        start, end = billing_period(provider, month)
        base = {"sku": None, "account": None, "quantity": None, "unit": None, "start": start, "end": end, "currency": provider["currency"], "text": None, "cost": None, "billing": provider["billing_account"]}
        skus = [sku for sku in self.books.catalog.skus[name] if "of" not in sku]
        net = sum((line["amount"] for line in out if line["currency"] == provider["currency"]), Fraction(0))
        if self.chance(70):
            out.append(base | {"category": "tax", "description": "VAT S 19 %", "amount": to_places(net * Fraction(19, 100), digits, "half-up")})
        for _ in range(self.pick([0, 0, 1, 2])):
            out.append(base | {"category": "credit", "description": f"credit {self.random.randint(1, 9)}", "amount": -self.random.randint(1, 3000) * unit})
        for _ in range(self.pick([0, 0, 1])):
            out.append(base | {"category": "fee", "text": "Premium" if self.shape[name] != "german" else None, "description": "a fee", "amount": self.random.randint(1, 3000) * unit})
        if self.shape[name] != "ubl":
            if self.chance(30):
                out.append(base | {"category": "adjustment", "description": "an adjustment", "amount": self.pick([-1, 1, 250, -250]) * unit})
            if self.chance(30):
                out.append(base | {"category": "usage", "text": "FREE/" if self.shape[name] == "german" else "free tier", "description": "nothing", "amount": Fraction(0), "quantity": Fraction(120)})
            if skus and self.chance(40):
                sku = self.pick(skus)
                before = billing_period(provider, month_after(month, self.pick([-1, -1, -2])))
                out.append(base | {"category": "usage", "sku": sku["id"], "text": self.texts[name][sku["id"]], "unit": sku.get("unit"), "quantity": self.pick([Fraction(3), None]), "description": "of before",
                    "amount": self.random.randint(-300, 900) * unit, "start": before[0], "end": before[1], "account": self.pick([None, self.pick(sorted(self.books.catalog.customers))]) if sku["allocation"] == "direct" else None})
            rated = {line["sku"] for line, _ in provider_lines(self.books.usage, name, month)}
            unused = [sku for sku in skus if sku["id"] not in rated]
            if unused and self.chance(60):
                sku = self.pick(unused)
                out.append(base | {"category": "usage", "sku": sku["id"], "text": self.texts[name][sku["id"]], "unit": sku.get("unit"), "quantity": self.pick([Fraction(3), None]),
                    "description": "never metered", "amount": self.pick([-900, 100, 777, 12345]) * unit})
                self.intended.append(((name, sku["id"], None), "missing_in_ledger"))
            if skus and self.chance(30):
                sku, ahead = self.pick(skus), billing_period(provider, month_after(month))
                out.append(base | {"category": "usage", "sku": sku["id"], "text": self.texts[name][sku["id"]], "unit": sku.get("unit"), "quantity": None, "description": "in advance",
                    "amount": self.random.randint(1, 900) * unit, "start": ahead[0], "end": ahead[1]})
        if self.chance(20) and self.shape[name] != "ubl":
            doubled = self.pick([line for line in out if line["category"] in ("tax", "credit", "fee")] or [None])
            if doubled:
                out.append(doubled)
        elif self.shape[name] != "ubl":
            self.random.shuffle(out)
        return out

    # Files

    def file_of(self, name, id, month, lines, stated=0, credit_note=False):
        shape, provider = self.shape[name], self.books.catalog.providers[name]
        self.count = getattr(self, "count", 0) + 1
        suffix = {"jsonl": "jsonl", "ubl": "xml"}.get(shape, "csv")
        path = self.out / "invoices" / f"{self.count:02}-{name}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        start, end = billing_period(provider, month)
        rows = [line | {"number": number, "unit": None if line["unit"] is None else self.labels[name].get(line["unit"], line["unit"])} for number, line in enumerate(lines, 1)]
        # What is doubled is the same record, its number too.
        seen = {}
        for row, line in zip(rows, lines) if shape != "ubl" else ():
            row["number"] = seen.setdefault(id_of(line), row["number"])
        text = {"focus": self.focus, "aws-cur": self.cur, "aws-cur 2": self.cur, "german": self.german, "jsonl": self.jsonl, "ubl": self.ubl}[shape](provider, id, month, rows, (start, end), stated)
        path.write_bytes(text.encode())
        return path

    def digits(self, value):
        text = plain(value)
        if value is not None and value and self.chance(15):
            digits = text.replace("-", "").replace(".", "").lstrip("0")
            places = len(text.partition(".")[2])
            return f"{'-' if value < 0 else ''}{digits[0]}.{digits[1:] or '0'}E{len(digits) - 1 - places}"
        return text

    def csv(self, rows, delimiter=","):
        quote = lambda value: '"' + value.replace('"', '""') + '"' if any(sign in value for sign in (delimiter, '"', "\n", ";")) else value
        return "".join(delimiter.join(quote("" if value is None else value) for value in row) + "\n" for row in rows)

    def iso(self, time, zoned):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ") if zoned else time.strftime("%Y-%m-%d %H:%M:%S")

    def account_text(self, name, line):
        return None if line["account"] is None else self.accounts[name].get(line["account"], line["account"])

    def focus(self, provider, id, month, rows, period, stated):
        header = ("BilledCost,BillingAccountId,BillingCurrency,BillingPeriodEnd,BillingPeriodStart,ChargeCategory,ChargeDescription,ChargePeriodEnd,ChargePeriodStart,"
            "ContractedUnitPrice,InvoiceId,PricingQuantity,PricingUnit,SkuId,SubAccountId").split(",")
        zoned, found = self.chance(50), [header]
        # FOCUS has no fees: they are adjustments there.
        for row in rows:
            category = {"usage": "Purchase" if row["unit"] is None else "Usage", "fee": "Adjustment"}.get(row["category"], row["category"].title())
            values = [self.once(row, "amount"), row["billing"], row["currency"], self.iso(period[1], zoned), self.iso(period[0], zoned), category, row["description"], self.iso(row["end"], zoned),
                self.iso(row["start"], zoned), None, id, plain(row["quantity"]) or None, row["unit"], row["text"], self.account_text(provider["id"], row)]
            found.append(["NULL" if value is None else value for value in values])
        return self.csv(found)

    def once(self, row, name):
        """A number as it is written, the same whenever the same record is."""
        self.written = getattr(self, "written", {})
        key = row["number"], name, row[name], self.count
        if key not in self.written:
            self.written[key] = self.digits(row[name])
        return self.written[key]

    def cur(self, provider, id, month, rows, period, stated):
        header = ("identity/LineItemId,bill/InvoiceId,bill/PayerAccountId,bill/BillingPeriodStartDate,lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,"
            "lineItem/UsageEndDate,lineItem/UsageType,lineItem/UsageAmount,lineItem/CurrencyCode,lineItem/UnblendedCost,lineItem/LineItemDescription,pricing/unit").split(",")
        if self.shape[provider["id"]] == "aws-cur 2":
            header = [re.sub(r"(?<!^)(?<!/)(?=[A-Z])", "_", name).replace("/", "_").lower() for name in header]
        found = [header]
        for row in rows:
            kind = {"usage": "Usage", "tax": "Tax", "credit": "Credit", "fee": "Fee", "adjustment": "Credit"}[row["category"]]
            # One id for one record
            found.append([f"{id}-{row['number']:03}", id, row["billing"], self.iso(period[0], True), self.account_text(provider["id"], row), kind, self.iso(row["start"], True), self.iso(row["end"], True),
                row["text"], plain(row["quantity"]), row["currency"], self.once(row, "amount"), row["description"], row["unit"]])
        return self.csv(found)

    def comma(self, text, thousands):
        whole, _, rest = text.partition(".")
        if thousands:
            sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
            groups = []
            while digits:
                groups.insert(0, digits[-3:])
                digits = digits[:-3]
            whole = sign + ".".join(groups)
        return whole + ("," + rest if rest else "")

    def german(self, provider, id, month, rows, period, stated):
        zone, thousands = ZoneInfo(provider["time_zone"]), self.chance(50)
        found = [["Rechnung", "Pos", "Konto", "Unterkonto", "Artikel", "Ziel", "Text", "Von", "Bis", "Menge", "Einheit", "Einzelpreis", "Betrag", "Währung"]]
        for row in rows:
            article, _, target = (row["text"] or {"tax": "MWST", "credit": "GUTSCHRIFT", "fee": "GEBÜHR", "adjustment": "RUNDUNG"}[row["category"]]).partition("/")
            last = row["end"].astimezone(zone).date() - timedelta(days=1)
            found.append([id, str(row["number"]), row["billing"], self.account_text(provider["id"], row), article, target, row["description"], row["start"].astimezone(zone).strftime("%d.%m.%Y"),
                last.strftime("%d.%m.%Y"), self.comma(plain(row["quantity"]), thousands), row["unit"], "", self.comma(plain(row["amount"]), thousands), row["currency"]])
        if self.chance(20):
            found.append([id, "", "", "", "HINWEIS", "", "Vielen Dank", "", "", "", "", "", "0", ""])
        if stated is not None:
            total = sum((row["amount"] for row in rows if row["currency"] == provider["currency"]), Fraction(0)) + stated
            total = to_places(total, minor_digits(provider["currency"]), provider["rounding"]["mode"])
            found.append([id, "", provider["billing_account"], "", "SUMME", "", "Summe", "", "", "", "", "", self.comma(plain(total), thousands), provider["currency"]])
        return "\ufeff" + self.csv(found, ";")

    def jsonl(self, provider, id, month, rows, period, stated):
        text = ""
        for row in rows:
            amount, quantity = self.once(row, "amount"), plain(row["quantity"])
            usage = {"sku": row["text"], "project": self.account_text(provider["id"], row), "from": self.iso(row["start"], True), "to": self.iso(row["end"], True), "unit": row["unit"]}
            record = {"bill": {"id": id, "account": row["billing"]}, "type": row["category"], "what": row["description"], "usage": {name: value for name, value in usage.items() if value is not None}}
            record["usage"]["quantity"] = f"\x00{quantity}" if quantity else None
            record["cost"] = {"amount": f"\x00{amount}" if row["number"] % 2 else amount, "currency": row["currency"]}
            line = json.dumps(record, ensure_ascii=False)
            text += re.sub(r'"\\u0000([^"]*)"', r"\1", line) + "\n"
        return text

    def ubl(self, provider, id, month, rows, period, stated):
        zone, currency = ZoneInfo(provider["time_zone"]), provider["currency"]
        escape = lambda value: value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        days = period[0].astimezone(zone).date(), period[1].astimezone(zone).date() - timedelta(days=1)
        money = lambda name, value: f'<cbc:{name} currencyID="{currency}">{plain(value)}</cbc:{name}>'
        lines = [row for row in rows if row["category"] == "usage"]
        others = [row for row in rows if row["category"] in ("credit", "fee")]
        net = sum((row["amount"] for row in lines), Fraction(0))
        down = sum((-row["amount"] for row in others if row["category"] == "credit"), Fraction(0))
        up = sum((row["amount"] for row in others if row["category"] == "fee"), Fraction(0))
        taxable = net - down + up
        rate = self.pick(["19", "25.5", "0"])
        tax = to_places(taxable * Fraction(rate) / 100, minor_digits(currency), "half-up")
        rounding = Fraction(self.pick([0, 0, 1, -1]), 100) if minor_digits(currency) == 2 else Fraction(0)
        gross = taxable + tax
        text = '<?xml version="1.0" encoding="UTF-8"?>\n<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2" xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2" xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2">\n'
        text += f"<cbc:CustomizationID>urn:cen.eu:en16931:2017</cbc:CustomizationID><cbc:ID>{id}</cbc:ID><cbc:IssueDate>{days[1] + timedelta(days=9)}</cbc:IssueDate><cbc:InvoiceTypeCode>380</cbc:InvoiceTypeCode><cbc:DocumentCurrencyCode>{currency}</cbc:DocumentCurrencyCode>\n"
        text += f"<cac:InvoicePeriod><cbc:StartDate>{days[0]}</cbc:StartDate><cbc:EndDate>{days[1]}</cbc:EndDate></cac:InvoicePeriod>\n"
        category = f"<cbc:ID>S</cbc:ID><cbc:Percent>{rate}</cbc:Percent><cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme>"
        for row in others:
            text += f"<cac:AllowanceCharge><cbc:ChargeIndicator>{'true' if row['category'] == 'fee' else 'false'}</cbc:ChargeIndicator><cbc:AllowanceChargeReason>{escape(row['description'])}</cbc:AllowanceChargeReason>{money('Amount', abs(row['amount']))}<cac:TaxCategory>{category}</cac:TaxCategory></cac:AllowanceCharge>\n"
        text += f"<cac:TaxTotal>{money('TaxAmount', tax)}<cac:TaxSubtotal>{money('TaxableAmount', taxable)}{money('TaxAmount', tax)}<cac:TaxCategory>{category}</cac:TaxCategory></cac:TaxSubtotal></cac:TaxTotal>\n"
        text += f"<cac:LegalMonetaryTotal>{money('LineExtensionAmount', net)}{money('TaxExclusiveAmount', taxable)}{money('TaxInclusiveAmount', gross)}"
        text += (money("AllowanceTotalAmount", down) if down else "") + (money("ChargeTotalAmount", up) if up else "") + (money("PayableRoundingAmount", rounding) if rounding else "")
        text += f"{money('PayableAmount', gross + rounding)}</cac:LegalMonetaryTotal>\n"
        for row in lines:
            first, last = row["start"].astimezone(zone).date(), row["end"].astimezone(zone).date() - timedelta(days=1)
            span = "" if (first, last) == days else f"<cac:InvoicePeriod><cbc:StartDate>{first}</cbc:StartDate><cbc:EndDate>{last}</cbc:EndDate></cac:InvoicePeriod>"
            quantity = row["quantity"] if row["quantity"] is not None else Fraction(1)
            unit = row["unit"] or "C62"
            text += f"<cac:InvoiceLine><cbc:ID>{row['number']}</cbc:ID><cbc:InvoicedQuantity unitCode=\"{unit}\">{plain(quantity)}</cbc:InvoicedQuantity>{money('LineExtensionAmount', row['amount'])}{span}"
            text += f"<cac:Item><cbc:Name>{escape(row['description'])}</cbc:Name><cac:SellersItemIdentification><cbc:ID>{escape(row['text'])}</cbc:ID></cac:SellersItemIdentification><cac:ClassifiedTaxCategory>{category}</cac:ClassifiedTaxCategory></cac:Item>"
            text += f"<cac:Price>{money('PriceAmount', Fraction(1))}</cac:Price></cac:InvoiceLine>\n"
        return text + "</Invoice>\n"

    # Commands

    def do(self, args, exit=0, expected=None, note=None):
        self.commands.append({"args": args, "exit": exit} | ({"expected": expected} if expected else {}) | ({"note": note} if note else {}))

    def table(self, name, columns, rows, null=""):
        path = self.out / "expected" / name
        write(path, columns, rows, null)
        return f"expected/{name}"

    def publish(self, folder, more=()):
        self.books.publish(self.out / folder)
        self.do(["catalog", "publish", folder, *more])

    def ingest(self, folder):
        self.books.ingest(self.out / folder)
        self.do(["ingest", "--files", folder, "--until-caught-up"])

    def take(self, name, path, refused=False, **options):
        args = ["invoice", "import", "--provider", name, str(path.relative_to(self.out))]
        args += [part for key, value in options.items() if value for part in ([f"--{key}"] if value is True else [f"--{key}", value])]
        try:
            self.books.invoice_import(name, path, **options)
            self.do(args)
        except Refuses as error:
            self.do(args, 2, note=str(error))

    def rate(self, month, label):
        """Rates a month: all tables of the run."""
        expected = {
            "invoice_lines": self.table(f"{label}/invoice_lines.csv", LINE, self.books.all_lines()),
            "comparison": self.table(f"{label}/comparison.csv", COMPARISON, comparison_rows(self.books.compare(month))),
            "statement_lines": self.table(f"{label}/statement_lines.csv", STATEMENT + ["amount"] + MORE, self.books.statement_lines(month)),
            "corrections": self.table(f"{label}/corrections.csv", STATEMENT + ["correction", "amount"] + MORE, self.books.corrections(month)),
        }
        self.do(["rate", "--period", month], expected=expected)

    def reconcile(self, month, label):
        rows = self.books.compare(month)
        waits = any(row.status in ("open", "awaited") for row in rows)
        self.do(["reconcile", "--period", month], 1 if waits else 0, {"comparison": self.table(f"{label}/comparison.csv", COMPARISON, comparison_rows(rows))})

    def decide(self, verb, month, provider, **selectors):
        names = {"sku": "--sku", "sub_account": "--sub-account", "cls": "--class", "text": "--text"}
        args = ["reconcile", verb, "--period", month, "--provider", provider]
        args += [part for key, value in selectors.items() for part in (names[key], value or "")] + ["--reason", f"because {len(self.commands)}", "--by", "mira"]
        try:
            self.books.decide(verb, month, provider, **selectors)
            self.do(args)
            return True
        except Refuses as error:
            self.do(args, 2, note=str(error))
            return False

    def decide_all(self, month):
        """Some disputes, some single decisions taken back, and the rest accepted."""
        for row in [row for row in self.books.compare(month) if row.status == "open"]:
            if self.chance(15):
                # Of several invoices in one row it is not said whose rest may not be below zero.
                if len({line["invoice"] for line in row.lines}) > 1:
                    continue
                selectors = {"cls": row.cls} | ({"sku": row.sku} if row.sku else {"text": row.text}) | ({"sub_account": row.account} if self.chance(50) else {})
                if self.decide("dispute", month, row.provider, **selectors) and self.chance(25):
                    self.decide("reopen", month, row.provider, **selectors)
            elif self.chance(5):
                self.decide("explain", month, row.provider, cls=row.cls)
        for provider in self.books.catalog.providers:
            if any(row.status == "open" and row.provider == provider for row in self.books.compare(month)):
                self.decide("accept", month, provider)

    def close(self, month):
        catalog, needed = self.books.catalog, []
        _, complete = self.books.current()
        for name in catalog.providers:
            if name != catalog.operator and provider_lines(self.books.usage, name, month) and (name, month) not in complete:
                needed.append(f"invoice:{name}")
        end = ["--reason", "the month is done", "--by", "mira"]
        always = ["unrated", "conflicts"]
        if needed:
            self.do(["close", "--period", month, "--waive", "unrated", "--waive", "conflicts", *end], "refused", note="; ".join(needed))
        self.books.close(month, always + needed)
        self.do(["close", "--period", month] + [part for one in always + needed for part in ("--waive", one)] + end)

    def outs(self, month, label):
        books, catalog = self.books, self.books.catalog
        for customer, statement in books.statements(month).items():
            path = f"expected/{label}/statement-{len(self.commands)}.json"
            save(self.out / path, json.dumps(statement, indent=1))
            self.do(["statement", customer, "--period", month, "--format", "json"], expected={"statement": path})
        rows = books.month_lines(month)
        if all(row["rate"] is None for row in rows) and not any(row["billed_currency"] not in (None, row["currency"]) for row in rows):
            self.do(["export", "gl", "--period", month, "--out", f"out/{label}-gl.csv"], expected={"gl": self.table(f"{label}/gl.csv", GL, books.gl(month))})
        self.do(["query", "SELECT * FROM reconciles_to_invoice", "--format", "csv"], expected={"reconciles_to_invoice": self.table(f"{label}/reconciles_to_invoice.csv", RECONCILES, books.reconciles(month))})
        if catalog.grants:
            return
        rows = cost_and_usage(books, month)
        if any((row["ListUnitPrice"] or 0) < 0 for row in rows):
            # FOCUS forbids prices below 0, and there is no other way to say them.
            return
        said = {unit_name(sku.get("unit")) for skus in catalog.skus.values() for sku in skus if unit_is_said(sku.get("unit"))} | {"Units"}

        def with_units(rows):
            """A unit that has no name in FOCUS may have any: `*`."""
            return [row | {name: row[name] if row[name] is None or row[name] in said else "*" for name in ("PricingUnit", "ConsumedUnit")} for row in rows]

        self.do(["export", "focus", "--period", month, "--out", f"out/{label}-focus"], expected={
            "CostAndUsage": self.table(f"{label}/CostAndUsage.csv", COST, with_units(rows), "NULL"),
            "InvoiceDetail": self.table(f"{label}/InvoiceDetail.csv", DETAIL, invoice_detail(books, month), "NULL"),
            "BillingPeriod": self.table(f"{label}/BillingPeriod.csv", PERIOD, billing_period_rows(books, month), "NULL"),
        })
        customer, provider = self.pick(sorted(catalog.customers)), self.pick(sorted(catalog.providers))
        self.do(["export", "focus", "--period", month, "--out", f"out/{label}-focus-customer", "--scope", f"customer={customer}", "--granularity", "day"], expected={
            "CostAndUsage": self.table(f"{label}/CostAndUsage-customer-day.csv", COST, with_units(cost_and_usage(books, month, ("customer", customer), True)), "NULL")})
        self.do(["export", "focus", "--period", month, "--out", f"out/{label}-focus-provider", "--scope", f"provider={provider}"], expected={
            "CostAndUsage": self.table(f"{label}/CostAndUsage-provider.csv", COST, with_units(cost_and_usage(books, month, ("provider", provider))), "NULL")})

    def make_second_catalog(self):
        """A misprint set right, texts that are mapped after all, a payer that was forgotten."""
        second = self.out / "catalog2"
        shutil.copytree(self.out / "catalog", second)
        for name in sorted(self.shape):
            own = second / "providers" / name
            texts = {line["sku_text"] for line in self.books.all_lines() if line["provider"] == name and line["sku_text"]}
            for sku in self.books.catalog.skus[name]:
                text = f"NEU{sku['id']}/" if self.shape[name] == "german" else f"new {sku['id']}"
                if text in texts and self.chance(50):
                    with (own / "invoice_map.csv").open("a") as file:
                        file.write(f"sku,{text},{sku['id']},2023-01-01,\n")
            if self.chance(40):
                blocks = (own / "prices.toml").read_text().split("[[sku]]")
                places = [place for place, block in enumerate(blocks) if "meter = " in block and 'model = "per_unit"' in block and 'unit_price = "1"' not in block and 'unit_price = "-' not in block]
                if places:
                    place = self.pick(places)
                    before, _, after = blocks[place].partition('unit_price = "')
                    blocks[place] = before + 'unit_price = "0.07' + after[after.index('"'):]
                    (own / "prices.toml").write_text("[[sku]]".join(blocks))
        if self.chance(40):
            customer = self.pick(sorted(self.books.catalog.customers))
            with (second / "bindings.csv").open("a") as file:
                file.write(f"stranger,{customer},2024-01-01T00:00:00Z,\n")
        self.publish("catalog2", ("--allow-past-changes", "a misprint"))

    # The whole

    def run(self):
        self.make_mappings()
        month, following = self.month, self.following
        self.publish("catalog")
        self.ingest("events")
        billed, later = {}, []
        for name in sorted(self.shape):
            if not provider_lines(self.books.usage, name, month):
                continue
            id = f"{name.upper()}-{month}"
            kind = self.pick(["whole", "whole", "whole", "whole", "late", "partial first", "preliminary first", "partial only"])
            meant = len(self.intended)
            lines = self.with_breaks(name, month)
            if kind in ("late", "partial only", "partial first"):
                del self.intended[meant:]
            if not lines or self.shape[name] == "ubl" and not [line for line in lines if line["category"] == "usage"]:
                continue
            if kind == "late":
                later.append((name, id, lines))
                continue
            if kind in ("partial first", "partial only") and self.shape[name] != "ubl" and len(lines) > 1:
                self.take(name, self.file_of(name, id, month, lines[: len(lines) // 2], stated=None), partial=True)
                if kind == "partial only":
                    later.append((name, id, lines))
                    continue
            if kind == "preliminary first" and self.shape[name] not in ("ubl", "aws-cur", "aws-cur 2"):
                # Its months are said by most of its lines.
                self.take(name, self.file_of(name, "", month, [line for line in lines if line["start"] >= billing_period(self.books.catalog.providers[name], month)[0]] or lines, stated=None), period=month)
            if self.shape[name] in ("focus", "german", "jsonl") and self.chance(15):
                # A file without an id, which is then said
                self.take(name, self.file_of(name, "", month, lines, stated=0), invoice=f"said-{id}")
                billed[name] = f"said-{id}", lines
                continue
            if self.shape[name] == "german" and self.chance(30):
                self.take(name, self.file_of(name, id, month, lines, stated=Fraction(self.pick([500, -500, 123456]))))
            path = self.file_of(name, id, month, lines, stated=self.pick([0, 0, Fraction(1, 2)]) if minor_digits(self.books.catalog.providers[name]["currency"]) else 0)
            self.take(name, path)
            if self.chance(15):
                # Nothing new
                self.take(name, path)
            billed[name] = id, lines
        self.rate(month, "1-imported")
        self.reconcile(month, "1-reconcile")
        self.classes = Counter()
        found = {}
        for row in self.books.compare(month):
            self.classes[row.cls or row.verdict] += 1
            found.setdefault((row.provider, row.sku), set()).add(row.cls)
        self.missed = [(what, self.shape[what[0]], wanted, sorted(map(str, found.get(what[:2], ())))) for what, wanted in self.intended if wanted not in found.get(what[:2], set())]
        self.decide_all(month)
        self.rate(month, "2-decided")
        self.close(month)
        self.outs(month, "3-closed")

        # What the next month learns
        self.make_second_catalog()
        self.save_lines("late", self.late)
        self.ingest("late")
        for name, id, lines in later:
            self.take(name, self.file_of(name, id, month, lines))
        for name, (id, lines) in billed.items():
            if self.chance(40):
                changed = [dict(line) for line in lines if not self.chance(10)] or lines
                unit = Fraction(1, 10 ** minor_digits(self.books.catalog.providers[name]["currency"]))
                for line in changed:
                    if self.chance(20):
                        line["amount"] += self.pick([-7, 5, 1000]) * unit
                if self.shape[name] != "ubl" or any(line["category"] == "usage" for line in changed):
                    said = id.startswith("said-")
                    self.take(name, self.file_of(name, "" if said else id, month, changed), **({"invoice": id} if said else {}))
            elif self.chance(30) and self.shape[name] != "ubl":
                wrong = [line for line in lines if line["cost"]]
                if wrong:
                    line = dict(self.pick(wrong)) | {"quantity": None, "description": "credit note"}
                    line["amount"] = -to_places(abs(line["amount"]) / 3, minor_digits(line["currency"]), "half-up") or Fraction(-1)
                    self.take(name, self.file_of(name, f"{name.upper()}-CN-{month}", following, [line], stated=0))
            elif self.chance(10):
                self.books.withdraw(id, name)
                self.do(["invoice", "withdraw", "--provider", name, "--invoice", id, "--reason", "not ours", "--by", "mira"])
        self.intended_first = len(self.intended)
        for name in sorted(self.shape):
            if self.chance(60) and provider_lines(self.books.usage, name, following):
                lines = self.with_breaks(name, following)
                if lines and (self.shape[name] != "ubl" or [line for line in lines if line["category"] == "usage"]):
                    self.take(name, self.file_of(name, f"{name.upper()}-{following}", following, lines))
        self.reconcile(month, "4-reconcile")
        self.rate(following, "4-open-rows")
        self.decide_all(month)
        self.rate(month, "5-afresh")
        self.reconcile(following, "5-reconcile")
        self.rate(following, "5-following")
        self.outs(following, "5-open")
        self.decide_all(following)
        if not any(row.status == "open" for closed in self.books.closes for row in self.books.compare(closed)):
            self.close(following)
            self.outs(following, "6-closed")
            last = month_after(following)
            for name, (id, lines) in billed.items():
                if self.chance(40) and self.shape[name] != "ubl":
                    said, fewer = id.startswith("said-"), [dict(line) for line in lines if not self.chance(20)] or lines
                    self.take(name, self.file_of(name, "" if said else id, month, fewer), **({"invoice": id} if said else {}))
            for closed in (month, following):
                self.decide_all(closed)
            self.rate(last, "7-last")
            self.outs(last, "7-open")
        self.check()
        (self.out / "commands.json").write_text(json.dumps({"month": month, "following": following, "commands": self.commands}, indent=1, ensure_ascii=False))
        (self.out / "commands.sh").write_text("".join(shlex.join(["atcost", *map(str, command["args"])]) + f"    # exit {command['exit']}\n" for command in self.commands))

    def check(self):
        """Every key adds up to what it is afresh, every invoice to its total, the ledger to nothing."""
        books = self.books
        open_month = books.open_month(self.month)
        months = sorted(books.closes) + [open_month]
        for closed in books.closes:
            if any(row.status == "open" for row in books.compare(closed, open_month)):
                continue
            sums = Counter()
            for month in months:
                for row in books.month_lines(month):
                    if row["_of"] == closed:
                        sums[tuple(row[name] for name in STATEMENT + ["biller", "billed_currency"])] += row["amount"]
            for row in books.statement_lines(closed, open_month):
                sums[tuple(row[name] for name in STATEMENT + ["biller", "billed_currency"])] -= row["amount"]
            assert not any(sums.values()), [key for key, value in sums.items() if value]
        closed_open = any(row.status == "open" for month in months for row in books.compare(month, open_month))
        for row in books.reconciles(self.month):
            stands = all(books.line_month(line, self.month) in months for line in books.current()[0][row["provider"], row["invoice"]]["last"].lines)
            if not closed_open and stands:
                assert row["difference"] == 0, row
        for month in months:
            for rows in (books.month_lines(month),):
                for row in rows:
                    assert not (row["amount"] * 10 ** minor_digits(row["currency"])) % 1, row


def id_of(line):
    return id(line)


def main(seed, out, records="300"):
    case = Case(int(seed), out, int(records))
    print(case.month, "commands:", len(case.commands), dict(sorted(case.classes.items())))
    for missed in case.missed:
        print("  not as meant:", *missed)


if __name__ == "__main__":
    main(*sys.argv[1:])

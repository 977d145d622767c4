"""What must come out of invoices and a close: `oracle_close.py COMMANDS.json OUT` runs the commands and writes what each of them asks for into OUT/NN-verb/.

A second implementation of what is invoiced, compared, passed through, closed and corrected, from the rules alone. Rating itself is oracle_prices.py.
COMMANDS.json is as make_close.py writes it: {"commands": [{"args": [...]}]}, the words of the command line; paths are relative to its folder.
"""

import csv
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from oracle import plain
from oracle_catalog import Catalog, allocate, minor_digits, month_after, to_places, utc_month
from oracle_compare import COMPARISON, Comparing
from oracle_invoices import LINE, Refused, billing_period, month_of, read_invoice
from oracle_ledger import Ledger, decode
from oracle_ledger import Refused as BadEvent
from oracle_meters import Usage
from oracle_prices import IDLE, LAST, CannotRate, bearer, by, converted, provider_lines, unrated

STATEMENT = "invoice provider billing_account sub_account sku charge_period_start charge_period_end currency category description customer kind retained_reason".split()
MONEY = ["amount"]
MORE = "biller grant billed_currency rate billed_amount".split()
REASONS = {"tax": "tax", "credit": "credit", "fee": "fee", "adjustment": "adjustment", "usage": "unmetered"}


class Refuses(Exception):
    """The command exits with 2 and changes nothing."""


def text_of(value):
    return "" if value is None else plain(value) if isinstance(value, (Fraction, datetime)) else str(value)


def in_order(rows, columns):
    return sorted(rows, key=lambda row: [text_of(row.get(name)).encode() for name in columns])


def weights_of(*choices):
    """The first weights that are not all 0; where all are, everybody alike."""
    for weights in choices:
        if any(weights.values()):
            return weights
    return {key: Fraction(1) for key in choices[0]}


class Version:
    def __init__(self, provider, name, data, options, read):
        self.provider, self.name, self.data, self.options, self.id = provider, name, data, options, read.id
        self.withdrawn = False


class Books:
    """The ledger, its journal and the catalog in force."""

    def __init__(self, now=None):
        self.now = now or datetime.now(timezone.utc)
        self.folder, self.events, self.imports, self.decisions, self.posted, self.closes = None, [], [], [], {}, {}
        self.scratch = Path(tempfile.mkdtemp())
        self.seen, self.conflicts, self.rows = {}, 0, []
        self.cached, self.memo = None, {}

    def remembered(self, key, make):
        """Until the state changes; `key` says all of it that counts."""
        key = *key, len(self.rows), str(self.folder), len(self.imports), sum(one.withdrawn for one in self.imports), len(self.decisions), len(self.closes)
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    # What comes in

    def publish(self, *folders):
        target = self.scratch / f"catalog{len(list(self.scratch.iterdir()))}"
        for folder in folders:
            shutil.copytree(folder, target, dirs_exist_ok=True)
        self.folder, self.cached = target, None

    def ingest(self, folder):
        for file in sorted(Path(folder).glob("*.ndjson"), key=lambda file: file.name.encode()):
            for line in file.read_bytes().split(b"\n"):
                if not line:
                    continue
                try:
                    event = decode(line, self.now)
                except BadEvent:
                    continue
                self.rows.append(event)
                key = event.source, event.id
                if key in self.seen and self.seen[key] != event:
                    self.conflicts += 1
                self.seen.setdefault(key, event)
        self.cached = None

    @property
    def usage(self):
        if self.cached is None:
            self.cached = Usage(Catalog(self.folder), Ledger(list(self.rows)))
        return self.cached

    @property
    def catalog(self):
        return self.usage.catalog

    def invoice_import(self, provider, file, invoice=None, period=None, partial=False):
        data = Path(file).read_bytes()
        options = {"invoice": invoice, "period": period, "partial": partial}
        try:
            read = read_invoice(self.folder, self.catalog.providers[provider], Path(file).name, data, **options)
        except Refused as error:
            raise Refuses(str(error)) from error
        same = [version for version in self.versions(provider, read.id)]
        if same and same[-1].data == data and same[-1].options == options:
            return
        self.imports.append(Version(provider, Path(file).name, data, options, read))

    def withdraw(self, invoice, provider=None):
        found = [version for version in self.imports if version.id == invoice and not version.withdrawn and provider in (None, version.provider)]
        if not found:
            raise Refuses(f"no invoice {invoice}")
        for version in found:
            version.withdrawn = True

    def versions(self, provider, id):
        return [version for version in self.imports if (version.provider, version.id) == (provider, id)]

    def read(self, version):
        return self.remembered(("read", self.imports.index(version)), lambda: self.read_anew(version))

    def read_anew(self, version):
        return read_invoice(self.folder, self.catalog.providers[version.provider], version.name, version.data, **version.options)

    def all_lines(self):
        rows, count = [], defaultdict(int)
        for version in self.imports:
            count[version.provider, version.id] += 1
            read = self.read(version)
            for line in read.lines:
                rows.append(line | {"invoice": version.id, "version": count[version.provider, version.id], "period": read.period})
        return rows

    def current(self):
        """By provider and id: what is read of the last version, of the one before, and the number."""
        return self.remembered(("current",), self.current_anew)

    def current_anew(self):
        found = {}
        for version in self.imports:
            key = version.provider, version.id
            number = found[key]["number"] + 1 if key in found else 1
            entry = found.setdefault(key, {"number": 0, "reads": []})
            entry["number"] = number
            if not version.withdrawn:
                read = self.read(version)
                read.version, read.provider = number, version.provider
                for line in read.lines:
                    line |= {"invoice": version.id, "version": number, "period": read.period}
                entry["reads"].append(read)
        found = {key: entry for key, entry in found.items() if entry["reads"]}
        for key, entry in found.items():
            entry["last"], entry["earlier"] = entry["reads"][-1], entry["reads"][-2] if len(entry["reads"]) > 1 else None
        complete = {(provider, entry["last"].period) for (provider, _), entry in found.items() if not entry["last"].partial}
        # What is preliminary gives way.
        return {key: entry for key, entry in found.items() if not (entry["last"].preliminary and (key[0], entry["last"].period) in complete)}, complete

    # Months

    def open_month(self, asked):
        return month_after(max(self.closes)) if self.closes else asked

    def line_month(self, line, asked):
        own = month_of(self.catalog.providers[line["provider"]], line["charge_period_start"])
        return own if own in self.closes or own == self.open_month(asked) else line["period"]

    def compare(self, month, asked=None):
        """The rows of a month's comparison, with what was decided."""
        asked = asked or month
        return self.remembered(("compare", month, self.open_month(asked)), lambda: self.compare_anew(month, asked))

    def compare_anew(self, month, asked):
        invoices, complete = self.current()
        rows = []
        for name in self.catalog.providers:
            lines, earlier = [], []
            for (provider, _), entry in invoices.items():
                if provider == name:
                    lines += [line for line in entry["last"].lines if self.line_month(line, asked) == month]
                    if entry["earlier"]:
                        earlier += [line for line in entry["earlier"].lines if self.line_month(line, asked) == month]
            comparing = Comparing(self.usage, self.folder, name, month, lines, earlier, (name, month) in complete)
            for row in comparing.rows():
                row.comparing = comparing
                rows.append(row)
        for row in rows:
            if row.status == "open":
                row.decision = self.decided(row)
                if row.decision:
                    row.status = row.decision
        return rows

    # Decisions

    def fingerprint(self, row):
        lines = sorted((text_of(line["invoice"]), line["category"], text_of(line["description"]), text_of(line["amount"]), text_of(line["quantity"])) for line in row.lines)
        who = row.provider, row.period, row.sku, row.account, row.text, row.currency
        return (*who, row.cls, row.dates, tuple(lines), None if row.q_L is None else to_places(row.q_L, 9, "half-even"), row.a_L if row.costs else None)

    def decided(self, row):
        found = None
        for verb, fingerprint in self.decisions:
            if fingerprint == self.fingerprint(row):
                found = {"accept": "accepted", "dispute": "disputed", "reopen": None}.get(verb, found)
        return found

    def fits(self, row, provider, sku=..., sub_account=..., cls=..., text=...):
        wanted = ((sku, row.sku), (sub_account, row.account), (cls, row.cls), (text, row.text))
        return row.provider == provider and all(value is ... or (value or None) == has for value, has in wanted)

    def decide(self, verb, period, provider, **selectors):
        """accept, dispute, explain, reopen"""
        states = ("accepted", "disputed") if verb == "reopen" else ("open",)
        rows = [row for row in self.compare(period) if row.status in states and self.fits(row, provider, **selectors)]
        if not rows:
            raise Refuses(f"no row of {period} fits")
        if verb == "dispute":
            parts = self.parts(period)
            for row in rows:
                estimate = Fraction(0) if row.foreign else row.settled
                if sum(parts.get(id_of(row), {}).values()) < estimate:
                    raise Refuses("what is disputed is less than what is owed")
        for row in rows:
            self.decisions.append((verb, self.fingerprint(row)))
        return len(rows)

    # What is passed through

    def parts(self, asked):
        """For each row, by its first line, what each invoice has for it in minor units: {row: {invoice: amount}}."""
        return self.remembered(("parts", self.open_month(asked)), lambda: self.parts_anew(asked))

    def parts_anew(self, asked):
        invoices, _ = self.current()
        months = sorted({self.line_month(line, asked) for entry in invoices.values() for line in entry["last"].lines})
        rows = [row for month in months for row in self.compare(month, asked)]
        found = defaultdict(dict)
        for (provider, id), entry in invoices.items():
            read = entry["last"]
            mode = self.catalog.providers[provider]["rounding"]["mode"]
            for currency in sorted({line["currency"] for line in read.lines}):
                digits = minor_digits(currency)
                own = []
                for row in rows:
                    lines = [line for line in row.lines if (line["provider"], line["invoice"], line["currency"]) == (provider, id, currency)]
                    if lines:
                        own.append((row, sum(line["amount"] for line in lines), min(line["line"] for line in lines)))
                exact = sum(amount for _, amount, _ in own)
                total = read.stated.get(currency)
                total = to_places(exact if total is None else total, digits, mode)
                scale = 10**digits
                floors = {id_of(row): (amount * scale).__floor__() for row, amount, _ in own}
                rest = int(total * scale) - sum(floors.values())
                by_fraction = sorted(own, key=lambda one: (-(one[1] * scale - floors[id_of(one[0])]), one[2]))
                assert 0 <= rest <= len(own), (id, rest)
                for row, _, _ in by_fraction[:rest]:
                    floors[id_of(row)] += 1
                for key, units in floors.items():
                    found[key][id] = Fraction(units, scale)
        return found

    def total_of(self, provider, entry, currency):
        exact = sum(line["amount"] for line in entry["last"].lines if line["currency"] == currency)
        stated = entry["last"].stated.get(currency)
        return to_places(exact if stated is None else stated, minor_digits(currency), self.catalog.providers[provider]["rounding"]["mode"])

    def statement_lines(self, month, asked=None):
        """The statement lines of a month, afresh."""
        asked = asked or month
        found = [dict(row) for row in self.remembered(("passed", month, self.open_month(asked)), lambda: self.passed(month, asked))]
        self.bill(month, found)
        return in_order(found, STATEMENT + ["grant", "biller"])

    def passed(self, month, asked):
        """Before anything is converted."""
        parts, found = self.parts(asked), []
        for row in self.compare(month, asked):
            part = parts.get(id_of(row), {})
            if row.verdict in ("match", "policy") or row.status == "accepted":
                if row.costs and not part and not row.comparing.complete:
                    # So little that nothing is awaited; until the invoice is in, it settles all the same.
                    found += self.estimate(month, row, None)
                elif row.costs:
                    for invoice, amount in sorted(part.items()) if part else [(None, Fraction(0))]:
                        found += self.to_cost_lines(month, row, invoice, amount)
                else:
                    for invoice, amount in sorted(part.items()):
                        found += self.by_policy(month, row, invoice, amount)
            elif row.status == "disputed":
                last = max(part, key=str.encode) if part else None
                estimate = Fraction(0)
                if row.costs and not row.foreign:
                    found += self.estimate(month, row, last)
                    estimate = row.settled
                for invoice, amount in sorted(part.items()):
                    rest = amount - (estimate if invoice == last else 0)
                    found += [self.plain_row(row, invoice) | retained("disputed", rest)]
            else:
                found += self.estimate(month, row, None)
        operator = self.catalog.operator
        for line, charges in provider_lines(self.usage, operator, month) if operator in self.catalog.providers else []:
            found += self.split_line(month, None, line, charges, line["settled"], line["currency"])
        for grant in self.catalog.grants:
            self.pay(month, asked, grant, found)
        return found

    def pay(self, month, asked, grant, rows):
        """Adds a grant's parts to the statement lines that it covers and says what it paid."""
        if not grant["from"] <= month < grant.get("until", "9999"):
            return Fraction(0)
        left, earlier = Fraction(grant["amount"]), month
        while (earlier := month_after(earlier, -1)) >= grant["from"]:
            given = [row["amount"] for row in self.remembered(("passed", earlier, self.open_month(asked)), lambda: self.passed(earlier, asked))
                if row["grant"] == grant["id"] and row["customer"] == grant["customer"] and row["amount"] < 0]
            left += sum(given)
        net, first = defaultdict(Fraction), {}
        for row in sorted(rows, key=lambda row: (row["provider"].encode(), row["_place"], text_of(row["invoice"]).encode())):
            names = {f"{row['provider']}/*"} | ({f"{row['provider']}/{row['sku']}"} if row["sku"] else set())
            covered = row["currency"] == grant["currency"] and names & set(grant.get("of", names)) and not names & set(grant.get("except", []))
            # What somebody pays as the funder of another grant is no line of its own to be paid for.
            own = row["biller"] == self.catalog.operator and row["customer"] == grant["customer"] and (row["kind"] == "charge" or row["kind"] == "grant" and row["amount"] < 0)
            if covered and own:
                key = len(net) if (where := (row["provider"], row["_place"], row["invoice"], row["description"])) not in first else first[where][0]
                first.setdefault(where, (key, row))
                net[key] += row["amount"]
        lines = {key: row for key, row in first.values()}
        digits = minor_digits(grant["currency"])
        paid = min(to_places(max(Fraction(0), sum(net.values())) * Fraction(grant.get("share", "1")), digits, "down"), left)
        if paid <= 0:
            return Fraction(0)
        for key, part in allocate(paid, digits, {key: amount for key, amount in net.items() if amount > 0}).items():
            funder = bearer(self.catalog, grant["funder"], month)
            as_grant = {"kind": "grant", "retained_reason": None}
            rows.append(lines[key] | as_grant | {"grant": grant["id"], "amount": -part})
            rows.append(lines[key] | (funder if funder["kind"] == "retained" else as_grant | {"customer": grant["funder"]}) | {"grant": grant["id"], "amount": part})
        return paid

    def estimate(self, month, row, invoice):
        found = []
        for line, charges in row.costs:
            found += self.split_line(month, invoice, line, charges, line["settled"], line["currency"])
        return found

    def to_cost_lines(self, month, row, invoice, amount):
        keys = {index: (line["sub_account"] or LAST, line["charge_period_start"]) for index, (line, _) in enumerate(row.costs)}
        order = sorted(keys, key=keys.get)
        lines = [row.costs[index] for index in order]
        weights = weights_of({n: abs(line["amount"]) for n, (line, _) in enumerate(lines)}, {n: abs(line["quantity"]) for n, (line, _) in enumerate(lines)})
        shares = allocate(amount, minor_digits(row.currency), weights)
        return [one for n, (line, charges) in enumerate(lines) for one in self.split_line(month, invoice, line, charges, shares[n], row.currency)]

    def split_line(self, month, invoice, line, charges, amount, currency):
        exact, quantity = defaultdict(Fraction), defaultdict(Fraction)
        for charge in charges:
            exact[charge["who"]] += abs(charge["amount"])
            quantity[charge["who"]] += charge["quantity"] or 0
        base = {name: line[name] for name in "provider billing_account sub_account sku charge_period_start charge_period_end".split()}
        base |= {"invoice": invoice, "currency": currency, "category": "usage", "description": None, "_line": line, "_charges": charges, "_place": self.place(line["provider"], line["sku"], line["sub_account"], (line["charge_period_start"], line["charge_period_end"]), (line["price"]["from"],))}
        return self.split(month, base, weights_of(exact, quantity), amount)

    def place(self, provider, sku, account, dates, rest):
        """Place of the SKU in the file, sub account (nobody's last), charge period, price; what is of no price comes after."""
        index = next(index for index, known in enumerate(self.catalog.skus[provider]) if known["id"] == sku)
        return 0, index, account or LAST, *dates, *rest

    def split(self, month, base, weights, amount):
        """Over those whom the operator bills, and what a partner bills on."""
        catalog, digits = self.catalog, minor_digits(base["currency"])
        billed_to = {who: catalog.customers.get(who, {}).get("bills_to", who) for who in weights}
        groups, rows = by(weights, billed_to.get), []
        for who, share in sorted(allocate(amount, digits, {who: sum(weights[one] for one in group) for who, group in groups.items()}).items()):
            rows.append(base | bearer(catalog, who, month) | {"amount": share, "biller": catalog.operator, "grant": None, "_who": who})
        for partner, group in sorted(groups.items()):
            if partner in catalog.partners:
                total = next(row["amount"] for row in rows if row["customer"] == partner)
                for who, share in sorted(allocate(total, digits, weights_of({one: weights[one] for one in group})).items()):
                    kind = {"customer": who, "kind": "retained", "retained_reason": "internal"} if who == partner else bearer(catalog, who, month)
                    rows.append(base | kind | {"amount": share, "biller": partner, "grant": None, "_who": who})
        return rows

    def plain_row(self, row, invoice):
        """A statement line without a cost line."""
        own = row.kind == "own"
        category = row.lines[0]["category"] if own and row.lines else "usage"
        rest = invoice.encode(), min(line["line"] for line in row.lines)
        place = self.place(row.provider, row.sku, row.account, row.dates, (LAST, *rest)) if row.sku else (1, *rest)
        return {
            "invoice": invoice, "provider": row.provider, "billing_account": row.billing_account, "sub_account": row.account, "sku": row.sku,
            "charge_period_start": row.dates[0], "charge_period_end": row.dates[1], "currency": row.currency, "category": category, "description": row.text,
            "biller": self.catalog.operator, "grant": None, "_line": None, "_charges": None, "_who": None, "_place": place,
        }

    def by_policy(self, month, row, invoice, amount):
        base = self.plain_row(row, invoice)
        policy = row.comparing.passing.get(base["category"])
        costs = defaultdict(Fraction)
        for _, charges in provider_lines(self.usage, row.provider, month):
            for charge in charges:
                costs[charge["who"]] += charge["amount"]
        costs = {who: max(cost, Fraction(0)) for who, cost in costs.items()}
        if policy == "even":
            among = self.catalog.bound_within(*billing_period(self.catalog.providers[row.provider], month))
            return self.split(month, base, {who: Fraction(1) for who in among} or {LAST: Fraction(1)}, amount)
        if (policy == "by_cost" or amount < 0) and any(costs.values()):
            return self.split(month, base, costs, amount)
        return [base | retained(REASONS[base["category"]], amount)]

    # What is billed, and in what

    def bill(self, month, rows):
        rates, running = self.catalog.rates, defaultdict(Fraction)
        for row in sorted(rows, key=lambda row: (row["provider"].encode(), row["_place"], row["grant"] is not None)):
            row["billed_currency"] = row["rate"] = row["billed_amount"] = None
            if row["kind"] == "retained":
                continue
            wanted = self.catalog.customers[row["customer"]]["currency"] if rates is not None else row["currency"]
            row["billed_currency"] = wanted
            if wanted == row["currency"]:
                row["billed_amount"] = row["amount"]
                continue
            if (month, row["currency"], wanted) not in rates:
                raise Refuses(f"fx.csv has no rate of {row['currency']} in {wanted} for {month}")
            row["rate"] = rates[month, row["currency"], wanted]
            key = row["biller"], row["customer"], row["provider"], row["currency"]
            before = converted(row["rate"] * running[key], wanted)
            running[key] += row["amount"]
            row["billed_amount"] = converted(row["rate"] * running[key], wanted) - before

    # Closing

    def close(self, month, waive=()):
        reasons, waive = [], set(waive)
        if self.closes and month != self.open_month(month):
            reasons.append(f"{self.open_month(month)} is open")
        if utc_month(month)[1] > self.now:
            reasons.append(f"{month} is not over")
        if month in self.closes:
            raise Refuses(f"{month} is closed")
        if unrated(self.usage, month) and "unrated" not in waive:
            reasons.append("unrated")
        if self.conflicts and "conflicts" not in waive:
            reasons.append("conflicts")
        _, complete = self.current()
        for name in self.catalog.providers:
            if name != self.catalog.operator and provider_lines(self.usage, name, month) and (name, month) not in complete and f"invoice:{name}" not in waive:
                reasons.append(f"invoice:{name}")
        for row in self.compare(month):
            if row.status == "open":
                reasons.append(f"open: {row.provider} {row.sku} {row.account} {row.text} {row.cls}")
        for closed in self.closes:
            if any(row.status == "open" for row in self.compare(closed, month)):
                reasons.append(f"{closed} has open rows")
        if reasons:
            raise Refuses("; ".join(reasons))
        rows = [row | {"_of": month, "correction": None} for row in self.statement_lines(month)]
        self.posted[month] = rows + self.corrections(month)
        self.closes[month] = sorted(waive)

    def corrections(self, month):
        """What the open month owes to closed ones. None if the month is closed or not the open one."""
        if not self.closes or month != self.open_month(month):
            return []
        found = []
        for closed in sorted(self.closes):
            if any(row.status == "open" for row in self.compare(closed, month)):
                continue
            columns = STATEMENT + ["biller", "grant", "billed_currency"]
            posted, afresh, sample = defaultdict(lambda: [Fraction(0), Fraction(0)]), defaultdict(lambda: [Fraction(0), Fraction(0)]), ({}, {})
            for number, (sums, rows) in enumerate(((posted, [row for rows in self.posted.values() for row in rows if row["_of"] == closed]), (afresh, self.statement_lines(closed, month)))):
                for row in rows:
                    key = tuple(row[name] for name in columns)
                    sums[key][0] += row["amount"]
                    sums[key][1] += row["billed_amount"] or 0
                    sample[number][key] = row
            for key in posted.keys() | afresh.keys():
                if posted[key] != afresh[key]:
                    for kind, from_, (amount, billed) in (("re-entry", 1, afresh[key]), ("reversal", 0, [-one for one in posted[key]])):
                        if amount or billed:
                            row = sample[from_][key] | {"_of": closed}
                            has = row["billed_currency"] is not None
                            found.append(row | {"correction": kind, "amount": amount, "billed_amount": billed if has else None})
        return in_order(found, STATEMENT + ["grant", "biller", "correction"])

    def month_lines(self, month):
        """What is posted in a month: as posted where it is closed, else afresh with corrections."""
        if month in self.closes:
            rows = self.posted[month]
        else:
            rows = [row | {"_of": month, "correction": None} for row in self.statement_lines(month)] + self.corrections(month)
        return in_order(rows, STATEMENT + ["grant", "biller", "correction"])

    # Out

    def statement_id(self, row, month):
        who = self.catalog.operator if row["kind"] == "retained" else row["customer"]
        return f"{self.catalog.operator}-{month}-{who}-{row['currency'] if row['kind'] == 'retained' else row['billed_currency']}"

    def reconciles(self, asked):
        invoices, _ = self.current()
        months = sorted(self.closes) + [self.open_month(asked)]
        lines = [row for month in months for row in self.month_lines(month) if row["biller"] == self.catalog.operator]
        rows = []
        for (provider, id), entry in sorted(invoices.items()):
            for currency in sorted({line["currency"] for line in entry["last"].lines}):
                own = [row for row in lines if (row["provider"], row["invoice"], row["currency"]) == (provider, id, currency)]
                charged = sum((row["amount"] for row in own if row["kind"] != "retained"), Fraction(0))
                kept = sum((row["amount"] for row in own if row["kind"] == "retained"), Fraction(0))
                total = self.total_of(provider, entry, currency)
                rows.append({"provider": provider, "invoice": id, "version": entry["number"], "period": entry["last"].period, "currency": currency,
                    "total": total, "charged": charged, "retained": kept, "difference": total - charged - kept})
        return rows

    def gl(self, month):
        from oracle_catalog import read_toml

        accounts = read_toml(self.folder / "gl.toml")
        net = defaultdict(Fraction)
        for row in self.month_lines(month):
            if row["biller"] != self.catalog.operator:
                continue
            upstream, amount, currency = row["invoice"] or "estimate", row["amount"], row["currency"]
            net[accounts["clearing"], currency, upstream] += amount
            net[accounts["payable"].format(provider=row["provider"]), currency, upstream] -= amount
            if row["kind"] == "retained":
                account, reference = accounts["retained"].format(reason=row["retained_reason"]), upstream
            else:
                account, reference = accounts["receivable"].format(customer=row["customer"]), self.statement_id(row, month)
            net[account, currency, reference] += amount
            net[accounts["clearing"], currency, reference] -= amount
        last = f"{month}-{(utc_month(month)[1] - utc_month(month)[0]).days:02}"
        return [{"date": last, "account": account, "debit": max(amount, Fraction(0)), "credit": max(-amount, Fraction(0)), "currency": currency, "reference": reference}
            for (account, currency, reference), amount in sorted(net.items()) if amount]

    def statements(self, month):
        lines = [row for row in self.month_lines(month) if row["kind"] != "retained"]
        found = {}
        for customer in sorted(self.catalog.customers):
            own = [row for row in lines if row["customer"] == customer]

            def total(rows):
                sums = defaultdict(Fraction)
                for row in rows:
                    sums[row["billed_currency"]] += row["billed_amount"]
                return {currency: plain(amount) for currency, amount in sorted(sums.items())}

            providers = sorted({row["provider"] for row in own})
            found[customer] = {
                "period": month, "status": "closed" if month in self.closes else "open", "line_count": len([row for row in own if row["billed_amount"]]),
                "total": total(own), "corrections": total([row for row in own if row["correction"]]),
                "estimates": total([row for row in own if row["invoice"] is None and not row["correction"] and row["amount"]]),
                "by_provider": {name: total([row for row in own if row["provider"] == name]) for name in providers},
            }
        return found


def id_of(row):
    """A row by its first line, or by what it lacks one of."""
    if row.lines:
        return min((line["provider"], line["invoice"], line["line"]) for line in row.lines)
    return "none", row.provider, row.period, row.sku, row.account, row.dates


def retained(reason, amount):
    return {"customer": None, "kind": "retained", "retained_reason": reason, "amount": amount}


def write(file, columns, rows, null="", quantities=("ledger_quantity", "invoice_quantity")):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([null if row[name] is None else plain(row[name]) if isinstance(row[name], (Fraction, datetime)) else str(row[name]) for name in columns])


def comparison_rows(rows):
    return in_order([row.comparing.record(row) for row in rows], COMPARISON)


# The command line


def options_of(args):
    """Words that are no option, and what each option says."""
    words, options, rest = [], defaultdict(list), list(args)
    while rest:
        word = str(rest.pop(0))
        if word in ("--partial", "--until-caught-up"):
            options[word[2:]].append(True)
        elif word.startswith("--"):
            options[word[2:]].append(str(rest.pop(0)))
        else:
            words.append(word)
    return words, options


def replay(file, out):
    """Runs every command; where one is refused the reason is in its folder."""
    from oracle_focus import COST, DETAIL, PERIOD, billing_period_rows, cost_and_usage, invoice_detail

    base, books, out = Path(file).parent, Books(), Path(out)
    for number, command in enumerate(json.loads(Path(file).read_text())["commands"]):
        words, options = options_of(command["args"])
        one = {name: values[-1] for name, values in options.items()}
        month = one.get("period")
        asked = month or (asked if number else None)
        folder = out / f"{number:03}-{'-'.join(words[:2]).replace('/', '_')}"

        def table(name, columns, rows, null=""):
            write(folder / f"{name}.csv", columns, rows, null)

        try:
            match words:
                case ["catalog", "publish", *folders]:
                    books.publish(*(base / one for one in folders))
                case ["ingest"]:
                    books.ingest(base / one["files"])
                case ["invoice", "import", path]:
                    books.invoice_import(one["provider"], base / path, one.get("invoice"), one.get("period"), one.get("partial", False))
                case ["invoice", "withdraw"]:
                    books.withdraw(one["invoice"], one.get("provider"))
                case ["reconcile"]:
                    table("comparison", COMPARISON, comparison_rows(books.compare(month)))
                case ["reconcile", verb]:
                    names = {"sku": "sku", "sub-account": "sub_account", "class": "cls", "text": "text"}
                    books.decide(verb, month, one["provider"], **{names[name]: value for name, value in one.items() if name in names})
                case ["close"]:
                    books.close(month, options["waive"])
                case ["rate"]:
                    table("invoice_lines", LINE, books.all_lines())
                    table("comparison", COMPARISON, comparison_rows(books.compare(month)))
                    table("statement_lines", STATEMENT + ["amount"] + MORE, books.statement_lines(month))
                    table("corrections", STATEMENT + ["correction", "amount"] + MORE, books.corrections(month))
                case ["statement", customer]:
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / "statement.json").write_text(json.dumps(books.statements(month)[customer], indent=1))
                case ["export", "gl"]:
                    table("gl", "date account debit credit currency reference".split(), books.gl(month))
                case ["export", "focus"]:
                    scope = tuple(one["scope"].split("=", 1)) if "scope" in one else None
                    table("CostAndUsage", COST, cost_and_usage(books, month, scope, one.get("granularity") == "day"), "NULL")
                    table("InvoiceDetail", DETAIL, invoice_detail(books, month), "NULL")
                    table("BillingPeriod", PERIOD, billing_period_rows(books, month), "NULL")
                case ["query", _]:
                    # Before any close it is the month that was last asked for.
                    last = asked
                    table("reconciles_to_invoice", "provider invoice version period currency total charged retained difference".split(), books.reconciles(last))
                case _:
                    raise Refuses(f"no such command: {words}")
        except Refuses as error:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "refused").write_text(f"{error}\n")


if __name__ == "__main__":
    sys.modules["oracle_close"] = sys.modules["__main__"]
    replay(*sys.argv[1:])

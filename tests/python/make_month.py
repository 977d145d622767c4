"""A month that is hard to bill: `make_month.py SEED FOLDER [RECORDS]` writes FOLDER/catalog and FOLDER/events and prints the period.

The same seed gives the same bytes. Everything in it has one right answer: where the rules leave a choice, the case is left out.
"""

import json
import random
import sys
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import oracle

PERIODS = ["2025-10", "2025-10", "2025-11", "2025-09", "2025-04", "2025-03", "2025-12", "2025-02"]
ZONES = ["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Auckland", "UTC", "Africa/Cairo", "America/Havana"]
CURRENCIES = ["EUR", "EUR", "JPY", "KWD", "USD"]
MODES = ["half-up", "half-even", "half-down", "up", "down"]
METERS = {
    "storage.example/bytes-stored": ("By.s", ["tier", "region"]),
    "network.example/egress": ("By", ["destination", "class"]),
    "compute.example/cpu": ("s", ["class", "region"]),
    "compute.example/hours": ("h", ["class", "region"]),
    "power.example/energy": ("W.h", []),
    "api.example/requests": ("1", ["operation"]),
}
UNITS = {"By.s": ["GiBy.mo", "GBy.h", "MiBy.mo"], "By": ["GBy", "GiBy", "MBy"], "s": ["h", "s"], "h": ["h", "d"], "W.h": ["kW.h"], "1": ["1", "10*3"]}
# What a typical value of the meter's unit is multiplied by, so that it is worth about one of the SKU's unit.
SCALE = {"GiBy.mo": 2628000 * 2**30, "GBy.h": 3600 * 10**9, "MiBy.mo": 2628000 * 2**20, "GBy": 10**9, "GiBy": 2**30, "MBy": 10**6, "kW.h": 1000, "10*3": 1000}
# Three groups of values that SKUs may take, and one that is left to those that take the rest.
VALUES = [["a", "b"], ["c"], ["d", "e", "f"], ["z"]]
OFFSETS = [0, 0, 0, 120, -210, 345, 840, -720, 1439, -1439]
MICROSECOND = timedelta(microseconds=1)


def plain(digits, places):
    """An integer with its last `places` digits behind the point, which is how no float comes in."""
    padded = str(digits).rjust(places + 1, "0")
    return f"{padded[:-places]}.{padded[-places:]}" if places else padded


class Month:
    def __init__(self, seed, records):
        self.random = random.Random(seed)
        self.period = self.random.choice(PERIODS)
        year, month = map(int, self.period.split("-"))
        self.following = f"{year + month // 12:04}-{month % 12 + 1:02}-01"
        self.start = datetime(year, month, 1, tzinfo=timezone.utc)
        self.end = datetime.fromisoformat(self.following).replace(tzinfo=timezone.utc)
        self.days = (self.end - self.start).days
        self.edges = []
        # Where huge values are rare, tiers are not drowned.
        self.loud = self.chance(40)
        self.make_customers()
        self.providers = [self.make_provider(index) for index in range(self.random.randint(3, 6))]
        self.bind_on_edges()
        self.make_records(records)

    def chance(self, percent):
        return self.random.randrange(100) < percent

    # The catalog

    def odd_moment(self):
        return self.start + timedelta(microseconds=self.random.randrange(self.days * 86400 * 10**6))

    def make_customers(self):
        names = ["acme", "birch", "Zulu", "cedar-2", "cedar", "cedar-10", "dune", "ørsted", "ops", "lab"][: self.random.randint(5, 10)]
        self.customers = [(name, self.make_kind()) for name in names]
        self.bindings, self.subjects = [], []
        for index in range(self.random.randint(len(names), 3 * len(names))):
            subject = self.random.choice(["projects/", "Projects/", "r/é", "r/\U0001f600", "r/\uffee"]) + str(index)
            self.subjects.append(subject)
            customer = names[index] if index < len(names) else self.random.choice(names)
            shape = self.random.randrange(7)
            one, two = sorted([self.odd_moment(), self.odd_moment()])
            other = self.random.choice(names)
            early = self.start - timedelta(days=200)
            if shape < 3 or one == two:
                spans = [(early, None, customer)]
            elif shape == 3:
                spans = [(early, one, customer), (one, None, other)]
            elif shape == 4:
                spans = [(early, one, customer), (two, None, other)]
            elif shape == 5:
                spans = [(one, two, customer)]
            else:
                spans = [(early, self.start, customer), (self.end, None, other)]
            self.bindings += [(subject, owner, since, until) for since, until, owner in spans]
            self.edges += [edge for since, until, _ in spans for edge in (since, until) if edge]
        self.random.shuffle(self.bindings)
        self.subjects += ["stranger", "projects/none", "É"]

    def make_kind(self):
        if self.chance(75):
            return self.random.choice(["", "", "", "partner", "internal"])
        before, after = self.random.sample(["customer", "partner", "internal"], 2)
        date = self.random.choice([f"{self.period}-01", f"{self.period}-02", self.following, "2025-01-01"])
        return [{"is": before, "until": date}, {"is": after, "from": date}]

    def bind_on_edges(self):
        """Customers who are bound in a billing period by a microsecond, or miss it by none."""
        for number in range(self.random.randint(1, 3)):
            zone = ZoneInfo(self.random.choice(self.providers)["zone"])
            start, end = (datetime.fromisoformat(date).replace(tzinfo=zone).astimezone(timezone.utc) for date in (f"{self.period}-01", self.following))
            year, step = timedelta(days=365), self.random.randint(0, 1) * MICROSECOND
            span = self.random.choice([(start - year, start + step), (end - step, end + year), (start, start + MICROSECOND)])
            self.customers.append((f"edge-{number}", ""))
            self.subjects.append(f"projects/edge-{number}")
            self.bindings.append((self.subjects[-1], f"edge-{number}", *span))
            self.edges += span

    def make_provider(self, index):
        provider = {"id": f"{self.random.choice('zmaqt')}{index}", "zone": self.random.choice(ZONES), "skus": []}
        provider["currency"] = self.random.choice(CURRENCIES)
        provider["mode"] = self.random.choice(MODES)
        zone = ZoneInfo(provider["zone"])
        for date in (f"{self.period}-01", self.following):
            self.edges.append(datetime.fromisoformat(date).replace(tzinfo=zone).astimezone(timezone.utc))
        for meter in self.random.sample(sorted(METERS), self.random.randint(2, 5)):
            unit, dimensions = METERS[meter]
            matches = [None]
            if dimensions and self.chance(75):
                first = dimensions[0]
                groups = self.random.sample(VALUES[:3], self.random.randint(1, 3))
                matches = [{first: group if len(group) > 1 or self.chance(50) else group[0]} for group in groups]
                if len(dimensions) > 1 and self.chance(50):
                    split = matches.pop()
                    matches += [{**split, dimensions[1]: "a"}, {dimensions[1]: ["b", "c"], **split}]
                if self.chance(60):
                    matches.insert(self.random.randrange(len(matches) + 1), None)
            for match in matches:
                provider["skus"].append(self.make_metered(provider, meter, unit, match))
                if self.chance(20):
                    self.follow(provider, meter, unit, match)
        for _ in range(self.random.randint(1, 4)):
            provider["skus"].append(self.make_flat(provider))
        return provider

    def follow(self, provider, meter, unit, match):
        """Ends the last SKU on a day, on which another one begins to take the same."""
        date = f"{self.period}-{self.random.randint(2, self.days):02}"
        ended, begun = provider["skus"][-1], self.make_metered(provider, meter, unit, match)
        before = [price for price in ended["prices"] if price["from"] < date]
        after = [price for price in begun["prices"] if price["until"] is None or price["until"] > date]
        if before and after:
            before[-1]["until"] = min(before[-1]["until"] or date, date)
            after[0]["from"] = max(after[0]["from"], date)
            ended["prices"], begun["prices"] = before, after
            provider["skus"].append(begun)
            self.edges.append(datetime.fromisoformat(date).replace(tzinfo=ZoneInfo(provider["zone"])).astimezone(timezone.utc))

    def make_dates(self, provider, gaps):
        """Dated spans, of which some may leave days without a price."""
        zone = ZoneInfo(provider["zone"])
        days = sorted(self.random.sample(range(1, self.days + 1), self.random.randint(0, 3)))
        # What begins within the month is not there before.
        dates = ["2025-01-01"] if not days or self.chance(85) else []
        dates += [f"{self.period}-{day:02}" for day in days if f"{self.period}-{day:02}" != "2025-01-01"]
        spans = list(zip(dates, dates[1:] + [None]))
        if gaps and len(spans) > 1 and self.chance(40):
            del spans[self.random.randrange(len(spans))]
        if len(spans) == len(dates) and self.chance(15):
            last = f"{self.period}-{self.days:02}"
            spans[-1] = (spans[-1][0], self.random.choice([self.following, last]) if spans[-1][0] < last else self.following)
        for date in dates[dates[0] == "2025-01-01" :]:
            self.edges.append(datetime.fromisoformat(date).replace(tzinfo=zone).astimezone(timezone.utc))
        return spans

    def unit_price(self):
        price = self.random.choice(["0.1", "0.023", "0.05", "2.5", "1", "0.333333333333333333", "0.000000000123456789", "0.000000000000000001", "7.77"])
        return price if self.chance(60) else plain(self.random.randrange(10**6), self.random.randint(3, 9))

    def make_tiers(self):
        count = self.random.randint(2, 5)
        # Small round bounds, which sums of small round values hit exactly.
        bounds = sorted(self.random.sample(range(1, 200), count - 1)) if self.chance(70) else sorted(self.random.sample(range(1, 10**12), count - 1))
        places = 0 if bounds[-1] < 200 and self.chance(70) else self.random.randint(1, 9)
        tiers = [{"up_to": plain(bound, places), "unit_price": self.unit_price()} for bound in bounds] + [{"unit_price": self.unit_price()}]
        if self.chance(40):
            tiers[0]["unit_price"] = "0"
        return tiers

    def make_model(self, model):
        if model == "per_unit":
            return {"unit_price": ("-" if self.chance(4) else "") + self.unit_price()}
        if model == "package":
            return {"size": self.random.choice(["1", "10", "0.5", "2.5", "0.333333333", "1000", "7"]), "package_price": self.unit_price()}
        return {"tiers": self.make_tiers()} if model in ("graduated", "volume") else {}

    def make_metered(self, provider, meter, unit, match):
        sku = {"id": f"S-{len(provider['skus'])}", "meter": meter, "match": match, "unit": self.random.choice(UNITS[unit])}
        if sku["unit"].endswith(".mo"):
            sku["month"] = self.random.choice(["730 h", "720 h", "730.5 h", "744 h"])
        self.share(sku, ["proportional", "proportional", "proportional", "direct", "direct", "even", "even", "fixed"])
        choices = self.random.choice([["per_unit", "per_unit", "per_unit", "zero"], ["per_unit", "graduated", "graduated", "volume", "volume", "package", "zero"]])
        models = [self.random.choice(choices) for _ in range(4)]
        if self.chance(35):
            models = models[:1] * 4
        # Whether usage without a price counts towards tiers is not said.
        gaps = not {"graduated", "volume", "package"} & set(models)
        spans = self.make_dates(provider, gaps)
        sku["prices"] = [{"from": since, "until": until, "model": model, **self.make_model(model)} for (since, until), model in zip(spans, models)]
        return sku

    def make_flat(self, provider):
        sku = {"id": f"S-{len(provider['skus'])}"}
        self.share(sku, ["even", "even", "fixed"])
        sku["prices"] = []
        for since, until in self.make_dates(provider, True):
            amount = ("-" if self.chance(25) else "") + self.random.choice(FLAT_AMOUNTS)
            sku["prices"].append({"from": since, "until": until, "model": "flat", "amount": amount, "every": self.random.choice(["month", "month", "once"])})
        return sku

    def share(self, sku, rules):
        sku["allocation"] = self.random.choice(rules)
        names = [name for name, _ in self.customers]
        some = self.random.sample(names, self.random.randint(1, len(names)))
        if sku["allocation"] == "even" and self.chance(40):
            sku["among"] = some
        if sku["allocation"] == "fixed":
            sku["shares"] = {name: self.random.choice(["1", "1", "2", "0.5", "0.333333333", "10"]) for name in some}

    # The events

    def takes(self, provider, meter, dimensions):
        def holds(match):
            return all(dimensions.get(name) in (values if type(values) is list else [values]) for name, values in (match or {}).items())

        return any(sku.get("meter") == meter and holds(sku["match"]) for sku in provider["skus"])

    def value(self, meter):
        unit = METERS[meter][0]
        kind = self.random.randrange(100)
        if kind < 8:
            return "0"
        if kind < 16:
            return plain(self.random.randrange(1, 100), 9)
        if kind < 21 and self.loud and unit in ("By.s", "By"):
            return self.random.choice(["9999999999999999999.999999999", "9999999999999999999", plain(self.random.randrange(10**27, 10**28), 9)])
        if kind < 24 and self.loud:
            return plain(self.random.randrange(10**15, 10**17), self.random.randint(3, 9))
        if kind < 70:
            return str(self.random.randint(1, 5) * SCALE.get(self.random.choice(UNITS[unit]), 1))
        return plain(self.random.randrange(1, 10**12), self.random.randint(0, 9) if self.loud else 9)

    def within(self):
        """Well inside the month in every zone."""
        return self.start + timedelta(days=2, microseconds=self.random.randrange((self.days - 4) * 86400 * 10**6))

    def anywhere(self):
        if self.chance(35):
            return self.random.choice(self.edges) + self.random.choice([-1, 0, 0, 1]) * MICROSECOND
        return self.start - timedelta(days=2) + timedelta(microseconds=self.random.randrange((self.days + 4) * 86400 * 10**6))

    def event(self):
        meter = self.random.choice(sorted(METERS))
        dimensions = {name: self.random.choice(self.random.choice(VALUES)) for name in METERS[meter][1] if self.chance(92)}
        if self.chance(8):
            dimensions[self.random.choice(["colour", "class ", "Tier"])] = self.random.choice(["a", "", "ü"])
        self.number += 1
        event = {"id": f"{self.number}", "source": self.random.choice(["//edge/1", "//edge/2"]), "type": meter, "subject": self.random.choice(self.subjects)}
        event |= {"time": self.anywhere(), "value": self.value(meter), "dimensions": dimensions, "provider": None, "location": None, "resource": None}
        takers = [provider for provider in self.providers if self.takes(provider, meter, dimensions)]
        if self.chance(75) and takers:
            event["provider"] = self.random.choice(takers)["id"]
        elif self.chance(40):
            event["provider"] = self.random.choice(self.providers)["id"]
        elif len(takers) != 1:
            event["time"] = self.within()
        # What nobody can rate belongs to no zone, so it must be inside the month in all of them.
        if self.chance(2):
            event |= {"time": self.within(), "provider": "nobody"}
        elif self.chance(2):
            event |= {"time": self.within(), "provider": None, "type": self.random.choice(["compute.example/none", "Compute.example/hours"])}
        if self.chance(5):
            event["location"] = self.random.choice(["Kiel", "北京"])
        if self.chance(5):
            event["resource"] = {"id": "x", "ü": ""}
        return event

    def write_time(self, time):
        minutes = self.random.choice(OFFSETS)
        local = time + timedelta(minutes=minutes)
        digits = f"{local.microsecond:06}"
        if self.chance(60):
            digits = digits.rstrip("0")
        offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}" if minutes or self.chance(20) else "Z"
        return f"{local:%Y-%m-%dT%H:%M:%S}{'.' if digits else ''}{digits}{offset}"

    def write_value(self, value):
        """The text of a JSON string or number that means the value."""
        whole, _, decimals = value.partition(".")
        kind = self.random.randrange(10)
        if kind < 6:
            return json.dumps(value)
        if kind == 6 and decimals:
            digits = (whole + decimals).lstrip("0") or "0"
            return f"{digits}{self.random.choice('eE')}-{len(decimals)}"
        if kind == 7 and not decimals and value.endswith("000"):
            return f"{value[:-3]}{self.random.choice(['e3', 'E+3', '.0e3', '.0E+03'])}"
        if kind == 8 and len(decimals) < 9:
            return json.dumps(value + ("0" if decimals else ".0"))
        return value

    def write(self, event, change=None):
        """One line. `change` may spoil the objects before they become text."""
        data = {"value": "\x00", "dimensions": event["dimensions"]}
        data |= {name: event[name] for name in ("provider", "location", "resource") if event[name] is not None}
        if not event["dimensions"] and self.chance(50):
            del data["dimensions"]
        outer = {"specversion": "1.0"} | {name: event[name] for name in ("id", "source", "type", "subject")} | {"time": self.write_time(event["time"])}
        if self.chance(90):
            outer["datacontenttype"] = "application/json"
        outer["data"] = data
        literal = self.write_value(event["value"])
        if change:
            literal = change(outer, data) or literal
        if isinstance(data, dict) and self.chance(30):
            items = list(data.items())
            self.random.shuffle(items)
            data.clear()
            data.update(items)
        if self.chance(30):
            items = list(outer.items())
            self.random.shuffle(items)
            outer = dict(items)
        separators = self.random.choice([(",", ":"), (", ", ": "), (" ,\t", " :  ")])
        return json.dumps(outer, ensure_ascii=self.chance(50), separators=separators).replace('"\\u0000"', literal)

    def spoiled(self):
        """A line that is no usage event, one of many ways."""
        event = self.event()

        def outer_is(name, value):
            return lambda outer, data: outer.update({name: value})

        def data_is(name, value):
            return lambda outer, data: data.update({name: value})

        def without(name):
            return lambda outer, data: (outer if name in outer else data).pop(name) and None

        def value_is(literal):
            return lambda outer, data: literal

        changes = [outer_is("time", time) for time in BAD_TIMES] + [value_is(literal) for literal in BAD_VALUES]
        changes += [without(name) for name in "specversion id source type subject time data value".split()]
        changes += [outer_is(name, wrong) for name in "id source type subject time specversion".split() for wrong in ("", 7, None, ["x"], True)]
        changes += [outer_is("specversion", wrong) for wrong in ("0.3", "1", "1.00")] + [outer_is("datacontenttype", "text/plain")]
        changes += [outer_is("data", wrong) for wrong in ([], "1", None, 1)]
        changes += [data_is("dimensions", wrong) for wrong in (["class"], "class", 1, {"class": 1}, {"class": None}, {"class": ["a"]}, {"class": {}})]
        changes += [data_is("provider", 1), data_is("provider", ["a"]), data_is("location", 1), data_is("resource", "x"), data_is("resource", {"id": 1})]
        if self.chance(75):
            return self.write(event, self.random.choice(changes)).encode()
        line = self.write(event)
        ways = [
            lambda: (line + " x").encode(),
            lambda: (line + line).encode(),
            lambda: (line + ",").encode(),
            lambda: line[:-1].encode(),
            lambda: (line[:-1] + ",}").encode(),
            lambda: f"[{line}]".encode(),
            lambda: (line[:-1] + ',"id":"again"}').encode(),
            lambda: (line[:-1] + ',"\\u0069d":"again"}').encode(),
            lambda: self.write(event, lambda outer, data: data.update(dimensions="\x01")).replace('"\\u0001"', '{"class":"a","class":"a"}').encode(),
            lambda: self.write(event, lambda outer, data: data.update(dimensions="\x01")).replace('"\\u0001"', '{"class":"a","cl\\u0061ss":"b"}').encode(),
            lambda: self.write(event, lambda outer, data: outer.update(subject="\x01")).replace('"\\u0001"', '"a\\q"').encode(),
            lambda: self.write(event, lambda outer, data: outer.update(subject="\x01")).replace('"\\u0001"', '"a\tb"').encode(),
            lambda: self.write(event, lambda outer, data: outer.update(subject="\x01")).encode().replace(b'"\\u0001"', b'"\xc3\x28"'),
            lambda: self.write(event, lambda outer, data: outer.update(subject="\x01")).encode().replace(b'"\\u0001"', b'"\xed\xa0\x80"'),
            lambda: line.replace('"', "'").encode(),
            lambda: ("// " + line).encode(),
            lambda: b"null",
            lambda: b'"usage"',
            lambda: b"1",
        ]
        return self.random.choice(ways)()

    def make_records(self, records):
        self.number = 0
        self.lines, events = [], []
        while len(self.lines) < records:
            kind = self.random.randrange(100)
            if kind < 80 or not events:
                events.append(self.event())
                self.lines.append(self.write(events[-1]).encode())
            elif kind < 87:
                for _ in range(self.random.choice([1, 1, 1, 2, 3])):
                    self.lines.append(self.write(self.random.choice(events)).encode())
            elif kind < 92:
                event = dict(self.random.choice(events))
                other = self.event()
                name = self.random.choice(["type", "subject", "time", "value", "dimensions", "provider", "location", "resource"])
                event[name] = event["time"] + MICROSECOND if name == "time" else other[name]
                for _ in range(self.random.choice([1, 1, 2])):
                    self.lines.append(self.write(event).encode())
            else:
                self.lines.append(self.spoiled())
        # Duplicates and conflicts may come long after, or before what they repeat.
        for _ in range(records // 20):
            one, two = self.random.randrange(records), self.random.randrange(records)
            self.lines[one], self.lines[two] = self.lines[two], self.lines[one]

    def sharpen(self, lines):
        """Moves bounds of tiers and sizes of packages to where usage reaches them exactly, or misses them by the smallest quantity."""
        reached = defaultdict(list)
        for line, _, _ in lines:
            totals = reached[line["provider"], line["sku"]]
            if not totals or totals[-1][0] != line["sub_account"]:
                totals.append((line["sub_account"], 0))
            totals.append((line["sub_account"], totals[-1][1] + line["quantity"]))
        for provider in self.providers:
            for sku in provider["skus"]:
                totals = [total * 10**9 for _, total in reached[provider["id"], sku["id"]]]
                totals = [int(total) for total in totals if total > 0 and total.denominator == 1]
                for price in sku["prices"] if totals and self.chance(80) else []:
                    total = self.random.choice(totals) + self.random.choice([-1, 0, 0, 0, 1])
                    if price["model"] == "package" and 10**9 <= total:
                        parts = self.random.choice([part for part in (1, 2, 3, 5) if total % part == 0])
                        price["size"] = plain(total // parts, 9)
                    elif "tiers" in price and total > 0 and plain(total, 9) not in [tier.get("up_to") for tier in price["tiers"]]:
                        price["tiers"][self.random.randrange(len(price["tiers"]) - 1)]["up_to"] = plain(total, 9)
                        bounds = sorted((tier["up_to"] for tier in price["tiers"][:-1]), key=Decimal)
                        if len(set(map(Decimal, bounds))) == len(bounds):
                            for tier, bound in zip(price["tiers"], bounds):
                                tier["up_to"] = bound
                        else:
                            del price["tiers"][:-2]
                            price["tiers"][0]["up_to"] = plain(total, 9)

    # Files

    def save_catalog(self, catalog):
        save(catalog / "catalog.toml", 'operator = "commons"\nname = "Commons"\n')
        meters = [{"type": meter, "unit": unit, "aggregation": "sum", "dimensions": dimensions} for meter, (unit, dimensions) in METERS.items()]
        save(catalog / "meters.toml", "".join("[[meter]]\n" + table(meter) for meter in meters))
        customers = [{"id": name, "name": name.title(), "kind": kind or None, "currency": "EUR"} for name, kind in self.customers]
        save(catalog / "customers.toml", "".join("[[customer]]\n" + table(customer) for customer in customers))
        rows = [f"{subject},{owner},{utc(since)},{utc(until) if until else ''}\n" for subject, owner, since, until in self.bindings]
        save(catalog / "bindings.csv", "subject,customer,from,until\n" + "".join(rows))
        for provider in self.providers:
            own = catalog / "providers" / provider["id"]
            fields = {"id": provider["id"], "name": provider["id"], "billing_account": f"A-{provider['id']}"}
            fields |= {"currency": provider["currency"], "time_zone": provider["zone"]}
            save(own / "provider.toml", table(fields) + "[rounding]\n" + table({"mode": provider["mode"]}))
            text = ""
            for sku in provider["skus"]:
                text += "[[sku]]\n" + table({"name": sku["id"]} | {name: value for name, value in sku.items() if name != "prices"})
                text += "".join("[[sku.price]]\n" + table(price) for price in sku["prices"])
            save(own / "prices.toml", text)

    def save_events(self, events):
        events.mkdir(parents=True)
        count = self.random.randint(2, 6)
        cuts = [0, *sorted(self.random.sample(range(1, len(self.lines)), count - 1)), len(self.lines)]
        # In the order of bytes 10 comes before 9.
        names = sorted(self.random.sample([f"{number}.ndjson" for number in range(1, 30)], count))
        for name, start, end in zip(names, cuts, cuts[1:]):
            (events / name).write_bytes(b"\n".join(self.lines[start:end]) + (b"\n" if self.chance(70) else b""))


# Among them what lies half way between two minor units, of 0, 2 or 3 digits.
FLAT_AMOUNTS = ["99.99", "100", "0", "0.005", "0.015", "2.5", "3.5", "0.0005", "12345678.0015", "1.0049", "0.000000000000000007", "0.01"]
# What stands between the quotes of a string, the value of a JSON string or number, and the string of a time.
BAD_TEXTS = ["+1", "-1", "-0", "--1", "1.", ".5", ".", "1.2.3", "1_0", "1,5", "1,000", "\u0661\u0662", "\uff11", "0x10", "1e3"]
BAD_TEXTS += ["NaN", "nan", "inf", "Infinity", "", " ", " 1", "1 ", r"1\n", r"1\u0000"]
BAD_TEXTS += ["0.0000000001", "1.0000000001", "10000000000000000000", "99999999999999999999.5", "9999999999999999999.9999999999"]
BAD_VALUES = [f'"{text}"' for text in BAD_TEXTS]
BAD_VALUES += ["-1", "-0.5", "1e400", "1e19", "1e-10", "1.0000000001", "10000000000000000000", "9" * 41, "1E+300"]
BAD_VALUES += ["true", "false", "null", "[]", "[1]", "{}", '{"value":"1"}']
BAD_VALUES += ["NaN", "Infinity", "-Infinity", "+1", "1.", ".5", "01", "1e", "0x1", "1_0", "- 1"]
BAD_TIMES = ["2025-10-01", "08:00:00Z", "2025-10-01T08:00:00", "2025-10-01TZ", "T", "yesterday", "1759305600", "2999-01-01T00:00:00Z"]
BAD_TIMES += [f"{day}T08:00:00Z" for day in ("2025-13-01", "2025-00-01", "2025-10-32", "2025-10-00", "2025-02-29", "2025-1-1")]
BAD_TIMES += [f"2025-10-01T{time}Z" for time in ("24:00:00", "25:00:00", "08:60:00", "08:00:61", "8:00:00", "08:00:00.")]
BAD_TIMES += [f"2025-10-01T08:00:00{offset}" for offset in ("+02:60", "+24:00", " Z ", "ZZ", "Z x", "Z\n", "CET")] + [" 2025-10-01T08:00:00Z"]


def utc(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".") + "Z"


def literal(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {literal(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def table(fields):
    return "".join(f"{name} = {literal(value)}\n" for name, value in fields.items() if value is not None)


def save(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def main(seed, folder, records=None):
    # A number of records of its own for each seed, unless one is asked for.
    month = Month(int(seed), int(records or 2000 + int(seed) * 7919 % 3000))
    catalog, events = Path(folder) / "catalog", Path(folder) / "events"
    month.save_catalog(catalog)
    month.save_events(events)
    _, usage = oracle.read_events(events, datetime.now(timezone.utc))
    lines, _ = oracle.rate(oracle.Catalog(catalog), usage, month.period)
    month.sharpen(lines)
    month.save_catalog(catalog)
    print(month.period)


if __name__ == "__main__":
    main(*sys.argv[1:])

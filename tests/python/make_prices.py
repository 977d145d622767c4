"""Two months that are hard to price: `make_prices.py SEED OUT [--features]` writes OUT/catalog and OUT/events and prints both periods.

The same seed gives the same bytes. The catalog is one that `atcost catalog check` has to accept. Where the rules leave a choice, the case
is mostly left out: corrections of corrections, levels over days without a price, two amounts of one series at one instant, standalone below 0.
"""

import json
import random
import sys
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

from make_month import literal, plain, save, table, utc
from oracle_catalog import billing_days, midnight, minor_digits, month_after, span, utc_month
from oracle_meters import ADDS_UP_OVER_DAYS

MONTHS = ["2025-10", "2025-11", "2025-10", "2025-03", "2025-02", "2025-12", "2026-01", "2025-06"]
ZONES = ["America/New_York", "Europe/Lisbon", "Asia/Tokyo", "Asia/Kolkata", "America/Havana", "UTC", "Europe/Berlin"]
ANCHORS = [str(day) for day in (2, 9, 15, 28, 29, 30, 31, 31)]
CURRENCIES = ["EUR", "USD", "JPY", "KWD"]
MODES = ["half-up", "half-even", "half-down", "up", "down"]
MICROSECOND = timedelta(microseconds=1)
CLASSES = ["a", "b", "c"]
# What a meter may be in, and what its SKUs may be in: of amounts, of a level's integral, of a rate.
UNITS = {
    "By": (["GBy", "MiBy", "GiBy"], ["GiBy.mo", "GBy.h"], ["Mbit/s", "MBy/s", "By/s"]),
    "GBy": (["GBy", "TBy"], ["GBy.h", "GBy.mo", "TBy.d"], ["Gbit/s"]),
    "s": (["h", "min", "s"], ["h.s"], ["s/h"]),
    "1": (["1", "10*3"], ["h", "s", "d", "mo"], ["1/s", "1/h"]),
    "W": (["kW"], ["kW.h", "W.h"], ["W/s"]),
    "Mbit/s": (["Mbit/s", "Gbit/s"], ["Mbit"], None),
}
SCALES = {"By": 10**9, "s": 3600}
PRICES = ["0.1", "0.023", "0.05", "2.5", "1", "0.333333333333333333", "0.000000000123456789", "0.000000000000000001", "7.77", "0.00005", "0.125"]


class Pair:
    def __init__(self, seed):
        self.random = random.Random(f"prices {seed}")
        self.features = set()
        self.months = [self.pick(MONTHS)]
        self.months.append(month_after(self.months[0]))
        self.start, self.end = utc_month(self.months[0])[0], utc_month(self.months[1])[1]
        self.edges = {utc_month(self.months[1])[0]}
        self.lines, self.meters, self.taken = [], [], set()
        self.make_customers()
        self.make_meters()
        self.providers = [self.make_provider(index) for index in range(self.random.randint(2, 3))]
        self.providers.append(self.make_fees())
        self.make_bindings()
        self.make_grants()
        self.make_rates()
        self.make_events()

    def chance(self, percent):
        return self.random.randrange(100) < percent

    def pick(self, choices):
        return self.random.choice(choices)

    def used(self, *names):
        self.features.update(names)

    # Customers

    def make_customers(self):
        names = ["acme", "birch", "cedar", "Zulu", "dune", "ørsted", "elm", "nova"][: self.random.randint(5, 8)]
        self.customers = [{"id": name, "name": name.title(), "currency": self.pick(CURRENCIES)} for name in names]
        self.customers.append({"id": "ops", "name": "Operations", "kind": "internal", "currency": "EUR"})
        if self.chance(30):
            self.used("dated kind")
            day = self.pick([f"{self.months[1]}-01", f"{self.months[1]}-02"])
            self.customers[0]["kind"] = [{"is": "customer", "until": day}, {"is": "internal", "from": day}]
        if self.chance(70):
            self.used("bills_to")
            partner, *others = self.random.sample(self.customers[1:-1], self.random.randint(2, 4))
            partner["kind"] = "partner"
            for other in others:
                other["bills_to"] = partner["id"]
        self.names = [customer["id"] for customer in self.customers]
        self.subjects = [f"{self.pick(['projects/', 'r/é'])}{number}" for number in range(self.random.randint(5, 9))]

    def make_bindings(self):
        """After the providers, so that payers change on the edges of prices and windows."""
        rows = []
        for subject in self.subjects:
            shape, one, two = self.random.randrange(8), *self.random.sample(self.names, 2)
            early = self.start - timedelta(days=200)
            at = self.pick(sorted(edge for edge in self.edges if edge > early)) if self.chance(60) else self.anywhere()
            if shape < 4:
                rows.append((subject, one, early, None))
            elif shape < 6:
                self.used("payer changes")
                rows += [(subject, one, early, at), (subject, two, at, None)]
            elif shape == 6:
                self.used("binding ends")
                rows.append((subject, one, early, at))
            else:
                self.used("binding of a microsecond")
                rows.append((subject, one, at, at + MICROSECOND))
            self.edges |= {edge for row in rows[-2:] for edge in row[2:] if edge and edge > early}
        self.bindings = rows
        self.subjects.append("stranger")

    # Meters

    def make_meters(self):
        amounts = ["sum", "sum", "count", "max", "min", "average", "latest", "unique", "rate"]
        for number in range(self.random.randint(8, 12)):
            unit = self.pick(list(UNITS))
            meter = {"type": f"m{number}.example/used", "unit": unit, "dimensions": ["class", "way"]}
            shape = self.pick(["amount", "amount", "counter", "level", "level", "again", "money"])
            if shape == "again":
                # A second way to count the events of another meter, of whatever kind.
                others = [other for other in self.meters if "events" not in other and other["unit"] not in CURRENCIES]
                if not others:
                    continue
                other = self.pick(others)
                self.used("events")
                meter |= {"events": other["type"], "unit": other["unit"]}
                shape = "counter" if other.get("kind") else "level" if other["aggregation"] == "time_weighted" else "amount"
            if shape == "money":
                self.used("currency unit")
                meter |= {"unit": self.pick(CURRENCIES), "aggregation": "sum"}
            elif shape == "level" and UNITS[meter["unit"]][1]:
                meter |= {"aggregation": "time_weighted", "carry": self.pick(["6 h", "1 d", "90 min", "2 d"])}
            elif shape == "counter":
                meter |= {"kind": "counter", "aggregation": self.pick(["sum", "sum", "max", "min", "average", "rate"]), "carry": self.pick(["15 min", "3600 s", "6 h"])}
                self.used("counter")
            else:
                meter["aggregation"] = self.pick(amounts)
            if meter["aggregation"] == "rate" and not UNITS[meter["unit"]][2]:
                meter["aggregation"] = "sum"
            if meter["aggregation"] in ("count", "unique"):
                meter["unit"] = "1"
            if meter["aggregation"] == "unique":
                meter["distinct"] = "way"
            if self.chance(55) and shape != "money":
                meter["window"] = self.pick(["5 min", "1 h", "90 min", "6 h", "8 h", "1 d", "1 d"])
                self.used(f"window {meter['window']}")
                over = self.pick(["sum", "sum", "max", "min", "average", "percentile", "percentile"])
                if over != "sum" or self.chance(20):
                    meter["over"] = over
                if over in ("min", "average", "percentile"):
                    meter["empty"] = self.pick(["zero", "skip"])
                    self.used(f"empty {meter['empty']}")
                if over == "percentile":
                    meter["percentile"] = self.pick(["95", "50", "100", "99.9", "0.5", "33.333"])
                self.used(f"over {over}")
            if self.chance(25) and shape != "money":
                meter["greater_of"] = {"dimension": self.pick(["class", "way"]), "at": self.pick(["window", "period"]) if "window" in meter else "period"}
                self.used(f"greater_of {meter['greater_of']['at']}")
            must = meter["aggregation"] in ("max", "min", "average", "unique", "latest") or meter.get("over", "sum") != "sum"
            if must or "greater_of" in meter or self.chance(30):
                meter["per"] = self.pick(["account", "customer", "subject", "resource"])
                self.used(f"per {meter['per']}")
            self.used(meter["aggregation"])
            self.meters.append(meter)

    # Providers

    def midnights(self, zone):
        return [midnight(day, zone) for month in self.months for day in billing_days(month, self.anchor)]

    def make_provider(self, index):
        self.anchor = int(self.pick(ANCHORS)) if self.chance(60) else 1
        provider = {"id": f"{self.pick('zmaq')}{index}", "currency": self.pick(CURRENCIES), "time_zone": self.pick(ZONES), "skus": []}
        provider["anchor"] = str(self.anchor) if self.anchor > 1 or self.chance(20) else None
        self.used(f"zone {provider['time_zone']}", *([f"anchor {self.anchor}"] if self.anchor > 1 else []))
        provider["rounding"] = {"mode": self.pick(MODES)}
        if self.chance(50):
            self.used("steps")
            provider["rounding"]["steps"] = {"places": self.pick(["0", "2", "4", "6", "18"]), "mode": self.pick(MODES)}
        self.edges |= set(self.midnights(provider["time_zone"]))
        mine = [meter for meter in self.meters if meter["unit"] not in CURRENCIES or meter["unit"] == provider["currency"]]
        self.keys = mine
        for meter in self.random.sample(mine, min(len(mine), self.random.randint(4, 6))):
            for match in self.make_matches():
                self.make_metered(provider, meter, match)
        for _ in range(self.random.randint(1, 2)):
            self.make_flat(provider)
        takers = []
        for _ in range(self.random.randint(2, 5)):
            self.make_on_lines(provider, takers)
        return provider

    def make_fees(self):
        self.anchor = 1
        provider = {"id": "commons", "currency": "EUR", "time_zone": "Europe/Berlin", "skus": [], "anchor": None, "rounding": {"mode": "half-even"}}
        self.used("own fees")
        self.keys = [meter for meter in self.meters if meter["unit"] not in CURRENCIES] or self.meters[:1]
        self.make_flat(provider)
        return provider

    def make_matches(self):
        if self.chance(50):
            return [None]
        self.used("match")
        group = self.random.sample(CLASSES, 2)
        return self.pick([[{"class": group}], [{"class": group}, None], [{"class": group[0]}, {"class": group[1]}], [None, {"class": group[0]}]])

    def sku(self, provider, **keys):
        sku = {"id": f"S-{len(provider['skus'])}", "prices": []} | keys
        provider["skus"].append(sku)
        return sku

    def make_spans(self, provider, whole_periods, gaps=False):
        """Dated spans. Prices of what does not add up over days begin and end with a billing period."""
        periods = [str(billing_days(month, self.anchor)[0]) for month in (month_after(self.months[0], -8), *self.months)]
        days = [f"{month}-{day:02}" for month in self.months for day in self.random.sample(range(1, 29), 2)]
        first, choices = (periods[0], periods[1:]) if whole_periods else ("2024-01-01", days + periods[1:])
        count = self.pick([0, 0, 0, 1, 1, 2])
        dates = sorted({first, *self.random.sample(sorted(set(choices)), min(count, len(set(choices))))})
        spans = list(zip(dates, dates[1:] + [None]))
        if len(spans) > 1:
            self.used("price changes")
        if gaps and len(spans) == 3 and self.chance(50):
            self.used("gap between prices")
            del spans[1]
        if gaps and self.chance(10) and spans[-1][0] < periods[2]:
            self.used("prices end")
            spans[-1] = (spans[-1][0], periods[2])
        if gaps and self.chance(10):
            self.used("prices begin")
            spans = spans[1:] or spans
        self.edges |= {midnight(date, provider["time_zone"]) for both in spans for date in both if date and date > "2024-06"}
        return spans

    def unit_price(self):
        return self.pick(PRICES) if self.chance(70) else plain(self.random.randrange(10**6), self.random.randint(3, 9))

    def signed(self, text, percent):
        return ("-" if self.chance(percent) else "") + text

    def make_tiers(self, flats):
        bounds = sorted(self.random.sample(range(1, 60), self.random.randint(1, 3)))
        tiers = [{"up_to": plain(bound, 0) if self.chance(70) else plain(bound * 10**6 + 1, 6), "unit_price": self.unit_price()} for bound in bounds]
        tiers.append({"unit_price": self.unit_price()})
        for tier in tiers:
            if flats and self.chance(40):
                self.used("flat in a tier")
                tier["flat"] = self.signed(self.pick(["5", "0.005", "100", "0.0001", "3.3333333"]), 10)
        return tiers

    def make_model(self, model, flats=True):
        if model == "per_unit":
            return {"model": model, "unit_price": self.unit_price()}
        if model == "package":
            return {"model": model, "size": self.pick(["1", "10", "0.5", "2.5", "0.333333333", "7"]), "package_price": self.unit_price()}
        return {"model": model} | ({"tiers": self.make_tiers(flats)} if model in ("graduated", "volume") else {})

    def share(self, sku, rules):
        sku["allocation"] = self.pick(rules)
        self.used(sku["allocation"])
        if sku["allocation"] == "even" and self.chance(40):
            sku["among"] = self.random.sample(self.names, self.random.randint(1, 3))
        if sku["allocation"] == "fixed":
            sku["shares"] = {name: self.pick(["1", "2", "0.5", "0.333333333"]) for name in self.random.sample(self.names, self.random.randint(1, 3))}
        if sku["allocation"] == "by_meter":
            sku["key"] = self.pick(self.keys)["type"]

    def make_metered(self, provider, meter, match):
        units = UNITS.get(meter["unit"])
        place = {"time_weighted": 1, "rate": 2}.get(meter["aggregation"], 0)
        sku = self.sku(provider, meter=meter["type"], match=match, unit=self.pick(units[place]) if units else meter["unit"])
        if meter["aggregation"] in ("count", "unique"):
            sku["unit"] = "1"
        if "mo" in sku["unit"].split("."):
            sku["month"] = self.pick(["730 h", "calendar", "calendar"])
            self.used(f"month {sku['month']}")
        self.share(sku, ["proportional", "proportional", "proportional", "direct", "direct", "even", "fixed", "standalone", "standalone", "by_meter"])
        whole = meter["aggregation"] not in ADDS_UP_OVER_DAYS and "window" not in meter or meter.get("over", "sum") != "sum"
        level = meter["aggregation"] == "time_weighted"
        simple = self.chance(30)
        for since, until in self.make_spans(provider, whole, gaps=simple and not level):
            # Whether usage without a price counts towards tiers is not said.
            model = self.pick(["per_unit", "per_unit", "zero"]) if simple else self.pick(["per_unit", "graduated", "graduated", "volume", "volume", "package"])
            price = {"from": since, "until": until} | self.make_model(model)
            if not units:
                price |= {"model": "per_unit", "unit_price": "1"}
                price.pop("tiers", None), price.pop("size", None), price.pop("package_price", None)
            if not simple and self.chance(35) and model != "zero":
                self.used("free")
                price["free"] = self.pick(["2", "10", "0.000000001", "0.5", "1000"])
            if self.chance(60 if "per" in meter else 20) and model != "zero":
                mode = self.pick(MODES)
                self.used("increment", f"increment {'of a window' if 'window' in meter and not whole else 'of a scope'}")
                price["increment"] = {"size": self.pick(["1", "0.25", "5", "0.000001"]), "mode": mode}
            for tier in price.get("tiers", []) if sku["allocation"] == "standalone" else []:
                # What somebody would pay below 0 is no weight.
                if "flat" in tier:
                    tier["flat"] = tier["flat"].lstrip("-")
            if model == "per_unit" and sku["allocation"] != "standalone" and units and self.chance(5):
                self.used("unit price below 0")
                price["unit_price"] = "-" + price["unit_price"].lstrip("-")
            self.used(model)
            sku["prices"].append(price)

    def make_flat(self, provider):
        sku = self.sku(provider)
        self.share(sku, ["even", "fixed", "by_meter"])
        for since, until in self.make_spans(provider, False, gaps=True):
            price = {"from": since, "until": until, "model": "flat", "every": self.pick(["month", "month", "month", "once"])}
            price["amount"] = self.signed(self.pick(["99.99", "100", "0.005", "31", "2.5", "0.000000000000000007", "12345.6785"]), 10)
            if price["every"] == "month" and self.chance(60):
                price["prorate"] = self.pick(["day", "second"])
                self.used(f"prorate {price['prorate']}")
            self.used(f"flat {price['every']}")
            sku["prices"].append(price)

    def make_on_lines(self, provider, takers):
        above = [sku["id"] for sku in provider["skus"]]
        direct = [sku["id"] for sku in provider["skus"] if sku["allocation"] == "direct"]
        rules = ["proportional", "proportional", "even", "fixed", "by_meter"]
        model = self.pick(["per_unit", "per_unit", "graduated", "volume", "minimum", "maximum", "credit", "credit"])
        names = set(self.random.sample(above, self.random.randint(1, min(4, len(above)))))
        sku = {"of": None}
        if direct and self.chance(35):
            rules, names = ["direct"], set(self.random.sample(direct, self.random.randint(1, len(direct))))
        elif self.chance(35):
            names = set(above)
        negative = model == "per_unit" and self.chance(50)
        takes = negative or model in ("maximum", "credit")
        if takes:
            # What takes has to see what was taken before, and what that saw.
            for taker, of in takers:
                if names & of:
                    if rules == ["direct"] and taker not in direct:
                        return
                    names.add(taker)
        if names == set(above):
            sku["of"] = ["*"]
            self.used("of *")
        elif len(above) - len(names) <= 2 or self.chance(30):
            sku |= {"of": ["*"], "except": [name for name in above if name not in names]}
            self.used("except")
        else:
            sku["of"] = [name for name in above if name in names]
        sku = self.sku(provider, **sku)
        self.share(sku, rules)
        if takes:
            takers.append((sku["id"], names | {sku["id"]}))
        digits = minor_digits(provider["currency"])
        amount = self.pick(["5", "20", "100", "1000", "33"]) + (f".{'251'[:digits]}" if digits and self.chance(50) else "")
        periods = [str(billing_days(month, self.anchor)[0]) for month in (month_after(self.months[0], -2), *self.months)]
        spans = self.pick([[(periods[0], None)], [(periods[0], periods[2]), (periods[2], None)], [(periods[1], None)], [(periods[0], periods[2])], [(periods[2], None)]])
        every = self.pick(["month", "once"])
        self.used(f"of {model}", f"of {sku['allocation']}", *([f"credit {every}"] if model == "credit" else []), *(["discount"] if negative else []))
        for since, until in spans:
            price = {"from": since, "until": until, "model": model}
            if model == "per_unit":
                price["unit_price"] = self.pick(["-0.05", "-0.333333333333333333"]) if negative else self.pick(["0.10", "0.07", "0.0005"])
            elif model in ("graduated", "volume"):
                price["tiers"] = [{"up_to": self.pick(["100", "50.5", "3"]), "unit_price": "0.10"}, {"unit_price": "0.07"}]
            else:
                price["amount"] = amount
                if model == "credit":
                    price["every"] = every
            sku["prices"].append(price)

    # Who pays a part, and in what

    def make_grants(self):
        self.grants = []
        free = [customer["id"] for customer in self.customers if "bills_to" not in customer]
        for number in range(self.pick([0, 1, 2, 3])):
            customer, funder = self.random.sample(free, 2)
            provider = self.pick(self.providers)
            grant = {"id": f"grant-{number}", "customer": customer, "funder": funder, "currency": provider["currency"]}
            grant["share"] = self.pick([None, "0.5", "0.333333333", "1"])
            grant["amount"] = self.pick(["5", "60", "1000", "1"])
            grant["from"] = self.pick([self.months[0], self.months[0], month_after(self.months[0], -1), self.months[1]])
            grant["until"] = self.pick([None, None, month_after(self.months[1]), self.months[1]])
            if grant["until"] == grant["from"]:
                grant["until"] = None
            if self.chance(40):
                grant[self.pick(["of", "except"])] = [self.pick([f"{provider['id']}/*", f"{provider['id']}/{self.pick(provider['skus'])['id']}"])]
            self.used("grant", f"grant {'of' if 'of' in grant else 'except' if 'except' in grant else 'of all'}")
            if funder == "ops":
                self.used("internal funder")
            self.grants.append(grant)
        for grant in self.grants:
            names = {name for name in grant.get("except", [])}
            of = [{f"{one['id']}/{sku['id']}", f"{one['id']}/*"} for one in self.providers if one["currency"] == grant["currency"] for sku in one["skus"]]
            # A grant from which everything is excepted names no SKU.
            if all(both & names for both in of):
                grant.pop("except", None)

    def make_rates(self):
        self.rates = None
        if self.chance(80):
            self.used("fx")
            self.rates = []
            for month in self.months:
                for one in CURRENCIES:
                    for other in CURRENCIES:
                        if one != other:
                            self.rates.append((month, one, other, self.pick(["0.8651", "1.1559", "0.00554", "163.123456789", "1", "0.0001"]), "a bank"))

    # Events

    def anywhere(self):
        whole = (self.end - self.start) // MICROSECOND
        time = self.start + self.random.randrange(-86400 * 10**6, whole + 86400 * 10**6) * MICROSECOND
        return time if self.chance(20) else time.replace(microsecond=0)

    def near_edge(self):
        return self.pick(sorted(self.edges)) + self.pick([0, 0, -1, 1]) * MICROSECOND

    def value(self, unit):
        kind, scale = self.random.randrange(100), SCALES.get(unit, 1)
        if kind < 4:
            return "0"
        if kind < 10:
            return plain(self.random.randrange(1, 100), 9)
        if kind < 14:
            return plain(self.random.randrange(10**14, 10**15), 0 if unit == "By" else 8)
        if kind < 65:
            return str(self.random.randint(1, 12) * scale)
        return plain(self.random.randrange(1, 10**12) * scale, 10)[:-1] if scale > 1 else plain(self.random.randrange(1, 10**11), 9)

    def make_events(self):
        types = {meter.get("events", meter["type"]): meter for meter in self.meters if "events" not in meter}
        takers = defaultdict(set)
        for provider in self.providers:
            for sku in provider["skus"]:
                if "meter" in sku:
                    meter = next(meter for meter in self.meters if meter["type"] == sku["meter"])
                    takers[meter.get("events", meter["type"])].add(provider["id"])
        self.number, self.sequence, records = 0, self.random.randint(0, 5), []
        total = self.random.randint(100, 260)
        while len(records) < total:
            kind = self.pick(list(types))
            meter = types[kind]
            series = self.make_series(kind, takers[kind])
            if meter.get("kind") == "counter":
                records += self.readings(series, meter)
            elif meter["aggregation"] == "time_weighted":
                records += self.levels(series, meter)
            else:
                for _ in range(self.random.randint(1, 8)):
                    time = self.near_edge() if self.chance(35) else self.anywhere()
                    key = json.dumps([series["source"], series["subject"], kind]), time
                    if key not in self.taken:
                        self.taken.add(key)
                        records.append(self.event(series, time, self.value(meter["unit"])))
        if self.chance(40):
            self.used("unknown meter", "unknown provider")
            time = self.start + timedelta(days=10)
            records.append(self.event(self.make_series("none.example/none", set()), time, "3"))
            records.append(self.event(self.make_series(self.pick(list(types)), set()) | {"provider": "nobody"}, time, "4"))
        if self.chance(10):
            self.used("empty month")
            quiet, until = self.pick([(self.start - timedelta(days=9), self.start + timedelta(days=25)), (self.start + timedelta(days=25), self.end + timedelta(days=9))])
            records = [record for record in records if not utc(quiet) <= record["time"] < utc(until)] or records
        if self.chance(60):
            self.random.shuffle(records)
            self.used("out of order")
        records += self.corrections(records)
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        for _ in range(self.random.randint(0, 6)):
            self.used("duplicate")
            lines.append(self.pick(lines))
        for _ in range(self.random.randint(0, 3)):
            self.used("conflict")
            record = json.loads(self.pick(lines))
            lines.append(json.dumps(record | {"data": record["data"] | {"value": "0.123456789"}}, ensure_ascii=False))
        if self.chance(50):
            self.used("rejected")
            lines += ['{"specversion":"1.0"}', json.dumps(records[0] | {"id": "x", "data": {"value": "-1"}})]
        self.lines = lines

    def make_series(self, kind, takers):
        series = {"type": kind, "source": self.pick(["//edge/1", "//edge/2"]), "subject": self.pick(self.subjects)}
        series["dimensions"] = {name: value for name, value in (("class", self.pick([*CLASSES, None])), ("way", self.pick(["in", "out", None]))) if value}
        series["resource"] = self.pick([None, {"disk": "one"}, {"disk": "two", "port": "é"}])
        series["provider"] = self.pick(sorted(takers)) if takers else self.pick(self.providers)["id"]
        # One series is of one provider, named always or never.
        if self.chance(25) and len(takers) == 1:
            series["provider"] = None
            self.used("no provider named")
        return series

    def event(self, series, time, value):
        self.number += 1
        data = {"value": value} | {name: series[name] for name in ("dimensions", "resource", "provider") if series[name] is not None}
        if self.chance(40):
            self.sequence += self.pick([1, 1, 1, 1, 2, 4])
            data["producer"] = {"id": "edge-7", "epoch": 3, "seq": self.sequence}
            self.used("producer sequence")
        return {"specversion": "1.0", "id": f"e-{self.number}"} | {name: series[name] for name in ("source", "type", "subject")} | {"time": utc(time), "data": data}

    def readings(self, series, meter):
        """A counter that is read at odd times, falls silent, starts anew."""
        carry, time = span(meter["carry"]), self.near_edge() if self.chance(50) else self.anywhere()
        time -= carry * self.random.randint(0, 3) / 2
        reading, scale, found = self.random.randrange(10**6), SCALES.get(meter["unit"], 1), []
        for _ in range(self.random.randint(3, 9)):
            found.append(self.event(series, time, plain(reading, 3)))
            step = self.pick([carry, carry / 2, carry / 3, carry + MICROSECOND, carry * 5, timedelta(0)])
            if step > carry:
                self.used("silence")
            if not step:
                self.used("two samples at one instant")
            time += step
            reading = reading + self.pick([0, 1, 1000, 5000]) * scale if self.chance(85) else self.pick([0, reading // 2])
        self.used("reset")
        return found

    def levels(self, series, meter):
        carry, time = span(meter["carry"]), self.near_edge() if self.chance(50) else self.anywhere()
        time -= carry * self.random.randint(0, 3) / 2
        found = []
        for _ in range(self.random.randint(2, 6)):
            found.append(self.event(series, time, self.value(meter["unit"]) if self.chance(80) else "0"))
            time += self.pick([carry, carry / 2, carry / 7, carry + MICROSECOND, carry * 3, timedelta(0)])
        if self.chance(50):
            found.append(self.event(series, time, "0"))
        return found

    def corrections(self, records):
        found = []
        for number, target in enumerate(self.random.sample(records, min(len(records), self.random.randint(0, 8)))):
            action = self.pick(["void", "replace"])
            self.used(action)
            data = dict(target["data"]) | {"value": self.pick(["0", "1", "2.5"])}
            data.pop("producer", None)
            data["correction"] = {"action": action, "source": target["source"], "id": target["id"], "reason": "measured wrongly"}
            found.append(target | {"source": "//ops/corrections", "id": f"c-{number}", "data": data})
        return found

    # Files

    def save(self, out):
        catalog = out / "catalog"
        save(catalog / "catalog.toml", 'operator = "commons"\nname = "Commons"\n')
        save(catalog / "meters.toml", "\n".join("[[meter]]\n" + table(meter) for meter in self.meters))
        save(catalog / "customers.toml", "\n".join("[[customer]]\n" + table(customer) for customer in self.customers))
        rows = [f"{subject},{customer},{utc(since)},{utc(until) if until else ''}\n" for subject, customer, since, until in self.bindings]
        save(catalog / "bindings.csv", "subject,customer,from,until\n" + "".join(rows))
        if self.grants:
            save(catalog / "grants.toml", "\n".join("[[grant]]\n" + table(grant) for grant in self.grants))
        if self.rates:
            save(catalog / "fx.csv", "period,from,to,rate,source\n" + "".join(",".join(row) + "\n" for row in self.rates))
        for provider in self.providers:
            own = catalog / "providers" / provider["id"]
            fields = {"id": provider["id"], "name": provider["id"], "billing_account": f"A-{provider['id']}"}
            fields |= {name: provider[name] for name in ("currency", "time_zone", "anchor")}
            save(own / "provider.toml", table(fields) + "\n[rounding]\n" + table(provider["rounding"]))
            text = ""
            for sku in provider["skus"]:
                text += "[[sku]]\n" + table({"id": sku["id"], "name": sku["id"]} | {name: value for name, value in sku.items() if name not in ("id", "prices")})
                text += "".join("\n[[sku.price]]\n" + table(price) for price in sku["prices"]) + "\n"
            save(own / "prices.toml", text)
        events = out / "events"
        events.mkdir(parents=True, exist_ok=True)
        cut = self.random.randint(1, len(self.lines) - 1)
        for name, lines in (("01.ndjson", self.lines[:cut]), ("02.ndjson", self.lines[cut:])):
            (events / name).write_text("\n".join(lines) + "\n")


def main(seed, out, *options):
    pair = Pair(int(seed))
    pair.save(Path(out))
    print(*pair.months)
    if "--features" in options:
        print("\n".join(sorted(pair.features)))


if __name__ == "__main__":
    main(*sys.argv[1:])

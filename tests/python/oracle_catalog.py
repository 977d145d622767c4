"""The catalog as a folder says it, and exact numbers: units, days, rounding, shares."""

import csv
import tomllib
from collections import defaultdict
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from functools import lru_cache
from zoneinfo import ZoneInfo

from oracle_ledger import instant

# Every other currency has two.
MINOR_DIGITS = {"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "VND": 0, "KWD": 3, "BHD": 3, "JOD": 3, "OMR": 3, "TND": 3}
FOREVER = datetime.max.replace(tzinfo=timezone.utc)


def minor_digits(currency):
    return MINOR_DIGITS.get(currency, 2)


# Units


PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
ATOMS = {"By": 1, "bit": Fraction(1, 8), "s": 1, "min": 60, "h": 3600, "d": 86400, "W": 1, "1": 1, "10*": 10}


def atom(term, month):
    if term == "mo":
        if isinstance(month, Fraction):
            return month
        count, of = month.split()
        return Fraction(count) * atom(of, None)
    if term.startswith("10*") and term[3:].isdigit():
        return Fraction(10) ** int(term[3:])
    # A currency converts to itself alone.
    if len(term) == 3 and term.isalpha() and term.isupper():
        return Fraction(1)
    prefix, name = next((term[: -len(name)], name) for name in ATOMS if term.endswith(name) and term[: -len(name)] in PREFIXES)
    return Fraction(PREFIXES[prefix]) * ATOMS[name]


def worth(unit, month):
    """A unit in bytes, seconds and watts."""
    product = Fraction(1)
    for number, over in enumerate(unit.split("/")):
        for place, term in enumerate(over.split(".")):
            product = product / atom(term, month) if number and not place else product * atom(term, month)
    return product


def seconds_of(span):
    count, unit = span.split()
    return Fraction(count) * ATOMS[unit]


def seconds(span):
    return Fraction(span // timedelta(microseconds=1), 10**6)


def span(carry):
    return timedelta(microseconds=int(seconds_of(carry) * 10**6))


# Days


@lru_cache(None)
def midnight(day, zone):
    return datetime.fromisoformat(str(day)).replace(tzinfo=ZoneInfo(zone)).astimezone(timezone.utc)


def month_after(month, count=1):
    year, number = map(int, month.split("-"))
    number += count - 1
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


def anchor_day(month, anchor):
    first, following = date.fromisoformat(f"{month}-01"), date.fromisoformat(f"{month_after(month)}-01")
    return first + timedelta(days=min(anchor, (following - first).days) - 1)


@lru_cache(None)
def billing_days(month, anchor):
    """The days on which the billing period of a month begins and ends: its last day lies in the month."""
    if anchor == 1:
        return anchor_day(month, 1), anchor_day(month_after(month), 1)
    return anchor_day(month_after(month, -1), anchor), anchor_day(month, anchor)


def utc_month(month):
    return midnight(f"{month}-01", "UTC"), midnight(f"{month_after(month)}-01", "UTC")


# The catalog


def read_toml(file):
    return tomllib.loads(file.read_text()) if file.exists() else {}


class Catalog:
    def __init__(self, folder):
        self.operator = read_toml(folder / "catalog.toml").get("operator")
        self.meters = {meter["type"]: meter for meter in read_toml(folder / "meters.toml").get("meter", [])}
        self.reads = defaultdict(list)
        for meter in self.meters.values():
            self.reads[meter.get("events", meter["type"])].append(meter)
        self.customers = {customer["id"]: customer for customer in read_toml(folder / "customers.toml").get("customer", [])}
        self.providers, self.skus = {}, {}
        files = [(read_toml(file), file) for file in folder.glob("providers/*/provider.toml")]
        for provider, file in sorted(files, key=lambda item: item[0]["id"].encode()):
            self.providers[provider["id"]] = provider
            self.skus[provider["id"]] = read_toml(file.with_name("prices.toml")).get("sku", [])
        self.metered = defaultdict(list)
        for name, skus in self.skus.items():
            for sku in skus:
                if "meter" in sku:
                    self.metered[name, sku["meter"]].append(sku)
        self.bindings = defaultdict(list)
        with (folder / "bindings.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                until = instant(row["until"]) if row["until"] else FOREVER
                self.bindings[row["subject"]].append((instant(row["from"]), until, row["customer"]))
        self.grants = read_toml(folder / "grants.toml").get("grant", [])
        self.rates = None
        if (folder / "fx.csv").exists():
            with (folder / "fx.csv").open(newline="") as file:
                self.rates = {(row["period"], row["from"], row["to"]): Fraction(row["rate"]) for row in csv.DictReader(file)}
        # Only whom somebody bills to bills on.
        self.partners = {customer["bills_to"] for customer in self.customers.values() if "bills_to" in customer}

    def billing_period(self, provider, month):
        zone = self.providers[provider]["time_zone"]
        return tuple(midnight(day, zone) for day in billing_days(month, int(self.providers[provider].get("anchor", "1"))))

    def in_force(self, provider, price):
        zone = self.providers[provider]["time_zone"]
        return midnight(price["from"], zone), midnight(price["until"], zone) if "until" in price else FOREVER

    def price_at(self, provider, sku, time):
        """The place of the price in the file, or nothing."""
        spans = (self.in_force(provider, price) for price in sku["price"])
        return next((index for index, (start, end) in enumerate(spans) if start <= time < end), None)

    def takes_at(self, provider, sku, time):
        """Whether a time lies between the beginning of the SKU's first price and the end of its last, in a gap between prices too."""
        spans = [self.in_force(provider, price) for price in sku["price"]]
        return min(start for start, _ in spans) <= time < max(end for _, end in spans)

    def sku(self, provider, meter, dimensions, time):
        """The SKU that takes an event of that time: one whose match holds, or else the one without."""
        catch_all = None
        for sku in self.metered[provider, meter]:
            if self.takes_at(provider, sku, time):
                if "match" not in sku:
                    catch_all = sku
                elif all(dimensions.get(name) in ([values] if type(values) is str else values) for name, values in sku["match"].items()):
                    return sku
        return catch_all

    def customer(self, subject, time):
        return next((customer for start, end, customer in self.bindings[subject] if start <= time < end), None)

    def is_internal(self, customer, period):
        """Whether the operator itself is the customer at the first midnight of the period, in UTC."""
        kind = self.customers[customer].get("kind", "customer")
        if type(kind) is not str:
            day = f"{period}-01"
            kind = next(dated["is"] for dated in kind if dated.get("from", day) <= day and ("until" not in dated or day < dated["until"]))
        return kind == "internal"

    def bound_within(self, start, end):
        return {customer for rows in self.bindings.values() for since, until, customer in rows if since < end and until > start}


# Exact numbers


def to_places(exact, places, mode):
    """Rounds away from zero or towards it as if the sign were not there."""
    units = abs(exact) * 10**places
    whole = units.numerator // units.denominator
    rest = units - whole
    half = Fraction(1, 2)
    up = {
        "half-up": rest >= half,
        "half-down": rest > half,
        "half-even": rest > half or rest == half and whole % 2 == 1,
        "up": rest > 0,
        "down": False,
    }[mode]
    rounded = Fraction(whole + up, 10**places)
    return rounded if exact >= 0 else -rounded


def allocate(total, places, weights):
    """Shares by the key of `weights`, whose order breaks ties."""
    unit = 10**places
    units = abs(total) * unit
    assert units.denominator == 1
    sum_of_weights = sum(weights.values())
    if sum_of_weights == 0:
        assert units == 0
        return {key: Fraction(0) for key in weights}
    exact = {key: units * weight / sum_of_weights for key, weight in weights.items()}
    shares = {key: share.numerator // share.denominator for key, share in exact.items()}
    by_remainder = sorted(weights, key=lambda key: (shares[key] - exact[key], key))
    for key in by_remainder[: int(units) - sum(shares.values())]:
        shares[key] += 1
    return {key: Fraction(share if total >= 0 else -share, unit) for key, share in shares.items()}


def to_multiple(exact, increment):
    size = Fraction(increment["size"])
    return to_places(exact / size, 0, increment["mode"]) * size

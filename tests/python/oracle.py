"""What must come out of a month: `oracle.py MONTH PERIOD OUT` reads MONTH/catalog and MONTH/events and writes OUT/*.csv and OUT/summary.json.

A second implementation of the rules, from their description alone: it shares no code with the product, holds everything in memory, and computes with
exact rationals. It trusts the catalog, which `atcost catalog check` has to refuse when it is wrong; it does not trust the events.
"""

import csv
import json
import re
import sys
import tomllib
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

MINOR_DIGITS = {"EUR": 2, "USD": 2, "JPY": 0, "KWD": 3}
KEY = "provider billing_account sub_account sku charge_period_start charge_period_end currency".split()
COLUMNS = {
    "cost_lines": KEY + "quantity unit amount settled".split(),
    "charges": KEY + "customer subject kind retained_reason rule quantity amount".split(),
    "statement_lines": KEY + "customer kind retained_reason amount".split(),
    "unrated": "reason provider meter subject quantity events".split(),
}
# After everybody who has an id, whatever the id.
LAST = chr(0x10FFFF) * 2


class Refused(Exception):
    """The record is no usage event."""


# Events


class Number(str):
    """The literal of a JSON number."""


def unique(pairs):
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused("a key stands twice")
    return dict(pairs)


def refuse_constant(name):
    raise Refused(f"{name} is not JSON")


def text(value, what):
    if type(value) is not str or value == "":
        raise Refused(f"{what} is missing, empty or no string")
    return value


def quantity(value):
    if type(value) is str:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            raise Refused("value is not a plain decimal")
    elif type(value) is not Number:
        raise Refused("value is neither a string nor a number")
    try:
        sign, digits, exponent = Decimal(value).as_tuple()
    except ArithmeticError as error:
        raise Refused("value has an exponent beyond reason") from error
    digits = "".join(map(str, digits)).lstrip("0")
    exponent += len(digits) - len(digits.rstrip("0"))
    digits = digits.rstrip("0")
    if not digits:
        return Fraction(0)
    if sign or exponent < -9 or len(digits) + exponent > 19:
        raise Refused("value is negative, too fine or too large")
    return Fraction(int(digits)) * Fraction(10) ** exponent


def instant(value):
    found = re.fullmatch(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})", value)
    if not found:
        raise Refused("time is not a date, a time and an offset")
    local, fraction, offset = found.groups()
    try:
        local = datetime.strptime(local, "%Y-%m-%dT%H:%M:%S")
    except ValueError as error:
        raise Refused("no such time") from error
    # strptime takes 60 and 61 seconds.
    if found[1][-2:] > "59":
        raise Refused("no such second")
    local += timedelta(microseconds=int((fraction or ".0")[1:].ljust(6, "0")))
    if offset != "Z":
        hours, minutes = int(offset[1:3]), int(offset[4:])
        if hours > 23 or minutes > 59:
            raise Refused("no such offset")
        east = timedelta(hours=hours, minutes=minutes)
        local = local - east if offset[0] == "+" else local + east
    return local.replace(tzinfo=timezone.utc)


def decode(line, now):
    """The event as a tuple of (name, then content), so that equal tuples are equal events."""
    try:
        event = json.loads(line.decode(), object_pairs_hook=unique, parse_int=Number, parse_float=Number, parse_constant=refuse_constant)
        json.dumps(event, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused("not JSON in UTF-8") from error
    if type(event) is not dict:
        raise Refused("not an object")
    if text(event.get("specversion"), "specversion") != "1.0":
        raise Refused("specversion is not 1.0")
    source, name, meter, subject, time = (text(event.get(key), key) for key in "source id type subject time".split())
    if event.get("datacontenttype", "application/json") != "application/json":
        raise Refused("the data is not JSON")
    time = instant(time)
    if time > now + timedelta(minutes=5):
        raise Refused("time is in the future")
    data = event.get("data")
    if type(data) is not dict:
        raise Refused("data is missing or no object")
    strings = {}
    for key in ("dimensions", "resource"):
        strings[key] = data.get(key, {})
        if type(strings[key]) is not dict or any(type(value) is not str for value in strings[key].values()):
            raise Refused(f"{key} does not map strings to strings")
    for key in ("provider", "location"):
        if key in data:
            text(data[key], key)
    content = (meter, subject, time, quantity(data.get("value")), tuple(sorted(strings["dimensions"].items())), data.get("provider"))
    return (source, name), content + (data.get("location"), "resource" in data, tuple(sorted(strings["resource"].items())))


def read_events(folder, now):
    seen, usage = {}, []
    counts = {"received": 0, "usage": 0, "duplicates": 0, "conflicts": 0, "rejected": 0, "refused": []}
    for file in sorted(folder.glob("*.ndjson"), key=lambda file: file.name.encode()):
        for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
            if not line:
                continue
            counts["received"] += 1
            try:
                name, content = decode(line, now)
            except Refused:
                counts["rejected"] += 1
                counts["refused"].append(f"{file.name}:{number}")
                continue
            counts["usage"] += 1
            if name not in seen:
                seen[name] = content
                usage.append(content)
            else:
                counts["duplicates" if seen[name] == content else "conflicts"] += 1
    return counts, usage


# The catalog


PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
ATOMS = {"By": 1, "s": 1, "min": 60, "h": 3600, "d": 86400, "W": 1, "1": 1, "10*": 10}


def worth(unit, month):
    """A unit in bytes, seconds and watts."""
    product = Fraction(1)
    for term in unit.split("."):
        if term == "mo":
            count, of = month.split()
            product *= Fraction(count) * worth(of, None)
        elif power := re.fullmatch(r"10\*([0-9]+)", term):
            product *= 10 ** int(power[1])
        else:
            prefix, atom = next((term[: -len(atom)], atom) for atom in ATOMS if term.endswith(atom) and term[: -len(atom)] in PREFIXES)
            product *= PREFIXES[prefix] * ATOMS[atom]
    return product


def midnight(date, zone):
    return datetime.fromisoformat(date).replace(tzinfo=ZoneInfo(zone)).astimezone(timezone.utc)


def read_toml(file):
    return tomllib.loads(file.read_text())


class Catalog:
    def __init__(self, folder):
        self.meters = {meter["type"]: meter for meter in read_toml(folder / "meters.toml")["meter"]}
        self.customers = {customer["id"]: customer for customer in read_toml(folder / "customers.toml")["customer"]}
        self.providers, self.skus = {}, defaultdict(list)
        for file in sorted(folder.glob("providers/*/provider.toml")):
            provider = read_toml(file)
            self.providers[provider["id"]] = provider
            self.skus[provider["id"]] = read_toml(file.with_name("prices.toml"))["sku"]
        self.bindings = defaultdict(list)
        with (folder / "bindings.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                until = instant(row["until"]) if row["until"] else datetime.max.replace(tzinfo=timezone.utc)
                self.bindings[row["subject"]].append((instant(row["from"]), until, row["customer"]))

    def takes_at(self, provider, sku, time):
        """Whether a time lies between the beginning of the SKU's first price and the end of its last, in a gap between prices too."""
        zone = self.providers[provider]["time_zone"]
        # A date of ISO 8601 is later than another if its text is.
        prices = sorted(sku["price"], key=lambda price: price["from"])
        ended = "until" in prices[-1] and time >= midnight(prices[-1]["until"], zone)
        return midnight(prices[0]["from"], zone) <= time and not ended

    def sku(self, provider, meter, dimensions, time):
        """The SKU that takes an event of that time: one whose match holds, or else the one without."""
        catch_all = None
        for sku in self.skus[provider]:
            if sku.get("meter") == meter and self.takes_at(provider, sku, time):
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


# Money


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


def graduated(tiers, used):
    cost, below = Fraction(0), Fraction(0)
    for tier in tiers:
        top = min(used, Fraction(tier["up_to"])) if "up_to" in tier else used
        if top > below:
            cost += (top - below) * Fraction(tier["unit_price"])
            below = top
    return cost


def cost(price, before, used, in_period):
    """The exact cost of `used`, when `before` was counted already and the whole period's quantity is `in_period`."""
    match price["model"]:
        case "per_unit":
            return used * Fraction(price["unit_price"])
        case "graduated":
            return graduated(price["tiers"], before + used) - graduated(price["tiers"], before)
        case "volume":
            tier = next(tier for tier in price["tiers"] if "up_to" not in tier or in_period <= Fraction(tier["up_to"]))
            return used * Fraction(tier["unit_price"])
        case "package":
            size = Fraction(price["size"])
            begun = -((before + used) // -size) + before // -size
            return begun * Fraction(price["package_price"])
        case "zero":
            return Fraction(0)


# Rating


def rate(catalog, usage, period):
    year, month = map(int, period.split("-"))
    following = f"{year + month // 12:04}-{month % 12 + 1:02}-01"
    zones = {name: provider["time_zone"] for name, provider in catalog.providers.items()}
    periods = {name: (midnight(f"{period}-01", zone), midnight(following, zone)) for name, zone in zones.items()}
    # What has no provider has no time zone: its period is the month in UTC.
    nowhere = (midnight(f"{period}-01", "UTC"), midnight(following, "UTC"))

    unrated = defaultdict(lambda: [Fraction(0), 0])
    used = defaultdict(Fraction)
    for meter, subject, time, value, dimensions, provider, *_ in usage:
        dimensions, reason, sku, price = dict(dimensions), None, None, None
        if meter not in catalog.meters:
            reason = "unknown-meter"
        elif provider is None:
            candidates = [name for name in catalog.providers if catalog.sku(name, meter, dimensions, time)]
            reason = {0: "no-sku", 1: None}.get(len(candidates), "ambiguous-provider")
            provider = candidates[0] if reason is None else None
        elif provider not in catalog.providers:
            reason = "unknown-provider"
        start, end = periods.get(provider, nowhere)
        if not start <= time < end:
            continue
        if reason is None:
            sku = catalog.sku(provider, meter, dimensions, time)
            reason = None if sku else "no-sku"
        if reason is None:
            zone = zones[provider]
            for index, candidate in enumerate(sku["price"]):
                if midnight(candidate["from"], zone) <= time and ("until" not in candidate or time < midnight(candidate["until"], zone)):
                    price = index
            reason = "no-price" if price is None else None
        if reason:
            row = unrated[reason, provider, meter, subject]
            row[0] += value
            row[1] += 1
        else:
            used[provider, sku["id"], price, catalog.customer(subject, time), subject] += value

    lines = []
    for name, provider in catalog.providers.items():
        for sku in catalog.skus[name]:
            if "meter" in sku:
                own = {key[2:]: value for key, value in used.items() if key[:2] == (name, sku["id"])}
                lines += metered(catalog, provider, sku, period, periods[name], own)
            else:
                lines += flat(catalog, provider, sku, period, periods[name])
    return lines, unrated


def key_columns(provider, sku, period, sub_account=None):
    values = provider["id"], provider["billing_account"], sub_account, sku["id"], *period, provider["currency"]
    return dict(zip(KEY, values))


def shared(catalog, sku, period):
    """Weights that usage has no say in, or nothing."""
    if sku["allocation"] == "fixed":
        return {(customer, ""): Fraction(share) for customer, share in sku["shares"].items()}
    if sku["allocation"] == "even":
        return {(customer, ""): Fraction(1) for customer in sku.get("among", catalog.bound_within(*period))}
    return None


def metered(catalog, provider, sku, month, period, used):
    factor = worth(catalog.meters[sku["meter"]]["unit"], sku.get("month")) / worth(sku["unit"], sku.get("month"))
    direct = sku["allocation"] == "direct"
    zone = provider["time_zone"]
    for account in sorted({customer if direct else None for _, customer, _ in used}, key=lambda account: account or LAST):
        pool = {key: value * factor for key, value in used.items() if not direct or key[1] == account}
        in_period, before = sum(pool.values()), Fraction(0)
        for index, price in sorted(enumerate(sku["price"]), key=lambda item: item[1]["from"]):
            shares = {(customer or LAST, subject): value for (at, customer, subject), value in pool.items() if at == index}
            if not shares:
                continue
            quantity = sum(shares.values())
            start = max(period[0], midnight(price["from"], zone))
            end = min(period[1], midnight(price["until"], zone)) if "until" in price else period[1]
            amount = to_places(cost(price, before, quantity, in_period), 18, "half-even")
            before += quantity
            weights = shared(catalog, sku, period)
            line = {**key_columns(provider, sku, (start, end), account), "quantity": quantity, "unit": sku["unit"], "amount": amount}
            yield finish(catalog, provider, sku, month, line, weights or shares, shares if weights is None else {})


def flat(catalog, provider, sku, month, period):
    for price in sku["price"]:
        start = midnight(price["from"], provider["time_zone"])
        end = midnight(price["until"], provider["time_zone"]) if "until" in price else None
        monthly = price["every"] == "month" and start <= period[0] and (end is None or end > period[0])
        once = price["every"] == "once" and period[0] <= start < period[1]
        if monthly or once:
            line = {**key_columns(provider, sku, period), "quantity": Fraction(1), "unit": None, "amount": Fraction(price["amount"])}
            yield finish(catalog, provider, sku, month, line, shared(catalog, sku, period), {})


def finish(catalog, provider, sku, month, line, weights, quantities):
    """The cost line with its charges and statement lines."""
    line["settled"] = to_places(line["amount"], MINOR_DIGITS[provider["currency"]], provider["rounding"]["mode"])
    key = {name: line[name] for name in KEY}
    charges, by_customer = [], defaultdict(Fraction)
    for (customer, subject), amount in sorted(allocate(line["amount"], 18, weights).items()):
        by_customer[customer] += amount
        charge = {"subject": subject or None, "rule": sku["allocation"], "quantity": quantities.get((customer, subject)), "amount": amount}
        charges.append({**key, **bearer(catalog, customer, month), **charge})
    settled = allocate(line["settled"], MINOR_DIGITS[provider["currency"]], {customer: abs(amount) for customer, amount in by_customer.items()})
    statements = [{**key, **bearer(catalog, customer, month), "amount": amount} for customer, amount in sorted(settled.items())]
    assert sum(charge["amount"] for charge in charges) == line["amount"] and sum(settled.values()) == line["settled"]
    return line, charges, statements


def bearer(catalog, customer, month):
    if customer == LAST:
        return {"customer": None, "kind": "retained", "retained_reason": "unattributed"}
    if catalog.is_internal(customer, month):
        return {"customer": customer, "kind": "retained", "retained_reason": "internal"}
    return {"customer": customer, "kind": "charge", "retained_reason": None}


# Output


def plain(value, places=18):
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".") + "Z"
    if isinstance(value, Fraction):
        rounded = to_places(value, places, "half-even")
        units = str(abs(rounded.numerator * (10**places // rounded.denominator))).rjust(places + 1, "0")
        number = f"{units[:-places]}.{units[-places:]}".rstrip("0").rstrip(".")
        return f"-{number}" if rounded < 0 else number
    return str(value)


def totals(rows, by, column):
    sums = defaultdict(Fraction)
    for row in rows:
        sums[row[by]] += row[column]
    return {name: plain(value) for name, value in sorted(sums.items())}


def write(out, table, rows):
    with (out / f"{table}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS[table])
        for row in rows:
            writer.writerow(plain(row[column], 9 if column == "quantity" else 18) for column in COLUMNS[table])


def main(month, period, out):
    month, out = Path(month), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    catalog = Catalog(month / "catalog")
    summary, usage = read_events(month / "events", datetime.now(timezone.utc))
    lines, unrated = rate(catalog, usage, period)
    cost_lines = [line for line, _, _ in lines]
    statements = [statement for _, _, rows in lines for statement in rows]
    write(out, "cost_lines", cost_lines)
    write(out, "charges", [charge for _, rows, _ in lines for charge in rows])
    write(out, "statement_lines", statements)
    names = COLUMNS["unrated"]
    in_order = sorted(unrated.items(), key=lambda item: [part or "" for part in item[0]])
    write(out, "unrated", [dict(zip(names, (*key, *row))) for key, row in in_order])
    summary["cost_total"] = totals(cost_lines, "provider", "amount")
    summary["settled_total"] = totals(cost_lines, "provider", "settled")
    # Sums over several currencies would mean nothing.
    retained = [row for row in statements if row["kind"] == "retained"]
    summary["retained_by_currency"] = totals(retained, "currency", "amount")
    if len({line["currency"] for line in cost_lines}) <= 1:
        charged = totals([row for row in statements if row["customer"] and row["kind"] == "charge"], "customer", "amount")
        summary["customer_total"] = {customer: charged.get(customer, "0") for customer in sorted(catalog.customers)}
        summary["retained_total"] = plain(sum((row["amount"] for row in retained), Fraction(0)))
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""From events to quantities: what each event says, for how long, and what a meter makes of it."""

from collections import defaultdict
from datetime import timedelta
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from oracle_catalog import midnight, seconds, span, to_multiple, utc_month
from oracle_ledger import Event

ADDS_UP_OVER_DAYS = ("sum", "count", "rate", "time_weighted")


class Item(NamedTuple):
    """What counts of an event: a value at an instant, or a level that holds until `end`."""

    event: Event
    start: object
    end: object
    value: Fraction


class Usage:
    """What the events of a ledger say to the meters of a catalog."""

    def __init__(self, catalog, ledger):
        self.catalog, self.ledger = catalog, ledger
        self.by_type = defaultdict(list)
        for event in ledger.events:
            self.by_type[event.type].append(event)
        self.homes, self.measured, self.runs = {}, {}, {}

    def home(self, event):
        """The provider to which an event belongs, or the reason why there is none. Its own time decides, for a level too."""
        if event not in self.homes:
            self.homes[event] = self.find_home(event)
        return self.homes[event]

    def find_home(self, event):
        if event.type not in self.catalog.reads:
            return event.provider, "unknown-meter"
        if event.provider is not None:
            return event.provider, None if event.provider in self.catalog.providers else "unknown-provider"
        dimensions = dict(event.dimensions)
        meters = [meter["type"] for meter in self.catalog.reads[event.type]]
        takers = [name for name in self.catalog.providers if any(self.catalog.sku(name, meter, dimensions, event.time) for meter in meters)]
        return (takers[0], None) if len(takers) == 1 else (None, "ambiguous-provider" if takers else "no-sku")

    def series(self, meter):
        """Samples by series in the order of time; of several at one instant the last of the ledger."""
        found = defaultdict(dict)
        for event in sorted(self.by_type[meter.get("events", meter["type"])], key=lambda event: self.ledger.order[event]):
            first = self.ledger.original(event)
            found[self.home(first)[0], first.source, first.subject, first.resource, first.dimensions][event.time] = event
        return {key: [samples[time] for time in sorted(samples)] for key, samples in found.items()}

    def items(self, meter):
        """All that a meter counts, of all times."""
        if meter["type"] not in self.measured:
            self.measured[meter["type"]] = list(self.measure(meter))
        return self.measured[meter["type"]]

    def measure(self, meter):
        is_level, is_counter = meter["aggregation"] == "time_weighted", meter.get("kind") == "counter"
        if not is_level and not is_counter:
            yield from (Item(event, event.time, None, event.value) for event in self.by_type[meter.get("events", meter["type"])])
            return
        carry = span(meter["carry"])
        for samples in self.series(meter).values():
            for number, event in enumerate(samples):
                if is_level:
                    end = event.time + carry
                    if number + 1 < len(samples):
                        end = min(end, samples[number + 1].time)
                    yield Item(event, event.time, end, event.value)
                elif number and event.time - samples[number - 1].time <= carry:
                    before = samples[number - 1].value
                    yield Item(event, event.time, None, event.value - before if event.value >= before else event.value)

    def bounds(self, provider, meter):
        """Where what takes a level of this meter, or its price, may change."""
        spans = [self.catalog.in_force(provider, price) for sku in self.catalog.metered[provider, meter["type"]] for price in sku["price"]]
        return {bound for both in spans for bound in both}


def cut(item, bounds):
    """An instant stays whole; a level is cut at every bound within it."""
    if item.end is None:
        return [item]
    inside = sorted(bound for bound in bounds if item.start < bound < item.end)
    edges = [item.start, *inside, item.end]
    return [item._replace(start=start, end=end) for start, end in zip(edges, edges[1:])]


# Windows


@lru_cache(None)
def day_of(day, zone):
    return midnight(day, zone), midnight(day + timedelta(days=1), zone)


def window_span(meter):
    return None if "window" not in meter or meter["window"] == "1 d" else span(meter["window"])


def window_at(meter, time, period, zone):
    if "window" not in meter:
        return period
    start, end = day_of(time.astimezone(ZoneInfo(zone)).date(), zone)
    if step := window_span(meter):
        start += (time - start) // step * step
        end = min(end, start + step)
    return start, end


def count_windows(meter, period, zone):
    """How many windows a charge period has, which begins and ends at midnights."""
    count, (start, until) = 0, period
    day = start.astimezone(ZoneInfo(zone)).date()
    while start < until:
        start, end = day_of(day, zone)
        if start >= until:
            break
        step = window_span(meter)
        count += -((end - start) // -step) if step else 1
        day, start = day + timedelta(days=1), end
    return count


# Aggregation


def in_window(meter, items, window, ledger):
    values = [item.value for item in items]
    match meter["aggregation"]:
        case "sum":
            return sum(values)
        case "count":
            return Fraction(len(values))
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "average":
            return sum(values) / len(values)
        case "latest":
            return max(items, key=lambda item: (item.start, ledger.order[item.event])).value
        case "unique":
            named = (dict(item.event.dimensions).get(meter["distinct"]) for item in items)
            return Fraction(len({name for name in named if name is not None}))
        case "rate":
            return sum(values) / seconds(window[1] - window[0])
        case "time_weighted":
            return sum(item.value * seconds(item.end - item.start) for item in items)


def over_windows(over, meter, values, windows):
    if over == "sum":
        return sum(values)
    if over == "max":
        return max(values)
    if meter["empty"] == "zero":
        values = values + [Fraction(0)] * (windows - len(values))
    if over == "min":
        return min(values)
    if over == "average":
        return sum(values) / len(values)
    highest_first = sorted(values, reverse=True)
    drop = len(values) * (100 - Fraction(meter["percentile"])) / 100
    return highest_first[drop.numerator // drop.denominator]


def by(items, key):
    groups = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


SCOPES = {
    "account": lambda item, customer: None,
    "customer": lambda item, customer: customer,
    "subject": lambda item, customer: item.event.subject,
    "resource": lambda item, customer: (item.event.subject, item.event.resource),
}


def aggregate(usage, meter, items, period, zone, factor=1, increment=None):
    """The quantity of items within a charge period: `items` are pairs of an item and its customer."""
    greater, over = meter.get("greater_of"), meter.get("over", "sum")
    of_period = greater and greater["at"] == "period"
    every_window = over == "sum" and not of_period

    def rounded(value, when):
        return to_multiple(value, increment) if increment and when else value

    def dimension(item):
        return dict(item.event.dimensions).get(greater["dimension"])

    def window_value(window, part):
        groups = by(part, dimension).values() if greater and not of_period else [part]
        value = max(in_window(meter, group, window, usage.ledger) for group in groups)
        return rounded(value * factor, every_window)

    def one_of_windows(part):
        pieces = []
        for item in part:
            bounds = set()
            if item.end and "window" in meter:
                bound = window_at(meter, item.start, period, zone)[1]
                while bound < item.end:
                    bounds.add(bound)
                    bound = window_at(meter, bound, period, zone)[1]
            pieces += cut(item, bounds)
        windows = by(pieces, lambda item: window_at(meter, item.start, period, zone))
        values = [window_value(window, group) for window, group in windows.items()]
        needs_count = over not in ("sum", "max") and meter["empty"] == "zero"
        return over_windows(over, meter, values, count_windows(meter, period, zone) if needs_count else None)

    total = Fraction(0)
    scopes = defaultdict(list)
    for item, customer in items:
        scopes[SCOPES[meter.get("per", "account")](item, customer)].append(item)
    for part in scopes.values():
        groups = by(part, dimension).values() if of_period else [part]
        total += rounded(max(one_of_windows(group) for group in groups), not every_window)
    return total


# Completeness


def detail(dimensions, resource):
    return ";".join([f"{name}={value}" for name, value in dimensions] + [f"resource.{name}={value}" for name, value in resource])


def completeness(usage, month):
    rows = []
    for meter in usage.catalog.meters.values():
        if "carry" not in meter:
            continue
        for (provider, source, subject, resource, dimensions), samples in usage.series(meter).items():
            if usage.catalog.metered.get((provider, meter["type"])):
                where = {"provider": provider, "meter": meter["type"], "source": source, "subject": subject, "detail": detail(dimensions, resource)}
                rows += [{**where, **row} for row in silences(usage, provider, meter, dict(dimensions), samples, usage.catalog.billing_period(provider, month))]
    rows += sequence_gaps(usage.ledger, *utc_month(month))
    rows += silent(usage, month)
    columns = "kind provider meter source subject detail from until".split()
    return sorted(rows, key=lambda row: [row[name] or "" if name not in ("from", "until") else row[name] for name in columns])


def silences(usage, provider, meter, dimensions, samples, period):
    carry, is_level = span(meter["carry"]), meter["aggregation"] == "time_weighted"
    for number, sample in enumerate(samples):
        following = samples[number + 1] if number + 1 < len(samples) else None
        # A sample in the period or at most `carry` before it: this one, or the one that ends the silence.
        ends_within = following and period[0] <= following.time < period[1]
        if sample.time < period[1] and (ends_within or period[0] - carry <= sample.time):
            until = min(following.time, period[1]) if following else period[1]
            start = sample.time + carry if is_level else sample.time
            taken = any(usage.catalog.sku(provider, meter["type"], dimensions, time) for time in (start, until))
            if until - sample.time > carry and taken and not (is_level and sample.value == 0):
                start = max(start, period[0])
                # A silence that ends with the first instant of the period takes nothing of it.
                if start < until:
                    yield {"kind": "gap", "from": start, "until": until, "missing": seconds(until - start)}
        is_reset = number and not is_level and sample.value < samples[number - 1].value and sample.time - samples[number - 1].time <= carry
        if is_reset and period[0] <= sample.time < period[1] and usage.catalog.sku(provider, meter["type"], dimensions, sample.time):
            yield {"kind": "reset", "from": samples[number - 1].time, "until": sample.time, "missing": None}


def sequence_gaps(ledger, start, end):
    numbers = defaultdict(dict)
    for row in ledger.rows:
        if row.producer:
            producer, epoch, number = row.producer
            numbers[producer, epoch].setdefault(number, row.time)
    for (producer, epoch), times in numbers.items():
        known = sorted(times)
        for below, above in zip(known, known[1:]):
            earlier, later = sorted([times[below], times[above]])
            if above - below > 1 and earlier < end and later >= start:
                row = {"kind": "sequence-gap", "provider": None, "meter": None, "source": producer, "subject": None}
                row |= {"detail": f"epoch {epoch}: {below + 1}..{above - 1}", "from": earlier, "until": later}
                yield row | {"missing": Fraction(above - below - 1)}


def silent(usage, month):
    start, end = utc_month(month)
    # The month before ends where this one begins.
    day_before = start - timedelta(days=1)
    earlier = day_before.replace(day=1)
    last = {}
    for event in usage.ledger.events:
        if event.type in usage.catalog.reads and earlier <= event.time < start:
            key = event.type, event.subject
            last[key] = max(last.get(key, event.time), event.time)
    heard = {(event.type, event.subject) for event in usage.ledger.events if start <= event.time < end}
    for (kind, subject), time in last.items():
        bindings = usage.catalog.bindings.get(subject, [])
        meets = any(since < end and until > start for since, until, _ in bindings)
        if (kind, subject) not in heard and (not bindings or meets):
            yield {"kind": "silent", "provider": None, "meter": kind, "source": None, "subject": subject, "detail": None, "from": time, "until": end, "missing": None}

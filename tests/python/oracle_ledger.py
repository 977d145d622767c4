"""The ledger of a folder of events: what counts, decided from the order of the records alone."""

import json
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple


class Refused(Exception):
    """The record is no usage event."""


class Event(NamedTuple):
    """Equal tuples are equal events. The first six are what a plain sum needs."""

    type: str
    subject: str
    time: datetime
    value: Fraction
    dimensions: tuple
    provider: str | None
    location: str | None
    has_resource: bool
    resource: tuple
    producer: tuple | None
    correction: tuple | None
    source: str
    id: str


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


def whole(value):
    if type(value) is not Number or not re.fullmatch(r"-?[0-9]+", value) or not -(2**63) <= int(value) < 2**63:
        raise Refused("not a whole number")
    return int(value)


def decode(line, now):
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
    producer = correction = None
    if "producer" in data:
        record = data["producer"]
        if type(record) is not dict:
            raise Refused("producer is no object")
        producer = (text(record.get("id"), "producer id"), whole(record.get("epoch")), whole(record.get("seq")))
    if "correction" in data:
        record = data["correction"]
        if type(record) is not dict or record.get("action") not in ("void", "replace"):
            raise Refused("correction neither voids nor replaces")
        correction = tuple(text(record.get(key), f"correction {key}") for key in "action source id reason".split())
    content = (meter, subject, time, quantity(data.get("value")), tuple(sorted(strings["dimensions"].items())), data.get("provider"), data.get("location"))
    return Event(*content, "resource" in data, tuple(sorted(strings["resource"].items())), producer, correction, source, name)


class Ledger:
    """Usage rows in order, and of them the events that count: the first of its name, unless a correction takes it away."""

    def __init__(self, rows):
        self.rows = rows
        first = {}
        for row in rows:
            first.setdefault((row.source, row.id), row)
        events = list(first.values())
        corrected = {event.correction[1:3] for event in events if event.correction}
        self.events = [event for event in events if (event.source, event.id) not in corrected and not (event.correction and event.correction[0] == "void")]
        self.order = {event: number for number, event in enumerate(events)}
        self.first = first

    def original(self, event):
        """What an event replaces, from the first on: it stands in the series of that one."""
        met = set()
        while event.correction and event.correction[0] == "replace" and event.correction[1:3] in self.first and event not in met:
            met.add(event)
            event = self.first[event.correction[1:3]]
        return event


def read_events(folder, now):
    first, rows = {}, []
    counts = {"received": 0, "usage": 0, "duplicates": 0, "conflicts": 0, "rejected": 0, "refused": []}
    for file in sorted(folder.glob("*.ndjson"), key=lambda file: file.name.encode()):
        for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
            if not line:
                continue
            counts["received"] += 1
            try:
                event = decode(line, now)
            except Refused:
                counts["rejected"] += 1
                counts["refused"].append(f"{file.name}:{number}")
                continue
            counts["usage"] += 1
            rows.append(event)
            name = (event.source, event.id)
            if name in first:
                counts["duplicates" if first[name] == event else "conflicts"] += 1
            first.setdefault(name, event)
    return counts, Ledger(rows)

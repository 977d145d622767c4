"""The readings of two ports in March 2025, every five minutes, as NDJSON in a folder.

Every figure is decided here and nothing is random: Mbit/s for each window of five minutes, by the
time in Lisbon, and what goes wrong with the polls of one port on Sunday the 16th.
"""

import json
import pathlib
import sys
from datetime import datetime, timedelta, timezone

STEP = timedelta(minutes=5)
START = datetime(2025, 3, 1, tzinfo=timezone.utc)  # midnight in Lisbon
END = datetime(2025, 3, 31, 23, tzinfo=timezone.utc)  # midnight in Lisbon, an hour further on
SUMMER = datetime(2025, 3, 30, 1, tzinfo=timezone.utc)
OCTETS = 1_000_000 // 8 * 300  # of 1 Mbit/s in a window


def levels(instant):
    """Mbit/s (in, out) of both ports in the window that begins at an instant."""
    lisbon = instant + timedelta(hours=1 if instant >= SUMMER else 0)
    minute = lisbon.hour * 60 + lisbon.minute
    alder, beech = (10, 40), (30, 20)
    if lisbon.weekday() < 5 and 9 * 60 <= minute < 18 * 60:  # the working day
        alder = (40, 200)
    if 2 * 60 + 30 <= minute < 3 * 60 + 40:  # the backup of every night
        beech = (290, 20)
    if lisbon.day == 12 and 20 * 60 <= minute < 21 * 60:  # a backup is read back, once
        beech = (30, 260)
    return {"lis-1": alder, "lis-2": beech}


def polled(port, instant):
    """What the polls of the window make of its octets: (is there a reading, has it been reset)."""
    if port != "lis-1" or (instant.day, instant.hour) not in [(16, 12), (16, 14), (16, 16)]:
        return True, False
    if instant.hour == 12:  # one poll is lost
        return instant.minute != 30, False
    if instant.hour == 14:  # six polls are lost
        return instant.minute >= 30, False
    return True, instant.minute == 0  # the router starts again


def main(folder):
    counters = {("lis-1", "in"): 7_000_000_000, ("lis-1", "out"): 9_000_000_000}
    counters |= {("lis-2", "in"): 0, ("lis-2", "out"): 4_000_000_000_000}
    folder.mkdir(parents=True, exist_ok=True)
    lines, number = [], 0
    instant = START - STEP
    while instant < END:
        for port, (inward, outward) in levels(instant).items():
            there, reset = polled(port, instant)
            for direction, rate in (("in", inward), ("out", outward)):
                if reset:  # two of the five minutes are gone with the old reading
                    counters[port, direction] = rate * OCTETS * 3 // 5
                else:
                    counters[port, direction] += rate * OCTETS
                number += 1
                if not there:
                    continue
                data = {"value": str(counters[port, direction]), "dimensions": {"direction": direction}}
                event = {
                    "specversion": "1.0",
                    "id": f"o-{number:05}",
                    "source": "//edge/lis/r1",
                    "type": "network.example/octets",
                    "subject": f"ports/{port}",
                    # A poll is two minutes into its window.
                    "time": f"{instant + timedelta(minutes=2):%Y-%m-%dT%H:%M:%SZ}",
                    "data": data,
                }
                lines.append(json.dumps(event))
        instant += STEP
    (folder / "01-octets.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")


main(pathlib.Path(sys.argv[1]))

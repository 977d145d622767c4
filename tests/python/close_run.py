"""Runs a case against a binary: `close_run.py CASE ATCOST [WORK]`. Says what differs; exit status 1 if anything does. Needs duckdb."""

import collections
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

FREE = {"InvoiceDetailCreated", "InvoiceDetailLastUpdated", "BillingPeriodCreated", "BillingPeriodLastUpdated", "InvoiceDetailId", "PaymentCurrencyInvoiceDetailId"}


def text(value):
    """A value as the oracle writes it."""
    from datetime import date, datetime, timezone
    from decimal import Decimal

    if value is None:
        return None
    if isinstance(value, datetime):
        value = value.astimezone(timezone.utc) if value.tzinfo else value
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".") + "Z"
    if isinstance(value, Decimal):
        plain = format(value, "f")
        plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
        return "0" if plain in ("-0", "") else plain
    return str(value)


def of_csv(file, null):
    with open(file, newline="") as rows:
        rows = csv.reader(rows)
        header = next(rows)
        return header, [tuple(None if value == null else value for value in row) for row in rows]


def of_parquet(pattern, columns):
    # Read as text, so that no time zone package is needed.
    duckdb.execute("SET TimeZone = 'UTC'")
    types = {name: kind for name, kind, *_ in duckdb.execute(f"DESCRIBE SELECT * FROM read_parquet('{pattern}', hive_partitioning = false)").fetchall()}
    names = ", ".join(f"strftime(\"{name}\", '%Y-%m-%dT%H:%M:%S.%f')" if types[name].startswith("TIMESTAMP") else f'"{name}"' for name in columns)
    rows = duckdb.execute(f"SELECT {names} FROM read_parquet('{pattern}', hive_partitioning = false)").fetchall()
    instants = [types[name].startswith("TIMESTAMP") for name in columns]
    return [tuple(value.rstrip("0").rstrip(".") + "Z" if instant and value else text(value) for value, instant in zip(row, instants)) for row in rows]


def compare(what, header, wanted, found, report):
    keep = [place for place, name in enumerate(header) if name not in FREE]

    # A column with a `*` in it says only whether there is something.
    loose = {"InvoiceIssueDate"} | {name for place, name in enumerate(header) if any(row[place] == "*" for row in wanted)}

    def free(row):
        return tuple("set" if header[place] in loose and row[place] is not None else row[place] for place in keep)

    missing = collections.Counter(map(free, wanted))
    missing.subtract(collections.Counter(map(free, found)))
    less, more = [row for row, count in missing.items() for _ in range(count)], [row for row, count in missing.items() for _ in range(-count)]
    if less or more:
        names = [header[place] for place in keep]
        report(f"{what}: {len(less)} rows of {len(wanted)} are missing, {len(more)} are too many")
        for sign, rows in (("-", less), ("+", more)):
            for row in sorted(rows, key=str)[:5]:
                report(f"   {sign} " + " ".join(f"{name}={value}" for name, value in zip(names, row) if value is not None))


def subset(wanted, found):
    return all(name in found and (subset(value, found[name]) if isinstance(value, dict) and value and not isinstance(found[name], str) else found[name] == value) for name, value in wanted.items())


def main(case, atcost, work=None):
    case, work = Path(case).resolve(), Path(work or f"{case}/work").resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    script, wrong = json.loads((case / "commands.json").read_text()), []
    paths = {"catalog", "catalog2", "events", "late"}

    def report(line):
        wrong.append(line)
        print(line)

    subprocess.run([atcost, "init"], cwd=work, check=True, capture_output=True)
    for number, command in enumerate(script["commands"]):
        args = [str(case / arg) if place and arg in paths or arg.startswith("invoices/") else str(arg) for place, arg in enumerate(command["args"])]
        (work / "out").mkdir(exist_ok=True)
        if args[0] == "rate":
            args += ["--format", "json"]
        if args[0] == "query":
            args[args.index("csv")] = "json"
        done = subprocess.run([atcost, *args], cwd=work, capture_output=True, text=True)
        line = f"{number}: {' '.join(map(str, command['args']))}"
        if done.returncode != command["exit"] and not (command["exit"] == "refused" and done.returncode):
            report(f"{line}\n   exit {done.returncode}, not {command['exit']} {command.get('note', '')}\n   {done.stderr.strip()[:600]}")
            continue
        try:
            for table, file in command.get("expected", {}).items():
                what = f"{line} {table}"
                if table == "statement":
                    if not subset(json.loads((case / file).read_text()), json.loads(done.stdout)):
                        report(f"{what}: {done.stdout[:400]} is not {(case / file).read_text()[:600]}")
                    continue
                focus = table in ("CostAndUsage", "InvoiceDetail", "BillingPeriod")
                header, wanted = of_csv(case / file, "NULL" if focus else "")
                if focus:
                    found = of_parquet(f"{work / args[args.index('--out') + 1]}/{table}/*/*.parquet", header)
                elif table == "gl":
                    names, rows = of_csv(work / args[args.index("--out") + 1], "")
                    found = [tuple(row[names.index(name)] for name in header) for row in rows]
                elif table == "reconciles_to_invoice":
                    found = [tuple(text(row.get(name)) for name in header) for row in json.loads(done.stdout)]
                else:
                    folder = json.loads(done.stdout).get("folder") if args[0] == "rate" else folder_of(atcost, args, work)
                    found = of_parquet(f"{work / folder}/{table}.parquet", header)
                compare(what, header, wanted, found, report)
        except Exception as error:
            report(f"{line}\n   {type(error).__name__}: {error}")
    print(f"{len(script['commands'])} commands, {len(wrong)} complaints")
    return 1 if wrong else 0


def folder_of(atcost, args, work):
    return json.loads(subprocess.run([atcost, *args, "--format", "json"], cwd=work, capture_output=True, text=True).stdout)["folder"]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""What must come out of a month: `oracle.py MONTH PERIOD OUT` reads MONTH/catalog and MONTH/events and writes OUT/*.csv and OUT/summary.json.

A second implementation of the rules, from their description alone: it shares no code with the product, holds everything in memory, and computes with
exact rationals. It trusts the catalog, which `atcost catalog check` has to refuse when it is wrong; it does not trust the events.

`oracle_ledger` decides which events count, `oracle_catalog` reads what people wrote, `oracle_meters` makes quantities of events, `oracle_prices` money of quantities.
Nothing is written unless the sums agree at every level.
"""

import csv
import json
import sys
from collections import defaultdict
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path

from oracle_catalog import Catalog, minor_digits, to_places
from oracle_ledger import read_events
from oracle_meters import Usage, completeness
from oracle_prices import KEY, CannotRate, bill, converted, month_run, unrated

COLUMNS = {
    "cost_lines": KEY + "quantity unit amount settled model metered_quantity".split(),
    "charges": KEY + "customer subject kind retained_reason rule quantity amount standalone".split(),
    "statement_lines": KEY + "customer kind retained_reason amount biller grant billed_currency rate billed_amount".split(),
    "unrated": "reason provider meter subject quantity events".split(),
    "completeness": "kind provider meter source subject detail from until missing".split(),
}
QUANTITIES = {"quantity", "metered_quantity", "missing"}
NOTES = ["gap", "reset", "sequence-gap", "silent"]


def rate(catalog, ledger, month):
    """The lines of a month as (line, charges, statement lines), and what is unrated."""
    usage = Usage(catalog, ledger)
    lines, _ = month_run(usage, month)
    bill(usage, month, lines)
    return lines, unrated(usage, month)


# Conservation


class NotConserved(Exception):
    """Money appeared or vanished."""


def sums(rows, by, column):
    found = defaultdict(Fraction)
    for row in rows:
        found[tuple(row[name] for name in by)] += row[column]
    return dict(found)


def agree(what, one, other):
    """Sums by the same keys; what is missing is 0."""
    for key in one.keys() | other.keys():
        if one.get(key, 0) != other.get(key, 0):
            raise NotConserved(f"{what} {key}: {one.get(key, 0)} is not {other.get(key, 0)}")


def check(catalog, lines):
    """Everything adds up by line, by account, by biller and by currency."""
    operator = catalog.operator
    for line, charges, rows in lines:
        where = tuple(line[name] for name in KEY)
        own = [row for row in rows if row["biller"] == operator]
        agree("charges of a line", {where: sum(charge["amount"] for charge in charges)}, {where: line["amount"]})
        agree("statement lines of a line", {where: sum(row["amount"] for row in own)}, {where: line["settled"]})
        agree("grants of a line", {where: sum(row["amount"] for row in own if row["grant"])}, {where: 0})
        passed = sums([row for row in own if row["customer"] in catalog.partners and not row["grant"]], ["customer"], "amount")
        agree("what a partner bills of a line", sums([row for row in rows if row["biller"] != operator], ["biller"], "amount"), passed)
    cost_lines, statements = [line for line, _, _ in lines], [row for _, _, rows in lines for row in rows]
    charges = [charge for _, charges, _ in lines for charge in charges]
    own = [row for row in statements if row["biller"] == operator]
    for level in (["provider", "billing_account", "sub_account"], ["provider", "billing_account"], ["provider"], ["currency"]):
        agree("charges and cost", sums(charges, level, "amount"), sums(cost_lines, level, "amount"))
        agree("statements and settled", sums(own, level, "amount"), sums(cost_lines, level, "settled"))
    billed = [row for row in statements if row["kind"] != "retained"]
    for level in (["biller", "customer", "provider"],):
        totals = sums(billed, level, "billed_amount")
        rates = {tuple(row[name] for name in level): (row["rate"], row["billed_currency"]) for row in billed}
        whole = sums(billed, level, "amount")
        expected = {key: whole[key] if rates[key][0] is None else converted(rates[key][0] * whole[key], rates[key][1]) for key in whole}
        agree("what is billed and what it is worth", totals, expected)
    for row in statements:
        unit = Fraction(1, 10 ** minor_digits(row["currency"]))
        if row["amount"] % unit:
            raise NotConserved(f"{row} is no whole number of minor units")
    for level in (["provider"], ["currency"]):
        if any(abs(settled - amount) > len(lines) for settled, amount in zip(sums(cost_lines, level, "settled").values(), sums(cost_lines, level, "amount").values())):
            raise NotConserved(f"settling moves more than a unit a line by {level}")


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
    return {name: plain(value) for (name,), value in sorted(sums(rows, [by], column).items())}


def by_currency(rows, currency, column):
    """One number, or one for each currency where there are several: their sum would mean nothing."""
    found = totals(rows, currency, column)
    return found if len(found) > 1 else next(iter(found.values()), "0")


def write(out, table, rows):
    with (out / f"{table}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS[table])
        for row in rows:
            writer.writerow(plain(row[column], 9 if column in QUANTITIES else 18) for column in COLUMNS[table])


def main(folder, month, out):
    folder, out = Path(folder), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    catalog = Catalog(folder / "catalog")
    summary, ledger = read_events(folder / "events", datetime.now(timezone.utc))
    usage = Usage(catalog, ledger)
    lines, _ = month_run(usage, month)
    try:
        bill(usage, month, lines)
    except CannotRate as error:
        sys.exit(f"refused: {error}")
    check(catalog, lines)
    cost_lines = [line for line, _, _ in lines]
    statements = [row for _, _, rows in lines for row in rows]
    notes = completeness(usage, month)
    write(out, "cost_lines", cost_lines)
    write(out, "charges", [charge for _, rows, _ in lines for charge in rows])
    write(out, "statement_lines", statements)
    names = COLUMNS["unrated"]
    in_order = sorted(unrated(usage, month).items(), key=lambda item: [part or "" for part in item[0]])
    write(out, "unrated", [dict(zip(names, (*key, *row))) for key, row in in_order])
    write(out, "completeness", notes)
    summary["cost_total"] = totals(cost_lines, "provider", "amount")
    summary["settled_total"] = totals(cost_lines, "provider", "settled")
    own = [row for row in statements if row["biller"] == catalog.operator]
    billed = [row for row in statements if row["kind"] != "retained"]

    def of(rows, **wanted):
        return [row for row in rows if all(row[name] == value for name, value in wanted.items())]

    charged = [row for row in own if row["kind"] != "retained"]
    summary["customer_total"] = {customer: by_currency(of(charged, customer=customer), "currency", "amount") for customer in sorted(catalog.customers)}
    summary["retained_total"] = by_currency(of(own, kind="retained"), "currency", "amount")
    summary["billed_total"] = {}
    for biller, customer in sorted({(row["biller"], row["customer"]) for row in billed}):
        mine = of(billed, biller=biller, customer=customer)
        summary["billed_total"].setdefault(biller, {})[customer] = by_currency(mine, "billed_currency", "billed_amount")
    summary["completeness"] = {kind: len(of(notes, kind=kind)) for kind in NOTES}
    (out / "summary.json").write_text(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Whether what goes out to somebody has anything of anybody else: `scopes.py ATCOST FOLDER CATALOG MONTH...`.

FOLDER is a place with a ledger, CATALOG the folder of its catalog. Every customer, partner and provider gets its export,
customers their statements in every form and the explanations of their charges. In all of it, in every column of every
file, this looks for the names, ids, subjects and invoices of others, and for amounts that only others have. Exit status
1, and what was found, if anything was.
"""

import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as parquet

CREATED = {"InvoiceDetailCreated", "InvoiceDetailLastUpdated", "BillingPeriodCreated", "BillingPeriodLastUpdated"}
# Explanations of charges, and of lines of statements, that are looked at of one customer's month.
CHARGES, LINES = 1, 1


class Leaks:
    def __init__(self):
        self.found, self.cells = [], 0

    def look(self, where, value, words, amounts):
        """One value, or all of a nested one."""
        if value is None:
            return
        if isinstance(value, dict):
            for name, inner in value.items():
                self.look(f"{where}.{name}", name, words, amounts)
                self.look(f"{where}.{name}", inner, words, amounts)
            return
        if isinstance(value, (list, tuple)):
            for inner in value:
                self.look(where, inner, words, amounts)
            return
        self.cells += 1
        text = str(value)
        for word in words.findall(text) if words else ():
            self.found.append(f"{where}: {word!r} of somebody else in {text[:200]!r}")
        for number in re.findall(r"(?<![\w.:/-])-?\d+\.\d+(?![\w.:/-])", text):
            if Decimal(number) in amounts:
                self.found.append(f"{where}: {number} is an amount of somebody else's, in {text[:200]!r}")


def words(names):
    """Finds any of the names that stands alone, and not as the authority of an event's source."""
    names = sorted({re.escape(name) for name in names if name}, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?<!//)(?:{'|'.join(names)})(?!\w)") if names else None


def main(atcost, folder, catalog, *months):
    folder, catalog = Path(folder).resolve(), Path(catalog).resolve()
    leaks = Leaks()
    out = Path(tempfile.mkdtemp(prefix="scopes-", dir=folder))

    def run(*arguments):
        done = subprocess.run([atcost, *map(str, arguments)], cwd=folder, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise SystemExit(f"atcost {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def export(name, *scope):
        for month in months:
            run("export", "focus", "--period", month, "--out", out / name, *scope)
        return {dataset: rows(out / name, dataset) for dataset in ("CostAndUsage", "InvoiceDetail", "BillingPeriod")}

    def rows(place, dataset):
        files = sorted((place / dataset).glob("*/*.parquet"))
        assert files, f"{place} has no {dataset}"
        # One file at a time, so that a month without rows of a column is read too.
        return [row for file in files for row in parquet.ParquetFile(file).read().to_pylist()]

    customers = {entry["id"]: entry for entry in tomllib.loads((catalog / "customers.toml").read_text())["customer"]}
    operator = tomllib.loads((catalog / "catalog.toml").read_text())
    with open(catalog / "bindings.csv", newline="") as bindings:
        bound = {(row["subject"], row["customer"]) for row in csv.DictReader(bindings)}
    providers = {path.name: tomllib.loads((path / "provider.toml").read_text()) for path in (catalog / "providers").iterdir()}
    skus = {path.name: [sku["id"] for sku in tomllib.loads((path / "prices.toml").read_text()).get("sku", [])] for path in (catalog / "providers").iterdir()}
    def of_partner(customer):
        """Whoever bills it, if that is not the operator."""
        return customers[customer].get("bills_to")

    # The charges of a month are those of a run, which its folder names.
    runs = {month: Path(json.loads(run("rate", "--period", month, "--format", "json"))["folder"]).name for month in months}
    # Without it an explanation is the operator's own, and nobody else's to read.
    for_a_customer = "--for <" in run("explain", "--help")
    everything = export("operator")
    partners = {name: export(f"partner-{name}", "--scope", f"partner={name}") for name in {entry["bills_to"] for entry in customers.values() if entry.get("bills_to")}}
    every_row = everything["CostAndUsage"] + [row for partner in partners.values() for row in partner["CostAndUsage"]]
    decimals = [name for name, value in every_row[0].items() if any(isinstance(row[name], Decimal) for row in every_row)]

    def amounts(taken):
        """Amounts that only others have, and that are too long to be a sum of anybody's by chance."""
        own = {row[name] for row in every_row if taken(row) for name in decimals if row[name] is not None}
        others = {row["BilledCost"] for row in every_row if not taken(row)}
        return {amount for amount in others - own if len(amount.normalize().as_tuple().digits) >= 5}

    def compare(name, exported, whole, taken):
        wanted = sorted(str({key: value for key, value in row.items()}) for row in whole if taken(row))
        found = sorted(map(str, exported))
        if wanted != found:
            leaks.found.append(f"{name}: CostAndUsage has {len(found)} rows, which are not the {len(wanted)} of the whole export")

    def read(name, exported, foreign, foreign_amounts):
        for dataset, rows in exported.items():
            for row in rows:
                for column, value in row.items():
                    nested = json.loads(value) if isinstance(value, str) and value[:1] in "{[" and value[-1:] in "}]" else value
                    if column not in CREATED:
                        leaks.look(f"{name} {dataset}.{column}", nested, foreign, foreign_amounts)
        for file in (out / name).glob("*.json"):
            leaks.look(f"{name} {file.name}", json.loads(file.read_text()), foreign, foreign_amounts)

    for customer, entry in customers.items():
        if entry.get("kind") == "internal":
            continue
        biller = of_partner(customer)
        # A partner is billed for those that it bills, who are on its lines.
        own = {customer} | {other for other in customers if of_partner(other) == customer}
        others = [other for other in customers if other not in own and other != biller]
        subjects = {subject for subject, _ in bound} - {subject for subject, to in bound if to in own}
        names = [*others, *(customers[other]["name"] for other in others), *subjects]
        foreign, foreign_amounts = words(names), amounts(lambda row: row["BillingAccountId"] == customer)
        name = f"customer-{customer}"
        exported = export(name, "--scope", f"customer={customer}")
        # The lines of whom a partner bills are in the partner's scope, and in no other.
        compare(name, exported["CostAndUsage"], everything["CostAndUsage"], lambda row: row["BillingAccountId"] == customer)
        read(name, exported, foreign, foreign_amounts)
        for month in months:
            for form in ("table", "json", "html"):
                leaks.look(f"{name} statement {month} {form}", run("statement", customer, "--period", month, "--format", form), foreign, foreign_amounts)
            if not for_a_customer:
                continue
            def ids(query):
                return [row["id"] for row in json.loads(run("query", "--period", month, "--format", "json", query))]

            explained = ids(f"SELECT charge_id AS id FROM charges WHERE customer = '{customer}' ORDER BY id LIMIT {CHARGES}")
            # Those of grants first: somebody else is on their other side.
            explained += ids(f'''SELECT statement_line_id AS id FROM statement_lines WHERE customer = '{customer}' ORDER BY "grant" IS NULL, id LIMIT {LINES}''')
            for explained_id in explained:
                for form in ("table", "json"):
                    told = run("explain", explained_id, "--for", customer, "--run", runs[month].removeprefix("run="), "--format", form)
                    leaks.look(f"{name} explain {explained_id} {form}", told, foreign, foreign_amounts)
    for provider, entry in providers.items():
        others = [other for other in providers if other != provider]
        names = [*others, *(providers[other]["name"] for other in others), *(providers[other]["billing_account"] for other in others)]
        names += [sku for other in others for sku in skus[other] if sku not in skus[provider]]
        # The operator may be a provider, and issues what goes out.
        foreign = words(set(names) - {operator["operator"], operator["name"]} - {entry["name"], entry["billing_account"]})
        name = f"provider-{provider}"
        exported = export(name, "--scope", f"provider={provider}")
        compare(name, exported["CostAndUsage"], everything["CostAndUsage"], lambda row: row["HostProviderName"] == entry["name"])
        read(name, exported, foreign, set())
    for partner, exported in partners.items():
        own = {partner, *(other for other in customers if of_partner(other) == partner)}
        others = set(customers) - own
        subjects = {subject for subject, _ in bound} - {subject for subject, to in bound if to in own}
        read(f"partner-{partner}", exported, words([*others, *(customers[other]["name"] for other in others), *subjects]), amounts(lambda row: row["BillingAccountId"] in own))
    if (catalog / "gl.toml").exists():
        for month in months:
            run("export", "gl", "--period", month, "--out", out / f"{month}.csv")
            # The journal is the operator's: it may name whom it bills, and nobody's subjects.
            with open(out / f"{month}.csv", newline="") as journal:
                for row in csv.DictReader(journal):
                    leaks.look(f"gl {month}", row, words(subject for subject, _ in bound), set())
    if not leaks.found:
        shutil.rmtree(out)
    print("\n".join(leaks.found[:40]))
    print(f"{leaks.cells} values of {len(customers)} customers, {len(partners)} partners and {len(providers)} providers: {len(leaks.found)} of others")
    return 1 if leaks.found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

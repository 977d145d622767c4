"""The month of tests/cases/close as commands for close_run.py: `make_close_case.py OUT`."""

import json
import shutil
import sys
from pathlib import Path

SHARED = Path(__file__).parent.parent / "cases"
CLOSE, NOVEMBER = SHARED / "close", SHARED / "close/november"


def main(out):
    out = Path(out)
    shutil.rmtree(out, ignore_errors=True)
    for name, folders in {"catalog": (SHARED / "month/catalog", CLOSE / "catalog"), "catalog2": (SHARED / "month/catalog", CLOSE / "catalog", NOVEMBER / "catalog"),
        "events": (SHARED / "month/events", CLOSE / "events"), "late": (NOVEMBER / "events",), "invoices": (CLOSE / "invoices", NOVEMBER / "invoices"), "expected": (CLOSE / "expected",)}.items():
        for folder in folders:
            shutil.copytree(folder, out / name, dirs_exist_ok=True)
    commands, why = [], ["--reason", "looked at", "--by", "mira"]

    def do(*args, exit=0, **expected):
        commands.append({"args": list(args), "exit": exit} | ({"expected": {name: f"expected/{file}" for name, file in expected.items()}} if expected else {}))

    def take(provider, *files):
        for file in files:
            do("invoice", "import", "--provider", provider, f"invoices/{file}")

    def outs(month, suffix):
        for customer, statement in json.loads((CLOSE / "expected/statements.json").read_text())[month].items():
            file = out / f"expected/statement-{month}-{customer}.json"
            file.write_text(json.dumps(statement))
            do("statement", customer, "--period", month, "--format", "json", statement=file.name)
        do("export", "gl", "--period", month, "--out", f"out/gl{suffix}.csv", gl=f"gl{suffix}.csv")
        do("export", "focus", "--period", month, "--out", f"out/focus{suffix}", CostAndUsage=f"focus_cost_and_usage{suffix}.csv", InvoiceDetail=f"focus_invoice_detail{suffix}.csv", BillingPeriod=f"focus_billing_period{suffix}.csv")

    october, november = ["--period", "2025-10"], ["--period", "2025-11"]
    do("catalog", "publish", "catalog")
    do("ingest", "--files", "events", "--until-caught-up")
    take("nimbus", "nimbus-2025-10.csv")
    take("stow", "stow-2025-10.csv")
    take("lynx", "lynx-2025-10.csv")
    take("vireo", "vireo-2025-10.jsonl")
    do("invoice", "import", "--provider", "lynx", "invoices/lynx-2025-10-cut.csv", exit=2)
    do("reconcile", *october, exit=1, comparison="comparison.csv")
    for cls in ("price", "quantity", "duplicate"):
        do("reconcile", "dispute", "--provider", "nimbus", *october, "--class", cls, *why)
    for provider in ("nimbus", "stow", "lynx", "vireo"):
        do("reconcile", "accept", "--provider", provider, *october, *why)
    do("close", *october, *why, exit="refused")
    do("rate", *october, statement_lines="statement_lines.csv")
    do("close", *october, "--waive", "unrated", "--waive", "conflicts", "--waive", "invoice:otter", *why)
    outs("2025-10", "")
    do("export", "focus", *october, "--out", "out/daily", "--scope", "customer=acme", "--granularity", "day", CostAndUsage="focus_cost_and_usage_daily.csv")
    do("catalog", "publish", "catalog2", "--allow-past-changes", "a misprint")
    do("ingest", "--files", "late", "--until-caught-up")
    take("lynx", "lynx-2025-10-restated.csv")
    take("nimbus", "nimbus-credit-note.csv")
    take("otter", "otter-2025-10.xml")
    take("stow", "stow-2025-11.csv")
    do("reconcile", *october, exit=1, comparison="comparison_november.csv")
    for provider in ("lynx", "nimbus"):
        do("reconcile", "accept", "--provider", provider, *october, *why)
    do("rate", *october, statement_lines="statement_lines_afresh.csv", invoice_lines="invoice_lines.csv")
    do("rate", *november, statement_lines="statement_lines_november.csv", corrections="corrections.csv")
    do("query", "SELECT * FROM reconciles_to_invoice", "--format", "csv", reconciles_to_invoice="reconciles_to_invoice.csv")
    outs("2025-11", "_november")
    (out / "commands.json").write_text(json.dumps({"month": "2025-10", "following": "2025-11", "commands": commands}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])

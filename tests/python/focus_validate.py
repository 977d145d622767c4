"""The official FOCUS validator over exports: `focus_validate.py OUT...`, or `--install` before it is needed.

It needs Python 3.12 or later and focus-validator 2.2.1, which it installs in ATCOST_FOCUS_VALIDATOR, a
folder below ~/.cache/atcost where that is not set, if it can. Where it cannot, it says that nothing was validated, and ends with 0: a second opinion may be
missing, `atcost export check` may not. Exit status 1: a rule is broken that is no known exception.

The exceptions: three rules of CostAndUsage are errors of the model (tests/cases/focus/README.md); of
InvoiceDetail two say that a date column is missing, which the validator drops where all of it is NULL.
"""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys

VALIDATOR = ["focus-validator==2.2.1", "pyarrow<22"]
CHECK = pathlib.Path(__file__).parent.parent / "cases" / "focus" / "focus_check.py"
ENVIRONMENT = pathlib.Path(os.environ.get("ATCOST_FOCUS_VALIDATOR") or pathlib.Path.home() / ".cache" / "atcost" / "focus-validator")
# The rules that may be broken, and the column that the validator does not see then, if there is one.
ALLOWED = {
    "CostAndUsage": {
        "CAU-CostAndUsage-D-021-M": None,
        "CAU-CostAndUsage-D-038-M": None,
        "CAU-PricingCurrencyContractedUnitPrice-C-012-C": None,
    },
    "InvoiceDetail": {
        "IND-InvoiceDetail-D-016-M": "InvoiceIssueDate",
        "IND-InvoiceDetail-D-022-M": "PaymentDueDate",
    },
    "BillingPeriod": {},
}


def skip(why):
    print(f"skipped: {why}; the official validator has not looked at this export")
    sys.exit(0)


def new_enough(python):
    asks = "import sys; sys.exit(sys.version_info < (3, 12))"
    try:
        return subprocess.run([python, "-c", asks], capture_output=True).returncode == 0
    except OSError:
        return False


def pythons():
    yield sys.executable
    for name in ("python3.12", "python3.13", "python3.14", "python3"):
        found = shutil.which(name)
        if found:
            yield found
    versions = pathlib.Path.home() / ".pyenv" / "versions"
    yield from sorted(str(path) for path in versions.glob("3.*/bin/python"))


def environment():
    """The Python that has the validator."""
    python = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / "installed"
    if done.exists() and done.read_text() == "\n".join(VALIDATOR):
        return python
    print("Fetching the official FOCUS validator", flush=True)
    base = next((python for python in pythons() if new_enough(python)), None)
    if base is None:
        skip("there is no Python 3.12 or later")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    for command in ([base, "-m", "venv", ENVIRONMENT], [python, "-m", "pip", "install", "-q", *VALIDATOR]):
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode != 0:
            skip(f"the validator cannot be installed ({(made.stderr.strip() or 'no reason').splitlines()[-1]})")
    done.write_text("\n".join(VALIDATOR))
    return python


def validate(python, dataset, path):
    """What the validator says of a file, and what is broken that may not be."""
    rows = "import sys, pyarrow.parquet as p; print(p.ParquetFile(sys.argv[1]).metadata.num_rows)"
    count = subprocess.run([python, "-c", rows, path], capture_output=True, text=True, check=True).stdout
    if int(count) == 0:
        return "no rows, nothing to validate", []
    command = [python, CHECK, path, "--version", "1.4", "--dataset", dataset, "--criteria", "ALL", "-v"]
    checked = subprocess.run(command, capture_output=True, text=True)
    if not checked.stdout.startswith("rules: "):
        return "the validator fails", [checked.stderr.strip()[-2000:] or f"exit status {checked.returncode}"]
    summary, *failures = checked.stdout.strip().splitlines()
    allowed, broken, known = ALLOWED[dataset], [], []
    for failure in failures:
        kind, rule = failure.split()[:2]
        if rule in allowed:
            known.append(rule)
        elif kind == "column-absent":
            # Of a column that it does not see, it says so of each of its rules.
            absent = failure[failure.index("[") + 1 : failure.index("]")].replace("'", "").split(", ")
            broken += [failure] if set(absent) - set(allowed.values()) else []
        elif kind == "ROOT":
            broken.append(failure)
    return f"{summary}; known exceptions: {', '.join(known) or 'none'}", broken


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: focus_validate.py OUT..., the folders of exports")
    if sys.argv[1] == "--install":
        environment()
        return
    outs = [pathlib.Path(out).absolute() for out in sys.argv[1:]]
    files = [(out, dataset, path) for out in outs for dataset in ALLOWED for path in sorted(out.glob(f"{dataset}/*/*.parquet"))]
    bare = [str(out) for out in outs if not any(place == out for place, *_ in files)]
    if bare:
        sys.exit(f"{', '.join(bare)} has no Parquet files of an export")
    python = environment()
    failed = False
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        said = pool.map(lambda file: validate(python, *file[1:]), files)
        for (out, _, path), (summary, broken) in zip(files, said):
            print(f"{out.name}/{path.relative_to(out)}: {summary}", *broken, sep="\n    ")
            failed |= bool(broken)
    print(f"{len(files)} files: {'a rule is broken' if failed else 'nothing is broken but the known exceptions'}")
    sys.exit(1 if failed else 0)


main()

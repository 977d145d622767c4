"""The official FOCUS validator over an export: `focus_validate.py OUT`.

It needs Python 3.12 or later and focus-validator 2.2.1, which it installs below ~/.cache/atcost where it
can. Where it cannot, it says that nothing was validated, and ends with 0: a second opinion may be
missing, `atcost export check` may not. Exit status 1: a rule is broken that is no known exception.

The exceptions: three rules of CostAndUsage are errors of the model (tests/cases/focus/README.md); of
InvoiceDetail two say that a date column is missing, which the validator drops where all of it is NULL.
"""

import pathlib
import shutil
import subprocess
import sys

VALIDATOR = ["focus-validator==2.2.1", "pyarrow<22"]
CHECK = pathlib.Path(__file__).parent.parent / "focus" / "focus_check.py"
ENVIRONMENT = pathlib.Path.home() / ".cache" / "atcost" / "focus-validator"
ALLOWED = {
    "CostAndUsage": [
        "CAU-CostAndUsage-D-021-M",
        "CAU-CostAndUsage-D-038-M",
        "CAU-PricingCurrencyContractedUnitPrice-C-012-C",
    ],
    "InvoiceDetail": ["IND-InvoiceDetail-D-016-M", "IND-InvoiceDetail-D-022-M"],
    "BillingPeriod": [],
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


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: focus_validate.py OUT, the folder of an export")
    out = pathlib.Path(sys.argv[1]).absolute()
    files = [(dataset, path) for dataset in ALLOWED for path in sorted(out.glob(f"{dataset}/*/*.parquet"))]
    if not files:
        sys.exit(f"{out} has no Parquet files of an export")
    python = environment()
    broken = False
    for dataset, path in files:
        rows = "import sys, pyarrow.parquet as p; print(p.read_metadata(sys.argv[1]).num_rows)"
        count = subprocess.run([python, "-c", rows, path], capture_output=True, text=True, check=True).stdout
        if int(count) == 0:
            print(f"{path.relative_to(out)}: no rows, nothing to validate")
            continue
        command = [python, CHECK, path, "--version", "1.4", "--dataset", dataset, "--criteria", "ALL"]
        if ALLOWED[dataset]:
            command += ["--allow", *ALLOWED[dataset]]
        checked = subprocess.run(command, capture_output=True, text=True)
        print(f"{path.relative_to(out)}: {checked.stdout.strip() or checked.stderr.strip()}")
        broken |= checked.returncode != 0
    sys.exit(1 if broken else 0)


main()

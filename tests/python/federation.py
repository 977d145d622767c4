"""Three installations in a chain: `federation.py ATCOST SEED [WORK]`.

An operator buys from a provider and bills a partner, the partner bills a customer, the customer shares it among its
teams. Each keeps a ledger of its own, reads the same usage, and imports what the one before exports as FOCUS as its
provider's invoice. Two months, in the second of which late usage, a void and a restated invoice correct the first. All
of it goes through the command line; what must come out is added up here. Exit status 1 where a cent is missing.
"""

import json
import random
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as parquet

MONTHS = ["2025-10", "2025-11"]
# Who is who: an installation, its provider as it is called there, its account with it, and who it bills.
CHAIN = [
    ("harbour", "cloud", "H-1", ["kite", "moss", "harbour-own"], "harbour-own"),
    ("kite", "harbour", "kite", ["lime", "pine", "kite-own"], "kite-own"),
    ("lime", "kite", "lime", ["red", "blue", "lime-own"], "lime-own"),
]
SKUS = {"CPU": ("compute.example/hours", "h"), "NET": ("network.example/egress", "GBy"), "GPU": ("compute.example/gpu-hours", "h")}


class Installation:
    def __init__(self, atcost, folder):
        self.atcost, self.folder = atcost, folder
        folder.mkdir(parents=True)
        self.run("init")

    def run(self, *arguments, ends=(0,)):
        done = subprocess.run([self.atcost, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True)
        if done.returncode not in ends:
            raise AssertionError(f"{self.folder.name}: atcost {' '.join(map(str, arguments))} ends with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def json(self, *arguments, ends=(0,)):
        return json.loads(self.run(*arguments, "--format", "json", ends=ends).stdout)

    def query(self, sql, month):
        return self.json("query", "--period", month, sql)


def prices(draw):
    def price():
        return str(Decimal(draw.randrange(1, 5000)) / 10000)

    tiers = f'model = "graduated"\n  tiers = [{{ up_to = "{draw.randrange(5, 80)}", unit_price = "{price()}" }}, {{ unit_price = "{price()}" }}]'
    models = {"CPU": tiers, "NET": f'model = "per_unit"\n  unit_price = "{price()}"', "GPU": f'model = "per_unit"\n  unit_price = "{price()}"'}
    rules = {sku: draw.choice(["proportional", "standalone"]) for sku in SKUS} | {"GPU": "proportional"}
    text = "".join(
        f'[[sku]]\nid = "{sku}"\nname = "{sku} of {meter}"\nmeter = "{meter}"\nunit = "{unit}"\nallocation = "{rules[sku]}"\n\n  [[sku.price]]\n  from = "2025-01-01"\n  {models[sku]}\n\n'
        for sku, (meter, unit) in SKUS.items()
    )
    share = draw.choice(["even", "proportional"])
    if share == "even":
        text += f'[[sku]]\nid = "SUPPORT"\nname = "Support"\nallocation = "even"\n\n  [[sku.price]]\n  from = "2025-01-01"\n  model = "flat"\n  amount = "{draw.randrange(100, 20000) / 100:.2f}"\n  every = "month"\n'
    return text


def catalog(folder, draw, level, subjects, price_list, zone):
    name, provider, account, customers, own = CHAIN[level]
    (folder / "providers" / provider).mkdir(parents=True, exist_ok=True)
    (folder / "catalog.toml").write_text(f'operator = "{name}"\nname = "{name.title()} Ltd"\n')
    (folder / "meters.toml").write_text("".join(f'[[meter]]\ntype = "{meter}"\nunit = "{unit if unit != "GBy" else "By"}"\naggregation = "sum"\ndimensions = []\n\n' for meter, unit in SKUS.values()))
    kinds = {own: "internal", "kite": "partner", "lime": "partner"}
    (folder / "customers.toml").write_text(
        "".join(f'[[customer]]\nid = "{customer}"\nname = "{customer.title()} Inc"\ncurrency = "EUR"\n' + (f'kind = "{kinds[customer]}"\n' if customer in kinds else "") + "\n" for customer in customers)
    )
    rows = [f"{subject},{owners[level]},2025-01-01T00:00:00Z," for subject, owners in subjects.items() if len(owners) > level]
    (folder / "bindings.csv").write_text("\n".join(["subject,customer,from,until", *rows]) + "\n")
    # East of UTC a month begins before FOCUS's does, and the next in the chain has to know it.
    zone = zone if level == 0 or zone == "Europe/Berlin" else "UTC"
    at = folder / "providers" / provider
    (at / "provider.toml").write_text(f'id = "{provider}"\nname = "{provider.title()}"\nbilling_account = "{account}"\ncurrency = "EUR"\ntime_zone = "{zone}"\n\n[rounding]\nmode = "{draw.choice(["half-even", "half-up", "down"])}"\n')
    (at / "prices.toml").write_text(price_list)
    passing = '[pass]\ntax = "by_cost"\ncredit = "by_cost"\nadjustment = "by_cost"\n'
    if level == 0:
        columns = '[columns]\ninvoice = "invoice"\nsku = "sku"\ndescription = "text"\nstart = "start"\nend = "end"\nquantity = "quantity"\nunit = "unit"\namount = "amount"\ncurrency = "currency"\n'
        rows = '[[rows]]\nwhen = { kind = "tax" }\nis = "tax"\n\n[[rows]]\nwhen = { kind = "credit" }\nis = "credit"\n'
        (at / "invoice.toml").write_text(f'format = "csv"\n\n[file]\ndate = "iso"\n\n{columns}\n{rows}\n{passing}')
    else:
        (at / "invoice.toml").write_text(f'format = "focus"\n\n{passing}')


class World:
    """Usage by day and subject, and the provider's bill for it."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        owners = [["kite", "lime", "red"], ["kite", "lime", "blue"], ["kite", "pine"], ["moss"]]
        owners += [self.draw.choice([["harbour-own"], ["kite", "kite-own"], ["kite", "lime", "lime-own"], ["kite", "lime", "red"]]) for _ in range(self.draw.randrange(1, 4))]
        self.subjects = {f"p/{number}": chain for number, chain in enumerate(owners)}
        self.events = 0

    def event(self, subject, month, correction=None):
        self.events += 1
        meter, unit = self.draw.choice(list(SKUS.values()))
        value = str(self.draw.randrange(1, 9 * 10**9)) if unit == "GBy" else str(Decimal(self.draw.randrange(1, 20000)) / 1000)
        data = {"value": value, "dimensions": {}}
        if correction:
            meter, data = correction[1], {"value": "0", "dimensions": {}, "correction": {"action": "void", "source": "//node", "id": correction[0], "reason": "wrong"}}
        # The middle of a month is in the same month everywhere.
        time = f"{month}-{self.draw.randrange(3, 27):02}T{self.draw.randrange(24):02}:00:00Z"
        return {"specversion": "1.0", "id": f"e{self.events}", "source": "//node", "type": meter, "subject": subject, "time": time, "data": data}

    def usage(self, month, count):
        return [self.event(self.draw.choice(list(self.subjects)), month) for _ in range(count)]

    def bill(self, lines, month, number, change):
        """What the provider bills for what the ledger expects: mostly that, sometimes something else."""
        rows, net = [], 0
        year, number_of_month = map(int, month.split("-"))
        end = f"{year}-{number_of_month + 1:02}-01"
        for line in lines:
            amount = int(Decimal(line["settled"]) * 100)
            if change and self.draw.random() < 0.6:
                amount += self.draw.randrange(-amount // 3 if amount > 3 else 0, amount // 2 + 3)
            net += amount
            quantity, unit = (line["quantity"], "h" if line["unit"] == "h" else line["unit"]) if line["unit"] else ("", "")
            rows.append(f"{number},usage,{line['sku']},{line['sku']},{month}-01,{end},{quantity},{unit},{Decimal(amount) / 100}")
        rows.append(f"{number},tax,,VAT,{month}-01,{end},,,{Decimal(net * 19 // 100) / 100}")
        if self.draw.random() < 0.5:
            rows.append(f"{number},credit,,Goodwill,{month}-01,{end},,,-{Decimal(self.draw.randrange(1, max(2, net // 4))) / 100}")
        return "\n".join(["invoice,kind,sku,text,start,end,quantity,unit,amount,currency"] + [row + ",EUR" for row in rows]) + "\n"


def settle(place, months, provider):
    """Accepts whatever is open."""
    for month in months:
        if place.run("reconcile", "--period", month, ends=(0, 1)).returncode == 1:
            place.run("reconcile", "accept", "--provider", provider, "--period", month, "--reason", "it is what they bill", "--by", "mira")
            place.run("reconcile", "--period", month)


def focus_total(folder, month):
    table = parquet.read_table(next((folder / "CostAndUsage" / f"billing_period={month}").glob("*.parquet")))
    totals = defaultdict(Decimal)
    for invoice, billed in zip(table["InvoiceId"].to_pylist(), table["BilledCost"].to_pylist()):
        totals[invoice] += billed
    return dict(totals)


def main(atcost, seed, work):
    world, work = World(int(seed)), Path(work)
    places, price_list = [], prices(world.draw)
    zone = ["Europe/Berlin", "America/New_York", "UTC"][int(seed) % 3]
    for level, (name, *_) in enumerate(CHAIN):
        place = Installation(atcost, work / name)
        catalog(place.folder / "catalog", world.draw, level, world.subjects, price_list, zone)
        (place.folder / "events").mkdir()
        place.run("catalog", "publish", "catalog")
        places.append(place)
    october = world.usage(MONTHS[0], 40)
    late = world.usage(MONTHS[0], 6) + [world.event(event["subject"], MONTHS[0], (event["id"], event["type"])) for event in world.draw.sample(october, 2)]
    batches = {MONTHS[0]: october, MONTHS[1]: late + world.usage(MONTHS[1], 40)}
    billed = {}
    for month in MONTHS:
        upstream, corrected = None, 0
        for level, (place, (name, provider, _, customers, own)) in enumerate(zip(places, CHAIN)):
            known = [event for event in batches[month] if len(world.subjects[event["subject"]]) > level]
            (place.folder / "events" / f"{month}.ndjson").write_text("".join(json.dumps(event) + "\n" for event in known))
            place.run("ingest", "--files", "events", "--until-caught-up")
            if level == 0:
                files = []
                lines = place.query("SELECT sku, quantity, unit, settled FROM cost_lines ORDER BY sku", month)
                files.append((f"C-{month}", world.bill(lines, month, f"C-{month}", True)))
                if month == MONTHS[1]:
                    lines = place.query("SELECT sku, quantity, unit, settled FROM cost_lines ORDER BY sku", MONTHS[0])
                    files.append((f"C-{MONTHS[0]}", world.bill(lines, MONTHS[0], f"C-{MONTHS[0]}", True)))
                for number, text in files:
                    file = place.folder / f"{number}-in-{month}.csv"
                    file.write_text(text)
                    place.run("invoice", "import", "--provider", provider, file)
            else:
                file = next((upstream / "CostAndUsage" / f"billing_period={month}").glob("*.parquet"))
                came = place.json("invoice", "import", "--provider", provider, file)
                totals = {invoice["invoice"]: sum(Decimal(line["amount"]) for line in invoice["sums"]) for invoice in came["invoices"]}
                expected = focus_total(upstream, month)
                assert totals == expected, f"{name} {month}: {totals} was imported, {expected} was exported"
            settle(place, MONTHS[: MONTHS.index(month) + 1], provider)
            place.run("close", "--period", month, "--by", "mira")
            statements = {customer: place.json("statement", customer, "--period", month) for customer in customers if customer != own}
            corrected += sum(line["correction"] is not None for statement in statements.values() for line in statement["lines"])
            out = place.folder / "focus"
            place.run("export", "focus", "--period", month, "--out", out / "all")
            for customer in statements:
                place.run("export", "focus", "--period", month, "--out", out / customer, "--scope", f"customer={customer}")
                place.run("export", "check", out / customer)
                exported = focus_total(out / customer, month)
                total = {f"{name}-{month}-{customer}-EUR": Decimal(statements[customer]["total"].get("EUR", "0"))}
                assert exported == {} and not any(total.values()) or exported == total, f"{name} {month} {customer}: exported {exported}, on the statement {total}"
                billed[level, month, customer] = sum(exported.values(), Decimal(0))
            everything = focus_total(out / "all", month)
            billed[level, month, own] = everything.pop(f"{name}-{month}-{name}-EUR", Decimal(0))
            assert sum(everything.values()) == sum(billed[level, month, customer] for customer in statements), f"{name} {month}: the export of all is not those of each"
            if level + 1 < len(CHAIN):
                upstream = out / CHAIN[level + 1][0]
        if month == MONTHS[1]:
            assert corrected > 0, "nothing was corrected"
    chain(places, billed)
    cents = sum(billed.values()) * 100
    print(f"seed {seed}: three installations, {len(MONTHS)} months, {len(october + batches[MONTHS[1]])} events; every cent is conserved ({cents:f})")


def chain(places, billed):
    """What each owes upstream is what it bills and bears, to the cent, in both months together and in each."""
    reached = Decimal(0)
    for level, (place, (name, _, _, customers, _)) in enumerate(zip(places, CHAIN)):
        rows = place.query("SELECT * FROM reconciles_to_invoice", MONTHS[1])
        assert rows and all(Decimal(row["difference"]) == 0 for row in rows), f"{name}: {rows}"
        owed = sum(Decimal(row["total"]) for row in rows)
        passed = sum(billed[level, month, customer] for month in MONTHS for customer in customers)
        assert owed == passed, f"{name} owes {owed} and passes on or bears {passed}"
        if level > 0:
            asked = sum(billed[level - 1, month, name] for month in MONTHS)
            assert asked == owed, f"{name} is billed {asked} and its ledger has {owed}"
        follows = CHAIN[level + 1][0] if level + 1 < len(CHAIN) else None
        reached += sum(billed[level, month, customer] for month in MONTHS for customer in customers if customer != follows)
        if level == 0:
            paid = owed
    assert reached == paid, f"the provider is owed {paid}, and {reached} reached somebody"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])

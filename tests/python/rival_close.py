"""What DuckDB makes of an invoice's file: `rival_close.py group|join INVOICE COST_LINES`.

`group` reads every record of the file and adds up amounts and quantities by account and SKU, as an import must at least. `join` puts that beside the cost
lines of a run, as a comparison must at least, and counts the rows whose amounts are further apart than half a cent for each line. Amounts are exact decimals.
Prints JSON: the lines and what they come to, or the rows and how many differ.
"""

import json
import sys

import duckdb

GROUPED = """SELECT account, sku, count(*) AS lines, sum(quantity) AS quantity, sum(amount) AS amount FROM read_csv('{}', columns = {{
    'invoice': 'VARCHAR', 'line': 'BIGINT', 'account': 'VARCHAR', 'sku': 'VARCHAR', 'from': 'DATE', 'until': 'DATE', 'quantity': 'DECIMAL(28,9)',
    'price': 'DECIMAL(38,18)', 'amount': 'DECIMAL(38,18)', 'currency': 'VARCHAR'}}) GROUP BY ALL"""


def plain(amount):
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def main(what, invoice, cost_lines):
    grouped = GROUPED.format(invoice)
    if what == "group":
        lines, amount = duckdb.sql(f"SELECT sum(lines)::BIGINT, sum(amount) FROM ({grouped})").fetchall()[0]
        print(json.dumps({"lines": lines, "amount": plain(amount)}))
        return
    rows, differ = duckdb.sql(f"""SELECT count(*), count(*) FILTER (abs(coalesce(i.amount, 0) - coalesce(c.amount, 0)) > coalesce(i.lines, 1) * 0.005)
        FROM ({grouped}) i FULL JOIN '{cost_lines}' c ON c.sub_account = i.account AND c.sku = i.sku""").fetchall()[0]
    print(json.dumps({"rows": rows, "differ": differ}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runs the SQL statements of standard input in DuckDB and prints what each returns, as JSON.

Statements are separated by a line that holds only a semicolon. Every value is printed as the text of its exact value, or null:
decimals without trailing zeros, instants in UTC with as many digits as they need. No value becomes a float on the way; a column
that is one is an error.
"""

import datetime
import decimal
import json
import sys

import duckdb


def text(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, decimal.Decimal):
        digits = format(value, "f")
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    if isinstance(value, datetime.datetime):
        text = value.replace(tzinfo=None).isoformat()
        return (text.rstrip("0") if "." in text else text) + "Z"
    if isinstance(value, (list, tuple)):
        return [text(item) for item in value]
    if isinstance(value, (dict)):
        return {name: text(item) for name, item in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    raise TypeError(f"a value of type {type(value).__name__}: cast it in SQL")


def run(connection, statement):
    result = connection.sql(statement)
    if result is None:
        return {"columns": [], "types": [], "rows": []}
    # An instant with a time zone is fetched as a plain timestamp in UTC, so that the client needs no time zone package.
    columns = [
        f'make_timestamp(epoch_us("{name}")) AS "{name}"' if str(kind) == "TIMESTAMP WITH TIME ZONE" else f'"{name}"'
        for name, kind in zip(result.columns, result.types)
    ]
    rows = result.project(", ".join(columns)).fetchall()
    return {
        "columns": result.columns,
        "types": [str(kind) for kind in result.types],
        "rows": [[text(value) for value in row] for row in rows],
    }


def main():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    statements = [statement for statement in sys.stdin.read().split("\n;\n") if statement.strip()]
    json.dump([run(connection, statement) for statement in statements], sys.stdout)


if __name__ == "__main__":
    main()

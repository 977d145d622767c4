"""What is exported, and a run's tables, as other programs read them: `readers.py [--spark] FOLDER...`.

Every Parquet file below the folders is read by DuckDB, Polars, pandas and pyarrow, or by Spark. Each says how many rows
there are, what types the columns have and what each column of decimals adds up to; they must say the same, to the last
place, and no column may be a float. Exit status 1 where they do not.
"""

import sys
from decimal import Decimal, localcontext
from pathlib import Path


def exact(numbers):
    """A sum that no context rounds."""
    with localcontext() as context:
        context.prec = 100
        return sum((number for number in numbers if number is not None), Decimal(0))


def plain(number):
    text = format(Decimal(number or 0), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def by_duckdb(file):
    import duckdb

    described = duckdb.execute("DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning = false)", [str(file)]).fetchall()
    floats = [name for name, kind, *_ in described if kind in ("FLOAT", "DOUBLE")]
    names = [name for name, kind, *_ in described if kind.startswith("DECIMAL")]
    sums = ", ".join(f'sum("{name}")' for name in names)
    count, *totals = duckdb.execute(f"SELECT {', '.join(filter(None, ['count(*)', sums]))} FROM read_parquet(?, hive_partitioning = false)", [str(file)]).fetchone()
    return count, len(described), dict(zip(names, map(plain, totals))), floats


def by_polars(file):
    import polars

    table = polars.read_parquet(file, hive_partitioning=False)
    floats = [name for name, kind in table.schema.items() if kind.is_float()]
    names = [name for name, kind in table.schema.items() if kind.is_decimal()]
    totals = table.select(polars.col(name).sum() for name in names).row(0) if names else ()
    return table.height, table.width, dict(zip(names, map(plain, totals))), floats


def by_pandas(file):
    import pandas

    # Decimals as Python's, and as those of Arrow: either way none is a float.
    table = pandas.read_parquet(file, partitioning=None)
    other = pandas.read_parquet(file, partitioning=None, dtype_backend="pyarrow")
    floats = [name for name in other if "double" in str(other[name].dtype) or str(other[name].dtype).startswith("float")]
    names = [name for name in other if "decimal" in str(other[name].dtype)]
    totals = {name: plain(exact(value for value in table[name] if value is not None)) for name in names}
    arrow = {name: plain(other[name].sum() if len(other) else 0) for name in names}
    assert arrow == totals, f"{file}: pandas has two sums, {totals} and {arrow}"
    return len(table), len(table.columns), totals, floats


def by_pyarrow(file):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.ParquetFile(file).read()
    floats = [field.name for field in table.schema if pyarrow.types.is_floating(field.type)]
    names = [field.name for field in table.schema if pyarrow.types.is_decimal(field.type)]
    return table.num_rows, table.num_columns, {name: plain(exact(table[name].to_pylist())) for name in names}, floats


def months_of(folder):
    """What the months in a folder are billed, as each program reads the folder as one table."""
    import duckdb
    import pandas
    import polars
    import pyarrow.dataset

    def of_rows(rows):
        months = {}
        for month, billed in rows:
            months.setdefault(str(month), []).append(billed)
        return {month: plain(exact(billed)) for month, billed in months.items()}

    columns = ["billing_period", "BilledCost"]
    by_pandas = pandas.read_parquet(folder, columns=columns)
    by_arrow = pyarrow.dataset.dataset(folder, partitioning="hive").to_table(columns=columns)
    by_polars = polars.read_parquet(folder, hive_partitioning=True, try_parse_hive_dates=False, columns=columns)
    by_duckdb = duckdb.execute("SELECT billing_period, BilledCost FROM read_parquet(?, hive_partitioning = true, hive_types_autocast = false)", [f"{folder}/*/*.parquet"])
    return {
        "DuckDB": of_rows(by_duckdb.fetchall()),
        "Polars": of_rows(by_polars.select(columns).iter_rows()),
        "pandas": of_rows(by_pandas[columns].itertuples(index=False)),
        "pyarrow": of_rows(zip(*(by_arrow[name].to_pylist() for name in columns))),
    }


def spark():
    from pyspark.sql import SparkSession, functions

    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")

    def by_spark(file):
        table = session.read.option("recursiveFileLookup", "true").parquet(str(file))
        floats = [name for name, kind in table.dtypes if kind in ("float", "double")]
        names = [name for name, kind in table.dtypes if kind.startswith("decimal")]
        # Its sum of DECIMAL(38,18) is that type, and an overflow would be NULL.
        count, *totals = table.agg(functions.count(functions.lit(1)), *(functions.sum(f"`{name}`") for name in names)).first()
        assert count == 0 or all(total is not None or table.filter(f"`{name}` IS NOT NULL").isEmpty() for name, total in zip(names, totals))
        return count, len(table.columns), dict(zip(names, map(plain, totals))), floats

    return by_spark


def main(arguments):
    readers = {"DuckDB": by_duckdb, "Polars": by_polars, "pandas": by_pandas, "pyarrow": by_pyarrow}
    if arguments[0] == "--spark":
        arguments, readers = arguments[1:], {"DuckDB": by_duckdb, "Spark": spark()}
    wrong, sums, rows = [], 0, 0
    files = sorted(file for folder in arguments for file in Path(folder).rglob("*.parquet"))
    for file in files:
        said = {name: read(file) for name, read in readers.items()}
        first, *others = said.items()
        for name, (*_, floats) in said.items():
            wrong += [f"{file}: {name} takes {column} for a float" for column in floats]
        wrong += [f"{file}: {first[0]} says {first[1]}\n    {name} says {other}" for name, other in others if other != first[1]]
        rows, sums = rows + first[1][0], sums + len(first[1][2])
    folders = sorted({file.parent.parent for file in files if file.parent.name.startswith("billing_period=") and file.parent.parent.name == "CostAndUsage"})
    for folder in folders if "Polars" in readers else ():
        said = months_of(folder)
        wrong += [f"{folder}: {said}"] if len({str(sorted(months.items())) for months in said.values()}) > 1 else []
    print("\n".join(wrong[:20]))
    print(f"{len(files)} files, {rows} rows, {sums} sums, by {', '.join(readers)}: {len(wrong)} complaints")
    return 1 if wrong or not files or not sums else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

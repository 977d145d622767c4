"""Rates a month in another engine, as far as the sums that prices are applied to.

    rivals.py run ENGINE PLAN LEDGER OUT    writes the sums to OUT as Parquet and prints, as JSON, what it took
    rivals.py compare LEDGER RUN OUT...     prints, as JSON, in how many rows each OUT differs from the charges in the folder RUN, or from the
                                            first OUT where RUN is -
    rivals.py plans                         prints the engines and the plans of each, as JSON

LEDGER is a folder that the bench made. The work is what `atcost rate` does before it knows a price, on the same Parquet files and over all of history.
Of each (source, id) the first row in ledger order counts; later ones are duplicates, or conflicts where the content differs. A correction takes its
target out, a void counts for nothing, and of several corrections of one target the first counts. A row belongs to the customer whose binding of its
subject, half-open, holds its time. Quantities are summed by meter, provider, dimensions, customer, subject and interval between two prices.

The time is from the first query to the last byte written, without the start of Python and the imports. Every plan of an engine gives the same sums, and
the bench takes the fastest. They differ in how they find the rows that repeat an id:

    window    numbers the rows of each id by a window
    first     keeps, by an aggregate, the first row of each id
    repeats   groups hashes of 64 bits, and compares exactly only the rows whose hash is there more than once
    -late     looks for the customer after the sums, where a subject has one all month
"""

import csv
import json
import resource
import sys
import time
from datetime import datetime
from pathlib import Path

MEMORY = 16 << 30
FOREVER = 1 << 62
PLANS = {
    "duckdb": ["window", "first", "repeats", "repeats-late"],
    "clickhouse": ["window", "first", "repeats", "repeats-late"],
    "polars": ["first", "repeats", "repeats-late"],
}


class Job:
    def __init__(self, folder):
        folder = Path(folder)
        job = json.loads((folder / "job.json").read_text())
        self.files = str(folder.resolve() / "ledger/shards/0/rows-*.parquet")
        self.series = job["series"]
        self.intervals = [(interval["provider"], interval["from"], interval["until"]) for interval in job["intervals"]]
        self.start = min(start for _, start, _ in self.intervals)
        self.end = max(end for _, _, end in self.intervals)
        self.bindings = []
        with open(folder / "catalog/bindings.csv", newline="") as file:
            for row in csv.DictReader(file):
                self.bindings.append((row["subject"], row["customer"], micros(row["from"]), micros(row["until"]) if row["until"] else FOREVER))

    def steady(self):
        """The bindings of subjects that have one customer all month, and those of the others."""
        whole = {subject for subject, _, start, end in self.bindings if start <= self.start and self.end <= end}
        return [b for b in self.bindings if b[0] in whole], [b for b in self.bindings if b[0] not in whole]

# The rows that repeat an id, by a window over those that `{}` leaves; DuckDB and ClickHouse read it alike.
RANKED = """SELECT place, content_digest <> first_digest AS differs FROM (
        SELECT place, content_digest, row_number() OVER by_id AS nth, first_value(content_digest) OVER by_id AS first_digest
        FROM usage {} WINDOW by_id AS (PARTITION BY source, id ORDER BY place)) WHERE nth > 1"""


def micros(text):
    instant = datetime.fromisoformat(text)
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond


def values(rows):
    return ", ".join("(" + ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in row) + ")" for row in rows)


def interval_case(job, provider, at):
    """SQL: where the interval begins that holds an instant, NULL outside the month."""
    arms = [f"WHEN {provider} = '{name}' AND {at} >= {start} AND {at} < {end} THEN {start}" for name, start, end in job.intervals]
    return f"CASE {' '.join(arms)} END"


def duckdb(job, plan, out):
    import duckdb

    run = duckdb.connect().execute
    start = time.monotonic()
    run(f"SET memory_limit = '{MEMORY >> 20}MiB'")
    run("SET TimeZone = 'UTC'")
    run("SET preserve_insertion_order = false")
    steady, others = job.steady()
    for name, rows in [("bindings", job.bindings), ("steady", steady), ("others", others)]:
        run(f"CREATE TEMP TABLE {name} AS SELECT * FROM (VALUES {values(rows)}) AS t(subject, customer, bound_from, bound_until)")
    run(
        f"""CREATE TEMP VIEW usage AS SELECT *, batch * 4294967296 + "row" AS place, epoch_us("time") AS instant
            FROM read_parquet('{job.files}') WHERE kind = 'usage'"""
    )
    if plan == "window":
        repeats = RANKED.format("")
    elif plan == "first":
        repeats = """SELECT usage.place, content_digest <> digest AS differs FROM usage
            JOIN (SELECT source, id, min(place) AS place, arg_min(content_digest, place) AS digest FROM usage GROUP BY source, id HAVING count(*) > 1) AS first
            ON usage.source = first.source AND usage.id = first.id AND usage.place > first.place"""
    else:
        run("CREATE TEMP TABLE often AS SELECT hash(id, source) AS hash FROM usage GROUP BY 1 HAVING count(*) > 1")
        repeats = RANKED.format("WHERE hash(id, source) IN (SELECT hash FROM often)")
    run(f"CREATE TEMP TABLE repeats AS {repeats}")
    run(
        """CREATE TEMP TABLE corrections AS SELECT source, id, place, correction_action AS action, correction_source, correction_id,
             row_number() OVER (PARTITION BY correction_source, correction_id ORDER BY place) AS nth
           FROM usage ANTI JOIN repeats ON usage.place = repeats.place WHERE correction_action IS NOT NULL"""
    )
    run(
        """CREATE TEMP TABLE out AS SELECT place FROM repeats
           UNION ALL SELECT place FROM corrections WHERE action = 'void' OR nth > 1
           UNION ALL SELECT usage.place FROM usage JOIN corrections AS c ON usage.source = c.correction_source AND usage.id = c.correction_id WHERE nth = 1"""
    )
    counting = f"""SELECT type AS meter, provider, dimensions, usage.subject, instant, {interval_case(job, "provider", "instant")} AS interval_from, value
        FROM usage ANTI JOIN out ON usage.place = out.place WHERE instant >= {job.start} AND instant < {job.end}"""
    key = "meter, provider, dimensions, customer, counting.subject, interval_from"
    sums = f"""SELECT {key}, sum(value) AS quantity, count(*) AS events FROM ({counting}) AS counting
        LEFT JOIN {{}} AS b ON counting.subject = b.subject AND instant >= bound_from AND instant < bound_until WHERE interval_from IS NOT NULL GROUP BY ALL"""
    if plan.endswith("-late"):
        sums = f"""SELECT meter, provider, dimensions, coalesce(sums.customer, steady.customer) AS customer, sums.subject, interval_from, quantity, events
            FROM ({sums.format("others")}) AS sums LEFT JOIN steady USING (subject)"""
    else:
        sums = sums.format("bindings")
    run(f"COPY ({sums}) TO '{out}' (FORMAT parquet)")
    counts = run(
        """SELECT count(*) FILTER (NOT differs), count(*) FILTER (differs) + (SELECT count(*) FROM corrections WHERE nth > 1) FROM repeats"""
    ).fetchone()
    return start, counts


def clickhouse(job, plan, out):
    import chdb

    session = chdb.connect(":memory:")
    session.query("SELECT 1")
    start = time.monotonic()

    def run(sql):
        return session.query(sql, "CSV")

    run(f"SET max_memory_usage = {MEMORY}, max_bytes_before_external_group_by = {MEMORY // 2}, max_bytes_before_external_sort = {MEMORY // 2}")
    run("SET join_use_nulls = 1")
    steady, others = job.steady()
    for name, rows in [("bindings", job.bindings), ("steady", steady), ("others", others)]:
        run(f"CREATE TABLE {name} (subject String, customer String, bound_from Int64, bound_until Int64) ENGINE = Memory")
        run(f"INSERT INTO {name} VALUES {values(rows)}")
    # Usage has all of these; that none of them is NULL is told, because the engine is faster for it.
    structure = "batch Int64, row Int32, kind LowCardinality(String), source LowCardinality(String), id String, type LowCardinality(String), subject LowCardinality(String), time DateTime64(6), value Decimal(28, 9), dimensions LowCardinality(String), provider LowCardinality(String), correction_action LowCardinality(Nullable(String)), correction_source LowCardinality(Nullable(String)), correction_id Nullable(String), content_digest String"
    run(
        f"""CREATE VIEW usage AS SELECT *, batch * 4294967296 + row AS place, toUnixTimestamp64Micro(time) AS instant
            FROM file('{job.files}', Parquet, '{structure}') WHERE kind = 'usage'"""
    )
    if plan == "window":
        repeats = RANKED.format("")
    elif plan == "first":
        repeats = """SELECT usage.place AS place, content_digest <> digest AS differs FROM usage
            JOIN (SELECT source, id, min(place) AS first_place, argMin(content_digest, place) AS digest FROM usage GROUP BY source, id HAVING count() > 1) AS first
            ON usage.source = first.source AND usage.id = first.id WHERE usage.place > first_place"""
    else:
        hashed = "sipHash64(id, source)"
        repeats = RANKED.format(f"WHERE {hashed} IN (SELECT {hashed} AS hash FROM usage GROUP BY hash HAVING count() > 1)")
    run(f"CREATE TABLE repeats ENGINE = Memory AS {repeats}")
    run(
        """CREATE TABLE corrections ENGINE = Memory AS SELECT place, correction_action AS action, correction_source, correction_id,
             row_number() OVER (PARTITION BY correction_source, correction_id ORDER BY place) AS nth
           FROM usage WHERE correction_action IS NOT NULL AND place NOT IN (SELECT place FROM repeats)"""
    )
    run(
        """CREATE TABLE out ENGINE = Memory AS SELECT place FROM repeats
           UNION ALL SELECT place FROM corrections WHERE action = 'void' OR nth > 1
           UNION ALL SELECT place FROM usage WHERE (source, id) IN (SELECT assumeNotNull(correction_source), assumeNotNull(correction_id) FROM corrections WHERE nth = 1)"""
    )
    counting = f"""SELECT type AS meter, provider, dimensions, subject, instant, {interval_case(job, "provider", "instant")} AS interval_from, value
        FROM usage WHERE instant >= {job.start} AND instant < {job.end} AND place NOT IN (SELECT place FROM out)"""
    # Bindings of a subject do not overlap: the last that begins before an event holds it or none does.
    sums = f"""SELECT meter, provider, dimensions, if(instant < bound_until, b.customer, NULL) AS customer, c.subject AS subject, interval_from, sum(value) AS quantity, count() AS events
        FROM ({counting}) AS c ASOF LEFT JOIN {{}} AS b ON c.subject = b.subject AND c.instant >= b.bound_from WHERE interval_from IS NOT NULL GROUP BY ALL"""
    if plan.endswith("-late"):
        sums = f"""SELECT meter, provider, dimensions, coalesce(sums.customer, steady.customer) AS customer, sums.subject AS subject, interval_from, quantity, events
            FROM ({sums.format("others")}) AS sums LEFT JOIN steady ON sums.subject = steady.subject"""
    else:
        sums = sums.format("bindings")
    run(f"INSERT INTO FUNCTION file('{out}', Parquet) SELECT * FROM ({sums})")
    counts = str(run("SELECT countIf(NOT differs), countIf(differs) + (SELECT count() FROM corrections WHERE nth > 1) FROM repeats"))
    return start, [int(count) for count in counts.strip().split(",")]


def polars(job, plan, out):
    import polars as pl

    start = time.monotonic()
    place = pl.col("batch") * 4294967296 + pl.col("row")
    usage = pl.scan_parquet(job.files).filter(pl.col("kind") == "usage").with_columns(place=place, at=pl.col("time").dt.epoch("us"))
    by_id = ["source", "id"]

    def gather(frame):
        return frame.collect(engine="streaming")

    if plan == "first":
        often = usage.group_by(by_id).agg(pl.len().alias("rows")).filter(pl.col("rows") > 1).select(by_id)
        suspects = gather(usage.select(*by_id, "place", "content_digest").join(often, on=by_id, how="semi"))
    else:
        hashed = usage.select(hash=pl.struct("id", "source").hash())
        often = gather(hashed.group_by("hash").agg(pl.len().alias("rows")).filter(pl.col("rows") > 1).select("hash"))
        narrow = usage.select(*by_id, "place", "content_digest").with_columns(hash=pl.struct("id", "source").hash())
        suspects = gather(narrow.join(often.lazy(), on="hash", how="semi"))
    suspects = suspects.sort("place").with_columns(first=pl.col("place").first().over(by_id), digest=pl.col("content_digest").first().over(by_id))
    repeats = suspects.filter(pl.col("place") > pl.col("first")).select("place", differs=pl.col("content_digest") != pl.col("digest"))
    target = ["correction_source", "correction_id"]
    corrections = gather(usage.filter(pl.col("correction_action").is_not_null()).select("place", "correction_action", *target))
    corrections = corrections.join(repeats, on="place", how="anti").sort("place").with_columns(first=pl.col("place").first().over(target))
    lost = corrections.filter(pl.col("place") > pl.col("first"))
    in_force = corrections.filter(pl.col("place") == pl.col("first")).lazy().select(source="correction_source", id="correction_id")
    targets = gather(usage.select(*by_id, "place").join(in_force, on=by_id, how="semi"))
    void = corrections.filter(pl.col("correction_action") == "void")
    out_places = pl.concat([frame.select("place") for frame in (repeats, void, lost, targets)]).unique()

    begins = pl.lit(None, dtype=pl.Int64)
    for provider, since, until in job.intervals:
        begins = pl.when((pl.col("provider") == provider) & (pl.col("at") >= since) & (pl.col("at") < until)).then(pl.lit(since)).otherwise(begins)
    steady, others = job.steady()
    late = plan.endswith("-late")
    counting = (
        usage.filter((pl.col("at") >= job.start) & (pl.col("at") < job.end))
        .join(out_places.lazy(), on="place", how="anti")
        .select(pl.col("type").alias("meter"), "provider", "dimensions", "subject", "at", "value", interval_from=begins)
        .filter(pl.col("interval_from").is_not_null())
    )
    bound = pl.DataFrame(everywhen(others if late else job.bindings), schema=["subject", "customer", "since", "until"], orient="row").lazy()
    held = pl.col("since").is_null() | ((pl.col("at") >= pl.col("since")) & (pl.col("at") < pl.col("until")))
    key = ["meter", "provider", "dimensions", "customer", "subject", "interval_from"]
    sums = (
        counting.join(bound, on="subject", how="left")
        .filter(held)
        .group_by(key)
        .agg(quantity=pl.col("value").cast(pl.Decimal(38, 9)).sum(), events=pl.len())
    )
    if late:
        whole = pl.DataFrame(steady, schema=["subject", "only", "since", "until"], orient="row").lazy().select("subject", "only")
        sums = sums.join(whole, on="subject", how="left").with_columns(customer=pl.coalesce("customer", "only")).select(*key, "quantity", "events")
    gather(sums).write_parquet(out)
    differs = repeats["differs"].sum()
    return start, [repeats.height - differs, differs + lost.height]


def everywhen(bindings):
    """The bindings, and rows without a customer for the times between them, so that every instant is in exactly one."""
    rows, ends = [], {}
    for subject, customer, start, end in sorted(bindings, key=lambda binding: (binding[0], binding[2])):
        before = ends.get(subject, -FOREVER)
        if before < start:
            rows.append((subject, None, before, start))
        rows.append((subject, customer, start, end))
        ends[subject] = end
    return rows + [(subject, None, end, FOREVER) for subject, end in ends.items() if end < FOREVER]


def compare(job, run, outs):
    """Sums of ours and of others by provider, SKU, price, customer and subject, to the unit."""
    import duckdb

    query = duckdb.connect().execute
    query("SET TimeZone = 'UTC'")
    series = [(s["meter"], s["provider"], s["dimensions"], s["sku"]) for s in job.series]
    query(f"CREATE TABLE series AS SELECT * FROM (VALUES {values(series)}) AS t(meter, provider, dimensions, sku)")
    if run == "-":
        query(f"CREATE TABLE lines AS SELECT provider, sku, {job.start} AS since, {job.end} AS until FROM series GROUP BY ALL")
    else:
        query(
            f"""CREATE TABLE charges AS SELECT provider, sku, epoch_us(charge_period_start) AS since, epoch_us(charge_period_end) AS until, customer, subject,
                  metered_quantity AS quantity FROM read_parquet('{run}/charges.parquet') WHERE metered_quantity IS NOT NULL"""
        )
        query("CREATE TABLE lines AS SELECT DISTINCT provider, sku, since, until FROM charges")
        query("CREATE TABLE ours AS SELECT provider, sku, since, customer, subject, sum(quantity)::DECIMAL(38,9) AS quantity FROM charges GROUP BY ALL")
    found = {}
    for out in outs:
        query(
            f"""CREATE OR REPLACE TABLE theirs AS
                SELECT t.provider, series.sku, lines.since, t.customer, t.subject, sum(quantity)::DECIMAL(38,9) AS quantity
                FROM read_parquet('{out}') AS t LEFT JOIN series ON t.meter = series.meter AND t.provider = series.provider AND t.dimensions = series.dimensions
                LEFT JOIN lines ON t.provider = lines.provider AND series.sku = lines.sku AND interval_from >= since AND interval_from < until
                GROUP BY ALL"""
        )
        query("CREATE TABLE IF NOT EXISTS ours AS FROM theirs")
        missing, excess = "FROM ours EXCEPT ALL FROM theirs", "FROM theirs EXCEPT ALL FROM ours"
        (found[out],) = query(f"SELECT (SELECT count(*) FROM ({missing})) + (SELECT count(*) FROM ({excess}))").fetchone()
    (rows,) = query("SELECT count(*) FROM ours").fetchone()
    return {"rows": rows, "different": found}


def main():
    match sys.argv[1:]:
        case ["plans"]:
            print(json.dumps(PLANS))
        case ["run", engine, plan, ledger, out] if plan in PLANS.get(engine, []):
            start, (duplicates, conflicts) = globals()[engine](Job(ledger), plan, out)
            seconds = time.monotonic() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(json.dumps({"millis": round(seconds * 1000), "peak_kb": peak, "duplicates": duplicates, "conflicts": conflicts}))
        case ["compare", ledger, run, *outs]:
            print(json.dumps(compare(Job(ledger), run, outs)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()

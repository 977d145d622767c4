//! Questions in SQL: what they answer, and that nothing but the tables can be reached by them.

use tests::month;

/// What is not a table of ours, and where it might be hoped to be found.
const TARGETS: [&str; 12] = [
    "'/etc/passwd'",
    "'file:///etc/passwd'",
    "'runs/period=2025-10'",
    "'*.parquet'",
    "'https://example.com/a.parquet'",
    "'s3://bucket/key'",
    "'atcost.toml'",
    "ledger",
    "narrow",
    "information_schema.tables",
    "pg_catalog.pg_class",
    "datafusion.public.ranked",
];

/// Attempts at reading them, and at changing anything.
const ATTEMPTS: [&str; 20] = [
    "SELECT * FROM {}",
    "SELECT count(*) FROM {}",
    "SELECT * FROM charges JOIN {} ON TRUE",
    "SELECT * FROM charges WHERE EXISTS (SELECT 1 FROM {})",
    "WITH x AS (SELECT * FROM {}) SELECT * FROM x",
    "SELECT * FROM read_csv({})",
    "SELECT * FROM read_parquet({})",
    "SELECT * FROM read_json_auto({})",
    "SELECT * FROM parquet_scan({})",
    "SELECT pg_read_file({})",
    "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION {}",
    "CREATE TABLE x AS SELECT * FROM {}",
    "CREATE VIEW x AS SELECT * FROM {}",
    "COPY charges TO {}",
    "COPY (SELECT 1) TO {}",
    "INSERT INTO charges SELECT * FROM {}",
    "DROP TABLE {}",
    "SELECT 1; SELECT * FROM {}",
    "EXECUTE x({})",
    "ATTACH {}",
];

#[test]
fn nothing_but_the_tables_is_reached() {
    let (atcost, _) = month::rated();
    let others = [
        "SET datafusion.execution.batch_size = 1",
        "SHOW TABLES",
        "DELETE FROM charges",
        "UPDATE charges SET amount = 0",
        "PREPARE x AS SELECT 1",
        "START TRANSACTION",
        "SELECT repeat('x', 1000000000)",
        "SELECT lpad('x', 1000000000)",
        "SELECT load_extension('x')",
        "",
        "SELECT",
    ];
    let attempts = ATTEMPTS.iter().flat_map(|attempt| TARGETS.map(|target| attempt.replace("{}", target)));
    let mut tried = 0;
    for sql in attempts.chain(others.map(str::to_owned)) {
        let output = atcost.run(&["query", "--period", "2025-10", &sql]);
        assert_eq!(output.code, Some(2), "{sql}: {}", output.stdout);
        assert!(output.stdout.is_empty(), "{sql}");
        tried += 1;
    }
    assert!(tried >= 200, "{tried}");
}

#[test]
fn a_question_is_answered_in_every_form() {
    let (atcost, _) = month::rated();
    let sql = "SELECT kind, count(*) AS lines, sum(amount) AS amount FROM statement_lines GROUP BY kind ORDER BY kind";
    let ask = |form: &str| atcost.ok(&["query", "--period", "2025-10", sql, "--format", form]);
    let json: serde_json::Value = serde_json::from_str(&ask("json")).expect("JSON");
    let rows = json.as_array().expect("an array of objects");
    assert_eq!(rows[0]["kind"], "charge");
    assert!(rows[0]["lines"].is_u64() && rows[0]["amount"].is_string(), "{json}");
    let amount = rows[0]["amount"].as_str().expect("a decimal");
    assert!(ask("csv").starts_with("kind,lines,amount\r\ncharge,"), "{}", ask("csv"));
    assert!(ask("table").contains(amount));
    let few = atcost.run(&["query", "--period", "2025-10", "--rows", "1", sql]);
    assert!(few.stderr.contains("more than 1 rows; add a LIMIT"));
    let events = atcost.ok(&["query", "SELECT count(*) AS n FROM events", "--format", "csv"]);
    let n: u64 = events.trim().rsplit("\r\n").next().and_then(|n| n.trim().parse().ok()).expect("a count");
    assert!(n > 0);
    assert!(atcost.ok(&["query", "--describe"]).contains("statement_line_id"));
}

//! Questions in SQL: what they answer, and that nothing but the tables can be reached by them.

use std::time::{Duration, Instant};
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

/// Attempts that name no place.
const OTHERS: [&str; 73] = [
    "",
    "SELECT",
    ";",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE charges",
    "SELECT 1 /* ; */; COPY charges TO 'x.csv'",
    "SELECT 1 -- \n; DELETE FROM charges",
    "SET datafusion.execution.batch_size = 1",
    "SET datafusion.catalog.information_schema = true",
    "SET datafusion.runtime.memory_limit = '100G'",
    "SET TIME ZONE = 'UTC'",
    "RESET datafusion.runtime.memory_limit",
    "SHOW TABLES",
    "SHOW ALL",
    "SHOW COLUMNS FROM charges",
    "SHOW FUNCTIONS",
    "SHOW CREATE TABLE charges",
    "USE information_schema",
    "DELETE FROM charges",
    "DELETE FROM events WHERE TRUE",
    "UPDATE charges SET amount = 0",
    "TRUNCATE TABLE charges",
    "MERGE INTO charges USING events ON TRUE WHEN MATCHED THEN DELETE",
    "INSERT INTO charges VALUES (1)",
    "INSERT INTO charges DEFAULT VALUES",
    "INSERT OVERWRITE charges SELECT * FROM charges",
    "INSERT INTO information_schema.tables VALUES ('x')",
    "UPDATE information_schema.df_settings SET value = 'x'",
    "DELETE FROM information_schema.columns",
    "SELECT * INTO x FROM charges",
    "ALTER TABLE charges RENAME TO x",
    "ALTER TABLE charges ADD COLUMN x INT",
    "DROP VIEW charges",
    "DROP SCHEMA public CASCADE",
    "CREATE SCHEMA x",
    "CREATE DATABASE x",
    "CREATE INDEX x ON charges (amount)",
    "CREATE FUNCTION x() RETURNS INT RETURN 1",
    "CREATE OR REPLACE TABLE charges AS SELECT 1",
    "CREATE TEMPORARY TABLE x AS SELECT 1",
    "CREATE MACRO x() AS 1",
    "CREATE SEQUENCE x",
    "CREATE ROLE x",
    "GRANT SELECT ON charges TO x",
    "PREPARE x AS SELECT 1",
    "EXECUTE x",
    "DEALLOCATE x",
    "START TRANSACTION",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "LOCK TABLE charges",
    "VACUUM",
    "ANALYZE charges",
    "CALL x()",
    "KILL 1",
    "LOAD httpfs",
    "INSTALL httpfs",
    "PRAGMA database_list",
    "COPY charges TO STDOUT",
    "COPY charges FROM 'x.csv'",
    "COPY (SELECT * FROM events) TO 'x' STORED AS PARQUET",
    "UNLOAD (SELECT 1) TO 's3://x'",
    "EXPLAIN COPY charges TO 'x.csv'",
    "EXPLAIN ANALYZE INSERT INTO charges SELECT * FROM charges",
    "EXPLAIN CREATE TABLE x AS SELECT 1",
    "SELECT repeat('x', 1000000000)",
    "SELECT lpad('x', 1000000000)",
    "SELECT load_extension('x')",
    "SELECT getenv('HOME')",
    "SELECT pg_sleep(100)",
    "SELECT current_setting('data_directory')",
    "SELECT * FROM glob('*')",
];

#[test]
fn nothing_but_the_tables_is_reached() {
    let (atcost, _) = month::rated();
    let attempts = ATTEMPTS.iter().flat_map(|attempt| TARGETS.map(|target| attempt.replace("{}", target)));
    let mut tried = 0;
    for sql in attempts.chain(OTHERS.map(str::to_owned)) {
        let output = atcost.run(&["query", "--period", "2025-10", &sql]);
        assert_eq!(output.code, Some(2), "{sql}: {}", output.stdout);
        assert!(output.stdout.is_empty(), "{sql}");
        tried += 1;
    }
    assert!(tried >= 300, "{tried}");
    let left: Vec<_> = std::fs::read_dir(atcost.folder()).expect("a folder").flatten().collect();
    let known = ["atcost.toml", "ledger", "runs"];
    let is_known = |entry: &std::fs::DirEntry| known.iter().any(|name| entry.file_name() == *name);
    assert!(left.iter().all(is_known), "something was written: {left:?}");
}

/// What a question may cost, whatever it asks.
#[test]
fn a_question_that_is_too_large_is_refused_in_time() {
    let (atcost, _) = month::rated();
    let ask = |sql: &str, more: &[&str]| {
        atcost.run(&[&["query", "--period", "2025-10", "--timeout", "3"], more, &[sql]].concat())
    };
    let everything = "events a, events b, events c, events d, events e, events f";
    let chain = |part: &str, between: &str, count: usize| vec![part; count].join(between);
    let refused = [
        // Time.
        (format!("SELECT count(*) FROM {everything}"), "takes more than 3 s"),
        ("SELECT count(*) FROM generate_series(1, 1000000000000)".to_owned(), "takes more than 3 s"),
        (
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"
                .to_owned(),
            "takes more than 3 s",
        ),
        // Rows.
        ("SELECT * FROM events a, events b, events c".to_owned(), "more than 10000 rows"),
        // The statement itself.
        (format!("SELECT {}", chain("1", " + ", 20_000)), "4000 is the most"),
        (chain("SELECT 1", " UNION ALL ", 5_000), "4000 is the most"),
        (format!("SELECT '{}'", "x".repeat(100_000)), "more than 100000 characters"),
        (format!("SELECT {}1{}", "(".repeat(1_900), ")".repeat(1_900)), "RecursionLimitExceeded"),
    ];
    for (sql, why) in refused {
        let short: String = sql.chars().take(80).collect();
        let started = Instant::now();
        let output = ask(&sql, &["--rows", "10000"]);
        assert_eq!(output.code, Some(2), "{short}: {}", output.text());
        assert!(output.stderr.contains(why) && output.stdout.is_empty(), "{short}: {}", output.text());
        assert!(started.elapsed() < Duration::from_secs(30), "{short}: {:?}", started.elapsed());
    }
    // As deep as may be asked, it is answered or out of time, and nothing breaks.
    let deep = [
        format!("SELECT {} FROM charges", chain("amount", " + ", 1_900)),
        format!("SELECT count(*) FROM charges WHERE {}", chain("amount = 0", " OR ", 900)),
        chain("SELECT amount FROM charges", " UNION ALL ", 650),
    ];
    for sql in deep {
        let output = ask(&sql, &["--format", "csv", "--rows", "1000000"]);
        let is_late = output.code == Some(2) && output.stderr.contains("takes more than 3 s");
        assert!(output.code == Some(0) || is_late, "{}", output.stderr);
    }
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

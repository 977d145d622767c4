//! The exports as an analyst reads them: DuckDB alone, without this workspace's code, over the
//! Parquet files of a run.

use tests::duckdb::{queries, query};
use tests::month;

#[test]
fn charges_add_up_to_cost_lines_and_statement_lines_to_what_is_settled() {
    let (_atcost, folder) = month::rated();
    let broken = |parts: &str, whole: &str| {
        format!(
            "SELECT coalesce(l.cost_line_id, p.cost_line_id) AS cost_line_id, l.{whole} AS whole, p.sum AS parts
             FROM 'cost_lines.parquet' AS l FULL JOIN (SELECT cost_line_id, sum(amount) AS sum FROM '{parts}.parquet' GROUP BY cost_line_id) AS p
             ON l.cost_line_id = p.cost_line_id WHERE l.{whole} IS DISTINCT FROM p.sum"
        )
    };
    let tables = queries(&folder, &[&broken("charges", "amount"), &broken("statement_lines", "settled")]);
    // DuckDB adds decimals as integers of 128 bits: these sums are exact or an error.
    assert_eq!(tables[0].type_of("parts"), "DECIMAL(38,18)");
    for table in tables {
        assert_eq!(table.lines(), Vec::<String>::new());
    }
}

#[test]
fn statement_lines_are_in_minor_units_and_charges_settle_by_customer() {
    let (_atcost, folder) = month::rated();
    let tables = queries(
        &folder,
        &[
            "SELECT statement_line_id, amount FROM 'statement_lines.parquet' WHERE amount::DECIMAL(38,2) <> amount",
            "SELECT cost_line_id, settled FROM 'cost_lines.parquet' WHERE settled::DECIMAL(38,2) <> settled",
            // Everybody with a statement line has a charge on that cost line, and the other way
            // round.
            "SELECT cost_line_id, customer, kind, retained_reason FROM 'charges.parquet'
             EXCEPT SELECT cost_line_id, customer, kind, retained_reason FROM 'statement_lines.parquet'",
            "SELECT cost_line_id, customer, kind, retained_reason FROM 'statement_lines.parquet'
             EXCEPT SELECT cost_line_id, customer, kind, retained_reason FROM 'charges.parquet'",
        ],
    );
    for table in tables {
        assert_eq!(table.lines(), Vec::<String>::new());
    }
}

#[test]
fn ids_are_unique_and_keys_lead_somewhere() {
    let (_atcost, folder) = month::rated();
    for (table, id) in
        [("cost_lines", "cost_line_id"), ("charges", "charge_id"), ("statement_lines", "statement_line_id")]
    {
        let twice = query(
            &folder,
            &format!("SELECT {id} FROM '{table}.parquet' GROUP BY ALL HAVING count(*) > 1 OR {id} IS NULL"),
        );
        assert_eq!(twice.lines(), Vec::<String>::new(), "{table}");
    }
    let keys =
        "provider, billing_account, sub_account, sku, charge_period_start, charge_period_end, currency";
    for table in ["charges", "statement_lines"] {
        let strayed = query(
            &folder,
            &format!(
                "SELECT DISTINCT cost_line_id, {keys} FROM '{table}.parquet' EXCEPT SELECT cost_line_id, {keys} FROM 'cost_lines.parquet'"
            ),
        );
        assert_eq!(strayed.lines(), Vec::<String>::new(), "{table} disagrees with its cost lines");
    }
}

#[test]
fn what_is_retained_says_why_and_what_is_charged_says_whom() {
    let (_atcost, folder) = month::rated();
    for table in ["charges", "statement_lines"] {
        let wrong = query(
            &folder,
            &format!(
                "SELECT * FROM '{table}.parquet' WHERE CASE kind WHEN 'charge' THEN customer IS NULL OR retained_reason IS NOT NULL
                 WHEN 'retained' THEN retained_reason IS NULL ELSE true END"
            ),
        );
        assert_eq!(wrong.lines(), Vec::<String>::new(), "{table}");
    }
}

#[test]
fn totals_of_the_summary_are_the_sums_of_the_tables() {
    let (atcost, folder) = month::rated();
    let (summary, _) = month::rate(&atcost);
    let sums = queries(
        &folder,
        &[
            "SELECT provider, sum(amount) FROM 'cost_lines.parquet' GROUP BY provider",
            "SELECT provider, sum(settled) FROM 'cost_lines.parquet' GROUP BY provider",
            "SELECT 'retained', sum(amount) FROM 'statement_lines.parquet' WHERE kind = 'retained'",
        ],
    );
    for (name, sums) in ["cost_total", "settled_total"].into_iter().zip(&sums) {
        let sums = serde_json::to_value(sums.map()).expect("a map of strings is JSON");
        assert_eq!(month::plain(&summary[name]), sums, "{name}");
    }
    assert_eq!(month::plain(&summary["retained_total"]), sums[2].map()["retained"], "retained_total");
}

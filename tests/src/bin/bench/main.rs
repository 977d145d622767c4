//! `make bench-ingest`, `bench-commits`, `bench-rate` and `bench-close`: what atcost costs, as ratios
//! against something real measured in the same run.
//!
//! The sides of a comparison alternate, and the median of each counts, which scatters less than
//! half as much as the best. Nothing is asserted about speed; that the sides did the same work is.

// Modules in reading order.
mod cost; // of a command, and how it is shown
mod ingest; // against a bare consumer
mod commits; // the last against the first
mod history; // the records that are rated, by number
mod made; // a ledger and a catalog of them
mod rate; // against DuckDB, ClickHouse and Polars
mod close; // invoices, their comparison, and corrections, against DuckDB

use crate::history::Shape;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |text: &str| text.parse().expect("a number");
    let shape = |events, months| Shape { events, months, seed: 13 };
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "consume", brokers, topic] => ingest::consume(brokers, topic),
        [_, "ingest"] => ingest::bench(5_000_000),
        [_, "ingest", events] => ingest::bench(number(events)),
        [_, "commits"] => commits::bench(5_000),
        [_, "commits", commits] => commits::bench(number(commits)),
        [_, "rate", events, months] => rate::bench(shape(number(events) as u64, number(months) as u64)),
        [_, "close", lines] => close::bench(number(lines) as u64),
        _ => panic!("bench ingest [EVENTS] | commits [COMMITS] | rate EVENTS MONTHS | close LINES"),
    }
}

//! A charge explained: the same figures as the run has, by usage totals and by every row, from few
//! files; and no explanation of a run that was changed.

use crate::ledger::instant;
use crate::places::{everything, on_disk, place, read, write};
use crate::properties::{CATALOG, Event};
use crate::totals::{History, opened, rated, runtime, step};
use arrow::array::{
    ArrayRef, AsArray as _, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, TimestampMicrosecondType};
use derived::totals::LEAF;
use ledger::Location;
use ledger::row::read_parquet;
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use rating::RatingError;
use rating::allocation::Rule;
use rating::by_invoice::Known;
use rating::evidence::{Most, evidence};
use rating::explain::{Explanation, Wanted, explain};
use rating::meter::Rules;
use rating::run::{Charge, ChargeId, CostLine, Run};
use rating::tables::{StoredCharges, StoredLines, Workspace, Written, write as write_tables};
use rating::usage::CountedRows;
use schemas::decimal::{Quantity, QuantityTotal};
use std::collections::BTreeMap;
use std::sync::Arc;
use tests::month;

/// Writes a run and gives its folder.
async fn written(run: &Run, runs: &Location) -> Location {
    let workspace = Workspace::create(runs, &run.pins, 1).await.expect("a workspace");
    let (folder, _) =
        write_tables(&Written::of(run, &CATALOG), runs, &workspace).await.expect("it is written");
    workspace.close().await.expect("it is closed");
    folder
}

async fn explained(
    folder: &Location,
    run: &Run,
    charge: ChargeId,
    usage: &CountedRows,
    most: usize,
) -> Result<Explanation<'static>, RatingError> {
    let charges = StoredCharges::open(folder).await?;
    let stored = charges.find(run.pins.run_id(), &charge.to_string()).await?;
    let lines = StoredLines::open(run.pins.run_id(), folder).await?;
    let (invoices, decisions, posted) = (&[], &[], &BTreeMap::new());
    let known = Known { usage, catalog: &CATALOG, invoices, decisions, posted };
    let wanted = Wanted { readers: None, events: most };
    explain((&stored, &lines), &run.pins, Some(known), &CATALOG, wanted).await
}

/// Whether a statement lists the events that an explanation has, of every charge that follows usage.
async fn compare_evidence(folder: &Location, run: &Run, charges: &[&Charge], usage: [&CountedRows; 2]) {
    let asked: Vec<(&CostLine, Vec<&Charge>)> = run
        .cost_lines
        .iter()
        .map(|line| (line, line.charges.iter().filter(|charge| charges.contains(charge)).collect()))
        .collect();
    for (most, rows) in [(2, usage[0]), (usize::MAX, usage[0]), (2, usage[1])] {
        let most = Most { events: most, charges: usize::MAX };
        let found = evidence(&asked, run.pins.month, rows, &CATALOG, most).await.expect("evidence");
        for (line, charges) in &asked {
            for charge in charges {
                let follows = charge.because.used().is_some() && !matches!(line.rule, Rule::ByMeter { .. });
                let Some(evidence) = found.get(&charge.id) else {
                    assert!(!follows || line.metered_quantity.is_none(), "{} has no evidence", charge.id);
                    continue;
                };
                assert!(follows, "{} has evidence", charge.id);
                let all = explained(folder, run, charge.id, rows, most.events).await.expect("an explanation");
                assert_eq!((evidence.events, evidence.total), (all.events, all.events_total));
                assert_eq!(evidence.first, all.first);
            }
        }
    }
    let few = Most { events: 2, charges: 1 };
    let found = evidence(&asked, run.pins.month, usage[0], &CATALOG, few).await.expect("evidence");
    let listed = found.values().filter(|evidence| !evidence.first.is_empty()).count();
    assert_eq!(listed, usize::from(found.values().any(|evidence| evidence.events > 0)));
}

/// Explains a charge by totals and by rows, with all of its events and with the first of them.
async fn compare(folder: &Location, run: &Run, charge: &Charge, [totals, rows]: [&CountedRows; 2]) {
    let all = explained(folder, run, charge.id, rows, usize::MAX).await.expect("an explanation");
    assert_eq!(&all.charge, charge);
    // Grants and other currencies come after the lines; what is posted has them.
    let without_bills = run.cost_lines.iter().any(|line| {
        let mut line = line.clone();
        line.statement_lines.retain(|statement| statement.grant.is_none());
        line.statement_lines.iter_mut().for_each(|statement| statement.billed = None);
        line == all.line
    });
    assert!(without_bills);
    assert_eq!(all.first.len() as u64, all.events, "every event of {} is counted", charge.id);
    let sum = all.first.iter().try_fold(QuantityTotal::ZERO, |sum, event| sum.checked_add(event.quantity));
    assert_eq!(sum.ok(), Some(all.events_total));
    // What is read series by series is not the sum of its values.
    if let Some(charged) = charge.metered_quantity
        && all.meter.is_some_and(|meter| meter.rules == Rules::SUM)
    {
        assert_eq!(charged, all.events_total);
    }
    for most in [0, 2, usize::MAX] {
        let few = explained(folder, run, charge.id, totals, most).await.expect("an explanation");
        assert_eq!((&few.line, &few.charge), (&all.line, &all.charge));
        assert_eq!((few.events, few.events_total), (all.events, all.events_total));
        assert_eq!(few.first, all.first[..most.min(all.first.len())]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_charge_is_explained_alike_by_totals_and_by_rows(
        steps in prop::collection::vec(step(), 4..16),
        picked in prop::collection::vec(any::<prop::sample::Index>(), 4),
    ) {
        runtime().block_on(async {
            let place = on_disk();
            let mut history = History::new(place.at.join("ledger"), LEAF).await;
            for step in &steps {
                history.step(step).await;
            }
            let (run, _) = rated(history.ledger(), None, true).await;
            let folder = written(&run, &place.at.join("runs")).await;
            let usage = [opened(history.ledger(), None, false).await, opened(history.ledger(), None, true).await];
            let charges: Vec<&Charge> = run.cost_lines.iter().flat_map(|line| &line.charges).collect();
            let picked: Vec<&Charge> = picked
                .iter()
                .filter(|_| !charges.is_empty())
                .map(|picked| charges[picked.index(charges.len())])
                .collect();
            for charge in &picked {
                compare(&folder, &run, charge, usage.each_ref()).await;
            }
            compare_evidence(&folder, &run, &picked, usage.each_ref()).await;
        });
    }
}

#[test]
fn each_charge_of_the_month_is_explained_as_it_was_rated() {
    let (atcost, _) = month::rated();
    let ledger = place(&atcost.folder().join("ledger"));
    runtime().block_on(async {
        let (run, _) = rated((&ledger, LEAF), None, true).await;
        let folder = written(&run, &place(&atcost.folder().join("again"))).await;
        let usage = [opened((&ledger, LEAF), None, false).await, opened((&ledger, LEAF), None, true).await];
        let charges = run.cost_lines.iter().flat_map(|line| &line.charges);
        let (follow, others): (Vec<&Charge>, Vec<&Charge>) =
            charges.partition(|charge| charge.metered_quantity.is_some());
        assert!(follow.len() > 10 && others.len() > 3, "{} and {}", follow.len(), others.len());
        let all: Vec<&Charge> = follow.into_iter().chain(others).collect();
        for charge in &all {
            compare(&folder, &run, charge, usage.each_ref()).await;
        }
        compare_evidence(&folder, &run, &all, usage.each_ref()).await;
    });
}

/// Usage of one subject by one meter, in days that nothing cuts.
fn usage_of(subject: &'static str, day: u32, numbers: std::ops::Range<u32>) -> Vec<Event> {
    let event = |number: u32| Event {
        id: format!("{subject}-{number}"),
        meter: "network.example/port-hours",
        subject,
        time: instant(&format!("2025-10-{day:02}T08:00:00Z")),
        quantity: Quantity::from_units(i128::from(number + 1) * 1_000_000_000).expect("a quantity"),
        dimension: ("destination", "eu"),
        provider: None,
        producer: None,
        correction: None,
    };
    numbers.map(event).collect()
}

#[test]
fn an_explanation_reads_the_files_that_it_needs_and_no_others() {
    runtime().block_on(async {
        let place = on_disk();
        let mut history = History::new(place.at.join("ledger"), LEAF).await;
        history.commit(0, &usage_of("projects/c1", 3, 0..4)).await;
        history.commit(0, &usage_of("projects/a1", 4, 0..4)).await;
        history.commit(0, &usage_of("projects/c1", 5, 4..8)).await;
        history.commit(0, &usage_of("projects/a2", 6, 0..4)).await;
        history.commit(0, &usage_of("projects/a1", 7, 4..8)).await;
        history.commit(0, &usage_of("projects/a2", 8, 4..8)).await;
        let (run, _) = rated(history.ledger(), None, false).await;
        let folder = written(&run, &place.at.join("runs")).await;
        let charge = |subject: &str| {
            let mut charges = run.cost_lines.iter().flat_map(|line| &line.charges);
            let found =
                charges.find(|charge| charge.subject.as_ref().is_some_and(|of| of.as_str() == subject));
            found.expect("it was charged").id
        };
        let mut files = everything(&history.at.join("shards")).await;
        files.retain(|(location, _)| location.name().starts_with("rows-"));
        assert_eq!(files.len(), 6);
        for (subject, most, needed) in [
            ("projects/c1", 4, [true, false, false, false, false, false]),
            ("projects/c1", 5, [true, false, true, false, false, false]),
            // Where the first file of the days has none of them, cells say which ones have.
            ("projects/a2", 4, [true, false, false, true, false, false]),
            ("projects/a2", 6, [true, false, false, true, false, true]),
            ("projects/a1", 0, [false; 6]),
        ] {
            for ((location, bytes), needed) in files.iter().zip(needed) {
                let mut damaged = bytes.clone();
                damaged[bytes.len() / 2] ^= 1;
                write(location, damaged).await;
                let usage = opened(history.ledger(), None, false).await;
                let found = explained(&folder, &run, charge(subject), &usage, most).await;
                match found {
                    Ok(found) => {
                        assert!(!needed, "{subject}, {most}: {location} was not read");
                        assert_eq!((found.events, found.first.len()), (8, most));
                    }
                    Err(error) => {
                        assert!(needed, "{subject}, {most}: {error}");
                        assert!(error.to_string().contains("its SHA-256 is"), "{error}");
                    }
                }
                write(location, bytes.clone()).await;
            }
        }
    });
}

/// One value of a column, changed.
fn changed(rows: &RecordBatch, column: usize, row: usize) -> RecordBatch {
    let array = rows.column(column);
    let here = |at: usize| usize::from(at == row);
    let other: ArrayRef = match array.data_type() {
        DataType::Utf8 => {
            let texts = array.as_string::<i32>().iter().enumerate().map(|(at, text)| {
                if at == row {
                    Some(format!("{}x", text.unwrap_or_default()))
                } else {
                    text.map(str::to_owned)
                }
            });
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::Decimal128(digits, scale) => {
            let units = array
                .as_primitive::<Decimal128Type>()
                .iter()
                .enumerate()
                .map(|(at, units)| if at == row { Some(units.unwrap_or_default() + 1) } else { units });
            Arc::new(
                units
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(*digits, *scale)
                    .expect("a decimal"),
            )
        }
        DataType::Timestamp(..) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().values().iter().enumerate();
            let micros = micros.map(|(at, micros)| micros + i64::try_from(here(at)).expect("0 or 1"));
            Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
        }
        other => panic!("no column of a run is {other}"),
    };
    let mut columns = rows.columns().to_vec();
    columns[column] = other;
    RecordBatch::try_new(rows.schema(), columns).expect("the columns of the table")
}

#[test]
fn a_run_whose_tables_were_changed_is_not_explained() {
    let (atcost, folder) = month::rated();
    runtime().block_on(async {
        let mut refused = 0;
        for (table, of_line) in [("charges", "cost_line_id"), ("cost_lines", "cost_line_id")] {
            let location = place(&folder.join(format!("{table}.parquet")));
            let charges = place(&folder.join("charges.parquet"));
            let bytes = read(&location).await;
            let [rows] = read_parquet(bytes.clone().into()).expect("rows").try_into().expect("one batch");
            let [all] =
                read_parquet(read(&charges).await.into()).expect("rows").try_into().expect("one batch");
            let text = |rows: &RecordBatch, column: &str, row: usize| {
                rows.column_by_name(column).expect("a column").as_string::<i32>().value(row).to_owned()
            };
            // A charge that follows usage, and the row of this table that is about it.
            let amounts = all.column_by_name("metered_quantity").expect("a column");
            let charge = (0..all.num_rows()).find(|row| amounts.is_valid(*row)).expect("one follows usage");
            let wanted = if table == "charges" {
                text(&all, "charge_id", charge)
            } else {
                text(&all, of_line, charge)
            };
            let id = text(&all, "charge_id", charge);
            let first = rows.schema().field(0).name().clone();
            let row = (0..rows.num_rows()).find(|row| text(&rows, &first, *row) == wanted).expect("its row");
            for column in 0..rows.num_columns() {
                let changed = changed(&rows, column, row);
                let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).expect("a writer");
                writer.write(&changed).expect("rows");
                write(&location, writer.into_inner().expect("bytes")).await;
                let said = atcost.run(&["explain", &id]);
                let name = rows.schema().field(column).name().clone();
                assert_eq!(said.code, Some(2), "{table}.{name}: {}", said.text());
                if name != "charge_id" && name != "cost_line_id" {
                    assert!(said.stderr.contains("cannot be reproduced"), "{table}.{name}: {}", said.stderr);
                    refused += 1;
                }
            }
            write(&location, bytes).await;
            atcost.ok(&["explain", &id]);
        }
        assert!(refused > 25, "{refused}");
    });
}

#[test]
fn a_statement_line_that_was_changed_is_not_explained_and_neither_is_its_charge() {
    let (atcost, folder) = month::rated();
    runtime().block_on(async {
        let location = place(&folder.join("statement_lines.parquet"));
        let bytes = read(&location).await;
        let [rows] = read_parquet(bytes.clone().into()).expect("rows").try_into().expect("one batch");
        let text = |column: &str, row: usize| {
            let column = rows.column_by_name(column).expect("a column");
            column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned())
        };
        let is_charged = |row: &usize| text("kind", *row).as_deref() == Some("charge");
        let row = (0..rows.num_rows()).find(is_charged).expect("somebody is charged");
        let id = text("statement_line_id", row).expect("it has an id");
        let explained = atcost.json(&["explain", &id]);
        let charge = explained["charges"][0]["charge_id"].as_str().expect("a charge is behind it").to_owned();
        let mut refused = 0;
        for column in 0..rows.num_columns() {
            let name = rows.schema().field(column).name().clone();
            let changed = changed(&rows, column, row);
            let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).expect("a writer");
            writer.write(&changed).expect("rows");
            write(&location, writer.into_inner().expect("bytes")).await;
            for of in [&id, &charge] {
                let said = atcost.run(&["explain", of]);
                assert_eq!(said.code, Some(2), "{name} of {of}: {}", said.text());
                if name != "statement_line_id" {
                    assert!(said.stderr.contains("cannot be reproduced"), "{name}: {}", said.stderr);
                    refused += 1;
                }
            }
        }
        assert!(refused >= 40, "{refused}");
        write(&location, bytes).await;
        atcost.ok(&["explain", &id]);
    });
}

//! Prices and meters tried without a ledger: each line of tests/cases/prices/tried/commands names a file of what must be
//! printed, and the command that prints it. Labels are for people and may differ; more keys are
//! welcome.

use serde_json::Value;
use std::process::Command;
use tests::atcost::{binary, json};
use tests::machine::case;

#[test]
fn prices_and_meters_are_tried_without_a_ledger() {
    let commands = std::fs::read_to_string(case("prices/tried/commands")).expect("the commands");
    for line in commands.lines() {
        let (expected, command) = line.split_once(' ').expect("a file and a command");
        let printed = atcost(&format!("{command} --format json"));
        let expected = std::fs::read_to_string(case(&format!("prices/tried/{expected}"))).expect("an answer");
        let (printed, expected) = (json(&printed), json(&expected));
        assert_eq!(of_interest(&printed, &expected), of_interest(&expected, &expected), "{command}");
    }
}

#[test]
fn what_cannot_be_tried_is_refused_with_the_way_out() {
    for (command, message) in [
        ("price --model tried/port.toml --quantity 1", "say a month with --period"),
        ("price --model tried/tier.toml --quantity -1", "'-1'"),
        ("price --model tried/support.toml --quantity 1 --period 2024-12", "K-VM has no price in 2024-12"),
        ("price --model tried/support.toml --quantity 1 --unit GBy", "does not convert"),
        ("price --model tried/commands --quantity 1", "this is not TOML"),
        ("price --model tried/nothing.toml --quantity 1", "nothing.toml"),
        ("aggregate --meter tried/support.toml --events events/01-vcpus.ndjson", "is not a key of"),
        ("aggregate --meter catalog/meters.toml --events events/01-vcpus.ndjson", "the file has 13 meters"),
        (
            "aggregate --meter tried/vcpus.toml --events events/04-storage.ndjson",
            "no event of compute.example/vcpus",
        ),
        ("aggregate --meter tried/vcpus.toml --events events/01-vcpus.ndjson --from now", "write it like"),
    ] {
        let output = run(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains(message), "{command}: {said}");
    }
}

/// What people read ends with what all lines come to.
#[test]
fn the_sum_is_the_last_line() {
    let text = atcost("price --model tried/support.toml --quantity 600.1");
    assert_eq!(text.lines().last(), Some("together 23.1845 USD, settles at 23.19"), "{text}");
    // What was counted before takes the tier's own amount and the free units.
    let text = atcost("price --model tried/support.toml --quantity 1 --before 600");
    assert!(text.contains("tier 2 of 2: 1 × 0.0401 = 0.0401 USD"), "{text}");
    assert!(!text.contains("flat"), "{text}");
}

fn run(command: &str) -> std::process::Output {
    let mut atcost = Command::new(binary());
    atcost.args(command.split(' ')).current_dir(case("prices"));
    atcost.output().expect("it runs")
}

fn atcost(command: &str) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What is expected of a value, without labels.
fn of_interest(value: &Value, expected: &Value) -> Value {
    match (value, expected) {
        (Value::Object(value), Value::Object(expected)) => expected
            .iter()
            .filter(|(key, _)| *key != "label")
            .map(|(key, of)| (key.clone(), of_interest(value.get(key).unwrap_or(&Value::Null), of)))
            .collect(),
        (Value::Array(values), Value::Array(expected)) if values.len() == expected.len() => {
            values.iter().zip(expected).map(|(value, of)| of_interest(value, of)).collect()
        }
        _ => value.clone(),
    }
}

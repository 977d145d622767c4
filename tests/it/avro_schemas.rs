//! Which texts are schemas of ours, and what is wrong with the others: one file per theme in
//! tests/cases/schemas.
//!
//! A case says in words what it shows; then, after an empty line, a schema with `$` where the lines
//! below `---` are put in, one after the other. `EVENT` stands for the fields of an event, and
//! `«3×ab»` for `ababab`. Below each line is what became of it: `read`, or why every record of it is
//! refused.

use crate::cases;
use crate::decoding::repeated;
use ingest::schema::WriterSchema;
use std::fmt::Write as _;

const EVENT: &str = r#"{"name":"source","type":"string"},{"name":"id","type":"string"},{"name":"type","type":"string"},{"name":"subject","type":"string"},{"name":"time","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"value","type":{"type":"bytes","logicalType":"decimal","precision":28,"scale":9}}"#;

#[test]
fn avro_schemas() {
    cases::for_each_file("schemas", check);
}

fn check(case: &str) -> String {
    let (question, answers) = case.split_once("---\n").expect("a case has a schema and a line of ---");
    let (_, template) = question.split_once("\n\n").expect("a case begins with words and an empty line");
    let mut output = format!("{question}---\n");
    for line in answers.lines().filter(|line| !line.is_empty() && !line.starts_with("  ")) {
        let text = repeated(&template.replace('$', line)).replace("EVENT", EVENT);
        let schema = WriterSchema::parse(text.trim_end(), &[]);
        writeln!(output, "{line}\n  {}", schema.problem().unwrap_or("read"))
            .expect("a String takes everything");
    }
    output
}

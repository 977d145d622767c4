//! The figures of a run, as a table: on the screen, and between two marks in docs/reliability.md.

use crate::campaign::{Campaign, Extent, Outcome};
use std::fmt::Write as _;
use tests::machine::workspace;

const HEADINGS: [&str; 8] =
    ["campaign", "trials", "faults", "lost", "repeated", "undetected", "failed", "seconds"];
/// Failures that are printed of one campaign; the first ones tell.
const SHOWN: usize = 10;

fn cells(campaign: &Campaign, outcome: &Outcome) -> [String; 8] {
    let counts = [
        outcome.trials,
        outcome.faults,
        outcome.lost,
        outcome.repeated,
        outcome.undetected,
        outcome.failed,
        outcome.took.as_secs(),
    ];
    let mut cells = [const { String::new() }; 8];
    campaign.name.clone_into(&mut cells[0]);
    for (cell, count) in cells[1..].iter_mut().zip(counts) {
        *cell = count.to_string();
    }
    cells
}

pub fn for_the_screen(outcomes: &[(&Campaign, Outcome)]) -> String {
    let mut text = String::new();
    if outcomes.is_empty() {
        return text;
    }
    let line = |text: &mut String, cells: &[String; 8]| {
        write!(text, "{:<20}", cells[0]).expect("writing to a string");
        cells[1..].iter().for_each(|cell| write!(text, "{cell:>11}").expect("writing to a string"));
        text.push('\n');
    };
    text.push('\n');
    line(&mut text, &HEADINGS.map(str::to_owned));
    for (campaign, outcome) in outcomes {
        line(&mut text, &cells(campaign, outcome));
    }
    for (campaign, outcome) in outcomes {
        for (what, count) in &outcome.tallies {
            writeln!(text, "  {}: {count} × {what}", campaign.name).expect("writing to a string");
        }
    }
    for (_, outcome) in outcomes {
        outcome
            .messages
            .iter()
            .take(SHOWN)
            .for_each(|message| writeln!(text, "\n{message}").expect("writing to a string"));
    }
    text
}

const BEGIN: &str = "<!-- figures: written by `make faults` -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Puts the figures into docs/reliability.md. A run of some campaigns leaves the rows of the others
/// as they were.
pub fn write(outcomes: &[(&Campaign, Outcome)], extent: Extent, seed: u64) {
    let path = workspace().join("docs/reliability.md");
    let document = std::fs::read_to_string(&path).expect("docs/reliability.md");
    let (before, rest) =
        document.split_once(BEGIN).expect("docs/reliability.md has a mark where the figures begin");
    let (figures, after) =
        rest.split_once(END).expect("docs/reliability.md has a mark where the figures end");
    let mut rows: Vec<String> =
        figures.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    for (campaign, outcome) in outcomes {
        let [name, counts @ ..] = cells(campaign, outcome);
        let row = format!("| `{name}` | {} | {} |", campaign.what, counts.join(" | "));
        let extent = if extent == Extent::Full { "full" } else { "small" };
        let row = format!("{row} {extent}, {seed} |");
        match rows.iter_mut().find(|row| row.starts_with(&format!("| `{name}` |"))) {
            Some(old) => *old = row,
            None => rows.push(row),
        }
    }
    let headings = format!(
        "| campaign | what is tried | {} | run, seed |\n|---|---|{}---|",
        HEADINGS[1..].join(" | "),
        "--:|".repeat(7)
    );
    std::fs::write(&path, format!("{before}{BEGIN}\n{headings}\n{}\n\n{END}{after}", rows.join("\n")))
        .expect("docs/reliability.md can be written");
}

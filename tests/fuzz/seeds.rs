//! Where the fuzzers begin: the readable cases, one input to a file.
//!
//! `seeds TESTS/CASES FOLDER` writes FOLDER/TARGET/NUMBER. It reads only the parts of a case that
//! are bytes as they stand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [cases, folder] = arguments.as_slice() else { return Err("seeds TESTS/CASES FOLDER".into()) };
    let mut seeds: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for path in files(&cases.join("month/events"))? {
        let text = fs::read(&path)?;
        for (format, text) in [(0, &text), (3, &text)] {
            seeds.entry("files").or_default().push([vec![format], text.clone()].concat());
        }
        seeds.entry("json").or_default().extend(text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
    }
    for path in files(&cases.join("hostile/records"))? {
        for paragraph in fs::read_to_string(&path)?.split("\n\n") {
            let value: Vec<u8> = paragraph.lines().filter_map(|line| line.strip_prefix("  value ")).flat_map(bytes).collect();
            // As the target `cloudevents` reads it.
            let headers: Vec<u8> =
                paragraph.lines().filter_map(|line| line.strip_prefix("  header ")).flat_map(|line| [bytes(line), vec![b'\n']].concat()).collect();
            if value.len() > 20_000 {
                continue;
            }
            if let [0, _, _, _, _, datum @ ..] = value.as_slice() {
                seeds.entry("avro").or_default().push([vec![0], datum.to_vec()].concat());
                let container = [vec![6], datum.to_vec()].concat();
                seeds.entry("files").or_default().push(container);
            }
            seeds.entry("json").or_default().push(value.clone());
            seeds.entry("cloudevents").or_default().push([headers, vec![b'\n'], value].concat());
        }
    }
    for path in files(&cases.join("decoding"))? {
        let text = fs::read_to_string(&path)?;
        for line in text.lines().filter(|line| !line.starts_with("  ")) {
            let digits: Vec<u8> = line.split(' ').map_while(|byte| u8::from_str_radix(byte, 16).ok()).collect();
            if let [0, _, _, _, _, datum @ ..] = digits.as_slice() {
                seeds.entry("avro").or_default().push([&[0], datum].concat());
                seeds.entry("rows").or_default().push([b"\n", digits.as_slice()].concat());
            }
            seeds.entry("json").or_default().push(line.as_bytes().to_vec());
        }
    }
    seeds.entry("schemas").or_default().push(schemas::USAGE_EVENT_V1_AVSC.as_bytes().to_vec());
    for path in files(&cases.join("schemas"))? {
        let text = fs::read_to_string(&path)?;
        let (question, answers) = text.split_once("---\n").unwrap_or((&text, ""));
        let template = question.split_once("\n\n").map_or("", |(_, template)| template);
        for line in answers.lines().filter(|line| !line.starts_with("  ") && !line.contains('«')) {
            seeds.entry("schemas").or_default().push(template.replace('$', line).into_bytes());
        }
    }
    let events: Vec<Vec<u8>> = seeds["json"].iter().filter(|event| event.starts_with(b"{")).cloned().collect();
    // Batches of several records, as the target `rows` reads them.
    let batches = events.chunks(10).map(|events| events.join(b"\x1E\n".as_slice()));
    seeds.entry("rows").or_default().extend(batches);
    seeds.entry("heads").or_default().extend(fuzz::heads());
    for (target, seeds) in seeds {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// `‹00 ff›` as bytes; a repetition is left as it stands.
fn bytes(text: &str) -> Vec<u8> {
    let Some((before, rest)) = text.split_once('‹') else { return text.as_bytes().to_vec() };
    let (inside, after) = rest.split_once('›').unwrap_or((rest, ""));
    let hex = inside.split(' ').filter_map(|byte| u8::from_str_radix(byte, 16).ok());
    before.bytes().chain(hex).chain(bytes(after)).collect()
}

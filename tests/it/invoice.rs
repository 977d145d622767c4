//! Files of providers, imported: what each says in its own shape, and what it comes to; files that
//! nobody should believe, and what they cost.
//!
//! A case of `tests/cases/invoice` is a sentence on what it shows, the provider, the name of the file
//! and options, the file, indented, and after `=>` what `atcost invoice import` says of it. A name that
//! ends in `.gz` is compressed. `‹U+FEFF›` is that character, and `«3×ab»` stands for `ababab`.

use crate::cases::{Comparison, entries};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use tests::atcost::{Atcost, Output, utf8};
use tests::machine::workspace;

/// A format that ships with the binary, and the currency of its provider here.
const PROVIDERS: [(&str, &str); 6] = [
    ("focus", "USD"),
    ("aws-cur", "USD"),
    ("azure", "CAD"),
    ("gcp", "EUR"),
    ("oci", "USD"),
    ("en16931", "EUR"),
];

/// A ledger with a provider for each format, whose id is the format's word.
fn with_providers() -> Atcost {
    let atcost = Atcost::initialised();
    let catalog = atcost.folder().join("catalog");
    let write = |path: &str, text: &str| {
        let path = catalog.join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    let month = workspace().join("tests/cases/month/catalog");
    for file in ["catalog.toml", "meters.toml", "customers.toml", "bindings.csv"] {
        write(file, &fs::read_to_string(month.join(file)).expect("a file of the month"));
    }
    for (format, currency) in PROVIDERS {
        let folder = format!("providers/{format}");
        write(
            &format!("{folder}/provider.toml"),
            &format!(
                "id = \"{format}\"\nname = \"{format}\"\nbilling_account = \"B-1\"\ncurrency = \"{currency}\"\n\
                 time_zone = \"UTC\"\n\n[rounding]\nmode = \"half-up\"\n"
            ),
        );
        write(&format!("{folder}/invoice.toml"), &format!("format = \"{format}\"\n"));
        write(
            &format!("{folder}/prices.toml"),
            "[[sku]]\nid = \"PORT\"\nname = \"A port\"\nallocation = \"even\"\n\n  [[sku.price]]\n  \
             from = \"2024-01-01\"\n  model = \"flat\"\n  amount = \"1.00\"\n  every = \"month\"\n",
        );
    }
    atcost.ok(&["catalog", "publish", utf8(&catalog)]);
    atcost
}

/// `‹U+…›` and `«…»` written out.
fn written(text: &str) -> String {
    let Some(at) = text.find(['‹', '«']) else { return text.to_owned() };
    let (before, rest) = text.split_at(at);
    let close = if rest.starts_with('‹') { '›' } else { '»' };
    let (inside, after) = rest.split_once(close).expect("a bracket is closed");
    let inside = match inside.strip_prefix("‹U+") {
        Some(code) => {
            let code = u32::from_str_radix(code, 16).expect("the number of a character");
            char::from_u32(code).expect("a character").to_string()
        }
        None => {
            let (count, unit) = inside["«".len()..].split_once('×').expect("COUNT×TEXT");
            unit.repeat(count.parse().expect("a count"))
        }
    };
    format!("{before}{inside}{}", written(after))
}

fn put(path: &Path, text: &str) {
    let file = File::create(path).expect("a file");
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).expect("the disk is written to");
        encoder.finish().expect("the disk is written to");
    } else {
        BufWriter::new(file).write_all(text.as_bytes()).expect("the disk is written to");
    }
}

#[test]
fn files_of_every_provider_come_to_their_totals() {
    let atcost = with_providers();
    let mut comparison = Comparison::default();
    for path in entries("invoice") {
        let text = fs::read_to_string(&path).expect("a case");
        let (words, cases) = text.split_once("\n\n").expect("words on the theme, and an empty line");
        let mut told = format!("{words}\n");
        for case in cases.split("\n\n") {
            let made: Vec<&str> = case.lines().take_while(|line| *line != "=>").collect();
            let [title, command, file @ ..] = made.as_slice() else {
                panic!("a sentence, a provider and a file: {case}")
            };
            let mut words = command.split(' ');
            let (provider, name) = words.next().zip(words.next()).expect("a provider and the name of a file");
            let options: Vec<&str> = words.collect();
            let place = atcost.folder().join(name);
            let content = file.iter().map(|line| line.strip_prefix("  ").expect("a file is indented"));
            put(&place, &content.map(|line| written(line) + "\n").collect::<String>());
            let arguments = ["invoice", "import", "--provider", provider, utf8(&place)];
            let output = atcost.run(&[&arguments[..], &options].concat());
            write!(told, "\n{title}\n{command}\n{}\n=>\n", file.join("\n")).expect("writing to a string");
            told.push_str(&outcome(&output));
        }
        comparison.expect(&path, &told);
    }
    comparison.finish();
}

/// What was said, but for where it is in the journal.
fn outcome(output: &Output) -> String {
    let said = if output.code == Some(0) { &output.stdout } else { &output.stderr };
    let lines = said.lines().filter(|line| !line.starts_with("imported as journal entry"));
    lines.map(|line| format!("  {}\n", line.trim_end())).collect()
}

/// A file that is written piece by piece.
fn pieces(path: &Path, pieces: impl IntoIterator<Item = Vec<u8>>) {
    let file = BufWriter::new(File::create(path).expect("a file"));
    let mut output: Box<dyn std::io::Write> = match path.extension().is_some_and(|end| end == "gz") {
        true => Box::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast())),
        false => Box::new(file),
    };
    for piece in pieces {
        output.write_all(&piece).expect("the disk is written to");
    }
    output.flush().expect("the disk is written to");
}

/// The bytes of a file, piece by piece.
type Pieces = Box<dyn Iterator<Item = Vec<u8>>>;

/// A header, and so many megabytes of one letter.
fn endless(header: &str, megabytes: usize) -> Pieces {
    Box::new(std::iter::once(header.as_bytes().to_vec()).chain((0..megabytes).map(|_| vec![b'x'; 1 << 20])))
}

fn whole(bytes: impl Into<Vec<u8>>) -> Pieces {
    Box::new(std::iter::once(bytes.into()))
}

/// A Parquet file of one column whose only page is far larger than the file.
fn swollen_parquet() -> Vec<u8> {
    let text = "x".repeat(1 << 20);
    let array: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(); 200]));
    let batch = RecordBatch::try_from_iter([("BilledCost", array)]).expect("one column");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(1 << 30)
        .set_data_page_row_count_limit(usize::MAX)
        .set_write_batch_size(1 << 20)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("memory is written to");
    writer.close().expect("memory is written to");
    assert!(bytes.len() < 1 << 20, "it is small: {}", bytes.len());
    bytes
}

/// What is refused, and the most memory that it may take.
const MOST_OF_A_REFUSAL: u64 = 192 << 20;

#[test]
fn hostile_files_are_refused_and_need_little_memory() {
    let atcost = with_providers();
    let focus = "BilledCost,BillingCurrency,ChargePeriodStart\n";
    let ubl = "<Invoice xmlns=\"urn:oasis:names:specification:ubl:schema:xsd:Invoice-2\">";
    let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]>\n<x>&b;</x>";
    let files: Vec<(&str, &str, Pieces, &str)> = vec![
        ("focus", "bomb.csv.gz", endless(focus, 1000), "a record of more than 16777216 bytes"),
        (
            "focus",
            "bomb.jsonl.gz",
            endless("{\"BilledCost\":\"", 1000),
            "a record of more than 16777216 bytes",
        ),
        ("focus", "bomb.parquet.gz", endless("PAR1", 300), "expands to more than"),
        ("focus", "wide.csv", whole(b"x,".repeat(1_000_000)), "more than 4096 fields"),
        ("focus", "wide.jsonl", whole(format!("{{{}\"b\":1}}", "\"a\":{},".repeat(1_000_000))), "record 1"),
        ("focus", "deep.jsonl", whole(b"{\"a\":".repeat(1_000_000)), "record 1"),
        ("focus", "cell.csv", endless(&format!("{focus}1,EUR,\""), 100), "record 1 (line 2)"),
        ("focus", "swollen.parquet", whole(swollen_parquet()), "column BilledCost: a page of"),
        ("focus", "lying.parquet", whole(lying_parquet()), "cannot be read as Parquet"),
        ("en16931", "laughs.xml", whole(laughs), "a DOCTYPE is refused"),
        (
            "en16931",
            "deep.xml",
            whole(format!("{ubl}{}", "<a>".repeat(1_000_000))),
            "elements lie more than 32 deep",
        ),
        ("en16931", "long.xml", endless(&format!("{ubl}<a>"), 60), "is longer than 64 KiB"),
        ("en16931", "large.xml", endless(ubl, 70), "the file is larger than 64 MiB"),
    ];
    for (provider, name, content, why) in files {
        let path = atcost.folder().join(name);
        pieces(&path, content);
        let running = atcost.spawn(&["invoice", "import", "--provider", provider, utf8(&path)]);
        let (output, peak) = running.wait_with_peak();
        assert_eq!(output.code, Some(2), "{name}: {}", output.text());
        assert!(output.stderr.contains(why), "{name}: {}", output.text());
        assert!(output.stderr.len() < 1000, "{name}: a refusal is short: {}", output.stderr.len());
        let most =
            if name == "bomb.parquet.gz" { MOST_OF_A_REFUSAL + (300 << 20) } else { MOST_OF_A_REFUSAL };
        assert!(peak < most, "{name} took {} MiB", peak >> 20);
        fs::remove_file(path).expect("the file can be removed");
    }
    let listed = atcost.json(&["invoice", "list"]);
    assert_eq!(listed, serde_json::json!([]), "nothing of them is in the ledger");
}

/// A Parquet file whose footer is said to be larger than any file.
fn lying_parquet() -> Vec<u8> {
    let mut bytes = swollen_parquet();
    let length = bytes.len() - 8;
    bytes[length..length + 4].copy_from_slice(&0x7FFF_FFFFu32.to_le_bytes());
    bytes
}

/// Neither the file nor a copy of it is in memory, whatever its lines are like.
#[test]
fn a_large_file_is_read_as_it_comes() {
    let atcost = with_providers();
    let path = atcost.folder().join("large.csv");
    let header =
        b"BilledCost,BillingCurrency,BillingPeriodStart,InvoiceId,InvoiceDetailId,SkuId,Tags\n".to_vec();
    let lines = (0..200_000u32).map(|line| {
        let tags = "t".repeat(1600);
        format!("0.25,USD,2025-10-01T00:00:00Z,INV-1,{line},SKU-{},{tags}\n", line % 700).into_bytes()
    });
    pieces(&path, std::iter::once(header).chain(lines));
    let size = fs::metadata(&path).expect("the file is there").len();
    let running = atcost.spawn(&["invoice", "import", "--provider", "focus", utf8(&path)]);
    let (output, peak) = running.wait_with_peak();
    assert_eq!(output.code, Some(0), "{}", output.text());
    assert!(output.stdout.contains("200000") && output.stdout.contains(" 50000  USD"), "{}", output.stdout);
    assert!(size > 300 << 20 && peak < size, "{} MiB took {} MiB", size >> 20, peak >> 20);
}

//! `atcost verify ledger` and `atcost sign`: a fine ledger passes, every flipped bit is found, and
//! the signer signs one history only.

#![expect(clippy::unwrap_used, reason = "what a test unwraps is its own, and it fails with the line")]

use crate::places::{Place, everything, everywhere, on_disk, put_back, read, remove_all, write};
use ledger::audit::verify::{Finding, Report, verify};
use ledger::compact::compact;
use ledger::division::divide_ledger;
use ledger::row::BatchBuilder;
use ledger::sign::key::SignerKey;
use ledger::sign::signer::{SignedLog, Signer};
use ledger::{ErrorKind, LedgerError, Location, ShardWriter, create_ledger};
use proof::head::{SignedHead, VerifierKey};
use proof::record::{BatchRecord, JOURNAL};
use schemas::decimal::{Quantity, Sign};
use schemas::event::{EventRef, MapRef};
use schemas::outcome::OutcomeRef;
use schemas::position::{Advance, NextOffset, Offset, Origin, Stream};
use schemas::rejection::Reason;
use schemas::time::Instant;
use serde_json::Value;
use signed_note::{Note, StandardVerifier, VerifierList};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tests::atcost::{Atcost, binary, utf8};
use tests::machine::{case, wait_for};
use tlog_tiles::{HashReader as _, Tile, TileHashReader, TileReader, record_hash, stored_hash_index};

fn instant(text: &str) -> Instant {
    Instant::parse_rfc3339(text).expect("an instant")
}

/// Commits of three records each: two of usage, one refused.
struct Made {
    place: Place,
}

impl Made {
    async fn at(place: Place, commits: i64) -> Self {
        let made = Self { place };
        create_ledger(&made.ledger()).await.unwrap();
        made.add(0, commits, "e").await;
        SignerKey::create(&made.key(), "atcost.example").await.unwrap();
        made
    }

    fn ledger(&self) -> Location {
        self.place.at.join("ledger")
    }

    fn key(&self) -> Location {
        self.place.at.join("signer.key")
    }

    fn state(&self) -> Location {
        self.place.at.join("state")
    }

    fn shard(&self) -> Location {
        self.ledger().join("shards/0")
    }

    /// Adds commits `from` up to `to`, whose events are named with `name`.
    async fn add(&self, from: i64, to: i64, name: &str) {
        let mut ledger = ShardWriter::open(&self.ledger()).await.unwrap();
        let stream = Arc::new(Stream {
            origin: Origin::Kafka { cluster: "c".to_owned(), topic: "usage".to_owned() },
            partition: 0,
        });
        for commit in from..to {
            let mut batch = BatchBuilder::default();
            let index = batch.stream(&stream, "usage");
            batch.advance(
                index,
                Advance { from: NextOffset(commit * 3), to: NextOffset(commit * 3 + 3), identity: None },
            );
            let at = instant("2025-10-02T08:00:00Z");
            for (offset, subject) in [(commit * 3, "projects/a"), (commit * 3 + 1, "projects/b")] {
                let id = format!("{name}-{offset}");
                let event = EventRef {
                    source: "//edge",
                    id: &id,
                    meter: "hours",
                    subject,
                    time: at,
                    quantity: Quantity::parse("1.5", Sign::NonNegative).unwrap(),
                    dimensions: MapRef::EMPTY,
                    provider: None,
                    location: None,
                    resource: None,
                    producer: None,
                    correction: None,
                };
                batch.push(index, Offset(offset), Some(at), at, &OutcomeRef::Usage(event));
            }
            let refused = OutcomeRef::Rejected {
                reason: Reason::JsonInvalid,
                detail: "not JSON",
                key: None,
                headers: &[0; 4],
                value: Some(b"{"),
            };
            batch.push(index, Offset(commit * 3 + 2), None, at, &refused);
            ledger.commit(batch, at).await.unwrap();
            if (commit + 1) % 100 == 0 {
                // The Delta checkpoint is made beside; the next commit names it if it is there by
                // then.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    async fn verifier(&self) -> VerifierKey {
        SignerKey::read(&self.key()).await.unwrap().verifier().clone()
    }

    async fn verify(&self) -> Result<Report, LedgerError> {
        verify(&self.ledger(), Some(&self.verifier().await), &mut |_| {}).await
    }

    async fn findings(&self) -> Vec<Finding> {
        self.verify().await.unwrap().findings().cloned().collect()
    }

    async fn try_sign(&self, first: bool) -> Result<Vec<SignedLog>, LedgerError> {
        Signer::open(&self.key(), &self.state()).await?.sign(&self.ledger(), first, &mut |_| {}).await
    }

    /// Signs the shard, which must work.
    async fn sign(&self, first: bool) -> (u64, u64) {
        let logs = self.try_sign(first).await.unwrap();
        assert_eq!(logs.iter().flat_map(|log| &log.findings).collect::<Vec<_>>(), Vec::<&Finding>::new());
        (logs[0].before, logs[0].size)
    }

    /// Signs, which must be refused for the one reason given.
    async fn refused(&self, because: &str) {
        let before = everything(&self.state()).await;
        let published = everything(&self.shard().join("log")).await;
        let logs = self.try_sign(false).await.unwrap();
        let [finding] = logs[0].findings.as_slice() else { panic!("{logs:?}") };
        assert!(finding.what.contains(because), "{finding:?}");
        assert_eq!(everything(&self.state()).await, before, "a refusal changes nothing");
        assert_eq!(everything(&self.shard().join("log")).await, published, "a refusal publishes nothing");
    }
}

#[tokio::test]
async fn a_fine_ledger_has_no_findings() {
    for place in everywhere() {
        let made = Made::at(place, 5).await;
        let report = made.verify().await.unwrap();
        assert_eq!(report.findings().collect::<Vec<_>>(), Vec::<&Finding>::new());
        let [shard, journal] = report.logs.as_slice() else { panic!("{report:?}") };
        assert_eq!((shard.shard, shard.commits, shard.files, shard.rows, shard.signed), (0, 5, 5, 15, None));
        assert_eq!((journal.shard, journal.commits), (JOURNAL, 0));

        assert_eq!(made.sign(true).await, (0, 5));
        assert_eq!(made.sign(false).await, (5, 5), "signing again does nothing");
        made.add(5, 7, "e").await;
        assert_eq!(made.sign(false).await, (5, 7));
        let report = made.verify().await.unwrap();
        assert_eq!(report.findings().count(), 0);
        assert_eq!(report.logs[0].signed.map(|signed| (signed.size, signed.checked)), Some((7, true)));
        let unchecked = verify(&made.ledger(), None, &mut |_| {}).await.unwrap();
        assert_eq!(unchecked.logs[0].signed.map(|signed| signed.checked), Some(false));

        // Copying files together changes nothing that was sealed, and is itself sealed.
        let compacted = compact(&made.ledger(), instant("2025-10-09T00:00:00Z")).await.unwrap();
        assert_eq!((compacted.commits, compacted.rows), (1, 21));
        assert_eq!(made.sign(false).await, (7, 8));
        let report = made.verify().await.unwrap();
        assert_eq!(report.findings().count(), 0);
        assert_eq!(
            (report.logs[0].commits, report.logs[0].files, report.logs[0].rows),
            (8, 8, 42),
            "the copies and what was copied"
        );
    }
}

#[tokio::test]
async fn every_flipped_bit_is_found() {
    for place in everywhere() {
        let made = Made::at(place, 102).await;
        made.sign(true).await;
        let mut ledger = ledger::journal::Journal::open(&made.ledger()).await.unwrap();
        let digest = schemas::digest::Sha256Digest::of(b"catalog");
        let kind = ledger::journal::EntryKind::CatalogPublished;
        ledger
            .append(
                kind,
                instant("2025-10-02T08:00:00Z"),
                digest,
                Some("why".to_owned()),
                b"a catalog".to_vec(),
            )
            .await
            .unwrap();
        compact(&made.ledger(), instant("2025-10-09T00:00:00Z")).await.unwrap();
        made.add(102, 103, "e").await;
        made.try_sign(true).await.unwrap();
        assert_eq!(made.findings().await, Vec::new());

        let mut kinds = std::collections::BTreeMap::new();
        for (number, (path, bytes)) in everything(&made.ledger()).await.iter().enumerate() {
            let name = path.name();
            let kind = match name {
                // Delta's own note of its last checkpoint: nothing here reads it, and the log says
                // nothing about it.
                "_last_checkpoint" => continue,
                _ if name.contains(".checkpoint.") => "Delta checkpoint",
                _ if name.starts_with("rows-") => "rows",
                _ if name.starts_with("compacted-") => "compacted rows",
                _ if name.ends_with(".json") => "log entry",
                _ if path.to_string().contains("/tile/") => "tile",
                "checkpoint" => "head",
                "leaf.key" => "leaf key",
                _ => panic!("a kind of file that this test does not know: {}", path),
            };
            // All kinds of files, and a few of those of which there are a hundred.
            let seen = kinds.entry(kind).or_insert(0);
            *seen += 1;
            if *seen > 6 {
                continue;
            }
            for flip in 0..4 {
                let bit = (number * 7919 + flip * bytes.len() * 8 / 4 + flip * 13) % (bytes.len() * 8);
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                write(path, flipped).await;
                let told = match made.verify().await {
                    Ok(report) => report
                        .findings()
                        .map(|finding| format!("{} {}", finding.file, finding.what))
                        .collect::<Vec<_>>(),
                    Err(error) => vec![error.to_string()],
                };
                let named = told.iter().any(|told| told.contains(&path.to_string()));
                assert!(named, "bit {bit} of {path}: {told:?}");
            }
            write(path, bytes.clone()).await;
        }
        let kinds: Vec<&str> = kinds.into_keys().collect();
        assert_eq!(
            kinds,
            ["Delta checkpoint", "compacted rows", "head", "leaf key", "log entry", "rows", "tile"]
        );
        assert_eq!(made.findings().await, Vec::new());
    }
}

#[tokio::test]
async fn what_is_missing_is_found() {
    for place in everywhere() {
        let made = Made::at(place, 3).await;
        made.sign(true).await;
        let whole = everything(&made.ledger()).await;
        for (path, _) in
            whole.iter().filter(|(path, _)| !["leaf.key", "00000000000000000000.json"].contains(&path.name()))
        {
            path.remove().await.unwrap();
            let findings = made.findings().await;
            // A head that is not published is no discrepancy; nor is a journal without entries.
            if path.name() == "checkpoint" {
                assert_eq!(findings, Vec::new());
            } else {
                assert!(!findings.is_empty(), "{}", path);
            }
            put_back(&made.ledger(), &whole).await;
        }
        divide_ledger(&made.ledger(), 2, instant("2025-10-03T00:00:00Z")).await.unwrap();
        assert_eq!(made.findings().await, Vec::new());
        remove_all(&made.ledger().join("shards/1")).await;
        let findings = made.findings().await;
        assert!(
            findings.iter().any(|finding| finding.what.contains("divided into 2 shards")),
            "{findings:?}"
        );
    }
}

/// Heads and tiles are those of c2sp.org: other programs check and read them.
#[tokio::test]
async fn heads_and_tiles_are_what_others_read() {
    struct Tiles(std::path::PathBuf);
    impl TileReader for Tiles {
        fn height(&self) -> u8 {
            8
        }
        fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
            Ok(tiles
                .iter()
                .map(|tile| {
                    fs::read(self.0.join(tile.path().replacen("tile/8/", "tile/", 1)))
                        .expect("the tile is there")
                })
                .collect())
        }
        fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
    }

    let made = Made::at(on_disk(), 3).await;
    assert_eq!(made.sign(true).await, (0, 3));
    made.add(3, 260, "e").await;
    assert_eq!(made.sign(false).await, (3, 260));
    let note = Note::from_bytes(&read(&made.shard().join("log/checkpoint")).await).unwrap();
    let verifier = StandardVerifier::new(&made.verifier().await.to_string()).unwrap();
    let (signatures, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!(signatures.len(), 1);
    let text = String::from_utf8(note.text().to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let entry =
        String::from_utf8(read(&made.shard().join("_delta_log/00000000000000000260.json")).await).unwrap();
    let info: Value = serde_json::from_str(entry.lines().next().unwrap()).unwrap();
    let [origin, "260", root] = lines.as_slice() else { panic!("{text}") };
    assert!(origin.strip_prefix("atcost/").is_some_and(|table| table.len() == 36), "{origin}");
    assert_eq!(info["commitInfo"]["root"], *root, "the log entry states the head that is signed");

    let head = SignedHead::parse(&read(&made.shard().join("log/checkpoint")).await).unwrap().head;
    let tiles = Tiles(made.shard().join("log").disk_path().unwrap().to_owned());
    let reader = TileHashReader::new(260, tlog_tiles::Hash(*head.root.as_bytes()), &tiles);
    let (record, _) = BatchRecord::from_entry(entry.as_bytes()).unwrap();
    assert_eq!(reader.read_hashes(&[stored_hash_index(0, 259)]).unwrap(), [record_hash(&record.encode())]);
    let another = Signer::open(&made.key(), &made.state()).await.unwrap();
    let refused = Signer::open(&made.key(), &made.state()).await.unwrap_err();
    assert!(refused.to_string().contains("another signer runs"), "{refused}");
    drop(another);
}

#[tokio::test]
async fn the_signer_signs_one_history() {
    for place in everywhere() {
        let made = Made::at(place, 3).await;
        made.sign(true).await;
        let older = everything(&made.ledger()).await;
        let older_state = everything(&made.state()).await;
        made.add(3, 5, "e").await;
        made.sign(false).await;
        let newest = everything(&made.ledger()).await;
        let newest_state = everything(&made.state()).await;

        // The ledger is put back to an older copy.
        put_back(&made.ledger(), &older).await;
        made.refused("put back to an older copy").await;
        // It goes on from there, to the size that was signed and beyond it.
        made.add(3, 5, "other").await;
        made.refused("history was changed").await;
        made.add(5, 6, "other").await;
        made.refused("history was changed").await;
        let findings = made.findings().await;
        assert_eq!(
            findings,
            Vec::new(),
            "by itself this ledger is fine: only who remembers the head knows better"
        );

        // The state is put back to an older copy.
        put_back(&made.ledger(), &newest).await;
        put_back(&made.state(), &older_state).await;
        made.refused("its state was put back to an older copy").await;
        put_back(&made.state(), &newest_state).await;
        assert_eq!(made.sign(false).await, (5, 5));
    }
}

#[tokio::test]
async fn a_state_that_is_damaged_or_gone_is_named() {
    for place in everywhere() {
        let made = Made::at(place, 3).await;
        let refusal = |result: Result<Vec<SignedLog>, LedgerError>| {
            let error = result.expect_err("it is refused");
            (error.kind(), error.to_string())
        };
        let (kind, why) = refusal(made.try_sign(false).await);
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(why.contains("--first"), "{why}");
        made.sign(true).await;
        let states: Vec<_> =
            everything(&made.state()).await.into_iter().filter(|(path, _)| path.name() != "lock").collect();
        assert_eq!(states.len(), 2, "the shard's and the journal's");
        let (path, bytes) =
            states.iter().find(|(_, bytes)| String::from_utf8_lossy(bytes).contains("\n3\n")).unwrap();

        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            write(path, flipped).await;
            let (kind, why) = refusal(made.try_sign(true).await);
            assert_eq!(kind, ErrorKind::Corrupt, "bit {bit}: {why}");
            assert!(why.contains(&path.to_string()), "bit {bit}: {why}");
        }
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            write(path, &bytes[..length]).await;
            assert_eq!(refusal(made.try_sign(true).await).0, ErrorKind::Corrupt, "{length} bytes");
        }
        // Where it is gone, the operator may decide to begin from what is published.
        path.remove().await.unwrap();
        let (kind, why) = refusal(made.try_sign(false).await);
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(why.contains("signed at least 3 commits"), "{why}");
        let head = made.shard().join("log/checkpoint");
        let published = String::from_utf8(read(&head).await).unwrap();
        write(&head, published.replace("\n3\n", "\n2\n")).await;
        for first in [false, true] {
            let (kind, why) = refusal(made.try_sign(first).await);
            assert_eq!(kind, ErrorKind::Invalid);
            assert!(why.contains("no head of this log that its key signed"), "{why}");
        }
        write(&head, published).await;
        assert_eq!(made.sign(true).await, (3, 3));
        assert_eq!(read(path).await, *bytes, "it remembers the same again");

        // Everything published is made again from the state.
        remove_all(&made.shard().join("log")).await;
        made.sign(false).await;
        assert_eq!(made.verify().await.unwrap().logs[0].signed.map(|signed| signed.size), Some(3));
    }
}

#[tokio::test]
async fn a_shard_each_has_its_own_log() {
    for place in everywhere() {
        let made = Made { place };
        create_ledger(&made.ledger()).await.unwrap();
        ShardWriter::open_shard(&made.ledger(), "2/2".parse().unwrap()).await.unwrap();
        SignerKey::create(&made.key(), "atcost.example").await.unwrap();
        let logs = made.try_sign(true).await.unwrap();
        assert_eq!(
            logs.iter().map(|log| (log.shard, log.size)).collect::<Vec<_>>(),
            [(0, 1), (1, 1), (JOURNAL, 0)]
        );
        let report = made.verify().await.unwrap();
        assert_eq!(report.findings().count(), 0);
        assert_ne!(report.logs[0].root, report.logs[1].root);
    }
}

// The commands.

fn with_signer() -> Atcost {
    let atcost = Atcost::with_catalog(&case("month/catalog"));
    atcost.set("signer", "key = \"signer.key\"\nstate = \"signer\"");
    let made = atcost.json(&["signer", "new-key", "atcost.example", "--key", "signer.key"]);
    assert!(made["verifier"].as_str().is_some_and(|key| key.starts_with("atcost.example+")), "{made}");
    atcost
}

fn ingest(atcost: &Atcost, name: &str) {
    let folder = atcost.folder().join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("events.ndjson"), format!("{{\"not\": \"an event, {name}\"}}\n")).unwrap();
    atcost.ok(&["ingest", "--files", utf8(&folder), "--until-caught-up"]);
}

/// Runs with failpoints set, to a panic or an end.
fn with_failpoint(atcost: &Atcost, points: &str, arguments: &[&str]) -> Option<i32> {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(atcost.folder()).env("FAILPOINTS", points);
    command.output().unwrap().status.code()
}

#[test]
fn the_commands_say_what_was_signed_and_what_is_wrong() {
    let atcost = with_signer();
    ingest(&atcost, "one");
    assert_eq!(atcost.run(&["sign"]).code, Some(2), "a first head is asked for");
    let signed = atcost.json(&["sign", "--first"]);
    let sizes: Vec<_> = signed["logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| (log["log"].as_str().unwrap(), log["signed"].as_u64().unwrap()))
        .collect();
    assert_eq!(sizes, [("shard 1", 1), ("journal", 1)]);
    assert_eq!(
        atcost.run(&["signer", "new-key", "atcost.example", "--key", "signer.key"]).code,
        Some(2),
        "a key is never overwritten"
    );

    let text = atcost.ok(&["verify", "ledger"]);
    assert!(text.contains("everything that is stored is what was sealed"), "{text}");
    let verified = atcost.json(&["verify", "ledger", "--key", signed["verifier"].as_str().unwrap()]);
    assert_eq!(
        (verified["logs"][0]["signed"].as_u64(), verified["logs"][0]["signature_checked"].as_bool()),
        (Some(1), Some(true))
    );
    let made = atcost.json(&["signer", "new-key", "other.example", "--key", "other.key"]);
    let other = made["verifier"].as_str().unwrap().to_owned();
    let output = atcost.run(&["verify", "ledger", "--key", &other]);
    assert_eq!(output.code, Some(1));
    assert!(output.stdout.contains("has no valid signature by other.example"), "{}", output.text());
    assert_eq!(atcost.run(&["verify", "ledger", "--key", "nonsense"]).code, Some(2));

    let entry = atcost.folder().join("ledger/shards/0/_delta_log/00000000000000000001.json");
    let whole = fs::read_to_string(&entry).unwrap();
    fs::write(&entry, whole.replace("\"mode\":\"Append\"", "\"mode\":\"append\"")).unwrap();
    for command in [&["verify", "ledger"][..], &["sign"]] {
        let output = atcost.run(command);
        assert_eq!(output.code, Some(1), "{}", output.text());
        assert!(output.stdout.contains("00000000000000000001.json"), "{}", output.text());
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "the build that people run has no failpoints")]
fn rows_that_were_not_sealed_are_not_signed() {
    let atcost = with_signer();
    ingest(&atcost, "one");
    atcost.ok(&["sign", "--first"]);
    let folder = atcost.folder().join("two");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("events.ndjson"), "{}\n").unwrap();
    assert_eq!(
        with_failpoint(
            &atcost,
            "seal.skip=return",
            &["ingest", "--files", utf8(&folder), "--until-caught-up"]
        ),
        Some(0)
    );
    for command in [&["verify", "ledger"][..], &["sign"]] {
        let output = atcost.run(command);
        assert_eq!(output.code, Some(1), "{}", output.text());
        assert!(output.stdout.contains("are not those that were sealed"), "{}", output.text());
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "the build that people run has no failpoints")]
fn a_crash_of_the_signer_is_repaired_by_signing_again() {
    // The last two break off writing the state.
    for point in
        ["signer.verified", "signer.persisted", "signer.tiles-published", "file.written", "file.synced"]
    {
        let atcost = with_signer();
        ingest(&atcost, "one");
        atcost.ok(&["sign", "--first"]);
        ingest(&atcost, "two");
        assert_ne!(with_failpoint(&atcost, &format!("{point}=panic"), &["sign"]), Some(0), "{point}");
        let text = atcost.ok(&["verify", "ledger"]);
        assert!(text.contains("what was sealed"), "{point}: {text}");
        atcost.ok(&["sign"]);
        let verified = atcost.json(&["verify", "ledger"]);
        assert_eq!(verified["logs"][0]["signed"], 2, "{point}");
    }
}

#[test]
fn a_signer_that_follows_signs_what_comes() {
    let atcost = with_signer();
    ingest(&atcost, "one");
    let running = atcost.spawn(&["sign", "--first", "--follow", "1"]);
    let size = || {
        fs::read_to_string(atcost.folder().join("ledger/shards/0/log/checkpoint"))
            .ok()?
            .lines()
            .nth(1)?
            .parse::<u64>()
            .ok()
    };
    let reaches = |wanted| wait_for(Duration::from_secs(30), || size().filter(|size| *size == wanted));
    assert_eq!(reaches(1), Some(1));
    ingest(&atcost, "two");
    assert_eq!(reaches(2), Some(2));
    let output = running.stop();
    assert_eq!(output.code, Some(0), "{}", output.text());
    atcost.ok(&["verify", "ledger"]);
}

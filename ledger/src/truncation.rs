//! A source has lost what was read from it, and somebody decided to read on: the stream goes back
//! to where the source has other records.
//!
//! The rows of what was lost stay: they are usage that happened. So offsets from there on are in
//! the ledger twice, and the commit that takes the stream back is what allows it. Whether a source
//! has lost anything is not asked here.
//!
//! Invariant: no shard holds the stream further than where it is read on, and the one that it
//! belongs to says so last. An interrupted run is completed by running it again.

use crate::division::{open_agreed, shard_count};
use crate::error::LedgerError;
use crate::log::table::{Commit, Table};
use crate::store::Location;
use crate::{places, secret};
use proof::record::RecordKind;
use schemas::position::{LastRecord, Position, Stream, StreamMove};
use schemas::shard::Shard;
use schemas::time::Instant;
use std::collections::BTreeMap;

/// The records of a stream by which its source can be asked how much it still has of what was read:
/// the last one of each commit that was not taken back, ascending.
///
/// # Errors
/// As [`crate::ShardWriter::open_shard`].
pub async fn last_records(ledger: &Location, stream: &Stream) -> Result<Vec<LastRecord>, LedgerError> {
    let application = stream.to_string();
    let mut records = BTreeMap::new();
    for shard in 0..shard_count(ledger).await? {
        let mut kept: BTreeMap<i64, LastRecord> = BTreeMap::new();
        let mut see = |record: &proof::record::BatchRecord| {
            for moved in record.streams.iter().filter(|moved| moved.stream == application) {
                if record.kind == RecordKind::Truncation {
                    kept.retain(|offset, _| *offset < moved.to.0);
                }
                kept.extend(moved.last.map(|last| (last.offset.0, last)));
            }
            Ok(())
        };
        Table::replay(ledger, shard, None, &mut see).await?;
        records.append(&mut kept);
    }
    Ok(records.into_values().collect())
}

/// Takes a stream back to `to`. Whoever writes to its shard meanwhile is fenced.
///
/// # Errors
/// `Invalid` when the ledger has not read beyond `to`, or a division of it was interrupted;
/// `Fenced` when a writer was faster; and as [`crate::ShardWriter::open_shard`].
pub async fn accept_truncation(
    ledger: &Location,
    stream: &Stream,
    to: &Position,
    at: Instant,
) -> Result<(), LedgerError> {
    let (mut tables, division) = open_agreed(ledger).await?;
    let key = secret::read_leaf_key(&places::leaf_key(ledger)).await?.id();
    let application = stream.to_string();
    let mut known = BTreeMap::new();
    tables.iter().for_each(|table| table.log().add_positions(&mut known));
    let reached = known.get(&application).filter(|position| position.next > to.next).copied();
    let owner = Shard::taking(stream, division.shards).zip(reached);
    let Some((owner, reached)) = owner else {
        let detail =
            format!("{stream}: nothing beyond offset {} was read, so nothing can be taken back", to.next);
        return Err(LedgerError::invalid(ledger, detail));
    };
    let moved = |from| StreamMove {
        stream: application.clone(),
        from: Some(from),
        to: to.next,
        identity: to.identity,
        last: to.last,
    };
    let commit = |moved| Commit {
        kind: RecordKind::Truncation,
        at,
        division,
        key,
        streams: vec![moved],
        seal: &|_| None,
    };
    let owner = usize::try_from(owner.index()).expect("shards are few");
    // Former divisions may have left it in other shards, which must not say that more was read.
    for (_, table) in tables.iter_mut().enumerate().filter(|(shard, _)| *shard != owner) {
        let state = table.log().stream(&application).filter(|state| state.next > to.next);
        if let Some(state) = state {
            table.commit(&commit(moved(state.next))).await?;
        }
    }
    tables[owner].commit(&commit(moved(reached.next))).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::division::{create_ledger, divide_ledger};
    use crate::row::BatchBuilder;
    use crate::writer::ShardWriter;
    use schemas::digest::Sha256Digest;
    use schemas::outcome::OutcomeRef;
    use schemas::position::{Advance, LeaderEpoch, NextOffset, Offset, Origin};
    use std::sync::Arc;

    fn stream() -> Stream {
        Stream { origin: Origin::Kafka { cluster: "c".to_owned(), topic: "t".to_owned() }, partition: 1 }
    }

    fn now() -> Instant {
        Instant::parse_rfc3339("2025-10-02T08:00:00Z").expect("an instant")
    }

    fn last(offset: i64) -> LastRecord {
        LastRecord { offset: Offset(offset), epoch: Some(LeaderEpoch(0)), digest: Sha256Digest::of(&[0]) }
    }

    async fn read(ledger: &mut ShardWriter, from: i64, to: i64) -> Result<(), LedgerError> {
        let mut batch = BatchBuilder::default();
        let index = batch.stream(&Arc::new(stream()), "t");
        batch.advance(index, Advance { from: NextOffset(from), to: NextOffset(to), identity: None });
        for offset in from..to {
            let until = Offset(offset + 1);
            batch.push(index, Offset(offset), None, now(), &OutcomeRef::Gap { until, detail: "lost" });
        }
        batch.last(index, last(to - 1));
        ledger.commit(batch, now()).await.map(drop)
    }

    fn shard(text: &str) -> Shard {
        text.parse().expect("a shard")
    }

    /// A former division has left the stream in shard 1, the present one reads it in shard 2, and
    /// the next in shard 1 again.
    #[tokio::test]
    async fn a_stream_goes_back_in_every_shard_that_had_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = &Location::on_disk(folder.path()).expect("a place");
        create_ledger(path).await.expect("an empty ledger");
        let mut whole = ShardWriter::open(path).await.expect("it opens");
        read(&mut whole, 0, 4).await.expect("it commits");
        read(&mut whole, 4, 8).await.expect("it commits");
        divide_ledger(path, 2, now()).await.expect("it is divided");
        let mut second = ShardWriter::open_shard(path, shard("2/2")).await.expect("it opens");
        read(&mut second, 8, 10).await.expect("it commits");
        assert_eq!(last_records(path, &stream()).await.expect("a ledger"), [last(3), last(7), last(9)]);

        let to = Position { last: Some(last(3)), ..Position::at(NextOffset(6)) };
        accept_truncation(path, &stream(), &to, now()).await.expect("it goes back");
        assert!(matches!(read(&mut second, 10, 11).await, Err(LedgerError::Fenced { .. })));
        assert!(
            accept_truncation(path, &stream(), &to, now()).await.is_err(),
            "nothing is left to take back"
        );
        assert_eq!(last_records(path, &stream()).await.expect("a ledger"), [last(3)]);
        let mut second = ShardWriter::open_shard(path, shard("2/2")).await.expect("it opens");
        assert_eq!(second.positions(&[stream()]).position(&stream()), Some(to));
        read(&mut second, 6, 9).await.expect("it goes on");
        divide_ledger(path, 1, now()).await.expect("it is put together");
        let mut whole = ShardWriter::open(path).await.expect("it opens");
        assert_eq!(whole.positions(&[stream()]).get(&stream()), Some(NextOffset(9)));
        read(&mut whole, 9, 12).await.expect("it goes on");
        assert!(read(&mut whole, 9, 12).await.is_err(), "nothing else goes back");
    }
}

//! Partitions that stand still: one that cannot be read on, because a batch is damaged, and one
//! whose records are held back by a transaction that nobody ends.
//!
//! It knows how long and why, and says so; what is read meanwhile is decided elsewhere.

use schemas::position::Stream;
use std::time::{Duration, Instant};

/// How often a partition that cannot be read is tried again.
const TRY_EVERY: Duration = Duration::from_secs(60);
/// A transaction may be open so long before anybody hears of it: each one holds back its own
/// records for a moment.
const HELD_FOR: Duration = Duration::from_secs(30);

/// What helps a partition that cannot be read on.
pub const WAY_OUT: &str = "Restore the partition's log on the broker from a replica, or delete the damaged records there (kafka-delete-records.sh), which leaves a gap in the ledger; where a batch says a wrong length or offset, nothing is freed before Kafka has begun a new segment (segment.ms). docs/operations.md has the commands, under \"A damaged partition\"";

/// Why a partition cannot be read on.
#[derive(Debug, Clone)]
pub struct Trouble {
    place: String,
    tried_at: Instant,
    /// It is read again, and nothing has come of it yet.
    pub is_trying: bool,
}

impl Trouble {
    /// The records from `offset` on cannot be read; `why` is what the broker or librdkafka says.
    /// From now on it is told.
    pub fn tell(stream: &Stream, offset: i64, why: &str) -> Self {
        let place = format!("{stream}: from offset {offset} on");
        let sentence = format!(
            "{place} it cannot be read: {why}. It is read up to there, nothing is stepped over, and the other partitions are read on. {WAY_OUT}. It is tried again every {} s",
            TRY_EVERY.as_secs()
        );
        tracing::error!(event = "kafka.damaged", %stream, offset, "{sentence}");
        Self { place, tried_at: Instant::now(), is_trying: false }
    }

    /// Which partition it is, and from where on.
    pub fn place(&self) -> &str {
        &self.place
    }

    pub fn is_due(&self) -> bool {
        !self.is_trying && self.tried_at.elapsed() >= TRY_EVERY
    }

    pub fn try_again(self) -> Self {
        Self { is_trying: true, tried_at: Instant::now(), ..self }
    }
}

/// What open transactions hold back of a partition.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// The offset that they begin at, and since when.
    since: Option<(i64, Instant)>,
    told: bool,
}

impl Held {
    /// Records can be read up to `stable`, and the partition reaches to `high`. Tells what has been
    /// held back for long, and once for each offset; `at_once` what is held back now.
    pub fn look(&mut self, stream: &Stream, stable: i64, high: i64, at_once: bool) {
        if high <= stable {
            *self = Self::default();
            return;
        }
        let since = match self.since {
            Some((offset, since)) if offset == stable => since,
            _ => {
                *self = Self { since: Some((stable, Instant::now())), told: false };
                Instant::now()
            }
        };
        if !self.told && (at_once || since.elapsed() >= HELD_FOR) {
            self.told = true;
            tracing::warn!(
                event = "kafka.held",
                %stream,
                from = stable,
                until = high,
                "{stream}: offsets {stable} to {} are held back by a transaction that is not ended; they are read once its producer commits or aborts it, or an operator does (kafka-transactions.sh)",
                high - 1
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::position::Origin;

    fn stream() -> Stream {
        Stream { origin: Origin::Kafka { cluster: "c".into(), topic: "t".into() }, partition: 3 }
    }

    #[test]
    fn a_partition_that_cannot_be_read_is_named_with_its_offset() {
        let trouble = Trouble::tell(&stream(), 7, "a checksum is wrong");
        assert_eq!(trouble.place(), "kafka/c/t/3: from offset 7 on");
        assert!(!trouble.is_due(), "it was tried just now");
        assert!(!trouble.try_again().is_due(), "it is being tried");
    }

    #[test]
    fn what_is_held_back_is_told_once_for_each_offset() {
        let mut held = Held::default();
        // Where it is readable, whether it is asked at the end, and whether it was told then.
        for (stable, high, at_once, told) in [
            (5, 9, false, false),
            (5, 9, true, true),
            (5, 12, false, true),
            (8, 12, false, false),
            (12, 12, true, false),
        ] {
            held.look(&stream(), stable, high, at_once);
            assert_eq!(held.told, told, "{stable} {high}");
        }
    }
}

//! Which of several writers reads a stream.
//!
//! This deliberately knows nothing of where a shard's rows are or of how far it has read: both are
//! the ledger's.
//!
//! Invariant: of the shards of one division, each stream belongs to exactly one.

use crate::position::{Origin, Stream};
use std::fmt;
use std::str::FromStr;

/// One of several writers that share the streams: `2/8` is the second of eight. Each stream belongs
/// to exactly one.
///
/// ```
/// # use schemas::shard::Shard;
/// let shard: Shard = "2/8".parse().expect("a shard");
/// assert_eq!((shard.index(), shard.of()), (1, 8));
/// assert!("0/8".parse::<Shard>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// The only one.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// The one of `of` shards that a stream belongs to.
    ///
    /// ```
    /// # use schemas::position::{Origin, Stream};
    /// # use schemas::shard::Shard;
    /// let origin = Origin::Kafka { cluster: "c".to_owned(), topic: "usage".to_owned() };
    /// let stream = Stream { origin, partition: 10 };
    /// assert_eq!(Shard::taking(&stream, 8), "3/8".parse().ok());
    /// assert_eq!(Shard::taking(&stream, 0), None);
    /// ```
    pub fn taking(stream: &Stream, of: u32) -> Option<Self> {
        (0..of).map(|index| Self { index, of }).find(|shard| shard.takes(stream))
    }

    /// Counted from 0, as the ledger's folders are.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether the stream is this shard's: Kafka's partitions go round by their number, files by
    /// the first 8 bytes of their digest.
    ///
    /// ```
    /// # use schemas::position::{Origin, Stream};
    /// # use schemas::shard::Shard;
    /// let origin = Origin::Kafka { cluster: "c".to_owned(), topic: "usage".to_owned() };
    /// let stream = Stream { origin, partition: 10 };
    /// let takes = |shard: &str| shard.parse::<Shard>().expect("a shard").takes(&stream);
    /// assert!(takes("3/8"));
    /// assert!(!takes("2/8"));
    /// ```
    pub fn takes(self, stream: &Stream) -> bool {
        let number = match &stream.origin {
            Origin::Kafka { .. } => u64::from(stream.partition),
            Origin::File { digest } => {
                let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
                u64::from_be_bytes([a, b, c, d, e, f, g, h])
            }
        };
        number % u64::from(self.of) == u64::from(self.index)
    }
}

/// A text that names no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a shard; write which of how many, counted from 1: 2/8 is the second of eight")]
pub struct ShardError(String);

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let digits = |part: &str| {
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u32>().ok()).flatten()
        };
        let read = text.split_once('/').and_then(|(number, of)| digits(number).zip(digits(of)));
        match read {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { index: number - 1, of }),
            _ => Err(ShardError(text.to_owned())),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", u64::from(self.index) + 1, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    #[test]
    fn every_stream_belongs_to_one_shard() {
        let partitions = (0..20).map(|partition| Stream {
            origin: Origin::Kafka { cluster: "c".into(), topic: "t".into() },
            partition,
        });
        let files = (0..20).map(|number| Stream {
            origin: Origin::File { digest: Sha256Digest::of(&[number]) },
            partition: 0,
        });
        for stream in partitions.chain(files) {
            for of in 1..9 {
                let takers = (1..=of)
                    .filter(|number| {
                        format!("{number}/{of}").parse::<Shard>().expect("a shard").takes(&stream)
                    })
                    .count();
                assert_eq!(takers, 1, "{stream} of {of}");
            }
        }
        let third =
            Stream { origin: Origin::Kafka { cluster: "c".into(), topic: "t".into() }, partition: 10 };
        assert!("3/8".parse::<Shard>().expect("a shard").takes(&third));
        // The first 8 bytes as a number: 0x0102…08, the rest does not matter.
        let mut bytes = [0xFF; 32];
        bytes[..8].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let file = Stream { origin: Origin::File { digest: Sha256Digest::from_bytes(bytes) }, partition: 0 };
        assert_eq!(0x0102_0304_0506_0708_u64 % 5, 1);
        assert!("2/5".parse::<Shard>().expect("a shard").takes(&file));
    }

    #[test]
    fn a_shard_is_counted_from_one() {
        let shard: Shard = "2/8".parse().expect("the second of eight");
        assert_eq!((shard.index(), shard.of(), shard.to_string()), (1, 8, "2/8".to_owned()));
        assert_eq!("1/1".parse(), Ok(Shard::WHOLE));
        for refused in [
            "0/2",
            "3/2",
            "1/0",
            "0/0",
            "",
            "1",
            "1/",
            "/1",
            "1/2/3",
            "+1/2",
            "-1/2",
            " 1/2",
            "1/99999999999",
        ] {
            let error = refused.parse::<Shard>().expect_err(refused).to_string();
            assert!(error.contains("counted from 1"), "{error}");
        }
    }
}

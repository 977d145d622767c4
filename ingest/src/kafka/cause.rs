//! Causes of trouble with a broker, told once each and in words that begin with the cause.
//!
//! librdkafka tells of each attempt to connect, and of what follows from its failing. A log wants
//! neither: it wants to know whether the connection was refused, the name is not known, or TLS or
//! SASL does not agree.
//!
//! Invariant: memory and lines are bounded, however long the trouble lasts and whatever it says.

use rdkafka::error::RDKafkaErrorCode as Code;
use std::fmt;
use std::time::{Duration, Instant};

/// A cause that lasts is told again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(300);
/// So many causes are told apart.
const CAUSES: usize = 16;
/// So many are named in one sentence.
const NAMED: usize = 3;

/// The likely reason why a listener hangs up on whoever talks to it in the clear.
const EXPECTS_MORE: &str = "this listener hangs up before it answers, so it probably expects TLS or SASL, or is no Kafka; see security.protocol in [kafka.properties]";

/// A cause, shown with its kind first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    /// A cause as librdkafka reports it; nothing for what only follows from another.
    pub fn of(code: Option<Code>, reason: &str) -> Option<Self> {
        if matches!(code, Some(Code::PartitionEOF | Code::AllBrokersDown)) {
            return None;
        }
        // How long it took, and how often it was not told, differ where the cause is the same.
        let reason = match reason.rsplit_once(" (after ") {
            Some((reason, rest)) if rest.ends_with(')') => reason,
            _ => reason,
        };
        let kind = match code {
            _ if reason.contains("Connection refused") => "connection refused",
            Some(Code::Resolve) => "the name cannot be resolved",
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => "SASL",
            Some(Code::SSL) => "TLS",
            _ if reason.contains("SSL ") => "TLS",
            _ if let Some(found) = foreign(reason) => {
                return Some(Self(format!("{found}; see kafka.brokers and security.protocol: {reason}")));
            }
            _ if reason.contains("SASL") => "SASL",
            _ => return Some(Self(reason.to_owned())),
        };
        Some(Self(format!("{kind}: {reason}")))
    }

    /// The cause in a line of librdkafka's log about a connection that was closed before the broker
    /// was known, which it tells nowhere else. Who expects TLS or SASL and hears neither does that.
    pub fn of_hanging_up(line: &str) -> Option<Self> {
        let line = line
            .strip_prefix("[thrd:")
            .and_then(|rest| rest.split_once("]: "))
            .map_or(line, |(_, line)| line);
        let (reason, state) = line.rsplit_once(" (after ")?;
        let is_first = reason.contains("/bootstrap: Disconnected");
        let is_early = ["in state APIVERSION_QUERY", "in state UP"].iter().any(|early| state.contains(early));
        (is_first && is_early).then(|| Self(format!("TLS or SASL: {reason}: {EXPECTS_MORE}")))
    }

    pub fn other(why: &str) -> Self {
        Self(why.to_owned())
    }
}

/// What answers in Kafka's place, by the first four bytes of the answer, which librdkafka takes for
/// its length.
fn foreign(reason: &str) -> Option<&'static str> {
    let (_, rest) = reason.split_once("Invalid response size ")?;
    let size: u32 = rest.split(' ').next()?.parse().ok()?;
    match size.to_be_bytes() {
        [b'H', b'T', b'T', b'P'] => Some("an HTTP server answers there, not Kafka"),
        [0x14..=0x17, 3, ..] => Some("TLS: the listener speaks TLS"),
        _ => None,
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The causes of the present trouble, and those that were told lately.
#[derive(Debug, Default)]
pub struct Causes {
    /// Since the broker last answered, each once and in the order they were heard of.
    present: Vec<Cause>,
    /// Heard of since the last look at the news.
    heard: Vec<Cause>,
    told: Vec<(Cause, Instant)>,
}

impl Causes {
    pub fn hear(&mut self, cause: Cause) {
        for causes in [&mut self.present, &mut self.heard] {
            if causes.len() < CAUSES && !causes.contains(&cause) {
                causes.push(cause.clone());
            }
        }
    }

    /// As [`Self::hear`], of what is only a consequence: it is no cause where one is known.
    pub fn suppose(&mut self, cause: Cause) {
        if self.present.is_empty() && self.heard.is_empty() {
            self.heard.push(cause);
        }
    }

    /// The broker answers, though it may be for a moment only.
    pub fn answered(&mut self) {
        self.present.clear();
    }

    /// The broker answers and had not before: whatever is heard from now on is another trouble.
    pub fn over(&mut self) {
        *self = Self::default();
    }

    /// Causes that were heard of and not told lately. From now on they were.
    pub fn news(&mut self, now: Instant) -> Vec<Cause> {
        self.told.retain(|(_, at)| now.duration_since(*at) < AGAIN_AFTER);
        let mut news = std::mem::take(&mut self.heard);
        news.retain(|cause| self.told.iter().all(|(told, _)| told != cause));
        news.truncate(CAUSES.saturating_sub(self.told.len()));
        self.told.extend(news.iter().map(|cause| (cause.clone(), now)));
        news
    }

    /// The first causes of the present trouble, in one sentence.
    pub fn sentence(&self) -> Option<String> {
        sentence(&self.present)
    }
}

/// The first of some causes in one sentence; nothing where there is none.
pub fn sentence(causes: &[Cause]) -> Option<String> {
    let named: Vec<&str> = causes.iter().take(NAMED).map(|cause| cause.0.as_str()).collect();
    (!named.is_empty()).then(|| named.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: Code, reason: &str, expected: Option<&str>) {
        assert_eq!(Cause::of(Some(code), reason).map(|cause| cause.0).as_deref(), expected);
    }

    #[test]
    fn a_cause_begins_with_its_kind_and_is_the_same_each_time() {
        check(
            Code::BrokerTransportFailure,
            "127.0.0.1:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused (after 0ms in state CONNECT, 7 identical error(s) suppressed)",
            Some(
                "connection refused: 127.0.0.1:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused",
            ),
        );
        check(
            Code::Resolve,
            "nowhere.invalid:9/bootstrap: Failed to resolve 'nowhere.invalid:9': Name or service not known (after 3ms in state CONNECT)",
            Some(
                "the name cannot be resolved: nowhere.invalid:9/bootstrap: Failed to resolve 'nowhere.invalid:9': Name or service not known",
            ),
        );
        check(
            Code::SSL,
            "ssl://h:1/bootstrap: SSL handshake failed: bad",
            Some("TLS: ssl://h:1/bootstrap: SSL handshake failed: bad"),
        );
        check(
            Code::BrokerTransportFailure,
            "h:1/bootstrap: Disconnected: requesting ApiVersion: (connecting to a SSL listener?)",
            Some("TLS: h:1/bootstrap: Disconnected: requesting ApiVersion: (connecting to a SSL listener?)"),
        );
        check(
            Code::BrokerTransportFailure,
            "h:1/bootstrap: Receive failed: Invalid response size 352518912 (0..100000000): increase receive.message.max.bytes",
            Some(
                "TLS: the listener speaks TLS; see kafka.brokers and security.protocol: h:1/bootstrap: Receive failed: Invalid response size 352518912 (0..100000000): increase receive.message.max.bytes",
            ),
        );
        check(
            Code::BrokerTransportFailure,
            "h:1/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000)",
            Some(
                "an HTTP server answers there, not Kafka; see kafka.brokers and security.protocol: h:1/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000)",
            ),
        );
        check(Code::Authentication, "h:1: refused", Some("SASL: h:1: refused"));
        check(Code::OperationTimedOut, "h:1: timed out", Some("h:1: timed out"));
        check(Code::AllBrokersDown, "1/1 brokers are down", None);
        check(Code::PartitionEOF, "", None);
    }

    #[test]
    fn whoever_hangs_up_at_once_probably_expects_tls_or_sasl() {
        let told = |line: &str| Cause::of_hanging_up(line).map(|cause| cause.0);
        let expected =
            format!("TLS or SASL: h:1/bootstrap: Disconnected: connection reset by peer: {EXPECTS_MORE}");
        for state in ["APIVERSION_QUERY", "UP, 3 identical error(s) suppressed"] {
            let line =
                format!("h:1/bootstrap: Disconnected: connection reset by peer (after 5ms in state {state})");
            assert_eq!(told(&line).as_deref(), Some(expected.as_str()));
            assert_eq!(told(&format!("[thrd:h:1/bootstrap]: {line}")).as_deref(), Some(expected.as_str()));
        }
        for line in [
            "h:1/1: Disconnected (after 300000ms in state UP)",
            "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }

    #[test]
    fn a_cause_is_told_once_and_again_when_it_lasts() {
        let (mut causes, begun) = (Causes::default(), Instant::now());
        let [first, second] = ["first", "second"].map(Cause::other);
        let after = |seconds| begun + Duration::from_secs(seconds);
        for (seconds, heard, news) in [
            (0, &first, vec![first.clone()]),
            (1, &first, vec![]),
            (2, &second, vec![second.clone()]),
            (299, &first, vec![]),
            (300, &first, vec![first.clone()]),
            (301, &second, vec![]),
        ] {
            causes.hear(heard.clone());
            assert_eq!(causes.news(after(seconds)), news, "after {seconds} s");
        }
        assert_eq!(causes.sentence().as_deref(), Some("first; second"));
        causes.suppose(Cause::other("a consequence"));
        assert_eq!(causes.news(after(301)), [], "its causes are known");
        causes.answered();
        assert_eq!(causes.sentence(), None);
        causes.suppose(Cause::other("a consequence"));
        assert_eq!(causes.news(after(301)), [Cause::other("a consequence")]);
        assert_eq!(causes.sentence(), None, "it is told and no cause");
        causes.hear(second.clone());
        assert_eq!(causes.news(after(301)), [], "it was told lately");
        causes.over();
        assert_eq!(causes.sentence(), None);
        causes.hear(first.clone());
        assert_eq!(causes.news(after(303)), [first], "it is another trouble");
        assert_eq!(causes.news(after(900)), [], "nothing was heard of");
    }

    #[test]
    fn whatever_is_heard_memory_and_lines_are_bounded() {
        let (mut causes, now) = (Causes::default(), Instant::now());
        let mut told = 0;
        for number in 0..1000 {
            causes.hear(Cause::other(&number.to_string()));
            told += causes.news(now).len();
        }
        assert_eq!(told, CAUSES);
        assert_eq!(causes.sentence().as_deref(), Some("0; 1; 2"));
    }
}

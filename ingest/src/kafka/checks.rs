//! Addresses and properties that cannot work, or that change nothing, refused before a client is
//! made of them.
//!
//! It knows no topic. A refusal never repeats a value: it may be a secret.

use crate::IngestError;
use std::collections::BTreeMap;

/// Properties of librdkafka that only whoever produces uses.
const OF_PRODUCERS: &[&str] = &[
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "message.send.max.retries",
    "message.timeout.ms",
    "partitioner",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queuing.strategy",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "transactional.id",
];
/// Properties of groups of consumers, and of the offsets that are stored for one.
const OF_GROUPS: &[&str] = &[
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "coordinator.query.interval.ms",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
];
const PROTOCOL: &str = "security.protocol";
const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

/// How the brokers are talked to, in small letters.
fn protocol(properties: &BTreeMap<String, String>) -> String {
    properties.get(PROTOCOL).map_or_else(|| "plaintext".to_owned(), |protocol| protocol.to_ascii_lowercase())
}

/// Refuses addresses of brokers that hold a name or a password, or say another protocol than the
/// properties do.
///
/// # Errors
/// A sentence that does not repeat a secret.
pub fn check_brokers(brokers: &str, properties: &BTreeMap<String, String>) -> Result<(), IngestError> {
    // Brokers are named in messages, which are logged and shown.
    if brokers.contains('@') {
        return Err(IngestError::Invalid(
            "kafka.brokers has a user name or password in it; write HOST:PORT, and give them as sasl.username and sasl.password in [kafka.properties] (`env:NAME` takes one from the environment)".to_owned(),
        ));
    }
    let protocol = protocol(properties);
    for broker in brokers.split(',') {
        let Some((scheme, host)) = broker.trim().split_once("://") else { continue };
        let said = scheme.to_ascii_lowercase();
        if !PROTOCOLS.contains(&said.as_str()) {
            return Err(IngestError::Invalid(format!(
                "kafka.brokers: {broker:?} does not begin with a protocol of Kafka; write {host:?}, and say how to talk to it as security.protocol in [kafka.properties]"
            )));
        }
        if said != protocol {
            return Err(IngestError::Invalid(format!(
                "kafka.brokers: {broker:?} says {said}, but the broker would be talked to by {protocol}; write \"{PROTOCOL}\" = \"{said}\" in [kafka.properties], or {host:?} for {protocol}"
            )));
        }
    }
    Ok(())
}

/// Refuses a property that has no effect.
///
/// # Errors
/// A sentence that names it.
pub fn check_effect(name: &str, properties: &BTreeMap<String, String>) -> Result<(), IngestError> {
    let protocol = protocol(properties);
    let is_of =
        |kind: &str| name.starts_with(&format!("{kind}.")) || name.starts_with(&format!("enable.{kind}."));
    let why = if OF_PRODUCERS.contains(&name) {
        "it is a producer's, and nothing is produced here; remove it".to_owned()
    } else if OF_GROUPS.contains(&name) {
        "no consumer group is used and no offset is stored at the broker; remove it".to_owned()
    } else if name == "topic.blacklist" {
        "one topic is read, which kafka.topic names; remove it".to_owned()
    } else if is_of("sasl") && !protocol.starts_with("sasl") {
        format!(
            "{PROTOCOL} is {protocol}, which knows no SASL; write \"{PROTOCOL}\" = \"sasl_ssl\" or \"sasl_plaintext\", or remove it"
        )
    } else if is_of("ssl") && !protocol.ends_with("ssl") {
        format!(
            "{PROTOCOL} is {protocol}, which knows no TLS; write \"{PROTOCOL}\" = \"ssl\" or \"sasl_ssl\", or remove it"
        )
    } else {
        return Ok(());
    };
    Err(IngestError::Invalid(format!("kafka property {name}: it has no effect: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(named: &[(&str, &str)]) -> BTreeMap<String, String> {
        named.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[track_caller]
    fn check(result: Result<(), IngestError>, expected: &str) {
        let said = result.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn an_address_says_no_protocol_that_is_not_used() {
        for (brokers, protocol, expected) in [
            ("one:9092, two", "plaintext", ""),
            ("PLAINTEXT://one:9092", "plaintext", ""),
            ("SSL://one:9093,two:9093", "SSL", ""),
            ("one:9092,SSL://two:9093", "plaintext", "\"security.protocol\" = \"ssl\""),
            ("PLAINTEXT://one:9092", "sasl_ssl", "for sasl_ssl"),
            ("http://one:8082", "plaintext", "write \"one:8082\""),
            ("SSL://user:hunter2@one:9093", "plaintext", "has a user name or password"),
        ] {
            check(check_brokers(brokers, &properties(&[(PROTOCOL, protocol)])), expected);
        }
        check(check_brokers("SSL://one:9093", &properties(&[])), "\"security.protocol\" = \"ssl\"");
    }

    #[test]
    fn a_property_without_effect_is_refused() {
        for (name, protocol, expected) in [
            ("compression.type", "plaintext", "a producer's"),
            ("session.timeout.ms", "plaintext", "no consumer group"),
            ("topic.blacklist", "plaintext", "one topic is read"),
            ("sasl.password", "ssl", "knows no SASL"),
            ("sasl.password", "SASL_PLAINTEXT", ""),
            ("ssl.key.password", "sasl_plaintext", "knows no TLS"),
            ("enable.ssl.certificate.verification", "plaintext", "knows no TLS"),
            ("ssl.ca.location", "sasl_ssl", ""),
            ("fetch.wait.max.ms", "plaintext", ""),
            ("group.id", "plaintext", ""),
        ] {
            check(check_effect(name, &properties(&[(PROTOCOL, protocol), (name, "hunter2")])), expected);
        }
    }
}

//! Apache Kafka in KRaft mode: one node, controller and broker, in a folder of its own on free
//! ports.
//!
//! Invariant: no broker outlives the test process, however that ends. Between the two stands a
//! shell that does nothing but wait for its input to close, which the kernel sees to, and then
//! kills the one process it started.

use crate::encode::Record;
use crate::machine::{free_port, provided, wait_for};
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(90);
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// The guard that stands between the test process and the broker. `stop` on the input asks for a
/// clean stop, `kill` for one that is not; the end of the input is the end of the tests.
const GUARD: &str = r#"
folder=$1; shift
"$@" </dev/null >>"$folder/broker.log" 2>&1 &
broker=$!
# Ctrl-C reaches every process of the terminal. This one has to survive it to clean up.
trap '' INT TERM HUP
read -r how
case $how in
    stop) kill -TERM $broker; wait $broker ;;
    kill) kill -KILL $broker; wait $broker ;;
    *) kill -KILL $broker; wait $broker; rm -rf "$folder" ;;
esac
"#;

/// The part of a partition that can be read.
#[derive(Debug)]
pub struct Partition {
    /// As a ledger names it.
    pub stream: String,
    /// The first offset there is, and the next there will be.
    pub low: i64,
    pub high: i64,
    /// Values by offset.
    pub records: BTreeMap<i64, Vec<u8>>,
}

/// A transaction that was begun and not ended.
pub struct OpenTransaction(FutureProducer);

impl OpenTransaction {
    pub fn commit(self) {
        self.0.commit_transaction(REQUEST_LIMIT).expect("the transaction ends");
    }
}

/// A running or stopped broker.
#[derive(Debug)]
pub struct Broker {
    address: String,
    folder: PathBuf,
    guard: Option<(Child, ChildStdin)>,
}

impl Broker {
    /// The broker that the tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A broker for one test, which may stop it.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("atcost-kafka-")
            .tempdir()
            .map(TempDir::keep)
            .expect("the machine has room for a folder");
        let (port, controller_port) = (free_port(), free_port());
        // From here on the folder goes with the broker, also when it does not start.
        let mut broker = Self { address: format!("127.0.0.1:{port}"), folder, guard: None };
        let configuration = broker.folder.join("server.properties");
        fs::write(&configuration, properties(&broker.folder, port, controller_port))
            .expect("the folder can be written");
        // Any 22 digits of base64 are a cluster id; this one differs between brokers that live at
        // the same time.
        let cluster = format!("atcost{port:05}{:010}A", std::process::id());
        let format = java(&["kafka.tools.StorageTool", "format", "-t", &cluster, "-c"])
            .arg(&configuration)
            .output()
            .expect("Java starts");
        assert!(
            format.status.success(),
            "Kafka's storage could not be formatted:\n{}",
            String::from_utf8_lossy(&format.stderr)
        );
        broker.start_again();
        broker
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Stops it cleanly; its topics stay.
    pub fn stop(&mut self) {
        self.end(b"stop\n");
    }

    /// Ends it at once, as `kill -9` does; its topics stay.
    pub fn kill(&mut self) {
        self.end(b"kill\n");
    }

    fn end(&mut self, how: &[u8]) {
        let (mut guard, mut input) = self.guard.take().expect("the broker is running");
        input.write_all(how).expect("the guard waits for its input");
        guard.wait().expect("the guard is our child");
    }

    /// Starts it at the address it had, with the topics it had, and waits until it answers.
    pub fn start_again(&mut self) {
        assert!(self.guard.is_none(), "the broker is running");
        let java = java(&["kafka.Kafka"]);
        let mut guard = Command::new("sh");
        guard
            .args(["-c", GUARD, "guard"])
            .arg(&self.folder)
            .arg(java.get_program())
            .args(java.get_args())
            .arg(self.folder.join("server.properties"));
        let mut guard = guard
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh is a command");
        let input = guard.stdin.take().expect("the input is piped");
        self.guard = Some((guard, input));
        let consumer: BaseConsumer = self.client().create().expect("the configuration is valid");
        let answer = wait_for(START_LIMIT, || {
            let metadata = consumer.fetch_metadata(None, Duration::from_secs(1)).ok()?;
            (!metadata.brokers().is_empty()).then_some(())
        });
        assert!(
            answer.is_some(),
            "Kafka does not answer at {}:\n{}",
            self.address,
            tail(&self.folder.join("broker.log"))
        );
    }

    /// A new topic with a name that no other test has.
    pub fn topic(&self, partitions: i32) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("usage-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let created = block_on(
            self.admin()
                .create_topics(&[NewTopic::new(&name, partitions, TopicReplication::Fixed(1))], &options()),
        );
        created.expect("the broker answers").remove(0).expect("the topic can be created");
        name
    }

    /// Lets a topic take messages of that many bytes.
    pub fn set_max_message(&self, topic: &str, bytes: &str) {
        self.set(topic, "max.message.bytes", bytes);
    }

    /// Sets a setting of a topic.
    pub fn set(&self, topic: &str, name: &str, value: &str) {
        let setting = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        block_on(self.admin().alter_configs(&[setting], &options()))
            .expect("the broker answers")
            .remove(0)
            .expect("the topic can be configured");
    }

    /// Deletes a topic with all its records and makes it anew.
    pub fn recreate(&self, topic: &str, partitions: i32) {
        block_on(self.admin().delete_topics(&[topic], &options()))
            .expect("the broker answers")
            .remove(0)
            .expect("the topic can be deleted");
        // The old topic goes in its own time; until then the name is taken.
        let created = wait_for(REQUEST_LIMIT, || {
            let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
            block_on(self.admin().create_topics(&[new], &options()))
                .expect("the broker answers")
                .remove(0)
                .ok()
        });
        assert!(created.is_some(), "{topic} cannot be made again");
    }

    /// The id that Kafka gave the topic, from what it keeps about it on its disk.
    pub fn topic_id(&self, topic: &str) -> String {
        let path = self.folder.join("data").join(format!("{topic}-0")).join("partition.metadata");
        let id = wait_for(REQUEST_LIMIT, || {
            Some(
                fs::read_to_string(&path)
                    .ok()?
                    .lines()
                    .find_map(|line| line.strip_prefix("topic_id: "))?
                    .to_owned(),
            )
        });
        id.unwrap_or_else(|| panic!("{} does not tell the id of the topic", path.display()))
    }

    /// Sends records in their order and waits until the broker has them.
    pub fn produce(&self, topic: &str, records: &[Record]) {
        self.produce_with(topic, &[], records);
    }

    /// Like [`Self::produce`], with settings of the producer such as `compression.type`.
    pub fn produce_with(&self, topic: &str, settings: &[(&str, &str)], records: &[Record]) {
        send(&self.producer(settings), topic, records);
    }

    /// Sends records in a transaction that is committed or aborted. Either ends with a marker that
    /// takes an offset of each partition.
    pub fn produce_in_transaction(&self, topic: &str, records: &[Record], commit: bool) {
        let producer = self.transactional();
        send(&producer, topic, records);
        let ended = if commit {
            producer.commit_transaction(REQUEST_LIMIT)
        } else {
            producer.abort_transaction(REQUEST_LIMIT)
        };
        ended.expect("the transaction ends");
    }

    /// Sends records in a transaction that stays open.
    pub fn begin_transaction(&self, topic: &str, records: &[Record]) -> OpenTransaction {
        let producer = self.transactional();
        send(&producer, topic, records);
        OpenTransaction(producer)
    }

    /// A producer with a transaction that it has begun.
    fn transactional(&self) -> FutureProducer {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let id = format!("transaction-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let producer = self.producer(&[("transactional.id", &id)]);
        producer.init_transactions(REQUEST_LIMIT).expect("the broker coordinates transactions");
        producer.begin_transaction().expect("no transaction is open");
        producer
    }

    /// Sends records one by one, each in a batch of its own, so that a log can be cut between any
    /// two.
    pub fn produce_one_by_one(&self, topic: &str, records: &[Record]) {
        let producer = self.producer(&[("linger.ms", "0")]);
        records.iter().for_each(|record| send(&producer, topic, std::slice::from_ref(record)));
    }

    /// Cuts the log of a partition before `offset`, as a power cut does to what was not flushed.
    /// The broker must have been killed.
    pub fn cut(&self, topic: &str, partition: i32, offset: i64) {
        let (path, log) = self.segment(topic, partition);
        let kept = batches(&log).take_while(|(_, first)| *first < offset).map(|(at, _)| at).last();
        let end = kept.map_or(0, |at| at + batch_size(&log, at));
        fs::write(&path, &log[..end]).expect("the log can be written");
        for index in ["index", "timeindex"] {
            drop(fs::remove_file(path.with_extension(index)));
        }
    }

    /// Makes a partition look as if it had always had the leader epoch 0, as brokers leave it that
    /// keep the epoch. The broker must have been stopped.
    pub fn forget_epochs(&self, topic: &str, partition: i32) {
        let (path, mut log) = self.segment(topic, partition);
        let places: Vec<usize> = batches(&log).map(|(at, _)| at).collect();
        // The checksum of a batch begins after its epoch.
        places.into_iter().for_each(|at| log[at + 12..at + 16].fill(0));
        fs::write(&path, log).expect("the log can be written");
        fs::write(path.with_file_name("leader-epoch-checkpoint"), "0\n1\n0 0\n").expect("it can be written");
    }

    /// Flips a bit of a batch of a partition, counted from 0, on the disk of the broker: the bit of
    /// `mask` in the byte that lies so far from the batch's first.
    pub fn flip_on_disk(&self, topic: &str, partition: i32, batch: usize, byte: usize, mask: u8) {
        let folder = self.folder.join("data").join(format!("{topic}-{partition}"));
        let path = folder.join("00000000000000000000.log");
        let segment = fs::read(&path).expect("the partition has a segment");
        let mut at = byte;
        for _ in 0..batch {
            // The first offset, then the length of what comes after both.
            let begin = at - byte;
            let length = segment[begin + 8..begin + 12].try_into().expect("four bytes");
            at += 12 + usize::try_from(u32::from_be_bytes(length)).expect("a batch fits into memory");
        }
        // The broker may be running: it keeps the file, and only this byte of it changes.
        let file = fs::OpenOptions::new().write(true).open(&path).expect("the segment can be written");
        let offset = u64::try_from(at).expect("a segment has fewer than 2^64 bytes");
        file.write_all_at(&[segment[at] ^ mask], offset).expect("the segment can be written");
    }

    /// The only segment of a partition's log.
    fn segment(&self, topic: &str, partition: i32) -> (PathBuf, Vec<u8>) {
        assert!(self.guard.is_none(), "the broker is running");
        let folder = self.folder.join("data").join(format!("{topic}-{partition}"));
        let path = folder.join("00000000000000000000.log");
        let log = fs::read(&path).expect("a partition has a log");
        (path, log)
    }

    /// Deletes the records of a partition before `offset`, as retention would.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("the offset is valid");
        let deleted =
            block_on(self.admin().delete_records(&offsets, &options())).expect("the broker answers");
        assert_eq!(deleted.elements()[0].offset(), Offset::Offset(offset), "{topic}/{partition}");
    }

    /// Everything that can be read of a topic now, by a plain consumer.
    pub fn read(&self, topic: &str) -> Vec<Partition> {
        let mut config = self.client();
        config
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error");
        let consumer: BaseConsumer = config.create().expect("the configuration is valid");
        let metadata = consumer.fetch_metadata(Some(topic), REQUEST_LIMIT).expect("the broker answers");
        let cluster = consumer.client().fetch_cluster_id(REQUEST_LIMIT).expect("a cluster has an id");
        let (mut partitions, mut assigned) = (Vec::new(), TopicPartitionList::new());
        for number in
            0..i32::try_from(metadata.topics()[0].partitions().len()).expect("a topic has few partitions")
        {
            let (low, high) =
                consumer.fetch_watermarks(topic, number, REQUEST_LIMIT).expect("the broker answers");
            assigned.add_partition_offset(topic, number, Offset::Offset(low)).expect("the offset is valid");
            partitions.push(Partition {
                stream: format!("kafka/{cluster}/{topic}/{number}"),
                low,
                high,
                records: BTreeMap::new(),
            });
        }
        consumer.assign(&assigned).expect("the partitions can be assigned");
        let mut ended = 0;
        while ended < partitions.len() {
            match consumer.poll(REQUEST_LIMIT).expect("the broker answers") {
                Ok(message) => {
                    let partition =
                        usize::try_from(message.partition()).expect("partitions are counted from 0");
                    partitions[partition]
                        .records
                        .insert(message.offset(), message.payload().map(<[u8]>::to_vec).unwrap_or_default());
                }
                Err(KafkaError::PartitionEOF(_)) => ended += 1,
                Err(error) => panic!("{topic} cannot be read: {error}"),
            }
        }
        partitions
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("the configuration is valid")
    }

    fn producer(&self, settings: &[(&str, &str)]) -> FutureProducer {
        let mut config = self.client();
        // Retries may neither repeat nor reorder; records that are sent together are compressed
        // together.
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .set("queue.buffering.max.messages", "1000000");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create().expect("the settings are valid")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match self.guard.take() {
            Some((mut guard, input)) => {
                drop(input);
                // It has nothing to tell; waiting only keeps it from becoming a zombie.
                drop(guard.wait());
            }
            None => drop(fs::remove_dir_all(&self.folder)),
        }
    }
}

fn send(producer: &FutureProducer, topic: &str, records: &[Record]) {
    let deliveries: Vec<_> = records
        .iter()
        .map(|record| {
            let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_ref() })
            });
            let message = FutureRecord {
                topic,
                partition: Some(record.partition),
                payload: record.value.as_ref(),
                key: record.key.as_ref(),
                timestamp: None,
                headers: Some(headers),
            };
            producer.send_result(message).map_err(|(error, _)| error).expect("the queue has room")
        })
        .collect();
    producer.flush(REQUEST_LIMIT).expect("the broker takes the records");
    for delivery in deliveries {
        block_on(delivery)
            .expect("the producer is alive")
            .map_err(|(error, _)| error)
            .expect("the broker took the record");
    }
}

/// Where each batch of a log begins, and its first offset. A log may end in zeros that were
/// allocated ahead.
fn batches(log: &[u8]) -> impl Iterator<Item = (usize, i64)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let first = i64::from_be_bytes(*log.get(at..)?.first_chunk()?);
        let here = at;
        let size = batch_size(log, here);
        at += size;
        (size > BATCH_PREFIX).then_some((here, first))
    })
}

/// The first offset and the length of what follows.
const BATCH_PREFIX: usize = 12;

fn batch_size(log: &[u8], at: usize) -> usize {
    let length = log[at + 8..].first_chunk().map(|length| u32::from_be_bytes(*length));
    BATCH_PREFIX + length.map_or(0, |length| usize::try_from(length).expect("a batch is in memory"))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_LIMIT)).operation_timeout(Some(REQUEST_LIMIT))
}

/// Java with the broker's jars, tuned for a short life on a small machine.
fn java(arguments: &[&str]) -> Command {
    let jars = provided("ATCOST_KAFKA_LIBS", "kafka-4.1.1");
    assert!(
        jars.is_dir(),
        "Kafka is missing: there is no folder {}. `make test` sets it up and runs the tests.",
        jars.display()
    );
    let mut command = Command::new("java");
    command
        .args([
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            &format!("{}/*", jars.display()),
        ])
        .args(arguments);
    command
}

fn properties(folder: &Path, port: u16, controller_port: u16) -> String {
    let data = folder.join("data");
    let lines = [
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("controller.quorum.voters=1@127.0.0.1:{controller_port}"),
        format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"),
        format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port}"),
        "controller.listener.names=CONTROLLER".to_owned(),
        "inter.broker.listener.name=PLAINTEXT".to_owned(),
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned(),
        format!("log.dirs={}", data.display()),
        "offsets.topic.replication.factor=1".to_owned(),
        "offsets.topic.num.partitions=1".to_owned(),
        "transaction.state.log.replication.factor=1".to_owned(),
        "transaction.state.log.min.isr=1".to_owned(),
        "transaction.state.log.num.partitions=1".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
        "auto.create.topics.enable=false".to_owned(),
        // Records stay until a test deletes them.
        "log.retention.ms=-1".to_owned(),
    ];
    lines.join("\n") + "\n"
}

fn tail(log: &Path) -> String {
    // An unreadable log must not hide why it was wanted.
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

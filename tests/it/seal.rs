//! Hashes, trees and proofs: the published vectors of RFC 6962 implementations, a second
//! implementation, and everything that a proof about a subject's rows must not survive.

#![expect(clippy::unwrap_used, reason = "what a test unwraps is its own, and it fails with the line")]

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, digest};
use proof::hash::{LeafHash, NodeHash, RootHash, SubjectLabel};
use proof::lanes;
use proof::leaf_key::LeafKey;
use proof::merkle::{self, Frontier, Tree, TreeHead, check_consistency, check_inclusion};
use proof::row::RowHeader;
use proof::seal::{Rows, leaf, leaves, seal};
use proof::subject::{
    Neighbour, ProofError, Roots, Side, SubjectProof, check_batch, check_growth, check_subject, prove_batch,
    prove_growth, prove_subject,
};
use proptest::collection::vec;
use proptest::prelude::*;
use schemas::digest::Sha256Digest;
use sha2::{Digest as _, Sha256};

/// A digest, as these tests compute it themselves.
type Digest = [u8; 32];

fn sha256(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Bytes that have no pattern of 64.
fn noise(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|index| sha256(&(index * 1009 + seed).to_be_bytes())[0]).collect()
}

/// A path as the other implementation has it.
fn joined(path: &[NodeHash]) -> Vec<u8> {
    path.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The bytes with one bit another.
fn flipped(bytes: &Digest, bit: usize) -> Digest {
    let mut bytes = *bytes;
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

fn root(hex: &str) -> RootHash {
    RootHash::from_bytes(digest_of(hex))
}

fn digest_of(hex: &str) -> Digest {
    let digits: Vec<u8> =
        hex.bytes().map(|digit| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect::<Vec<_>>().try_into().unwrap()
}

fn fixed_is_sha256<const LEN: usize>() {
    for count in 0..70 {
        let messages: Vec<[u8; LEN]> =
            (0..count).map(|number| noise(LEN, number * 7919).try_into().unwrap()).collect();
        let expected: Vec<Digest> = messages.iter().map(|message| sha256(message)).collect();
        assert_eq!(
            lanes::fixed::<LEN>(count, |number, message| *message = messages[number]),
            expected,
            "{count} messages of {LEN} bytes"
        );
    }
}

#[test]
fn messages_of_one_length_are_hashed_as_sha2_does() {
    fixed_is_sha256::<0>();
    fixed_is_sha256::<40>();
    fixed_is_sha256::<55>();
    fixed_is_sha256::<56>();
    fixed_is_sha256::<63>();
    fixed_is_sha256::<64>();
    fixed_is_sha256::<65>();
    fixed_is_sha256::<111>();
    fixed_is_sha256::<119>();
}

#[test]
fn messages_of_every_length_are_hashed_as_sha2_does() {
    let messages: Vec<Vec<u8>> = (0..600).map(|length| noise(length, length)).collect();
    assert_eq!(variable(&messages), messages.iter().map(|message| sha256(message)).collect::<Vec<_>>());
}

/// Around the number of blocks from which messages are no longer put together with those that have
/// exactly as many.
#[test]
fn messages_of_many_blocks_are_hashed_as_sha2_does() {
    let messages: Vec<Vec<u8>> = (0..150).map(|number| noise(1800 + number * 67 % 500, number)).collect();
    assert_eq!(variable(&messages), messages.iter().map(|message| sha256(message)).collect::<Vec<_>>());
}

fn variable(messages: &[Vec<u8>]) -> Vec<Digest> {
    let mut end = 0;
    let ends: Vec<u32> = messages
        .iter()
        .map(|message| {
            end += u32::try_from(message.len()).unwrap();
            end
        })
        .collect();
    lanes::variable(&messages.concat(), &ends)
}

proptest! {
    #[test]
    fn messages_of_mixed_lengths_are_hashed_as_sha2_does(messages in vec(vec(any::<u8>(), 0..1000), 0..100)) {
        prop_assert_eq!(variable(&messages), messages.iter().map(|message| sha256(message)).collect::<Vec<_>>());
    }

    /// One long message among short ones is not hashed sixteen times slower than alone; here only
    /// that it is hashed right.
    #[test]
    fn a_long_message_among_short_ones(long in 5_000usize..20_000, place in 0usize..40) {
        let mut messages: Vec<Vec<u8>> = (0..40).map(|number| noise(number, number)).collect();
        messages.insert(place, noise(long, 5));
        prop_assert_eq!(variable(&messages), messages.iter().map(|message| sha256(message)).collect::<Vec<_>>());
    }
}

/// Hashes messages that are read in pieces, and looks at how they are read.
fn long(messages: &[Vec<u8>]) -> Vec<Digest> {
    let mut read = vec![0; messages.len()];
    let mut ended = vec![false; messages.len()];
    let digests = lanes::long(messages.len(), |number, buffer| {
        assert!(!ended[number], "a message that has ended is read again");
        let rest = &messages[number][read[number]..];
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        read[number] += taken;
        ended[number] = taken < buffer.len();
        let open = ended.iter().zip(&read).filter(|(ended, read)| !**ended && **read > 0).count();
        assert!(open <= 16, "{open} messages are read at a time");
        Ok::<usize, std::convert::Infallible>(taken)
    });
    let Ok(digests) = digests;
    for ((_, length), message) in digests.iter().zip(messages) {
        assert_eq!(*length, message.len() as u64);
    }
    digests.into_iter().map(|(digest, _)| digest).collect()
}

/// Around the ends of blocks and of pieces, and more and fewer of them than are worth lanes.
#[test]
fn messages_that_are_read_in_pieces_are_hashed_as_sha2_does() {
    let around = |length: usize| (0..=130).map(move |more| length - 65 + more);
    let lengths: Vec<usize> = around(65).chain(around(32 << 10)).chain(around(64 << 10)).collect();
    let messages: Vec<Vec<u8>> = lengths.iter().map(|length| noise(*length, *length * 7919)).collect();
    let expected: Vec<Digest> = messages.iter().map(|message| sha256(message)).collect();
    assert_eq!(long(&messages), expected);
    for count in 0..40 {
        assert_eq!(long(&messages[100..100 + count]), expected[100..100 + count], "{count} messages");
    }
}

#[test]
fn a_message_that_cannot_be_read_ends_the_hashing() {
    for count in [1, 20] {
        let read = |number, _: &mut [u8]| if number + 1 == count { Err("gone") } else { Ok(7) };
        assert_eq!(lanes::long(count, read), Err("gone"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn long_messages_of_mixed_lengths_are_hashed_as_sha2_does(
        lengths in vec(prop_oneof![0..200_usize, 0..200_000_usize], 0..40)
    ) {
        let messages: Vec<Vec<u8>> =
            lengths.iter().enumerate().map(|(number, length)| noise(*length, number)).collect();
        prop_assert_eq!(long(&messages), messages.iter().map(|message| sha256(message)).collect::<Vec<_>>());
    }
}

// The vectors that Certificate Transparency implementations share.

const INPUTS: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const SECOND: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const THIRD_AND_FOURTH: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const LAST_FOUR: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const FIFTH: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const FIFTH_AND_SIXTH: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const LAST_TWO: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";

#[test]
fn roots_and_paths_are_those_of_rfc_6962() {
    let leaves = INPUTS.map(merkle::leaf);
    let tree = Tree::new(leaves.to_vec());
    let mut frontier = Frontier::default();
    for (size, expected) in ROOTS.iter().map(|hex| root(hex)).enumerate() {
        assert_eq!(merkle::root(&leaves[..size]), expected);
        assert_eq!(tree.root_at(size as u64), expected);
        assert_eq!(frontier.head(), TreeHead { size: size as u64, root: expected });
        if let Some(leaf) = leaves.get(size) {
            frontier.push(*leaf);
        }
    }
    let path =
        |hashes: &[&str]| hashes.iter().map(|hex| NodeHash::from_bytes(digest_of(hex))).collect::<Vec<_>>();
    assert_eq!(tree.inclusion(0, 1), path(&[]));
    assert_eq!(tree.inclusion(0, 8), path(&[SECOND, THIRD_AND_FOURTH, LAST_FOUR]));
    assert_eq!(tree.inclusion(5, 8), path(&[FIFTH, LAST_TWO, ROOTS[4]]));
    assert_eq!(tree.inclusion(2, 3), path(&[ROOTS[2]]));
    assert_eq!(tree.inclusion(1, 5), path(&[ROOTS[1], THIRD_AND_FOURTH, FIFTH]));
    assert_eq!(tree.consistency(1, 1), path(&[]));
    assert_eq!(tree.consistency(1, 8), path(&[SECOND, THIRD_AND_FOURTH, LAST_FOUR]));
    assert_eq!(tree.consistency(6, 8), path(&[FIFTH_AND_SIXTH, LAST_TWO, ROOTS[4]]));
    assert_eq!(tree.consistency(2, 5), path(&[THIRD_AND_FOURTH, FIFTH]));
}

fn data(number: u64) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

fn tree(size: u64) -> Tree {
    Tree::new((0..size).map(|number| merkle::leaf(&data(number))).collect())
}

/// SHA-256 for the other implementation, which knows a younger version of the traits.
#[derive(Default)]
struct Hasher(Sha256);

impl digest::Update for Hasher {
    fn update(&mut self, data: &[u8]) {
        sha2::Digest::update(&mut self.0, data);
    }
}

impl digest::OutputSizeUser for Hasher {
    type OutputSize = digest::consts::U32;
}

impl digest::FixedOutput for Hasher {
    fn finalize_into(self, out: &mut digest::Output<Self>) {
        out.copy_from_slice(&self.0.finalize());
    }
}

impl digest::HashMarker for Hasher {}

fn oracle(size: u64) -> MemoryBackedTree<Hasher, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    for number in 0..size {
        tree.push(data(number));
    }
    tree
}

/// Another implementation makes the same roots and paths, and takes ours.
#[test]
fn another_implementation_agrees_up_to_200_leaves() {
    let ours = tree(200);
    let mut frontier = Frontier::default();
    for size in 0..=200 {
        let theirs = oracle(size);
        let root = RootHash::from_bytes((*theirs.root().as_bytes()).into());
        assert_eq!(ours.root_at(size), root);
        assert_eq!(merkle::root(&ours.leaves()[..usize::try_from(size).unwrap()]), root);
        assert_eq!(frontier.root(), root);
        let restored = Frontier::from_peaks(size, frontier.peaks().to_vec());
        assert_eq!(restored.as_ref(), Some(&frontier));
        let head = TreeHead { size, root };
        for index in 0..size {
            let path = ours.inclusion(index, size);
            assert_eq!(joined(&path), theirs.prove_inclusion(usize::try_from(index).unwrap()).as_bytes());
            assert_eq!(check_inclusion(&head, index, &merkle::leaf(&data(index)), &path), Ok(()));
        }
        frontier.push(merkle::leaf(&data(size)));
    }
    assert_eq!(Frontier::from_peaks(6, vec![NodeHash::from_bytes([0; 32]); 3]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn another_implementation_takes_our_proofs_of_growth((old, new) in (2u64..=1024).prop_flat_map(|new| (1..new, Just(new))), bit in any::<prop::sample::Index>()) {
        let ours = tree(new);
        let theirs = oracle(new);
        let path = prove_growth(&ours, old, new);
        let of_theirs = theirs.prove_consistency(usize::try_from(new - old).unwrap());
        prop_assert_eq!(&joined(&path)[..], of_theirs.as_bytes());
        let checked = theirs.root().verify_consistency(&oracle(old).root(), &ConsistencyProof::try_from_bytes(joined(&path)).unwrap());
        prop_assert!(checked.is_ok());
        let (before, after) = (TreeHead { size: old, root: ours.root_at(old) }, ours.head());
        prop_assert_eq!(check_growth(&before, &after, &path), Ok(()));

        // Nothing else is taken.
        let mut changed = path.clone();
        let bit = bit.index(changed.len() * 256);
        changed[bit / 256] = NodeHash::from_bytes(flipped(changed[bit / 256].as_bytes(), bit % 256));
        prop_assert_eq!(check_growth(&before, &after, &changed), Err(ProofError::HistoryChanged));
        prop_assert_eq!(check_growth(&before, &after, &path[1..]), Err(ProofError::HistoryChanged));
        prop_assert_eq!(check_growth(&after, &before, &path), Err(ProofError::HistoryChanged));
        prop_assert_eq!(check_growth(&TreeHead { root: after.root, ..before }, &after, &path), Err(ProofError::HistoryChanged));
        prop_assert_eq!(check_growth(&TreeHead { size: old - 1, ..before }, &after, &path), Err(ProofError::HistoryChanged));
    }

    #[test]
    fn a_record_is_in_the_log_at_its_version_and_nowhere_else((version, size) in (1u64..=300).prop_flat_map(|size| (1..=size, Just(size))), bit in any::<prop::sample::Index>()) {
        let log = tree(300);
        let head = TreeHead { size, root: log.root_at(size) };
        let record = data(version - 1);
        let path = prove_batch(&log, version, size);
        prop_assert_eq!(check_batch(&head, version, &record, &path), Ok(()));
        let theirs = oracle(size).root().verify_inclusion(&record, version - 1, &InclusionProof::try_from_bytes(joined(&path)).unwrap());
        prop_assert!(theirs.is_ok());
        for other in [version - 1, version + 1, 0, u64::MAX] {
            prop_assert_eq!(check_batch(&head, other, &record, &path), Err(ProofError::BatchNotInLog));
        }
        prop_assert_eq!(check_batch(&head, version, &data(version), &path), Err(ProofError::BatchNotInLog));
        prop_assert_eq!(check_batch(&TreeHead { size: version - 1, ..head }, version, &record, &path), Err(ProofError::BatchNotInLog));
        if !path.is_empty() {
            let mut changed = path.clone();
            let bit = bit.index(changed.len() * 256);
            changed[bit / 256] = NodeHash::from_bytes(flipped(changed[bit / 256].as_bytes(), bit % 256));
            prop_assert_eq!(check_batch(&head, version, &record, &changed), Err(ProofError::BatchNotInLog));
        }
    }
}

#[test]
fn every_log_begins_with_the_empty_one() {
    let log = tree(5);
    let empty = Tree::new(Vec::new()).head();
    assert_eq!(empty, TreeHead { size: 0, root: root(ROOTS[0]) });
    assert_eq!(check_consistency(&empty, &log.head(), &prove_growth(&log, 0, 5)), Ok(()));
    assert_eq!(
        check_growth(&TreeHead { root: RootHash::from_bytes([0; 32]), ..empty }, &log.head(), &[]),
        Err(ProofError::HistoryChanged)
    );
    assert_eq!(
        check_growth(&empty, &log.head(), &[NodeHash::from_bytes([0; 32])]),
        Err(ProofError::HistoryChanged)
    );
}

// Rows.

#[derive(Debug)]
struct Commit {
    headers: Vec<RowHeader>,
    contents: Vec<Digest>,
    subjects: Vec<Option<String>>,
    subject_of: Vec<u32>,
}

const SHARD: u32 = 3;
const VERSION: u64 = 41;

impl Commit {
    fn new(subject_of: Vec<u32>, subjects: u32) -> Self {
        let stream = sha256(b"str1\0\0\0\x0dkafka/c/usage\0\0\0\x07\0\0\0\x05usage");
        let row = |index: usize| -> RowHeader {
            let produced = if index.is_multiple_of(3) { (0, 0) } else { (1, 1_700_000_000_000_000i64) };
            let offset = i64::try_from(index).unwrap().to_be_bytes();
            let received = 1_700_000_000_000_001i64.to_be_bytes();
            [&b"row2\x01"[..], &stream, &offset, &[produced.0], &produced.1.to_be_bytes(), &received]
                .concat()
                .try_into()
                .unwrap()
        };
        Self {
            headers: (0..subject_of.len()).map(row).collect(),
            contents: (0..subject_of.len()).map(|index| sha256(&data(index as u64))).collect(),
            subjects: std::iter::once(None)
                .chain((1..subjects).map(|number| Some(format!("projects/{number}"))))
                .collect(),
            subject_of,
        }
    }

    fn with<T>(&self, then: impl FnOnce(&Rows<'_>) -> T) -> T {
        let subjects: Vec<Option<&str>> = self.subjects.iter().map(Option::as_deref).collect();
        then(&Rows {
            shard: SHARD,
            version: VERSION,
            headers: &self.headers,
            contents: &self.contents,
            subjects: &subjects,
            subject_of: &self.subject_of,
        })
    }

    fn roots(&self) -> Roots {
        let sealed = self.with(|rows| seal(&key(), rows));
        Roots {
            shard: SHARD,
            version: VERSION,
            rows: TreeHead { size: self.headers.len() as u64, root: sealed.rows_root },
            subjects: TreeHead { size: sealed.subjects, root: sealed.subjects_root },
        }
    }

    fn proof(&self, subject: u32) -> SubjectProof {
        self.with(|rows| prove_subject(&key(), rows, rows.subjects[subject as usize]))
    }

    fn check(&self, subject: u32, proof: &SubjectProof) -> Result<(), ProofError> {
        check_subject(&self.roots(), &key().subject_key(self.subjects[subject as usize].as_deref()), proof)
    }
}

fn key() -> LeafKey {
    LeafKey::from_bytes([42; 32])
}

/// The format, computed here step by step from `docs/format.md`.
#[test]
fn leaves_and_groups_are_those_of_the_format() {
    fn hmac(key: &[u8], message: &[u8]) -> Digest {
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        let inner = sha256(&[block.map(|byte| byte ^ 0x36).as_slice(), message].concat());
        sha256(&[block.map(|byte| byte ^ 0x5c).as_slice(), &inner].concat())
    }
    let commit = Commit::new(vec![2, 0, 1, 2, 2], 3);
    let key_bytes = [42; 32];
    let stream = sha256(b"str1\0\0\0\x0dkafka/c/usage\0\0\0\x07\0\0\0\x05usage");
    let place = [&SHARD.to_be_bytes()[..], &VERSION.to_be_bytes()].concat();
    let batch_key = hmac(&key_bytes, &[b"atcost nonces 1", &place[..]].concat());
    let expected: Vec<Digest> = (0..5u64)
        .map(|index| {
            let pair = sha256(&[&batch_key[..], &(index / 2).to_be_bytes()].concat());
            let nonce = if index % 2 == 0 { &pair[..16] } else { &pair[16..] };
            let produced = if index % 3 == 0 {
                [&[0][..], &0i64.to_be_bytes()].concat()
            } else {
                [&[1][..], &1_700_000_000_000_000i64.to_be_bytes()].concat()
            };
            let received = 1_700_000_000_000_001i64.to_be_bytes();
            sha256(
                &[
                    &[0],
                    nonce,
                    b"row2\x01",
                    &stream,
                    &index.to_be_bytes(),
                    &produced,
                    &received,
                    &sha256(&data(index)),
                ]
                .concat(),
            )
        })
        .collect();
    let sealed = commit.with(|rows| seal(&key(), rows));
    let expected_leaves: Vec<LeafHash> = expected.iter().copied().map(LeafHash::from_bytes).collect();
    assert_eq!(sealed.leaves, expected_leaves);

    let group = |subject_key: Digest, rows: &[usize]| {
        let joined: Vec<u8> = rows.iter().flat_map(|row| expected[*row]).collect();
        [&b"sub1"[..], &hmac(&subject_key, &place), &sha256(&joined)].concat()
    };
    let mut groups = [
        group(hmac(&key_bytes, b"atcost no subject 1"), &[1]),
        group(hmac(&key_bytes, b"atcost subject 1projects/1"), &[2]),
        group(hmac(&key_bytes, b"atcost subject 1projects/2"), &[0, 3, 4]),
    ];
    groups.sort();
    let theirs = |leaves: &[Vec<u8>]| {
        let mut tree = MemoryBackedTree::<Hasher, Vec<u8>>::new();
        leaves.iter().for_each(|leaf| tree.push(leaf.clone()));
        RootHash::from_bytes((*tree.root().as_bytes()).into())
    };
    assert_eq!((sealed.subjects, sealed.subjects_root), (3, theirs(&groups)));
    assert_eq!(sealed.rows_root, Tree::new(expected_leaves).head().root);
    assert_eq!(key().id().0, sha256(&[&b"atcost leaf key 1"[..], &key_bytes].concat())[..8]);
}

#[test]
fn a_commit_without_rows_has_two_empty_trees() {
    let sealed = Commit::new(Vec::new(), 4).with(|rows| seal(&key(), rows));
    assert_eq!(
        (sealed.rows_root, sealed.subjects, sealed.subjects_root),
        (root(ROOTS[0]), 0, root(ROOTS[0]))
    );
    let nothing = Commit::new(Vec::new(), 4);
    assert_eq!(nothing.check(2, &nothing.proof(2)), Ok(()));
}

#[test]
#[should_panic(expected = "each subject is named once")]
fn a_subject_that_is_named_twice_is_a_programming_error() {
    let mut commit = Commit::new(vec![0, 1, 2], 3);
    commit.subjects[2] = commit.subjects[1].clone();
    commit.roots();
}

#[test]
fn leaves_of_copied_rows_stay_what_they_are() {
    let commit = Commit::new(vec![0, 1, 2, 1, 1], 3);
    let sealed = commit.with(|rows| seal(&key(), rows));
    assert_eq!(commit.with(|rows| leaves(&key(), rows)), sealed.leaves);
    let elsewhere = commit.with(|rows| leaves(&key(), &Rows { version: VERSION + 1, ..*rows }));
    assert!(
        sealed.leaves.iter().zip(&elsewhere).all(|(here, there)| here != there),
        "every commit has its own nonces"
    );
}

fn commits() -> impl Strategy<Value = Commit> {
    // Some subjects have no rows.
    (1u32..12)
        .prop_flat_map(|subjects| (vec(0..subjects, 0..60), Just(subjects + 2)))
        .prop_map(|(subject_of, subjects)| Commit::new(subject_of, subjects))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_subject_is_shown_all_its_rows_and_nothing_else(commit in commits(), at in any::<prop::sample::Index>()) {
        let subjects = u32::try_from(commit.subjects.len()).unwrap();
        for subject in 0..subjects {
            let proof = commit.proof(subject);
            prop_assert_eq!(commit.check(subject, &proof), Ok(()));
            let rows: Vec<u64> = proof.rows.iter().map(|row| row.place.index).collect();
            let expected: Vec<u64> = (0u64..).zip(&commit.subject_of).filter(|(_, of)| **of == subject).map(|(index, _)| index).collect();
            prop_assert_eq!(rows, expected);
        }
        // Nobody else's proof is mine.
        let (mine, other) = (u32::try_from(at.index(subjects as usize)).unwrap(), u32::try_from(at.index(subjects as usize - 1)).unwrap());
        if mine != other && !commit.proof(other).rows.is_empty() {
            prop_assert_eq!(commit.check(mine, &commit.proof(other)), Err(ProofError::GroupNotInBatch));
        }
    }

    #[test]
    fn what_was_tampered_with_is_refused(commit in commits(), subject in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let subject = u32::try_from(subject.index(commit.subjects.len())).unwrap();
        let proof = commit.proof(subject);
        let tampered = |change: &dyn Fn(&mut SubjectProof)| {
            let mut proof = proof.clone();
            change(&mut proof);
            commit.check(subject, &proof)
        };
        let (roots, subject_key) = (commit.roots(), key().subject_key(commit.subjects[subject as usize].as_deref()));
        let elsewhere = |change: &dyn Fn(&mut Roots)| {
            let mut roots = roots;
            change(&mut roots);
            check_subject(&roots, &subject_key, &proof)
        };

        let others: Vec<u32> = commit.subject_of.iter().copied().filter(|other| *other != subject).collect();
        if !proof.rows.is_empty() {
            let row = at.index(proof.rows.len());
            let index = proof.rows[row].place.index;
            let dropped = if proof.rows.len() == 1 { ProofError::GroupWithoutRows } else { ProofError::GroupNotInBatch };
            prop_assert_eq!(tampered(&|proof| drop(proof.rows.remove(row))), Err(dropped));
            prop_assert_eq!(tampered(&|proof| proof.rows[row].row[93] ^= 1), Err(ProofError::RowNotInBatch { index }));
            prop_assert_eq!(tampered(&|proof| proof.rows[row].row[3] ^= 1), Err(ProofError::NotARow { index }));
            prop_assert_eq!(tampered(&|proof| proof.rows[row].nonce[0] ^= 1), Err(ProofError::RowNotInBatch { index }));
            prop_assert_eq!(tampered(&|proof| proof.rows.insert(row, proof.rows[row].clone())), Err(ProofError::RowOrder { index }));
            if let [.., last] = &proof.rows[..] {
                let beyond = last.place.index + 1;
                prop_assert_eq!(tampered(&|proof| proof.rows.last_mut().unwrap().place.index += 1), Err(ProofError::RowNotInBatch { index: beyond }));
            }
            if row > 0 {
                prop_assert_eq!(tampered(&|proof| proof.rows.swap(row - 1, row)), Err(ProofError::RowOrder { index: proof.rows[row - 1].place.index }));
            }
            prop_assert_eq!(tampered(&|proof| proof.rows.clear()), Err(ProofError::GroupWithoutRows));
            prop_assert_eq!(tampered(&|proof| proof.place = None), Err(ProofError::RowsWithoutGroup));
            prop_assert_eq!(tampered(&|proof| proof.place.as_mut().unwrap().index += 1), Err(ProofError::GroupNotInBatch));
            // That there is nothing is not shown by leaving everything out.
            prop_assert!(tampered(&|proof| (proof.rows.clear(), proof.place = None).1).is_err());
            prop_assert_eq!(elsewhere(&|roots| roots.version += 1), Err(ProofError::GroupNotInBatch));
            prop_assert_eq!(elsewhere(&|roots| roots.shard += 1), Err(ProofError::GroupNotInBatch));
            prop_assert_eq!(elsewhere(&|roots| roots.rows.root = RootHash::from_bytes(flipped(roots.rows.root.as_bytes(), 0))), Err(ProofError::RowNotInBatch { index: proof.rows[0].place.index }));
            if let Some(other) = others.first() {
                let foreign = commit.proof(*other).rows[0].clone();
                let added = tampered(&|proof| {
                    let place = proof.rows.partition_point(|row| row.place.index < foreign.place.index);
                    proof.rows.insert(place, foreign.clone());
                });
                prop_assert_eq!(added, Err(ProofError::GroupNotInBatch));
            }
        } else if let Some(other) = others.first() {
            let foreign = commit.proof(*other);
            prop_assert_eq!(tampered(&|proof| proof.rows = foreign.rows.clone()), Err(ProofError::RowsWithoutGroup));
        }

        for (side, neighbour) in [(Side::Before, &proof.before), (Side::After, &proof.after)] {
            let beside = |change: &dyn Fn(&mut Option<Neighbour>)| {
                tampered(&|proof| change(if side == Side::Before { &mut proof.before } else { &mut proof.after }))
            };
            if neighbour.is_some() {
                let refused = beside(&|neighbour| *neighbour = None);
                prop_assert!(matches!(refused, Err(ProofError::NotNext { .. })), "{refused:?}");
                let other_label = |neighbour: &mut Option<Neighbour>| {
                    let group = &mut neighbour.as_mut().unwrap().group;
                    group.label = SubjectLabel::from_bytes(flipped(group.label.as_bytes(), 255));
                };
                prop_assert_eq!(beside(&other_label), Err(ProofError::NeighbourNotInBatch { side }));
                let other_leaves = |neighbour: &mut Option<Neighbour>| {
                    let group = &mut neighbour.as_mut().unwrap().group;
                    group.leaves = Sha256Digest::from_bytes(flipped(group.leaves.as_bytes(), 0));
                };
                prop_assert_eq!(beside(&other_leaves), Err(ProofError::NeighbourNotInBatch { side }));
            }
            // Another true group is not the neighbour.
            for other in others.iter().flat_map(|other| [commit.proof(*other).before, commit.proof(*other).after]).flatten() {
                if Some(&other) != neighbour.as_ref() {
                    let refused = beside(&|neighbour| *neighbour = Some(other.clone()));
                    prop_assert!(matches!(refused, Err(ProofError::NotNext { .. })), "{refused:?}");
                }
            }
        }
        if roots.subjects.size > 0 {
            prop_assert!(elsewhere(&|roots| roots.subjects.root = RootHash::from_bytes(flipped(roots.subjects.root.as_bytes(), 0))).is_err());
        }
    }
}

/// A head that names another version makes another label: absence is shown for one commit only.
#[test]
fn absence_is_shown_for_one_commit_only() {
    let commit = Commit::new((0..40).map(|row| row % 20).collect(), 30);
    let refused = (20..30)
        .flat_map(|subject| (1..20).map(move |later| (subject, later)))
        .filter(|(subject, later)| {
            let roots = Roots { version: VERSION + later, ..commit.roots() };
            check_subject(
                &roots,
                &key().subject_key(commit.subjects[*subject as usize].as_deref()),
                &commit.proof(*subject),
            )
            .is_err()
        })
        .count();
    // A label falls between the same two neighbours by chance now and then.
    assert!(refused > 150, "{refused} of 190");
}

#[test]
fn a_leaf_is_found_from_its_nonce_and_row() {
    let commit = Commit::new(vec![0, 1, 1], 2);
    let sealed = commit.with(|rows| seal(&key(), rows));
    for row in commit.proof(1).rows {
        assert_eq!(leaf(&row.nonce, &row.row), sealed.leaves[usize::try_from(row.place.index).unwrap()]);
    }
}

//! A run: keys in ascending order with their contents, in a file that is never changed, and a
//! filter that says which keys are not in it.
//!
//! The file is pages: first the filter's, then the entries'. The filter is a Bloom filter of
//! 64-byte blocks. A key's high bits are its block, so the blocks are in the order of the keys, a
//! filter is written while a merge goes along, and a block knows between which entries its keys
//! are: what passes the filter is looked for in one or two pages.

use super::entries::{Hashed, index_of};
use super::error::IndexError;
use super::files;
use super::manifest::RunName;
use super::page::{self, BYTES, Salt, USABLE, WORDS};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A key of two words and a content of two words.
const ENTRY_WORDS: usize = 4;
const ENTRIES_PER_PAGE: u64 = 127;
const BLOCK_WORDS: usize = 8;
/// Then follow, in the same page, the numbers of the entries at which each of them begins and the
/// last one ends, as 61 halves of words.
const BLOCKS_PER_PAGE: u64 = 60;
const STARTS_AT: usize = 480;
/// Pages that are read or written at a time where one follows the other.
const CHUNK_PAGES: usize = 16;
/// Below this many keys a filter may be generous; more than 99 of 100 absent keys are told from
/// present ones above it, 999 of 1000 below.
const LARGE: u64 = 1 << 24;

/// How many pages of what a run of so many keys has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    keys: u64,
    blocks: u64,
    filter_pages: u64,
    entry_pages: u64,
}

impl Shape {
    fn of(keys: u64) -> Self {
        let blocks = keys.div_ceil(if keys < LARGE { 32 } else { 48 });
        Self {
            keys,
            blocks,
            filter_pages: blocks.div_ceil(BLOCKS_PER_PAGE),
            entry_pages: keys.div_ceil(ENTRIES_PER_PAGE),
        }
    }

    fn bytes(self) -> u64 {
        (self.filter_pages + self.entry_pages) * BYTES as u64
    }

    fn block(self, key: u128) -> u64 {
        (((key >> 64) * u128::from(self.blocks)) >> 64) as u64
    }
}

/// Words with four bits set, as good as random. Two of them in two words of a block stand for a
/// key: a test is then two loads and no loop.
const PATTERNS: [u64; 1024] = {
    let mut patterns = [0_u64; 1024];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut nth = 0;
    while nth < patterns.len() {
        while patterns[nth].count_ones() < 4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            patterns[nth] |= 1 << (state >> 58);
        }
        nth += 1;
    }
    patterns
};

/// The bits that a key sets in its block: words, and the bits in each. The key's low bits say it,
/// which did not choose the block.
fn bits(key: u128) -> [(usize, u64); 2] {
    let low = u64::try_from(key & u128::from(u64::MAX)).expect("64 bits are left");
    let half = |bits: u64| (index_of(bits & 7), PATTERNS[index_of((bits >> 3) & 1023)]);
    [half(low), half(low >> 13)]
}

fn may_hold(block: &[u64; BLOCK_WORDS], key: u128) -> bool {
    let [(first, these), (second, those)] = bits(key);
    // No branch between the two: the first answer is not rare enough to be predicted.
    (these & !block[first]) | (those & !block[second]) == 0
}

/// Where a block begins within the words of its page.
fn block_words(block: u64) -> std::ops::Range<usize> {
    let at = index_of(block % BLOCKS_PER_PAGE) * BLOCK_WORDS;
    at..at + BLOCK_WORDS
}

fn start(page: &[u64], nth: usize) -> u64 {
    (page[STARTS_AT + nth / 2] >> (32 * (nth % 2))) & u64::from(u32::MAX)
}

/// A run that is complete.
pub(super) struct Run {
    pub(super) name: RunName,
    shape: Shape,
    path: PathBuf,
    file: File,
    salt: Salt,
    /// The filter's pages while they are in memory.
    filter: Option<Vec<u64>>,
}

/// Room to work in, and the page that was read last.
#[derive(Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    filter: Vec<u64>,
    entries: Vec<u64>,
    /// The run and the number of the page in `entries`.
    page: Option<(u64, u64)>,
}

impl Run {
    /// Opens a run and checks its length. Pages are checked when they are read.
    pub(super) fn open(folder: &Path, name: RunName, secret: &[u8; 16]) -> Result<Self, IndexError> {
        let path = folder.join(name.file());
        let file = File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                IndexError::damaged(&path, "the manifest names it, but it is gone".to_owned())
            }
            _ => IndexError::storage(&path, "opening", &error),
        })?;
        let shape = Shape::of(name.keys);
        let length = file.metadata().map_err(|error| IndexError::storage(&path, "reading", &error))?.len();
        if length != shape.bytes() {
            return Err(IndexError::damaged(
                &path,
                format!("it has {length} bytes instead of {}", shape.bytes()),
            ));
        }
        let salt = Salt::new(secret, name.number);
        Ok(Self { name, shape, path, file, salt, filter: None })
    }

    /// Compares the checksum of every page.
    pub(super) fn check(&self) -> Result<(), IndexError> {
        let (mut words, mut bytes) = (vec![0; WORDS], Vec::new());
        for page in 0..self.shape.filter_pages + self.shape.entry_pages {
            page::read(&self.file, &self.path, self.salt, page, &mut words, &mut bytes)?;
        }
        Ok(())
    }

    /// The bytes of the filter in memory.
    pub(super) fn filter_bytes(&self) -> u64 {
        self.shape.filter_pages * BYTES as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.shape.bytes()
    }

    pub(super) fn is_resident(&self) -> bool {
        self.filter.is_some()
    }

    pub(super) fn forget_filter(&mut self) {
        self.filter = None;
    }

    pub(super) fn load_filter(&mut self, scratch: &mut Scratch) -> Result<(), IndexError> {
        let mut filter = vec![0; index_of(self.shape.filter_pages) * WORDS];
        for (first, words) in (0..).step_by(CHUNK_PAGES).zip(filter.chunks_mut(CHUNK_PAGES * WORDS)) {
            page::read(&self.file, &self.path, self.salt, first, words, &mut scratch.bytes)?;
        }
        self.filter = Some(filter);
        Ok(())
    }

    /// Appends to `maybe` the places in `entries` of those that the run may hold: all that it does
    /// hold, and a few others.
    pub(super) fn filter(
        &self,
        entries: &[Hashed],
        scratch: &mut Scratch,
        maybe: &mut Vec<usize>,
    ) -> Result<(), IndexError> {
        match &self.filter {
            Some(filter) => {
                let may = |key: u128| {
                    let block = self.shape.block(key);
                    let page = index_of(block / BLOCKS_PER_PAGE) * WORDS;
                    let words = &filter[page..page + WORDS][block_words(block)];
                    may_hold(words.try_into().expect("a block has 8 words"), key)
                };
                maybe.extend(
                    entries.iter().enumerate().filter(|(_, entry)| may(entry.key)).map(|(place, _)| place),
                );
            }
            None => self.filter_from_file(entries, scratch, maybe)?,
        }
        Ok(())
    }

    /// As [`Self::filter`], where the filter has no room in memory: its pages are read in order,
    /// those without a key of ours left out.
    fn filter_from_file(
        &self,
        entries: &[Hashed],
        scratch: &mut Scratch,
        maybe: &mut Vec<usize>,
    ) -> Result<(), IndexError> {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_unstable_by_key(|place| entries[*place].key);
        let dense = entries.len() as u64 > self.shape.filter_pages / 4;
        let at_a_time = if dense { CHUNK_PAGES as u64 } else { 1 };
        let mut read = 0..0;
        for place in order {
            let key = entries[place].key;
            let block = self.shape.block(key);
            let page = block / BLOCKS_PER_PAGE;
            if !read.contains(&page) {
                read = page..(page + at_a_time).min(self.shape.filter_pages);
                scratch.filter.resize(index_of(read.end - read.start) * WORDS, 0);
                page::read(&self.file, &self.path, self.salt, page, &mut scratch.filter, &mut scratch.bytes)?;
            }
            let words = &scratch.filter[index_of(page - read.start) * WORDS..][block_words(block)];
            if may_hold(words.try_into().expect("a block has 8 words"), key) {
                maybe.push(place);
            }
        }
        Ok(())
    }

    /// The content that the key came with first, if it is in this run.
    pub(super) fn find(&self, key: u128, scratch: &mut Scratch) -> Result<Option<u128>, IndexError> {
        let block = self.shape.block(key);
        let (page, nth) = (block / BLOCKS_PER_PAGE, index_of(block % BLOCKS_PER_PAGE));
        let (from, until) = match &self.filter {
            Some(filter) => {
                let page = &filter[index_of(page) * WORDS..][..WORDS];
                (start(page, nth), start(page, nth + 1))
            }
            None => {
                scratch.filter.resize(WORDS, 0);
                page::read(&self.file, &self.path, self.salt, page, &mut scratch.filter, &mut scratch.bytes)?;
                (start(&scratch.filter, nth), start(&scratch.filter, nth + 1))
            }
        };
        if from > until || until > self.shape.keys {
            return Err(IndexError::damaged(
                &self.path,
                format!("block {block} of the filter has entries {from} to {until} of {}", self.shape.keys),
            ));
        }
        let mut at = from;
        while at < until {
            let page = at / ENTRIES_PER_PAGE;
            if scratch.page != Some((self.name.number, page)) {
                scratch.page = None;
                scratch.entries.resize(WORDS, 0);
                page::read(
                    &self.file,
                    &self.path,
                    self.salt,
                    self.shape.filter_pages + page,
                    &mut scratch.entries,
                    &mut scratch.bytes,
                )?;
                scratch.page = Some((self.name.number, page));
            }
            let end = until.min((page + 1) * ENTRIES_PER_PAGE);
            let entries = &scratch.entries[index_of(at % ENTRIES_PER_PAGE) * ENTRY_WORDS..]
                [..index_of(end - at) * ENTRY_WORDS];
            for entry in entries.chunks_exact(ENTRY_WORDS) {
                let entry = entry_of(entry);
                if entry.key >= key {
                    return Ok((entry.key == key).then_some(entry.content));
                }
            }
            at = end;
        }
        Ok(None)
    }

    /// Every entry, in order.
    pub(super) fn reader(&self) -> Result<Reader, IndexError> {
        let file =
            self.file.try_clone().map_err(|error| IndexError::storage(&self.path, "opening", &error))?;
        Ok(Reader {
            path: self.path.clone(),
            file,
            salt: self.salt,
            shape: self.shape,
            next: 0,
            words: Vec::new(),
            bytes: Vec::new(),
        })
    }
}

fn entry_of(words: &[u64]) -> Hashed {
    let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
    Hashed { key: wide(words[0], words[1]), content: wide(words[2], words[3]) }
}

fn words_of(entry: Hashed) -> [u64; ENTRY_WORDS] {
    let high = |wide: u128| (wide >> 64) as u64;
    let low = |wide: u128| u64::try_from(wide & u128::from(u64::MAX)).expect("64 bits are left");
    [high(entry.key), low(entry.key), high(entry.content), low(entry.content)]
}

/// Reads a run from its first entry to its last.
pub(super) struct Reader {
    path: PathBuf,
    file: File,
    salt: Salt,
    shape: Shape,
    next: u64,
    words: Vec<u64>,
    bytes: Vec<u8>,
}

impl Reader {
    pub(super) fn next(&mut self) -> Result<Option<Hashed>, IndexError> {
        if self.next == self.shape.keys {
            return Ok(None);
        }
        let page = self.next / ENTRIES_PER_PAGE;
        let within = index_of(self.next % ENTRIES_PER_PAGE);
        let in_chunk = index_of(page % CHUNK_PAGES as u64);
        if within == 0 && in_chunk == 0 {
            let pages = (self.shape.entry_pages - page).min(CHUNK_PAGES as u64);
            self.words.resize(index_of(pages) * WORDS, 0);
            page::read(
                &self.file,
                &self.path,
                self.salt,
                self.shape.filter_pages + page,
                &mut self.words,
                &mut self.bytes,
            )?;
        }
        self.next += 1;
        let at = in_chunk * WORDS + within * ENTRY_WORDS;
        Ok(Some(entry_of(&self.words[at..at + ENTRY_WORDS])))
    }
}

/// Writes a run from entries in ascending order, of which the number is known.
pub(super) struct Writer {
    name: RunName,
    shape: Shape,
    path: PathBuf,
    file: File,
    salt: Salt,
    written: u64,
    last: u128,
    entries: Pages,
    filter: Pages,
    /// The block that is being filled.
    block: u64,
}

/// Pages on their way to consecutive places of the file.
struct Pages {
    words: Box<[u64; USABLE]>,
    bytes: Vec<u8>,
    /// The number of the page in `words`.
    page: u64,
}

impl Pages {
    fn from(page: u64) -> Self {
        Self { words: Box::new([0; USABLE]), bytes: Vec::with_capacity(CHUNK_PAGES * BYTES), page }
    }

    fn end_page(&mut self, file: &File, path: &Path, salt: Salt) -> Result<(), IndexError> {
        page::seal(&self.words, salt, self.page, &mut self.bytes);
        self.words.fill(0);
        self.page += 1;
        if self.bytes.len() == CHUNK_PAGES * BYTES { self.flush(file, path) } else { Ok(()) }
    }

    fn flush(&mut self, file: &File, path: &Path) -> Result<(), IndexError> {
        let at = self.page * BYTES as u64 - self.bytes.len() as u64;
        file.write_all_at(&self.bytes, at).map_err(|error| IndexError::storage(path, "writing", &error))?;
        self.bytes.clear();
        Ok(())
    }
}

impl Writer {
    pub(super) fn create(folder: &Path, name: RunName, secret: &[u8; 16]) -> Result<Self, IndexError> {
        assert!(name.keys > 0 && u32::try_from(name.keys).is_ok(), "a run has keys, and fewer than 2^32");
        let path = folder.join(name.file());
        let new = files::unfinished(&path);
        let file = File::create(&new).map_err(|error| IndexError::storage(&new, "creating", &error))?;
        fail::fail_point!("index.file-created");
        let shape = Shape::of(name.keys);
        Ok(Self {
            name,
            shape,
            path,
            file,
            salt: Salt::new(secret, name.number),
            written: 0,
            last: 0,
            entries: Pages::from(shape.filter_pages),
            filter: Pages::from(0),
            block: 0,
        })
    }

    /// # Panics
    /// When the entries do not ascend: two runs that share a key were not made by this index.
    pub(super) fn push(&mut self, entry: Hashed) -> Result<(), IndexError> {
        assert!(entry.key > self.last, "the entries of a run ascend");
        self.last = entry.key;
        self.begin_blocks(self.shape.block(entry.key))?;
        let block = &mut self.filter.words[block_words(self.block)];
        for (word, pattern) in bits(entry.key) {
            block[word] |= pattern;
        }
        let at = index_of(self.written % ENTRIES_PER_PAGE) * ENTRY_WORDS;
        self.entries.words[at..at + ENTRY_WORDS].copy_from_slice(&words_of(entry));
        self.written += 1;
        if self.written.is_multiple_of(ENTRIES_PER_PAGE) {
            self.entries.end_page(&self.file, &self.path, self.salt)?;
        }
        Ok(())
    }

    /// The blocks up to `target` begin at the next entry; those before it are complete.
    fn begin_blocks(&mut self, target: u64) -> Result<(), IndexError> {
        while self.block < target {
            self.block += 1;
            let nth = index_of(self.block % BLOCKS_PER_PAGE);
            if nth == 0 {
                self.set_start(index_of(BLOCKS_PER_PAGE));
                self.filter.end_page(&self.file, &self.path, self.salt)?;
            }
            self.set_start(nth);
        }
        Ok(())
    }

    fn set_start(&mut self, nth: usize) {
        self.filter.words[STARTS_AT + nth / 2] |= self.written << (32 * (nth % 2));
    }

    /// Makes the file durable and gives it its name.
    pub(super) fn finish(mut self, folder: &Path, secret: &[u8; 16]) -> Result<Run, IndexError> {
        assert_eq!(self.written, self.shape.keys, "a run has as many keys as it was made for");
        if !self.written.is_multiple_of(ENTRIES_PER_PAGE) {
            self.entries.end_page(&self.file, &self.path, self.salt)?;
        }
        self.entries.flush(&self.file, &self.path)?;
        // The end of the last block closes its page, whether that is full or not.
        let blocks = self.shape.blocks;
        self.begin_blocks(blocks)?;
        if !blocks.is_multiple_of(BLOCKS_PER_PAGE) {
            self.filter.end_page(&self.file, &self.path, self.salt)?;
        }
        self.filter.flush(&self.file, &self.path)?;
        files::publish(&self.file, &self.path)?;
        Run::open(folder, self.name, secret)
    }
}

/// A new run made of several, a few entries at a time, so that no batch waits long for it.
pub(super) struct Merge {
    pub(super) inputs: Vec<u64>,
    pub(super) level: u32,
    heads: Vec<(u128, u128)>,
    readers: Vec<Reader>,
    writer: Writer,
}

impl Merge {
    pub(super) fn begin(
        folder: &Path,
        runs: &[&Run],
        name: RunName,
        secret: &[u8; 16],
    ) -> Result<Self, IndexError> {
        let mut merge = Self {
            inputs: runs.iter().map(|run| run.name.number).collect(),
            level: name.level,
            heads: Vec::new(),
            readers: runs.iter().map(|run| run.reader()).collect::<Result<_, _>>()?,
            writer: Writer::create(folder, name, secret)?,
        };
        for reader in &mut merge.readers {
            merge.heads.push(head(reader)?);
        }
        Ok(merge)
    }

    /// Goes on by `entries` at most. True when all are written.
    pub(super) fn advance(&mut self, entries: u64) -> Result<bool, IndexError> {
        for _ in 0..entries {
            let mut least = 0;
            for nth in 1..self.heads.len() {
                least = if self.heads[nth].0 < self.heads[least].0 { nth } else { least };
            }
            let (key, content) = self.heads[least];
            if key == u128::MAX {
                return Ok(true);
            }
            if key <= self.writer.last {
                return Err(IndexError::damaged(
                    &self.readers[least].path,
                    "it has a key that another run has too".to_owned(),
                ));
            }
            self.writer.push(Hashed { key, content })?;
            self.heads[least] = head(&mut self.readers[least])?;
        }
        Ok(self.heads.iter().all(|(key, _)| *key == u128::MAX))
    }

    pub(super) fn finish(self, folder: &Path, secret: &[u8; 16]) -> Result<Run, IndexError> {
        self.writer.finish(folder, secret)
    }
}

/// The next entry, or one that is larger than every key.
fn head(reader: &mut Reader) -> Result<(u128, u128), IndexError> {
    Ok(reader.next()?.map_or((u128::MAX, 0), |entry| (entry.key, entry.content)))
}

"""Audits a ledger from its files alone: docs/format.md, implemented a second time.

It shares no code with atcost and takes no word of it for granted. From the bytes in the ledger's folder it renders every log entry
again, recomputes every hash from the leaf of a row up to the signed head, and counts every record that the positions say was read.

    audit.py LEDGER          prints one JSON object; exit status 1 when something is wrong
    audit.py --serve         answers one JSON request per line: {"ledger": PATH}, optionally with
                             "expect": {STREAM: NEXT}   every offset in [0, NEXT) must be there exactly once; {"from": A, "next": B} for [A, B)
                             "vkey": TEXT               every log with commits has a head signed by this key, in the notation of signed notes

An answer: {"ok", "problems", "lost", "repeated", "shards": [{"shard", "size", "root", "rows", "usage", "rejected", "gaps", "commits",
"signed", "streams": {STREAM: {"next", "rows"}}}], "journal": {"size", "root", "entries", "signed"}}.

It deliberately repairs nothing, and stops at no finding: the first one is seldom the cause. Standard library and DuckDB only.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import sys
import uuid

import duckdb

ROWS, COMPACTION, LAYOUT, TRUNCATION = 1, 2, 3, 4
JOURNAL_SHARD = 2**32 - 1
LAYOUT_STREAM = "atcost/layout"
MOST_PROBLEMS = 50
# Rows that are in memory at once.
CHUNK = 200_000


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hmac256(key, *parts):
    return hmac.digest(key, b"".join(parts), "sha256")


class Problem(Exception):
    """Something that makes the rest of a table unreadable."""


class Report:
    def __init__(self):
        self.count = 0
        self.problems = []
        self.lost = 0
        self.repeated = 0

    def add(self, where, what):
        self.count += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(f"{where}: {what}")

    def check(self, holds, where, what):
        if not holds:
            self.add(where, what)


# Bytes, as docs/format.md writes them.


def u8(number):
    return number.to_bytes(1, "big")


def u32(number):
    return number.to_bytes(4, "big")


def u64(number):
    return number.to_bytes(8, "big")


def i64(number):
    return number.to_bytes(8, "big", signed=True)


def bytes_(value):
    return u32(len(value)) + value


def text(value):
    return bytes_(value.encode())


def option(value, write):
    return b"\0" if value is None else b"\1" + write(value)


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, length):
        if self.at + length > len(self.data):
            raise Problem(f"the batch record ends after {len(self.data)} bytes, too early")
        taken = self.data[self.at : self.at + length]
        self.at += length
        return taken

    def unsigned(self, length):
        return int.from_bytes(self.take(length), "big")

    def signed(self, length=8):
        return int.from_bytes(self.take(length), "big", signed=True)

    def text(self):
        try:
            return self.take(self.unsigned(4)).decode()
        except UnicodeDecodeError as error:
            raise Problem("a text of the batch record is not UTF-8") from error

    def option(self, read):
        present = self.unsigned(1)
        if present > 1:
            raise Problem(f"an option of the batch record starts with {present}")
        return read() if present else None


# Merkle trees, RFC 6962, section 2.1.

NO_LEAVES = sha256()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def mth(leaves):
    """The tree hash over leaf hashes: the left subtree holds the largest power of two below their number."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else NO_LEAVES
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node(mth(leaves[:split]), mth(leaves[split:]))


class Frontier:
    """The roots of the complete subtrees, largest first: all that is needed to append a leaf and to tell the root."""

    def __init__(self):
        self.size = 0
        self.subtrees = []

    def append(self, leaf):
        size = self.size
        while size & 1:
            leaf = node(self.subtrees.pop(), leaf)
            size >>= 1
        self.subtrees.append(leaf)
        self.size += 1

    def root(self):
        if not self.subtrees:
            return NO_LEAVES
        root = self.subtrees[-1]
        for subtree in reversed(self.subtrees[:-1]):
            root = node(subtree, root)
        return root


# Batch records and log entries.


class Record:
    def __init__(self, data):
        reader = Reader(data)
        format_ = reader.take(4)
        if format_ not in (b"rec1", b"rec2", b"rec3"):
            raise Problem("the batch record does not begin with rec1, rec2 or rec3")
        second, self.third = format_ != b"rec1", format_ == b"rec3"
        self.kind = reader.unsigned(1)
        if self.kind not in (ROWS, COMPACTION, LAYOUT) and (self.kind, second) != (TRUNCATION, True):
            raise Problem(f"the batch record is of the unknown kind {self.kind}")
        self.shard = reader.unsigned(4)
        self.version = reader.unsigned(8)
        self.at = reader.signed()
        self.previous = reader.take(32)
        self.epoch = reader.unsigned(4)
        self.shards = reader.unsigned(4)
        self.key = reader.take(8)
        self.removed = [(reader.text(), reader.take(32)) for _ in range(reader.unsigned(4))]
        self.added = [(reader.text(), reader.unsigned(8), reader.take(32), reader.unsigned(8)) for _ in range(reader.unsigned(4))]
        self.streams, self.last = [], {}
        for _ in range(reader.unsigned(4)):
            self.streams.append((reader.text(), reader.option(reader.signed), reader.signed(), reader.option(lambda: reader.take(16))))
            if second:
                last = reader.option(lambda: (reader.signed(), reader.option(lambda: reader.unsigned(4)), reader.take(32)))
                self.last |= {self.streams[-1][0]: last} if last else {}
        if second and not self.third and self.kind != TRUNCATION and not self.last:
            raise Problem("the batch record begins with rec2, and says nothing that rec1 cannot")
        self.usage = reader.unsigned(8)
        self.rejected = reader.unsigned(8)
        self.gaps = reader.unsigned(8)
        self.rows_root = reader.take(32)
        self.subjects = reader.unsigned(8)
        self.subjects_root = reader.take(32)
        self.checkpoint = reader.option(lambda: (reader.unsigned(8), reader.take(32)))
        self.meters = []
        if self.third:
            self.read_meters(reader)
        if reader.at != len(data):
            raise Problem(f"the batch record goes on for {len(data) - reader.at} bytes after its end")

    def read_meters(self, reader):
        for _ in range(reader.unsigned(4)):
            self.meters.append((reader.text(), reader.unsigned(8), reader.unsigned(8), reader.signed(16)))
        if not self.meters:
            raise Problem("the batch record begins with rec3, and says nothing that an earlier format cannot")
        names = [meter.encode() for meter, *_ in self.meters]
        if self.kind != ROWS or names != sorted(set(names)):
            raise Problem("the batch record is not of rows, or its meters are not in order, each once")
        if any(usage == 0 or corrections > usage or abs(value) >= 10**38 for _, usage, corrections, value in self.meters):
            raise Problem("the batch record says of a meter what no rows can be")
        if sum(usage for _, usage, *_ in self.meters) != self.usage:
            raise Problem("the meters of the batch record are not its usage")

    def rows(self):
        return self.usage + self.rejected + self.gaps


def render(record, data, size, root):
    """The log entry of a record: the only bytes it may have."""
    quoted = lambda value: json.dumps(value, ensure_ascii=False)
    base = lambda value: base64.b64encode(value).decode()
    milliseconds = record.at // 1000
    optimize = record.kind == COMPACTION
    engine = "atcost/0.1.0" if record.third else "atcost"
    lines = [
        f'{{"commitInfo":{{"timestamp":{milliseconds},"operation":"{"OPTIMIZE" if optimize else "WRITE"}",'
        f'"operationParameters":{{"mode":"Append"}},"engineInfo":"{engine}","record":"{base(data)}","size":"{size}","root":"{base(root)}"}}}}'
    ]
    for path, _ in record.removed:
        lines.append(f'{{"remove":{{"path":{quoted(path)},"deletionTimestamp":{milliseconds},"dataChange":false}}}}')
    for path, length, digest, rows in record.added:
        lines.append(
            f'{{"add":{{"path":{quoted(path)},"partitionValues":{{}},"size":{length},"modificationTime":0,'
            f'"dataChange":{"false" if optimize else "true"},"stats":"{{\\"numRecords\\":{rows}}}","tags":{{"sha256":"{digest.hex()}"}}}}}}'
        )
    for stream, _, to, _ in record.streams:
        lines.append(f'{{"txn":{{"appId":{quoted(stream)},"version":{to}}}}}')
    return ("\n".join(lines) + "\n").encode()


class File:
    """A Parquet file the log names, and the batches whose rows it holds."""

    def __init__(self, path, size, digest, rows, batches):
        self.path, self.size, self.digest, self.rows, self.batches = path, size, digest, rows, batches


PROPERTIES = {
    "delta.appendOnly": "true",
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 5200 weeks",
    "delta.deletedFileRetentionDuration": "interval 5200 weeks",
}


class Log:
    """A table's log, replayed entry by entry."""

    def __init__(self, report, folder, shard, key, key_id):
        # The journal's records name no key; its creation does.
        self.report, self.folder, self.shard, self.key, self.key_id = report, folder, shard, key, key_id
        self.name = os.path.basename(folder) if shard == JOURNAL_SHARD else f"shards/{shard}"
        self.records = []
        self.leaves = []
        self.roots = [NO_LEAVES]
        self.files = {}
        self.active = {}
        self.table = None
        self.checkpoints = []
        # What a checkpoint of a version must hold: its files and numbers.
        self.states = {}
        log = os.path.join(folder, "_delta_log")
        try:
            names = os.listdir(log)
        except OSError as error:
            report.add(self.name, f"the log cannot be listed: {error.strerror}")
            return
        versions = sorted(int(name[:20]) for name in names if re.fullmatch(r"[0-9]{20}\.json", name))
        self.checkpoints = sorted(int(name[:20]) for name in names if re.fullmatch(r"[0-9]{20}\.checkpoint\.parquet", name))
        if versions != list(range(len(versions))) or not versions:
            missing = next((index for index, version in enumerate(versions) if index != version), 0)
            report.add(self.name, f"log entry {missing} is missing")
            versions = versions[:missing]
        previous = None
        frontier = Frontier()
        for version in versions:
            with open(os.path.join(log, f"{version:020}.json"), "rb") as file:
                entry = file.read()
            where = f"{self.name} entry {version}"
            try:
                if version == 0:
                    self.creation(where, entry)
                else:
                    self.commit(where, version, entry, previous, frontier)
            except (Problem, KeyError, TypeError, AttributeError) as problem:
                # What follows hangs on this entry.
                report.add(where, str(problem) if isinstance(problem, Problem) else f"it is not an entry: {problem!r}")
                break
            previous = sha256(entry)
        self.check_checkpoints()

    def creation(self, where, entry):
        if not entry.strip():
            raise Problem("it is empty, as a power loss leaves it")
        try:
            actions = [json.loads(line) for line in entry.decode().splitlines() if line.strip()]
        except ValueError as error:
            raise Problem(f"it is not JSON, line by line: {error}") from error
        metadata = next((action["metaData"] for action in actions if "metaData" in action), None)
        if metadata is None:
            raise Problem("it creates no table")
        self.table = metadata["id"]
        self.states[0] = ({}, {})
        for name, value in PROPERTIES.items():
            found = metadata["configuration"].get(name)
            self.report.check(found == value, where, f"{name} is {found}, and must be {value}")
        self.report.check(
            "delta.setTransactionRetentionDuration" not in metadata["configuration"], where, "delta.setTransactionRetentionDuration is set"
        )
        info = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
        if "delta-rs" not in entry.decode():
            self.ours(where, entry, info, metadata)
        others = [next(iter(action)) for action in actions if next(iter(action)) not in ("protocol", "metaData", "commitInfo")]
        self.report.check(not others, where, f"it does more than create a table: {others}")

    def ours(self, where, entry, info, metadata):
        """An entry 0 that atcost rendered: every byte follows from the shard, the leaf key and the columns."""
        if info.get("creation") is None:
            raise Problem("it has no record of its creation")
        made = base64.b64decode(info["creation"], validate=True)
        wanted = b"cre1" + u32(self.shard) + self.key_id
        self.report.check(made == wanted, where, f"it was created as {made.hex()}, and must be {wanted.hex()}")
        compact = {"separators": (",", ":"), "sort_keys": True}
        schema = json.dumps(json.dumps(json.loads(metadata["schemaString"]), **compact))
        configuration = json.dumps({**PROPERTIES, "delta.checkpointInterval": "100"}, **compact)

        def rendered(name):
            return (
                '{"commitInfo":{"timestamp":0,"operation":"CREATE TABLE","operationParameters":{},"engineInfo":"atcost","creation":"'
                + base64.b64encode(wanted).decode()
                + '"}}\n{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}\n{"metaData":{"id":"'
                + name
                + '","format":{"provider":"parquet","options":{}},"schemaString":'
                + schema
                + ',"partitionColumns":[],"configuration":'
                + configuration
                + "}}\n"
            ).encode()

        digest = bytearray(sha256(rendered(""))[:16])
        digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80
        if rendered(str(uuid.UUID(bytes=bytes(digest)))) != entry:
            raise Problem("its bytes are not those that follow from its creation")
        fields = json.loads(metadata["schemaString"])["fields"]
        names, _ = columns(JOURNAL_COLUMNS if self.shard == JOURNAL_SHARD else COLUMNS)
        self.report.check([field["name"] for field in fields] == names, where, "its columns are others")

    def commit(self, where, version, entry, previous, frontier):
        check = self.report.check
        if not entry:
            raise Problem("it is empty, as a power loss leaves it")
        try:
            info = json.loads(entry.split(b"\n", 1)[0])["commitInfo"]
            data = base64.b64decode(info["record"], validate=True)
        except (ValueError, KeyError, TypeError) as error:
            raise Problem(f"its first line holds no batch record: {error!r}") from error
        record = Record(data)
        leaf = sha256(b"\0", data)
        frontier.append(leaf)
        rendered = render(record, data, version, frontier.root())
        if rendered != entry:
            at = next((index for index, (a, b) in enumerate(zip(rendered, entry)) if a != b), min(len(rendered), len(entry)))
            raise Problem(f"it is not what its record says: byte {at} differs ({entry[at:at + 40]!r}, and not {rendered[at:at + 40]!r})")
        check(record.version == version, where, f"its record is of version {record.version}")
        check(record.shard == self.shard, where, f"its record is of shard {record.shard}")
        check(record.previous == previous, where, "its record does not continue the entry before")
        check(not self.records or record.at >= self.records[-1].at, where, "it was made before the commit before it")
        check(record.key == self.key, where, f"its leaves are keyed with {record.key.hex()}, and the leaf key is {self.key.hex()}")
        check([stream for stream, *_ in record.streams] == sorted({stream for stream, *_ in record.streams}, key=str.encode), where, "its streams are not in order")
        if record.checkpoint is not None:
            check(record.checkpoint[0] < version, where, f"it names a checkpoint of the later version {record.checkpoint[0]}")
        self.records.append(record)
        self.leaves.append(leaf)
        self.roots.append(frontier.root())
        self.replay(where, record)
        if version in self.checkpoints:
            numbers = {stream: to for each in self.records for stream, _, to, _ in each.streams}
            self.states[version] = ({path: (file.size, file.digest.hex()) for path, file in self.active.items()}, numbers)

    def replay(self, where, record):
        check = self.report.check
        # The row of a journal's commit is none of the kinds that are counted.
        counted = 1 if self.shard == JOURNAL_SHARD else record.rows()
        batches = set()
        for path, digest in record.removed:
            file = self.active.pop(path, None)
            if file is None:
                self.report.add(where, f"it removes {path}, which is not in the table")
                continue
            check(file.digest == digest, where, f"it removes {path} with another SHA-256 than it was added with")
            batches |= file.batches
        if record.kind == ROWS:
            check(not record.removed, where, "it adds rows and removes a file")
            batches = {record.version}
            check(counted == 0 or len(record.added) == 1, where, f"its rows are in {len(record.added)} files")
            check(counted > 0 or not record.added, where, "it has no rows, but a file")
        elif record.kind == COMPACTION:
            check(record.removed and record.added and not record.streams, where, "a compaction removes and adds files, and moves no stream")
            check(record.subjects == 0 and record.subjects_root == NO_LEAVES, where, "a compaction has no second tree")
        elif record.kind == TRUNCATION:
            check(not record.removed and not record.added and record.rows() == 0, where, "a truncation has rows")
            check(record.rows_root == NO_LEAVES and record.subjects == 0 and record.subjects_root == NO_LEAVES, where, "a truncation has a tree")
            back = [start is not None and to < start for _, start, to, _ in record.streams]
            check(back == [True], where, "a truncation takes one stream back, and nothing else")
        else:
            check(not record.removed and not record.added and record.rows() == 0, where, "a change of the layout has rows")
            check(record.rows_root == NO_LEAVES and record.subjects == 0 and record.subjects_root == NO_LEAVES, where, "a change of the layout has a tree")
            check([(stream, to) for stream, _, to, _ in record.streams] == [(LAYOUT_STREAM, record.epoch)], where, "a change of the layout names its epoch")
        rows = sum(rows for *_, rows in record.added)
        check(rows == counted, where, f"its files have {rows} rows, its counts say {counted}")
        prefix = "compacted" if record.kind == COMPACTION else "rows"
        for path, size, digest, rows in record.added:
            check(re.fullmatch(rf"{prefix}-{record.version:020}-[0-9a-zA-Z-]+\.parquet", path), where, f"a file of its is named {path}")
            check(path not in self.files, where, f"it adds {path}, which was added before")
            self.files[path] = self.active[path] = File(path, size, digest, rows, batches)

    def check_checkpoints(self):
        """Derived, and for other readers; but whoever reads one must find what the log says."""
        named = {record.checkpoint for record in self.records if record.checkpoint}
        for version, digest in sorted(named):
            where = f"{self.name} checkpoint {version}"
            # It may be removed at any time.
            if version in self.checkpoints:
                found = hash_file(os.path.join(self.folder, "_delta_log", f"{version:020}.checkpoint.parquet"))[1]
                self.report.check(found == digest, where, "its SHA-256 is not the one in the log")
        # One that no record names may be half written by who crashed.
        for version in {version for version, _ in named} & set(self.states) & set(self.checkpoints):
            where = f"{self.name} checkpoint {version}"
            path = os.path.join(self.folder, "_delta_log", f"{version:020}.checkpoint.parquet")
            try:
                relation = DUCKDB.read_parquet(path)
                adds = relation.filter('"add".path IS NOT NULL').project('"add".path, "add".size, "add".tags[\'sha256\']').fetchall()
                numbers = relation.filter("txn.appId IS NOT NULL").project("txn.appId, txn.version").fetchall()
            except duckdb.Error as error:
                self.report.add(where, f"it cannot be read: {error}")
                continue
            unwrapped = lambda value: value[0] if isinstance(value, list) else value
            files, txns = self.states[version]
            self.report.check({path: (size, unwrapped(tag)) for path, size, tag in adds} == files, where, "its files are not those of the log")
            self.report.check(dict(numbers) == txns, where, "its numbers are not those of the log")

    def check_files(self):
        """Compares every file with its digest; yields those in the table that may be read."""
        for path, file in self.files.items():
            where = f"{self.name} {path}"
            try:
                size, digest = hash_file(os.path.join(self.folder, path))
            except OSError as error:
                self.report.add(where, f"it cannot be read: {error.strerror}")
                continue
            if (size, digest) != (file.size, file.digest):
                self.report.add(where, f"its SHA-256 is {digest.hex()} over {size} bytes, the log says {file.digest.hex()} over {file.size}")
            elif path in self.active:
                yield file


def hash_file(path):
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        return file.tell(), digest


# Rows.

DUCKDB = duckdb.connect(":memory:", config={"threads": 1})
DUCKDB.execute("SET TimeZone = 'UTC'")

COLUMNS = """
    batch BIGINT, row INTEGER, kind VARCHAR, origin VARCHAR, origin_name VARCHAR, partition INTEGER, offset BIGINT,
    produced_at TIMESTAMP WITH TIME ZONE, received_at TIMESTAMP WITH TIME ZONE, source VARCHAR, id VARCHAR, type VARCHAR, subject VARCHAR,
    time TIMESTAMP WITH TIME ZONE, value DECIMAL(28,9), dimensions VARCHAR, provider VARCHAR, location VARCHAR, resource VARCHAR,
    producer_id VARCHAR, producer_epoch BIGINT, producer_seq BIGINT, correction_action VARCHAR, correction_source VARCHAR,
    correction_id VARCHAR, correction_reason VARCHAR, content_digest BLOB, reason VARCHAR, detail VARCHAR, raw_key BLOB,
    raw_headers BLOB, raw_value BLOB, gap_until BIGINT"""
JOURNAL_COLUMNS = "entry BIGINT, kind VARCHAR, recorded_at TIMESTAMP WITH TIME ZONE, digest VARCHAR, note VARCHAR, body BLOB"


def columns(declaration):
    pairs = re.findall(r"(\w+) ((?:TIMESTAMP WITH TIME ZONE)|(?:DECIMAL\(28,9\))|\w+)", declaration)
    return [name for name, _ in pairs], [kind for _, kind in pairs]


def select(declaration):
    """Instants as microseconds and decimals as whole numbers of 10^-9: nothing passes through a float."""
    exact = {"TIMESTAMP WITH TIME ZONE": 'epoch_us("{}")', "DECIMAL(28,9)": '("{}" * 1000000000::DECIMAL(10,0))::HUGEINT'}
    names, kinds = columns(declaration)
    return ", ".join(exact.get(kind, '"{}"').format(name) for name, kind in zip(names, kinds))


SELECT, JOURNAL_SELECT = select(COLUMNS), select(JOURNAL_COLUMNS)


def read_rows(report, log, files, declaration, selection, order):
    """The rows of `files`, each followed by the name of its file, in `order`."""
    paths = [os.path.join(log.folder, file.path) for file in files]
    try:
        relation = DUCKDB.read_parquet(paths, filename=True)
        names, kinds = columns(declaration)
        if (relation.columns, [str(kind) for kind in relation.types]) != (names + ["filename"], kinds + ["VARCHAR"]):
            report.add(log.name, f"the columns of {files[0].path} are {list(zip(relation.columns, relation.types))}")
            return []
        rows = relation.order(order).project(f"{selection}, filename").fetchall()
    except duckdb.Error as error:
        report.add(log.name, f"rows cannot be read: {error}")
        return []
    counts = dict.fromkeys(paths, 0)
    for row in rows:
        counts[row[-1]] += 1
    for path, file in zip(paths, files):
        report.check(counts[path] == file.rows, f"{log.name} {file.path}", f"it has {counts[path]} rows, the log says {file.rows}")
    return rows


def unique(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands in it twice")
    return members


def map_(value):
    members = json.loads(value, object_pairs_hook=unique)
    pairs = [(name.encode(), member.encode()) for name, member in members.items()]
    if pairs != sorted(pairs):
        raise ValueError("its names are not in byte order")
    return u32(len(pairs)) + b"".join(bytes_(name) + bytes_(member) for name, member in pairs)


KINDS = {"usage": 1, "rejected": 2, "gap": 3}
ACTIONS = {"void": b"\1", "replace": b"\2"}
# Columns, by the kinds of row that may have a value in them; the first 9 belong to every row.
ONLY_USAGE = range(9, 27)
ONLY_REJECTED = (27, 29, 30, 31)
DETAIL, GAP_UNTIL = 28, 32


def content(row):
    """The digest of what a row says, and whether every other column is empty."""
    kind = row[2]
    if kind == "usage":
        (source, id_, type_, subject, time, value, dimensions, provider, location, resource, producer, epoch, seq, action, target_source, target_id, why) = row[9:26]
        parts = [b"use1", text(source), text(id_), text(type_), text(subject), i64(time), value.to_bytes(16, "big", signed=True), map_(dimensions)]
        parts += [option(provider, text), option(location, text), option(resource, map_)]
        parts.append(b"\0" if producer is None else b"\1" + text(producer) + i64(epoch) + i64(seq))
        parts.append(b"\0" if action is None else b"\1" + ACTIONS[action] + text(target_source) + text(target_id) + text(why))
        bare = (producer is None) == (epoch is None) == (seq is None) and (action is None) == (target_source is None) == (target_id is None) == (why is None)
        return sha256(*parts), bare and all(row[column] is None for column in (*ONLY_REJECTED, DETAIL, GAP_UNTIL))
    empty = all(row[column] is None for column in ONLY_USAGE)
    if kind == "rejected":
        reason, detail, key, headers, value = row[27:32]
        digest = sha256(b"rej1", text(reason), text(detail), option(key, bytes_), headers, option(value, bytes_))
        return digest, empty and row[GAP_UNTIL] is None
    digest = sha256(b"gap1", i64(row[GAP_UNTIL]), text(row[DETAIL]))
    return digest, empty and all(row[column] is None for column in ONLY_REJECTED)


class Batch:
    """What the rows of one batch turned out to be, wherever they lie now."""

    def __init__(self, leaf_key, shard, version):
        where = u32(shard) + u64(version)
        self.key = hmac256(leaf_key, b"atcost nonces 1", where)
        self.where = where
        self.leaves = []
        self.counts = [0, 0, 0]
        self.groups = {}
        # meter -> [rows, corrections, sum of values in 10^-9]
        self.meters = {}
        # stream -> [(offset, end)] in ledger order
        self.streams = {}


class Rows:
    """The rows of a shard, hashed and counted."""

    def __init__(self, report, log, leaf_key):
        self.report, self.log, self.leaf_key = report, log, leaf_key
        self.batches = {}
        self.subject_keys = {None: hmac256(leaf_key, b"atcost no subject 1")}
        self.stream_digests = {}
        chunk, size = [], 0
        for file in log.check_files():
            if chunk and size + file.rows > CHUNK:
                self.read(chunk)
                chunk, size = [], 0
            chunk.append(file)
            size += file.rows
        if chunk:
            self.read(chunk)
        for version, batch in self.batches.items():
            self.check_batch(version, batch)
        for record in log.records:
            where = f"{log.name} entry {record.version}"
            if record.kind == ROWS and record.version not in self.batches and record.rows():
                report.add(where, f"none of its {record.rows()} rows is in the table")
            elif record.kind == ROWS and not record.rows():
                report.check(record.rows_root == NO_LEAVES and (record.subjects, record.subjects_root) == (0, NO_LEAVES), where, "it has no rows, but a tree")
            elif record.kind == COMPACTION:
                self.check_compaction(where, record)

    def read(self, files):
        allowed = {os.path.join(self.log.folder, file.path): file.batches for file in files}
        for row in read_rows(self.report, self.log, files, COLUMNS, SELECT, "batch, row"):
            where = f"{self.log.name} row {row[0]}/{row[1]}"
            try:
                self.add(where, row)
                self.report.check(row[0] in allowed[row[-1]], where, f"it is in {os.path.basename(row[-1])}, which does not hold that batch")
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
                self.report.add(where, f"it is not a row: {error!r}")

    def add(self, where, row):
        version, index, kind, origin, origin_name, partition, offset, produced_at, received_at = row[:9]
        batch = self.batches.get(version)
        if batch is None:
            batch = self.batches[version] = Batch(self.leaf_key, self.log.shard, version)
        if index != len(batch.leaves):
            self.report.add(where, f"row {len(batch.leaves)} of the batch is missing, or this one is there twice")
        digest, clean = content(row)
        if not clean:
            self.report.add(where, "a column that its kind does not have is filled, or a part of an option is missing")
        if kind == "usage" and row[26] != digest:
            self.report.add(where, "its content_digest is not that of its content")
        name = (origin, partition, origin_name)
        stream = self.stream_digests.get(name)
        if stream is None:
            stream = self.stream_digests[name] = sha256(b"str1", text(origin), u32(partition), text(origin_name))
        number = KINDS[kind]
        produced = b"\0" * 9 if produced_at is None else b"\1" + i64(produced_at)
        data = b"row2" + u8(number) + stream + i64(offset) + produced + i64(received_at) + digest
        pair = sha256(batch.key, u64(index // 2))
        leaf = sha256(b"\0", pair[16 * (index % 2) :][:16], data)
        batch.leaves.append(leaf)
        batch.counts[number - 1] += 1
        batch.groups.setdefault(row[12], []).append(leaf)
        if kind == "usage":
            sums = batch.meters.setdefault(row[11], [0, 0, 0])
            for place, more in enumerate((1, row[22] is not None, row[14])):
                sums[place] += more
        end = row[GAP_UNTIL] if kind == "gap" else offset + 1
        if end <= offset:
            self.report.add(where, f"the gap at {offset} ends at {end}")
        batch.streams.setdefault(f"{origin}/{partition}", []).append((offset, end))

    def check_batch(self, version, batch):
        log, check = self.log, self.report.check
        where = f"{log.name} entry {version}"
        if not 1 <= version <= len(log.records) or log.records[version - 1].kind != ROWS:
            self.report.add(where, f"{len(batch.leaves)} rows say they are of this commit, which commits no rows")
            return
        record = log.records[version - 1]
        counts = (record.usage, record.rejected, record.gaps)
        check(tuple(batch.counts) == counts, where, f"its counts are {counts}, its rows {tuple(batch.counts)} (usage, rejected, gaps)")
        meters = sorted(((meter, *sums) for meter, sums in batch.meters.items()), key=lambda each: each[0].encode())
        # An earlier format says nothing of them.
        check(not record.third or record.meters == meters, where, f"its meters are {record.meters}, its rows say {meters}")
        check(mth(batch.leaves) == record.rows_root, where, "its rows root is not that of its rows")
        groups = []
        for subject, leaves in batch.groups.items():
            key = self.subject_keys.get(subject)
            if key is None:
                key = self.subject_keys[subject] = hmac256(self.leaf_key, b"atcost subject 1", subject.encode())
            label = hmac256(key, batch.where)
            groups.append((label, sha256(b"\0", b"sub1", label, sha256(*leaves))))
        groups.sort()
        check(record.subjects == len(groups), where, f"it says {record.subjects} subjects, its rows have {len(groups)}")
        check(mth([leaf for _, leaf in groups]) == record.subjects_root, where, "its subjects root is not that of its rows")
        moved = {stream: (start, to) for stream, start, to, _ in record.streams}
        for stream, spans in batch.streams.items():
            if stream not in moved:
                self.report.add(where, f"it has rows of {stream}, which it does not move")
                continue
            start, to = moved[stream]
            reached = spans[0][0] if start is None else start
            for offset, end in spans:
                check(reached <= offset and end <= to, where, f"{stream}: offset {offset} is not in [{reached}, {to})")
                reached = max(reached, end)

    def check_compaction(self, where, record):
        files = [self.log.files[path] for path, _ in record.removed if path in self.log.files]
        batches = [self.batches[version] for version in sorted(set().union(*(file.batches for file in files))) if version in self.batches]
        leaves = [leaf for batch in batches for leaf in batch.leaves]
        counts = tuple(sum(batch.counts[index] for batch in batches) for index in range(3))
        self.report.check(counts == (record.usage, record.rejected, record.gaps), where, "its counts are not those of the rows it copied")
        self.report.check(mth(leaves) == record.rows_root, where, "its rows root is not that of the rows it copied")


# Positions, over all shards.


def check_positions(report, shards):
    """Every stream is read once from its first offset to its last, whichever shards read it, and goes back only where a truncation
    was accepted; returns its spans of offsets, in order, for each run between two such."""
    moves, identities, spans = {}, {}, {}
    for log, rows in shards:
        reached = {}
        for record in log.records:
            for stream, start, to, identity in record.streams:
                if stream == LAYOUT_STREAM:
                    continue
                where = f"{log.name} entry {record.version}"
                if record.kind != TRUNCATION:
                    report.check(start is None or start <= to, where, f"{stream} goes back, from {start} to {to}")
                    report.check(start is not None or stream not in reached, where, f"{stream} was read before, and it says never")
                    report.check(reached.get(stream, to) <= to, where, f"{stream} was read up to {reached.get(stream)}, and goes on to {to}")
                last = record.last.get(stream)
                report.check(last is None or last[0] < to, where, f"{stream} was read up to {to}, and its last record is {last and last[0]}")
                reached[stream] = to
                of_shard = moves.setdefault(stream, {}).setdefault(record.epoch, {}).setdefault(log.name, [])
                of_shard.append((record.version, record.kind == TRUNCATION, start, to))
                if identity is not None:
                    report.check(identities.setdefault(stream, identity) == identity, where, f"{stream} is another topic of the same name")
    runs = {}
    for stream, layouts in moves.items():
        position, run = None, 0
        for _, shards_ in sorted(layouts.items()):
            # Under one layout one shard reads a stream; others only take back what they knew of it.
            readers = [name for name, moved in shards_.items() if any(not back for _, back, _, _ in moved)]
            report.check(len(readers) <= 1, stream, f"{sorted(readers)} read it under one layout")
            starting = [name for name, moved in sorted(shards_.items()) if moved[0][2] == position]
            name = (readers or starting or sorted(shards_))[0]
            for version, back, start, to in shards_[name]:
                report.check(start == position, f"{name} entry {version}", f"{stream} is read from {start}, and its position is {position}")
                run += back
                runs[stream, name, version] = run
                position = to
    for log, rows in shards:
        for version, batch in rows.batches.items():
            for stream, found in batch.streams.items():
                spans.setdefault(stream, {}).setdefault(runs.get((stream, log.name, version), 0), []).extend(found)
    for stream, of_runs in spans.items():
        for found in of_runs.values():
            found.sort()
        report.check(stream in moves, stream, "it has rows, and no position")
    return spans


def count(report, spans, stream, start, end):
    """Counts what is missing from, and what stands twice in, the offsets [start, end) of a stream."""
    lost, repeated, reached = 0, 0, start
    for offset, until in spans:
        if offset > reached:
            lost += min(offset, end) - min(reached, end)
        repeated += max(0, min(until, reached) - offset)
        reached = max(reached, until)
    lost += max(0, end - reached)
    report.lost += lost
    report.check(lost == 0, stream, f"{lost} offsets of [{start}, {end}) have no row")
    report.check(reached <= max(end, start), stream, f"there are rows up to {reached}, and only {end} were expected")
    return repeated


def check_layout(report, logs):
    """An epoch has one number of shards, and no writer knew less than the log it wrote to."""
    counts = {}
    for log in logs:
        epoch = None
        for record in log.records:
            where = f"{log.name} entry {record.version}"
            report.check(counts.setdefault(record.epoch, record.shards) == record.shards, where, f"epoch {record.epoch} has {record.shards} shards, elsewhere {counts[record.epoch]}")
            report.check(epoch is None or epoch <= record.epoch, where, f"its writer knew the layout of epoch {record.epoch}, after {epoch}")
            report.check(record.kind != ROWS or log.shard < record.shards, where, f"there are {record.shards} shards, and this is shard {log.shard}")
            if record.kind == LAYOUT:
                report.check(epoch is None or epoch < record.epoch, where, f"it changes the layout to epoch {record.epoch}, which is not new")
            epoch = record.epoch


# Signed heads: Ed25519 (RFC 8032), C2SP signed notes, checkpoints and tiles.

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    return point(P - x if x & 1 != sign else x, y)


def point(x, y):
    return x, y, 1, x * y % P


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, p):
    result = point(0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, p)
        p = add(p, p)
        scalar >>= 1
    return result


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519(public, message, signature):
    key, commitment = decompress(public), decompress(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    left, right = multiply(scalar, BASE), add(commitment, multiply(challenge, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def verifier(vkey):
    """A verifier key, NAME+HASH+BASE64: its name, its id and the public key."""
    name, hash_, key = vkey.strip().split("+", 2)
    key = base64.b64decode(key, validate=True)
    if len(key) != 33 or key[0] != 1 or sha256(name.encode(), b"\n", key)[:4].hex() != hash_:
        raise ValueError("it is not an Ed25519 verifier key")
    return name, bytes.fromhex(hash_), key[1:]


def check_head(report, log, vkey):
    """The signed head and its tiles; returns the size it signs, or none where there is no head."""
    where = f"{log.name} log/checkpoint"
    folder = os.path.join(log.folder, "log")
    try:
        with open(os.path.join(folder, "checkpoint"), "rb") as file:
            note = file.read()
    except FileNotFoundError:
        report.check(vkey is None, where, "it is missing")
        return None
    try:
        body, signatures = note.decode().rsplit("\n\n", 1)
        origin, size, root = body.split("\n")
        if not re.fullmatch("0|[1-9][0-9]*", size):
            raise ValueError("its size is not a number")
        size, root = int(size), base64.b64decode(root, validate=True)
        signed = {}
        for line in signatures.removesuffix("\n").split("\n"):
            dash, name, value = line.split(" ")
            value = base64.b64decode(value, validate=True)
            if dash != "\u2014" or len(value) != 68:
                raise ValueError("a signature line is not one of Ed25519")
            signed[name, value[:4]] = value[4:]
        report.check(origin == f"atcost/{log.table}", where, f"its origin is {origin}, and the table's id {log.table}")
        if size < len(log.roots):
            report.check(log.roots[size] == root, where, f"the root of size {size} is not the one of the log")
        else:
            report.add(where, f"it signs {size} commits, and there are {len(log.records)}")
        if vkey is not None:
            name, id_, public = verifier(vkey)
            signature = signed.get((name, id_))
            valid = signature is not None and ed25519(public, body.encode() + b"\n", signature)
            report.check(valid, where, f"it is not signed by {name}")
    except (ValueError, binascii.Error) as error:
        report.add(where, f"it is not a signed head: {error}")
        return None
    check_tiles(report, log, os.path.join(folder, "tile"), min(size, len(log.leaves)))
    return size


def tile_path(level, index, width):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join([str(level), *groups]) + (f".p/{width}" if width < 256 else "")


def check_tiles(report, log, folder, size):
    """Every tile that the signed head needs is there, and every tile that is there is right."""
    expected, required = {}, set()
    level, hashes, signed = 0, log.leaves, size
    while hashes:
        for index in range((len(hashes) + 255) // 256):
            tile = hashes[256 * index : 256 * index + 256]
            for width in range(1, len(tile) + 1):
                expected[tile_path(level, index, width)] = (tile, width)
            width = min(256, signed - 256 * index)
            if width > 0:
                required.add((tile_path(level, index, width), tile_path(level, index, 256)))
        hashes = [mth(hashes[at : at + 256]) for at in range(0, len(hashes) - 255, 256)]
        level, signed = level + 1, signed // 256
    found = set()
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.relpath(os.path.join(root, name), folder)
            if path not in expected:
                # The signer writes beside a tile and renames.
                report.check(not re.fullmatch(r"[0-9x/]+(\.p/[0-9]+)?", path), f"{log.name} tile {path}", "the log has no such tile")
                continue
            tile, width = expected[path]
            with open(os.path.join(root, name), "rb") as file:
                report.check(file.read() == b"".join(tile[:width]), f"{log.name} tile {path}", "its hashes are not those of the log")
            found.add(path)
    for path, whole in required:
        report.check(path in found or whole in found, f"{log.name} tile {path}", "it is missing")


# The journal.


def check_journal(report, log):
    rows = read_rows(report, log, files, JOURNAL_COLUMNS, JOURNAL_SELECT, "entry") if (files := list(log.check_files())) else []
    streams = set()
    for index, record in enumerate(log.records):
        where = f"{log.name} entry {record.version}"
        report.check(record.kind == ROWS and (record.epoch, record.shards) == (0, 1), where, "a journal has one kind of commit, and one shard")
        report.check(record.rows() == 0, where, "a commit of the journal has rows of a shard")
        report.check(record.subjects == 0 and record.subjects_root == NO_LEAVES, where, "a journal has no second tree")
        moved = [(start, to) for _, start, to, _ in record.streams]
        report.check(moved == [(index or None, index + 1)], where, f"it moves the journal {moved}")
        streams.update(stream for stream, *_ in record.streams)
    report.check(len(streams) <= 1, log.name, f"it has the streams {sorted(streams)}")
    report.check([row[0] for row in rows] == list(range(len(log.records))), log.name, f"its entries are {[row[0] for row in rows]}")
    for (entry, kind, recorded_at, digest, note, body, _), record in zip(rows, log.records):
        where = f"{log.name} entry {record.version}"
        try:
            leaf = sha256(b"\0ent1", i64(entry), text(kind), i64(recorded_at), bytes.fromhex(digest), option(note, text), bytes_(body))
            report.check(leaf == record.rows_root, where, "its rows root is not that of its row")
        except (ValueError, TypeError) as error:
            report.add(where, f"it is not an entry: {error!r}")
    return len(rows)


# The whole ledger.


def read_leaf_key(report, ledger):
    try:
        with open(os.path.join(ledger, "leaf.key"), "rb") as file:
            line = file.read()
    except OSError as error:
        report.add("leaf.key", f"it cannot be read: {error.strerror}")
        return bytes(32)
    if not re.fullmatch(rb"[0-9a-f]{64}\n", line):
        report.add("leaf.key", "it is not 64 lower-case hexadecimal digits and a line feed")
        return bytes(32)
    return bytes.fromhex(line.decode())


def audit(ledger, expect=None, vkey=None):
    report = Report()
    leaf_key = read_leaf_key(report, ledger)
    key_id = sha256(b"atcost leaf key 1", leaf_key)[:8]
    folder = os.path.join(ledger, "shards")
    numbers = sorted(int(name) for name in os.listdir(folder) if re.fullmatch("0|[1-9][0-9]*", name)) if os.path.isdir(folder) else []
    report.check(numbers, "shards", "there are none")
    shards = []
    for number in numbers:
        log = Log(report, os.path.join(folder, str(number)), number, key_id, key_id)
        shards.append((log, Rows(report, log, leaf_key)))
    spans = check_positions(report, shards)
    check_layout(report, [log for log, _ in shards])
    for stream, found in spans.items():
        repeated = sum(count(Report(), run, stream, run[0][0], run[-1][1]) for run in found.values())
        report.repeated += repeated
        report.check(repeated == 0, stream, f"{repeated} offsets are in the ledger twice")
    for stream, wanted in (expect or {}).items():
        start, end = (wanted["from"], wanted["next"]) if isinstance(wanted, dict) else (0, wanted)
        count(report, sorted(span for run in spans.get(stream, {}).values() for span in run), stream, start, end)
    journal = Log(report, os.path.join(ledger, "journal"), JOURNAL_SHARD, bytes(8), key_id)
    entries = check_journal(report, journal)
    signed_entries = check_head(report, journal, vkey if journal.records else None)
    described = []
    for log, rows in shards:
        counts = [sum(batch.counts[index] for batch in rows.batches.values()) for index in range(3)]
        streams = {stream: {"next": to, "rows": 0} for record in log.records for stream, _, to, _ in record.streams if stream != LAYOUT_STREAM}
        for batch in rows.batches.values():
            for stream, found in batch.streams.items():
                streams.setdefault(stream, {"next": None, "rows": 0})["rows"] += len(found)
        described.append(
            {
                "shard": log.shard,
                "size": len(log.records),
                "root": log.roots[-1].hex(),
                "rows": sum(counts),
                "usage": counts[0],
                "rejected": counts[1],
                "gaps": counts[2],
                "commits": len(log.records),
                "signed": check_head(report, log, vkey if log.records else None),
                "streams": streams,
            }
        )
    return {
        "ok": report.count == 0,
        "problems": report.problems,
        "lost": report.lost,
        "repeated": report.repeated,
        "shards": described,
        "journal": {"size": len(journal.records), "root": journal.roots[-1].hex(), "entries": entries, "signed": signed_entries},
    }


def serve():
    for line in sys.stdin:
        try:
            request = json.loads(line)
            answer = audit(request["ledger"], request.get("expect"), request.get("vkey"))
        except Exception as error:  # Whatever a damaged ledger provokes is an answer, and the next request another ledger.
            answer = {"ok": False, "problems": [f"the audit ended with {error!r}"], "lost": 0, "repeated": 0, "shards": [], "journal": None}
        print(json.dumps(answer), flush=True)


def main():
    if sys.argv[1:] == ["--serve"]:
        serve()
    elif len(sys.argv) == 2:
        answer = audit(sys.argv[1])
        print(json.dumps(answer, indent=1))
        sys.exit(not answer["ok"])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()

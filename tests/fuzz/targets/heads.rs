//! The texts that are signed: batch records, log entries, and signed heads. One text for one
//! meaning: what is read is written back as the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proof::record::BatchRecord;
use signed_note::Note;
use tlog_tiles::Checkpoint;

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((0, bytes)) => {
            if let Ok(record) = BatchRecord::decode(bytes) {
                assert_eq!(record.encode(), bytes);
            }
        }
        Some((1, entry)) => {
            if let Ok((record, head)) = BatchRecord::from_entry(entry) {
                assert_eq!(record.render(&head).as_bytes(), entry);
                assert_eq!(BatchRecord::decode(&record.encode()), Ok(record));
            }
        }
        Some((_, note)) => {
            if let Ok(note) = Note::from_bytes(note)
                && let Ok(head) = Checkpoint::from_bytes(note.text())
            {
                assert_eq!(head.to_bytes(), note.text());
            }
        }
        None => {}
    }
});

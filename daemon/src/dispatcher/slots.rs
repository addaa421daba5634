//! Who was running when the daemon died: one slot for each executor thread in a small file of fixed size.
//!
//! The file lies in the runtime directory, which is memory and survives a restart of the service but no reboot. A slot
//! costs one write when a run starts and one when it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::ids::Id;

/// An id and a line feed.
const SLOT_BYTES: usize = 27;
const FREE: &[u8; SLOT_BYTES] = b"--------------------------\n";

/// The slots of this process.
#[derive(Debug)]
pub struct Slots {
    file: File,
}

impl Slots {
    /// Reads what the process before left, then clears it. `count` is the number of executor threads.
    pub fn open(path: &Path, count: usize) -> io::Result<(Slots, Vec<Id>)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = String::new();
        let limit = u64::try_from(SLOT_BYTES * 4_096).expect("a small number");
        // Bytes that are no text are no evidence.
        if file.by_ref().take(limit).read_to_string(&mut text).is_err() {
            text.clear();
        }
        let running = text.lines().filter_map(|line| line.parse().ok()).collect();
        file.set_len(0)?;
        file.write_all_at(&FREE.repeat(count), 0)?;
        Ok((Slots { file }, running))
    }

    /// Notes that executor thread `slot` is about to run this row.
    pub fn occupy(&self, slot: usize, id: Id) -> io::Result<()> {
        self.write(slot, format!("{id}\n").as_bytes())
    }

    /// The run has returned.
    pub fn free(&self, slot: usize) -> io::Result<()> {
        self.write(slot, FREE)
    }

    fn write(&self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        let offset = u64::try_from(slot * SLOT_BYTES).expect("there are few slots");
        self.file.write_all_at(bytes, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_what_was_running_is_known_after_a_crash_and_only_that() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("running");
        let (slots, running) = Slots::open(&path, 4).expect("opens");
        assert_eq!(running, []);
        slots.occupy(0, Id(1)).expect("writes");
        slots.occupy(2, Id(2)).expect("writes");
        slots.occupy(3, Id(3)).expect("writes");
        slots.free(0).expect("writes");
        drop(slots);
        let (slots, running) = Slots::open(&path, 2).expect("opens");
        assert_eq!(running, [Id(2), Id(3)]);
        drop(slots);
        assert_eq!(Slots::open(&path, 2).expect("opens").1, []);
    }

    #[test]
    fn rubbish_in_the_file_is_no_evidence() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("running");
        std::fs::write(&path, [0xFF, b'\n', 0xC0]).expect("writes");
        assert_eq!(Slots::open(&path, 2).expect("opens").1, []);
    }
}

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

/// More slots than any file of ours has.
const SLOTS_MAX: u64 = 4_096;

/// What was running when the process before this one ended. What cannot be read is no evidence.
pub fn read(path: &Path) -> Vec<Id> {
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(SLOTS_MAX * SLOT_BYTES as u64).read_to_string(&mut text));
    match read {
        Ok(_) => text.lines().filter_map(|line| line.parse().ok()).collect(),
        Err(_) => Vec::new(),
    }
}

/// The slots of this process.
#[derive(Debug)]
pub struct Slots {
    file: File,
}

impl Slots {
    /// Clears the file. `count` is the number of executor threads.
    pub fn create(path: &Path, count: usize) -> io::Result<Slots> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        file.write_all_at(&FREE.repeat(count), 0)?;
        Ok(Slots { file })
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
        assert_eq!(read(&path), []);
        let slots = Slots::create(&path, 4).expect("creates");
        slots.occupy(0, Id(1)).expect("writes");
        slots.occupy(2, Id(2)).expect("writes");
        slots.occupy(3, Id(3)).expect("writes");
        slots.free(0).expect("writes");
        drop(slots);
        assert_eq!(read(&path), [Id(2), Id(3)]);
        drop(Slots::create(&path, 2).expect("creates"));
        assert_eq!(read(&path), []);
    }

    #[test]
    fn rubbish_in_the_file_is_no_evidence() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("running");
        std::fs::write(&path, [0xFF, b'\n', 0xC0]).expect("writes");
        assert_eq!(read(&path), []);
    }
}

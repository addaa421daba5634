//! A card that fails while a daemon runs on it, and is well again: calls on the store's files are failed or stalled.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::preload;

/// What goes wrong, until it is another fault's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Nothing can be read.
    ReadEio,
    /// There is no room for anything that is written.
    WriteEnospc,
    /// What was written does not get to the card.
    SyncEio,
    /// It takes this long until what was written is on the card.
    SyncStall(Duration),
}

/// Calls that a fault has met so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hits {
    /// On the database itself.
    pub store: u64,
    /// On its log.
    pub beside: u64,
}

impl Hits {
    pub fn all(self) -> u64 {
        self.store + self.beside
    }
}

/// A library for a daemon, and the file by which it is told what to do.
#[derive(Debug)]
pub struct FailingCard {
    library: PathBuf,
    control: File,
    control_path: PathBuf,
    store: PathBuf,
}

impl FailingCard {
    /// A card that is well, for the store at `store`. Its own files are put into `folder`.
    pub fn new(folder: &Path, store: &Path) -> FailingCard {
        let library = preload::build(folder, "failing_card", include_str!("failing_card.c"));
        let control_path = folder.join("failing_card");
        fs::write(&control_path, [0; 32]).expect("the folder is ours");
        let control = OpenOptions::new().read(true).write(true).open(&control_path);
        FailingCard {
            library: library.expect("the C compiler cc works"),
            control: control.expect("it was just written"),
            control_path,
            store: store.to_owned(),
        }
    }

    pub fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library);
        command.env("PICLOUD_CARD_CONTROL", &self.control_path);
        command.env("PICLOUD_CARD_STORE", &self.store);
    }

    /// From now on calls meet this fault; those that are under way go on as they began.
    pub fn set(&self, fault: Fault) {
        let (number, stall) = match fault {
            Fault::None => (0, Duration::ZERO),
            Fault::ReadEio => (1, Duration::ZERO),
            Fault::WriteEnospc => (2, Duration::ZERO),
            Fault::SyncEio => (3, Duration::ZERO),
            Fault::SyncStall(stall) => (4, stall),
        };
        let stall_ms = u64::try_from(stall.as_millis()).expect("nobody waits that long");
        // The number goes last: with it the fault begins.
        for (at, word) in [(8, stall_ms), (0, number)] {
            self.control.write_all_at(&word.to_ne_bytes(), at).expect("the file is ours");
        }
    }

    pub fn hits(&self) -> Hits {
        let [store, beside] = [16, 24].map(|at| {
            let mut word = [0; 8];
            self.control.read_exact_at(&mut word, at).expect("the file is ours");
            u64::from_ne_bytes(word)
        });
        Hits { store, beside }
    }
}

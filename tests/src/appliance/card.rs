//! The card of `tests/appliance/card.py`, as the driver holds it: plugged in and pulled out, told to fail, and counted.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait;

/// Words of the control file, as `card.py` lists them.
const FAULT: u64 = 0;
const FLUSH_MS: u64 = 1;
const BYTES_PER_SECOND: u64 = 2;
const LIES: u64 = 3;
const CUT: u64 = 4;
const LATER: u64 = 5;
const SEED: u64 = 6;
const DEAD: u64 = 7;
const WRITES: u64 = 9;
const BYTES: u64 = 10;
const FLUSHES: u64 = 11;
const PENDING: u64 = 12;
const LOST: u64 = 13;

/// Seconds after which `card.sh` is killed. Its own steps have shorter deadlines.
const SCRIPT_SECONDS_MAX: &str = "120";

/// What goes wrong on it, until it is another fault's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    ReadsFail,
    WritesFail,
    FlushesFail,
    /// It has no room for a write.
    Full,
}

/// What of the un-flushed writes gets onto the card when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Nothing,
    /// Sector by sector: torn, and in another order.
    Random,
    FirstFew,
    /// As if there were no cut, for comparison.
    Everything,
}

/// What the card has done since it was plugged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub writes: u64,
    pub bytes: u64,
    pub flushes: u64,
}

/// What a cut took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Writes that were not flushed.
    pub writes: u64,
    /// Bytes of them that did not get onto the card.
    pub bytes: u64,
}

#[derive(Debug)]
pub struct Card {
    folder: PathBuf,
    script: PathBuf,
}

impl Card {
    /// A new card with an empty file system, not plugged in.
    pub fn make(folder: &Path, script: &Path, mib: u32) -> Result<Card> {
        let card = Card::at(folder, script);
        card.order("make", &[&mib.to_string()])?;
        Ok(card)
    }

    /// The card that was made there.
    pub fn at(folder: &Path, script: &Path) -> Card {
        Card { folder: folder.to_owned(), script: script.to_owned() }
    }

    /// Where its file system is mounted.
    pub fn mount(&self) -> PathBuf {
        self.folder.join("mnt")
    }

    pub fn plug(&self) -> Result<()> {
        self.order("plug", &[])
    }

    pub fn unplug(&self) -> Result<()> {
        self.order("unplug", &[])
    }

    /// Out and in again: its file system comes back from what is on it, and nothing of it is in memory.
    pub fn replug(&self) -> Result<()> {
        self.unplug()?;
        self.plug()
    }

    pub fn fail(&self, fault: Fault) -> Result<()> {
        let number = match fault {
            Fault::None => 0,
            Fault::ReadsFail => 1,
            Fault::WritesFail => 2,
            Fault::FlushesFail => 3,
            Fault::Full => 4,
        };
        self.set(FAULT, number)
    }

    /// How long a flush takes, and how many bytes it writes a second; zero: as fast as it can.
    pub fn slow(&self, flush: Duration, bytes_per_second: u64) -> Result<()> {
        self.set(BYTES_PER_SECOND, bytes_per_second)?;
        self.set(FLUSH_MS, u64::try_from(flush.as_millis())?)
    }

    /// It answers flushes and keeps nothing.
    pub fn lie(&self) -> Result<()> {
        self.set(LIES, 1)
    }

    /// The power goes after so many more requests. Returns when it is gone, or when nobody asks the card for anything.
    pub fn cut(&self, cut: Cut, later: u64, seed: u64) -> Result<Loss> {
        let number = match cut {
            Cut::Nothing => 1,
            Cut::Random => 2,
            Cut::FirstFew => 3,
            Cut::Everything => 4,
        };
        self.set(SEED, seed)?;
        self.set(LATER, later)?;
        self.set(CUT, number)?;
        let gone = || matches!(self.get(DEAD), Ok(dead) if dead != 0).then_some(());
        if wait::within(Duration::from_secs(3), gone).is_none() {
            self.set(DEAD, 1)?;
        }
        Ok(Loss { writes: self.get(PENDING)?, bytes: self.get(LOST)? })
    }

    pub fn counters(&self) -> Result<Counters> {
        Ok(Counters {
            writes: self.get(WRITES)?,
            bytes: self.get(BYTES)?,
            flushes: self.get(FLUSHES)?,
        })
    }

    fn control(&self) -> PathBuf {
        self.folder.join("control")
    }

    fn get(&self, word: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        let file = OpenOptions::new().read(true).open(self.control());
        file.and_then(|file| file.read_exact_at(&mut bytes, word * 8)).context("no card is in")?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn set(&self, word: u64, value: u64) -> Result<()> {
        let file = OpenOptions::new().write(true).open(self.control());
        let written = file.and_then(|file| file.write_all_at(&value.to_ne_bytes(), word * 8));
        written.context("no card is in")
    }

    fn order(&self, order: &str, arguments: &[&str]) -> Result<()> {
        let log = self.folder.join("script.log");
        let out = OpenOptions::new().create(true).append(true).open(&log)?;
        let status = Command::new("timeout")
            .args(["-k", "5", SCRIPT_SECONDS_MAX])
            .arg(&self.script)
            .arg(order)
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .status()
            .context("timeout is part of every Debian")?;
        if !status.success() {
            let said = [log, self.folder.join("card.log")];
            let said: String =
                said.iter().filter_map(|log| std::fs::read_to_string(log).ok()).collect();
            bail!("card.sh {order}: {status}\n{said}");
        }
        Ok(())
    }
}

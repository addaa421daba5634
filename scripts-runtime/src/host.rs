//! What a run may ask of the world around it.

use std::sync::Arc;

use crate::effect::{Key, Space, Stored};
use crate::outside::{OutsideAnswer, OutsideCall, OutsideError};

/// The script's view of the daemon. One value for each run; it knows the run's app and principal.
///
/// Calls block the run's thread and end by the run's deadline.
pub trait Host: Send + Sync {
    /// The value under a key; `None` when it is absent or expired.
    fn read(&self, key: &Key) -> Result<Option<Stored>, HostError>;

    /// A page of a collection in ascending order of the keys' bytes. It ends with the row that fills it, or with the collection.
    fn list(&self, page: &Page) -> Result<Vec<(Arc<str>, Stored)>, HostError>;

    /// The value of one of the app's secrets.
    fn secret(&self, name: &str) -> Result<Result<Arc<str>, NoSecret>, HostError>;

    /// Sends a request to the outside and waits for its answer, by the run's deadline at most.
    fn call_outside(&self, call: &OutsideCall) -> Result<OutsideAnswer, OutsideError>;

    /// Whether the run's principal may do this in the run's app. Asked at each service call.
    fn permits(&self, need: Need) -> bool;

    /// Takes one line of the script's log; already cut to the limits.
    fn log(&self, line: LogLine);

    /// Told of a defect of PiCloud: a native function panicked at this place of the source.
    fn panicked(&self, place: &str);

    /// Asked every 64 operations, which take a few microseconds, and before each service call: whether the run has to end now.
    fn interrupted(&self) -> Option<Interrupt>;
}

/// Which keys a list call returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub space: Space,
    pub collection: Arc<str>,
    /// Only keys that begin with this; empty for all.
    pub prefix: Arc<str>,
    /// Only keys after this one.
    pub after: Option<Arc<str>>,
    /// At most this many.
    pub limit: usize,
    /// Bytes of keys and values with which the page is full; only its last row may go beyond.
    pub bytes_max: usize,
}

impl Page {
    /// Whether nothing may follow on this page after so many rows of so many bytes.
    pub fn is_full(&self, rows: usize, bytes: usize) -> bool {
        rows >= self.limit || bytes >= self.bytes_max
    }
}

/// What a service call asks for; the daemon maps it to its capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// KV and documents.
    Data,
    /// `secrets::get`.
    Secrets,
    /// `outbox::enqueue`.
    Invoke,
    /// `dead_letters::`, which only a dead-letter handler may call.
    ResolveDeadLetters,
}

/// Why a run has to end before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// Its time is over.
    Deadline,
    /// The daemon stops, or the lease is lost.
    Cancelled,
    /// All runs together hold more memory than they may.
    MemoryOfAll,
}

/// The store could not answer; the script is not to blame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct HostError(pub String);

/// There is no such secret, or its value is lost, and what to do. The script may catch it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct NoSecret(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// One line of a script's log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    pub level: Level,
    pub message: String,
    /// JSON text of a map, when the script gave fields.
    pub fields: Option<String>,
}

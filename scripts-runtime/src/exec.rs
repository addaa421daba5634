//! One run: what goes in, what comes out.

use std::sync::Arc;

use crate::effect::{Effect, Read};
use crate::host::Host;
use crate::limits::RunLimits;
use crate::mask::Mask;
use crate::outside::{ListedCall, Outgoing};

/// Everything that a run depends on; the same request gives the same report as long as the host answers the same.
pub struct ExecRequest {
    /// The event of the source as JSON text of a map, without the four fields below.
    pub event: Arc<str>,
    pub execution_id: Arc<str>,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    pub depth: u32,
    pub root_id: Arc<str>,
    pub limits: RunLimits,
    /// Milliseconds since 1970, what `time::now()` says during the whole run.
    pub now_ms: i64,
    /// Where `random::` and document ids come from; the same over conflict re-runs of one attempt.
    pub seed: u64,
    /// Whether calls to the outside are sent, or only listed.
    pub outgoing: Outgoing,
    pub host: Arc<dyn Host>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecReport {
    /// The value of the last expression as JSON text.
    pub result: Result<Arc<str>, ExecError>,
    /// Empty unless the run succeeded, or became unknown in a dry run.
    pub effects: Vec<Effect>,
    /// Calls to the outside that a dry run did not send.
    pub listed: Vec<ListedCall>,
    /// The secrets that the run read: what else is said about the run goes through it. The report's error has been.
    pub mask: Mask,
    /// Each key once, with the version seen first; kept also when the run failed.
    pub reads: Vec<Read>,
    pub usage: Usage,
}

/// What a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub operations: u64,
    pub memory_bytes_peak: u64,
    pub log_lines_dropped: u64,
}

/// Why a run, or the compiling of its script, failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ExecError {
    pub kind: ExecErrorKind,
    /// One sentence for the person who wrote the script; no Rust types.
    pub message: String,
    pub position: Option<Position>,
}

/// Where in the script an error arose.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// From 1; 0 when only the line is known.
    pub column: u32,
    /// The text of that line, cut to 200 characters.
    pub source_line: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecErrorKind {
    /// The script does not compile.
    Compile,
    /// It threw, or an operation in it failed.
    Thrown,
    /// Its result cannot be represented as JSON (a function, NaN, nesting without end).
    BadResult,
    /// Operations, memory, depth, sizes, output or effects were used up.
    Budget,
    /// It was running when its time was over.
    Timeout,
    /// The host asked it to stop; not its fault.
    Cancelled,
    /// All runs together held too much memory; not its fault alone.
    MemoryOfAll,
    /// Its principal lacks a capability.
    NotAllowed,
    /// The store could not answer.
    HostFailed,
    /// A native function panicked.
    Panicked,
    /// A dry run came to a call to the outside: what follows nobody knows.
    Unknown,
}

//! What `GET /events` sends: server-sent events whose data is one of these, as JSON.

use serde::{Deserialize, Serialize};

use crate::list::FailureItem;

/// The kinds of events, as they stand in `event:` and as `kind:` of a filter takes them.
pub mod kind {
    /// [`super::Begin`]: the first of each stream.
    pub const CONNECTED: &str = "connected";
    /// [`super::Begin`] instead, when `Last-Event-ID` is of another start of the daemon.
    pub const RESTARTED: &str = "restarted";
    /// [`super::Missed`]
    pub const MISSED: &str = "missed";
    /// [`super::Closed`]: the last of a stream.
    pub const CLOSED: &str = "closed";
    /// [`super::OutboxEvent`]
    pub const OUTBOX: &str = "outbox";
    /// [`crate::list::ExecutionItem`]
    pub const EXECUTION: &str = "execution";
    /// [`super::LogEntry`]
    pub const LOG: &str = "log";
    /// [`crate::stats::Stats`]
    pub const STATS: &str = "stats";
}

/// The query of `GET /events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Only of the app with this slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Words and `key:value`; `kind:log` are the log lines alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// Who sends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Begin {
    pub instance_id: String,
    pub started_at: i64,
    /// As in [`crate::stats::InstanceStats`].
    pub why: String,
    pub now: i64,
}

/// Events are gone that this reader has not seen: whatever it shows, it has to fetch again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Missed {
    /// How many, of all kinds and whether they would have passed the filter or not; absent when nobody knows.
    pub events: Option<u64>,
}

/// Why no more comes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Closed {
    /// `stopping`, or `not_allowed`: what the caller may do has changed.
    pub why: String,
}

/// A row of the outbox has come, moved or gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutboxEvent {
    /// `due`, `later`, `behind`, `run`, `retry`, `done`, `dead`, `abandoned`, `taken_back` or `lost`.
    pub state: String,
    pub at: i64,
    pub id: String,
    pub app: String,
    pub script: String,
    pub source: String,
    /// What made it: the trigger's name or the route.
    pub origin: Option<String>,
    /// Number of the run that begins or has ended; of a row that waits, how many it has had.
    pub attempt: u32,
    pub max_attempts: u32,
    pub key: Option<String>,
    pub depth: u32,
    pub root_id: String,
    pub cause_id: Option<String>,
    /// When it is to run.
    pub available_at: Option<i64>,
    /// Of the run that has ended.
    pub took_us: Option<i64>,
    pub error: Option<FailureItem>,
    /// Why it was abandoned.
    pub reason: Option<String>,
}

/// One line of a script's log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogEntry {
    /// When its run ended.
    pub at: i64,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    pub app: String,
    pub script: String,
    pub execution_id: String,
    pub message: String,
    /// JSON text of a map, when the script gave fields.
    pub fields: Option<String>,
}

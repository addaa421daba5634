//! Lists: pages by cursor, and what stands in them.

use serde::{Deserialize, Serialize};

use crate::instance::Paused;

/// Items of a page when the caller does not say.
pub const PAGE_ITEMS: usize = 100;
/// Items of a page at most.
pub const PAGE_ITEMS_MAX: usize = 1_000;

/// The query of a list call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only of the app with this slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Words and `key:value`; a page may then hold fewer items than asked for, or none, and yet have a `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Cursor of the next page; absent on the last one.
    pub next: Option<String>,
    /// When the page was read.
    pub now: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppItem {
    pub id: i64,
    pub slug: String,
    pub host: Option<String>,
    pub revision: i64,
    pub scripts: i64,
    pub routes: i64,
    pub triggers: i64,
    /// Rows in the outbox.
    pub waiting: i64,
    /// Open dead letters.
    pub dead_letters: i64,
    pub paused: Option<Paused>,
}

/// A row of the outbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutboxItem {
    pub id: String,
    pub app: String,
    pub script: String,
    /// `http`, `task`, or the kind of the trigger that made it.
    pub source: String,
    /// What made it: the trigger's name or the route; absent for tasks and for what is gone.
    pub origin: Option<String>,
    /// `running`, `due`, `later`, `retry`, `paused`, or `behind` another row of its key.
    pub state: String,
    /// Absent while it is behind another row.
    pub available_at: Option<i64>,
    pub created_at: i64,
    /// Attempts charged so far.
    pub attempt: u32,
    pub max_attempts: u32,
    /// The key that it is ordered by.
    pub key: Option<String>,
    pub depth: u32,
    pub root_id: String,
    /// Why its last attempt failed.
    pub error: Option<FailureItem>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeadLetterItem {
    pub id: String,
    pub app: String,
    pub script: String,
    /// Version of the script that failed; 0 when there was none.
    pub script_version: i64,
    pub source: String,
    pub origin: Option<String>,
    pub error: FailureItem,
    pub attempts: u32,
    pub first_at: i64,
    pub last_at: i64,
    /// Absent or `handler_failed`: open. Otherwise `replayed` or `discarded`.
    pub resolution: Option<String>,
}

/// A run that has ended, as memory has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExecutionItem {
    pub id: String,
    pub app: String,
    pub script: String,
    pub script_version: i64,
    pub source: String,
    pub origin: Option<String>,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// `completed`, `answered`, `retried`, `dead_lettered`, `handler_failed`, `abandoned`, `released` or `lease_lost`.
    pub outcome: String,
    pub started_at: i64,
    /// Microseconds from the moment at which it could have started.
    pub queued_us: i64,
    pub took_us: i64,
    pub effects: u32,
    pub error: Option<FailureItem>,
}

/// Why a run did not succeed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FailureItem {
    pub kind: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
}

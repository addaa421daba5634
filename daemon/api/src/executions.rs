//! One row of the outbox, one abandoned execution, one execution with its attempts, and the chain that they belong to.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::list::{ExecutionItem, OutboxItem};

/// The answer to `GET /outbox/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutboxDetail {
    pub row: OutboxItem,
    /// The version of its script that would run now; absent when the script is gone.
    pub current_version: Option<i64>,
    /// What a caller signed in with is `(hidden)`.
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub event: Box<RawValue>,
    pub cause_id: Option<String>,
    /// The letter that it replays, or that it handles.
    pub letter_id: Option<String>,
    pub dedupe: Option<String>,
    pub now: i64,
}

/// A row that ended without success and without a dead letter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AbandonedItem {
    pub id: String,
    pub app: String,
    pub script: String,
    pub source: String,
    pub origin: Option<String>,
    /// `caller_gone`, `depth_limit`, `owner_died` or `app_deleted`.
    pub reason: String,
    pub at: i64,
    pub depth: u32,
    pub root_id: String,
    pub cause_id: Option<String>,
}

/// The answer to `GET /abandoned/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AbandonedDetail {
    pub abandoned: AbandonedItem,
    /// Absent when it was too large to keep; what a caller signed in with is `(hidden)`.
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub event: Option<Box<RawValue>>,
    pub now: i64,
}

/// The answer to `GET /executions/{id}`: the attempts that memory has, the last one first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExecutionDetail {
    pub id: String,
    pub root_id: String,
    pub cause_id: Option<String>,
    pub attempts: Vec<AttemptDetail>,
    pub now: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AttemptDetail {
    pub run: ExecutionItem,
    pub log: Vec<LogLine>,
    /// The first of what it wrote, without values.
    pub effects: Vec<EffectItem>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogLine {
    pub level: String,
    pub message: String,
    /// JSON text of a map, when the script gave fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EffectItem {
    /// `put`, `patch`, `increment`, `delete`, `enqueue`, `replay` or `discard`.
    pub does: String,
    /// `kv readings/a3`, a script, or a dead letter.
    pub to: String,
}

/// The answer to `GET /executions/{id}/chain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Chain {
    pub root_id: String,
    /// In the order in which their rows were made.
    pub links: Vec<Link>,
    /// Whether nothing had to be left out. What completed is known from memory only, and may be missing anyway.
    pub complete: bool,
    pub now: i64,
}

/// One row of a chain, wherever it is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Link {
    /// Of the row.
    pub id: String,
    /// The row whose run made it.
    pub cause_id: Option<String>,
    /// `execution`, `outbox`, `dead_letter` or `abandoned`.
    pub is: String,
    pub app: String,
    pub script: String,
    pub source: String,
    pub origin: Option<String>,
    /// The outcome of its last run, its state, what became of the letter, or why it was abandoned.
    pub state: String,
    pub at: i64,
    pub error: Option<String>,
    /// Of a dead letter.
    pub letter_id: Option<String>,
    /// The letter that it replays.
    pub replay_of: Option<String>,
}

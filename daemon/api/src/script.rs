//! Scripts: what they are, their versions, and runs that somebody asks for by hand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::instance::Paused;
use crate::list::FailureItem;

/// A script in a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ScriptItem {
    pub app: String,
    pub name: String,
    pub version: i64,
    /// Of the source.
    pub bytes: i64,
    /// `METHOD /path` of each route that runs it.
    pub routes: Vec<String>,
    /// Name of each trigger that runs it.
    pub triggers: Vec<String>,
    /// Whether the tasks that run it are paused.
    pub paused: Option<Paused>,
}

/// The current version of a script. Its version is its `ETag`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Script {
    pub app: String,
    pub name: String,
    pub version: i64,
    pub source: String,
    /// What a run may use, by the names of the configuration's section `[limits.run]`.
    pub limits: BTreeMap<String, u64>,
    pub routes: Vec<String>,
    pub triggers: Vec<String>,
    pub paused: Option<Paused>,
}

/// The body of `PUT .../scripts/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ScriptPut {
    pub source: String,
    /// The limits that it lowers for itself; absent: as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ScriptLimits>,
}

/// What a script may lower. What is not named has the instance's limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ScriptLimits {
    /// A duration such as `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_lines_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_line_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effects_max: Option<u64>,
}

/// The body of a roll-back: the old version whose source and limits become a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    pub version: i64,
}

/// What became of a script that was put, rolled back or deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ScriptChanged {
    pub app: String,
    pub name: String,
    /// False when it was so already.
    pub changed: bool,
    /// 0 when it was not there.
    pub version_before: i64,
    /// 0 when it is gone.
    pub version: i64,
}

/// A version in the list of a script's versions, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VersionItem {
    pub version: i64,
    pub created_at: i64,
    pub bytes: i64,
    /// Whether it is the one that runs.
    pub current: bool,
}

/// One version of a script.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Version {
    pub app: String,
    pub name: String,
    pub version: i64,
    pub created_at: i64,
    pub current: bool,
    pub source: String,
    pub limits: BTreeMap<String, u64>,
}

/// The body of a dry run. `event` and `from` exclude each other; without both the event is an empty map.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DryRun {
    /// A map, as the script gets it, without `execution_id`, `attempt`, `depth` and `root_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub event: Option<Box<RawValue>>,
    /// Id of an outbox row, a dead letter or an execution whose event is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// A source that is tried instead of the current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What a run would have done. Nothing of it was.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DryRunAnswer {
    /// `succeeded`, `failed`, or `unknown`: it came to a call to the outside, which a dry run does not send, and what follows
    /// nobody knows. The error says where; the rest is what came before.
    pub outcome: String,
    /// The script's result.
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub result: Option<Box<RawValue>>,
    pub error: Option<FailureItem>,
    /// What would be stored, in the end.
    pub writes: Vec<WriteItem>,
    /// The triggers that these writes would set off.
    pub triggers: Vec<FiredItem>,
    pub tasks: Vec<TaskItem>,
    /// Dead letters that would be resolved.
    pub letters: Vec<LetterItem>,
    /// Calls to the outside that were not sent.
    pub calls: Vec<CallItem>,
    pub log: Vec<LogItem>,
    /// 0 when a source was tried that is not saved.
    pub script_version: i64,
    pub operations: u64,
    pub memory_bytes_peak: u64,
    pub took_us: i64,
}

/// The end state of a value or document, and what it was before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WriteItem {
    /// `kv` or `docs`.
    pub space: String,
    pub collection: String,
    pub key: String,
    /// `set`, `create`, `update` or `delete`.
    pub op: String,
    /// Absent when there was none, and when it has more than [`VALUE_SHOWN_BYTES_MAX`].
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub before: Option<Box<RawValue>>,
    /// Absent when there is none then, and when it has more than [`VALUE_SHOWN_BYTES_MAX`].
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub after: Option<Box<RawValue>>,
    pub before_bytes: i64,
    pub after_bytes: i64,
    pub expires_at: Option<i64>,
}

/// Bytes of a value that is shown whole in the answer to a dry run.
pub const VALUE_SHOWN_BYTES_MAX: usize = 16 << 10;

/// A trigger that a write sets off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FiredItem {
    pub trigger: String,
    pub script: String,
    /// `kv` or `docs`.
    pub source: String,
    pub collection: String,
    pub key: String,
}

/// A task, or the replay of a dead letter.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TaskItem {
    pub script: String,
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub event: Option<Box<RawValue>>,
    pub available_at: i64,
    pub key: Option<String>,
    pub dedupe: Option<String>,
    /// The dead letter that it replays.
    pub replay_of: Option<String>,
}

/// What would become of a dead letter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LetterItem {
    pub id: String,
    /// `replayed` or `discarded`.
    pub resolution: String,
    pub reason: Option<String>,
}

/// A call to the outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CallItem {
    pub method: String,
    /// Without its query, which may hold secrets.
    pub url: String,
    /// The names of its headers.
    pub headers: Vec<String>,
    pub body_bytes: usize,
}

/// One line of a script's log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogItem {
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    pub message: String,
    /// A map, when the script gave fields.
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub fields: Option<Box<RawValue>>,
}

/// The body of an invocation. `event` and `payload` exclude each other; without both the payload is null.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Invoke {
    /// A map, as the script gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub event: Option<Box<RawValue>>,
    /// What a task gets as `event.payload`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub payload: Option<Box<RawValue>>,
    /// `sync`, which is the default: the answer is waited for. `async`: it is run later, with retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// What came of an invocation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InvokeAnswer {
    pub execution_id: String,
    /// `answered`, `failed`, or (async) `accepted`.
    pub outcome: String,
    /// The script's result.
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub result: Option<Box<RawValue>>,
    pub error: Option<InvokeFailure>,
    /// When an async one was accepted.
    pub accepted_at: Option<i64>,
}

/// Why a script that was invoked did not succeed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InvokeFailure {
    /// As the problems of routes have it: `script_failed`, `timed_out`, `budget_spent`, ...
    pub code: String,
    pub message: String,
    /// `nothing_changed`, or (only when the commit itself was late) `unknown`.
    pub changed: String,
}

//! Dead letters: one with everything, groups by error, and what is done with one or with many.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::list::{DeadLetterItem, FailureItem};

/// The answer to `GET /dead-letters/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LetterDetail {
    pub letter: DeadLetterItem,
    /// The version of its script that would run now; absent when the script is gone.
    pub current_version: Option<i64>,
    /// The event as its runs had it; what a caller signed in with is `(hidden)`.
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub event: Box<RawValue>,
    /// The row that died; its runs are executions of this id.
    pub row_id: String,
    pub root_id: String,
    pub cause_id: Option<String>,
    /// The letter that the row replayed.
    pub replay_of: Option<String>,
    pub key: Option<String>,
    pub depth: u32,
    pub max_attempts: u32,
    pub resolved_at: Option<i64>,
    /// The row that replays it.
    pub replayed_by: Option<String>,
    /// Until when the replay can be taken back, as long as its row has not begun.
    pub held_until: Option<i64>,
    /// Why it was discarded.
    pub reason: Option<String>,
    /// Why its handler failed.
    pub handler_error: Option<FailureItem>,
    pub now: i64,
}

/// The answer to `GET /dead-letters/groups`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LetterGroups {
    /// The one with the most letters first.
    pub groups: Vec<LetterGroup>,
    /// Letters that were looked at, the newest.
    pub looked_at: usize,
    /// Whether those were all.
    pub complete: bool,
    pub now: i64,
}

/// Letters of one script with one error, numbers and ids aside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LetterGroup {
    pub app: String,
    pub script: String,
    pub kind: String,
    /// Numbers and ids are `#`.
    pub error: String,
    pub count: usize,
    pub first_at: i64,
    pub last_at: i64,
    /// Versions of the script that failed, the smallest and the largest.
    pub version_min: i64,
    pub version_max: i64,
    /// The version that would run now.
    pub current_version: Option<i64>,
    /// The newest letter of the group.
    pub example: String,
}

/// The answer to `GET /dead-letters/preview`: what a bulk call with the same filter would be about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Preview {
    pub count: usize,
    pub apps: Vec<AppCount>,
    pub first_at: Option<i64>,
    pub last_at: Option<i64>,
    /// The newest id; a bulk call goes no further than this.
    pub up_to: Option<String>,
    /// The newest three.
    pub examples: Vec<DeadLetterItem>,
    /// Ages in the filter are those of this moment.
    pub as_of: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppCount {
    pub app: String,
    pub count: usize,
}

/// The body of `POST /dead-letters/{id}/replay`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Instead of what the letter has: the payload of a task, the whole event of anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub payload: Option<Box<RawValue>>,
    /// For so long the replay waits and can be taken back; 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<i64>,
    /// Also when it was replayed already.
    #[serde(default)]
    pub again: bool,
}

/// The body of `POST /dead-letters/{id}/discard` and of `POST /outbox/{id}/cancel`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReasonRequest {
    pub reason: String,
}

/// The body of `POST /dead-letters/replay` and `POST /dead-letters/discard`: what a preview saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    pub filter: String,
    /// Only of the app with this slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    pub up_to: String,
    /// How many match; with another number nothing is done.
    pub expect: usize,
    pub as_of: i64,
    /// Of a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<i64>,
    /// Of a discard, which needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The body of `POST /dead-letters/take-back`: letters whose replay is to be undone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TakeBackRequest {
    pub ids: Vec<String>,
}

/// What became of a bulk call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BulkAnswer {
    pub done: Vec<String>,
    /// Resolved by somebody else meanwhile, or begun: left as they are.
    pub skipped: usize,
    pub failed: usize,
    /// Why the first of those failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<String>,
}

/// The answer to a call that does something with one letter or one row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Done {
    pub id: String,
    /// Of a replay: the row that does it, and when it begins at the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<i64>,
    /// Of a cancelled row: the letter that it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter_id: Option<String>,
}

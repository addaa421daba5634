//! Triggers one at a time.

use serde::{Deserialize, Serialize};

use crate::instance::Paused;
use crate::manifest::{RetryEntry, TriggerEntry};

/// A trigger as it is, and what becomes of it next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TriggerItem {
    pub id: i64,
    pub app: String,
    /// The app's: what `If-Match` names.
    pub revision: i64,
    pub name: String,
    /// As in a manifest.
    pub kind: String,
    pub script: String,
    pub enabled: bool,
    /// What sets it off, in a few words.
    pub matches: String,
    /// As a manifest has it: what a change begins from.
    pub entry: TriggerEntry,
    /// All of its retry policy, defaults included.
    pub retry: RetryEntry,
    /// As whom it runs; absent when that principal is gone.
    pub registered_by: Option<String>,
    /// Its own pause, its app's or the instance's.
    pub paused: Option<Paused>,
    /// Of a schedule that is enabled.
    pub next_due: Option<i64>,
    /// The same by the wall clock of its time zone.
    pub next_due_local: Option<String>,
    /// The due time that a schedule fired for last.
    pub last_fired: Option<i64>,
    /// Why it is never due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The answer to a call that makes or changes a trigger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TriggerAnswer {
    /// Whether the call changed anything.
    pub changed: bool,
    pub trigger: TriggerItem,
}

/// The answer to a deletion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TriggerDeleted {
    /// `APP/NAME`
    pub deleted: String,
}

/// The body of a call that sets a trigger off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FireRequest {
    /// The event of the run, a map. Without it one is made up that has the fields which the kind has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<serde_json::Value>,
}

/// The answer to it: the row is durable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FireAnswer {
    pub execution_id: String,
}

//! The instance as a whole, and what of it is paused.

use serde::{Deserialize, Serialize};

/// The answer to `GET /instance`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Instance {
    pub version: String,
    /// New with each start.
    pub instance_id: String,
    pub started_at: i64,
    /// Version of the store's schema.
    #[serde(default)]
    pub schema: i64,
    /// The schema that the store had before its last upgrade. Absent if it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrated_from: Option<i64>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrated_at: Option<i64>,
    pub now: i64,
    pub apps: i64,
    pub waiting: i64,
    pub running: i64,
    pub dead_letters: i64,
    /// The disk is nearly full: reads and settles go on, nothing new is taken in.
    pub storage_low: bool,
    /// Everything that is paused, the instance itself first.
    pub pauses: Vec<Paused>,
    pub caller: Caller,
}

/// Who asks, as the daemon sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Caller {
    pub name: String,
    pub uid: Option<u32>,
    /// Capabilities that hold for all apps.
    pub capabilities: Vec<String>,
}

/// The body of a pause.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    #[serde(default)]
    pub reason: Option<String>,
}

/// Something that is paused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Paused {
    /// What `picloud resume` takes: empty for the instance, `APP`, `APP/TRIGGER`, `APP/METHOD /path` for a route,
    /// `APP/script:NAME` for the tasks of a script.
    pub target: String,
    pub reason: String,
    pub since: i64,
    /// Absent when the daemon itself did it.
    pub by: Option<String>,
}

/// The answer to a pause or resume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PauseAnswer {
    /// Whether the call changed anything.
    pub changed: bool,
    /// What holds now; absent when the target runs.
    pub paused: Option<Paused>,
}

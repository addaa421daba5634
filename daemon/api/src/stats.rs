//! How everything is: the answer to `GET /stats`, which also comes as an event each second.

use serde::{Deserialize, Serialize};

use crate::instance::Paused;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Stats {
    pub now: i64,
    pub instance: InstanceStats,
    /// Absent when only one app was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<AllStats>,
    /// By slug. Apps in which nothing has happened and nothing waits are there too.
    pub apps: Vec<AppStats>,
    /// Scripts that have run, those with the most runs first.
    pub scripts: Vec<ScriptStats>,
}

/// One start of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InstanceStats {
    /// New with each start.
    pub id: String,
    pub version: String,
    pub started_at: i64,
    /// `first_start`, `stopped_in_order`, `daemon_died` or `power_cut`.
    pub why: String,
    /// Runs of the last daemon that were taken up again.
    pub taken_up: i64,
}

/// Of the instance as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AllStats {
    /// Since the start.
    pub total: Counts,
    /// Of the second before.
    pub second: Counts,
    /// Of the minute before.
    pub minute: Counts,
    /// Second by second, the oldest first: five minutes. Absent in events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<Counts>>,
    /// From a request's arrival to its reply.
    pub answer: Times,
    /// From the moment at which a run could have started to its start.
    pub queued: Times,
    pub run: Times,
    pub gate: Gate,
    pub queue: Queue,
    pub store: StoreStats,
    pub process: ProcessStats,
    /// Open dead letters.
    pub dead_letters: i64,
    pub pauses: Vec<Paused>,
    /// Readers of live events.
    pub event_readers: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Counts {
    pub requests: u64,
    pub runs: u64,
    /// Runs that failed.
    pub failures: u64,
}

/// Times as a histogram, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Times {
    pub count: u64,
    pub sum_us: u64,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
    /// Each bound, and how many were no longer than that.
    pub buckets: Vec<(u64, u64)>,
}

/// What runs at this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Gate {
    pub running: i64,
    pub permits: i64,
    /// Of the permits, those that work nobody waits for may not take.
    pub reserved: i64,
    /// Of what runs, that for which nobody waits.
    pub running_async: i64,
    /// Runs that wait for a permit.
    pub in_line: i64,
}

/// The outbox by state. Each state is counted up to `counted_max` a queue; what is capped is at least that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Queue {
    /// All rows.
    pub rows: i64,
    pub bytes: i64,
    pub running: i64,
    pub due: i64,
    pub later: i64,
    pub retry: i64,
    pub behind: i64,
    pub paused: i64,
    /// Whether a state has more rows than were counted.
    pub capped: bool,
    /// For how long the oldest row has been due that may run.
    pub oldest_due_ms: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StoreStats {
    pub file_bytes: Option<u64>,
    pub log_bytes: Option<u64>,
    /// Left on its file system.
    pub free_bytes: Option<u64>,
    /// Below this nothing new is taken in.
    pub free_bytes_min: u64,
    pub storage_low: bool,
    pub commits: u64,
    pub last_commit_at: Option<i64>,
    pub commit: Times,
}

/// The daemon's process, as the kernel sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProcessStats {
    pub memory_bytes: Option<u64>,
    /// What the service, or else the machine, has.
    pub memory_bytes_max: Option<u64>,
    /// Bytes that it has caused to be written to devices since the start.
    pub written_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppStats {
    pub app: String,
    pub total: Counts,
    /// Of about the last minute.
    pub minute: Counts,
    /// Rows in the outbox.
    pub waiting: i64,
    /// Open dead letters.
    pub dead_letters: i64,
    pub answer_p50_us: Option<u64>,
    pub answer_p99_us: Option<u64>,
    pub paused: Option<Paused>,
    pub trouble: Option<Trouble>,
}

/// What went wrong last in an app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Trouble {
    pub at: i64,
    pub script: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ScriptStats {
    /// Absent: all that are not counted one by one.
    pub app: Option<String>,
    pub script: Option<String>,
    pub total: Counts,
    pub minute: Counts,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

/// The query of `GET /stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StatsQuery {
    /// Only of the app with this slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
}

impl Stats {
    /// What belongs to one app, and nothing else.
    #[must_use]
    pub fn of_app(&self, slug: &str) -> Stats {
        let is_of = |app: Option<&str>| app == Some(slug);
        Stats {
            now: self.now,
            instance: self.instance.clone(),
            all: None,
            apps: self.apps.iter().filter(|one| is_of(Some(&one.app))).cloned().collect(),
            scripts: self.scripts.iter().filter(|one| is_of(one.app.as_deref())).cloned().collect(),
        }
    }
}

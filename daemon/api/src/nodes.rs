//! Nodes: the daemons that share the work of an instance. There is one.

use serde::{Deserialize, Serialize};

/// A daemon, as the one that was asked knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeItem {
    /// New with each start of that daemon.
    pub id: String,
    /// The name of its machine; empty when that has none.
    pub name: String,
    /// What it is for the others: `single`, since there are none.
    pub role: String,
    /// `running`, `paused` (everything is) or `stopping`.
    pub state: String,
    pub version: String,
    pub started_at: i64,
    /// `first_start`, `stopped_in_order`, `daemon_died` or `power_cut`.
    pub why: String,
    /// When it was heard of last; of the one that was asked, now.
    pub seen_at: i64,
    /// Where it serves routes.
    pub address: Option<String>,
    /// What it keeps its store in: `sqlite`.
    pub store: String,
    /// Version of the store's schema.
    pub schema: i64,
    /// Scripts that it can run at a time.
    pub executors: i64,
    /// Scripts that run on it.
    pub running: i64,
}

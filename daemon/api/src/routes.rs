//! Routes one at a time.

use serde::{Deserialize, Serialize};

use crate::instance::Paused;
use crate::manifest::{RetryEntry, RouteEntry};

/// A route as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RouteItem {
    pub app: String,
    /// The app's: what `If-Match` names.
    pub revision: i64,
    pub method: String,
    pub path: String,
    /// `sync` or `async`.
    pub dispatch_mode: String,
    pub script: String,
    /// Who may call it, its app's word included: `none`, `token`, or `hmac with ...`.
    pub auth: String,
    /// How often each caller may call it: such as `10/s`, or `none`.
    pub rate: String,
    /// As a manifest has it: what a change begins from.
    pub entry: RouteEntry,
    /// All of its retry policy, defaults included; of an async route.
    pub retry: Option<RetryEntry>,
    /// As whom it runs: who made or changed it last. Absent when that principal is gone.
    pub runs_as: Option<String>,
    /// Where it is served, below any address of the machine: `/greenhouse/readings/{sensor}`, and with the app's host
    /// `//greenhouse.lan/readings/{sensor}`.
    pub urls: Vec<String>,
    /// Its own pause, its app's, or the instance's.
    pub paused: Option<Paused>,
}

/// The answer to a call that makes or changes a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RouteAnswer {
    /// Whether the call changed anything.
    pub changed: bool,
    pub route: RouteItem,
    /// What is allowed but hardly meant, and what is still missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The answer to a deletion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RouteDeleted {
    /// `APP/METHOD /path`
    pub deleted: String,
}

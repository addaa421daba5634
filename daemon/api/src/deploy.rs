//! What a deploy changes, or would change.

use serde::{Deserialize, Serialize};

/// The answer to a deploy, also to a dry run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Difference {
    pub app: String,
    /// 0 when the app is new.
    pub revision_before: i64,
    /// The same as before when nothing changes.
    pub revision: i64,
    /// In the order app, scripts, routes, triggers; each by name.
    pub changes: Vec<Changed>,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<String>,
}

/// One thing that is made, changed or removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Changed {
    /// `add`, `change` or `remove`.
    pub change: String,
    /// `app`, `script`, `route` or `trigger`.
    pub kind: String,
    pub name: String,
    /// What is different, a sentence each: `timeout: 10s -> 5s`.
    pub details: Vec<String>,
}

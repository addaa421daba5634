//! The audit log: who changed what.

use serde::{Deserialize, Serialize};

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AuditItem {
    /// Later changes have greater numbers.
    pub id: i64,
    pub at: i64,
    /// The name that the principal had then.
    pub principal: String,
    /// A word such as `deploy`, `pause` or `grant`.
    pub action: String,
    /// What was changed: an app's slug, slug/name, or `principal NAME` and the like.
    pub object: String,
    /// More about it; which fields depends on the action.
    pub detail: serde_json::Value,
}

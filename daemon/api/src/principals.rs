//! Principals: who is known, and what they may do.

use serde::{Deserialize, Serialize};

/// One capability, for one app or (without `app`) for all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GrantItem {
    pub capability: String,
    /// Slug or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
}

/// Somebody who is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PrincipalItem {
    pub id: i64,
    pub name: String,
    /// By which the admin socket knows it.
    pub uid: Option<u32>,
    pub grants: Vec<GrantItem>,
    /// Capabilities that its user has for all apps, as a member of `picloud-admin` or `picloud`.
    pub by_group: Vec<String>,
    /// Tokens that are valid.
    pub tokens: i64,
    /// Routes that run as it.
    pub routes: i64,
    /// Triggers that run as it.
    pub triggers: i64,
}

/// The body of `POST /principals`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PrincipalRequest {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<GrantItem>,
}

/// The body of a grant and of a revoke.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    pub capabilities: Vec<String>,
    /// Slug or number of the app; absent: for all apps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
}

/// The answer to every change of a principal: as it is now, or as it was when it was deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PrincipalAnswer {
    pub changed: bool,
    pub principal: PrincipalItem,
}

//! Bearer tokens: who calls from elsewhere than the socket.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::principals::GrantItem;

/// A token, without its secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenItem {
    pub id: i64,
    pub name: String,
    /// Name of the principal that it stands for.
    pub principal: String,
    /// `valid`, `expired` or `revoked`.
    pub state: String,
    pub created_at: i64,
    /// Absent: never.
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
}

/// The body of `POST /tokens`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Absent: the daemon makes one up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The principal that the token stands for. Absent: a new one with the token's name and these grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<GrantItem>,
    /// A duration such as `30d`. Absent: it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// The answer to `POST /tokens`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenMade {
    pub token: TokenItem,
    /// Shown here and never again.
    pub secret: String,
}

impl fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenMade").field("token", &self.token).finish_non_exhaustive()
    }
}

/// The answer to a revoke.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenAnswer {
    pub changed: bool,
    pub token: TokenItem,
}

//! Whether all is well: the answers to `GET /doctor`, `/healthz` and `/readyz`.

use serde::{Deserialize, Serialize};

/// The answer to `GET /doctor`: all checks, whatever came of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Checks {
    pub checks: Vec<Check>,
    pub now: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Check {
    pub name: String,
    /// `ok`, `warn` or `bad`.
    pub state: String,
    pub text: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The answer to `GET /healthz` and `GET /readyz`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Healthy {
    /// `ok` or `ready`.
    pub is: String,
}

//! Secrets of an app: their names, and new values on their way in. No answer ever has a value.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One secret, without its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SecretItem {
    pub name: String,
    pub set_at: i64,
    /// Who set it; absent when that principal is gone.
    pub set_by: Option<String>,
    /// Why the value is lost and has to be set again; absent when it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// The body of a `PUT`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretPut {
    pub value: String,
}

impl fmt::Debug for SecretPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretPut")
    }
}

/// The answer to a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SecretAnswer {
    pub name: String,
    pub changed: bool,
}

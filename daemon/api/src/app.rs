//! Apps one by one: made, shown, changed; and their routes.

use serde::{Deserialize, Deserializer, Serialize};

use crate::instance::Paused;

/// The body of `POST /apps`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AppCreate {
    pub slug: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_hosts: Vec<String>,
    #[serde(default)]
    pub expose_errors: bool,
}

/// The body of `PATCH /apps/{app}`: what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AppChange {
    /// Another name in URLs; everything else about the app stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// `null`: no host any more.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub host: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_hosts: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose_errors: Option<bool>,
}

/// Tells a field that is `null` from one that is absent.
fn given<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(field).map(Some)
}

/// An app. Its revision is its `ETag`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct App {
    pub id: i64,
    pub slug: String,
    pub host: Option<String>,
    pub allow_hosts: Vec<String>,
    pub expose_errors: bool,
    /// What holds for its routes, where these do not say it themselves: `none`, `token`, or `hmac with ...`.
    pub auth: String,
    /// Such as `10/s`, or `none`.
    pub rate: String,
    pub revision: i64,
    pub scripts: i64,
    pub routes: i64,
    pub triggers: i64,
    /// Rows in the outbox.
    pub waiting: i64,
    /// Open dead letters.
    pub dead_letters: i64,
    pub paused: Option<Paused>,
}

/// What was deleted. What waited is abandoned, and what was stored goes, step by step from then on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppDeleted {
    pub id: i64,
    pub slug: String,
    pub scripts: i64,
    pub routes: i64,
    pub triggers: i64,
    /// Rows that waited, and dead letters that were open, shortly before.
    pub waiting: i64,
    pub dead_letters: i64,
}

/// A route in the list of an app's routes, by path and method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RouteItem {
    pub app: String,
    pub method: String,
    pub path: String,
    /// `sync` or `async`.
    pub dispatch_mode: String,
    pub script: String,
    /// Who may call it, its app's word included: `none`, `token`, or `hmac with ...`.
    pub auth: String,
    /// How often each caller may call it: such as `10/s`, or `none`.
    pub rate: String,
    /// Where it is served, below any address of the machine: `/greenhouse/readings/{sensor}`, and with the app's host
    /// `//greenhouse.lan/readings/{sensor}`.
    pub urls: Vec<String>,
    /// Its own pause, its app's, or the instance's.
    pub paused: Option<Paused>,
}

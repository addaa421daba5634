//! The manifest, `picloud.toml`: what an app is made of.
//!
//! These types only say which keys there are. Words such as a method, a duration or a kind stay texts, so that the
//! daemon can refuse them with a sentence that names the entry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of the manifest in an app's folder.
pub const FILE_NAME: &str = "picloud.toml";
/// Scripts of an app.
pub const SCRIPTS_MAX: usize = 200;
/// Bytes of one script.
pub const SCRIPT_BYTES_MAX: usize = 256 << 10;
/// Routes of an app.
pub const ROUTES_MAX: usize = 1_000;
/// Triggers of an app.
pub const TRIGGERS_MAX: usize = 1_000;
/// Bytes of all scripts of an app together.
pub const BUNDLE_BYTES_MAX: usize = 4 << 20;
/// Bytes of the manifest itself.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// A manifest and the scripts that it names: what a deploy sends and an export gives back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    pub manifest: Manifest,
    /// The text of each script by the `file` that its entry names.
    pub sources: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub app: AppEntry,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<ScriptEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<TriggerEntry>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AppEntry {
    pub slug: String,
    /// A host name that the app claims beside its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Hosts that its scripts may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_hosts: Vec<String>,
    /// Whether callers see the text of a script's error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose_errors: Option<bool>,
    /// Who may call its routes, where these do not say it themselves: `none`, which is the default, `token` or `hmac`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// With `auth = "hmac"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<HmacEntry>,
    /// How often each caller may call each of its routes: such as `10/s`, `100/m`, `1000/h`, or `none`, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
}

/// A script and the limits that it lowers for itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ScriptEntry {
    pub name: String,
    /// Path below the manifest's folder.
    pub file: String,
    /// A duration such as `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_lines_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_line_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effects_max: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RouteEntry {
    pub method: String,
    pub path: String,
    pub script: String,
    /// `sync`, which is the default, or `async`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatch_mode: Option<String>,
    /// Of an async route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryEntry>,
    /// Who may call it; absent: as its app says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// With `auth = "hmac"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<HmacEntry>,
    /// How often each caller may call it; absent: as its app says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
}

/// How requests are signed: HMAC-SHA256 over the body as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HmacEntry {
    /// The name of the app's secret that is the key.
    pub secret: String,
    /// The header field with the signature; `X-Hub-Signature-256` unless named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The header field with the time of sending in seconds since 1970, if that is signed too and not beside the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// What is signed: `{body}`, or `{timestamp}.{body}` when requests are good for a while only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
    /// How far the time of sending may be off: a duration, `5m` unless named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<String>,
}

/// `collection_glob` and `ops` are for `kv` and `docs`, `source` and `trigger` for `dead_letter`, `cron`, `time_zone` and
/// `catch_up` for `schedule`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TriggerEntry {
    /// `kv`, `docs`, `dead_letter` or `schedule`.
    pub kind: String,
    pub name: String,
    pub script: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection_glob: Option<String>,
    /// Empty: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ops: Option<Vec<String>>,
    /// Only dead letters of this source: `http`, `task`, or a kind of trigger but this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only dead letters of the trigger with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// Minute, hour, day, month, weekday; before them, if wanted, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Such as `Europe/Berlin` or `UTC`; `local`, which is the default, is the zone of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What becomes of times missed while the power was off: `none`, which is the default, `once` or `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// `any`, which is the default, or `by_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering: Option<String>,
    /// At most this many of its runs at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryEntry>,
}

impl TriggerEntry {
    /// The keys that are for one kind or another, in the order in which they are written, with what stands there.
    pub fn own_keys(&self) -> [(&'static str, Option<Value>); 7] {
        let text = |value: &Option<String>| value.clone().map(Value::from);
        [
            ("collection_glob", text(&self.collection_glob)),
            ("ops", self.ops.clone().map(Value::from)),
            ("source", text(&self.source)),
            ("trigger", text(&self.trigger)),
            ("cron", text(&self.cron)),
            ("time_zone", text(&self.time_zone)),
            ("catch_up", text(&self.catch_up)),
        ]
    }
}

/// What is not named has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetryEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// `exponential`, `linear` or `constant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<String>,
    /// A duration such as `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// A duration such as `15m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<String>,
    /// Fraction of the delay, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<f64>,
}

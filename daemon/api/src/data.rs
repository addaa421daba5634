//! KV entries and documents: looked at and edited.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::script::{FiredItem, WriteItem};

/// A collection in the list of those that an app has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CollectionItem {
    pub app: String,
    /// `kv` or `docs`.
    pub space: String,
    pub collection: String,
}

/// The query of a list of entries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EntriesQuery {
    /// Only keys that begin with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A value or a document. Its version is its `ETag`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EntryItem {
    pub app: String,
    /// `kv` or `docs`.
    pub space: String,
    pub collection: String,
    pub key: String,
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub value: Box<RawValue>,
    /// Greater with each write, also when the key was gone meanwhile.
    pub version: i64,
    pub expires_at: Option<i64>,
    pub written_by: Writer,
}

/// Who wrote an entry last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Writer {
    /// The script, when a run wrote it.
    pub script: Option<String>,
    pub script_version: Option<i64>,
    /// The first row of the chain that led to it, and the row whose run wrote it.
    pub root_id: Option<String>,
    pub cause_id: Option<String>,
    /// Whoever edited it by hand.
    pub principal: Option<String>,
}

/// The body of `PUT .../{key}`, and of `POST .../{collection}`, which makes a document under a new id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EntryPut {
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub value: Box<RawValue>,
    /// A duration such as `10m`, after which the entry counts as absent. Of KV entries only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// Only say what would be written and which triggers that would set off.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an edit did, or (a dry run) would do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Edited {
    pub app: String,
    pub dry_run: bool,
    /// Absent when it was gone already.
    pub write: Option<WriteItem>,
    /// The triggers that it sets off.
    pub triggers: Vec<FiredItem>,
    /// Root of the chain that it begins.
    pub root_id: Option<String>,
    /// The entry's new version; absent when it is gone, or was written over meanwhile.
    pub version: Option<i64>,
}

//! Entries: what the KV and the document store hold. Both are the same thing, a versioned JSON text under a
//! key, in two spaces; they differ in what scripts may do with them and in which triggers they set off.

use std::sync::Arc;

use picloud_scripts_runtime::effect::Key;

use crate::ids::AppId;
use crate::time::Timestamp;

/// A key of one app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntryKey {
    pub app: AppId,
    pub key: Key,
}

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// From the store's counter: greater than every version before, also of this key's former lives.
    pub version: i64,
    /// JSON text.
    pub value: Arc<str>,
    /// From then on the entry counts as absent.
    pub expires_at: Option<Timestamp>,
    /// Who wrote it: script, version, root and cause, at most 120 bytes.
    pub written_by: Arc<str>,
}

impl Entry {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// What a write did to a key: what triggers are matched against.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub key: EntryKey,
    pub op: ChangeOp,
    pub version: i64,
    /// JSON text; absent after a delete.
    pub value: Option<Arc<str>>,
    /// JSON text; absent when the key was.
    pub prev: Option<Arc<str>>,
}

/// `Set` is the KV store's create and update in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOp {
    Set,
    Create,
    Update,
    Delete,
}

impl ChangeOp {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

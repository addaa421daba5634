//! What a run read and what it wants written: data, not deeds.

use std::sync::Arc;

/// Which of an app's two stores a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    Kv,
    Docs,
}

/// One key of the KV store or the id of one document, within the app of the run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub space: Space,
    pub collection: Arc<str>,
    pub key: Arc<str>,
}

/// A stored value as a run sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Greater than 0, and greater with every write to the store.
    pub version: i64,
    /// JSON text.
    pub value: Arc<str>,
}

/// A key that the run read from the store, and the version that it saw: 0 when the key was absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    pub key: Key,
    pub version: i64,
}

/// The operand of a blind increment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    Integer(i64),
    Float(f64),
}

/// One write that a successful run asks for. They are applied in order, all or none.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write the whole value: `kv.set`, `docs.put`, `docs.create` (whose id is fresh). `ttl_ms` is relative to the commit.
    Put {
        key: Key,
        value: Arc<str>,
        ttl_ms: Option<i64>,
    },
    /// Merge into a document that must exist (RFC 7396); computed against the value at commit.
    Patch {
        key: Key,
        patch: Arc<str>,
    },
    /// Add to a number, absent counting as 0; computed against the value at commit, never conflicts.
    Increment {
        key: Key,
        by: Amount,
    },
    /// Remove; removing what is absent is no change.
    Delete {
        key: Key,
    },
    /// Run `script` of the same app later.
    Enqueue {
        script: Arc<str>,
        /// JSON text.
        payload: Arc<str>,
        delay_ms: i64,
        /// Tasks of one key run one at a time, in order.
        order_key: Option<Arc<str>>,
        /// Dropped while a task with the same value waits for its first start.
        dedupe: Option<Arc<str>>,
    },
    /// Make a new row out of a dead letter, with its own event or another payload (JSON text).
    ReplayDeadLetter {
        id: Arc<str>,
        payload: Option<Arc<str>>,
    },
    DiscardDeadLetter {
        id: Arc<str>,
        reason: Arc<str>,
    },
}

//! An outbox row and the claim on it.

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::ids::{AppId, Id, PrincipalId, QueueId};
use crate::outbox::source::OutboxSourceKind;
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

/// One piece of work, complete in itself: whatever made it may be changed or deleted, the row still runs.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// Also the execution's id.
    pub id: Id,
    pub app: AppId,
    pub queue: QueueId,
    pub source: OutboxSourceKind,
    /// Number of the route or trigger that made it; `None` for tasks and replays of them.
    pub origin: Option<i64>,
    pub script: Arc<str>,
    pub principal: PrincipalId,
    /// The event as JSON text of a map, as `ExecRequest::event` wants it.
    pub event: Arc<str>,
    pub retry: RetryPolicy,
    /// Rows of one key in one queue run one at a time.
    pub order: Option<OrderKey>,
    pub dedupe: Option<Arc<str>>,
    /// When it may run. [`Timestamp::held`] while it waits for the row before it of the same key.
    pub available_at: Timestamp,
    /// Attempts charged so far.
    pub attempt: u32,
    /// How often it was found claimed by an owner that had died, without evidence that it was to blame.
    pub orphaned: u32,
    pub depth: u32,
    /// The first row of the chain that this one belongs to; its own id when it is the first.
    pub root: Id,
    /// The row whose run made this one.
    pub cause: Option<Id>,
    /// Somebody waits for the answer until then: a sync row.
    pub reply_by: Option<Timestamp>,
    /// For a dead-letter handler: the letter that it handles.
    pub letter: Option<Id>,
    /// The letter that this row replays.
    pub replay_of: Option<Id>,
    /// The row that this one is a replay of, in the end, over all replays; its own id when it replays none. Calls to the
    /// outside are told apart by it.
    pub first: Id,
    /// How the answer is kept for a caller that sends the request again.
    pub idempotency: Option<IdempotencyKey>,
}

impl OutboxRow {
    /// The same row as one that replays `first`, if it replays any.
    #[must_use]
    pub fn replaying(self, first: Option<Id>) -> OutboxRow {
        OutboxRow { first: first.unwrap_or(self.id), ..self }
    }

    /// When the row was made: its id says so.
    pub fn created_at(&self) -> Timestamp {
        self.id.time()
    }

    /// The `Idempotency-Key` of the run's `number`th call to the outside: the same over re-runs, retries, crashes and a
    /// replay as it was. A replay with another event has another one.
    pub fn call_key(&self, number: u32) -> String {
        let text = format!("picloud call\0{}\0{number}\0{}", self.first, self.event);
        let hash = Sha256::digest(text.as_bytes());
        hash.iter().take(16).fold(String::new(), |mut key, byte| {
            let _infallible = write!(key, "{byte:02x}");
            key
        })
    }

    pub fn is_sync(&self) -> bool {
        self.reply_by.is_some()
    }

    /// What the row weighs against its app's limit: its texts and a constant for the rest.
    pub fn bytes(&self) -> i64 {
        let texts = self.event.len() + self.script.len();
        i64::try_from(texts + 200).unwrap_or(i64::MAX)
    }
}

/// Place of a row in the line of its key.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderKey {
    /// The KV key, the document's id, or what `outbox::enqueue` was given.
    pub key: Arc<str>,
    /// From the store's counter: the version of the change, or the number of the enqueueing.
    pub version: i64,
}

/// What makes two requests the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    pub app: AppId,
    /// Route number.
    pub route: i64,
    pub principal: PrincipalId,
    pub key: Arc<str>,
    /// SHA-256 of the body, hexadecimal.
    pub body_hash: Arc<str>,
}

/// The right to end a row. A settle that does not hold the row's current lease writes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Random id of one start of one daemon.
    pub owner: Id,
    /// From the store's counter, new for each claim.
    pub token: i64,
}

/// A row that this daemon holds.
#[derive(Clone, Debug)]
pub struct Claim {
    pub row: Arc<OutboxRow>,
    pub lease: Lease,
}

/// Why a row ended without success and without a dead letter. The texts are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AbandonReason {
    CallerGone,
    DepthLimit,
    OwnerDied,
    AppDeleted,
}

impl AbandonReason {
    pub const ALL: [AbandonReason; 4] =
        [Self::CallerGone, Self::DepthLimit, Self::OwnerDied, Self::AppDeleted];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallerGone => "caller_gone",
            Self::DepthLimit => "depth_limit",
            Self::OwnerDied => "owner_died",
            Self::AppDeleted => "app_deleted",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A fresh task, for tests to change.
    pub(crate) fn row() -> OutboxRow {
        OutboxRow {
            id: Id(1 << 80),
            app: AppId(1),
            queue: QueueId(2),
            source: OutboxSourceKind::Task,
            origin: None,
            script: "work".into(),
            principal: PrincipalId(9),
            event: "{}".into(),
            retry: RetryPolicy::default(),
            order: None,
            dedupe: None,
            available_at: Timestamp(0),
            attempt: 0,
            orphaned: 0,
            depth: 0,
            root: Id(1 << 80),
            cause: None,
            reply_by: None,
            letter: None,
            replay_of: None,
            first: Id(1 << 80),
            idempotency: None,
        }
    }

    #[test]
    fn the_key_of_a_call_is_that_of_the_work_and_not_of_the_attempt() {
        let key = |row: &OutboxRow, number| row.call_key(number);
        let fresh = row();
        let again = OutboxRow { attempt: 3, orphaned: 1, depth: 2, ..row() };
        let replay = OutboxRow { id: Id(7), replay_of: Some(Id(5)), ..row() };
        assert_eq!(key(&fresh, 1), key(&again, 1));
        assert_eq!(key(&fresh, 1), key(&replay, 1));
        let edited = OutboxRow { event: "{\"payload\":1}".into(), ..replay };
        let other = OutboxRow { id: Id(8), first: Id(8), ..row() };
        let keys = [key(&fresh, 1), key(&fresh, 2), key(&edited, 1), key(&other, 1)];
        let mut different = keys.to_vec();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), 4, "{keys:?}");
        assert_eq!(keys[0].len(), 32);
    }
}

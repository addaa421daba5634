//! What a batch knows before it plans, and learns while it does.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use picloud_scripts_runtime::effect::Key;

use crate::catalog::Catalog;
use crate::entry::{Entry, EntryKey};
use crate::failure::Failure;
use crate::faults::Faults;
use crate::flow::Kept;
use crate::flow::writes::{EntryWrite, LetterWrite, LineWrite, RowWrite, Writes};
use crate::ids::{AppId, Id, PrincipalId, QueueId};
use crate::limits::OutboxLimits;
use crate::outbox::row::{IdempotencyKey, Lease, OutboxRow};
use crate::time::Timestamp;

/// The facts that a batch has to read, collected from all its commands.
#[derive(Debug, Default)]
pub struct Keys {
    pub entries: HashSet<EntryKey>,
    /// Rows whose lease is to be checked.
    pub rows: HashSet<Id>,
    pub dedupe: HashSet<(AppId, Arc<str>)>,
    pub requests: HashSet<RequestKey>,
    /// Lines of rows that run one at a time.
    pub lines: HashSet<LineKey>,
    pub letters: HashSet<Id>,
    /// Rows that somebody wants to change or to take out.
    pub waiting: HashSet<Id>,
}

/// An idempotency key without the hash of the body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey {
    pub app: AppId,
    pub route: i64,
    pub principal: PrincipalId,
    pub key: Arc<str>,
}

impl RequestKey {
    pub fn of(key: &IdempotencyKey) -> RequestKey {
        RequestKey {
            app: key.app,
            route: key.route,
            principal: key.principal,
            key: Arc::clone(&key.key),
        }
    }
}

/// Rows of one key in one queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineKey {
    pub queue: QueueId,
    pub key: Arc<str>,
}

impl Keys {
    pub fn entry(&mut self, app: AppId, key: &Key) {
        self.entries.insert(EntryKey { app, key: key.clone() });
    }
}

/// Everything that plans may depend on. What stands above the gap lives as long as the writer, the rest is read for each
/// batch.
#[derive(Debug)]
pub struct Facts {
    pub now: Timestamp,
    /// The owner that rows inserted already claimed belong to.
    pub owner: Id,
    pub catalog: Arc<Catalog>,
    pub limits: Arc<OutboxLimits>,
    /// Bytes of one stored value or document, as JSON: what a change comes to is known only here.
    pub value_bytes_max: usize,
    /// The next number of the store's counter.
    pub next: i64,
    pub storage_low: bool,
    /// What the dispatcher has room for.
    pub room: Room,
    pub usage: HashMap<AppId, Usage>,
    /// Open dead letters by the queue that they came from.
    pub letters_open: HashMap<QueueId, i64>,

    /// Keys of `Keys::entries` that are absent are absent here.
    pub entries: HashMap<EntryKey, Entry>,
    /// Rows of `Keys::rows` that are claimed.
    pub leases: HashMap<Id, Lease>,
    /// Values of `Keys::dedupe` with which a row waits that was never claimed.
    pub dedupe: HashSet<(AppId, Arc<str>)>,
    pub requests: HashMap<RequestKey, KeptRequest>,
    /// The rows of each line in order; at least the first two, if there are as many.
    pub lines: HashMap<LineKey, VecDeque<(Id, Timestamp)>>,
    pub letters: HashMap<Id, LetterFacts>,
    /// How many letters of each root of these have been replayed, counted as far as scripts may.
    pub root_replays: HashMap<Id, u32>,
    /// Rows of `Keys::waiting` that are still there.
    pub waiting: HashMap<Id, WaitingFacts>,

    /// Planted bugs, for tests.
    pub faults: Faults,
}

impl Facts {
    /// Facts of a store in which nothing waits, as far as nothing has been read: for a plan that is only looked at.
    pub fn of_rehearsal(
        catalog: Arc<Catalog>,
        limits: Arc<OutboxLimits>,
        value_bytes_max: usize,
        now: Timestamp,
    ) -> Facts {
        Facts {
            now,
            owner: Id(0),
            catalog,
            limits,
            value_bytes_max,
            next: 1,
            storage_low: false,
            room: Room::default(),
            usage: HashMap::new(),
            letters_open: HashMap::new(),
            entries: HashMap::new(),
            leases: HashMap::new(),
            dedupe: HashSet::new(),
            requests: HashMap::new(),
            lines: HashMap::new(),
            letters: HashMap::new(),
            root_replays: HashMap::new(),
            waiting: HashMap::new(),
            faults: Faults::default(),
        }
    }

    /// The entry under a key, unless it is absent or expired.
    pub fn entry(&self, key: &EntryKey) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.is_live(self.now))
    }

    /// Makes a command's writes visible to the commands after it.
    pub fn absorb(&mut self, writes: &Writes) {
        for (key, write) in &writes.entries {
            match write {
                EntryWrite::Put(entry) => drop(self.entries.insert(key.clone(), entry.clone())),
                EntryWrite::Delete => drop(self.entries.remove(key)),
            }
        }
        for (id, write) in &writes.rows {
            self.absorb_row(*id, write);
        }
        for (line, write) in &writes.lines {
            let ids = self.lines.entry(line.clone()).or_default();
            match write {
                LineWrite::Joined(id, at) => ids.push_back((*id, *at)),
                LineWrite::Left(id) => ids.retain(|(known, _)| known != id),
            }
        }
        for letter in &writes.letters {
            *self.letters_open.entry(letter.row.queue).or_default() += 1;
        }
        for id in &writes.letters_reopened {
            if let Some(letter) = self.letters.get_mut(id)
                && !std::mem::replace(&mut letter.open, true)
            {
                letter.end = None;
                *self.letters_open.entry(letter.row.queue).or_default() += 1;
            }
        }
        for (id, mark) in &writes.letter_marks {
            self.absorb_letter(*id, mark);
        }
        for (key, (body_hash, answer)) in &writes.requests {
            let kept = KeptRequest { body_hash: Arc::clone(body_hash), answer: answer.clone() };
            self.requests.insert(key.clone(), kept);
        }
        for (app, change) in &writes.usage {
            self.usage.entry(*app).or_default().add(change);
        }
        self.next = self.next.max(writes.next);
    }

    fn absorb_row(&mut self, id: Id, write: &RowWrite) {
        let lease = match write {
            RowWrite::Insert(row, lease) => {
                if let Some(value) = &row.dedupe {
                    self.dedupe.insert((row.app, Arc::clone(value)));
                }
                *lease
            }
            RowWrite::Update(update) => update.lease,
            RowWrite::Delete => None,
        };
        match lease {
            Some(lease) => drop(self.leases.insert(id, lease)),
            None => drop(self.leases.remove(&id)),
        }
        match write {
            RowWrite::Insert(..) => {}
            RowWrite::Update(update) => {
                if let Some(waiting) = self.waiting.get_mut(&id) {
                    let row = Arc::make_mut(&mut waiting.row);
                    row.available_at = update.available_at;
                    row.attempt = update.attempt;
                    row.orphaned = update.orphaned;
                    waiting.claimed = update.lease.is_some();
                }
            }
            RowWrite::Delete => drop(self.waiting.remove(&id)),
        }
    }

    fn absorb_letter(&mut self, id: Id, mark: &LetterWrite) {
        let Some(root) = self.letters.get(&id).map(|letter| letter.row.root) else { return };
        match mark {
            LetterWrite::Replayed { .. } => *self.root_replays.entry(root).or_default() += 1,
            LetterWrite::Discarded { .. } => {}
            LetterWrite::HandlerFailed { .. } => return,
        }
        let letter = self.letters.get_mut(&id).expect("it was found above");
        letter.end = match mark {
            LetterWrite::Replayed { by, .. } => Some(LetterEnd::Replayed(*by)),
            LetterWrite::Discarded { .. } => Some(LetterEnd::Discarded),
            LetterWrite::HandlerFailed { .. } => None,
        };
        if std::mem::replace(&mut letter.open, false) {
            *self.letters_open.entry(letter.row.queue).or_default() -= 1;
        }
    }
}

/// What an app has waiting in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub rows: i64,
    pub bytes: i64,
    /// Tasks delayed by a second or more.
    pub delayed: i64,
}

impl Usage {
    pub fn add(&mut self, change: &Usage) {
        self.rows += change.rows;
        self.bytes += change.bytes;
        self.delayed += change.delayed;
    }
}

/// A request that was answered before.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptRequest {
    pub body_hash: Arc<str>,
    /// `None` when the answer was too large to keep.
    pub answer: Option<Kept>,
}

/// What changing a row has to know.
#[derive(Clone, Debug)]
pub struct WaitingFacts {
    pub row: Arc<OutboxRow>,
    /// It is claimed: it runs, or is about to.
    pub claimed: bool,
    pub failure: Option<Failure>,
}

/// What replaying or discarding a dead letter has to know.
#[derive(Clone, Debug)]
pub struct LetterFacts {
    pub app: AppId,
    pub open: bool,
    /// What became of it; absent while it is open.
    pub end: Option<LetterEnd>,
    /// The row as it died, to be made anew.
    pub row: Arc<OutboxRow>,
}

/// How a dead letter was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterEnd {
    /// By this row.
    Replayed(Id),
    Discarded,
}

/// How many rows may be handed over now. A plan takes from it as it places rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Room {
    pub rows: usize,
    /// The last row may weigh more than is left, since a row may be larger than all there is: below zero then.
    pub bytes: i64,
    /// What one app may hold of `rows`.
    pub app_rows_max: usize,
    /// What apps hold now.
    pub app_rows: HashMap<AppId, usize>,
    /// Queues with a limit of their own: what is left of it.
    pub queue_rows: HashMap<QueueId, usize>,
    /// Rows that have to run alone and are held already. There is never a second one, so that a crash without evidence
    /// can only be the doing of the one that was claimed.
    pub suspects: usize,
}

impl Room {
    /// Whether a row of this app and queue may be handed over.
    pub fn has(&self, app: AppId, queue: QueueId) -> bool {
        self.rows > 0
            && self.bytes > 0
            && self.app_rows.get(&app).copied().unwrap_or(0) < self.app_rows_max
            && self.queue_rows.get(&queue).is_none_or(|left| *left > 0)
    }

    pub fn take(&mut self, app: AppId, queue: QueueId, bytes: i64) {
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        *self.app_rows.entry(app).or_default() += 1;
        if let Some(left) = self.queue_rows.get_mut(&queue) {
            *left = left.saturating_sub(1);
        }
    }
}

//! The backlog: which queues have rows that may be due, so that an idle store is not asked and each app gets its
//! turn, and the claims that ride on a batch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::flow::claim;
use crate::flow::facts::{Facts, Room, Usage};
use crate::ids::{AppId, Id, QueueId};
use crate::log::{field, message};
use crate::outbox::row::OutboxRow;
use crate::store::batch::{BATCH_ROWS_MAX, Batcher, Planned, Undone};
use crate::store::engine::{self, Connection};
use crate::store::rows::{self, PackedRow};
use crate::store::{apply, sql};
use crate::time::Timestamp;

/// Queues from which one batch claims.
pub(crate) const QUEUES_MAX: usize = 16;

/// Bytes of the backlog's rows that one batch reads, but for the first row of each queue.
const CANDIDATES_BYTES_MAX: i64 = 8 << 20;

/// For how long a queue is left alone whose rows could not be read.
pub(crate) const UNREADABLE_MS: i64 = 60_000;

/// Whether due rows had to stay behind because whoever runs them had no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Left {
    #[default]
    None,
    Some,
}

/// For each queue with pending rows the earliest time at which one could be due. May be too early, never too late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    queues: BTreeMap<(AppId, QueueId), Timestamp>,
    /// Queues whose rows could not be read, and when to try them again.
    unreadable: HashMap<(AppId, QueueId), Timestamp>,
    /// Whose turn it was last.
    last_app: Option<AppId>,
    last_queue: HashMap<AppId, QueueId>,
}

impl Backlog {
    /// A row of the queue became pending.
    pub(crate) fn lower(&mut self, app: AppId, queue: QueueId, at: Timestamp) {
        if !at.is_held() {
            let known = self.queues.entry((app, queue)).or_insert(at);
            *known = at.min(*known);
        }
    }

    /// Every queue with the earliest time at which it may be claimed from.
    fn opens(&self) -> impl Iterator<Item = ((AppId, QueueId), Timestamp)> {
        self.queues.iter().map(|(key, at)| match self.unreadable.get(key) {
            Some(again) => (*key, *again.max(at)),
            None => (*key, *at),
        })
    }

    /// The queue was looked at.
    pub(crate) fn set(&mut self, app: AppId, queue: QueueId, next: Option<Timestamp>) {
        self.unreadable.remove(&(app, queue));
        match next {
            Some(at) if !at.is_held() => drop(self.queues.insert((app, queue), at)),
            Some(_) | None => {
                self.queues.remove(&(app, queue));
                self.last_queue.remove(&app);
            }
        }
    }

    /// The queues that have pending rows.
    pub(crate) fn queues(&self) -> Vec<(AppId, QueueId)> {
        self.queues.keys().copied().collect()
    }

    /// Nothing of the app waits any more.
    pub(crate) fn forget(&mut self, app: AppId) {
        self.queues.retain(|(known, _), _| *known != app);
        self.last_queue.remove(&app);
    }

    /// Notes whose turn it was.
    pub(crate) fn served(&mut self, queues: &[(AppId, QueueId)]) {
        for (app, queue) in queues {
            self.last_app = Some(*app);
            self.last_queue.insert(*app, *queue);
        }
    }

    /// The queues to claim from now: round the apps, and within each round its queues.
    pub(crate) fn due(
        &self,
        catalog: &Catalog,
        room: &Room,
        now: Timestamp,
    ) -> Vec<(AppId, QueueId)> {
        let mut apps: BTreeMap<AppId, Vec<QueueId>> = BTreeMap::new();
        for ((app, queue), at) in self.opens() {
            let may = at <= now && catalog.runs(app, queue);
            if may && room.has(app, queue) {
                apps.entry(app).or_default().push(queue);
            }
        }
        let mut turns: Vec<(AppId, Vec<QueueId>)> = apps.into_iter().collect();
        let after = turns.partition_point(|(app, _)| Some(*app) <= self.last_app);
        turns.rotate_left(after);
        for (app, queues) in &mut turns {
            let last = self.last_queue.get(app);
            let after = queues.partition_point(|queue| Some(queue) <= last);
            queues.rotate_left(after);
        }
        let mut chosen = Vec::new();
        let longest = turns.iter().map(|(_, queues)| queues.len()).max().unwrap_or(0);
        for round in 0..longest {
            for (app, queues) in &turns {
                if let Some(queue) = queues.get(round) {
                    chosen.push((*app, *queue));
                }
                if chosen.len() == QUEUES_MAX {
                    return chosen;
                }
            }
        }
        chosen
    }

    /// Whether rows are due that nothing holds up but a lack of room.
    pub(crate) fn left(&self, catalog: &Catalog, now: Timestamp) -> Left {
        let is_left = self.opens().any(|((app, queue), at)| at <= now && catalog.runs(app, queue));
        if is_left { Left::Some } else { Left::None }
    }

    /// When the next row of a queue that is not paused becomes due; what is due already waits for room instead.
    pub(crate) fn next_due(&self, catalog: &Catalog, now: Timestamp) -> Option<Timestamp> {
        let runs = |(app, queue): (AppId, QueueId)| catalog.runs(app, queue);
        let waiting = self.opens().filter(|(key, at)| *at > now && runs(*key));
        waiting.map(|(_, at)| at).min()
    }
}

impl Batcher {
    /// Leaves a queue alone for a while, so that the others are claimed from. It is told of once.
    pub(crate) fn set_aside(&mut self, (app, queue): (AppId, QueueId), why: &str, now: Timestamp) {
        let again = now.plus_ms(UNREADABLE_MS);
        let known = self.standing.backlog.unreadable.insert((app, queue), again);
        if known.is_none() {
            let catalog = self.catalog.load();
            let slug = catalog.apps.get(&app).map(|app| &*app.slug);
            tracing::error!(
                { field::MESSAGE_ID } = message::ROWS_UNREADABLE.0,
                { field::APP } = slug,
                { field::QUEUE } = %queue,
                { field::ERROR } = why,
                "rows that wait cannot be read: they are tried again every minute"
            );
        }
    }

    /// Claims due rows as far as there is room. They are read after the batch's own writes, so that both agree.
    pub(crate) async fn claim_backlog(
        &mut self,
        batch: &mut Planned,
        facts: &mut Facts,
    ) -> Result<(), Undone> {
        let queues = batch.backlog.due(&facts.catalog, &facts.room, facts.now);
        if queues.is_empty() {
            return Ok(());
        }
        let mut candidates = Vec::new();
        let mut looked_at = Vec::new();
        for (app, queue) in &queues {
            let rows = self.candidates(*app, *queue, queues.len(), facts).await;
            let rows =
                rows.map_err(|error| Undone::Unreadable { app: *app, queue: *queue, error })?;
            looked_at.push((*app, *queue, rows.len()));
            candidates.extend(rows);
        }
        let claims = claim::plan(candidates.clone(), facts);
        if !claims.is_empty() {
            apply::claims(&mut self.conn, &claims, self.owner).await?;
        }
        let taken: HashSet<Id> = claims.iter().map(|claim| claim.row.id).collect();
        let mut rows = candidates.iter();
        for (app, queue, count) in looked_at {
            let left = rows.by_ref().take(count).filter(|row| !taken.contains(&row.id));
            let next = match left.map(|row| row.available_at).min() {
                Some(at) => Some(at),
                None => {
                    let next = self.next_of(queue).await;
                    next.map_err(|error| Undone::Unreadable { app, queue, error })?
                }
            };
            batch.backlog.set(app, queue, next);
        }
        batch.backlog.served(&queues);
        batch.claims.extend(claims);
        Ok(())
    }

    /// The due rows of one of so many queues, at most its share of the room.
    async fn candidates(
        &mut self,
        app: AppId,
        queue: QueueId,
        queues: usize,
        facts: &Facts,
    ) -> Result<Vec<Arc<OutboxRow>>, sqlx::Error> {
        let room = &facts.room;
        let held = room.app_rows.get(&app).copied().unwrap_or(0);
        let of_app = room.app_rows_max.saturating_sub(held);
        let of_queue = room.queue_rows.get(&queue).copied().unwrap_or(usize::MAX);
        let share = room.rows.div_ceil(queues).min(of_app).min(of_queue).min(BATCH_ROWS_MAX);
        let share = i64::try_from(share).unwrap_or(i64::MAX);
        let shares = i64::try_from(queues).unwrap_or(i64::MAX);
        let bytes_max = room.bytes.min(CANDIDATES_BYTES_MAX) / shares;
        let fitting = if self.usage(app).bytes <= bytes_max {
            share
        } else {
            // One row is always let through.
            let query = engine::query(sql::BACKLOG_FITTING);
            let query = query.bind(queue.0).bind(facts.now.0).bind(share).bind(bytes_max);
            query.fetch_one(&mut self.conn).await?.int(0)?
        };
        if fitting == 0 {
            return Ok(Vec::new());
        }
        let query = engine::query(sql::BACKLOG_DUE).bind(queue.0).bind(facts.now.0).bind(fitting);
        let found = query.fetch_one(&mut self.conn).await?;
        let rows = rows::unpack::<PackedRow>(found.text(0)?)?.into_iter();
        rows.map(|row| row.into_row(&mut self.retries).map(Arc::new)).collect()
    }

    async fn next_of(&mut self, queue: QueueId) -> Result<Option<Timestamp>, sqlx::Error> {
        let query = engine::query(sql::BACKLOG_NEXT).bind(queue.0);
        let found = query.fetch_optional(&mut self.conn).await?;
        found.map(|row| row.int(0).map(Timestamp)).transpose()
    }
}

/// What waits at the start, searched queue by queue.
pub(crate) async fn load(
    conn: &mut Connection,
) -> Result<(HashMap<AppId, Usage>, Backlog), sqlx::Error> {
    let mut usage: HashMap<AppId, Usage> = HashMap::new();
    let mut backlog = Backlog::default();
    for row in &engine::query(sql::BACKLOG_QUEUES).fetch_all(&mut *conn).await? {
        let (queue, app) = (QueueId(rows::int(row, 0)?), AppId(rows::int(row, 1)?));
        backlog.lower(app, queue, Timestamp(rows::int(row, 2)?));
        let pending = engine::query(sql::USAGE_PENDING).bind(queue.0).fetch_one(&mut *conn).await?;
        let (rows, bytes) = (rows::int(&pending, 0)?, rows::int(&pending, 1)?);
        usage.entry(app).or_default().add(&Usage { rows, bytes, delayed: 0 });
    }
    for row in &engine::query(sql::USAGE_CLAIMED).fetch_all(&mut *conn).await? {
        let claimed = Usage { rows: rows::int(row, 1)?, bytes: rows::int(row, 2)?, delayed: 0 };
        usage.entry(AppId(rows::int(row, 0)?)).or_default().add(&claimed);
    }
    for (app, usage) in &mut usage {
        let query = engine::query(sql::USAGE_DELAYED).bind(app.0);
        usage.delayed = query.fetch_one(&mut *conn).await?.int(0)?;
    }
    Ok((usage, backlog))
}

pub(crate) async fn load_letters_open(
    conn: &mut Connection,
) -> Result<HashMap<QueueId, i64>, sqlx::Error> {
    let found = engine::query(sql::LETTERS_OPEN).fetch_all(conn).await?;
    found.iter().map(|row| Ok((QueueId(rows::int(row, 0)?), rows::int(row, 1)?))).collect()
}

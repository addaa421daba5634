//! Which queues have rows that may be due, so that an idle store is not asked and each app gets its turn.

use std::collections::{BTreeMap, HashMap};

use crate::catalog::Catalog;
use crate::flow::facts::Room;
use crate::ids::{AppId, QueueId};
use crate::time::Timestamp;

/// Queues from which one batch claims.
pub(crate) const QUEUES_MAX: usize = 16;

/// For each queue with pending rows the earliest time at which one could be due. May be too early, never too late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    queues: BTreeMap<(AppId, QueueId), Timestamp>,
    /// Whose turn it was last.
    last_app: Option<AppId>,
    last_queue: HashMap<AppId, QueueId>,
}

impl Backlog {
    /// A row of the queue became pending.
    pub(crate) fn lower(&mut self, app: AppId, queue: QueueId, at: Timestamp) {
        if at < Timestamp::NEVER {
            let known = self.queues.entry((app, queue)).or_insert(at);
            *known = at.min(*known);
        }
    }

    /// The queue was looked at.
    pub(crate) fn set(&mut self, app: AppId, queue: QueueId, next: Option<Timestamp>) {
        match next {
            Some(at) if at < Timestamp::NEVER => drop(self.queues.insert((app, queue), at)),
            Some(_) | None => {
                self.queues.remove(&(app, queue));
                self.last_queue.remove(&app);
            }
        }
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
        for ((app, queue), at) in &self.queues {
            let may = *at <= now && catalog.pause(*app, *queue).is_none();
            if may && room.has(*app, *queue, 0) {
                apps.entry(*app).or_default().push(*queue);
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

    /// When the next row of a queue that is not paused becomes due; what is due already waits for room instead.
    pub(crate) fn next_due(&self, catalog: &Catalog, now: Timestamp) -> Option<Timestamp> {
        let runs = |(app, queue): &(AppId, QueueId)| catalog.pause(*app, *queue).is_none();
        let waiting = self.queues.iter().filter(|(key, at)| **at > now && runs(key));
        waiting.map(|(_, at)| *at).min()
    }
}

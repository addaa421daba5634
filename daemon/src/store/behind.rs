//! Sync rows that are written behind their runs: kept in memory, and written only when the run lasts long.
//!
//! A sync row is never retried, so its run need not wait for it to be durable. When the run ends first, the row never
//! reaches the store.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::flow::accept::Accept;
use crate::flow::settle::Stored;
use crate::ids::Id;
use crate::outbox::row::{Lease, OutboxRow};

/// A run that has lasted so long gets its row written.
pub const FLUSH_AFTER: Duration = Duration::from_millis(250);

/// The rows that are not written yet.
#[derive(Debug, Default)]
pub struct Behind {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    rows: HashMap<Id, (Arc<OutboxRow>, Lease)>,
    /// In the order in which they came; may name rows that are gone.
    order: VecDeque<(Duration, Id)>,
    /// Counts down: tokens that the store's counter never gives.
    last_token: i64,
    armed: bool,
}

/// Whether somebody has to look after the buffer from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    Start,
    Runs,
}

impl Behind {
    /// Keeps a row; its run may start at once, under the lease that is returned.
    pub fn put(&self, row: Arc<OutboxRow>, owner: Id, monotonic: Duration) -> (Lease, Timer) {
        let mut kept = self.kept.lock().expect("no panic while held");
        kept.last_token -= 1;
        let lease = Lease { owner, token: kept.last_token };
        kept.order.push_back((monotonic, row.id));
        kept.rows.insert(row.id, (row, lease));
        let timer = if kept.armed { Timer::Runs } else { Timer::Start };
        kept.armed = true;
        (lease, timer)
    }

    /// Takes a row out whose run has ended. `No`: it was never written, and will not be.
    pub fn elide(&self, id: Id) -> Stored {
        let mut kept = self.kept.lock().expect("no panic while held");
        match kept.rows.remove(&id) {
            Some(_) => Stored::No,
            None => Stored::Yes,
        }
    }

    /// Takes out what has to be written now, and says after how long to look again.
    pub fn flush(&self, monotonic: Duration) -> (Vec<Accept>, Option<Duration>) {
        let mut kept = self.kept.lock().expect("no panic while held");
        let mut flushed = Vec::new();
        while let Some((since, id)) = kept.order.front().copied() {
            let age = monotonic.saturating_sub(since);
            let is_there = kept.rows.contains_key(&id);
            if is_there && age < FLUSH_AFTER {
                return (flushed, Some(FLUSH_AFTER - age));
            }
            kept.order.pop_front();
            if let Some((row, lease)) = kept.rows.remove(&id) {
                flushed.push(Accept { row, lease: Some(lease) });
            }
        }
        kept.armed = false;
        (flushed, None)
    }

    /// Keeps a row after all whose insert was refused, so that its settle does not look for it in the store.
    pub fn put_back(&self, row: Arc<OutboxRow>, lease: Lease) {
        let mut kept = self.kept.lock().expect("no panic while held");
        kept.rows.insert(row.id, (row, lease));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::row::tests::row;

    fn sync_row(number: u128) -> Arc<OutboxRow> {
        Arc::new(OutboxRow { id: Id(number), ..row() })
    }

    const OWNER: Id = Id(9);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_row_whose_run_ends_soon_is_never_written() {
        let behind = Behind::default();
        let (lease, timer) = behind.put(sync_row(1), OWNER, Duration::ZERO);
        assert_eq!((lease.owner, timer), (OWNER, Timer::Start));
        assert_eq!(behind.elide(Id(1)), Stored::No);
        let (flushed, again) = behind.flush(FLUSH_AFTER * 2);
        assert!(flushed.is_empty() && again.is_none());
    }

    #[test]
    fn a_row_whose_run_lasts_is_written_once_with_its_lease() {
        let behind = Behind::default();
        let (lease, _) = behind.put(sync_row(1), OWNER, Duration::ZERO);
        let (later, timer) = behind.put(sync_row(2), OWNER, 100 * MS);
        assert_eq!(timer, Timer::Runs);
        assert!(later.token < lease.token && lease.token < 0);
        let (flushed, again) = behind.flush(FLUSH_AFTER);
        assert_eq!(
            flushed.iter().map(|one| (one.row.id, one.lease)).collect::<Vec<_>>(),
            [(Id(1), Some(lease))]
        );
        assert_eq!(again, Some(100 * MS));
        assert_eq!(behind.elide(Id(1)), Stored::Yes);
    }

    #[test]
    fn the_timer_runs_only_while_something_is_kept() {
        let behind = Behind::default();
        behind.put(sync_row(1), OWNER, Duration::ZERO);
        behind.elide(Id(1));
        assert_eq!(behind.flush(FLUSH_AFTER).1, None);
        assert_eq!(behind.put(sync_row(2), OWNER, FLUSH_AFTER).1, Timer::Start);
    }
}

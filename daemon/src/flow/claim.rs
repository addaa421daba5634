//! Claiming: due rows are handed to the dispatcher, as many as it has room for.
//!
//! A row that is inserted while there is room is inserted already claimed, so that claiming costs no write. Only a
//! backlog is claimed by update.

use std::sync::Arc;

use crate::flow::facts::Facts;
use crate::flow::writes::{RowWrite, Writes};
use crate::outbox::decide::SUSPECT_AFTER;
use crate::outbox::row::{Claim, Lease, OutboxRow};

/// Claims what a batch inserts and what is due at once. Called once a batch, over all of its writes.
pub fn place(writes: &mut Writes, facts: &mut Facts) -> Vec<Claim> {
    let mut due: Vec<Arc<OutboxRow>> = writes
        .rows
        .values()
        .filter_map(|write| match write {
            RowWrite::Insert(row, None) if row.available_at <= facts.now => Some(Arc::clone(row)),
            RowWrite::Insert(..) | RowWrite::Update(_) | RowWrite::Delete => None,
        })
        .collect();
    due.sort_by_key(|row| row.id);
    let claims = plan(due, facts);
    for claim in &claims {
        let write = RowWrite::Insert(Arc::clone(&claim.row), Some(claim.lease));
        writes.rows.insert(claim.row.id, write);
    }
    writes.next = writes.next.max(facts.next);
    claims
}

/// Claims rows of the backlog, read for this purpose and in the order in which they are to run. Of the rows, only the
/// leases change.
pub fn plan(candidates: Vec<Arc<OutboxRow>>, facts: &mut Facts) -> Vec<Claim> {
    let mut claims = Vec::new();
    for row in candidates {
        let runs = facts.catalog.pause(row.app, row.queue).is_none();
        let is_suspect = row.orphaned >= SUSPECT_AFTER;
        if is_suspect && facts.room.suspects > 0 {
            continue;
        }
        if runs && facts.room.has(row.app, row.queue) {
            facts.room.suspects += usize::from(is_suspect);
            facts.room.take(row.app, row.queue, row.bytes());
            let lease = Lease { owner: facts.owner, token: facts.next };
            facts.next += 1;
            claims.push(Claim { row, lease });
        }
    }
    claims
}

//! Taking over: at start, rows in the hands of an owner that died are released, charged, or abandoned.

use crate::catalog::Catalog;
use crate::flow::Command;
use crate::flow::settle::{Settle, Stored};
use crate::ids::{Id, Ids};
use crate::log::field;
use crate::outbox::decide::{Action, decide_orphan};
use crate::outbox::row::{AbandonReason, Claim};
use crate::time::Timestamp;

/// The settles that end the claims of an owner that died. `running` is what the slots of its process say.
pub fn settles(
    orphans: Vec<Claim>,
    running: &[Id],
    catalog: &Catalog,
    ids: &Ids,
    now: Timestamp,
) -> Vec<Command> {
    let settle = |claim: Claim| {
        let action = match catalog.deleted.contains(&claim.row.app) {
            true => Action::Abandon { reason: AbandonReason::AppDeleted },
            false => decide_orphan(&claim.row, running, now),
        };
        if !matches!(action, Action::Release { .. }) {
            let (id, script) = (claim.row.id, &*claim.row.script);
            tracing::warn!({ field::EXECUTION } = %id, { field::SCRIPT } = script, "it ran when the daemon died");
        }
        Command::Settle(Settle {
            claim,
            stored: Stored::Yes,
            action,
            reads: Vec::new(),
            effects: Vec::new(),
            result: None,
            script_version: 0,
            fresh: ids.next(now),
        })
    };
    orphans.into_iter().map(settle).collect()
}

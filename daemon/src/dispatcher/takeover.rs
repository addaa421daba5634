//! Taking over: at start, rows in the hands of an owner that died are released, charged, or abandoned.

use crate::catalog::Catalog;
use crate::flow::Command;
use crate::flow::settle::{Settle, Stored};
use crate::ids::{Id, Ids};
use crate::log::{field, message};
use crate::outbox::decide::{Action, decide_orphan};
use crate::outbox::row::{AbandonReason, Claim, OutboxRow};
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
        if ran(&claim.row, &action, running) {
            let (id, script) = (claim.row.id, &*claim.row.script);
            tracing::warn!(
                { field::MESSAGE_ID } = message::RAN_WHEN_DIED.0,
                { field::EXECUTION } = %id,
                { field::OUTBOX } = %id,
                { field::SCRIPT } = script,
                "it ran when the daemon died"
            );
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

/// Whether a row that ends is to blame or was lost under way. A sync row ends also when it had only waited.
fn ran(row: &OutboxRow, action: &Action, running: &[Id]) -> bool {
    let ends = !matches!(action, Action::Release { .. });
    ends && (running.contains(&row.id) || !row.is_sync())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::decide::SUSPECT_AFTER;
    use crate::outbox::row::tests::row;

    #[test]
    fn only_a_row_that_ran_is_said_to_have_run() {
        let now = Timestamp(1_000);
        let sync = OutboxRow { reply_by: Some(now), ..row() };
        let suspect = OutboxRow { orphaned: SUSPECT_AFTER, ..row() };
        let id = row().id;
        for (row, running, expected) in [
            (&sync, &[][..], false),
            (&sync, &[Id(77)], false),
            (&sync, &[id], true),
            (&row(), &[], false),
            (&row(), &[id], true),
            (&suspect, &[], true),
        ] {
            let action = decide_orphan(row, running, now);
            assert_eq!(ran(row, &action, running), expected, "{row:?} {running:?}");
        }
    }
}

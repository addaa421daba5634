//! Taking a row out of the outbox before it runs: it becomes a dead letter, so that nothing vanishes.

use std::sync::Arc;

use crate::failure::Failure;
use crate::flow::Refusal;
use crate::flow::layer::Layer;
use crate::flow::manage::{CANCELLED, cut_reason, waiting_row};
use crate::flow::writes::DeadLetter;
use crate::ids::{AppId, Id};

#[derive(Clone, Debug)]
pub struct Cancel {
    pub row: Id,
    pub reason: String,
}

/// No handler is called: somebody who knows is here, and a handler might do at once what was not to be done.
pub(super) fn plan(wish: &Cancel, layer: &mut Layer) -> Result<AppId, Refusal> {
    let waiting = waiting_row(wish.row, layer)?;
    let row = &waiting.row;
    let last = waiting.failure.as_ref().map(|last| format!("; last error: {}", last.message));
    let message = format!("cancelled: {}{}", cut_reason(&wish.reason), last.unwrap_or_default());
    let letter = DeadLetter {
        id: layer.next_id(),
        row: Arc::clone(row),
        failure: Failure::new(CANCELLED, message),
        attempts: row.attempt,
        first_at: row.created_at(),
        last_at: layer.facts.now,
        script_version: 0,
    };
    layer.bury(letter);
    layer.delete(row);
    Ok(row.app)
}

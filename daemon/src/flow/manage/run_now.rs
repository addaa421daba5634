//! Running a row now that was to run later: a delayed task, or a retry before its time.

use crate::flow::Refusal;
use crate::flow::layer::{Layer, line_of};
use crate::flow::manage::{Declined, waiting_row};
use crate::flow::writes::{RowUpdate, RowWrite};
use crate::ids::{AppId, Id};

#[derive(Clone, Debug)]
pub struct RunNow {
    pub row: Id,
}

/// Refused while another row of its key has to end first: their order is a promise.
pub(super) fn plan(wish: &RunNow, layer: &mut Layer) -> Result<AppId, Refusal> {
    let waiting = waiting_row(wish.row, layer)?;
    let row = &waiting.row;
    if row.available_at.is_held() {
        let front = line_of(row).and_then(|line| layer.front(&line));
        let front = front.map_or(wish.row, |(front, _)| front);
        return Err(Declined::Behind { row: wish.row, front }.into());
    }
    let update = RowUpdate {
        available_at: row.available_at.min(layer.facts.now),
        attempt: row.attempt,
        orphaned: row.orphaned,
        lease: None,
        failure: None,
    };
    layer.writes.rows.insert(row.id, RowWrite::Update(update));
    Ok(row.app)
}

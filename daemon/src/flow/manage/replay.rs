//! Replaying a dead letter: a new row does the work again, as it was or with another payload.

use std::sync::Arc;

use crate::flow::Refusal;
use crate::flow::facts::LetterEnd;
use crate::flow::layer::Layer;
use crate::flow::manage::{Declined, known_letter};
use crate::flow::writes::LetterWrite;
use crate::ids::{AppId, Id};
use crate::outbox::row::{OrderKey, OutboxRow};
use crate::outbox::source::OutboxSourceKind;

/// The longest time for which a replay is held: until then it can be taken back.
pub const HOLD_MS_MAX: i64 = 600_000;

#[derive(Clone, Debug)]
pub struct Replay {
    pub letter: Id,
    /// JSON text: the payload of a task, the whole event of anything else.
    pub payload: Option<Arc<str>>,
    /// For so long it can be taken back.
    pub hold_ms: i64,
    pub again: Again,
}

/// Whether a letter that was replayed may be replayed once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    No,
    Yes,
}

/// A chain of its own begins: the new row has the old root but no cause, since no run made it.
pub(super) fn plan(wish: &Replay, layer: &mut Layer) -> Result<AppId, Refusal> {
    if layer.facts.storage_low {
        return Err(Refusal::StorageLow);
    }
    let id = wish.letter;
    let letter = known_letter(id, layer)?;
    match (letter.end, wish.again) {
        (None, _) => {}
        (Some(LetterEnd::Replayed(_)), Again::Yes) => {
            layer.writes.letters_reopened.insert(id);
        }
        (Some(LetterEnd::Replayed(by)), Again::No) => {
            return Err(Declined::Replayed { id, by }.into());
        }
        (Some(LetterEnd::Discarded), _) => return Err(Declined::Discarded(id).into()),
    }
    let by = layer.next_id();
    let row = anew(&letter.row, by, wish.payload.as_ref(), layer);
    let (app, now) = (row.app, layer.facts.now);
    layer.insert(OutboxRow {
        available_at: now.plus_ms(wish.hold_ms.max(0)),
        depth: 0,
        cause: None,
        replay_of: Some(id),
        ..row
    })?;
    layer.writes.letter_marks.insert(id, LetterWrite::Replayed { by, at: now });
    Ok(app)
}

/// The row as it died, made fresh: at the end of its line, since what came after it has run already.
pub fn anew(dead: &OutboxRow, id: Id, payload: Option<&Arc<str>>, layer: &mut Layer) -> OutboxRow {
    let event = match payload {
        None => Arc::clone(&dead.event),
        Some(payload) if dead.source == OutboxSourceKind::Task => {
            format!(r#"{{"payload":{payload}}}"#).into()
        }
        Some(payload) => Arc::clone(payload),
    };
    let order = dead
        .order
        .as_ref()
        .map(|order| OrderKey { key: Arc::clone(&order.key), version: layer.next_number() });
    OutboxRow { id, event, order, dedupe: None, attempt: 0, orphaned: 0, ..dead.clone() }
}

//! Taking a replay back: its row goes as if it had never been, and the letter is open again. Only until the row begins.

use crate::flow::Refusal;
use crate::flow::facts::LetterEnd;
use crate::flow::layer::Layer;
use crate::flow::manage::{Declined, known_letter, waiting_row};
use crate::ids::{AppId, Id};

#[derive(Clone, Debug)]
pub struct TakeBack {
    pub letter: Id,
    /// The row that replays it.
    pub row: Id,
}

pub(super) fn plan(wish: &TakeBack, layer: &mut Layer) -> Result<AppId, Refusal> {
    let (id, by) = (wish.letter, wish.row);
    match known_letter(id, layer)?.end {
        Some(LetterEnd::Replayed(row)) if row == by => {}
        Some(LetterEnd::Replayed(by)) => return Err(Declined::Replayed { id, by }.into()),
        Some(LetterEnd::Discarded) => return Err(Declined::Discarded(id).into()),
        None => return Err(Declined::Open(id).into()),
    }
    // A row that was claimed and given back may have run in part: calls to the outside cannot be taken back.
    let begun = Declined::Begun { id, by };
    let waiting = waiting_row(by, layer).map_err(|_| begun.clone())?;
    if waiting.row.attempt > 0 || waiting.row.orphaned > 0 {
        return Err(begun.into());
    }
    layer.delete(&waiting.row);
    layer.writes.letters_reopened.insert(id);
    Ok(waiting.row.app)
}

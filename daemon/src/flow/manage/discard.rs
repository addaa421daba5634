//! Discarding a dead letter, with the reason why its work is not to be done.

use crate::flow::Refusal;
use crate::flow::layer::Layer;
use crate::flow::manage::{cut_reason, open_letter};
use crate::flow::writes::LetterWrite;
use crate::ids::{AppId, Id};

#[derive(Clone, Debug)]
pub struct Discard {
    pub letter: Id,
    pub reason: String,
}

/// Also on a full disk: it is a way to make room.
pub(super) fn plan(wish: &Discard, layer: &mut Layer) -> Result<AppId, Refusal> {
    let letter = open_letter(wish.letter, layer)?;
    let mark = LetterWrite::Discarded { reason: cut_reason(&wish.reason), at: layer.facts.now };
    layer.writes.letter_marks.insert(wish.letter, mark);
    Ok(letter.app)
}

//! Reopening a dead letter that was discarded. One that was replayed is reopened by taking its replay back.

use crate::flow::Refusal;
use crate::flow::facts::LetterEnd;
use crate::flow::layer::Layer;
use crate::flow::manage::{Declined, known_letter};
use crate::ids::{AppId, Id};

#[derive(Clone, Debug)]
pub struct Reopen {
    pub letter: Id,
}

pub(super) fn plan(wish: &Reopen, layer: &mut Layer) -> Result<AppId, Refusal> {
    let id = wish.letter;
    let letter = known_letter(id, layer)?;
    match letter.end {
        Some(LetterEnd::Discarded) => {}
        Some(LetterEnd::Replayed(by)) => return Err(Declined::Replayed { id, by }.into()),
        None => return Err(Declined::Open(id).into()),
    }
    layer.writes.letters_reopened.insert(id);
    Ok(letter.app)
}

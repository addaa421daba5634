//! What people do with rows of the outbox and with dead letters. Each wish is one command, planned in a file of its own,
//! and leaves a line in the log of changes in the same transaction.

pub mod cancel;
pub mod discard;
pub mod reopen;
pub mod replay;
pub mod run_now;
pub mod take_back;

use std::sync::Arc;

use serde_json::json;

use crate::failure::FailureKind;
use crate::flow::Refusal;
use crate::flow::configure::Audit;
use crate::flow::facts::{Facts, Keys, LetterEnd, LetterFacts, WaitingFacts};
use crate::flow::layer::Layer;
use crate::flow::writes::Writes;
use crate::ids::{AppId, Id, PrincipalId};

/// Characters of a reason; what is beyond is cut.
pub const REASON_CHARACTERS_MAX: usize = 200;

/// Somebody wishes something.
#[derive(Clone, Debug)]
pub struct Manage {
    pub by: PrincipalId,
    pub record: Record,
    /// Drawn outside, so that planning stays pure: what this command makes gets ids derived from it.
    pub fresh: Id,
    pub wish: Wish,
}

/// Where the log of changes has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// In a line of its own.
    Alone,
    /// In the line of the bulk call that it belongs to.
    WithMany,
}

#[derive(Clone, Debug)]
pub enum Wish {
    Replay(replay::Replay),
    TakeBack(take_back::TakeBack),
    Discard(discard::Discard),
    Reopen(reopen::Reopen),
    RunNow(run_now::RunNow),
    Cancel(cancel::Cancel),
    /// A bulk call begins: so many items of what the filter lets through.
    Many {
        action: &'static str,
        filter: Arc<str>,
        count: usize,
    },
}

/// Why a wish is not granted: what it is about is not there, or not as it has to be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Declined {
    #[error("there is no dead letter {0}")]
    NoSuchLetter(Id),
    #[error("the outbox has no row {0}: it has ended")]
    NoSuchRow(Id),
    #[error("dead letter {id} was replayed already, by row {by}")]
    Replayed { id: Id, by: Id },
    #[error("dead letter {0} was discarded")]
    Discarded(Id),
    #[error("dead letter {0} is open")]
    Open(Id),
    #[error("dead letter {id} was replayed by row {by}, which has begun")]
    Begun { id: Id, by: Id },
    #[error("row {0} is running")]
    Running(Id),
    #[error("row {row} is behind row {front} of its key, which has to end first")]
    Behind { row: Id, front: Id },
}

impl Manage {
    /// The id of the row or the letter that it makes.
    pub fn made(&self) -> Id {
        self.fresh.derived(1)
    }

    /// The row of the outbox that it changes or takes out.
    pub fn row(&self) -> Option<Id> {
        match &self.wish {
            Wish::TakeBack(wish) => Some(wish.row),
            Wish::RunNow(wish) => Some(wish.row),
            Wish::Cancel(wish) => Some(wish.row),
            Wish::Replay(_) | Wish::Discard(_) | Wish::Reopen(_) | Wish::Many { .. } => None,
        }
    }

    fn letter(&self) -> Option<Id> {
        match &self.wish {
            Wish::Replay(wish) => Some(wish.letter),
            Wish::TakeBack(wish) => Some(wish.letter),
            Wish::Discard(wish) => Some(wish.letter),
            Wish::Reopen(wish) => Some(wish.letter),
            Wish::RunNow(_) | Wish::Cancel(_) | Wish::Many { .. } => None,
        }
    }
}

pub fn needs(manage: &Manage, keys: &mut Keys) {
    keys.waiting.extend(manage.row());
    keys.letters.extend(manage.letter());
}

pub fn plan(manage: &Manage, facts: &Facts) -> Result<Writes, Refusal> {
    let mut layer = Layer::over(facts, manage.fresh);
    let (action, app, object, detail) = match &manage.wish {
        Wish::Replay(wish) => {
            let app = replay::plan(wish, &mut layer)?;
            let detail = json!({"edited": wish.payload.is_some(), "hold_ms": wish.hold_ms});
            ("dead-letters replay", Some(app), wish.letter.to_string(), detail)
        }
        Wish::TakeBack(wish) => {
            let app = take_back::plan(wish, &mut layer)?;
            ("dead-letters take-back", Some(app), wish.letter.to_string(), json!({}))
        }
        Wish::Discard(wish) => {
            let app = discard::plan(wish, &mut layer)?;
            let detail = json!({"reason": wish.reason});
            ("dead-letters discard", Some(app), wish.letter.to_string(), detail)
        }
        Wish::Reopen(wish) => {
            let app = reopen::plan(wish, &mut layer)?;
            ("dead-letters reopen", Some(app), wish.letter.to_string(), json!({}))
        }
        Wish::RunNow(wish) => {
            let app = run_now::plan(wish, &mut layer)?;
            ("outbox run-now", Some(app), wish.row.to_string(), json!({}))
        }
        Wish::Cancel(wish) => {
            let app = cancel::plan(wish, &mut layer)?;
            let detail = json!({"reason": wish.reason});
            ("outbox cancel", Some(app), wish.row.to_string(), detail)
        }
        Wish::Many { action, filter, count } => {
            (*action, None, filter.to_string(), json!({"count": count}))
        }
    };
    if manage.record == Record::Alone {
        layer.writes.audits.push(Audit {
            at: facts.now,
            principal: manage.by,
            action: action.to_owned(),
            object: named(app, &object, facts),
            detail: detail.to_string(),
        });
    }
    Ok(layer.writes)
}

/// `greenhouse/01J…`; what an app's own change is about begins with the app.
fn named(app: Option<AppId>, object: &str, facts: &Facts) -> String {
    let app = app.and_then(|app| facts.catalog.apps.get(&app));
    app.map_or_else(|| object.to_owned(), |app| format!("{}/{object}", app.slug))
}

fn known_letter<'a>(id: Id, layer: &Layer<'a>) -> Result<&'a LetterFacts, Declined> {
    layer.facts.letters.get(&id).ok_or(Declined::NoSuchLetter(id))
}

/// A letter that is still to be resolved.
fn open_letter<'a>(id: Id, layer: &Layer<'a>) -> Result<&'a LetterFacts, Declined> {
    let letter = known_letter(id, layer)?;
    match letter.end {
        None => Ok(letter),
        Some(LetterEnd::Replayed(by)) => Err(Declined::Replayed { id, by }),
        Some(LetterEnd::Discarded) => Err(Declined::Discarded(id)),
    }
}

/// A row that nobody holds.
fn waiting_row<'a>(id: Id, layer: &Layer<'a>) -> Result<&'a WaitingFacts, Declined> {
    let waiting = layer.facts.waiting.get(&id).ok_or(Declined::NoSuchRow(id))?;
    if waiting.claimed { Err(Declined::Running(id)) } else { Ok(waiting) }
}

/// The part of a reason that is kept.
pub fn cut_reason(reason: &str) -> String {
    reason.chars().take(REASON_CHARACTERS_MAX).collect()
}

/// Of what kind the failure of a row is that somebody took out.
const CANCELLED: FailureKind = FailureKind::Cancelled;

#[cfg(test)]
mod tests;

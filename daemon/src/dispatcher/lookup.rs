//! What is known of an async execution, for whoever was given its id.

use crate::ids::{AppId, Id, RouteId};
use crate::outbox::source::OutboxSourceKind;

use super::Dispatcher;
use super::history::End;

/// An execution that a route has accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub app: AppId,
    pub route: RouteId,
    pub state: State,
    /// How many have ended.
    pub attempts: u32,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Waiting,
    Running,
    /// It failed, and waits to be tried again.
    Retrying,
    Completed,
    /// It was given up: it is a dead letter, or was one.
    DeadLettered,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

impl Dispatcher {
    /// Of one that has completed only as long as memory has it.
    pub async fn look_up(&self, id: Id) -> Option<Known> {
        let reader = &self.parts.reader;
        if let Ok(Some(stored)) = reader.outbox_row(id).await {
            let row = &stored.row;
            let state = match (stored.lease, row.attempt) {
                (Some(_), _) => State::Running,
                (None, 0) => State::Waiting,
                (None, _) => State::Retrying,
            };
            let from = (row.source, row.origin);
            return if row.is_sync() { None } else { known(row.app, from, state, row.attempt) };
        }
        if let Ok(Some(found)) = reader.letter_of_row(id).await {
            let letter = &found.letter;
            let (row, attempts) = (&letter.row, letter.attempts);
            return known(row.app, (row.source, row.origin), State::DeadLettered, attempts);
        }
        let ended = self.history.last_of(id)?;
        let state = match ended.end {
            End::Completed => State::Completed,
            End::DeadLettered => State::DeadLettered,
            // A moment ago its row was there.
            End::Retried => State::Retrying,
            End::Released => State::Waiting,
            End::Answered | End::HandlerFailed | End::Abandoned | End::LeaseLost => return None,
        };
        known(ended.app, (ended.source, ended.origin), state, ended.attempt)
    }
}

/// Only of what a route has accepted.
fn known(
    app: AppId,
    (source, origin): (OutboxSourceKind, Option<i64>),
    state: State,
    attempts: u32,
) -> Option<Known> {
    let route = origin.filter(|_| source == OutboxSourceKind::Http).map(RouteId)?;
    Some(Known { app, route, state, attempts })
}

//! What filters see of live events and of log lines.

use std::borrow::Cow;

use picloud_api::events::kind;
use picloud_scripts_runtime::host::{Level, LogLine};

use super::{Seen, id};
use crate::dispatcher::history::Execution;
use crate::dispatcher::live::{Event, Move, Moved, What};
use crate::filter::Fields;

/// One line of a run's log.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub execution: &'a Execution,
    pub line: &'a LogLine,
}

pub fn level(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

impl<'a> Seen<'a, Event> {
    fn of<T>(&self, item: &'a T) -> Seen<'a, T> {
        Seen { item, catalog: self.catalog, now: self.now }
    }
}

impl Fields for Seen<'_, Event> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        if key == "kind" {
            return Some(
                match &self.item.what {
                    What::Row(_) => kind::OUTBOX,
                    What::Ran(_) => kind::EXECUTION,
                    What::Log(..) => kind::LOG,
                    What::Stats(_) => kind::STATS,
                }
                .into(),
            );
        }
        let text = match &self.item.what {
            What::Row(moved) => self.of(&**moved).text(key).map(Cow::into_owned),
            What::Ran(execution) => self.of(&**execution).text(key).map(Cow::into_owned),
            What::Log(execution, line) => {
                let line = Line { execution, line: execution.log.get(*line)? };
                Seen { item: &line, catalog: self.catalog, now: self.now }
                    .text(key)
                    .map(Cow::into_owned)
            }
            What::Stats(_) => None,
        };
        text.map(Cow::Owned)
    }

    fn number(&self, key: &str) -> Option<i64> {
        match &self.item.what {
            What::Row(moved) => self.of(&**moved).number(key),
            What::Ran(execution) | What::Log(execution, _) => self.of(&**execution).number(key),
            What::Stats(_) => None,
        }
    }
}

impl Fields for Seen<'_, Moved> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let moved = self.item;
        match key {
            "app" => self.app(moved.app),
            "script" => Some((&*moved.script).into()),
            "source" => Some(moved.source.as_str().into()),
            "origin" | "trigger" => self.origin(moved.app, moved.origin),
            "state" => Some(moved.to.as_str().into()),
            "key" => moved.key.as_deref().map(Cow::Borrowed),
            "error" => {
                let failure = moved.ran.as_ref()?.failure.as_ref()?;
                Some(failure.message.as_str().into())
            }
            "reason" => match moved.to {
                Move::Abandoned(reason) => Some(reason.as_str().into()),
                Move::Due
                | Move::Later
                | Move::Behind
                | Move::Run
                | Move::Retry
                | Move::Done
                | Move::Dead
                | Move::TakenBack
                | Move::Lost => None,
            },
            "root" => id(moved.root),
            "id" => id(moved.id),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<i64> {
        match key {
            "try" => Some(i64::from(self.item.attempt)),
            "age" => self.age(self.item.id.time()),
            _ => None,
        }
    }
}

impl Fields for Seen<'_, Line<'_>> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let Line { execution, line } = self.item;
        match key {
            "level" => Some(level(line.level).into()),
            "message" => Some(line.message.as_str().into()),
            "app" => self.app(execution.app),
            "script" => Some((&*execution.script).into()),
            "source" => Some(execution.source.as_str().into()),
            "origin" | "trigger" => self.origin(execution.app, execution.origin),
            "root" => id(execution.root),
            "id" => id(execution.id),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<i64> {
        let run = Seen { item: self.item.execution, catalog: self.catalog, now: self.now };
        run.number(key)
    }
}

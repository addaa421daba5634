//! What filters see of the items of each list.

pub mod events;

use std::borrow::Cow;

use crate::admin::engine::{Standing, origin, slug, state};
use crate::catalog::Catalog;
use crate::dispatcher::history::Execution;
use crate::filter::Fields;
use crate::ids::{AppId, Id};
use crate::store::lists::{AbandonedRow, BriefLetter, BriefRow};
use crate::time::Timestamp;

/// An item, and what its names and ages depend on.
#[derive(Clone, Copy)]
pub struct Seen<'a, T> {
    pub item: &'a T,
    pub catalog: &'a Catalog,
    pub now: Timestamp,
}

impl<T> Seen<'_, T> {
    fn app(&self, app: AppId) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(slug(self.catalog, app)))
    }

    fn origin(&self, app: AppId, number: Option<i64>) -> Option<Cow<'_, str>> {
        origin(self.catalog, app, number).map(Cow::Owned)
    }

    fn age(&self, since: Timestamp) -> Option<i64> {
        Some(self.now.ms_since(since))
    }
}

fn id(id: Id) -> Option<Cow<'static, str>> {
    Some(Cow::Owned(id.to_string()))
}

impl Fields for Seen<'_, BriefRow> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let row = self.item;
        match key {
            "app" => self.app(row.app),
            "script" => Some((&*row.script).into()),
            "source" => Some(row.source.as_str().into()),
            "origin" | "trigger" => self.origin(row.app, row.origin),
            "state" => {
                let standing = Standing {
                    claimed: row.claimed,
                    app: row.app,
                    queue: row.queue,
                    available_at: row.available_at,
                    attempt: row.attempt,
                };
                Some(state(&standing, self.catalog, self.now).into())
            }
            "key" => row.key.as_deref().map(Cow::Borrowed),
            "error" => row.failure.as_ref().map(|failure| failure.message.as_str().into()),
            "root" => id(row.root),
            "id" => id(row.id),
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

impl Fields for Seen<'_, BriefLetter> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let letter = self.item;
        match key {
            "is" => Some(
                match letter.resolution.as_deref() {
                    None => "open any",
                    Some("handler_failed") => "open handler_failed any",
                    Some("replayed") => "replayed resolved any",
                    Some(_) => "discarded resolved any",
                }
                .into(),
            ),
            "app" => self.app(letter.app),
            "script" => Some((&*letter.script).into()),
            "source" => Some(letter.source.as_str().into()),
            "origin" | "trigger" => self.origin(letter.app, letter.origin),
            "error" => Some((&*letter.error).into()),
            "kind" => Some((&*letter.kind).into()),
            "key" => letter.key.as_deref().map(Cow::Borrowed),
            "root" => id(letter.root),
            "id" => id(letter.id),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<i64> {
        match key {
            "try" => Some(i64::from(self.item.attempts)),
            "version" => Some(self.item.script_version),
            "age" => self.age(self.item.last_at),
            _ => None,
        }
    }
}

impl Fields for Seen<'_, AbandonedRow> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let row = self.item;
        match key {
            "app" => self.app(row.app),
            "script" => Some((&*row.script).into()),
            "source" => Some(row.source.as_str().into()),
            "origin" | "trigger" => self.origin(row.app, row.origin),
            "reason" => Some((&*row.reason).into()),
            "root" => id(row.root),
            "id" => id(row.id),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<i64> {
        match key {
            "age" => self.age(self.item.at),
            _ => None,
        }
    }
}

impl Fields for Seen<'_, Execution> {
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let run = self.item;
        match key {
            "app" => self.app(run.app),
            "script" => Some((&*run.script).into()),
            "source" => Some(run.source.as_str().into()),
            "origin" | "trigger" => self.origin(run.app, run.origin),
            "outcome" => Some(run.end.as_str().into()),
            "error" => run.failure.as_ref().map(|failure| failure.message.as_str().into()),
            "root" => id(run.root),
            "id" => id(run.id),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<i64> {
        match key {
            "try" => Some(i64::from(self.item.attempt)),
            "version" => Some(self.item.script_version),
            "age" => self.age(self.item.started_at),
            _ => None,
        }
    }
}

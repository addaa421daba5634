//! The lines that scripts have logged lately, as memory has them with their runs.

use std::str::FromStr;

use picloud_api::events::LogEntry;
use picloud_api::list::Page;
use picloud_api::problem::Problem;
use picloud_scripts_runtime::host::LogLine;

use crate::admin::answer::page;
use crate::admin::calls::Request;
use crate::admin::engine::{Engine, slug};
use crate::admin::fields::Seen;
use crate::admin::fields::events::{Line, level};
use crate::catalog::Catalog;
use crate::dispatcher::history::Execution;
use crate::filter::LOG_LINES;

/// A place in the log: the number of a run, and of a line in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    run: u64,
    line: usize,
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Place, ()> {
        let (run, line) = text.split_once('.').ok_or(())?;
        Ok(Place { run: run.parse().map_err(drop)?, line: line.parse().map_err(drop)? })
    }
}

/// The newest first.
pub(super) fn list(engine: &Engine, request: &Request) -> Result<Page<LogEntry>, Problem> {
    let window = page::window::<Place>(request, &LOG_LINES)?;
    let (catalog, now) = (&request.catalog, engine.clock.now());
    let before = window.after.map(|place| place.run.saturating_add(1));
    let has_lines =
        |one: &Execution| !one.log.is_empty() && window.app.is_none_or(|app| app == one.app);
    // A run without a line that passes makes way for an older one, so all are looked at; memory has few.
    let runs = engine.dispatcher.history.find(before, usize::MAX, has_lines);
    let (mut items, mut next) = (Vec::new(), None);
    'all: for (run, execution) in &runs {
        for (at, line) in execution.log.iter().enumerate().rev() {
            let place = Place { run: *run, line: at };
            if window.after.is_some_and(|after| place >= after) {
                continue;
            }
            let item = Line { execution, line };
            if !window.filter.passes(&Seen { item: &item, catalog, now }) {
                continue;
            }
            if items.len() == window.limit {
                next = next.or(Some(()));
                break 'all;
            }
            items.push((place, log_item(execution, line, catalog)));
        }
    }
    let last = items.last().map(|(place, _)| format!("{}.{}", place.run, place.line));
    Ok(Page {
        next: next.and(last),
        items: items.into_iter().map(|(_, item)| item).collect(),
        now: now.0,
    })
}

pub(super) fn log_item(execution: &Execution, line: &LogLine, catalog: &Catalog) -> LogEntry {
    let took_ms = i64::try_from(execution.took_us / 1_000).unwrap_or(0);
    LogEntry {
        at: execution.started_at.plus_ms(took_ms).0,
        level: level(line.level).to_owned(),
        app: slug(catalog, execution.app),
        script: execution.script.to_string(),
        execution_id: execution.id.to_string(),
        message: line.message.clone(),
        fields: line.fields.clone(),
    }
}

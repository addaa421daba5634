//! The outbox: the list, one row, and what is done with one.

use picloud_api::executions::OutboxDetail;
use picloud_api::letters::{Done, ReasonRequest};
use picloud_api::list::{OutboxItem, Page};
use picloud_api::problem::{Code, Problem};

use crate::admin::answer::letters::{event, id_of, nothing, reason, wish};
use crate::admin::answer::page::{self, Found, IsLast, failed};
use crate::admin::calls::{Request, not_there};
use crate::admin::engine::{Engine, outbox_item};
use crate::admin::fields::Seen;
use crate::admin::refuse;
use crate::filter::{Fields as _, OUTBOX};
use crate::flow::manage::Wish;
use crate::flow::manage::cancel::Cancel;
use crate::flow::manage::run_now::RunNow;
use crate::ids::Id;
use crate::store::lists::{BriefRow, Rows};
use crate::store::read::StoredRow;

pub(super) async fn list(engine: &Engine, request: &Request) -> Result<Page<OutboxItem>, Problem> {
    let window = page::window::<Id>(request, &OUTBOX)?;
    let (catalog, now) = (&request.catalog, engine.clock.now());
    let which = match window.filter.only("state") {
        Some("running") => Rows::Running,
        Some(_) | None => Rows::All,
    };
    let passes = |item: &BriefRow| {
        window.app.is_none_or(|app| app == item.app)
            && window.filter.passes(&Seen { item, catalog, now })
    };
    let mut found = Found::new(window.after, window.limit);
    let step_rows = window.step_rows();
    let mut items = Vec::new();
    loop {
        let step = engine.reader.scan_outbox(which, found.next, step_rows).await.map_err(failed)?;
        let passing: Vec<(Id, bool)> = step.iter().map(|item| (item.id, passes(item))).collect();
        let goes_on = found.take(passing.into_iter(), IsLast::of(step.len(), step_rows));
        items.extend(step);
        if !goes_on {
            break;
        }
    }
    items.retain(|item| found.ids.binary_search_by(|id| item.id.cmp(id)).is_ok());
    Ok(Page {
        items: items.iter().map(|row| outbox_item(row, catalog, now)).collect(),
        next: found.next.map(|id| id.to_string()),
        now: now.0,
    })
}

/// The row that the path names, if the caller may do with it what the call does.
async fn found(engine: &Engine, request: &Request) -> Result<StoredRow, Problem> {
    let id = id_of(request, "row in the outbox")?;
    let name = format!("row {id} in the outbox");
    let stored = engine.reader.outbox_row(id).await.map_err(failed)?;
    let stored = stored.ok_or_else(|| {
        not_there(&name).with_hint(format!("it may have ended: `picloud executions show {id}`"))
    })?;
    request.check_found(stored.row.app, &name)?;
    Ok(stored)
}

pub(super) async fn show(engine: &Engine, request: &Request) -> Result<OutboxDetail, Problem> {
    let stored = found(engine, request).await?;
    let row = &stored.row;
    Ok(OutboxDetail {
        row: outbox_item(&BriefRow::of(&stored), &request.catalog, engine.clock.now()),
        current_version: request.catalog.script(row.app, &row.script).map(|one| one.version),
        event: event(row.source, &row.event)?,
        cause_id: row.cause.map(|id| id.to_string()),
        letter_id: row.replay_of.or(row.letter).map(|id| id.to_string()),
        dedupe: row.dedupe.as_ref().map(ToString::to_string),
        now: engine.clock.now().0,
    })
}

pub(super) async fn run_now(engine: &Engine, request: &Request) -> Result<Done, Problem> {
    let row = found(engine, request).await?.row.id;
    nothing(request)?;
    let manage = wish(engine, request, Wish::RunNow(RunNow { row }));
    engine.manage(manage).await.map_err(|error| refuse::not_managed(&error))?;
    Ok(Done { id: row.to_string(), ..Done::default() })
}

pub(super) async fn cancel(engine: &Engine, request: &Request) -> Result<Done, Problem> {
    let row = found(engine, request).await?.row.id;
    let body: ReasonRequest = request.body(Code::BadRequest)?;
    let reason = reason(body.reason)?;
    let manage = wish(engine, request, Wish::Cancel(Cancel { row, reason }));
    let letter = manage.made();
    engine.manage(manage).await.map_err(|error| refuse::not_managed(&error))?;
    Ok(Done { id: row.to_string(), letter_id: Some(letter.to_string()), ..Done::default() })
}

/// The state of a row as a filter sees it.
pub(super) fn state_of(seen: &Seen<'_, BriefRow>) -> String {
    seen.text("state").unwrap_or_default().into_owned()
}

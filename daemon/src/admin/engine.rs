//! What the admin API asks of the rest of the daemon: everything that touches store or dispatcher is in this file.

use std::sync::Arc;

use arc_swap::ArcSwap;
use picloud_api::list::{DeadLetterItem, ExecutionItem, FailureItem, OutboxItem, Page};
use picloud_api::problem::{Code, Problem};
use picloud_scripts_runtime::exec::ExecError;
use picloud_scripts_runtime::limits::RunLimits;

use crate::admin::{peer, refuse};
use crate::catalog::Catalog;
use crate::dispatcher::Dispatcher;
use crate::dispatcher::history::Execution;
use crate::engine;
use crate::failure::Failure;
use crate::flow::configure::{Planned, Unfit};
use crate::groups::Groups;
use crate::ids::{AppId, Id, Ids, RouteId, TriggerId};
use crate::limits::AdminLimits;
use crate::outbox::row::OutboxRow;
use crate::store::batch::Seen;
use crate::store::configure::ConfigureError;
use crate::store::read::{AuditRow, Cursor, LetterRow, Listed, Reader, StoredRow};
use crate::store::writer::Writer;
use crate::time::{Clock, Timestamp};

/// Compiles a script without running it.
pub type Compiler = Arc<dyn Fn(&str) -> Result<(), ExecError> + Send + Sync>;

/// The daemon as the admin API sees it.
pub struct Engine {
    pub catalog: Arc<ArcSwap<Catalog>>,
    pub clock: Arc<dyn Clock>,
    /// New with each start.
    pub instance: Id,
    pub started_at: Timestamp,
    pub run_limits: RunLimits,
    pub body_bytes_max: usize,
    pub limits: AdminLimits,
    pub groups: Arc<Groups>,
    /// The uids that may always do everything.
    pub owners: [u32; 2],
    pub ids: Arc<Ids>,
    pub compile: Compiler,
    dispatcher: Arc<Dispatcher>,
    writer: Writer,
    reader: Reader,
    seen: Arc<Seen>,
}

/// Which items of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Window<C> {
    pub app: Option<AppId>,
    /// `next` of the page before.
    pub after: Option<C>,
    pub limit: usize,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub waiting: i64,
    pub running: i64,
    pub dead_letters: i64,
}

impl Engine {
    pub fn of(engine: &engine::Engine) -> Engine {
        let runtime = Arc::clone(&engine.runtime);
        Engine {
            catalog: Arc::clone(&engine.catalog),
            clock: Arc::clone(&engine.clock),
            instance: engine.owner,
            started_at: engine.clock.now(),
            run_limits: engine.limits.run.clone(),
            body_bytes_max: engine.limits.admin.body_bytes_max,
            limits: engine.limits.admin.clone(),
            groups: Arc::clone(&engine.groups),
            owners: peer::owners(),
            ids: Arc::clone(&engine.ids),
            compile: Arc::new(move |source| runtime.compile(source).map(drop)),
            dispatcher: Arc::clone(&engine.dispatcher),
            writer: engine.writer.clone(),
            reader: engine.reader.clone(),
            seen: Arc::clone(&engine.seen),
        }
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Plans a change against the catalog as it is when the change's turn comes, and commits it. `plan` gets the
    /// catalog and the counter; a plan without changes writes nothing.
    pub async fn configure<T, P>(&self, plan: P) -> Result<T, Problem>
    where
        T: Send + 'static,
        P: FnOnce(&Catalog, i64) -> Result<Planned<T>, Unfit> + Send + 'static,
    {
        let (tell, told) = tokio::sync::oneshot::channel();
        let planned = self.writer.configure(move |catalog, next, _| {
            let planned = plan(catalog, next)?;
            // Whoever asked may be gone by now; the change is made all the same.
            drop(tell.send(planned.answer));
            Ok((planned.changes, planned.next.max(next)))
        });
        planned.await.map_err(|error| not_configured(&error))?;
        told.await.map_err(|_| Problem::new(Code::Internal, "the change has no answer"))
    }

    /// Counts of one app, or of all.
    pub fn counts(&self, app: Option<AppId>) -> Counts {
        let waiting = self.seen.now();
        let catalog = self.catalog();
        let is_of_app = |queue: i64| app.is_none() || app == app_of(&catalog, queue);
        let usage = waiting.usage.iter().filter(|(id, _)| app.is_none_or(|app| app == **id));
        let letters = waiting.letters_open.iter().filter(|(queue, _)| is_of_app(queue.0));
        Counts {
            waiting: usage.map(|(_, usage)| usage.rows).sum(),
            running: i64::try_from(self.dispatcher.running()).unwrap_or(i64::MAX),
            dead_letters: letters.map(|(_, open)| open).sum(),
        }
    }

    pub fn is_storage_low(&self) -> bool {
        self.seen.now().storage_low
    }

    pub async fn outbox(&self, window: &Window<Id>) -> Result<Page<OutboxItem>, Problem> {
        let listed = self.reader.outbox(window.app, cursor(window)).await;
        let listed = listed.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let (catalog, now) = (self.catalog(), self.clock.now());
        Ok(page(&listed, now, |row| outbox_item(row, &catalog, now)))
    }

    pub async fn dead_letters(&self, window: &Window<Id>) -> Result<Page<DeadLetterItem>, Problem> {
        let listed = self.reader.letters(window.app, cursor(window)).await;
        let listed = listed.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let catalog = self.catalog();
        Ok(page(&listed, self.clock.now(), |row| letter_item(row, &catalog)))
    }

    pub async fn audit(&self, before: Option<i64>, limit: usize) -> Result<Vec<AuditRow>, Problem> {
        let found = self.reader.audit(before, limit).await;
        found.map_err(|error| Problem::new(Code::Internal, error.to_string()))
    }

    /// Runs that ended lately, as memory has them.
    pub fn executions(&self, window: &Window<u64>) -> Page<ExecutionItem> {
        let found = self.dispatcher.history.newest(window.app, window.after, window.limit);
        let last = found.last().filter(|_| found.len() == window.limit);
        let catalog = self.catalog();
        let items = found.iter().map(|(_, one)| execution_item(one, &catalog));
        Page {
            items: items.collect(),
            next: last.map(|(number, _)| number.to_string()),
            now: self.clock.now().0,
        }
    }
}

fn cursor(window: &Window<Id>) -> Cursor {
    Cursor { before: window.after, limit: window.limit }
}

fn page<R, T>(listed: &Listed<R>, now: Timestamp, item: impl Fn(&R) -> T) -> Page<T> {
    let next = listed.next.map(|next| next.to_string());
    Page { items: listed.rows.iter().map(item).collect(), next, now: now.0 }
}

fn not_configured(error: &ConfigureError<Unfit>) -> Problem {
    let code = match error {
        ConfigureError::Refused(unfit) => return refuse::unfit(unfit),
        ConfigureError::Conflict { .. } => Code::Conflict,
        ConfigureError::StorageLow => Code::StorageLow,
        ConfigureError::Stopping => Code::Stopping,
        ConfigureError::Store(_) | ConfigureError::Unknown | ConfigureError::Fatal(_) => {
            Code::Internal
        }
    };
    Problem::new(code, error.to_string())
}

/// The app that a queue belongs to, as far as what makes its rows is still there.
fn app_of(catalog: &Catalog, queue: i64) -> Option<AppId> {
    let trigger = catalog.triggers.get(&TriggerId(queue)).map(|trigger| trigger.app);
    trigger.or_else(|| {
        let has = |app: &&Arc<crate::catalog::App>| {
            app.routes.iter().any(|route| route.id.0 == queue)
                || app.scripts.values().any(|script| script.id.0 == queue)
        };
        catalog.apps.values().find(has).map(|app| app.id)
    })
}

fn slug(catalog: &Catalog, app: AppId) -> String {
    catalog.apps.get(&app).map_or_else(|| format!("app {app}"), |app| app.slug.to_string())
}

/// What made a row, as people name it: a trigger, or a route.
fn origin(catalog: &Catalog, app: AppId, origin: Option<i64>) -> Option<String> {
    let origin = origin?;
    if let Some(trigger) = catalog.triggers.get(&TriggerId(origin)) {
        return Some(trigger.name.to_string());
    }
    let routes = &catalog.apps.get(&app)?.routes;
    let route = routes.iter().find(|route| route.id == RouteId(origin))?;
    Some(format!("{} {}", route.method, route.path))
}

fn outbox_item(stored: &StoredRow, catalog: &Catalog, now: Timestamp) -> OutboxItem {
    let row = &stored.row;
    OutboxItem {
        id: row.id.to_string(),
        app: slug(catalog, row.app),
        script: row.script.to_string(),
        source: row.source.as_str().to_owned(),
        origin: origin(catalog, row.app, row.origin),
        state: state(stored, catalog, now).to_owned(),
        available_at: (!row.available_at.is_held()).then_some(row.available_at.0),
        created_at: row.created_at().0,
        attempt: row.attempt,
        max_attempts: row.retry.max_attempts,
        key: row.order.as_ref().map(|order| order.key.to_string()),
        depth: row.depth,
        root_id: row.root.to_string(),
        error: stored.failure.as_ref().map(failure_item),
    }
}

fn state(stored: &StoredRow, catalog: &Catalog, now: Timestamp) -> &'static str {
    let OutboxRow { app, queue, available_at, attempt, .. } = &stored.row;
    if stored.lease.is_some() {
        "running"
    } else if catalog.pause(*app, *queue).is_some() {
        "paused"
    } else if available_at.is_held() {
        "behind"
    } else if *available_at <= now {
        "due"
    } else if *attempt > 0 {
        "retry"
    } else {
        "later"
    }
}

fn letter_item(stored: &LetterRow, catalog: &Catalog) -> DeadLetterItem {
    let letter = &stored.letter;
    let row = &letter.row;
    DeadLetterItem {
        id: letter.id.to_string(),
        app: slug(catalog, row.app),
        script: row.script.to_string(),
        script_version: letter.script_version,
        source: row.source.as_str().to_owned(),
        origin: origin(catalog, row.app, row.origin),
        error: failure_item(&letter.failure),
        attempts: letter.attempts,
        first_at: letter.first_at.0,
        last_at: letter.last_at.0,
        resolution: stored.resolution.as_ref().map(ToString::to_string),
    }
}

fn execution_item(execution: &Execution, catalog: &Catalog) -> ExecutionItem {
    let took_us = i64::try_from(execution.took_us).unwrap_or(i64::MAX);
    ExecutionItem {
        id: execution.id.to_string(),
        app: slug(catalog, execution.app),
        script: execution.script.to_string(),
        script_version: execution.script_version,
        source: execution.source.as_str().to_owned(),
        origin: origin(catalog, execution.app, execution.origin),
        attempt: execution.attempt,
        outcome: execution.end.as_str().to_owned(),
        started_at: execution.started_at.0,
        queued_us: i64::try_from(execution.queued_us).unwrap_or(i64::MAX),
        took_us,
        effects: u32::try_from(execution.effects).unwrap_or(u32::MAX),
        error: execution.failure.as_ref().map(failure_item),
    }
}

fn failure_item(failure: &Failure) -> FailureItem {
    let kind = serde_json::to_value(failure.kind).unwrap_or_default();
    FailureItem {
        kind: kind.as_str().unwrap_or_default().to_owned(),
        message: failure.message.clone(),
        line: failure.line,
        column: failure.column,
        source_line: failure.source_line.clone(),
    }
}

//! What the admin API asks of the rest of the daemon: everything that touches store or dispatcher is in this file.

pub mod data;
mod scripts;
pub mod stats;
mod triggers;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use picloud_api::list::{DeadLetterItem, ExecutionItem, FailureItem, OutboxItem};
use picloud_api::problem::{Code, Problem};
use picloud_scripts_runtime::exec::ExecError;
use picloud_scripts_runtime::limits::RunLimits;
use tokio::sync::Semaphore;

use crate::admin::{peer, refuse};
use crate::backups::{Backup, Backups, NotBegun, Turn};
use crate::catalog::Catalog;
use crate::dispatcher::Dispatcher;
use crate::dispatcher::history::Execution;
use crate::engine::{self, Began, Places};
use crate::failure::Failure;
use crate::flow::Command;
use crate::flow::configure::{Planned, Unfit};
use crate::flow::manage::Manage;
use crate::groups::Groups;
use crate::ids::{AppId, Id, Ids, QueueId, RouteId, TriggerId};
use crate::limits::{AdminLimits, OutboxLimits, SecretLimits};
use crate::store::batch::{Seen, Waiting};
use crate::store::configure::ConfigureError;
use crate::store::lists::BriefRow;
use crate::store::read::{AuditRow, LetterRow, Reader};
use crate::store::writer::{CommitError, Writer};
use crate::time::{Clock, Timestamp};
use crate::vault::Vault;

/// Compiles a script without running it.
pub type Compiler = Arc<dyn Fn(&str) -> Result<(), ExecError> + Send + Sync>;

/// The daemon as the admin API sees it.
pub struct Engine {
    pub catalog: Arc<ArcSwap<Catalog>>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    /// New with each start.
    pub instance: Id,
    pub started_at: Timestamp,
    pub run_limits: RunLimits,
    pub body_bytes_max: usize,
    pub limits: AdminLimits,
    pub groups: Arc<Groups>,
    /// The uids that may always do everything.
    pub owners: [u32; 2],
    pub compile: Compiler,
    pub vault: Arc<Vault>,
    pub secret_limits: SecretLimits,
    outbox_limits: Arc<OutboxLimits>,
    /// Turns of dry runs.
    dry_runs: Arc<Semaphore>,
    pub reader: Reader,
    pub began: Began,
    pub places: Places,
    /// Whether the store's file is known to be whole.
    pub whole: Arc<AtomicBool>,
    pub backups: Arc<Backups>,
    /// Bytes of free space below which nothing new is taken in.
    pub free_bytes_min: u64,
    pub(super) dispatcher: Arc<Dispatcher>,
    writer: Writer,
    seen: Arc<Seen>,
}

/// What is counted of one app.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AppCounts {
    pub triggers: i64,
    pub waiting: i64,
    pub dead_letters: i64,
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
            ids: Arc::clone(&engine.ids),
            instance: engine.owner,
            started_at: engine.clock.now(),
            run_limits: engine.limits.run.clone(),
            body_bytes_max: engine.limits.admin.body_bytes_max,
            limits: engine.limits.admin.clone(),
            groups: Arc::clone(&engine.groups),
            owners: peer::owners(),
            compile: Arc::new(move |source| runtime.compile(source).map(drop)),
            vault: Arc::clone(&engine.vault),
            secret_limits: engine.limits.secrets.clone(),
            began: engine.began,
            places: engine.places.clone(),
            whole: Arc::clone(&engine.whole),
            backups: Arc::clone(&engine.backups),
            free_bytes_min: engine.limits.store.free_bytes_min,
            outbox_limits: Arc::new(engine.limits.outbox.clone()),
            dry_runs: Arc::new(Semaphore::new(engine.limits.admin.dry_runs_max)),
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

    /// Counts of all apps together.
    pub fn counts(&self) -> Counts {
        let waiting = self.seen.now();
        Counts {
            waiting: waiting.usage.values().map(|usage| usage.rows).sum(),
            running: i64::try_from(self.dispatcher.running()).unwrap_or(i64::MAX),
            dead_letters: waiting.letters_open.values().sum(),
        }
    }

    /// Counts of each app that has any.
    pub fn counts_by_app(&self, catalog: &Catalog) -> HashMap<AppId, AppCounts> {
        count_by_app(catalog, &self.seen.now())
    }

    pub fn is_storage_low(&self) -> bool {
        self.seen.now().storage_low
    }

    /// Does what somebody wishes.
    pub async fn manage(&self, manage: Manage) -> Result<(), CommitError> {
        self.writer.commit(Command::Manage(manage)).await
    }

    pub async fn audit(&self, before: Option<i64>, limit: usize) -> Result<Vec<AuditRow>, Problem> {
        let found = self.reader.audit(before, limit).await;
        found.map_err(|error| Problem::new(Code::Internal, error.to_string()))
    }

    /// Does many things, in one batch if they fit; what became of each is in their order.
    pub async fn manage_all(&self, wishes: Vec<Manage>) -> Vec<Result<(), CommitError>> {
        let mut waiting = Vec::with_capacity(wishes.len());
        for manage in wishes {
            let (tell, told) = tokio::sync::oneshot::channel();
            // Whoever waits may be gone by then.
            let done = Box::new(move |outcome| drop(tell.send(outcome)));
            waiting.push(self.writer.submit(Command::Manage(manage), done).map(|()| told));
        }
        let mut outcomes = Vec::with_capacity(waiting.len());
        for told in waiting {
            outcomes.push(match told {
                Ok(told) => match told.await {
                    Ok(outcome) => outcome.map_err(CommitError::from),
                    Err(_) => Err(CommitError::Unknown),
                },
                Err(not_taken) => Err(not_taken.into()),
            });
        }
        outcomes
    }

    /// All backups, the newest first. Their folder may lie on a disk that hangs.
    pub async fn all_backups(&self) -> Result<Vec<Backup>, Problem> {
        let backups = Arc::clone(&self.backups);
        let listed = tokio::task::spawn_blocking(move || backups.list()).await;
        listed.map_err(|error| Problem::new(Code::Internal, error.to_string()))
    }

    /// The turn of a backup, if there may be one.
    pub async fn backup_turn(&self) -> Result<Result<Turn, NotBegun>, Problem> {
        let backups = Arc::clone(&self.backups);
        let turn = tokio::task::spawn_blocking(move || backups.take_turn()).await;
        turn.map_err(|error| Problem::new(Code::Internal, error.to_string()))
    }

    pub fn fresh(&self) -> Id {
        self.ids.next(self.clock.now())
    }
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
/// Looks at everything once, however many apps there are.
pub(super) fn count_by_app(catalog: &Catalog, waiting: &Waiting) -> HashMap<AppId, AppCounts> {
    let mut counts: HashMap<AppId, AppCounts> = HashMap::new();
    let mut queues: HashMap<i64, AppId> = HashMap::new();
    for trigger in catalog.triggers.values() {
        counts.entry(trigger.app).or_default().triggers += 1;
        queues.insert(trigger.id.0, trigger.app);
    }
    for app in catalog.apps.values() {
        queues.extend(app.routes.iter().map(|route| (route.id.0, app.id)));
        queues.extend(app.scripts.values().map(|script| (script.id.0, app.id)));
    }
    for (app, usage) in &waiting.usage {
        counts.entry(*app).or_default().waiting = usage.rows;
    }
    for (queue, open) in &waiting.letters_open {
        if let Some(app) = queues.get(&queue.0) {
            counts.entry(*app).or_default().dead_letters += open;
        }
    }
    counts
}

pub(super) fn slug(catalog: &Catalog, app: AppId) -> String {
    catalog.apps.get(&app).map_or_else(|| format!("app {app}"), |app| app.slug.to_string())
}

/// What made a row, as people name it: a trigger, or a route.
pub(super) fn origin(catalog: &Catalog, app: AppId, origin: Option<i64>) -> Option<String> {
    let origin = origin?;
    if let Some(trigger) = catalog.triggers.get(&TriggerId(origin)) {
        return Some(trigger.name.to_string());
    }
    let routes = &catalog.apps.get(&app)?.routes;
    let route = routes.iter().find(|route| route.id == RouteId(origin))?;
    Some(format!("{} {}", route.method, route.path))
}

pub(super) fn outbox_item(row: &BriefRow, catalog: &Catalog, now: Timestamp) -> OutboxItem {
    let standing = Standing {
        claimed: row.claimed,
        app: row.app,
        queue: row.queue,
        available_at: row.available_at,
        attempt: row.attempt,
    };
    OutboxItem {
        id: row.id.to_string(),
        app: slug(catalog, row.app),
        script: row.script.to_string(),
        source: row.source.as_str().to_owned(),
        origin: origin(catalog, row.app, row.origin),
        state: state(&standing, catalog, now).to_owned(),
        available_at: (!row.available_at.is_held()).then_some(row.available_at.0),
        created_at: row.id.time().0,
        attempt: row.attempt,
        max_attempts: row.max_attempts,
        key: row.key.as_ref().map(ToString::to_string),
        depth: row.depth,
        root_id: row.root.to_string(),
        error: row.failure.as_ref().map(failure_item),
    }
}

/// What the state of a row depends on.
pub(super) struct Standing {
    pub(super) claimed: bool,
    pub(super) app: AppId,
    pub(super) queue: QueueId,
    pub(super) available_at: Timestamp,
    pub(super) attempt: u32,
}

/// One of `filter::STATES`.
pub(super) fn state(row: &Standing, catalog: &Catalog, now: Timestamp) -> &'static str {
    if row.claimed {
        "running"
    } else if catalog.pause(row.app, row.queue).is_some() {
        "paused"
    } else if row.available_at.is_held() {
        "behind"
    } else if row.available_at <= now {
        "due"
    } else if row.attempt > 0 {
        "retry"
    } else {
        "later"
    }
}

pub(super) fn letter_item(stored: &LetterRow, catalog: &Catalog) -> DeadLetterItem {
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

pub(super) fn execution_item(execution: &Execution, catalog: &Catalog) -> ExecutionItem {
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

pub(super) fn failure_item(failure: &Failure) -> FailureItem {
    let kind = serde_json::to_value(failure.kind).unwrap_or_default();
    FailureItem {
        kind: kind.as_str().unwrap_or_default().to_owned(),
        message: failure.message.clone(),
        line: failure.line,
        column: failure.column,
        source_line: failure.source_line.clone(),
    }
}

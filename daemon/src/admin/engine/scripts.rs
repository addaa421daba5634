//! Scripts as the admin API sees them: their versions, dry runs, and runs that are asked for.

use std::sync::Arc;

use picloud_api::manifest::ScriptEntry;
use picloud_api::problem::{Code, Problem};
use picloud_api::script::{
    CallItem, DryRunAnswer, FiredItem, InvokeAnswer, InvokeFailure, LetterItem, LogItem, TaskItem,
    VALUE_SHOWN_BYTES_MAX, WriteItem,
};
use picloud_scripts_runtime::effect::Space;
use picloud_scripts_runtime::exec::ExecErrorKind;
use picloud_scripts_runtime::host::{Level, LogLine};
use picloud_scripts_runtime::mask::{HIDDEN, Mask};
use picloud_scripts_runtime::outside::ListedCall;
use serde_json::value::RawValue;

use crate::admin::engine::{Engine, failure_item};
use crate::catalog::Catalog;
use crate::dispatcher::call::Reply;
use crate::dispatcher::invoke::Invocation;
use crate::dispatcher::rehearse::{Event, Rehearsal, Rehearsed, Saved};
use crate::entry::{ChangeOp, EntryKey};
use crate::failure::{Failure, FailureKind};
use crate::flow::facts::Facts;
use crate::flow::writes::{EntryWrite, LetterWrite, RowWrite, Writes};
use crate::flow::{Command, Refusal};
use crate::ids::{AppId, Id, ScriptId, TriggerId};
use crate::inbox::{Changed, InboxFailure, InboxFailureKind, InboxResult};
use crate::manifest::{self, WantedScript};
use crate::outbox::row::OutboxRow;
use crate::outbox::source::OutboxSourceKind;
use crate::store::open::StoreError;
use crate::store::read::versions::{KeptVersion, VersionRow};

impl Engine {
    pub async fn script_versions(
        &self,
        script: ScriptId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<VersionRow>, Problem> {
        self.reader.script_versions(script, before, limit).await.map_err(|error| broken(&error))
    }

    pub async fn script_version(
        &self,
        script: ScriptId,
        version: i64,
    ) -> Result<Option<KeptVersion>, Problem> {
        self.reader.script_version(script, version).await.map_err(|error| broken(&error))
    }

    /// Checks a script as a deploy does, on a thread of its own.
    pub async fn check_script(
        &self,
        entry: ScriptEntry,
        source: String,
    ) -> Result<(Arc<str>, WantedScript), Problem> {
        let (compile, limits) = (Arc::clone(&self.compile), self.run_limits.clone());
        let checked = tokio::task::spawn_blocking(move || {
            manifest::check_script(&entry, &source, &limits, &*compile)
        });
        let checked = checked.await.map_err(|_| lost("checking the script failed"))?;
        checked.map_err(|errors| {
            let mut problem =
                Problem::new(Code::Unfit, "the script is refused; nothing was changed");
            problem.errors = errors;
            problem
        })
    }

    /// The event behind an id of the app: of a row in the outbox, of a dead letter, or of a run that ended lately.
    pub async fn event_behind(&self, id: Id, app: AppId) -> Result<Option<Event>, Problem> {
        let waits = self.reader.outbox_row(id).await.map_err(|error| broken(&error))?;
        if let Some(stored) = waits {
            return Ok((stored.row.app == app).then(|| Event::Of(Arc::new(stored.row))));
        }
        let letter = self.reader.letter(id).await.map_err(|error| broken(&error))?;
        if let Some(stored) = letter {
            let row = stored.letter.row;
            return Ok((row.app == app).then_some(Event::Of(row)));
        }
        let ended = self.dispatcher.history.last_of(id).filter(|ended| ended.app == app);
        Ok(ended.and_then(|ended| ended.event.clone()).map(Event::Given))
    }

    /// Runs a script without committing anything. Few at a time: they hold no permits of the gate.
    pub async fn dry_run(&self, rehearsal: Rehearsal) -> Result<DryRunAnswer, Problem> {
        let Ok(turn) = Arc::clone(&self.dry_runs).try_acquire_owned() else {
            return Err(Problem::new(Code::Busy, "as many dry runs as may be are under way")
                .with_hint("repeat it in a moment"));
        };
        let dispatcher = Arc::clone(&self.dispatcher);
        let version = match rehearsal.saved {
            Saved::Yes => rehearsal.script.version,
            Saved::No => 0,
        };
        let ran = tokio::task::spawn_blocking(move || {
            let rehearsed = dispatcher.rehearse(&rehearsal);
            // Also when who asked has gone meanwhile: the thread is in use until here.
            drop(turn);
            rehearsed
        });
        let rehearsed = ran.await.map_err(|_| lost("the dry run was lost"))?;
        let planned = match &rehearsed.settle {
            Some(command) => Some(self.rehearse(command).await?),
            None => None,
        };
        Ok(dry_run_answer(&rehearsed, planned, &self.catalog(), version))
    }

    /// What a command would write now, with the facts that it met.
    pub async fn rehearse(
        &self,
        command: &Command,
    ) -> Result<(Facts, Result<Writes, Refusal>), Problem> {
        let waiting = self.seen.now();
        let limits = Arc::clone(&self.outbox_limits);
        let mut facts = Facts {
            storage_low: waiting.storage_low,
            usage: waiting.usage,
            letters_open: waiting.letters_open,
            ..Facts::of_rehearsal(
                self.catalog(),
                limits,
                self.run_limits.value_bytes_max,
                self.clock.now(),
            )
        };
        let planned = self.reader.rehearse(command, &mut facts).await;
        planned.map(|planned| (facts, planned)).map_err(|error| broken(&error))
    }

    /// Runs a script on behalf of its caller. A script that fails is no problem of the call.
    pub async fn invoke(&self, invocation: &Invocation) -> Result<InvokeAnswer, Problem> {
        match self.dispatcher.invoke(invocation).await {
            Reply::Accepted { execution, at } => Ok(InvokeAnswer {
                execution_id: execution.to_string(),
                outcome: "accepted".to_owned(),
                accepted_at: Some(at.0),
                ..InvokeAnswer::default()
            }),
            Reply::Answered { execution, result: InboxResult::Answered(result) } => {
                Ok(InvokeAnswer {
                    execution_id: execution.to_string(),
                    outcome: "answered".to_owned(),
                    result: raw(&result),
                    ..InvokeAnswer::default()
                })
            }
            Reply::Answered { execution, result: InboxResult::Failed(failure) } => {
                failed(execution, &failure)
            }
        }
    }
}

/// The script's own failures are an answer, the daemon's a problem.
fn failed(execution: Id, failure: &InboxFailure) -> Result<InvokeAnswer, Problem> {
    let code = match failure.kind {
        InboxFailureKind::NotAResponse
        | InboxFailureKind::ScriptFailed
        | InboxFailureKind::TimedOut
        | InboxFailureKind::BudgetSpent => {
            let changed = match failure.changed {
                Changed::Nothing => "nothing_changed",
                Changed::Unknown => "unknown",
            };
            return Ok(InvokeAnswer {
                execution_id: execution.to_string(),
                outcome: "failed".to_owned(),
                error: Some(InvokeFailure {
                    code: failure.kind.status().1.to_owned(),
                    message: failure.message.clone(),
                    changed: changed.to_owned(),
                }),
                ..InvokeAnswer::default()
            });
        }
        InboxFailureKind::Busy => Code::Busy,
        InboxFailureKind::Paused => Code::Paused,
        InboxFailureKind::Stopping => Code::Stopping,
        InboxFailureKind::StorageLow | InboxFailureKind::DiskFull => Code::StorageLow,
        InboxFailureKind::InFlight
        | InboxFailureKind::AnswerNotKept
        | InboxFailureKind::KeyReused
        | InboxFailureKind::Internal => Code::Internal,
    };
    Err(Problem::new(code, failure.message.clone()))
}

fn dry_run_answer(
    rehearsed: &Rehearsed,
    planned: Option<(Facts, Result<Writes, Refusal>)>,
    catalog: &Catalog,
    script_version: i64,
) -> DryRunAnswer {
    let report = &rehearsed.report;
    let outcome = match &report.result {
        Ok(_) => "succeeded",
        Err(error) if error.kind == ExecErrorKind::Unknown => "unknown",
        Err(_) => "failed",
    };
    let mut answer = DryRunAnswer {
        outcome: outcome.to_owned(),
        result: report.result.as_ref().ok().and_then(|result| raw(result)),
        error: report.result.as_ref().err().map(|error| failure_item(&Failure::from_exec(error))),
        calls: report.listed.iter().map(call_item).collect(),
        log: rehearsed.log.iter().map(log_item).collect(),
        script_version,
        operations: report.usage.operations,
        memory_bytes_peak: report.usage.memory_bytes_peak,
        took_us: i64::try_from(rehearsed.took.as_micros()).unwrap_or(i64::MAX),
        ..DryRunAnswer::default()
    };
    match planned {
        Some((facts, Ok(writes))) => {
            answer.writes = write_items(&facts, &writes);
            answer.triggers = fired_items(&writes, catalog);
            answer.tasks = task_items(&writes);
            answer.letters = letter_items(&writes);
        }
        Some((_, Err(refusal))) => {
            let failure = Failure::new(FailureKind::Threw, refusal.to_string());
            answer.error = Some(failure_item(&failure));
            answer.outcome = "failed".to_owned();
        }
        None => {}
    }
    if !report.mask.is_empty() {
        hide_secrets(&mut answer, &report.mask);
    }
    answer
}

/// Log, error and calls are without them already.
fn hide_secrets(answer: &mut DryRunAnswer, mask: &Mask) {
    let text = |text: &mut String| *text = mask.hide(text).into_owned();
    let json = |json: &mut Option<Box<RawValue>>| {
        if let Some(value) = json {
            // A number that reads as a secret does cannot be hidden within: then all of it is.
            *json = raw(&mask.hide(value.get())).or_else(|| raw(&format!("\"{HIDDEN}\"")));
        }
    };
    json(&mut answer.result);
    answer.error.iter_mut().for_each(|error| text(&mut error.message));
    for write in &mut answer.writes {
        [&mut write.collection, &mut write.key].into_iter().for_each(text);
        [&mut write.before, &mut write.after].into_iter().for_each(json);
    }
    for fired in &mut answer.triggers {
        [&mut fired.collection, &mut fired.key].into_iter().for_each(text);
    }
    for task in &mut answer.tasks {
        json(&mut task.event);
        task.key.iter_mut().chain(&mut task.dedupe).for_each(text);
    }
    answer.letters.iter_mut().filter_map(|letter| letter.reason.as_mut()).for_each(text);
}

/// What would be stored, by key; an entry that was and will be absent is left out.
pub(crate) fn write_items(facts: &Facts, writes: &Writes) -> Vec<WriteItem> {
    let mut sorted: Vec<(&EntryKey, &EntryWrite)> = writes.entries.iter().collect();
    sorted.sort_by_key(|(key, _)| &key.key);
    let mut items = Vec::new();
    for (key, write) in sorted {
        let before = facts.entry(key).map(|entry| &*entry.value);
        let (after, expires_at) = match write {
            EntryWrite::Put(entry) => (Some(&*entry.value), entry.expires_at),
            EntryWrite::Delete => (None, None),
        };
        let op = match (before, after, key.key.space) {
            (None, None, _) => continue,
            (Some(_), None, _) => ChangeOp::Delete,
            (_, Some(_), Space::Kv) => ChangeOp::Set,
            (None, Some(_), Space::Docs) => ChangeOp::Create,
            (Some(_), Some(_), Space::Docs) => ChangeOp::Update,
        };
        items.push(WriteItem {
            space: space(key.key.space).to_owned(),
            collection: key.key.collection.to_string(),
            key: key.key.key.to_string(),
            op: op.as_str().to_owned(),
            before: before.and_then(shown),
            after: after.and_then(shown),
            before_bytes: bytes(before),
            after_bytes: bytes(after),
            expires_at: expires_at.map(|at| at.0),
        });
    }
    items
}

/// The triggers whose rows are among the writes.
pub(crate) fn fired_items(writes: &Writes, catalog: &Catalog) -> Vec<FiredItem> {
    #[derive(serde::Deserialize)]
    struct Of {
        collection: String,
        #[serde(alias = "id")]
        key: String,
    }
    let mut items = Vec::new();
    for row in inserted(writes) {
        let (OutboxSourceKind::Kv | OutboxSourceKind::Docs, Some(origin)) =
            (row.source, row.origin)
        else {
            continue;
        };
        let trigger = catalog.triggers.get(&TriggerId(origin));
        let Ok(of) = serde_json::from_str::<Of>(&row.event) else { continue };
        items.push(FiredItem {
            trigger: trigger.map_or_else(|| origin.to_string(), |one| one.name.to_string()),
            script: row.script.to_string(),
            source: row.source.as_str().to_owned(),
            collection: of.collection,
            key: of.key,
        });
    }
    items
}

fn task_items(writes: &Writes) -> Vec<TaskItem> {
    let is_task =
        |row: &&Arc<OutboxRow>| row.replay_of.is_some() || row.source == OutboxSourceKind::Task;
    let item = |row: &Arc<OutboxRow>| TaskItem {
        script: row.script.to_string(),
        event: shown(&row.event),
        available_at: row.available_at.let_go().0,
        key: row.order.as_ref().map(|order| order.key.to_string()),
        dedupe: row.dedupe.as_ref().map(ToString::to_string),
        replay_of: row.replay_of.map(|id| id.to_string()),
    };
    inserted(writes).into_iter().filter(is_task).map(item).collect()
}

fn letter_items(writes: &Writes) -> Vec<LetterItem> {
    let mut items: Vec<LetterItem> = writes
        .letter_marks
        .iter()
        .filter_map(|(id, mark)| {
            let (resolution, reason) = match mark {
                LetterWrite::Replayed { .. } => ("replayed", None),
                LetterWrite::Discarded { reason, .. } => ("discarded", Some(reason.clone())),
                LetterWrite::HandlerFailed { .. } => return None,
            };
            Some(LetterItem { id: id.to_string(), resolution: resolution.to_owned(), reason })
        })
        .collect();
    items.sort_by(|a, b| a.id.cmp(&b.id));
    items
}

/// New rows in the order in which they were made.
fn inserted(writes: &Writes) -> Vec<&Arc<OutboxRow>> {
    let mut rows: Vec<&Arc<OutboxRow>> = writes
        .rows
        .values()
        .filter_map(|write| match write {
            RowWrite::Insert(row, _) => Some(row),
            RowWrite::Update(_) | RowWrite::Delete => None,
        })
        .collect();
    rows.sort_by_key(|row| row.id);
    rows
}

fn call_item(call: &ListedCall) -> CallItem {
    CallItem {
        method: call.method.clone(),
        url: call.url.clone(),
        headers: call.headers.clone(),
        body_bytes: call.body_bytes,
    }
}

fn log_item(line: &LogLine) -> LogItem {
    let level = match line.level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    LogItem {
        level: level.to_owned(),
        message: line.message.clone(),
        fields: line.fields.as_deref().and_then(raw),
    }
}

pub(crate) fn space(space: Space) -> &'static str {
    match space {
        Space::Kv => "kv",
        Space::Docs => "docs",
    }
}

fn bytes(text: Option<&str>) -> i64 {
    text.map_or(0, |text| i64::try_from(text.len()).unwrap_or(i64::MAX))
}

/// JSON text of the engine's as a part of an answer, unless it is large.
fn shown(text: &str) -> Option<Box<RawValue>> {
    if text.len() > VALUE_SHOWN_BYTES_MAX { None } else { raw(text) }
}

/// JSON text of the engine's as a part of an answer.
pub(crate) fn raw(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}

pub(crate) fn broken(error: &StoreError) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}

fn lost(what: &str) -> Problem {
    Problem::new(Code::Internal, what)
}

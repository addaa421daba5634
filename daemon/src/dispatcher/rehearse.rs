//! Dry runs: a script runs as it would, and what it wants done is planned and shown instead of committed.

use std::sync::Arc;
use std::time::Duration;

use picloud_scripts_runtime::exec::{ExecErrorKind, ExecReport};
use picloud_scripts_runtime::host::LogLine;

use crate::catalog::{App, Script};
use crate::flow::Command;
use crate::flow::settle::{Settle, Stored};
use crate::ids::Id;
use crate::outbox::decide::Action;
use crate::outbox::row::{Claim, Lease, OutboxRow};
use crate::principal::Principal;
use crate::route::DispatchMode;

use super::Dispatcher;
use super::executor::{Executed, Job, Mode};
use super::invoke::{Invocation, row_of};

/// A dry run that somebody asks for.
pub struct Rehearsal {
    pub app: Arc<App>,
    /// With the source that is to be tried.
    pub script: Arc<Script>,
    pub saved: Saved,
    /// Whoever asks: the run may do what they may.
    pub principal: Arc<Principal>,
    pub event: Event,
}

/// Whether the source is the current version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    Yes,
    No,
}

/// Where the event of a dry run comes from.
#[derive(Clone, Debug)]
pub enum Event {
    /// JSON text of a map.
    Given(Arc<str>),
    /// That of a row which waits, runs or died.
    Of(Arc<OutboxRow>),
}

/// What came of a dry run.
pub struct Rehearsed {
    pub report: ExecReport,
    pub log: Vec<LogLine>,
    pub took: Duration,
    /// What would be settled, unless the run failed: a plan of it says what would be written, up to the first call to the
    /// outside.
    pub settle: Option<Command>,
}

impl Dispatcher {
    /// Runs a script on the calling thread, by the deadline that its run would have. Nothing is committed.
    pub fn rehearse(&self, rehearsal: &Rehearsal) -> Rehearsed {
        let clock = &self.parts.clock;
        let (now, began) = (clock.now(), clock.monotonic());
        let id = self.parts.ids.next(now);
        let row = Arc::new(row(rehearsal, id, now));
        let job = Job {
            row: &row,
            app: &rehearsal.app,
            script: &rehearsal.script,
            principal: &rehearsal.principal,
            now,
            deadline: began + Duration::from_millis(rehearsal.script.limits.timeout_ms),
            cancelled: &self.cancelled,
            mode: Mode::Dry,
        };
        let Executed { report, log } = match rehearsal.saved {
            Saved::Yes => self.parts.executor.execute(&job),
            Saved::No => self.parts.executor.execute_unsaved(&job),
        };
        let took = clock.monotonic().saturating_sub(began);
        let settles = match &report.result {
            Ok(_) => true,
            Err(error) => error.kind == ExecErrorKind::Unknown,
        };
        let settle = settles.then(|| {
            Command::Settle(Settle {
                claim: Claim { row, lease: Lease { owner: self.parts.owner, token: 0 } },
                stored: Stored::No,
                action: Action::Complete,
                reads: Vec::new(),
                effects: report.effects.clone(),
                result: None,
                script_version: rehearsal.script.version,
                fresh: id,
            })
        });
        Rehearsed { log, took, settle, report }
    }
}

/// The row that the run believes to be started by. A retry of it would see the same, but for its id.
fn row(rehearsal: &Rehearsal, id: Id, now: crate::time::Timestamp) -> OutboxRow {
    let invoked = |event| {
        let invocation = Invocation {
            script: Arc::clone(&rehearsal.script),
            principal: rehearsal.principal.id,
            event,
            mode: DispatchMode::Async,
        };
        row_of(&invocation, id, now)
    };
    match &rehearsal.event {
        Event::Given(event) => invoked(Arc::clone(event)),
        Event::Of(row) => OutboxRow {
            source: row.source,
            origin: row.origin,
            depth: row.depth,
            letter: row.letter,
            ..invoked(Arc::clone(&row.event))
        },
    }
}

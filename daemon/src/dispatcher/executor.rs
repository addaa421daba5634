//! Running scripts: the seam between the dispatcher and the sandbox.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use picloud_scripts_runtime::exec::{ExecError, ExecReport, ExecRequest};
use picloud_scripts_runtime::host::LogLine;
use picloud_scripts_runtime::outside;
use picloud_scripts_runtime::program::Program;
use picloud_scripts_runtime::runtime::Runtime;

use crate::catalog::{App, Script};
use crate::groups::Groups;
use crate::ids::ScriptId;
use crate::outbox::row::OutboxRow;
use crate::outgoing::Outgoing;
use crate::principal::Principal;
use crate::store::read::Reader;
use crate::time::{Clock, Timestamp};
use crate::vault::Vault;

use super::host::RunHost;

/// One attempt to be made.
pub struct Job<'a> {
    pub row: &'a Arc<OutboxRow>,
    pub app: &'a Arc<App>,
    pub script: &'a Arc<Script>,
    pub principal: &'a Arc<Principal>,
    /// What the script sees as now.
    pub now: Timestamp,
    /// When it has to be over, by the monotonic clock.
    pub deadline: Duration,
    /// Set when the daemon cannot wait any longer.
    pub cancelled: &'a Arc<AtomicBool>,
    pub mode: Mode,
}

/// Whether anything of a run leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    ForReal,
    /// A dry run: what it would do is shown to who asked, and nowhere else; calls to the outside are listed, not sent.
    Dry,
}

impl Mode {
    fn outgoing(self) -> outside::Outgoing {
        match self {
            Self::ForReal => outside::Outgoing::Sent,
            Self::Dry => outside::Outgoing::Listed,
        }
    }
}

/// What came of it.
pub struct Executed {
    pub report: ExecReport,
    pub log: Vec<LogLine>,
}

/// Runs Rhai scripts.
pub struct ScriptExecutor {
    pub runtime: Arc<Runtime>,
    pub reader: Reader,
    pub vault: Arc<Vault>,
    pub outgoing: Arc<Outgoing>,
    pub clock: Arc<dyn Clock>,
    pub groups: Arc<Groups>,
    pub programs: Programs,
    /// Where reads of the store are waited for.
    pub tokio: tokio::runtime::Handle,
}

impl ScriptExecutor {
    /// Runs a job on the calling thread, and returns by its deadline.
    pub fn execute(&self, job: &Job<'_>) -> Executed {
        match self.programs.get(job.script, &self.runtime) {
            Ok(program) => self.execute_program(job, &program),
            Err(error) => Executed { report: failed(error), log: Vec::new() },
        }
    }

    /// As [`ScriptExecutor::execute`], of a source that is no version of any script: it is compiled for this run alone.
    pub fn execute_unsaved(&self, job: &Job<'_>) -> Executed {
        match self.programs.compile(&job.script.source, &self.runtime) {
            Ok(program) => self.execute_program(job, &program),
            Err(error) => Executed { report: failed(error), log: Vec::new() },
        }
    }

    fn execute_program(&self, job: &Job<'_>, program: &Program) -> Executed {
        let host = Arc::new(RunHost {
            app: Arc::clone(job.app),
            row: Arc::clone(job.row),
            script: Arc::clone(&job.script.name),
            principal: Arc::clone(job.principal),
            groups: Arc::clone(&self.groups),
            reader: self.reader.clone(),
            vault: Arc::clone(&self.vault),
            outgoing: Arc::clone(&self.outgoing),
            tokio: self.tokio.clone(),
            clock: Arc::clone(&self.clock),
            deadline: job.deadline,
            cancelled: Arc::clone(job.cancelled),
            mode: job.mode,
            log: Mutex::new(Vec::new()),
        });
        let request = ExecRequest {
            event: Arc::clone(&job.row.event),
            execution_id: job.row.id.to_string().into(),
            attempt: job.row.attempt + 1,
            depth: job.row.depth,
            root_id: job.row.root.to_string().into(),
            limits: job.script.limits.clone(),
            now_ms: job.now.0,
            seed: seed(job.row),
            outgoing: job.mode.outgoing(),
            host: Arc::clone(&host) as _,
        };
        let report = self.runtime.run(program, &request);
        let log = std::mem::take(&mut *host.log.lock().expect("no panic while held"));
        Executed { report, log }
    }
}

fn failed(error: ExecError) -> ExecReport {
    ExecReport {
        result: Err(error),
        effects: Vec::new(),
        listed: Vec::new(),
        mask: Default::default(),
        reads: Vec::new(),
        usage: Default::default(),
    }
}

/// The same for all re-runs of one attempt.
fn seed(row: &OutboxRow) -> u64 {
    #[allow(clippy::cast_possible_truncation, reason = "both halves of the id are mixed")]
    let folded = (row.id.0 >> 64) as u64 ^ row.id.0 as u64;
    folded.rotate_left(row.attempt % 64) ^ u64::from(row.attempt)
}

/// Compiled scripts, by version.
#[derive(Default)]
pub struct Programs {
    compiled: RwLock<HashMap<ScriptId, (i64, Compiled)>>,
    /// One script is compiled at a time, since a compiler's memory is not counted as a run's.
    compiling: Mutex<()>,
}

type Compiled = Result<Arc<Program>, ExecError>;

/// Compiled scripts that are kept.
pub const PROGRAMS_MAX: usize = 1_000;

impl Programs {
    /// The program of a script's current version; compiled on its first use, errors kept like programs.
    pub fn get(&self, script: &Script, runtime: &Runtime) -> Compiled {
        if let Some(compiled) = self.known(script) {
            return compiled;
        }
        let _one_at_a_time = self.compiling.lock().expect("compiling does not panic");
        if let Some(compiled) = self.known(script) {
            return compiled;
        }
        let compiled = runtime.compile(&script.source).map(Arc::new);
        let mut known = self.compiled.write().expect("no panic while held");
        if known.len() >= PROGRAMS_MAX {
            known.clear();
        }
        known.insert(script.id, (script.version, compiled.clone()));
        compiled
    }

    /// Compiles a source and keeps nothing of it.
    fn compile(&self, source: &str, runtime: &Runtime) -> Result<Program, ExecError> {
        let _one_at_a_time = self.compiling.lock().expect("compiling does not panic");
        runtime.compile(source)
    }

    fn known(&self, script: &Script) -> Option<Compiled> {
        let known = self.compiled.read().expect("no panic while held");
        let (version, compiled) = known.get(&script.id)?;
        (*version == script.version).then(|| compiled.clone())
    }
}

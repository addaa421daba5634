//! The run of this thread: what the services work on while a script is evaluated.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rhai::{Dynamic, EvalAltResult, Position};

use crate::bounds::{
    INTERPRETER_STACK_BYTES_MAX, MEMORY_STEP_BYTES, NATIVE_STACK_BYTES_MAX, OPERATIONS_PER_LOOK,
};
use crate::effect::Effect;
use crate::entries::Entries;
use crate::exec::{ExecErrorKind, ExecRequest, Usage};
use crate::fault::Fault;
use crate::host::{Host, Interrupt, Need};
use crate::limits::RunLimits;
use crate::mask::Mask;
use crate::memory::{GAUGE, held_bytes, stack_address};
use crate::outside::{ListedCall, Outgoing};
use crate::random::Random;

/// State of one run.
pub(crate) struct Run {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) limits: RunLimits,
    pub(crate) now_ms: i64,
    pub(crate) random: Random,
    pub(crate) entries: Entries,
    pub(crate) effects: Vec<Effect>,
    /// Secrets that were read.
    pub(crate) mask: Mask,
    pub(crate) outgoing: Outgoing,
    /// Calls to the outside so far.
    pub(crate) calls: u32,
    pub(crate) listed: Vec<ListedCall>,
    pub(crate) log_lines: usize,
    pub(crate) log_lines_dropped: u64,
    /// What the run ends with, whatever the script does.
    fatal: Option<(ExecErrorKind, String)>,
    /// The thread's gauge when the run began.
    held_before: i64,
    /// What the run has told the total of all runs.
    published: i64,
    /// Variables shared with closures, by the address of the shared value: a closure may hold the variable that holds
    /// it, so they are emptied at the end.
    shared: HashMap<usize, Dynamic>,
}

/// What all runs of a runtime hold together.
pub(crate) struct MemoryOfAll {
    pub(crate) held: AtomicI64,
    pub(crate) bytes_max: i64,
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Makes `request` the run of this thread until [`end`].
pub(crate) fn begin(request: &ExecRequest, notes_shared: bool) {
    let held = held_bytes();
    let run = Run {
        host: Arc::clone(&request.host),
        limits: request.limits.clone(),
        now_ms: request.now_ms,
        random: Random::new(request.seed),
        entries: Entries::default(),
        effects: Vec::new(),
        mask: Mask::default(),
        outgoing: request.outgoing,
        calls: 0,
        listed: Vec::new(),
        log_lines: 0,
        log_lines_dropped: 0,
        fatal: None,
        held_before: held,
        published: 0,
        shared: HashMap::new(),
    };
    GAUGE.with(|gauge| {
        gauge.peak.set(held);
        gauge.operations.set(0);
        gauge.look_at.set(OPERATIONS_PER_LOOK.min(request.limits.operations_max.saturating_add(1)));
        gauge.held_max.set(held.saturating_add(signed(request.limits.memory_bytes_max)));
        gauge.held_trip.set(held.saturating_add(trip(&request.limits, 0)));
        gauge.stack_low.set(usize::MAX);
        gauge.stack_floor.set(stack_address().saturating_sub(INTERPRETER_STACK_BYTES_MAX));
        gauge.notes_shared.set(notes_shared);
        gauge.noted.set(0);
    });
    RUN.with_borrow_mut(|slot| *slot = Some(run));
}

/// Ends the run of this thread. The caller has dropped what the script made.
pub(crate) fn end(all: &MemoryOfAll) -> (Run, Usage) {
    let mut run = RUN.with_borrow_mut(Option::take).expect("a run was begun");
    for cell in run.shared.values_mut() {
        if let Some(mut value) = cell.write_lock::<Dynamic>() {
            *value = Dynamic::UNIT;
        }
    }
    run.shared.clear();
    all.held.fetch_sub(run.published, Ordering::Relaxed);
    let (operations, peak) = GAUGE.with(|gauge| {
        gauge.look_at.set(u64::MAX);
        gauge.held_max.set(i64::MAX);
        gauge.held_trip.set(i64::MAX);
        gauge.stack_floor.set(0);
        gauge.notes_shared.set(false);
        (gauge.operations.get(), gauge.peak.get().wrapping_sub(run.held_before))
    });
    let usage = Usage {
        operations: operations.min(run.limits.operations_max),
        memory_bytes_peak: u64::try_from(peak).unwrap_or(0),
        log_lines_dropped: run.log_lines_dropped,
    };
    (run, usage)
}

/// Whether the run of this thread has to end with an error, whatever the script made of it.
pub(crate) fn fatal() -> Option<(ExecErrorKind, String)> {
    RUN.with_borrow(|slot| slot.as_ref().and_then(|run| run.fatal.clone()))
}

/// The secrets that the run of this thread has read.
pub(crate) fn mask() -> Mask {
    RUN.with_borrow(|slot| slot.as_ref().map(|run| run.mask.clone()).unwrap_or_default())
}

/// Whether a script is running on this thread. While a service call has the run, it is.
pub(crate) fn is_running() -> bool {
    RUN.try_with(|slot| slot.try_borrow().map_or(true, |slot| slot.is_some())).unwrap_or(false)
}

/// Whether shared variables are to be handed to [`note_shared`].
#[inline]
pub(crate) fn notes_shared() -> bool {
    GAUGE.with(|gauge| gauge.notes_shared.get())
}

/// Runs a part of a service call on the run of this thread.
pub(crate) fn with<T>(
    part: impl FnOnce(&mut Run) -> Result<T, Fault>,
) -> Result<T, Box<EvalAltResult>> {
    let outcome = RUN.with_borrow_mut(|slot| match slot {
        Some(run) => run.guard(part),
        None => Err(Fault::thrown("services are only there while a script runs")),
    });
    // What our own code needed of the stack says nothing about the script's data.
    GAUGE.with(|gauge| gauge.stack_low.set(usize::MAX));
    outcome.map_err(|fault| {
        Box::new(match fault {
            Fault::Thrown(message) => EvalAltResult::ErrorRuntime(message.into(), Position::NONE),
            Fault::Fatal(..) => EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE),
        })
    })
}

/// As [`with`], for calls that a capability is needed for; `call` is named in the error.
pub(crate) fn service<T>(
    need: Need,
    call: &'static str,
    part: impl FnOnce(&mut Run) -> Result<T, Fault>,
) -> Result<T, Box<EvalAltResult>> {
    with(|run| {
        run.check_interrupt()?;
        if !run.host.permits(need) {
            let message = format!("{call} is not allowed: it needs {}", capability(need));
            return Err(Fault::Fatal(ExecErrorKind::NotAllowed, message));
        }
        part(run)
    })
}

/// As [`with`], for calls to the outside, which need no capability: the manifest says which hosts may be called.
pub(crate) fn calling<T>(
    part: impl FnOnce(&mut Run) -> Result<T, Fault>,
) -> Result<T, Box<EvalAltResult>> {
    with(|run| {
        run.check_interrupt()?;
        part(run)
    })
}

fn capability(need: Need) -> &'static str {
    match need {
        Need::Data => "the capability AppData, which the principal of this run lacks",
        Need::Secrets => "the capability AppSecrets, which the principal of this run lacks",
        Need::Invoke => "the capability AppInvoke, which the principal of this run lacks",
        Need::ResolveDeadLetters => {
            "a dead-letter trigger to have started this run, and the capability DeadLettersResolve"
        }
    }
}

/// Called at every operation of the script; `Some` ends it.
#[inline]
pub(crate) fn progress(all: &MemoryOfAll) -> Option<Dynamic> {
    let here = stack_address();
    let is_due = GAUGE.with(|gauge| {
        let operations = gauge.operations.get() + 1;
        gauge.operations.set(operations);
        let is_due = operations >= gauge.look_at.get()
            || gauge.held.get() > gauge.held_trip.get()
            || here < gauge.stack_floor.get()
            || gauge.stack_low.get() < here.saturating_sub(NATIVE_STACK_BYTES_MAX);
        if !is_due {
            gauge.stack_low.set(usize::MAX);
        }
        is_due
    });
    if is_due { look(here, all) } else { None }
}

#[cold]
#[inline(never)]
fn look(here: usize, all: &MemoryOfAll) -> Option<Dynamic> {
    RUN.with_borrow_mut(|slot| {
        let run = slot.as_mut()?;
        run.guard(|run| run.look(here, all)).err().map(|_| Dynamic::UNIT)
    })
}

/// Notes a variable that closures share, so that it can be emptied at the end.
pub(crate) fn note_shared(variable: &Dynamic) {
    let Some(value) = variable.read_lock::<Dynamic>() else { return };
    let address = std::ptr::from_ref::<Dynamic>(&value).addr();
    drop(value);
    if GAUGE.with(|gauge| gauge.noted.replace(address)) == address {
        return;
    }
    RUN.with_borrow_mut(|slot| {
        if let Some(run) = slot {
            run.shared.entry(address).or_insert_with(|| variable.clone());
        }
    });
}

/// Operations that a service call costs beyond the one that it is.
pub(crate) fn charge(operations: u64) {
    GAUGE.with(|gauge| {
        // Far from the end of the counter, however much is charged.
        gauge.operations.set(gauge.operations.get().saturating_add(operations).min(u64::MAX / 2));
        gauge.look_at.set(0);
    });
}

impl Run {
    /// Remembers a failure that ends the run, and keeps failing once there was one.
    fn guard<T>(&mut self, part: impl FnOnce(&mut Run) -> Result<T, Fault>) -> Result<T, Fault> {
        if let Some((kind, message)) = &self.fatal {
            return Err(Fault::Fatal(*kind, message.clone()));
        }
        let outcome = part(self);
        if let Err(Fault::Fatal(kind, message)) = &outcome {
            self.fatal = Some((*kind, message.clone()));
            GAUGE.with(|gauge| gauge.look_at.set(0));
        }
        outcome
    }

    pub(crate) fn check_interrupt(&self) -> Result<(), Fault> {
        let Some(interrupt) = self.host.interrupted() else { return Ok(()) };
        let (kind, message) = match interrupt {
            Interrupt::Deadline => (
                ExecErrorKind::Timeout,
                format!("was still running when its time was over ({} ms)", self.limits.timeout_ms),
            ),
            Interrupt::Cancelled => {
                (ExecErrorKind::Cancelled, "was stopped by the daemon".to_owned())
            }
            Interrupt::MemoryOfAll => (ExecErrorKind::MemoryOfAll, memory_of_all()),
        };
        Err(Fault::Fatal(kind, message))
    }

    /// Fails when the run holds more memory than it may.
    pub(crate) fn check_memory(&self) -> Result<(), Fault> {
        if GAUGE.with(|gauge| gauge.held.get() > gauge.held_max.get()) {
            return Err(Fault::budget(format!(
                "holds more than {} bytes of memory",
                self.limits.memory_bytes_max
            )));
        }
        Ok(())
    }

    fn look(&mut self, here: usize, all: &MemoryOfAll) -> Result<(), Fault> {
        let (operations, low, floor) = GAUGE.with(|gauge| {
            let low = gauge.stack_low.replace(usize::MAX);
            (gauge.operations.get(), low, gauge.stack_floor.get())
        });
        let operations_max = self.limits.operations_max;
        if operations > operations_max {
            return Err(Fault::budget(format!("used up its {operations_max} operations")));
        }
        if here < floor {
            return Err(Fault::budget(
                "needs more stack than a run has: its calls and expressions are nested too deeply",
            ));
        }
        if low < here.saturating_sub(NATIVE_STACK_BYTES_MAX) {
            return Err(Fault::budget(
                "has arrays, maps or functions nested too deeply within each other",
            ));
        }
        self.check_memory()?;
        self.publish(all)?;
        self.check_interrupt()?;
        let left = operations_max - operations;
        GAUGE.with(|gauge| {
            gauge.look_at.set(operations + OPERATIONS_PER_LOOK.min(left.saturating_add(1)));
            let trip = trip(&self.limits, self.published);
            gauge.held_trip.set(self.held_before.saturating_add(trip));
        });
        Ok(())
    }

    /// Tells the total of all runs what this one holds, if that has changed much.
    fn publish(&mut self, all: &MemoryOfAll) -> Result<(), Fault> {
        let held = held_bytes().wrapping_sub(self.held_before);
        let change = held.wrapping_sub(self.published);
        if change.abs() < MEMORY_STEP_BYTES {
            return Ok(());
        }
        self.published = held;
        let total = all.held.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
        if change > 0 && total > all.bytes_max {
            return Err(Fault::Fatal(ExecErrorKind::MemoryOfAll, memory_of_all()));
        }
        Ok(())
    }

    pub(crate) fn push(&mut self, effect: Effect) -> Result<(), Fault> {
        let effects_max = self.limits.effects_max;
        if self.effects.len() >= effects_max {
            return Err(Fault::budget(format!(
                "asks for more than {effects_max} writes and tasks, the limit of one run"
            )));
        }
        self.effects.push(effect);
        Ok(())
    }
}

/// What the run may hold, from its start on, until a closer look is due.
fn trip(limits: &RunLimits, published: i64) -> i64 {
    signed(limits.memory_bytes_max).min(published.saturating_add(MEMORY_STEP_BYTES))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn memory_of_all() -> String {
    "was stopped since all runs together hold too much memory".to_owned()
}

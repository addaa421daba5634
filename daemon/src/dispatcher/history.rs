//! What ran lately: kept in memory, bounded, gone with the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use picloud_scripts_runtime::effect::{Effect, Key};
use picloud_scripts_runtime::host::LogLine;
use picloud_scripts_runtime::mask::Mask;

use crate::failure::Failure;
use crate::ids::{AppId, Id};
use crate::outbox::row::OutboxRow;
use crate::outbox::source::OutboxSourceKind;
use crate::time::Timestamp;

/// Bytes of log lines, and of the names of what was written, that are kept with them.
pub const LOG_BYTES_MAX: usize = 1 << 20;
/// Bytes of an event that is kept, so that the run can be tried again.
pub const EVENT_BYTES_MAX: usize = 16 << 10;
/// Bytes of events that are kept; the older ones go first, their executions stay.
pub const EVENTS_BYTES_MAX: usize = 1 << 20;

/// One finished attempt.
#[derive(Clone, Debug)]
pub struct Execution {
    pub id: Id,
    pub app: AppId,
    pub script: Arc<str>,
    pub script_version: i64,
    pub source: OutboxSourceKind,
    /// Number of the route or trigger.
    pub origin: Option<i64>,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    pub end: End,
    pub failure: Option<Failure>,
    pub started_at: Timestamp,
    /// Microseconds from the hand-over to the start of the run, and from the start to its end.
    pub queued_us: u64,
    pub took_us: u64,
    pub effects: usize,
    /// The first of them, without values.
    pub wrote: Vec<Wrote>,
    pub root: Id,
    /// The row whose run made it.
    pub cause: Option<Id>,
    /// The letter that it replayed.
    pub replay_of: Option<Id>,
    pub log: Vec<LogLine>,
    /// JSON text of a map; `None` when it is large, or long ago.
    pub event: Option<Arc<str>>,
}

/// One effect without its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrote {
    pub does: &'static str,
    pub to: Target,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Entry(Key),
    /// A script that is to run, or a dead letter.
    Named(Arc<str>),
}

/// Effects of a run that are remembered.
const WROTE_MAX: usize = 20;

/// What of a run's effects is remembered: without values, and without secrets that found their way into a name.
pub fn wrote(effects: &[Effect], mask: &Mask) -> Vec<Wrote> {
    let hide = |name: &Arc<str>| Arc::from(&*mask.hide(name));
    let entry = |does, key: &Key| {
        let (collection, name) = (hide(&key.collection), hide(&key.key));
        Wrote { does, to: Target::Entry(Key { collection, key: name, ..key.clone() }) }
    };
    let one = |effect: &Effect| match effect {
        Effect::Put { key, .. } => entry("put", key),
        Effect::Patch { key, .. } => entry("patch", key),
        Effect::Increment { key, .. } => entry("increment", key),
        Effect::Delete { key } => entry("delete", key),
        Effect::Enqueue { script, .. } => {
            Wrote { does: "enqueue", to: Target::Named(Arc::clone(script)) }
        }
        Effect::ReplayDeadLetter { id, .. } => {
            Wrote { does: "replay", to: Target::Named(Arc::clone(id)) }
        }
        Effect::DiscardDeadLetter { id, .. } => {
            Wrote { does: "discard", to: Target::Named(Arc::clone(id)) }
        }
    };
    effects.iter().take(WROTE_MAX).map(one).collect()
}

/// How an attempt ended, as people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Completed,
    Answered,
    Retried,
    DeadLettered,
    HandlerFailed,
    Abandoned,
    Released,
    LeaseLost,
}

impl End {
    pub const ALL: [End; 8] = [
        Self::Completed,
        Self::Answered,
        Self::Retried,
        Self::DeadLettered,
        Self::HandlerFailed,
        Self::Abandoned,
        Self::Released,
        Self::LeaseLost,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Answered => "answered",
            Self::Retried => "retried",
            Self::DeadLettered => "dead_lettered",
            Self::HandlerFailed => "handler_failed",
            Self::Abandoned => "abandoned",
            Self::Released => "released",
            Self::LeaseLost => "lease_lost",
        }
    }
}

/// The last executions, the newest at the back.
#[derive(Debug)]
pub struct History {
    kept: Mutex<Kept>,
    executions_max: usize,
}

#[derive(Debug, Default)]
struct Kept {
    executions: VecDeque<Arc<Execution>>,
    /// How many have been forgotten: the number of the oldest that is kept.
    forgotten: u64,
    log_bytes: usize,
    event_bytes: usize,
    /// Number of the oldest execution whose event may be kept.
    events_from: u64,
}

impl Kept {
    /// Lets go of the oldest events until the others are within their limit.
    fn forget_events(&mut self) {
        self.events_from = self.events_from.max(self.forgotten);
        while self.event_bytes > EVENTS_BYTES_MAX {
            let place = usize::try_from(self.events_from - self.forgotten).unwrap_or(usize::MAX);
            let Some(oldest) = self.executions.get_mut(place) else { return };
            // Who still shows it goes on with what it has.
            let event = Arc::make_mut(oldest).event.take();
            self.event_bytes -= event.map_or(0, |event| event.len());
            self.events_from += 1;
        }
    }
}

impl History {
    pub fn new(executions_max: usize) -> History {
        History { kept: Mutex::default(), executions_max }
    }

    pub fn record(&self, execution: Arc<Execution>) {
        let mut kept = self.kept.lock().expect("no panic while held");
        kept.log_bytes += log_bytes(&execution);
        kept.event_bytes += event_bytes(&execution);
        kept.executions.push_back(execution);
        while kept.executions.len() > self.executions_max || kept.log_bytes > LOG_BYTES_MAX {
            let Some(oldest) = kept.executions.pop_front() else { break };
            kept.log_bytes -= log_bytes(&oldest);
            kept.event_bytes -= event_bytes(&oldest);
            kept.forgotten += 1;
        }
        kept.forget_events();
    }

    /// The newest first with their numbers, of one app or of all, at most `limit`, only those before number `before`.
    /// Runs end in another order than their rows were made, so an id is no cursor here.
    pub fn newest(
        &self,
        app: Option<AppId>,
        before: Option<u64>,
        limit: usize,
    ) -> Vec<(u64, Arc<Execution>)> {
        self.find(before, limit, |one| app.is_none_or(|app| app == one.app))
    }

    /// The same of those that pass.
    pub fn find(
        &self,
        before: Option<u64>,
        limit: usize,
        passes: impl Fn(&Execution) -> bool,
    ) -> Vec<(u64, Arc<Execution>)> {
        let kept = self.kept.lock().expect("no panic while held");
        let end = kept.forgotten + kept.executions.len() as u64;
        let numbered = (kept.forgotten..end).rev().zip(kept.executions.iter().rev());
        numbered
            .filter(|(number, _)| before.is_none_or(|before| *number < before))
            .filter(|(_, one)| passes(one))
            .take(limit)
            .map(|(number, one)| (number, Arc::clone(one)))
            .collect()
    }

    /// The last attempt of a row, if it is still kept.
    pub fn last_of(&self, id: Id) -> Option<Arc<Execution>> {
        let kept = self.kept.lock().expect("no panic while held");
        kept.executions.iter().rev().find(|one| one.id == id).cloned()
    }
}

fn log_bytes(execution: &Execution) -> usize {
    let line =
        |line: &LogLine| line.message.len() + line.fields.as_ref().map_or(0, String::len) + 32;
    let name = |wrote: &Wrote| match &wrote.to {
        Target::Entry(key) => key.collection.len() + key.key.len() + 64,
        Target::Named(name) => name.len() + 64,
    };
    execution.log.iter().map(line).sum::<usize>() + execution.wrote.iter().map(name).sum::<usize>()
}

fn event_bytes(execution: &Execution) -> usize {
    execution.event.as_ref().map_or(0, |event| event.len())
}

/// What every record says about its row.
pub fn execution_of(row: &OutboxRow, end: End, started_at: Timestamp) -> Execution {
    Execution {
        id: row.id,
        app: row.app,
        script: Arc::clone(&row.script),
        script_version: 0,
        source: row.source,
        origin: row.origin,
        attempt: row.attempt + 1,
        end,
        failure: None,
        started_at,
        queued_us: 0,
        took_us: 0,
        effects: 0,
        wrote: Vec::new(),
        root: row.root,
        cause: row.cause,
        replay_of: row.replay_of,
        log: Vec::new(),
        event: (row.event.len() <= EVENT_BYTES_MAX).then(|| Arc::clone(&row.event)),
    }
}

#[cfg(test)]
mod tests {
    use picloud_scripts_runtime::effect::Space;
    use picloud_scripts_runtime::host::Level;

    use super::*;
    use crate::outbox::row::tests::row;

    #[test]
    fn p8_a_secret_in_the_name_of_what_was_written_is_not_remembered() {
        let key = |collection: &str, key: &str| Key {
            space: Space::Kv,
            collection: collection.into(),
            key: key.into(),
        };
        let mut mask = Mask::default();
        mask.add("hunter22");
        let effects = [Effect::Delete { key: key("by-hunter22", "a/hunter22") }];
        let to = Target::Entry(key("by-***", "a/***"));
        assert_eq!(wrote(&effects, &mask), [Wrote { does: "delete", to }]);
    }

    fn execution(id: u128, log: usize) -> Execution {
        let line = LogLine { level: Level::Info, message: "x".repeat(log), fields: None };
        let row = OutboxRow { id: Id(id), ..row() };
        Execution { log: vec![line], ..execution_of(&row, End::Completed, Timestamp(0)) }
    }

    #[test]
    fn p7_the_history_keeps_the_newest_within_its_limits() {
        let history = History::new(2_000);
        for id in 1..=3_000 {
            history.record(execution(id, 10).into());
        }
        let newest = history.newest(None, None, 5_000);
        assert_eq!((newest.len(), newest[0].0, newest[0].1.id), (2_000, 2_999, Id(3_000)));
        assert!(history.last_of(Id(1_000)).is_none());
        for id in 4_000..4_010 {
            history.record(execution(id, LOG_BYTES_MAX / 4).into());
        }
        assert_eq!(history.newest(None, None, 5_000).len(), 3);
    }

    #[test]
    fn p7_the_newest_events_are_kept_within_their_limit_and_large_ones_are_not() {
        let history = History::new(2_000);
        let of = |id: u128, bytes: usize| {
            let row = OutboxRow { id: Id(id), event: "x".repeat(bytes).into(), ..row() };
            Arc::new(execution_of(&row, End::Completed, Timestamp(0)))
        };
        history.record(of(1, EVENT_BYTES_MAX + 1));
        for id in 2..=100 {
            history.record(of(id, EVENT_BYTES_MAX));
        }
        let has_event = |id| history.last_of(Id(id)).expect("it is kept").event.is_some();
        let most = u128::try_from(EVENTS_BYTES_MAX / EVENT_BYTES_MAX).expect("few");
        assert!(!has_event(1) && !has_event(100 - most) && has_event(101 - most));
        let few = History::new(2);
        (1..=5).for_each(|id| few.record(of(id, 10)));
        assert_eq!(few.kept.lock().expect("nobody panics").event_bytes, 20);
    }

    #[test]
    fn pages_of_the_history_follow_each_other() {
        let history = History::new(2_000);
        for id in [5, 1, 4, 2, 3] {
            history.record(execution(id, 1).into());
        }
        let page = |before| {
            let page = history.newest(None, before, 2);
            page.iter().map(|(number, one)| (*number, one.id.0)).collect::<Vec<_>>()
        };
        assert_eq!(page(None), [(4, 3), (3, 2)]);
        assert_eq!(page(Some(3)), [(2, 4), (1, 1)]);
        assert_eq!(page(Some(1)), [(0, 5)]);
    }
}

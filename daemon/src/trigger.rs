//! Triggers: which script runs when something changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use picloud_scripts_runtime::effect::{Key, Space};

use crate::entry::{Change, ChangeOp};
use crate::ids::{AppId, PrincipalId, TriggerId};
use crate::outbox::row::OutboxSourceKind;
use crate::payload::MapWriter;
use crate::retry::RetryPolicy;
use crate::schedule::{CatchUp, Schedule, ScheduleError};
use crate::time::Timestamp;

/// The parent row of a trigger, with its details.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    pub id: TriggerId,
    pub app: AppId,
    pub name: Arc<str>,
    pub script: Arc<str>,
    /// A disabled trigger no longer matches; rows that it made still run.
    pub enabled: bool,
    pub retry: RetryPolicy,
    pub ordering: Ordering,
    /// At most this many of its rows run at a time.
    pub concurrency: Option<u32>,
    /// Its runs execute as this principal, with what that principal may do then.
    pub registered_by: PrincipalId,
    pub details: TriggerDetails,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    Any,
    /// Rows of one KV key or document run one at a time, in the order of its versions.
    ByKey,
}

impl Ordering {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ByKey => "by_key",
        }
    }
}

/// What a trigger listens to. The texts are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TriggerKind {
    Kv,
    Docs,
    DeadLetter,
    Schedule,
}

impl TriggerKind {
    pub const ALL: [TriggerKind; 4] = [Self::Kv, Self::Docs, Self::DeadLetter, Self::Schedule];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::Docs => "docs",
            Self::DeadLetter => "dead_letter",
            Self::Schedule => "schedule",
        }
    }

    /// What the rows say that such a trigger makes.
    pub fn source(self) -> OutboxSourceKind {
        match self {
            Self::Kv => OutboxSourceKind::Kv,
            Self::Docs => OutboxSourceKind::Docs,
            Self::DeadLetter => OutboxSourceKind::DeadLetter,
            Self::Schedule => OutboxSourceKind::Schedule,
        }
    }
}

/// One details table each. Empty `ops` means any.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerDetails {
    Kv {
        collection_glob: Arc<str>,
        ops: Vec<ChangeOp>,
    },
    Docs {
        collection_glob: Arc<str>,
        ops: Vec<ChangeOp>,
    },
    /// `source` and `trigger` (a name) narrow it down; `None` is any.
    DeadLetter {
        source: Option<OutboxSourceKind>,
        trigger: Option<Arc<str>>,
    },
    /// As they were written; `schedule::Schedule::parse` has found nothing wrong with them.
    Schedule {
        cron: Arc<str>,
        time_zone: Arc<str>,
        catch_up: CatchUp,
    },
}

impl TriggerDetails {
    pub fn kind(&self) -> TriggerKind {
        match self {
            Self::Kv { .. } => TriggerKind::Kv,
            Self::Docs { .. } => TriggerKind::Docs,
            Self::DeadLetter { .. } => TriggerKind::DeadLetter,
            Self::Schedule { .. } => TriggerKind::Schedule,
        }
    }

    pub fn collection_glob(&self) -> Option<&str> {
        match self {
            Self::Kv { collection_glob, .. } | Self::Docs { collection_glob, .. } => {
                Some(collection_glob)
            }
            Self::DeadLetter { .. } | Self::Schedule { .. } => None,
        }
    }

    /// An event such as the runs of the trigger get, for one that is set off by hand. A dead-letter handler has none
    /// without a letter.
    pub fn example(&self, now: Timestamp) -> Option<Arc<str>> {
        let (op, glob, [id, value, before]) = match self {
            Self::Kv { collection_glob, ops } => {
                let op = ops.first().copied().unwrap_or(ChangeOp::Set);
                (op, collection_glob, ["key", "value", "prev_value"])
            }
            Self::Docs { collection_glob, ops } => {
                let op = ops.first().copied().unwrap_or(ChangeOp::Create);
                (op, collection_glob, ["id", "data", "prev_data"])
            }
            Self::Schedule { .. } => return Some(schedule_of(self)?.ok()?.event(now, 0)),
            Self::DeadLetter { .. } => return None,
        };
        let mut event = String::new();
        let mut map = MapWriter::open(&mut event);
        map.text("op", op.as_str());
        map.text("collection", glob);
        map.text(id, "example");
        map.json(value, "null");
        map.json(before, "null");
        map.close();
        Some(event.into())
    }
}

/// The text is not a glob that triggers take.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("glob \"{glob}\": {reason}")]
pub struct GlobError {
    pub glob: String,
    pub reason: String,
}

/// Bytes of a glob.
pub const GLOB_BYTES_MAX: usize = 200;

/// Reads a collection glob: `*` and `?` stop at `/`, `**` does not, `{a,b}` and `[a-z]` as in a shell.
pub fn parse_glob(glob: &str) -> Result<Glob, GlobError> {
    let fail = |reason: String| GlobError { glob: glob.to_owned(), reason };
    if glob.is_empty() {
        return Err(fail("is empty; `*` matches every collection".to_owned()));
    }
    if glob.len() > GLOB_BYTES_MAX {
        return Err(fail(format!(
            "has {} bytes, at most {GLOB_BYTES_MAX} are allowed",
            glob.len()
        )));
    }
    let built = GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build();
    built.map_err(|error| fail(error.kind().to_string()))
}

/// Whether the globs of all these triggers that are of one kind can be matched together, which has its limit whatever each
/// has. Triggers that are disabled count too, since they may be enabled later.
pub fn fit_the_matcher<'a>(
    all: impl Iterator<Item = &'a TriggerDetails>,
    kind: TriggerKind,
) -> bool {
    let globs = all
        .filter(|details| details.kind() == kind)
        .filter_map(|details| parse_glob(details.collection_glob()?).ok());
    matcher(globs).is_ok()
}

fn matcher(globs: impl IntoIterator<Item = Glob>) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(glob);
    }
    set.build()
}

/// The schedule of a trigger that has one. It fails where the machine has forgotten a time zone since.
pub fn schedule_of(details: &TriggerDetails) -> Option<Result<Schedule, ScheduleError>> {
    match details {
        TriggerDetails::Schedule { cron, time_zone, catch_up } => {
            Some(Schedule::parse(cron, time_zone, *catch_up))
        }
        TriggerDetails::Kv { .. }
        | TriggerDetails::Docs { .. }
        | TriggerDetails::DeadLetter { .. } => None,
    }
}

/// The enabled triggers of all apps, ready to be matched.
#[derive(Debug, Default)]
pub struct TriggerSet {
    by_app: HashMap<AppId, AppTriggers>,
    schedules: BTreeMap<TriggerId, (Arc<Trigger>, Arc<Schedule>)>,
}

#[derive(Debug, Default)]
struct AppTriggers {
    kv: Listeners,
    docs: Listeners,
    letters: Vec<Arc<Trigger>>,
}

/// Triggers on one space of an app. The globs are matched all at once: most are literals or prefixes, which cost a
/// look-up and not a comparison each.
#[derive(Debug, Default)]
struct Listeners {
    globs: GlobSet,
    triggers: Vec<(Vec<ChangeOp>, Arc<Trigger>)>,
}

impl Listeners {
    fn build(found: Vec<(Glob, Vec<ChangeOp>, Arc<Trigger>)>) -> Listeners {
        let listener = |(glob, ops, trigger)| (glob, (ops, trigger));
        let (globs, triggers): (Vec<Glob>, Vec<_>) = found.into_iter().map(listener).unzip();
        // A set that is too large for the matcher matches nothing; `fit_the_matcher` lets none in.
        Listeners { globs: matcher(globs).unwrap_or_default(), triggers }
    }

    /// In the order in which the triggers were registered.
    fn of(&self, collection: &str) -> impl Iterator<Item = &(Vec<ChangeOp>, Arc<Trigger>)> {
        self.globs.matches(collection).into_iter().map(|index| &self.triggers[index])
    }
}

impl AppTriggers {
    fn listeners(&self, space: Space) -> &Listeners {
        match space {
            Space::Kv => &self.kv,
            Space::Docs => &self.docs,
        }
    }

    fn build(mut triggers: Vec<Arc<Trigger>>) -> AppTriggers {
        triggers.sort_by_key(|trigger| trigger.id);
        let (mut kv, mut docs, mut letters) = (Vec::new(), Vec::new(), Vec::new());
        for trigger in triggers {
            let (listeners, glob, ops) = match &trigger.details {
                TriggerDetails::Kv { collection_glob, ops } => (&mut kv, collection_glob, ops),
                TriggerDetails::Docs { collection_glob, ops } => (&mut docs, collection_glob, ops),
                TriggerDetails::DeadLetter { .. } => {
                    letters.push(trigger);
                    continue;
                }
                // They listen to nothing.
                TriggerDetails::Schedule { .. } => continue,
            };
            if let Ok(glob) = parse_glob(glob) {
                listeners.push((glob, ops.clone(), Arc::clone(&trigger)));
            }
        }
        AppTriggers { kv: Listeners::build(kv), docs: Listeners::build(docs), letters }
    }
}

impl TriggerSet {
    /// Triggers whose glob does not compile are left out; deploy lets none in.
    pub fn build(triggers: impl IntoIterator<Item = Arc<Trigger>>) -> TriggerSet {
        let mut by_app: HashMap<AppId, Vec<Arc<Trigger>>> = HashMap::new();
        let mut schedules = BTreeMap::new();
        for trigger in triggers.into_iter().filter(|trigger| trigger.enabled) {
            if let Some(Ok(schedule)) = schedule_of(&trigger.details) {
                schedules.insert(trigger.id, (trigger, Arc::new(schedule)));
            } else {
                by_app.entry(trigger.app).or_default().push(trigger);
            }
        }
        let built = |(app, triggers)| (app, AppTriggers::build(triggers));
        TriggerSet { by_app: by_app.into_iter().map(built).collect(), schedules }
    }

    /// The schedules that there are, by their triggers.
    pub fn schedules(&self) -> &BTreeMap<TriggerId, (Arc<Trigger>, Arc<Schedule>)> {
        &self.schedules
    }

    /// The triggers that a change sets off.
    pub fn for_change<'a>(&'a self, change: &'a Change) -> impl Iterator<Item = &'a Arc<Trigger>> {
        let key = &change.key.key;
        let app = self.by_app.get(&change.key.app);
        let heard = app.into_iter().flat_map(|app| app.listeners(key.space).of(&key.collection));
        heard
            .filter(|(ops, _)| ops.is_empty() || ops.contains(&change.op))
            .map(|(_, trigger)| trigger)
    }

    /// The triggers that may make rows of this key's line, whatever is done to it.
    pub fn by_key<'a>(
        &'a self,
        app: AppId,
        key: &'a Key,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        let app = self.by_app.get(&app);
        let heard = app.into_iter().flat_map(|app| app.listeners(key.space).of(&key.collection));
        heard.map(|(_, trigger)| trigger).filter(|trigger| trigger.ordering == Ordering::ByKey)
    }

    /// The handlers of a dead letter that came of a row of `source`, made by the trigger named `trigger`.
    pub fn for_letter<'a>(
        &'a self,
        app: AppId,
        source: OutboxSourceKind,
        trigger: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Trigger>> {
        let app = self.by_app.get(&app);
        app.into_iter().flat_map(|app| &app.letters).filter(move |handler| match &handler.details {
            TriggerDetails::DeadLetter { source: wanted_source, trigger: wanted_trigger } => {
                wanted_source.is_none_or(|wanted| wanted == source)
                    && wanted_trigger.as_deref().is_none_or(|wanted| trigger == Some(wanted))
            }
            TriggerDetails::Kv { .. }
            | TriggerDetails::Docs { .. }
            | TriggerDetails::Schedule { .. } => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TriggerId;

    #[test]
    fn a_glob_is_bounded_and_never_empty() {
        assert!(parse_glob(&"x".repeat(GLOB_BYTES_MAX)).is_ok());
        let long = parse_glob(&"x".repeat(GLOB_BYTES_MAX + 1)).expect_err("too long");
        assert!(long.reason.contains("201 bytes, at most 200"), "{long}");
        let empty = parse_glob("").expect_err("empty");
        assert_eq!(empty.to_string(), "glob \"\": is empty; `*` matches every collection");
    }

    #[test]
    fn kinds_are_stored_under_their_names() {
        let kinds = ["kv", "docs", "dead_letter", "schedule"];
        assert_eq!(TriggerKind::ALL.map(TriggerKind::as_str), kinds);
    }

    #[test]
    fn lines_are_made_by_triggers_that_order_by_key_and_hear_the_collection() {
        let trigger = |id, glob: &str, ordering| {
            let details =
                TriggerDetails::Kv { collection_glob: glob.into(), ops: vec![ChangeOp::Delete] };
            Arc::new(Trigger {
                id: TriggerId(id),
                app: AppId(1),
                name: "t".into(),
                script: "s".into(),
                enabled: true,
                retry: RetryPolicy::default(),
                ordering,
                concurrency: None,
                registered_by: PrincipalId(1),
                details,
            })
        };
        let set = TriggerSet::build([
            trigger(1, "a*", Ordering::ByKey),
            trigger(2, "a*", Ordering::Any),
            trigger(3, "b", Ordering::ByKey),
        ]);
        let key = |space| Key { space, collection: "ab".into(), key: "k".into() };
        let found = |space| {
            set.by_key(AppId(1), &key(space)).map(|trigger| trigger.id.0).collect::<Vec<_>>()
        };
        assert_eq!((found(Space::Kv), found(Space::Docs)), (vec![1], vec![]));
    }
}

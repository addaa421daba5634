//! Triggers: which script runs when something changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use picloud_scripts_runtime::effect::{Key, Space};

use crate::entry::{Change, ChangeOp};
use crate::ids::{AppId, PrincipalId, TriggerId};
use crate::outbox::source::{TriggerDetails, TriggerKind, parse_glob, schedule_of};
use crate::retry::RetryPolicy;
use crate::schedule::Schedule;

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

/// Bytes of all globs of an app's triggers of one kind. The matcher has a limit of its own, in bytes of its memory, which comes
/// later on a machine of 32 bits than on one of 64: this one comes first on each, so that an app can move between them.
pub const GLOBS_BYTES_MAX: usize = 64 << 10;

/// Whether the globs of all these triggers that are of one kind can be matched together, which has its limit whatever each
/// has. Triggers that are disabled count too, since they may be enabled later.
pub fn fit_the_matcher<'a>(
    all: impl Iterator<Item = &'a TriggerDetails>,
    kind: TriggerKind,
) -> bool {
    let of_kind = all.filter(|details| details.kind() == kind);
    let globs: Vec<&str> =
        of_kind.filter_map(|details| Some(details.listens()?.1.as_ref())).collect();
    globs.iter().map(|glob| glob.len()).sum::<usize>() <= GLOBS_BYTES_MAX
        && matcher(globs.into_iter().filter_map(|glob| parse_glob(glob).ok())).is_ok()
}

fn matcher(globs: impl IntoIterator<Item = Glob>) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(glob);
    }
    set.build()
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
    /// Those that hear of something else than changes.
    others: Vec<Arc<Trigger>>,
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
        let (mut kv, mut docs, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for trigger in triggers {
            let Some((space, glob, ops)) = trigger.details.listens() else {
                others.push(trigger);
                continue;
            };
            let listeners = match space {
                Space::Kv => &mut kv,
                Space::Docs => &mut docs,
            };
            if let Ok(glob) = parse_glob(glob) {
                listeners.push((glob, ops.to_vec(), Arc::clone(&trigger)));
            }
        }
        AppTriggers { kv: Listeners::build(kv), docs: Listeners::build(docs), others }
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

    /// The triggers of an app that hear of something else than a change; `hears` says whether it is this.
    pub fn that_hear(
        &self,
        app: AppId,
        hears: impl Fn(&TriggerDetails) -> bool,
    ) -> impl Iterator<Item = &Arc<Trigger>> {
        let app = self.by_app.get(&app);
        let others = app.into_iter().flat_map(|app| &app.others);
        others.filter(move |trigger| hears(&trigger.details))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TriggerId;
    use crate::outbox::source::GLOB_BYTES_MAX;

    #[test]
    fn p4_what_fits_the_matcher_is_the_same_on_every_machine() {
        let all = |unit: &str, bytes: usize| -> Vec<TriggerDetails> {
            let glob: Arc<str> = unit.repeat(GLOB_BYTES_MAX / unit.len()).into();
            let details =
                TriggerDetails::Kv { collection_glob: Arc::clone(&glob), ops: Vec::new() };
            vec![details; bytes / glob.len()]
        };
        // Of what was tried, that costs the matcher most.
        for unit in ["*?", "?", "*a", "/**/", "a?", "[!a]", "{a,?}"] {
            let (most, more) = (all(unit, GLOBS_BYTES_MAX), all(unit, GLOBS_BYTES_MAX + 200));
            assert!(fit_the_matcher(most.iter(), TriggerKind::Kv), "{unit}");
            assert!(!fit_the_matcher(more.iter(), TriggerKind::Kv), "{unit}");
        }
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

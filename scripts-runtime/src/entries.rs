//! What a run sees of the store: its own writes, then what it read before, then the host's answer.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::apply;
use crate::bounds::OPERATIONS_PER_ENTRY;
use crate::effect::{Amount, Effect, Key, Read, Space, Stored};
use crate::exec::ExecErrorKind;
use crate::fault::Fault;
use crate::host::{HostError, Page};
use crate::memory::{GAUGE, held_bytes};
use crate::run::{self, Run};

/// The keys that a run has touched.
#[derive(Default)]
pub(crate) struct Entries {
    slots: HashMap<Key, Slot>,
    pub(crate) reads: Vec<Read>,
}

/// What the run knows of a key.
enum Slot {
    /// The value that the next read gives; `None` when there is none.
    Known(Option<Arc<str>>),
    /// Changes on top of a value that was not read yet, or that does not take them.
    Blind { base: Base, changes: Vec<Change> },
}

#[derive(Clone)]
enum Base {
    Unread,
    Read(Option<Arc<str>>),
}

#[derive(Clone)]
enum Change {
    Add(Amount),
    Merge(Arc<str>),
}

impl Change {
    /// The value with this change. It has to stay within `bytes_max`, or one run could grow it patch by patch, and
    /// merging takes many times the bytes of the text.
    fn apply(
        &self,
        key: &Key,
        value: Option<&Arc<str>>,
        bytes_max: usize,
    ) -> Result<Option<Arc<str>>, Fault> {
        let value = value.map(|text| &**text);
        let changed = match self {
            Change::Add(by) => apply::increment(value, *by).map(Some),
            Change::Merge(patch) => value.map(|text| apply::merge(text, patch)).transpose(),
        };
        match changed {
            Ok(Some(text)) if text.len() > bytes_max => Err(Fault::budget(format!(
                "{} would be larger than {bytes_max} bytes as JSON",
                shown(key)
            ))),
            Ok(text) => Ok(text.map(Arc::from)),
            Err(error) => Err(Fault::Thrown(format!("{} {error}", shown(key)))),
        }
    }
}

/// The JSON text under a key.
pub(crate) fn get(run: &mut Run, key: &Key) -> Result<Option<Arc<str>>, Fault> {
    let (base, changes) = match run.entries.slots.get(key) {
        Some(Slot::Known(value)) => return Ok(value.clone()),
        Some(Slot::Blind { base, changes }) => (base.clone(), changes.clone()),
        None => (Base::Unread, Vec::new()),
    };
    let base = match base {
        Base::Unread => read(run, key)?,
        Base::Read(value) => value,
    };
    let value = changed(key, base.clone(), &changes, run.limits.value_bytes_max);
    let slot = match &value {
        Ok(value) => Slot::Known(value.clone()),
        Err(_) => Slot::Blind { base: Base::Read(base), changes },
    };
    run.entries.slots.insert(key.clone(), slot);
    value
}

/// A value with changes, one after the other.
fn changed(
    key: &Key,
    base: Option<Arc<str>>,
    changes: &[Change],
    bytes_max: usize,
) -> Result<Option<Arc<str>>, Fault> {
    changes.iter().try_fold(base, |value, change| change.apply(key, value.as_ref(), bytes_max))
}

/// Asks the host, once a run for each key, and notes the version.
fn read(run: &mut Run, key: &Key) -> Result<Option<Arc<str>>, Fault> {
    let held = held_bytes();
    let stored = run.host.read(key).map_err(|error| host_failed(&error))?;
    let version = stored.as_ref().map_or(0, |stored| stored.version);
    let value = stored.map(|stored| stored.value);
    // The value may come from another thread's memory; from here on it is this run's.
    set_held(held + value.as_ref().map_or(0, size));
    run.entries.reads.push(Read { key: key.clone(), version });
    Ok(value)
}

pub(crate) fn put(
    run: &mut Run,
    key: Key,
    value: Arc<str>,
    ttl_ms: Option<i64>,
) -> Result<(), Fault> {
    run.push(Effect::Put { key: key.clone(), value: Arc::clone(&value), ttl_ms })?;
    run.entries.slots.insert(key, Slot::Known(Some(value)));
    Ok(())
}

pub(crate) fn delete(run: &mut Run, key: Key) -> Result<(), Fault> {
    run.push(Effect::Delete { key: key.clone() })?;
    run.entries.slots.insert(key, Slot::Known(None));
    Ok(())
}

pub(crate) fn increment(run: &mut Run, key: Key, by: Amount) -> Result<(), Fault> {
    change(run, &key, Change::Add(by))?;
    run.push(Effect::Increment { key, by })
}

/// Fails when the run knows that there is no such document; otherwise the commit finds out.
pub(crate) fn patch(run: &mut Run, key: Key, patch: Arc<str>) -> Result<(), Fault> {
    if let Some(Slot::Known(None)) = run.entries.slots.get(&key) {
        return Err(Fault::Thrown(format!(
            "{} does not exist, so it cannot be updated",
            shown(&key)
        )));
    }
    change(run, &key, Change::Merge(Arc::clone(&patch)))?;
    run.push(Effect::Patch { key, patch })
}

fn change(run: &mut Run, key: &Key, change: Change) -> Result<(), Fault> {
    let bytes_max = run.limits.value_bytes_max;
    match run.entries.slots.get_mut(key) {
        Some(Slot::Known(value)) => *value = change.apply(key, value.as_ref(), bytes_max)?,
        Some(Slot::Blind { changes, .. }) => changes.push(change),
        None => {
            let slot = Slot::Blind { base: Base::Unread, changes: vec![change] };
            run.entries.slots.insert(key.clone(), slot);
        }
    }
    Ok(())
}

/// How a key is named in errors.
pub(crate) fn shown(key: &Key) -> String {
    let space = match key.space {
        Space::Kv => "kv",
        Space::Docs => "docs",
    };
    format!("{space} {:?}, {:?}", key.collection, key.key)
}

fn host_failed(error: &HostError) -> Fault {
    Fault::Fatal(ExecErrorKind::HostFailed, format!("the store could not answer: {error}"))
}

/// The entries of a collection in order of their keys, the run's own writes among them.
pub(crate) struct Scan {
    page: Page,
    /// The page at hand, kept whole until the next one.
    rows: Vec<(Arc<str>, Stored)>,
    /// Its bytes, which this thread's gauge was told of.
    rows_bytes: i64,
    /// The first of its rows that was not looked at.
    at: usize,
    is_last: bool,
    /// Keys that the run has touched, in order.
    own: VecDeque<Arc<str>>,
}

/// A key and its JSON text.
pub(crate) type Entry = (Arc<str>, Arc<str>);

/// Keys of the first page, which is often all that is looked at, and of the later ones.
const FIRST_PAGE_ITEMS_MAX: usize = 32;
const PAGE_ITEMS_MAX: usize = 500;
const PAGE_BYTES_MAX: usize = 1 << 20;

impl Scan {
    pub(crate) fn new(
        run: &Run,
        space: Space,
        collection: &Arc<str>,
        prefix: Arc<str>,
        after: Option<Arc<str>>,
    ) -> Scan {
        let is_in_range = |key: &Key| {
            key.space == space
                && key.collection == *collection
                && key.key.starts_with(&*prefix)
                && after.as_ref().is_none_or(|after| key.key > *after)
        };
        let mut own: Vec<Arc<str>> = run
            .entries
            .slots
            .keys()
            .filter(|key| is_in_range(key))
            .map(|key| Arc::clone(&key.key))
            .collect();
        own.sort_unstable();
        let collection = Arc::clone(collection);
        let (limit, bytes_max) = (FIRST_PAGE_ITEMS_MAX, PAGE_BYTES_MAX);
        let page = Page { space, collection, prefix, after, limit, bytes_max };
        Scan { page, rows: Vec::new(), rows_bytes: 0, at: 0, is_last: false, own: own.into() }
    }

    /// The next entry that exists.
    pub(crate) fn next(&mut self, run: &mut Run) -> Result<Option<Entry>, Fault> {
        loop {
            if self.at == self.rows.len() && !self.is_last {
                self.fetch(run)?;
            }
            let row = self.rows.get(self.at);
            let row = row.map(|(key, stored)| (Arc::clone(key), Arc::clone(&stored.value)));
            let own_order = match (&row, self.own.front()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Greater,
                (None, Some(_)) => Ordering::Less,
                (Some((key, _)), Some(own)) => own.cmp(key),
            };
            let (row_key, row_value) = row.unzip();
            if own_order != Ordering::Less {
                self.at += 1;
            }
            let own = if own_order == Ordering::Greater { None } else { self.own.pop_front() };
            let (key, found) = match (own, row_key) {
                (Some(own), _) => {
                    let beneath = row_value.filter(|_| own_order == Ordering::Equal);
                    let found = self.own_value(run, &own, beneath)?;
                    (own, found)
                }
                (None, Some(key)) => (key, row_value),
                (None, None) => return Ok(None),
            };
            if let Some(value) = found {
                return Ok(Some((key, value)));
            }
        }
    }

    fn own_value(
        &self,
        run: &Run,
        key: &Arc<str>,
        row: Option<Arc<str>>,
    ) -> Result<Option<Arc<str>>, Fault> {
        let key = Key {
            space: self.page.space,
            collection: Arc::clone(&self.page.collection),
            key: Arc::clone(key),
        };
        match run.entries.slots.get(&key) {
            None => Ok(row),
            Some(Slot::Known(value)) => Ok(value.clone()),
            Some(Slot::Blind { base, changes }) => {
                let base = match base {
                    Base::Unread => row,
                    Base::Read(value) => value.clone(),
                };
                changed(&key, base, changes, run.limits.value_bytes_max)
            }
        }
    }

    fn fetch(&mut self, run: &mut Run) -> Result<(), Fault> {
        run.check_interrupt()?;
        self.release();
        let held = held_bytes();
        let rows = run.host.list(&self.page).map_err(|error| host_failed(&error))?;
        self.rows_bytes = rows.iter().map(|(key, stored)| size(key) + size(&stored.value)).sum();
        set_held(held + self.rows_bytes);
        run.check_memory()?;
        run::charge(OPERATIONS_PER_ENTRY.saturating_mul(rows.len() as u64));
        let bytes = rows.iter().map(|(key, stored)| key.len() + stored.value.len()).sum();
        self.is_last = !self.page.is_full(rows.len(), bytes);
        if let Some((last, _)) = rows.last() {
            self.page.after = Some(Arc::clone(last));
            self.page.limit = PAGE_ITEMS_MAX;
        }
        self.rows = rows;
        self.at = 0;
        Ok(())
    }

    /// Gives the page back. Whichever thread's memory it was, it counts here no more.
    fn release(&mut self) {
        let held = held_bytes();
        self.rows = Vec::new();
        set_held(held - self.rows_bytes);
        self.rows_bytes = 0;
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.release();
    }
}

fn size(text: &Arc<str>) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX) + 32
}

/// Sets what this thread holds; without the counting allocator it stays at nothing.
fn set_held(held: i64) {
    GAUGE.with(|gauge| {
        gauge.held.set(held);
        gauge.peak.set(gauge.peak.get().max(held));
    });
}

//! The scripted executor: what a run reads, and what it wants written. Drawn from the seed.

use std::collections::BTreeMap;

use picloud_daemon::ids::Id;
use picloud_daemon::outbox::row::OutboxRow;
use picloud_daemon::outbox::source::OutboxSourceKind;
use picloud_scripts_runtime::effect::{Amount, Effect, Key, Space};
use serde_json::{Value, json};

use super::apps;
use super::ledger::Ledger;
use crate::chance::Chance;

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Succeeds,
    Throws,
    /// Its script does not compile.
    Rejected,
    /// It takes the daemon along.
    Kills,
}

/// Rows above which runs cause no more.
const ROWS_PLENTY: usize = 20;

pub fn key(space: Space, collection: &str, name: &str) -> Key {
    Key { space, collection: collection.into(), key: name.into() }
}

/// The mark that a run or an edit leaves when it commits.
pub fn mark(id: Id) -> Effect {
    let key = key(Space::Kv, "marks", &id.to_string());
    Effect::Increment { key, by: Amount::Integer(1) }
}

/// What a run will read.
pub fn reads(chance: &mut Chance) -> Vec<Key> {
    let count = [0, 0, 1, 2, 2, 3][pick(chance, 6)];
    let mut keys = Vec::new();
    for _ in 0..count {
        let key = match chance.below(5) {
            0 => key(Space::Kv, "kv", &format!("n{}", chance.below(2))),
            1 => key(Space::Docs, "docs", &format!("d{}", chance.below(2))),
            _ => key(Space::Kv, "plain", &format!("x{}", chance.below(3))),
        };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// What a run that succeeds wants written; its mark first. A sync run may want nothing.
pub fn effects(
    row: &OutboxRow,
    read: &BTreeMap<Key, Option<Value>>,
    ledger: &Ledger,
    chance: &mut Chance,
) -> Vec<Effect> {
    let mut effects = vec![mark(row.id)];
    if let Some((key, _)) = read.iter().next() {
        let sum: i64 = read.values().flatten().filter_map(Value::as_i64).sum();
        if key.space == Space::Kv {
            let value = (sum % 1_000 + 1).to_string().into();
            effects.push(Effect::Put { key: key.clone(), value, ttl_ms: None });
        }
    }
    if row.source == OutboxSourceKind::DeadLetter {
        effects.extend(of_letter(row, chance));
    }
    let in_deep =
        row.source == OutboxSourceKind::Kv && row.event.contains(r#""collection":"deep""#);
    if in_deep || (row.depth == 0 && chance.below(5) == 0) {
        effects.push(put("deep", "k", chance));
    }
    let plenty = ledger.rows.len() > ROWS_PLENTY;
    if row.depth < 3 && !plenty {
        for _ in 0..chance.below(4) {
            effects.push(change(chance));
        }
        if chance.below(3) == 0 {
            effects.push(enqueue(chance));
        }
        if chance.below(10) == 0 {
            effects.extend(on_some_letter(row, ledger, chance));
        }
    }
    effects
}

/// What an edit writes; its mark first.
pub fn edit(id: Id, chance: &mut Chance) -> Vec<Effect> {
    let mut effects = vec![mark(id)];
    for _ in 0..=chance.below(3) {
        effects.push(change(chance));
    }
    effects
}

fn change(chance: &mut Chance) -> Effect {
    match chance.below(11) {
        0..=2 => {
            let key = key(Space::Kv, "kv", &format!("n{}", chance.below(2)));
            Effect::Increment { key, by: Amount::Integer(small(chance)) }
        }
        3..=5 => put("line", &format!("k{}", chance.below(2)), chance),
        6 => put("one", "k", chance),
        7 => Effect::Patch {
            key: doc(chance),
            patch: json!({ format!("f{}", chance.below(2)): small(chance) }).to_string().into(),
        },
        8 => Effect::Delete { key: doc(chance) },
        9 => Effect::Delete { key: key(Space::Kv, "line", &format!("k{}", chance.below(2))) },
        _ => Effect::Put {
            key: doc(chance),
            value: json!({ "f0": small(chance) }).to_string().into(),
            ttl_ms: None,
        },
    }
}

fn put(collection: &str, name: &str, chance: &mut Chance) -> Effect {
    let value = small(chance).to_string().into();
    Effect::Put { key: key(Space::Kv, collection, name), value, ttl_ms: None }
}

fn doc(chance: &mut Chance) -> Key {
    key(Space::Docs, "docs", &format!("d{}", chance.below(2)))
}

fn enqueue(chance: &mut Chance) -> Effect {
    let ordered = chance.below(3) == 0;
    let deduped = !ordered && chance.below(2) == 0;
    let delays = if deduped { [0, 2_000, 900_000, 2_000] } else { [0, 0, 500, 2_000] };
    let delay_ms = delays[pick(chance, 4)];
    Effect::Enqueue {
        script: if chance.below(20) == 0 { "gone".into() } else { "work".into() },
        payload: small(chance).to_string().into(),
        delay_ms,
        order_key: ordered.then(|| format!("o{}", chance.below(2)).into()),
        dedupe: deduped.then(|| "same".into()),
    }
}

/// What a handler does with its letter.
fn of_letter(row: &OutboxRow, chance: &mut Chance) -> Option<Effect> {
    let letter = row.letter?.to_string();
    match chance.below(3) {
        0 => Some(Effect::ReplayDeadLetter { id: letter.into(), payload: None }),
        1 => Some(Effect::DiscardDeadLetter { id: letter.into(), reason: "seen".into() }),
        _ => None,
    }
}

fn on_some_letter(row: &OutboxRow, ledger: &Ledger, chance: &mut Chance) -> Option<Effect> {
    let open: Vec<&String> = ledger
        .letters
        .values()
        .filter(|letter| letter.resolved == 0)
        .filter(|letter| ledger.dead.get(&letter.id).is_some_and(|dead| dead.app == row.app.0))
        .map(|letter| &letter.id)
        .collect();
    if open.is_empty() {
        return None;
    }
    let id: std::sync::Arc<str> = open[pick(chance, open.len())].as_str().into();
    Some(match chance.below(2) {
        0 => Effect::ReplayDeadLetter { id, payload: None },
        _ => Effect::DiscardDeadLetter { id, reason: "enough".into() },
    })
}

pub fn pick(chance: &mut Chance, count: usize) -> usize {
    usize::try_from(chance.below(count as u64)).expect("below a usize")
}

fn small(chance: &mut Chance) -> i64 {
    i64::try_from(chance.below(9)).expect("small") + 1
}

/// The limit of a row's queue on how many of its rows run.
pub fn queue_max(row: &OutboxRow) -> Option<u32> {
    let mut places = 0..apps::WATCHES.len();
    let place = places.find(|place| apps::watch_trigger(row.app, *place).queue() == row.queue)?;
    apps::WATCHES[place].concurrency
}

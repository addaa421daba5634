//! What triggers of each kind have of their own: from the keys of their entries to details, and back.

use std::sync::Arc;

use picloud_api::manifest::TriggerEntry;

use crate::entry::ChangeOp;
use crate::outbox::row::OutboxSourceKind;
use crate::schedule::{CatchUp, LOCAL};
use crate::trigger::{TriggerDetails, TriggerKind, parse_glob, schedule_of};

/// The keys that belong to one kind or two, each with whether an entry has it.
fn own_keys(entry: &TriggerEntry) -> [(&'static str, &'static [TriggerKind], bool); 7] {
    const CHANGES: &[TriggerKind] = &[TriggerKind::Kv, TriggerKind::Docs];
    const LETTERS: &[TriggerKind] = &[TriggerKind::DeadLetter];
    const SCHEDULES: &[TriggerKind] = &[TriggerKind::Schedule];
    [
        ("collection_glob", CHANGES, entry.collection_glob.is_some()),
        ("ops", CHANGES, entry.ops.is_some()),
        ("source", LETTERS, entry.source.is_some()),
        ("trigger", LETTERS, entry.trigger.is_some()),
        ("cron", SCHEDULES, entry.cron.is_some()),
        ("time_zone", SCHEDULES, entry.time_zone.is_some()),
        ("catch_up", SCHEDULES, entry.catch_up.is_some()),
    ]
}

/// The details of an entry. `trigger` finds another trigger by its name.
pub(super) fn read(
    entry: &TriggerEntry,
    trigger: impl Fn(&str) -> Result<Arc<str>, String>,
) -> Result<TriggerDetails, String> {
    let Some(kind) = TriggerKind::ALL.into_iter().find(|kind| kind.as_str() == entry.kind) else {
        return Err(format!("kind \"{}\" is none of {}", entry.kind, all(TriggerKind::ALL)));
    };
    let foreign =
        own_keys(entry).into_iter().find(|(_, of, is_there)| *is_there && !of.contains(&kind));
    if let Some((key, of, _)) = foreign {
        let of: Vec<&str> = of.iter().map(|kind| kind.as_str()).collect();
        return Err(format!("{key} is for {} triggers", of.join(" and ")));
    }
    match kind {
        TriggerKind::Kv => Ok(TriggerDetails::Kv {
            collection_glob: glob(entry)?,
            ops: ops(entry, &[ChangeOp::Set, ChangeOp::Delete])?,
        }),
        TriggerKind::Docs => Ok(TriggerDetails::Docs {
            collection_glob: glob(entry)?,
            ops: ops(entry, &[ChangeOp::Create, ChangeOp::Update, ChangeOp::Delete])?,
        }),
        TriggerKind::DeadLetter => Ok(TriggerDetails::DeadLetter {
            source: entry.source.as_deref().map(letter_source).transpose()?,
            trigger: entry.trigger.as_deref().map(trigger).transpose()?,
        }),
        TriggerKind::Schedule => schedule(entry),
    }
}

/// Puts the details into an entry; nothing that is a default.
pub(super) fn write(details: &TriggerDetails, entry: &mut TriggerEntry) {
    match details {
        TriggerDetails::Kv { collection_glob, ops }
        | TriggerDetails::Docs { collection_glob, ops } => {
            entry.collection_glob = Some(collection_glob.to_string());
            entry.ops = Some(ops.iter().map(|op| op.as_str().to_owned()).collect());
        }
        TriggerDetails::DeadLetter { source, trigger } => {
            entry.source = source.map(|source| source.as_str().to_owned());
            entry.trigger = trigger.as_ref().map(ToString::to_string);
        }
        TriggerDetails::Schedule { cron, time_zone, catch_up } => {
            entry.cron = Some(cron.to_string());
            entry.time_zone = (**time_zone != *LOCAL).then(|| time_zone.to_string());
            entry.catch_up =
                (*catch_up != CatchUp::default()).then(|| catch_up.as_str().to_owned());
        }
    }
}

/// What sets a trigger off, in a few words.
pub fn text(details: &TriggerDetails) -> String {
    match details {
        TriggerDetails::Kv { collection_glob, ops }
        | TriggerDetails::Docs { collection_glob, ops } => {
            let ops: Vec<&str> = ops.iter().copied().map(ChangeOp::as_str).collect();
            let ops = if ops.is_empty() { "any op".to_owned() } else { ops.join(", ") };
            format!("{collection_glob} ({ops})")
        }
        TriggerDetails::DeadLetter { source, trigger } => {
            let source = source.map_or("any source", |source| source.as_str());
            let trigger = trigger.as_deref().unwrap_or("any trigger");
            format!("{source}, {trigger}")
        }
        TriggerDetails::Schedule { cron, time_zone, catch_up } => {
            format!("{cron} ({time_zone}), catch up {}", catch_up.as_str())
        }
    }
}

fn glob(entry: &TriggerEntry) -> Result<Arc<str>, String> {
    let Some(glob) = entry.collection_glob.as_deref() else {
        return Err("needs collection_glob; \"*\" is every collection".to_owned());
    };
    parse_glob(glob).map_err(|error| error.to_string())?;
    Ok(Arc::from(glob))
}

fn ops(entry: &TriggerEntry, known: &[ChangeOp]) -> Result<Vec<ChangeOp>, String> {
    let mut ops: Vec<ChangeOp> = Vec::new();
    for text in entry.ops.iter().flatten() {
        let Some(op) = known.iter().find(|op| op.as_str() == text) else {
            let known: Vec<&str> = known.iter().map(|op| op.as_str()).collect();
            let kind = &entry.kind;
            return Err(format!(
                "op \"{text}\" is none of {}, which a {kind} trigger knows",
                known.join(", ")
            ));
        };
        if ops.contains(op) {
            return Err(format!("op \"{text}\" is named twice"));
        }
        ops.push(*op);
    }
    Ok(ops)
}

/// A handler's own failure makes no dead letter, so `dead_letter` is no source of any.
fn letter_source(text: &str) -> Result<OutboxSourceKind, String> {
    let sources =
        || OutboxSourceKind::ALL.into_iter().filter(|kind| *kind != OutboxSourceKind::DeadLetter);
    sources().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let known: Vec<&str> = sources().map(OutboxSourceKind::as_str).collect();
        format!("source \"{text}\" is none of {}", known.join(", "))
    })
}

fn schedule(entry: &TriggerEntry) -> Result<TriggerDetails, String> {
    let Some(cron) = entry.cron.as_deref() else {
        return Err("needs cron, such as \"0 6 * * *\" for every day at six".to_owned());
    };
    let catch_up = match entry.catch_up.as_deref() {
        None => CatchUp::default(),
        Some(text) => {
            let found = CatchUp::ALL.into_iter().find(|known| known.as_str() == text);
            found.ok_or_else(|| format!("catch_up \"{text}\" is none of none, once, all"))?
        }
    };
    let time_zone = entry.time_zone.as_deref().unwrap_or(LOCAL);
    let details =
        TriggerDetails::Schedule { cron: cron.into(), time_zone: time_zone.into(), catch_up };
    match schedule_of(&details) {
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(_)) | None => Ok(details),
    }
}

fn all(kinds: [TriggerKind; 4]) -> String {
    kinds.map(TriggerKind::as_str).join(", ")
}

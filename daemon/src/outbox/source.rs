//! What makes rows: requests, tasks, and triggers of several kinds. All that is known of a kind stands here, but for the
//! table of its details, which is the store's, and for what sets it off, which is in the flow that does.

use std::sync::Arc;

use globset::{Glob, GlobBuilder};
use picloud_api::manifest::TriggerEntry;
use picloud_scripts_runtime::effect::Space;

use crate::entry::ChangeOp;
use crate::payload::MapWriter;
use crate::schedule::{CatchUp, LOCAL, Schedule, ScheduleError};
use crate::time::Timestamp;

/// What made a row. The texts are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutboxSourceKind {
    Http,
    Kv,
    Docs,
    Task,
    DeadLetter,
    Schedule,
}

impl OutboxSourceKind {
    pub const ALL: [OutboxSourceKind; 6] =
        [Self::Http, Self::Kv, Self::Docs, Self::Task, Self::DeadLetter, Self::Schedule];

    /// What they are called, for who lists them.
    pub const WORDS: [&'static str; Self::ALL.len()] = {
        let mut words = [""; Self::ALL.len()];
        let mut at = 0;
        while at < words.len() {
            words[at] = Self::ALL[at].as_str();
            at += 1;
        }
        words
    };

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Kv => "kv",
            Self::Docs => "docs",
            Self::Task => "task",
            Self::DeadLetter => "dead_letter",
            Self::Schedule => "schedule",
        }
    }

    /// The number of the trigger, if `origin` is one.
    pub fn trigger(self, origin: Option<i64>) -> Option<i64> {
        match self {
            Self::Http | Self::Task => None,
            Self::Kv | Self::Docs | Self::DeadLetter | Self::Schedule => origin,
        }
    }
}

/// What a trigger listens to.
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
        self.source().as_str()
    }

    /// What it is called in the path of a call.
    pub fn in_a_path(self) -> String {
        self.as_str().replace('_', "-")
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

    /// The keys of an entry that are for triggers of this kind, of those that not all triggers have.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Kv | Self::Docs => &["collection_glob", "ops"],
            Self::DeadLetter => &["source", "trigger"],
            Self::Schedule => &["cron", "time_zone", "catch_up"],
        }
    }

    /// What such triggers run for, if that has no key which rows could be ordered by.
    pub fn keyless(self) -> Option<&'static str> {
        match self {
            Self::Kv | Self::Docs => None,
            Self::DeadLetter => Some("dead letters"),
            Self::Schedule => Some("schedules"),
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

    /// The changes of entries that set it off: where, in which collections, and by which ops.
    pub fn listens(&self) -> Option<(Space, &Arc<str>, &[ChangeOp])> {
        match self {
            Self::Kv { collection_glob, ops } => Some((Space::Kv, collection_glob, ops)),
            Self::Docs { collection_glob, ops } => Some((Space::Docs, collection_glob, ops)),
            Self::DeadLetter { .. } | Self::Schedule { .. } => None,
        }
    }

    /// Whether it handles a dead letter that came of a row of `source`, made by the trigger named `trigger`.
    pub fn handles(&self, source: OutboxSourceKind, trigger: Option<&str>) -> bool {
        let Self::DeadLetter { source: wanted_source, trigger: wanted_trigger } = self else {
            return false;
        };
        wanted_source.is_none_or(|wanted| wanted == source)
            && wanted_trigger.as_deref().is_none_or(|wanted| trigger == Some(wanted))
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

    /// The details of an entry. `trigger` finds another trigger by its name.
    pub fn read(
        entry: &TriggerEntry,
        trigger: impl Fn(&str) -> Result<Arc<str>, String>,
    ) -> Result<TriggerDetails, String> {
        let Some(kind) = TriggerKind::ALL.into_iter().find(|kind| kind.as_str() == entry.kind)
        else {
            let all = TriggerKind::ALL.map(TriggerKind::as_str).join(", ");
            return Err(format!("kind \"{}\" is none of {all}", entry.kind));
        };
        let mut given = entry.own_keys().into_iter().filter(|(_, value)| value.is_some());
        if let Some((key, _)) = given.find(|(key, _)| !kind.keys().contains(key)) {
            let of = TriggerKind::ALL.into_iter().filter(|kind| kind.keys().contains(&key));
            let of: Vec<&str> = of.map(TriggerKind::as_str).collect();
            return Err(format!("{key} is for {} triggers", of.join(" and ")));
        }
        match kind {
            TriggerKind::Kv => Ok(Self::Kv {
                collection_glob: glob(entry)?,
                ops: ops(entry, &[ChangeOp::Set, ChangeOp::Delete])?,
            }),
            TriggerKind::Docs => Ok(Self::Docs {
                collection_glob: glob(entry)?,
                ops: ops(entry, &[ChangeOp::Create, ChangeOp::Update, ChangeOp::Delete])?,
            }),
            TriggerKind::DeadLetter => Ok(Self::DeadLetter {
                source: entry.source.as_deref().map(letter_source).transpose()?,
                trigger: entry.trigger.as_deref().map(trigger).transpose()?,
            }),
            TriggerKind::Schedule => schedule(entry),
        }
    }

    /// Puts the details into an entry; nothing that is a default.
    pub fn write(&self, entry: &mut TriggerEntry) {
        match self {
            Self::Kv { collection_glob, ops } | Self::Docs { collection_glob, ops } => {
                entry.collection_glob = Some(collection_glob.to_string());
                entry.ops = Some(ops.iter().map(|op| op.as_str().to_owned()).collect());
            }
            Self::DeadLetter { source, trigger } => {
                entry.source = source.map(|source| source.as_str().to_owned());
                entry.trigger = trigger.as_ref().map(ToString::to_string);
            }
            Self::Schedule { cron, time_zone, catch_up } => {
                entry.cron = Some(cron.to_string());
                entry.time_zone = (**time_zone != *LOCAL).then(|| time_zone.to_string());
                entry.catch_up =
                    (*catch_up != CatchUp::default()).then(|| catch_up.as_str().to_owned());
            }
        }
    }

    /// What sets it off, in a few words.
    pub fn text(&self) -> String {
        match self {
            Self::Kv { collection_glob, ops } | Self::Docs { collection_glob, ops } => {
                let ops: Vec<&str> = ops.iter().copied().map(ChangeOp::as_str).collect();
                let ops = if ops.is_empty() { "any op".to_owned() } else { ops.join(", ") };
                format!("{collection_glob} ({ops})")
            }
            Self::DeadLetter { source, trigger } => {
                let source = source.map_or("any source", |source| source.as_str());
                let trigger = trigger.as_deref().unwrap_or("any trigger");
                format!("{source}, {trigger}")
            }
            Self::Schedule { cron, time_zone, catch_up } => {
                format!("{cron} ({time_zone}), catch up {}", catch_up.as_str())
            }
        }
    }
}

/// The schedule of a trigger that has one. It fails where the machine has forgotten a time zone since.
pub fn schedule_of(details: &TriggerDetails) -> Option<Result<Schedule, ScheduleError>> {
    let TriggerDetails::Schedule { cron, time_zone, catch_up } = details else { return None };
    Some(Schedule::parse(cron, time_zone, *catch_up))
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

#[cfg(test)]
mod tests {
    use super::*;

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
}

//! The independent history: what was promised, and whether the store's file keeps it.
//!
//! It knows commands and their results, and what the file said after the batch before. From these follows what the
//! file may say now, row by row; whatever differs breaks a promise.

mod checks;

use std::collections::{BTreeMap, BTreeSet};

use picloud_daemon::flow::settle::{Settle, Stored};
use picloud_daemon::flow::{Command, Kept, Refusal};
use picloud_daemon::ids::AppId;
use picloud_daemon::limits::OutboxLimits;
use picloud_daemon::outbox::row::{Claim, OutboxRow};
use picloud_daemon::time::Timestamp;
use picloud_scripts_runtime::effect::Read;

use super::reference::{Cause, Stage};
use super::snapshot::{EntryAt, Letter, Row, Snapshot};

/// A promise was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// `P1` to `P6`, or the name of another invariant.
    pub promise: &'static str,
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

pub type Checked = Result<(), Violation>;

pub fn broken(promise: &'static str, what: impl Into<String>) -> Violation {
    Violation { promise, what: what.into() }
}

macro_rules! ensure {
    ($held:expr, $promise:expr, $($what:tt)*) => {
        if !$held {
            return Err($crate::simulation::ledger::broken($promise, format!($($what)*)));
        }
    };
}
pub(super) use ensure;

/// A command, and what the one who gave it expects of it.
#[derive(Clone, Debug)]
pub struct Noted {
    pub command: Command,
    pub means: Means,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Means {
    Accept,
    /// A sync row written behind its run.
    Behind,
    Edit,
    End(End),
}

/// How a row is to end, as the one who knows what its run did says; never what the daemon's decision says.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    Gone,
    Letter,
    HandlerFailed,
    Abandoned(&'static str),
    /// Charged, and again so many milliseconds after `from`, give or take a fifth.
    Retry {
        from: i64,
        delay_ms: i64,
    },
    Released {
        at: i64,
        orphaned: i64,
    },
}

impl End {
    fn is_last(&self) -> bool {
        !matches!(self, End::Retry { .. } | End::Released { .. })
    }
}

/// What is known of a batch.
pub enum Known<'a> {
    Report {
        outcomes: &'a [Result<(), Refusal>],
        claims: &'a [Claim],
    },
    /// The daemon died before the commit.
    Nothing,
    /// The daemon died after the commit, before anybody was told.
    All,
}

/// The answer of a request, as it was kept first.
#[derive(Clone, Debug)]
pub struct KeptAnswer {
    pub body_hash: String,
    /// Result, or execution of an async one.
    pub answer: String,
    pub until: i64,
    /// It was past its time once, so it may be gone.
    pub expired: bool,
}

/// App, route and key of a request.
pub type RequestAt = (i64, i64, String);

/// All that has happened.
pub struct Ledger {
    pub rows: BTreeMap<String, Row>,
    pub entries: BTreeMap<EntryAt, (serde_json::Value, i64)>,
    pub letters: BTreeMap<String, Letter>,
    /// The rows of the dead letters, as they died.
    pub dead: BTreeMap<String, Row>,
    pub abandoned: BTreeMap<String, String>,
    pub requests: BTreeMap<RequestAt, KeptAnswer>,
    pub pauses: BTreeSet<i64>,
    pub disabled: BTreeSet<i64>,
    /// Rows that have ended, and how.
    pub ended: BTreeMap<String, End>,
    /// Tasks that may not run before.
    pub not_before: BTreeMap<String, i64>,
    /// No number up to this one may be given out any more.
    pub number_max: i64,
    /// The greatest version of an entry.
    pub version_max: i64,
    pub storage_low: bool,
    pub limits: OutboxLimits,
    /// What has happened how often, so that a test can say that it does happen.
    pub seen: BTreeMap<&'static str, u64>,
}

impl Ledger {
    pub fn new(limits: OutboxLimits, number_max: i64) -> Ledger {
        Ledger {
            rows: BTreeMap::new(),
            entries: BTreeMap::new(),
            letters: BTreeMap::new(),
            dead: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            requests: BTreeMap::new(),
            pauses: BTreeSet::new(),
            disabled: BTreeSet::new(),
            ended: BTreeMap::new(),
            not_before: BTreeMap::new(),
            number_max,
            version_max: 0,
            storage_low: false,
            limits,
            seen: BTreeMap::new(),
        }
    }

    /// Takes a batch in: what of it was done has to be in the file, whole, and nothing else.
    pub fn take(
        &mut self,
        batch: &[Noted],
        known: &Known<'_>,
        found: Snapshot,
        moment: &Moment,
    ) -> Checked {
        self.forget_answers(moment.now);
        let mut stage = Stage::default();
        for (place, noted) in batch.iter().enumerate() {
            let refusal = match known {
                Known::Nothing => continue,
                Known::All if !self.shows(noted, &stage, &found) => continue,
                Known::All => None,
                Known::Report { outcomes, .. } => outcomes[place].as_ref().err(),
            };
            match refusal {
                None => self.done(noted, &mut stage, moment)?,
                Some(refusal) => {
                    self.count(name_of(refusal));
                    self.refused(noted, refusal, &stage)?;
                }
            }
        }
        self.check_entries(&stage, &found)?;
        let after = After { found: &found, known, moment };
        self.check_new_rows(&mut stage, &after)?;
        self.check_old_rows(&stage, &after)?;
        self.check_letters(&stage, &found)?;
        self.check_lines(&found)?;
        self.check_requests(&found)?;
        self.check_pauses(&stage, &found)?;
        self.check_numbers(&found)?;
        self.adopt(stage, found);
        Ok(())
    }

    pub fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Answers are kept for a time; the clock jumps.
    fn forget_answers(&mut self, now: i64) {
        for kept in self.requests.values_mut() {
            kept.expired |= kept.until <= now;
        }
    }

    /// Whether the file shows a command of a batch of which nothing was told.
    fn shows(&self, noted: &Noted, stage: &Stage, found: &Snapshot) -> bool {
        match &noted.command {
            // No limit stops a row that runs already; its run may have ended in the same batch.
            Command::Accept(_) if noted.means == Means::Behind => true,
            Command::Accept(accept) => found.rows.contains_key(&accept.row.id.to_string()),
            // Nothing is scheduled in this world.
            Command::Fire(_) => false,
            Command::Manage(_) => false,
            Command::Mutate(mutate) => {
                let mark = mark_of(mutate.app.0, &mutate.id.to_string());
                found.entries.contains_key(&mark)
            }
            Command::Settle(settle) => {
                let id = settle.claim.row.id.to_string();
                let mark = mark_of(settle.claim.row.app.0, &id);
                let left_mark =
                    found.entries.contains_key(&mark) && !self.entries.contains_key(&mark);
                if settle.stored == Stored::No {
                    return left_mark;
                }
                if !self.holds(settle, None) || stage.ends.contains_key(&id) {
                    return false;
                }
                if !settle.effects.is_empty() {
                    return left_mark;
                }
                let lease = settle.claim.lease;
                let owner = lease.owner.to_string();
                found.rows.get(&id).and_then(Row::lease) != Some((&owner, lease.token))
            }
        }
    }

    /// Whether a settle has the right to end its row. A row that is not known at all was written behind unseen.
    fn holds(&self, settle: &Settle, stage: Option<&Stage>) -> bool {
        let id = settle.claim.row.id.to_string();
        if settle.stored == Stored::No {
            return true;
        }
        if let Some(stage) = stage
            && stage.ends.contains_key(&id)
        {
            return false;
        }
        match self.rows.get(&id) {
            Some(row) => {
                let owner = settle.claim.lease.owner.to_string();
                row.lease() == Some((owner.as_str(), settle.claim.lease.token))
            }
            None => {
                stage.map_or(settle.claim.row.is_sync(), |stage| stage.accepted.contains_key(&id))
            }
        }
    }

    /// A command was done: it must have had the right to.
    fn done(&self, noted: &Noted, stage: &mut Stage, moment: &Moment) -> Checked {
        match (&noted.command, &noted.means) {
            (Command::Accept(accept), Means::Behind) => {
                let row = &accept.row;
                stage.accepted.insert(row.id.to_string(), OutboxRow::clone(row));
                Ok(())
            }
            (Command::Accept(accept), _) => {
                ensure!(!self.storage_low, "P7", "a request was accepted on a full disk");
                let row = &accept.row;
                if let Some(key) = &row.idempotency {
                    let at = (key.app.0, key.route, key.key.to_string());
                    self.is_first(&at, stage)?;
                    let kept = self.kept(&key.body_hash, row.id.to_string(), moment);
                    stage.requests.insert(at, kept);
                }
                stage.accepted.insert(row.id.to_string(), OutboxRow::clone(row));
                Ok(())
            }
            (Command::Fire(fire), _) => {
                let trigger = fire.trigger;
                Err(broken("simulation", format!("{trigger} fired; nothing is scheduled here")))
            }
            (Command::Mutate(mutate), _) => {
                ensure!(!self.storage_low, "P7", "an edit was accepted on a full disk");
                self.are_current(mutate.app, &mutate.reads, stage)?;
                let cause = Cause {
                    app: mutate.app,
                    row: mutate.id.to_string(),
                    root: mutate.id.to_string(),
                    depth: 0,
                    now: moment.now,
                };
                stage.apply(self, &mutate.effects, &cause)
            }
            (Command::Settle(settle), Means::End(end)) => self.settled(settle, end, stage, moment),
            (Command::Manage(_), _) => Err(broken("simulation", "nobody manages anything here")),
            (Command::Settle(_), means) => {
                Err(broken("simulation", format!("a settle was noted as {means:?}")))
            }
        }
    }

    fn settled(&self, settle: &Settle, end: &End, stage: &mut Stage, moment: &Moment) -> Checked {
        let row = &settle.claim.row;
        let id = row.id.to_string();
        ensure!(
            self.holds(settle, Some(stage)),
            "P3",
            "a settle of row {id} was taken although its lease {:?} is gone: {:?}, {:?}",
            settle.claim.lease,
            self.rows.get(&id),
            stage.ends.get(&id)
        );
        ensure!(!self.ended.contains_key(&id), "P3", "row {id} ended twice");
        self.are_current(row.app, &settle.reads, stage)?;
        let writes = !settle.effects.is_empty();
        ensure!(
            !(row.is_sync() && self.storage_low && writes),
            "P7",
            "a sync run wrote on a full disk"
        );
        let cause = Cause {
            app: row.app,
            row: id.clone(),
            root: row.root.to_string(),
            depth: i64::from(row.depth),
            now: moment.now,
        };
        stage.apply(self, &settle.effects, &cause)?;
        if let (Some(result), Some(key), true) = (&settle.result, &row.idempotency, row.is_sync()) {
            let at = (key.app.0, key.route, key.key.to_string());
            self.is_first(&at, stage)?;
            stage.requests.insert(at, self.kept(&key.body_hash, result.to_string(), moment));
        }
        if *end == End::Letter {
            stage.bury(row, &cause);
        }
        if let (End::HandlerFailed, Some(letter)) = (end, row.letter) {
            stage.failed_handlers.insert(letter.to_string());
        }
        stage.ends.insert(id, end.clone());
        Ok(())
    }

    fn kept(&self, body_hash: &str, answer: String, moment: &Moment) -> KeptAnswer {
        KeptAnswer {
            body_hash: body_hash.to_owned(),
            answer,
            until: moment.now + self.limits.kept_answer_ms,
            expired: false,
        }
    }

    fn is_first(&self, at: &RequestAt, stage: &Stage) -> Checked {
        let known = self.requests.get(at).is_some_and(|kept| !kept.expired);
        ensure!(
            !known && !stage.requests.contains_key(at),
            "P3",
            "a request of key {at:?} was done twice"
        );
        Ok(())
    }

    /// Whether what was read is what the store holds at this place of the history.
    pub fn is_current(&self, app: AppId, read: &Read, stage: &Stage) -> bool {
        let at = entry_at(app.0, &read.key);
        match stage.entries.get(&at) {
            Some(Some(_)) => false,
            Some(None) => read.version == 0,
            None => self.entries.get(&at).map_or(0, |(_, version)| *version) == read.version,
        }
    }

    fn are_current(&self, app: AppId, reads: &[Read], stage: &Stage) -> Checked {
        match reads.iter().find(|read| !self.is_current(app, read, stage)) {
            None => Ok(()),
            Some(read) => Err(broken(
                "serializable",
                format!("a run committed though {:?} has changed since it read it", read.key),
            )),
        }
    }

    /// A command was refused: there must be a cause.
    fn refused(&self, noted: &Noted, refusal: &Refusal, stage: &Stage) -> Checked {
        match (refusal, &noted.command) {
            (Refusal::LeaseLost, Command::Settle(settle)) => {
                let id = settle.claim.row.id;
                ensure!(
                    !self.holds(settle, Some(stage)),
                    "P3",
                    "row {id} has its lease, yet it was refused"
                );
            }
            (Refusal::Conflict, command) => {
                let (app, reads) = match command {
                    Command::Settle(settle) => (settle.claim.row.app, &settle.reads),
                    Command::Mutate(mutate) => (mutate.app, &mutate.reads),
                    Command::Accept(_) | Command::Fire(_) | Command::Manage(_) => {
                        return Err(broken("serializable", "what reads nothing conflicted"));
                    }
                };
                ensure!(
                    reads.iter().any(|read| !self.is_current(app, read, stage)),
                    "serializable",
                    "a conflict though nothing has changed"
                );
            }
            (Refusal::StorageLow, _) => {
                ensure!(self.storage_low, "P7", "refused for a full disk that is not full");
            }
            (Refusal::StoreFailed(why) | Refusal::CommandFailed(why), _) => {
                return Err(broken(
                    "P2",
                    format!("the store could not do what was planned: {why}"),
                ));
            }
            (Refusal::Answered(kept), command) => {
                let answer = match kept {
                    Some(Kept::Result(result)) => result.to_string(),
                    Some(Kept::Accepted { execution, .. }) => execution.to_string(),
                    None => return Err(broken("P3", "an answer was too large to keep")),
                };
                let key = match command {
                    Command::Accept(accept) => accept.row.idempotency.as_ref(),
                    Command::Settle(settle) => settle.claim.row.idempotency.as_ref(),
                    Command::Mutate(_) | Command::Fire(_) | Command::Manage(_) => None,
                };
                let Some(key) = key else { return Err(broken("P3", "answered without a key")) };
                let at = (key.app.0, key.route, key.key.to_string());
                self.answered_truly(&at, &key.body_hash, &answer, Some(stage))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether an answer that was given again is the one that was given first.
    pub fn answered_truly(
        &self,
        at: &RequestAt,
        body_hash: &str,
        answer: &str,
        stage: Option<&Stage>,
    ) -> Checked {
        let known =
            stage.and_then(|stage| stage.requests.get(at)).or_else(|| self.requests.get(at));
        let Some(known) = known else {
            return Err(broken(
                "P3",
                format!("request {at:?} was answered though it was never done"),
            ));
        };
        ensure!(
            known.answer == answer && known.body_hash == body_hash,
            "P3",
            "request {at:?} got {answer} where the first one got {}",
            known.answer
        );
        Ok(())
    }

    /// What the file says now is where the next batch begins.
    fn adopt(&mut self, stage: Stage, found: Snapshot) {
        self.count_all(&stage, &found);
        for (at, value) in &stage.entries {
            match value {
                None => drop(self.entries.remove(at)),
                Some(value) => {
                    let version = found.entries[at].1;
                    self.entries.insert(at.clone(), (value.clone(), version));
                }
            }
        }
        for (_, version) in found.entries.values() {
            self.version_max = self.version_max.max(*version);
        }
        let numbers = found.rows.values().flat_map(|row| [row.lease_token, row.order_version]);
        let number_max = numbers.flatten().max().unwrap_or(0);
        self.number_max = self.number_max.max(number_max).max(self.version_max);
        for letter in found.letters.values() {
            if let Some(row) = self.rows.get(&letter.row) {
                self.dead.entry(letter.id.clone()).or_insert_with(|| row.clone());
            }
        }
        self.ended.extend(stage.ends.into_iter().filter(|(_, end)| end.is_last()));
        self.not_before.extend(stage.not_before);
        // Once it was claimed it may come back at any time; the clock may have been set back meanwhile.
        self.not_before
            .retain(|id, _| found.rows.get(id).is_some_and(|row| row.lease_token.is_none()));
        self.requests.extend(stage.requests);
        self.pauses = found.pauses.into_iter().collect();
        self.rows = found.rows;
        self.letters = found.letters;
        self.abandoned = found.abandoned;
    }

    fn count_all(&mut self, stage: &Stage, found: &Snapshot) {
        for end in stage.ends.values() {
            self.count(match end {
                End::Gone => "end: completed or answered",
                End::Letter => "end: dead letter",
                End::HandlerFailed => "end: handler failed",
                End::Abandoned("depth_limit") => "end: depth limit",
                End::Abandoned("caller_gone") => "end: caller gone",
                End::Abandoned(_) => "end: owner died",
                End::Retry { .. } => "retry",
                End::Released { .. } => "release",
            });
        }
        for replay in stage.resolved.values() {
            self.count(replay.as_ref().map_or("letter discarded", |_| "letter replayed"));
        }
        for _ in 0..stage.deduped {
            self.count("task deduped");
        }
        if found.rows.values().any(|row| Timestamp(row.available_at).is_held()) {
            self.count("row behind another of its key");
        }
        if found.pauses.iter().any(|target| !self.pauses.contains(target)) {
            self.count("queue full of dead letters");
        }
    }

    /// Replays by scripts of what came of one root.
    pub fn replays_of(&self, root: &str) -> u32 {
        let replayed = self.letters.values().filter(|letter| {
            letter.resolution.as_deref() == Some("replayed")
                && self.dead.get(&letter.id).is_some_and(|row| row.root() == root)
        });
        u32::try_from(replayed.count()).expect("few")
    }
}

fn name_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Conflict => "refused: conflict",
        Refusal::LeaseLost => "refused: lease lost",
        Refusal::AppFull { .. } => "refused: app full",
        Refusal::FanOut { .. } => "refused: fan-out",
        Refusal::TooManyDelayed { .. } => "refused: too many delayed",
        Refusal::NotApplicable { .. } => "refused: not applicable",
        Refusal::NoSuchScript(_) => "refused: no such script",
        Refusal::Letter { .. } => "refused: letter",
        Refusal::Answered(_) => "refused: answered before",
        Refusal::KeyReused => "refused: key reused",
        Refusal::AppDeleted => "refused: app deleted",
        Refusal::Declined(_) => "refused: declined",
        Refusal::StorageLow => "refused: storage low",
        Refusal::StoreFailed(_) => "refused: store failed",
        Refusal::CommandFailed(_) => "refused: command failed",
    }
}

/// Whether all entries were read, or only those that have changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    Yes,
    No,
}

/// What the file says after a batch, what is known of it, and when it was made.
struct After<'a> {
    found: &'a Snapshot,
    known: &'a Known<'a>,
    moment: &'a Moment,
}

/// When a batch was made, and for whom.
pub struct Moment {
    pub now: i64,
    pub owner: String,
}

/// Each run and each edit that commits raises a mark of its own by one.
pub fn mark_of(app: i64, id: &str) -> EntryAt {
    (app, "kv".to_owned(), "marks".to_owned(), id.to_owned())
}

pub fn entry_at(app: i64, key: &picloud_scripts_runtime::effect::Key) -> EntryAt {
    let space = match key.space {
        picloud_scripts_runtime::effect::Space::Kv => "kv",
        picloud_scripts_runtime::effect::Space::Docs => "docs",
    };
    (app, space.to_owned(), key.collection.to_string(), key.key.to_string())
}

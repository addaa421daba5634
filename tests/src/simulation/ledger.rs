//! The independent history: what was promised, and whether the store's file keeps it.
//!
//! It knows commands and their results, and what the file said after the batch before. From these follows what the
//! file may say now, row by row; whatever differs breaks a promise.

use std::collections::{BTreeMap, BTreeSet};

use picloud_daemon::flow::settle::{Settle, Stored};
use picloud_daemon::flow::{Command, Kept, Refusal};
use picloud_daemon::ids::AppId;
use picloud_daemon::limits::OutboxLimits;
use picloud_daemon::outbox::row::{Claim, OutboxRow};
use picloud_daemon::time::Timestamp;
use picloud_scripts_runtime::effect::Read;

use super::apps;
use super::reference::{Cause, Expected, Stage};
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
        whole: Whole,
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
        self.check_entries(&stage, &found, whole)?;
        self.check_new_rows(&mut stage, &found, known, moment)?;
        self.check_old_rows(&stage, &found, known, moment)?;
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
            (Command::Mutate(mutate), _) => {
                ensure!(!self.storage_low, "P7", "an edit was accepted on a full disk");
                self.are_current(mutate.app, &mutate.reads, stage)?;
                let cause = Cause {
                    app: mutate.app,
                    row: mutate.id.to_string(),
                    root: mutate.id.to_string(),
                    depth: 0,
                };
                stage.apply(self, &mutate.effects, &cause, moment.now)
            }
            (Command::Settle(settle), Means::End(end)) => self.settled(settle, end, stage, moment),
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
        };
        stage.apply(self, &settle.effects, &cause, moment.now)?;
        if let (Some(result), Some(key), true) = (&settle.result, &row.idempotency, row.is_sync()) {
            let at = (key.app.0, key.route, key.key.to_string());
            self.is_first(&at, stage)?;
            stage.requests.insert(at, self.kept(&key.body_hash, result.to_string(), moment));
        }
        if *end == End::Letter {
            stage.bury(row, &cause, moment.now);
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
                    Command::Accept(_) => {
                        return Err(broken("serializable", "an accept conflicted"));
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
            (Refusal::StoreFailed(why), _) => {
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
                    Command::Mutate(_) => None,
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

    fn check_entries(&self, stage: &Stage, found: &Snapshot, whole: Whole) -> Checked {
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text);
        for (at, (value, version)) in &found.entries {
            let value = json(value).map_err(|_| broken("P2", format!("{at:?} holds no JSON")))?;
            match stage.entries.get(at) {
                Some(Some(wanted)) => {
                    ensure!(*wanted == value, "P2", "{at:?} holds {value}, committed was {wanted}");
                    ensure!(
                        *version > self.number_max,
                        "counter",
                        "{at:?} has version {version}, {} was used before",
                        self.number_max
                    );
                }
                Some(None) => {
                    return Err(broken("P2", format!("{at:?} was deleted and holds {value}")));
                }
                None => {
                    let known = self.entries.get(at);
                    ensure!(
                        known == Some(&(value.clone(), *version)),
                        "P2",
                        "{at:?} holds {value} of version {version}, which nobody committed; it was {known:?}"
                    );
                }
            }
        }
        for (at, wanted) in &stage.entries {
            ensure!(
                wanted.is_none() || found.entries.contains_key(at),
                "P1",
                "{at:?} was committed as {wanted:?} and is not there"
            );
        }
        let mut count = self.entries.len();
        for (at, wanted) in &stage.entries {
            match (self.entries.contains_key(at), wanted.is_some()) {
                (false, true) => count += 1,
                (true, false) => count -= 1,
                _ => {}
            }
        }
        ensure!(
            count == found.entries_count,
            "P1",
            "there are {} entries where {count} were committed",
            found.entries_count
        );
        if whole == Whole::Yes {
            let lost = self
                .entries
                .keys()
                .find(|at| !stage.entries.contains_key(*at) && !found.entries.contains_key(*at));
            ensure!(lost.is_none(), "P1", "{lost:?} was committed and is gone");
        }
        Ok(())
    }

    fn check_new_rows(
        &self,
        stage: &mut Stage,
        found: &Snapshot,
        known: &Known<'_>,
        moment: &Moment,
    ) -> Checked {
        let mut fresh: Vec<&Row> =
            found.rows.values().filter(|row| !self.rows.contains_key(&row.id)).collect();
        fresh.sort_by(|one, other| one.id.cmp(&other.id));
        let mut expected: Vec<Expected> = std::mem::take(&mut stage.rows);
        let mut lines: BTreeMap<(i64, String), i64> = BTreeMap::new();
        let mut places: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in &fresh {
            ensure!(
                !self.ended.contains_key(&row.id),
                "P3",
                "row {} has ended and is back",
                row.id
            );
            match stage.accepted.get(&row.id) {
                Some(accepted) => check_accepted(row, accepted)?,
                None => places.entry(row.cause.as_deref().unwrap_or("")).or_default().push(row),
            }
        }
        for (id, row) in &stage.accepted {
            ensure!(
                found.rows.contains_key(id)
                    || stage.ends.get(id).is_some_and(End::is_last) && row.is_sync(),
                "P1",
                "row {id} was accepted and is not there"
            );
        }
        for wanted in &mut expected {
            let candidates = places.entry(wanted.cause.row.as_str()).or_default();
            let place = candidates.iter().position(|row| wanted.fits(row, found));
            let Some(place) = place else {
                ensure!(
                    wanted.optional,
                    "P2",
                    "row {} caused a row that is not there, or is another: {wanted:?}; there are {candidates:?}",
                    wanted.cause.row
                );
                continue;
            };
            let row = candidates.remove(place);
            wanted.check(row)?;
            wanted.found = Some(row.id.clone());
            if let (Some(line), Some(version)) = (row.line(), row.order_version) {
                let line = (line.0, line.1.to_owned());
                let before = lines.insert(line, version).unwrap_or(self.number_max);
                ensure!(
                    version > before,
                    "by_key",
                    "row {} has version {version}, not after {before}",
                    row.id
                );
            }
            if wanted.due > moment.now {
                stage.not_before.insert(row.id.clone(), wanted.due);
            }
        }
        let rest: Vec<&&Row> = places.values().flatten().collect();
        ensure!(rest.is_empty(), "P2", "rows that nothing caused: {rest:?}");
        for row in fresh {
            if row.reply_by.is_none() && row.lease_token.is_some() {
                self.check_claim(row, row.available_at, found, known, moment)?;
            }
        }
        stage.rows = expected;
        Ok(())
    }

    fn check_old_rows(
        &self,
        stage: &Stage,
        found: &Snapshot,
        known: &Known<'_>,
        moment: &Moment,
    ) -> Checked {
        for (id, old) in &self.rows {
            let end = stage.ends.get(id);
            let Some(row) = found.rows.get(id) else {
                ensure!(end.is_some_and(End::is_last), "P4", "row {id} vanished: {old:?}");
                continue;
            };
            let mut wanted = old.clone();
            match end {
                None => {}
                Some(End::Retry { from, delay_ms }) => {
                    ensure!(
                        row.attempt == old.attempt + 1,
                        "attempts",
                        "row {id} failed attempt {} and has {} charged",
                        old.attempt + 1,
                        row.attempt
                    );
                    let delay = row.available_at - from;
                    ensure!(
                        (delay - delay_ms).abs() * 5 <= delay_ms + 5,
                        "retry",
                        "row {id} is to wait about {delay_ms} ms and waits {delay}"
                    );
                    wanted.attempt += 1;
                    wanted.available_at = row.available_at;
                    wanted.orphaned = row.orphaned;
                    release(&mut wanted);
                }
                Some(End::Released { at, orphaned }) => {
                    wanted.available_at = *at;
                    wanted.orphaned = *orphaned;
                    release(&mut wanted);
                }
                Some(end) => {
                    return Err(broken(
                        "P2",
                        format!("row {id} has ended as {end:?} and is still there"),
                    ));
                }
            }
            if old.available_at == Timestamp::NEVER.0 && row.available_at <= moment.now {
                wanted.available_at = row.available_at;
            }
            if row.lease() != wanted.lease() && row.lease_token.is_some() {
                self.check_claim(row, wanted.available_at, found, known, moment)?;
                wanted.lease_owner.clone_from(&row.lease_owner);
                wanted.lease_token = row.lease_token;
            }
            ensure!(
                wanted == *row,
                "P4",
                "row {id} changed without a cause ({end:?}): {wanted:?} became {row:?}"
            );
        }
        for (id, end) in &stage.ends {
            let letter = found.letters.values().filter(|letter| letter.row == *id).count();
            let reason = found.abandoned.get(id).map(String::as_str);
            let expected = match end {
                End::Letter => (1, None),
                End::Abandoned(reason) => (0, Some(*reason)),
                End::Gone | End::HandlerFailed | End::Retry { .. } | End::Released { .. } => {
                    (0, None)
                }
            };
            ensure!(
                (letter, reason) == expected,
                "P4",
                "row {id} was to end as {end:?}; it has {letter} dead letters and is abandoned for {reason:?}"
            );
        }
        Ok(())
    }

    fn check_claim(
        &self,
        row: &Row,
        due: i64,
        found: &Snapshot,
        known: &Known<'_>,
        moment: &Moment,
    ) -> Checked {
        let id = &row.id;
        let (owner, token) =
            row.lease().ok_or_else(|| broken("leases", format!("row {id}: half a lease")))?;
        ensure!(
            owner == moment.owner,
            "leases",
            "row {id} was claimed for {owner}, who is not here"
        );
        ensure!(
            token > self.number_max,
            "counter",
            "lease {token} of row {id} was given out before"
        );
        ensure!(
            due <= moment.now,
            "claims",
            "row {id} is due at {due} and was claimed at {}",
            moment.now
        );
        let not_before = self.not_before.get(id).copied().unwrap_or(0);
        ensure!(
            not_before <= moment.now,
            "claims",
            "row {id} was put off until {not_before} and runs at {}",
            moment.now
        );
        for target in [0, row.app, row.queue] {
            ensure!(
                !self.pauses.contains(&target),
                "pause",
                "row {id} was claimed though {target} is paused"
            );
        }
        if let Some((queue, key)) = row.line() {
            let before = found.rows.values().find(|other| {
                other.line() == Some((queue, key)) && other.order_version < row.order_version
            });
            ensure!(before.is_none(), "by_key", "row {id} was claimed before {before:?}");
        }
        match known {
            Known::Report { claims, .. } => {
                let told = claims
                    .iter()
                    .any(|claim| claim.row.id.to_string() == *id && claim.lease.token == token);
                ensure!(told, "leases", "row {id} is claimed and the dispatcher does not know");
            }
            Known::Nothing => {
                return Err(broken(
                    "P2",
                    format!("row {id} was claimed by a batch that did not commit"),
                ));
            }
            Known::All => {}
        }
        Ok(())
    }

    fn check_letters(&self, stage: &Stage, found: &Snapshot) -> Checked {
        for (id, old) in &self.letters {
            let Some(letter) = found.letters.get(id) else {
                // Resolved ones go after a while.
                ensure!(old.resolved == 1, "P4", "open dead letter {id} vanished");
                continue;
            };
            let mut wanted = old.clone();
            if stage.failed_handlers.contains(id) && wanted.resolved == 0 {
                wanted.resolution = Some("handler_failed".to_owned());
            }
            if let Some(replay) = stage.resolved.get(id) {
                wanted.resolved = 1;
                wanted.resolution =
                    Some(replay.as_ref().map_or("discarded", |_| "replayed").to_owned());
                let by = stage.rows.iter().find(|row| row.replay_of.as_ref() == Some(id));
                wanted.resolved_by = by.and_then(|row| row.found.clone());
            }
            let in_doubt = stage.failed_handlers.contains(id) && stage.resolved.contains_key(id);
            ensure!(
                in_doubt || wanted == *letter,
                "P4",
                "dead letter is {letter:?}, was to be {wanted:?}"
            );
        }
        for (id, letter) in found.letters.iter().filter(|(id, _)| !self.letters.contains_key(*id)) {
            let ended = stage.ends.get(&letter.row) == Some(&End::Letter);
            ensure!(ended, "P4", "dead letter {id} of row {}, which did not die", letter.row);
            let attempts = self.rows.get(&letter.row).map_or(0, |row| row.attempt) + 1;
            ensure!(
                letter.attempts == attempts,
                "attempts",
                "dead letter {id} tells {} attempts, there were {attempts}",
                letter.attempts
            );
        }
        let lost = self.abandoned.keys().find(|id| !found.abandoned.contains_key(*id));
        ensure!(lost.is_none(), "P4", "abandoned execution {lost:?} vanished");
        let other = found
            .abandoned
            .keys()
            .find(|id| !self.abandoned.contains_key(*id) && !stage.ends.contains_key(*id));
        ensure!(other.is_none(), "P4", "abandoned execution {other:?} of a row that did not end");
        Ok(())
    }

    /// Of each line the first row may run, the others wait.
    fn check_lines(&self, found: &Snapshot) -> Checked {
        let mut lines: BTreeMap<(i64, &str), Vec<&Row>> = BTreeMap::new();
        for row in found.rows.values() {
            if let Some(line) = row.line() {
                lines.entry(line).or_default().push(row);
            }
        }
        for (line, mut rows) in lines {
            rows.sort_by_key(|row| row.order_version);
            for (place, row) in rows.iter().enumerate() {
                let waits = row.available_at == Timestamp::NEVER.0;
                ensure!(
                    waits == (place > 0) && (place == 0 || row.lease_token.is_none()),
                    "by_key",
                    "row {} is number {place} of line {line:?}, due at {} with lease {:?}",
                    row.id,
                    row.available_at,
                    row.lease()
                );
            }
        }
        Ok(())
    }

    fn check_requests(&self, found: &Snapshot) -> Checked {
        for (at, kept) in self.requests.iter().filter(|(_, kept)| !kept.expired) {
            let there = found.requests.iter().any(|one| {
                (one.app, one.route, &one.key) == (at.0, at.1, &at.2)
                    && one.result.as_ref().or(one.execution.as_ref()) == Some(&kept.answer)
            });
            ensure!(there, "P1", "the answer of request {at:?} is not kept any more");
        }
        Ok(())
    }

    fn check_pauses(&self, stage: &Stage, found: &Snapshot) -> Checked {
        let found_pauses: BTreeSet<i64> = found.pauses.iter().copied().collect();
        let lost = self.pauses.difference(&found_pauses).next();
        ensure!(lost.is_none(), "P1", "the pause of {lost:?} is gone");
        let disabled: BTreeSet<i64> = found.disabled.iter().copied().collect();
        ensure!(
            disabled == self.disabled,
            "P1",
            "switched off are {disabled:?}, were to be {:?}",
            self.disabled
        );
        for queue in found_pauses.difference(&self.pauses) {
            let buried = stage.buried.get(queue).copied().unwrap_or(0);
            let open = self.letters_open(*queue) + buried;
            ensure!(
                buried > 0 && open >= self.limits.open_letters_max,
                "pause",
                "queue {queue} was paused with {open} open dead letters"
            );
        }
        for queue in stage.buried.keys().filter(|_| stage.resolved.is_empty()) {
            let open = self.letters_open(*queue) + stage.buried[queue];
            ensure!(
                open < self.limits.open_letters_max || found_pauses.contains(queue),
                "P7",
                "queue {queue} has {open} open dead letters and goes on"
            );
        }
        Ok(())
    }

    fn letters_open(&self, queue: i64) -> i64 {
        let open = self.letters.values().filter(|letter| {
            letter.resolved == 0 && self.dead.get(&letter.id).is_some_and(|row| row.queue == queue)
        });
        i64::try_from(open.count()).expect("few")
    }

    /// New numbers are greater than all that were used, different from each other, and below the ceiling.
    fn check_numbers(&self, found: &Snapshot) -> Checked {
        let versions = found.entries.values().map(|(_, version)| *version);
        let fresh = found.rows.values().filter_map(|row| row.lease_token);
        let mut seen = BTreeSet::new();
        for number in versions.filter(|number| *number > self.number_max) {
            ensure!(seen.insert(number), "counter", "number {number} was given out twice");
        }
        for number in fresh.filter(|number| *number > self.number_max) {
            ensure!(seen.insert(number), "counter", "number {number} was given out twice");
        }
        if let Some(last) = seen.last() {
            ensure!(
                *last < found.ceiling,
                "counter",
                "number {last} is not below the ceiling {}",
                found.ceiling
            );
        }
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
        if found.rows.values().any(|row| row.available_at == Timestamp::NEVER.0) {
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
        Refusal::StorageLow => "refused: storage low",
        Refusal::StoreFailed(_) => "refused: store failed",
    }
}

/// Whether all entries were read, or only those that have changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    Yes,
    No,
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

fn release(row: &mut Row) {
    row.lease_owner = None;
    row.lease_token = None;
}

fn check_accepted(row: &Row, accepted: &OutboxRow) -> Checked {
    let same = row.queue == accepted.queue.0
        && row.app == accepted.app.0
        && row.event == *accepted.event
        && row.depth == i64::from(accepted.depth)
        && row.attempt == 0
        && row.reply_by == accepted.reply_by.map(|at| at.0);
    ensure!(same, "P1", "row {} is not as it was accepted: {row:?}", row.id);
    Ok(())
}

/// Rows and bytes that an app has waiting, and how many of them were put off.
pub fn usage(rows: &BTreeMap<String, Row>, app: AppId) -> (i64, i64, i64) {
    let of_app = rows.values().filter(|row| row.app == app.0);
    of_app.fold((0, 0, 0), |(rows, bytes, delayed), row| {
        let put_off = i64::from(row.cause.is_some() && row.depth == 0);
        (rows + 1, bytes + row.bytes, delayed + put_off)
    })
}

/// Rows of a queue that somebody holds.
pub fn held(rows: &BTreeMap<String, Row>, queue: i64) -> usize {
    rows.values().filter(|row| row.queue == queue && row.lease_token.is_some()).count()
}

/// The number of rows of a queue that may run at a time.
pub fn check_concurrency(rows: &BTreeMap<String, Row>) -> Checked {
    for app in apps::APPS {
        for (place, watch) in apps::WATCHES.iter().enumerate() {
            let queue = apps::watch_trigger(app, place).0;
            let held = held(rows, queue);
            let most = watch.concurrency.map_or(usize::MAX, |max| max as usize);
            ensure!(
                held <= most,
                "concurrency",
                "{held} rows of queue {queue} are claimed at a time"
            );
        }
    }
    Ok(())
}

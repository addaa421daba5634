//! The checks: each compares one part of the store's file with the history.

use std::collections::{BTreeMap, BTreeSet};

use picloud_daemon::outbox::row::OutboxRow;
use picloud_daemon::time::Timestamp;

use crate::simulation::reference::{Expected, Stage};
use crate::simulation::snapshot::{Row, Snapshot};

use super::ensure;
use super::{After, Checked, End, Known, Ledger, broken};

impl Ledger {
    pub(super) fn check_entries(&self, stage: &Stage, found: &Snapshot) -> Checked {
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
        if found.entries_from == 0 {
            let lost = self
                .entries
                .keys()
                .find(|at| !stage.entries.contains_key(*at) && !found.entries.contains_key(*at));
            ensure!(lost.is_none(), "P1", "{lost:?} was committed and is gone");
        }
        Ok(())
    }

    pub(super) fn check_new_rows(&self, stage: &mut Stage, after: &After<'_>) -> Checked {
        let After { found, moment, .. } = after;
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
                self.check_claim(row, row.available_at, after)?;
            }
        }
        stage.rows = expected;
        Ok(())
    }

    pub(super) fn check_old_rows(&self, stage: &Stage, after: &After<'_>) -> Checked {
        let After { found, moment, .. } = after;
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
            if Timestamp(old.available_at).is_held()
                && row.available_at == moment.now.max(Timestamp(old.available_at).let_go().0)
            {
                wanted.available_at = row.available_at;
            }
            if row.lease() != wanted.lease() && row.lease_token.is_some() {
                self.check_claim(row, wanted.available_at, after)?;
                wanted.lease_owner.clone_from(&row.lease_owner);
                wanted.lease_token = row.lease_token;
            }
            ensure!(
                wanted == *row,
                "P4",
                "row {id} changed without a cause ({end:?}): {wanted:?} became {row:?}"
            );
        }
        check_ends(stage, found)
    }

    pub(super) fn check_claim(&self, row: &Row, due: i64, after: &After<'_>) -> Checked {
        let After { found, known, moment } = after;
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

    pub(super) fn check_letters(&self, stage: &Stage, found: &Snapshot) -> Checked {
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
    pub(super) fn check_lines(&self, found: &Snapshot) -> Checked {
        let mut lines: BTreeMap<(i64, &str), Vec<&Row>> = BTreeMap::new();
        for row in found.rows.values() {
            if let Some(line) = row.line() {
                lines.entry(line).or_default().push(row);
            }
        }
        for (line, mut rows) in lines {
            rows.sort_by_key(|row| row.order_version);
            for (place, row) in rows.iter().enumerate() {
                let waits = Timestamp(row.available_at).is_held();
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

    pub(super) fn check_requests(&self, found: &Snapshot) -> Checked {
        for (at, kept) in self.requests.iter().filter(|(_, kept)| !kept.expired) {
            let there = found.requests.iter().any(|one| {
                (one.app, one.route, &one.key) == (at.0, at.1, &at.2)
                    && one.result.as_ref().or(one.execution.as_ref()) == Some(&kept.answer)
            });
            ensure!(there, "P1", "the answer of request {at:?} is not kept any more");
        }
        Ok(())
    }

    pub(super) fn check_pauses(&self, stage: &Stage, found: &Snapshot) -> Checked {
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

    pub(super) fn letters_open(&self, queue: i64) -> i64 {
        let open = self.letters.values().filter(|letter| {
            letter.resolved == 0 && self.dead.get(&letter.id).is_some_and(|row| row.queue == queue)
        });
        i64::try_from(open.count()).expect("few")
    }

    /// New numbers are greater than all that were used, different from each other, and below the ceiling.
    pub(super) fn check_numbers(&self, found: &Snapshot) -> Checked {
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
}

/// Each row that ended has ended as it had to, and in one way.
fn check_ends(stage: &Stage, found: &Snapshot) -> Checked {
    for (id, end) in &stage.ends {
        let letter = found.letters.values().filter(|letter| letter.row == *id).count();
        let reason = found.abandoned.get(id).map(String::as_str);
        let expected = match end {
            End::Letter => (1, None),
            End::Abandoned(reason) => (0, Some(*reason)),
            End::Gone | End::HandlerFailed | End::Retry { .. } | End::Released { .. } => (0, None),
        };
        ensure!(
            (letter, reason) == expected,
            "P4",
            "row {id} was to end as {end:?}; it has {letter} dead letters and is abandoned for {reason:?}"
        );
    }
    Ok(())
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

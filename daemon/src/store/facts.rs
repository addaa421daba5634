//! Reading what a batch depends on: one query for each kind of fact, whatever the number of commands.

use std::borrow::Cow;
use std::sync::Arc;

use crate::entry::{Entry, EntryKey};
use crate::flow::facts::{
    Facts, KeptRequest, Keys, LetterEnd, LetterFacts, LineKey, RequestKey, WaitingFacts,
};
use crate::flow::layer::line_of;
use crate::ids::{AppId, Id};
use crate::outbox::row::Lease;
use crate::store::bulk::{self, Bulk};
use crate::store::engine::{self, Connection};
use crate::store::rows::{self, RetryCache};
use crate::store::sql;
use crate::time::Timestamp;

/// Rows of a line that are read, beside those that people may take out of it.
const LINE_ROWS: usize = 4;

/// Whether there is nothing to read.
pub(crate) fn is_empty(keys: &Keys) -> bool {
    let Keys { entries, rows, dedupe, requests, lines, letters, waiting } = keys;
    entries.is_empty()
        && rows.is_empty()
        && dedupe.is_empty()
        && requests.is_empty()
        && lines.is_empty()
        && letters.is_empty()
        && waiting.is_empty()
}

/// Completes the facts by what the keys name.
pub(crate) async fn read(
    conn: &mut Connection,
    keys: Keys,
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    read_leases(conn, keys.rows.into_iter().collect(), facts).await?;
    read_entries(conn, keys.entries.into_iter().collect(), facts).await?;
    read_dedupe(conn, keys.dedupe.into_iter().collect(), facts).await?;
    read_requests(conn, keys.requests.into_iter().collect(), facts).await?;
    read_letters(conn, keys.letters.into_iter().collect(), facts).await?;
    let taken_out = keys.waiting.len();
    read_waiting(conn, keys.waiting.into_iter().collect(), facts).await?;
    // A letter that is replayed joins its row's line, and a row that goes leaves its own: known only now.
    let mut lines = keys.lines;
    lines.extend(facts.letters.values().filter_map(|letter| line_of(&letter.row)));
    lines.extend(facts.waiting.values().filter_map(|waiting| line_of(&waiting.row)));
    read_lines(conn, lines.into_iter().collect(), LINE_ROWS + taken_out, facts).await
}

async fn read_entries(
    conn: &mut Connection,
    keys: Vec<EntryKey>,
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut bulk = Bulk::new();
    for key in &keys {
        bulk::put_entry_key(&mut bulk, key);
    }
    let query = engine::query(sql::FACTS_ENTRIES).bind(bulk.finish());
    let found = query.fetch_one(conn).await?;
    for (place, version, value, expires_at, written_by) in
        rows::unpack::<(usize, i64, Cow<str>, Option<i64>, Cow<str>)>(found.text(0)?)?
    {
        let entry = Entry {
            version,
            value: value.into(),
            expires_at: expires_at.map(Timestamp),
            written_by: written_by.into(),
        };
        facts.entries.insert(keys[place].clone(), entry);
    }
    Ok(())
}

async fn read_leases(
    conn: &mut Connection,
    ids: Vec<Id>,
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut bulk = Bulk::new();
    for id in &ids {
        bulk.id_alone(*id);
    }
    let query = engine::query(sql::FACTS_LEASES).bind(bulk.finish());
    let found = query.fetch_one(conn).await?;
    for (place, owner, token) in rows::unpack::<(usize, &str, i64)>(found.text(0)?)? {
        let owner = owner.parse().map_err(|_| rows::odd("lease_owner", &owner))?;
        facts.leases.insert(ids[place], Lease { owner, token });
    }
    Ok(())
}

async fn read_dedupe(
    conn: &mut Connection,
    keys: Vec<(AppId, Arc<str>)>,
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut bulk = Bulk::new();
    for (app, value) in &keys {
        bulk.row().int(app.0).text(value);
    }
    let found = engine::query(sql::FACTS_DEDUPE).bind(bulk.finish()).fetch_all(conn).await?;
    for row in &found {
        facts.dedupe.insert(keys[rows::place(row)?].clone());
    }
    Ok(())
}

async fn read_requests(
    conn: &mut Connection,
    keys: Vec<RequestKey>,
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut bulk = Bulk::new();
    for key in &keys {
        bulk.row().int(key.app.0).int(key.route).int(key.principal.0).text(&key.key);
    }
    let query = engine::query(sql::FACTS_REQUESTS).bind(bulk.finish()).bind(facts.now.0);
    for row in &query.fetch_all(conn).await? {
        let kept = KeptRequest { body_hash: rows::text(row, 1)?, answer: rows::kept(row, 2)? };
        facts.requests.insert(keys[rows::place(row)?].clone(), kept);
    }
    Ok(())
}

async fn read_lines(
    conn: &mut Connection,
    keys: Vec<LineKey>,
    rows: usize,
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut bulk = Bulk::new();
    for line in &keys {
        bulk.row().int(line.queue.0).text(&line.key);
    }
    let found = engine::query(sql::FACTS_LINES)
        .bind(bulk.finish())
        .bind(i64::try_from(rows).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    for row in &found {
        let line = keys[rows::place(row)?].clone();
        facts
            .lines
            .entry(line)
            .or_default()
            .push_back((rows::id(row, 1)?, Timestamp(rows::int(row, 2)?)));
    }
    Ok(())
}

async fn read_letters(
    conn: &mut Connection,
    ids: Vec<Id>,
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut bulk = Bulk::new();
    for id in &ids {
        bulk.id_alone(*id);
    }
    let mut cache = RetryCache::default();
    let query = engine::query(sql::FACTS_LETTERS).bind(bulk.finish());
    let found = query.bind(i64::from(facts.limits.root_replays_max)).fetch_all(conn).await?;
    for row in &found {
        let stored = rows::letter_row(row, &mut cache)?;
        let letter = LetterFacts {
            app: stored.letter.row.app,
            open: stored.resolved_at.is_none(),
            end: match (stored.resolved_at, stored.resolved_by) {
                (None, _) => None,
                (Some(_), Some(by)) => Some(LetterEnd::Replayed(by)),
                (Some(_), None) => Some(LetterEnd::Discarded),
            },
            row: stored.letter.row,
        };
        facts.root_replays.insert(letter.row.root, rows::count(row, 33)?);
        facts.letters.insert(stored.letter.id, letter);
    }
    Ok(())
}

async fn read_waiting(
    conn: &mut Connection,
    ids: Vec<Id>,
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut bulk = Bulk::new();
    for id in &ids {
        bulk.id_alone(*id);
    }
    let mut cache = RetryCache::default();
    let found = engine::query(sql::FACTS_WAITING).bind(bulk.finish()).fetch_all(conn).await?;
    for row in &found {
        let stored = rows::stored_row(row, &mut cache)?;
        let waiting = WaitingFacts {
            claimed: stored.lease.is_some(),
            failure: stored.failure,
            row: Arc::new(stored.row),
        };
        facts.waiting.insert(waiting.row.id, waiting);
    }
    Ok(())
}

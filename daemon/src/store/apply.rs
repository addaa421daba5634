//! Applying what a batch writes: one bulk statement a table and kind of change.

use crate::entry::EntryKey;
use crate::flow::Kept;
use crate::flow::writes::{EntryWrite, LetterWrite, RowUpdate, RowWrite, Writes};
use crate::ids::Id;
use crate::limits::OutboxLimits;
use crate::outbox::row::Claim;
use crate::store::bulk::{self, Bulk};
use crate::store::configure;
use crate::store::engine::{self, Connection};
use crate::store::rows;
use crate::store::sql;
use crate::time::Timestamp;

/// A bulk statement could not do what was planned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("{statement} changed {changed} rows where {planned} were planned")]
    Count { statement: &'static str, planned: u64, changed: u64 },
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// Writes everything of a batch but its claims of the backlog.
pub(crate) async fn writes(
    conn: &mut Connection,
    writes: &Writes,
    limits: &OutboxLimits,
    now: Timestamp,
) -> Result<(), ApplyError> {
    entries(conn, writes).await?;
    outbox(conn, writes).await?;
    letters(conn, writes).await?;
    requests(conn, writes, limits, now).await?;
    let mut fired = Bulk::new();
    for (trigger, last) in &writes.fired {
        fired.row().int(trigger.0).int(last.0);
    }
    exactly(conn, "schedules_fired", sql::SCHEDULES_FIRED, fired).await?;
    for audit in &writes.audits {
        configure::put_audit(conn, audit, limits).await?;
    }
    if !writes.pauses.is_empty() {
        let mut bulk = Bulk::new();
        for (queue, reason) in &writes.pauses {
            bulk.row().int(queue.0).text(reason);
        }
        engine::query(sql::PAUSES_BY_DAEMON).bind(bulk.finish()).bind(now.0).execute(conn).await?;
    }
    Ok(())
}

/// Entries in the order of their keys, so that neighbours are written together.
pub(crate) async fn entries(conn: &mut Connection, writes: &Writes) -> Result<(), ApplyError> {
    let mut sorted: Vec<(&EntryKey, &EntryWrite)> = writes.entries.iter().collect();
    sorted
        .sort_unstable_by(|(one, _), (other, _)| (one.app, &one.key).cmp(&(other.app, &other.key)));
    let (mut put, mut delete) = (Bulk::new(), Bulk::new());
    for (key, write) in sorted {
        match write {
            EntryWrite::Put(entry) => {
                bulk::put_entry_key(&mut put, key);
                put.text(&entry.value)
                    .int(entry.version)
                    .opt_int(entry.expires_at.map(|at| at.0))
                    .text(&entry.written_by);
            }
            EntryWrite::Delete => bulk::put_entry_key(&mut delete, key),
        }
    }
    exactly(conn, "entries_put", sql::ENTRIES_PUT, put).await?;
    // What was put and deleted in one batch was never there, so fewer may go than were named.
    if !delete.is_empty() {
        engine::query(sql::ENTRIES_DELETE).bind(delete.finish()).execute(conn).await?;
    }
    Ok(())
}

async fn outbox(conn: &mut Connection, writes: &Writes) -> Result<(), ApplyError> {
    let mut sorted: Vec<(&Id, &RowWrite)> = writes.rows.iter().collect();
    sorted.sort_unstable_by_key(|(id, _)| **id);
    let (mut insert, mut update, mut delete) = (Bulk::new(), Bulk::new(), Bulk::new());
    for (id, write) in sorted {
        match write {
            RowWrite::Insert(row, lease) => bulk::put_outbox(&mut insert, row, *lease),
            RowWrite::Update(change) => put_update(&mut update, *id, change),
            RowWrite::Delete => delete.id_alone(*id),
        }
    }
    exactly(conn, "outbox_delete", sql::OUTBOX_DELETE, delete).await?;
    exactly(conn, "outbox_update", sql::OUTBOX_UPDATE, update).await?;
    exactly(conn, "outbox_insert", sql::OUTBOX_INSERT, insert).await
}

fn put_update(bulk: &mut Bulk, id: Id, change: &RowUpdate) {
    let failure = change.failure.as_ref().map(rows::json);
    bulk.row()
        .id(id)
        .int(change.available_at.0)
        .int(i64::from(change.attempt))
        .int(i64::from(change.orphaned))
        .opt_id(change.lease.map(|lease| lease.owner))
        .opt_int(change.lease.map(|lease| lease.token))
        .opt_text(failure.as_deref());
}

async fn letters(conn: &mut Connection, writes: &Writes) -> Result<(), ApplyError> {
    let (mut insert, mut abandoned) = (Bulk::new(), Bulk::new());
    for letter in &writes.letters {
        bulk::put_letter(&mut insert, letter);
    }
    for one in &writes.abandoned {
        bulk::put_abandoned(&mut abandoned, one);
    }
    let (mut resolve, mut failed) = (Bulk::new(), Bulk::new());
    for (id, mark) in &writes.letter_marks {
        match mark {
            LetterWrite::Replayed { by, at } => {
                resolve.row().id(*id).text("replayed").int(at.0).id(*by).null();
            }
            LetterWrite::Discarded { reason, at } => {
                resolve.row().id(*id).text("discarded").int(at.0).null().text(reason);
            }
            LetterWrite::HandlerFailed { failure } => {
                failed.row().id(*id).text(&rows::json(failure));
            }
        }
    }
    exactly(conn, "letters_insert", sql::LETTERS_INSERT, insert).await?;
    let mut reopen = Bulk::new();
    for id in &writes.letters_reopened {
        reopen.id_alone(*id);
    }
    exactly(conn, "letters_reopen", sql::LETTERS_REOPEN, reopen).await?;
    exactly(conn, "letters_resolve", sql::LETTERS_RESOLVE, resolve).await?;
    if !failed.is_empty() {
        let query = engine::query(sql::LETTERS_HANDLER_FAILED).bind(failed.finish());
        query.execute(&mut *conn).await?;
    }
    exactly(conn, "abandoned_insert", sql::ABANDONED_INSERT, abandoned).await
}

async fn requests(
    conn: &mut Connection,
    writes: &Writes,
    limits: &OutboxLimits,
    now: Timestamp,
) -> Result<(), ApplyError> {
    let until = now.plus_ms(limits.kept_answer_ms);
    let mut bulk = Bulk::new();
    for (key, (body_hash, answer)) in &writes.requests {
        let (result, accepted) = match answer {
            Some(Kept::Result(result)) => (Some(&**result), None),
            Some(Kept::Accepted { execution, at }) => (None, Some((*execution, *at))),
            None => (None, None),
        };
        let bytes = 200 + key.key.len() + result.map_or(0, str::len);
        bulk.row()
            .int(key.app.0)
            .int(key.route)
            .int(key.principal.0)
            .text(&key.key)
            .text(body_hash)
            .opt_text(result)
            .opt_id(accepted.map(|(execution, _)| execution))
            .opt_int(accepted.map(|(_, at)| at.0))
            .int(until.0)
            .int(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    exactly(conn, "requests_put", sql::REQUESTS_PUT, bulk).await
}

/// Marks rows of the backlog as claimed.
pub(crate) async fn claims(
    conn: &mut Connection,
    claims: &[Claim],
    owner: Id,
) -> Result<(), ApplyError> {
    let mut bulk = Bulk::new();
    for claim in claims {
        bulk.row().id(claim.row.id).int(claim.lease.token);
    }
    let planned = bulk.rows;
    let query = engine::query(sql::OUTBOX_CLAIM).bind(bulk.finish()).bind(owner.to_string());
    let changed = query.execute(conn).await?;
    matches("outbox_claim", planned, changed)
}

async fn exactly(
    conn: &mut Connection,
    statement: &'static str,
    sql: &'static str,
    bulk: Bulk,
) -> Result<(), ApplyError> {
    if bulk.is_empty() {
        return Ok(());
    }
    let planned = bulk.rows;
    let changed = engine::query(sql).bind(bulk.finish()).execute(conn).await?;
    matches(statement, planned, changed)
}

fn matches(statement: &'static str, planned: u64, changed: u64) -> Result<(), ApplyError> {
    if planned == changed { Ok(()) } else { Err(ApplyError::Count { statement, planned, changed }) }
}

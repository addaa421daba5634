//! Rows as results: columns, or the arrays of a JSON text, to domain values.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::entry::{ChangeOp, Entry};
use crate::flow::Kept;
use crate::flow::writes::DeadLetter;
use crate::ids::{AppId, Id, PrincipalId, QueueId};
use crate::outbox::row::{IdempotencyKey, Lease, OrderKey, OutboxRow};
use crate::outbox::source::OutboxSourceKind;
use crate::retry::RetryPolicy;
use crate::store::engine::Row;
use crate::store::read::{LetterRow, StoredRow};
use crate::time::Timestamp;

pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("values of ours are JSON")
}

/// A column holds what this schema never writes.
pub(crate) fn odd(column: &str, value: &dyn std::fmt::Debug) -> sqlx::Error {
    sqlx::Error::Decode(format!("column {column} holds {value:?}").into())
}

pub(crate) fn int(row: &Row, index: usize) -> Result<i64, sqlx::Error> {
    row.int(index)
}

pub(crate) fn opt_int(row: &Row, index: usize) -> Result<Option<i64>, sqlx::Error> {
    row.opt_int(index)
}

pub(crate) fn count(row: &Row, index: usize) -> Result<u32, sqlx::Error> {
    let value = int(row, index)?;
    u32::try_from(value).map_err(|_| odd("count", &value))
}

/// The place of an element in the parameter that the statement opened.
pub(crate) fn place(row: &Row) -> Result<usize, sqlx::Error> {
    let value = int(row, 0)?;
    usize::try_from(value).map_err(|_| odd("key", &value))
}

pub(crate) fn text(row: &Row, index: usize) -> Result<Arc<str>, sqlx::Error> {
    Ok(row.text(index)?.into())
}

pub(crate) fn opt_text(row: &Row, index: usize) -> Result<Option<Arc<str>>, sqlx::Error> {
    Ok(row.opt_text(index)?.map(Arc::from))
}

pub(crate) fn id(row: &Row, index: usize) -> Result<Id, sqlx::Error> {
    let value = row.text(index)?;
    value.parse().map_err(|_| odd("id", &value))
}

pub(crate) fn opt_id(row: &Row, index: usize) -> Result<Option<Id>, sqlx::Error> {
    let Some(value) = row.opt_text(index)? else { return Ok(None) };
    value.parse().map(Some).map_err(|_| odd("id", &value))
}

pub(crate) fn opt_time(row: &Row, index: usize) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(opt_int(row, index)?.map(Timestamp))
}

pub(crate) fn parsed<T: DeserializeOwned>(row: &Row, index: usize) -> Result<T, sqlx::Error> {
    let value = row.text(index)?;
    serde_json::from_str(value).map_err(|_| odd("JSON", &value))
}

pub(crate) fn opt_parsed<T: DeserializeOwned>(
    row: &Row,
    index: usize,
) -> Result<Option<T>, sqlx::Error> {
    let Some(value) = row.opt_text(index)? else { return Ok(None) };
    serde_json::from_str(value).map(Some).map_err(|_| odd("JSON", &value))
}

pub(crate) fn source_of(text: &str) -> Option<OutboxSourceKind> {
    OutboxSourceKind::ALL.into_iter().find(|known| known.as_str() == text)
}

pub(crate) fn change_op_of(text: &str) -> Option<ChangeOp> {
    [ChangeOp::Set, ChangeOp::Create, ChangeOp::Update, ChangeOp::Delete]
        .into_iter()
        .find(|known| known.as_str() == text)
}

/// An entry, `at` being the column of its version.
pub(crate) fn entry(row: &Row, at: usize) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        version: int(row, at)?,
        value: text(row, at + 1)?,
        expires_at: opt_time(row, at + 2)?,
        written_by: text(row, at + 3)?,
    })
}

/// The answer that is kept for a request, `at` being the column of its result.
pub(crate) fn kept(row: &Row, at: usize) -> Result<Option<Kept>, sqlx::Error> {
    if let Some(result) = opt_text(row, at)? {
        return Ok(Some(Kept::Result(result)));
    }
    let (execution, accepted_at) = (opt_id(row, at + 1)?, opt_time(row, at + 2)?);
    Ok(execution.zip(accepted_at).map(|(execution, at)| Kept::Accepted { execution, at }))
}

/// Rows that a statement gave back as one JSON text.
pub(crate) fn unpack<'a, T: serde::Deserialize<'a>>(
    packed: &'a str,
) -> Result<Vec<T>, sqlx::Error> {
    serde_json::from_str(packed).map_err(|error| odd("packed rows", &error))
}

/// An outbox row out of a JSON text, in the order of `outbox_columns`.
#[derive(serde::Deserialize)]
pub(crate) struct PackedRow<'a> {
    id: &'a str,
    app: i64,
    queue: i64,
    source: &'a str,
    origin: Option<i64>,
    #[serde(borrow)]
    script: Cow<'a, str>,
    principal: i64,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    retry: Cow<'a, str>,
    order_key: Option<String>,
    order_version: Option<i64>,
    dedupe: Option<String>,
    available_at: i64,
    attempt: u32,
    orphaned: u32,
    depth: u32,
    root: Option<&'a str>,
    cause: Option<&'a str>,
    letter: Option<&'a str>,
    replay_of: Option<&'a str>,
    idempotency: Option<String>,
    reply_by: Option<i64>,
    // What only people ask for.
    _failure: IgnoredAny,
    _lease_owner: IgnoredAny,
    _lease_token: IgnoredAny,
    first: Option<&'a str>,
}

impl PackedRow<'_> {
    pub(crate) fn into_row(self, cache: &mut RetryCache) -> Result<OutboxRow, sqlx::Error> {
        let id_of = |text: &str| text.parse::<Id>().map_err(|_| odd("id", &text));
        let opt_id_of = |text: Option<&str>| text.map(id_of).transpose();
        let (id, app) = (id_of(self.id)?, AppId(self.app));
        let order = self.order_key.zip(self.order_version);
        let idempotency = self.idempotency.map(|text| idempotency_of(app, &text)).transpose()?;
        Ok(OutboxRow {
            id,
            app,
            queue: QueueId(self.queue),
            source: source_of(self.source).ok_or_else(|| odd("source", &self.source))?,
            origin: self.origin,
            script: self.script.into(),
            principal: PrincipalId(self.principal),
            event: self.event.into(),
            retry: cache.parse(&self.retry)?,
            order: order.map(|(key, version)| OrderKey { key: key.into(), version }),
            dedupe: self.dedupe.map(Arc::from),
            available_at: Timestamp(self.available_at),
            attempt: self.attempt,
            orphaned: self.orphaned,
            depth: self.depth,
            root: opt_id_of(self.root)?.unwrap_or(id),
            cause: opt_id_of(self.cause)?,
            reply_by: self.reply_by.map(Timestamp),
            letter: opt_id_of(self.letter)?,
            replay_of: opt_id_of(self.replay_of)?,
            first: opt_id_of(self.first)?.unwrap_or(id),
            idempotency,
        })
    }
}

fn idempotency_of(app: AppId, text: &str) -> Result<IdempotencyKey, sqlx::Error> {
    let (route, principal, key, body_hash): (i64, i64, String, String) =
        serde_json::from_str(text).map_err(|_| odd("idempotency", &text))?;
    let principal = PrincipalId(principal);
    Ok(IdempotencyKey { app, route, principal, key: key.into(), body_hash: body_hash.into() })
}

/// Remembers the retry policy that was read last: the rows of one queue mostly have the same.
#[derive(Default)]
pub(crate) struct RetryCache(Option<(String, RetryPolicy)>);

impl RetryCache {
    fn parse(&mut self, text: &str) -> Result<RetryPolicy, sqlx::Error> {
        if let Some((known, policy)) = &self.0
            && known == text
        {
            return Ok(policy.clone());
        }
        let policy: RetryPolicy = serde_json::from_str(text).map_err(|_| odd("retry", &text))?;
        self.0 = Some((text.to_owned(), policy.clone()));
        Ok(policy)
    }
}

/// The columns that the outbox and the dead letters have in common.
fn common_row(row: &Row, cache: &mut RetryCache) -> Result<OutboxRow, sqlx::Error> {
    let own = id(row, 0)?;
    let app = AppId(int(row, 1)?);
    let source = row.text(3)?;
    let order = opt_text(row, 9)?.zip(opt_int(row, 10)?);
    let idempotency = opt_text(row, 20)?.map(|text| idempotency_of(app, &text)).transpose()?;
    Ok(OutboxRow {
        id: own,
        app,
        queue: QueueId(int(row, 2)?),
        source: source_of(source).ok_or_else(|| odd("source", &source))?,
        origin: opt_int(row, 4)?,
        script: text(row, 5)?,
        principal: PrincipalId(int(row, 6)?),
        event: text(row, 7)?,
        retry: cache.parse(row.text(8)?)?,
        order: order.map(|(key, version)| OrderKey { key, version }),
        dedupe: opt_text(row, 11)?,
        available_at: Timestamp(int(row, 12)?),
        attempt: count(row, 13)?,
        orphaned: count(row, 14)?,
        depth: count(row, 15)?,
        root: opt_id(row, 16)?.unwrap_or(own),
        cause: opt_id(row, 17)?,
        reply_by: None,
        letter: opt_id(row, 18)?,
        replay_of: opt_id(row, 19)?,
        first: own,
        idempotency,
    })
}

pub(crate) fn stored_row(row: &Row, cache: &mut RetryCache) -> Result<StoredRow, sqlx::Error> {
    let (owner, token) = (opt_id(row, 23)?, opt_int(row, 24)?);
    Ok(StoredRow {
        row: OutboxRow {
            reply_by: opt_time(row, 21)?,
            ..common_row(row, cache)?.replaying(opt_id(row, 25)?)
        },
        failure: opt_parsed(row, 22)?,
        lease: owner.zip(token).map(|(owner, token)| Lease { owner, token }),
    })
}

pub(crate) fn letter_row(row: &Row, cache: &mut RetryCache) -> Result<LetterRow, sqlx::Error> {
    Ok(LetterRow {
        letter: DeadLetter {
            row: Arc::new(common_row(row, cache)?.replaying(opt_id(row, 32)?)),
            id: id(row, 21)?,
            failure: parsed(row, 22)?,
            attempts: count(row, 23)?,
            first_at: Timestamp(int(row, 24)?),
            last_at: Timestamp(int(row, 25)?),
            script_version: int(row, 26)?,
        },
        resolution: opt_text(row, 27)?,
        resolved_at: opt_time(row, 28)?,
        resolved_by: opt_id(row, 29)?,
        reason: opt_text(row, 30)?,
        handler_failure: opt_parsed(row, 31)?,
    })
}

//! What triggers of each kind have of their own: their details tables, written and read back.

use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::entry::ChangeOp;
use crate::ids::TriggerId;
use crate::schedule::{CatchUp, Mark};
use crate::store::rows::{self, int, json, odd, opt_int, opt_text, parsed, text};
use crate::store::sql;
use crate::time::Timestamp;
use crate::trigger::{Trigger, TriggerDetails};

/// Up to when a schedule had fired before a change of it, as far as that still counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    fired_until: Option<Timestamp>,
    last_fired: Option<Timestamp>,
}

/// What has to be kept over a change of a trigger. Read before its parent row is changed: a schedule that was disabled
/// or is another one now begins anew.
pub(crate) async fn kept(
    conn: &mut SqliteConnection,
    trigger: &Trigger,
) -> Result<Kept, sqlx::Error> {
    let TriggerDetails::Schedule { cron, time_zone, .. } = &trigger.details else {
        return Ok(Kept::default());
    };
    let query = sqlx::query(sql::SCHEDULE_KEPT).bind(trigger.id.0).bind(&**cron).bind(&**time_zone);
    let Some(row) = query.fetch_optional(conn).await? else { return Ok(Kept::default()) };
    Ok(Kept {
        fired_until: opt_int(&row, 0)?.map(Timestamp),
        last_fired: opt_int(&row, 1)?.map(Timestamp),
    })
}

/// Replaces the details of a trigger, whose parent row is there.
pub(crate) async fn put(
    conn: &mut SqliteConnection,
    trigger: &Trigger,
    kept: Kept,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    for statement in [
        sql::KV_DETAILS_DELETE,
        sql::DOCS_DETAILS_DELETE,
        sql::LETTER_DETAILS_DELETE,
        sql::SCHEDULE_DETAILS_DELETE,
    ] {
        sqlx::query(statement).bind(trigger.id.0).execute(&mut *conn).await?;
    }
    let ops = |ops: &[ChangeOp]| json(&ops.iter().map(|op| op.as_str()).collect::<Vec<_>>());
    let query = match &trigger.details {
        TriggerDetails::Kv { collection_glob, ops: wanted } => sqlx::query(sql::KV_DETAILS_PUT)
            .bind(trigger.id.0)
            .bind(&**collection_glob)
            .bind(ops(wanted)),
        TriggerDetails::Docs { collection_glob, ops: wanted } => sqlx::query(sql::DOCS_DETAILS_PUT)
            .bind(trigger.id.0)
            .bind(&**collection_glob)
            .bind(ops(wanted)),
        TriggerDetails::DeadLetter { source, trigger: name } => {
            sqlx::query(sql::LETTER_DETAILS_PUT)
                .bind(trigger.id.0)
                .bind(source.map(|source| source.as_str()))
                .bind(name.as_deref())
        }
        TriggerDetails::Schedule { cron, time_zone, catch_up } => {
            sqlx::query(sql::SCHEDULE_DETAILS_PUT)
                .bind(trigger.id.0)
                .bind(&**cron)
                .bind(&**time_zone)
                .bind(catch_up.as_str())
                .bind(kept.fired_until.unwrap_or(now).0)
                .bind(kept.last_fired.map(|at| at.0))
        }
    };
    query.execute(conn).await.map(drop)
}

/// The details in a row of the statement `triggers`.
pub(crate) fn read(row: &SqliteRow) -> Result<TriggerDetails, sqlx::Error> {
    let kind: &str = row.try_get(3)?;
    match kind {
        "kv" => Ok(TriggerDetails::Kv { collection_glob: text(row, 10)?, ops: ops(row)? }),
        "docs" => Ok(TriggerDetails::Docs { collection_glob: text(row, 10)?, ops: ops(row)? }),
        "dead_letter" => {
            let source = opt_text(row, 12)?;
            let known = source.as_deref().map(|source| {
                rows::source_of(source).ok_or_else(|| odd("source", &source.to_owned()))
            });
            Ok(TriggerDetails::DeadLetter {
                source: known.transpose()?,
                trigger: opt_text(row, 13)?,
            })
        }
        "schedule" => {
            let catch_up: Arc<str> = text(row, 16)?;
            let known = CatchUp::ALL.into_iter().find(|known| known.as_str() == &*catch_up);
            Ok(TriggerDetails::Schedule {
                cron: text(row, 14)?,
                time_zone: text(row, 15)?,
                catch_up: known.ok_or_else(|| odd("catch_up", &catch_up))?,
            })
        }
        other => Err(odd("kind", &other)),
    }
}

fn ops(row: &SqliteRow) -> Result<Vec<ChangeOp>, sqlx::Error> {
    let texts: Vec<String> = parsed(row, 11)?;
    let op = |text: &String| rows::change_op_of(text).ok_or_else(|| odd("ops", text));
    texts.iter().map(op).collect()
}

/// What schedules have fired for, as it is stored.
pub(crate) async fn marks(
    conn: &mut SqliteConnection,
) -> Result<Vec<(TriggerId, Mark)>, sqlx::Error> {
    let found = sqlx::query(sql::SCHEDULE_MARKS).fetch_all(conn).await?;
    let mark = |row: &SqliteRow| {
        let mark = Mark {
            fired_until: Timestamp(int(row, 1)?),
            last_fired: opt_int(row, 2)?.map(Timestamp),
        };
        Ok((TriggerId(int(row, 0)?), mark))
    };
    found.iter().map(mark).collect()
}

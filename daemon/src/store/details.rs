//! What triggers of each kind have of their own: their details tables, written and read back.

use std::sync::Arc;

use crate::entry::ChangeOp;
use crate::ids::TriggerId;
use crate::outbox::source::{TriggerDetails, TriggerKind};
use crate::schedule::{CatchUp, Mark};
use crate::store::engine::{self, Connection, Row};
use crate::store::rows::{self, int, json, odd, opt_int, opt_text, parsed, text};
use crate::store::sql::statements;
use crate::time::Timestamp;
use crate::trigger::Trigger;

statements! {
    TRIGGERS = "-- triggers
        SELECT t.id, t.app_id, t.name, t.kind, t.script, t.enabled, t.retry, t.ordering, t.concurrency,
            t.registered_by_principal, coalesce(k.collection_glob, d.collection_glob), coalesce(k.ops, d.ops),
            l.source, l.trigger_name, s.cron, s.time_zone, s.catch_up
        FROM triggers t
        LEFT JOIN kv_trigger_details k ON k.trigger_id = t.id
        LEFT JOIN docs_trigger_details d ON d.trigger_id = t.id
        LEFT JOIN dead_letter_trigger_details l ON l.trigger_id = t.id
        LEFT JOIN schedule_trigger_details s ON s.trigger_id = t.id
        ORDER BY t.id";
    SCHEDULE_MARKS = "-- schedule_marks
        SELECT trigger_id, fired_until, last_fired FROM schedule_trigger_details ORDER BY trigger_id";
    KV_DETAILS_DELETE = "-- kv_details_delete
        DELETE FROM kv_trigger_details WHERE trigger_id = $1";
    DOCS_DETAILS_DELETE = "-- docs_details_delete
        DELETE FROM docs_trigger_details WHERE trigger_id = $1";
    LETTER_DETAILS_DELETE = "-- letter_details_delete
        DELETE FROM dead_letter_trigger_details WHERE trigger_id = $1";
    SCHEDULE_DETAILS_DELETE = "-- schedule_details_delete
        DELETE FROM schedule_trigger_details WHERE trigger_id = $1";
    KV_DETAILS_PUT = "-- kv_details_put
        INSERT INTO kv_trigger_details (trigger_id, collection_glob, ops) VALUES ($1, $2, $3)";
    DOCS_DETAILS_PUT = "-- docs_details_put
        INSERT INTO docs_trigger_details (trigger_id, collection_glob, ops) VALUES ($1, $2, $3)";
    LETTER_DETAILS_PUT = "-- letter_details_put
        INSERT INTO dead_letter_trigger_details (trigger_id, source, trigger_name) VALUES ($1, $2, $3)";
    SCHEDULE_DETAILS_PUT = "-- schedule_details_put
        INSERT INTO schedule_trigger_details (trigger_id, cron, time_zone, catch_up, fired_until, last_fired)
        VALUES ($1, $2, $3, $4, $5, $6)";
    /// Up to when a schedule has fired, if it is enabled and the same; and for what it fired last in any case.
    SCHEDULE_KEPT = "-- schedule_kept
        SELECT CASE WHEN t.enabled = 1 AND s.cron = $2 AND s.time_zone = $3 THEN s.fired_until END, s.last_fired
        FROM schedule_trigger_details s JOIN triggers t ON t.id = s.trigger_id WHERE s.trigger_id = $1";
}

/// Up to when a schedule had fired before a change of it, as far as that still counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    fired_until: Option<Timestamp>,
    last_fired: Option<Timestamp>,
}

/// What has to be kept over a change of a trigger. Read before its parent row is changed: a schedule that was disabled
/// or is another one now begins anew.
pub(crate) async fn kept(conn: &mut Connection, trigger: &Trigger) -> Result<Kept, sqlx::Error> {
    let TriggerDetails::Schedule { cron, time_zone, .. } = &trigger.details else {
        return Ok(Kept::default());
    };
    let query = engine::query(SCHEDULE_KEPT).bind(trigger.id.0).bind(&**cron).bind(&**time_zone);
    let Some(row) = query.fetch_optional(conn).await? else { return Ok(Kept::default()) };
    Ok(Kept {
        fired_until: opt_int(&row, 0)?.map(Timestamp),
        last_fired: opt_int(&row, 1)?.map(Timestamp),
    })
}

/// Replaces the details of a trigger, whose parent row is there.
pub(crate) async fn put(
    conn: &mut Connection,
    trigger: &Trigger,
    kept: Kept,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    for statement in
        [KV_DETAILS_DELETE, DOCS_DETAILS_DELETE, LETTER_DETAILS_DELETE, SCHEDULE_DETAILS_DELETE]
    {
        engine::query(statement).bind(trigger.id.0).execute(&mut *conn).await?;
    }
    let ops = |ops: &[ChangeOp]| json(&ops.iter().map(|op| op.as_str()).collect::<Vec<_>>());
    let query = match &trigger.details {
        TriggerDetails::Kv { collection_glob, ops: wanted } => engine::query(KV_DETAILS_PUT)
            .bind(trigger.id.0)
            .bind(&**collection_glob)
            .bind(ops(wanted)),
        TriggerDetails::Docs { collection_glob, ops: wanted } => engine::query(DOCS_DETAILS_PUT)
            .bind(trigger.id.0)
            .bind(&**collection_glob)
            .bind(ops(wanted)),
        TriggerDetails::DeadLetter { source, trigger: name } => engine::query(LETTER_DETAILS_PUT)
            .bind(trigger.id.0)
            .bind(source.map(|source| source.as_str()))
            .bind(name.as_deref()),
        TriggerDetails::Schedule { cron, time_zone, catch_up } => {
            engine::query(SCHEDULE_DETAILS_PUT)
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
pub(crate) fn read(row: &Row) -> Result<TriggerDetails, sqlx::Error> {
    let word = row.text(3)?;
    let kind = TriggerKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    match kind.ok_or_else(|| odd("kind", &word))? {
        TriggerKind::Kv => {
            Ok(TriggerDetails::Kv { collection_glob: text(row, 10)?, ops: ops(row)? })
        }
        TriggerKind::Docs => {
            Ok(TriggerDetails::Docs { collection_glob: text(row, 10)?, ops: ops(row)? })
        }
        TriggerKind::DeadLetter => {
            let source = opt_text(row, 12)?;
            let known = source.as_deref().map(|source| {
                rows::source_of(source).ok_or_else(|| odd("source", &source.to_owned()))
            });
            Ok(TriggerDetails::DeadLetter {
                source: known.transpose()?,
                trigger: opt_text(row, 13)?,
            })
        }
        TriggerKind::Schedule => {
            let catch_up: Arc<str> = text(row, 16)?;
            let known = CatchUp::ALL.into_iter().find(|known| known.as_str() == &*catch_up);
            Ok(TriggerDetails::Schedule {
                cron: text(row, 14)?,
                time_zone: text(row, 15)?,
                catch_up: known.ok_or_else(|| odd("catch_up", &catch_up))?,
            })
        }
    }
}

fn ops(row: &Row) -> Result<Vec<ChangeOp>, sqlx::Error> {
    let texts: Vec<String> = parsed(row, 11)?;
    let op = |text: &String| rows::change_op_of(text).ok_or_else(|| odd("ops", text));
    texts.iter().map(op).collect()
}

/// What schedules have fired for, as it is stored.
pub(crate) async fn marks(conn: &mut Connection) -> Result<Vec<(TriggerId, Mark)>, sqlx::Error> {
    let found = engine::query(SCHEDULE_MARKS).fetch_all(conn).await?;
    let mark = |row: &Row| {
        let mark = Mark {
            fired_until: Timestamp(int(row, 1)?),
            last_fired: opt_int(row, 2)?.map(Timestamp),
        };
        Ok((TriggerId(int(row, 0)?), mark))
    };
    found.iter().map(mark).collect()
}

//! The columns that several statements have in common, in the order in which they are read.

/// The columns of an outbox row in the order in which `rows::stored_row` reads them.
macro_rules! outbox_columns {
    () => {
        "o.id, o.app_id, o.queue_id, o.source, o.origin, o.script, o.principal_id, o.event, o.retry, \
         o.order_key, o.order_version, o.dedupe, o.available_at, o.attempt, o.orphaned, o.depth, o.root_id, \
         o.cause_id, o.letter_id, o.replay_of, o.idempotency, o.reply_by, o.failure, o.lease_owner, o.lease_token, \
         o.first_id"
    };
}

/// The columns of a dead letter, its row first and in the same order. Lists put `''` in the place of the event: a page
/// of large ones would not fit into memory.
macro_rules! letter_columns {
    () => {
        letter_columns!("d.event")
    };
    ($event:literal) => {
        concat!("d.row_id, d.app_id, d.queue_id, d.source, d.origin, d.script, d.principal_id, ",
         $event,
         ", d.retry, \
         d.order_key, d.order_version, d.dedupe, d.available_at, d.attempt, d.orphaned, d.depth, d.root_id, \
         d.cause_id, d.letter_id, d.replay_of, d.idempotency, d.id, d.failure, d.attempts, d.first_at, d.last_at, \
         d.script_version, d.resolution, d.resolved_at, d.resolved_by, d.reason, d.handler_failure, d.first_id")
    };
}

/// What filters look at, in the order in which `lists::BriefRow` reads it; the rows follow.
macro_rules! outbox_brief {
    () => {
        concat!(
            packed!(
                "s.id, s.app_id, s.queue_id, s.source, s.origin, s.script, s.order_key, s.available_at, s.attempt,
            s.root_id, s.cause_id, s.replay_of, s.claimed, s.failure, s.depth, s.max_attempts"
            ),
            "
        FROM (SELECT p.id, p.app_id, p.queue_id, p.source, p.origin, p.script, p.order_key, p.available_at,
            p.attempt, p.root_id, p.cause_id, p.replay_of,
            CASE WHEN p.lease_token IS NULL THEN 0 ELSE 1 END AS claimed, p.failure, p.depth,
            CAST(jsonb(p.retry) ->> 'max_attempts' AS BIGINT) AS max_attempts"
        )
    };
}

/// The same of dead letters, for `lists::BriefLetter`.
macro_rules! letter_brief {
    () => {
        concat!(
            packed!(
                "s.id, s.app_id, s.source, s.origin, s.script, s.order_key, s.script_version, s.message, s.kind,
            s.attempts, s.first_at, s.last_at, s.root_id, s.resolution, s.resolved_by, s.bytes"
            ),
            "
        FROM (SELECT p.id, p.app_id, p.source, p.origin, p.script, p.order_key, p.script_version,
            jsonb(p.failure) ->> 'message' AS message, jsonb(p.failure) ->> 'kind' AS kind, p.attempts, p.first_at,
            p.last_at, p.root_id, p.resolution, p.resolved_by, octet_length(p.event) AS bytes"
        )
    };
}

/// An abandoned execution without its event.
macro_rules! abandoned_columns {
    () => {
        "a.id, a.app_id, a.source, a.origin, a.script, a.depth, a.root_id, a.cause_id, a.reason, a.at"
    };
}

//! Every statement of the store, by name, so that all can be prepared and their plans be read by a test. Those about the
//! details of triggers stand in `store/details.rs`, beside what they bind and what reads their columns.
//!
//! One text for SQLite and PostgreSQL alike. What that takes:
//!
//! - `$N` parameters, `RETURNING`, `ON CONFLICT`, times as parameters. A parameter that stands where it could be anything
//!   says its type, and sums and lengths are cast to `BIGINT`: PostgreSQL would make other numbers of them.
//! - Bulk statements take their rows as one JSON parameter, an array of arrays, which `jsonb_each($1)` opens: SQLite's own
//!   function, on PostgreSQL one of the schema's. Of an array's elements `key` is the place, `value ->> N` a field, which is
//!   a text on PostgreSQL and therefore cast, and `atom` an element that is no array.
//! - Those of a batch give theirs back as one JSON text, since each row that a connection hands over costs more than the
//!   rest of the query. Only here the engines have no word in common: `packed!` and `listed!` put in the one or the other.
//! - What is only about SQLite's file stands where it is done, in `upkeep.rs` and `backup.rs`.

#[macro_use]
mod columns;

/// Declares the statements as constants, and the list of all of them. Each text is made twice, with the words of one engine
/// and of the other: `packed!` makes rows one JSON text, an array of arrays, `listed!` values, an array.
macro_rules! statements {
    ($($(#[doc = $doc:literal])* $name:ident = $sql:expr;)*) => {
        #[allow(unused_macros, reason = "not every file packs rows")]
        mod on_sqlite {
            macro_rules! packed {
                ($columns:expr) => { concat!("json_group_array(json_array(", $columns, "))") };
            }
            macro_rules! listed {
                ($value:expr) => { concat!("json_group_array(", $value, ")") };
            }
            $(pub(super) const $name: &str = $sql;)*
        }

        // Its own `JSON_ARRAY` leaves nulls out, and no function of a schema may have that name.
        #[cfg(test)]
        #[allow(unused_macros, reason = "not every file packs rows")]
        mod on_postgres {
            macro_rules! packed {
                ($columns:expr) => {
                    concat!("coalesce(json_agg(json_build_array(", $columns, ")), '[]')::text")
                };
            }
            macro_rules! listed {
                ($value:expr) => { concat!("coalesce(json_agg(", $value, "), '[]')::text") };
            }
            $(pub(super) const $name: &str = $sql;)*
        }

        $($(#[doc = $doc])* pub(crate) const $name: &str = on_sqlite::$name;)*

        /// Every statement of this file, SQLite's text and PostgreSQL's, for the tests that prepare and explain each.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str)] = &[$((on_sqlite::$name, on_postgres::$name)),*];
    };
}
pub(super) use statements;

statements! {
    // The facts of a batch. Each result says by its first column which element of the parameter it answers.

    FACTS_ENTRIES = concat!("-- facts_entries
        SELECT ", packed!("k.key, e.version, e.value, e.expires_at, e.written_by"), "
        FROM jsonb_each($1) k CROSS JOIN entries e
        WHERE e.app_id = CAST(k.value ->> 0 AS BIGINT) AND e.space = k.value ->> 1
          AND e.collection = k.value ->> 2 AND e.key = k.value ->> 3");
    FACTS_LEASES = concat!("-- facts_leases
        SELECT ", packed!("k.key, o.lease_owner, o.lease_token"), "
        FROM jsonb_each($1) k CROSS JOIN outbox o
        WHERE o.id = k.atom AND o.lease_token IS NOT NULL");
    FACTS_DEDUPE = "-- facts_dedupe
        SELECT k.key FROM jsonb_each($1) k
        WHERE EXISTS (
            SELECT 1 FROM outbox o
            WHERE o.app_id = CAST(k.value ->> 0 AS BIGINT) AND o.dedupe = k.value ->> 1 AND o.dedupe IS NOT NULL
              AND o.lease_token IS NULL AND o.attempt = 0 AND o.orphaned = 0)";
    FACTS_REQUESTS = "-- facts_requests
        SELECT k.key, r.body_hash, r.result, r.execution_id, r.accepted_at
        FROM jsonb_each($1) k CROSS JOIN requests r
        WHERE r.app_id = CAST(k.value ->> 0 AS BIGINT) AND r.route_id = CAST(k.value ->> 1 AS BIGINT)
          AND r.principal_id = CAST(k.value ->> 2 AS BIGINT) AND r.key = k.value ->> 3 AND r.kept_until > $2";
    /// The first `$2` rows of each line, or more where versions are equal: those up to the version of the last of them.
    FACTS_LINES = "-- facts_lines
        WITH lines (place, queue, line, version) AS MATERIALIZED (
            SELECT k.key, CAST(k.value ->> 0 AS BIGINT), k.value ->> 1, coalesce((
                SELECT l.order_version FROM outbox l
                WHERE l.queue_id = CAST(k.value ->> 0 AS BIGINT) AND l.order_key = k.value ->> 1
                  AND l.order_key IS NOT NULL
                ORDER BY l.order_version LIMIT 1 OFFSET CAST($2 AS BIGINT) - 1), 9223372036854775807)
            FROM jsonb_each($1) k)
        SELECT b.place, o.id, o.available_at FROM lines b CROSS JOIN outbox o
        WHERE o.queue_id = b.queue AND o.order_key = b.line AND o.order_key IS NOT NULL
          AND o.order_version <= b.version
        ORDER BY b.place, o.order_version";
    FACTS_WAITING = concat!("-- facts_waiting
        SELECT ", outbox_columns!(), " FROM jsonb_each($1) k CROSS JOIN outbox o WHERE o.id = k.atom");
    FACTS_LETTERS = concat!("-- facts_letters
        SELECT ", letter_columns!(), ",
            (SELECT count(*) FROM (SELECT 1 FROM dead_letters r
                WHERE r.root_id = d.root_id AND r.resolution = 'replayed' LIMIT $2) replays)
        FROM jsonb_each($1) k CROSS JOIN dead_letters d
        WHERE d.id = k.atom");

    // What a batch writes.

    ENTRIES_PUT = "-- entries_put
        INSERT INTO entries (app_id, space, collection, key, value, version, expires_at, written_by)
        SELECT CAST(value ->> 0 AS BIGINT), value ->> 1, value ->> 2, value ->> 3, value ->> 4,
            CAST(value ->> 5 AS BIGINT), CAST(value ->> 6 AS BIGINT), value ->> 7
        FROM jsonb_each($1) WHERE true
        ON CONFLICT (app_id, space, collection, key) DO UPDATE SET value = excluded.value,
            version = excluded.version, expires_at = excluded.expires_at, written_by = excluded.written_by";
    ENTRIES_DELETE = "-- entries_delete
        DELETE FROM entries WHERE (app_id, space, collection, key) IN (
            SELECT CAST(value ->> 0 AS BIGINT), value ->> 1, value ->> 2, value ->> 3 FROM jsonb_each($1))";
    OUTBOX_INSERT = "-- outbox_insert
        INSERT INTO outbox (id, app_id, queue_id, source, origin, script, principal_id, event, retry,
            order_key, order_version, dedupe, available_at, attempt, orphaned, depth, root_id,
            cause_id, letter_id, replay_of, idempotency, reply_by, bytes, lease_owner, lease_token,
            first_id)
        SELECT value ->> 0, CAST(value ->> 1 AS BIGINT), CAST(value ->> 2 AS BIGINT), value ->> 3,
            CAST(value ->> 4 AS BIGINT), value ->> 5, CAST(value ->> 6 AS BIGINT), value ->> 7, value ->> 8,
            value ->> 9, CAST(value ->> 10 AS BIGINT), value ->> 11, CAST(value ->> 12 AS BIGINT),
            CAST(value ->> 13 AS BIGINT), CAST(value ->> 14 AS BIGINT), CAST(value ->> 15 AS BIGINT), value ->> 16,
            value ->> 17, value ->> 18, value ->> 19, value ->> 20, CAST(value ->> 21 AS BIGINT),
            CAST(value ->> 22 AS BIGINT), value ->> 23, CAST(value ->> 24 AS BIGINT), value ->> 25
        FROM jsonb_each($1)";
    OUTBOX_UPDATE = "-- outbox_update
        UPDATE outbox SET available_at = CAST(j.value ->> 1 AS BIGINT), attempt = CAST(j.value ->> 2 AS BIGINT),
            orphaned = CAST(j.value ->> 3 AS BIGINT), lease_owner = j.value ->> 4,
            lease_token = CAST(j.value ->> 5 AS BIGINT), failure = coalesce(j.value ->> 6, failure)
        FROM jsonb_each($1) j WHERE outbox.id = j.value ->> 0";
    /// The rows of one owner: only their tokens differ.
    OUTBOX_CLAIM = "-- outbox_claim
        UPDATE outbox SET lease_owner = $2, lease_token = CAST(j.value ->> 1 AS BIGINT)
        FROM jsonb_each($1) j WHERE outbox.id = j.value ->> 0 AND outbox.lease_token IS NULL";
    OUTBOX_DELETE = "-- outbox_delete
        DELETE FROM outbox WHERE id IN (SELECT atom FROM jsonb_each($1))";
    LETTERS_INSERT = "-- letters_insert
        INSERT INTO dead_letters (row_id, app_id, queue_id, source, origin, script, principal_id, event, retry,
            order_key, order_version, dedupe, available_at, attempt, orphaned, depth, root_id,
            cause_id, letter_id, replay_of, idempotency, id, failure, attempts, first_at, last_at, script_version,
            first_id)
        SELECT value ->> 0, CAST(value ->> 1 AS BIGINT), CAST(value ->> 2 AS BIGINT), value ->> 3,
            CAST(value ->> 4 AS BIGINT), value ->> 5, CAST(value ->> 6 AS BIGINT), value ->> 7, value ->> 8,
            value ->> 9, CAST(value ->> 10 AS BIGINT), value ->> 11, CAST(value ->> 12 AS BIGINT),
            CAST(value ->> 13 AS BIGINT), CAST(value ->> 14 AS BIGINT), CAST(value ->> 15 AS BIGINT), value ->> 16,
            value ->> 17, value ->> 18, value ->> 19, value ->> 20, value ->> 21, value ->> 22,
            CAST(value ->> 23 AS BIGINT), CAST(value ->> 24 AS BIGINT), CAST(value ->> 25 AS BIGINT),
            CAST(value ->> 26 AS BIGINT), value ->> 27
        FROM jsonb_each($1)";
    /// Replayed or discarded. Exactly the open ones.
    LETTERS_RESOLVE = "-- letters_resolve
        UPDATE dead_letters SET resolution = j.value ->> 1, resolved_at = CAST(j.value ->> 2 AS BIGINT),
            resolved_by = j.value ->> 3, reason = j.value ->> 4
        FROM jsonb_each($1) j WHERE dead_letters.id = j.value ->> 0 AND dead_letters.resolved_at IS NULL";
    /// Exactly resolved ones.
    LETTERS_REOPEN = "-- letters_reopen
        UPDATE dead_letters SET resolution = CASE WHEN handler_failure IS NOT NULL THEN 'handler_failed' END,
            resolved_at = NULL, resolved_by = NULL, reason = NULL
        WHERE id IN (SELECT atom FROM jsonb_each($1)) AND resolved_at IS NOT NULL";
    /// The letter may have been resolved or swept meanwhile: then there is nothing to mark.
    LETTERS_HANDLER_FAILED = "-- letters_handler_failed
        UPDATE dead_letters SET resolution = 'handler_failed', handler_failure = j.value ->> 1
        FROM jsonb_each($1) j WHERE dead_letters.id = j.value ->> 0 AND dead_letters.resolved_at IS NULL";
    ABANDONED_INSERT = "-- abandoned_insert
        INSERT INTO abandoned_executions (id, app_id, queue_id, source, origin, script, principal_id, event,
            depth, root_id, cause_id, reason, at)
        SELECT value ->> 0, CAST(value ->> 1 AS BIGINT), CAST(value ->> 2 AS BIGINT), value ->> 3,
            CAST(value ->> 4 AS BIGINT), value ->> 5, CAST(value ->> 6 AS BIGINT), value ->> 7,
            CAST(value ->> 8 AS BIGINT), value ->> 9, value ->> 10, value ->> 11, CAST(value ->> 12 AS BIGINT)
        FROM jsonb_each($1)";
    REQUESTS_PUT = "-- requests_put
        INSERT INTO requests (app_id, route_id, principal_id, key, body_hash, result, execution_id, accepted_at,
            kept_until, bytes)
        SELECT CAST(value ->> 0 AS BIGINT), CAST(value ->> 1 AS BIGINT), CAST(value ->> 2 AS BIGINT), value ->> 3,
            value ->> 4, value ->> 5, value ->> 6, CAST(value ->> 7 AS BIGINT), CAST(value ->> 8 AS BIGINT),
            CAST(value ->> 9 AS BIGINT)
        FROM jsonb_each($1) WHERE true
        ON CONFLICT (app_id, route_id, principal_id, key) DO UPDATE SET body_hash = excluded.body_hash,
            result = excluded.result, execution_id = excluded.execution_id, accepted_at = excluded.accepted_at,
            kept_until = excluded.kept_until, bytes = excluded.bytes";
    PAUSES_BY_DAEMON = "-- pauses_by_daemon
        INSERT INTO pauses (target, reason, since)
        SELECT CAST(value ->> 0 AS BIGINT), value ->> 1, CAST($2 AS BIGINT)
        FROM jsonb_each($1) WHERE true ON CONFLICT (target) DO NOTHING";
    SCHEDULES_FIRED = "-- schedules_fired
        UPDATE schedule_trigger_details
        SET fired_until = CAST(j.value ->> 1 AS BIGINT), last_fired = CAST(j.value ->> 1 AS BIGINT)
        FROM jsonb_each($1) j WHERE schedule_trigger_details.trigger_id = CAST(j.value ->> 0 AS BIGINT)";
    /// The pending rows of a queue that wait for a time after `$3` wait for a later or an earlier one.
    OUTBOX_SHIFT = "-- outbox_shift
        UPDATE outbox SET available_at = available_at + $2
        WHERE queue_id = $1 AND lease_token IS NULL AND available_at > $3 AND available_at < $4";
    /// The retries of a queue that wait for longer than any policy lets one wait, jitter included.
    OUTBOX_TOO_FAR = "-- outbox_too_far
        UPDATE outbox SET available_at = $2
        WHERE queue_id = $1 AND lease_token IS NULL AND available_at > $2 AND available_at < $3 AND attempt > 0
          AND available_at - $2 > 2 * CAST(jsonb(retry) ->> 'max_delay_ms' AS BIGINT)";
    COUNTER_RAISE = "-- counter_raise
        UPDATE meta SET counter_ceiling = $1";

    // The backlog.

    BACKLOG_DUE = concat!("-- backlog_due
        SELECT ", packed!(outbox_columns!()), " FROM (
            SELECT * FROM outbox p WHERE p.queue_id = $1 AND p.lease_token IS NULL AND p.available_at <= $2
            ORDER BY p.available_at LIMIT $3) o");
    /// How much of the backlog fits is known before its events are read; the first row always does.
    BACKLOG_FITTING = "-- backlog_fitting
        SELECT count(*) FROM (
            SELECT sum(q.bytes) OVER (ORDER BY q.available_at, q.place ROWS UNBOUNDED PRECEDING) AS up_to, q.place
            FROM (
                SELECT p.bytes, p.available_at, row_number() OVER (ORDER BY p.available_at) AS place
                FROM outbox p
                WHERE p.queue_id = $1 AND p.lease_token IS NULL AND p.available_at <= $2
                ORDER BY p.available_at LIMIT $3) q) r
        WHERE r.up_to <= CAST($4 AS BIGINT) OR r.place = 1";
    BACKLOG_NEXT = "-- backlog_next
        SELECT o.available_at FROM outbox o
        WHERE o.queue_id = $1 AND o.lease_token IS NULL ORDER BY o.available_at LIMIT 1";
    /// The queues that have pending rows: one search for each, whatever the catalog says.
    BACKLOG_QUEUES = "-- backlog_queues
        WITH RECURSIVE queues (id) AS (
            SELECT min(queue_id) FROM outbox WHERE lease_token IS NULL
            UNION ALL
            SELECT (SELECT min(o.queue_id) FROM outbox o WHERE o.lease_token IS NULL AND o.queue_id > queues.id)
            FROM queues WHERE queues.id IS NOT NULL)
        SELECT queues.id,
            (SELECT o.app_id FROM outbox o
             WHERE o.queue_id = queues.id AND o.lease_token IS NULL ORDER BY o.available_at LIMIT 1),
            (SELECT min(o.available_at) FROM outbox o WHERE o.queue_id = queues.id AND o.lease_token IS NULL)
        FROM queues WHERE queues.id IS NOT NULL";
    /// How many rows of each queue are due, later, of those after an attempt, behind another; each up to a limit.
    QUEUES_STANDING = "-- queues_standing
        WITH RECURSIVE queues (id) AS (
            SELECT min(queue_id) FROM outbox WHERE lease_token IS NULL
            UNION ALL
            SELECT (SELECT min(o.queue_id) FROM outbox o WHERE o.lease_token IS NULL AND o.queue_id > queues.id)
            FROM queues WHERE queues.id IS NOT NULL)
        SELECT queues.id,
            (SELECT o.app_id FROM outbox o
             WHERE o.queue_id = queues.id AND o.lease_token IS NULL ORDER BY o.available_at LIMIT 1),
            (SELECT count(*) FROM (SELECT 1 FROM outbox o
             WHERE o.queue_id = queues.id AND o.lease_token IS NULL AND o.available_at <= $1 LIMIT $3) due),
            (SELECT min(o.available_at) FROM outbox o WHERE o.queue_id = queues.id AND o.lease_token IS NULL),
            (SELECT count(*) FROM (SELECT 1 FROM outbox o
             WHERE o.queue_id = queues.id AND o.lease_token IS NULL
                AND o.available_at > $1 AND o.available_at < $2 LIMIT $3) later),
            (SELECT count(*) FILTER (WHERE w.attempt > 0) FROM (SELECT o.attempt FROM outbox o
             WHERE o.queue_id = queues.id AND o.lease_token IS NULL
                AND o.available_at > $1 AND o.available_at < $2 LIMIT $3) w),
            (SELECT count(*) FROM (SELECT 1 FROM outbox o
             WHERE o.queue_id = queues.id AND o.lease_token IS NULL AND o.available_at >= $2 LIMIT $3) behind)
        FROM queues WHERE queues.id IS NOT NULL LIMIT $4";
    USAGE_PENDING = "-- usage_pending
        SELECT count(*), CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM outbox WHERE queue_id = $1 AND lease_token IS NULL";
    USAGE_CLAIMED = "-- usage_claimed
        SELECT app_id, count(*), CAST(sum(bytes) AS BIGINT) FROM outbox
        WHERE lease_token > -9223372036854775807 GROUP BY app_id";
    USAGE_DELAYED = "-- usage_delayed
        SELECT count(*) FROM outbox WHERE app_id = $1 AND depth = 0 AND cause_id IS NOT NULL";
    LETTERS_OPEN = "-- letters_open
        WITH RECURSIVE queues (id) AS (
            SELECT min(queue_id) FROM dead_letters WHERE resolved_at IS NULL
            UNION ALL
            SELECT (SELECT min(d.queue_id) FROM dead_letters d
                    WHERE d.resolved_at IS NULL AND d.queue_id > queues.id)
            FROM queues WHERE queues.id IS NOT NULL)
        SELECT queues.id,
            (SELECT count(*) FROM dead_letters d WHERE d.queue_id = queues.id AND d.resolved_at IS NULL)
        FROM queues WHERE queues.id IS NOT NULL";
    ORPHANS = concat!("-- orphans
        SELECT ", outbox_columns!(), " FROM outbox o
        WHERE o.lease_token > -9223372036854775807 AND o.lease_owner <> $1 ORDER BY o.lease_token LIMIT $2");

    // What is kept only for a while.

    SWEEP_ENTRIES = "-- sweep_entries
        DELETE FROM entries WHERE (app_id, space, collection, key) IN (
            SELECT app_id, space, collection, key FROM entries WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
    SWEEP_REQUESTS = "-- sweep_requests
        DELETE FROM requests WHERE (app_id, route_id, principal_id, key) IN (
            SELECT app_id, route_id, principal_id, key FROM requests
            WHERE kept_until <= $1 ORDER BY kept_until LIMIT $2)";
    SWEEP_REQUESTS_BYTES = "-- sweep_requests_bytes
        SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM requests WHERE app_id = $1";
    SWEEP_REQUESTS_APP = "-- sweep_requests_app
        DELETE FROM requests WHERE (app_id, route_id, principal_id, key) IN (
            SELECT app_id, route_id, principal_id, key FROM requests
            WHERE app_id = $1 ORDER BY kept_until LIMIT $2)";
    SWEEP_LETTERS_OLD = "-- sweep_letters_old
        DELETE FROM dead_letters WHERE id IN (
            SELECT id FROM dead_letters WHERE app_id = $1 AND resolved_at < $2 ORDER BY resolved_at LIMIT $3)";
    /// A letter whose replay still waits is kept: it may be taken back.
    SWEEP_LETTERS_MANY = "-- sweep_letters_many
        DELETE FROM dead_letters WHERE id IN (
            SELECT d.id FROM dead_letters d WHERE d.app_id = $1 AND d.resolved_at IS NOT NULL
              AND (d.resolved_by IS NULL OR NOT EXISTS (SELECT 1 FROM outbox o WHERE o.id = d.resolved_by))
            ORDER BY d.resolved_at DESC LIMIT $3 OFFSET $2)";
    SWEEP_ABANDONED = "-- sweep_abandoned
        DELETE FROM abandoned_executions WHERE id IN (
            SELECT id FROM abandoned_executions WHERE app_id = $1 ORDER BY id DESC LIMIT $3 OFFSET $2)";
    SWEEP_AUDIT = "-- sweep_audit
        DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - $1";
    SWEEP_SCRIPT_VERSIONS = "-- sweep_script_versions
        DELETE FROM script_versions WHERE script_id = $1 AND version <= (
            SELECT v.version FROM script_versions v WHERE v.script_id = $1
            ORDER BY v.version DESC LIMIT 1 OFFSET $2)";

    // Deleted apps.

    /// With the queues in which rows of the app wait: one search for each queue that has any.
    DELETED_APP_PUT = concat!("-- deleted_app_put
        WITH RECURSIVE queues (id) AS (
            SELECT min(queue_id) FROM outbox WHERE lease_token IS NULL
            UNION ALL
            SELECT (SELECT min(o.queue_id) FROM outbox o WHERE o.lease_token IS NULL AND o.queue_id > queues.id)
            FROM queues WHERE queues.id IS NOT NULL)
        INSERT INTO deleted_apps (id, slug, deleted_at, by_principal, queues)
        SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), ", listed!("queues.id"), "
        FROM queues WHERE queues.id IS NOT NULL AND $1 = (
            SELECT o.app_id FROM outbox o
            WHERE o.queue_id = queues.id AND o.lease_token IS NULL ORDER BY o.available_at LIMIT 1)");
    DELETED_IDS = "-- deleted_ids
        SELECT id FROM deleted_apps";
    /// Those that are not empty yet.
    DELETED_APPS = "-- deleted_apps
        SELECT id, slug, by_principal, queues, rows_abandoned, rows_kept, entries, letters FROM deleted_apps
        WHERE emptied_at IS NULL ORDER BY deleted_at, id";
    DELETED_APP_STEP = "-- deleted_app_step
        UPDATE deleted_apps SET queues = $2, rows_abandoned = $3, rows_kept = $4, entries = $5, letters = $6,
            emptied_at = $7 WHERE id = $1";
    PURGE_PICK = concat!("-- purge_pick
        SELECT ", listed!("p.id"), ", CAST(coalesce(sum(p.bytes), 0) AS BIGINT) FROM (
            SELECT o.id, o.bytes FROM outbox o WHERE o.queue_id = $1 AND o.lease_token IS NULL LIMIT $2) p");
    PURGE_ABANDON = "-- purge_abandon
        INSERT INTO abandoned_executions (id, app_id, queue_id, source, origin, script, principal_id, event,
            depth, root_id, cause_id, reason, at)
        SELECT o.id, o.app_id, o.queue_id, o.source, o.origin, o.script, o.principal_id,
            CASE WHEN CAST(octet_length(o.event) AS BIGINT) <= $4 THEN o.event END, o.depth, coalesce(o.root_id, o.id),
            o.cause_id, CAST($2 AS TEXT), CAST($3 AS BIGINT)
        FROM jsonb_each($1) k CROSS JOIN outbox o WHERE o.id = k.atom LIMIT $5";
    PURGE_ENTRIES = "-- purge_entries
        DELETE FROM entries WHERE (app_id, space, collection, key) IN (
            SELECT app_id, space, collection, key FROM entries WHERE app_id = $1 LIMIT $2)";
    PURGE_LETTERS_OPEN = "-- purge_letters_open
        DELETE FROM dead_letters WHERE id IN (
            SELECT id FROM dead_letters WHERE app_id = $1 AND resolved_at IS NULL LIMIT $2) RETURNING queue_id";
    PURGE_LETTERS = "-- purge_letters
        DELETE FROM dead_letters WHERE id IN (
            SELECT id FROM dead_letters WHERE app_id = $1 AND resolved_at IS NOT NULL LIMIT $2)";
    /// What deleted apps have abandoned is kept for a while, and they with it.
    SWEEP_DELETED_ABANDONED = "-- sweep_deleted_abandoned
        DELETE FROM abandoned_executions WHERE id IN (
            SELECT a.id FROM deleted_apps d CROSS JOIN abandoned_executions a
            WHERE d.emptied_at < $1 AND a.app_id = d.id LIMIT $2)";
    SWEEP_DELETED_APPS = "-- sweep_deleted_apps
        DELETE FROM deleted_apps WHERE emptied_at < $1
          AND NOT EXISTS (SELECT 1 FROM abandoned_executions a WHERE a.app_id = deleted_apps.id)";

    // The file itself.

    META = "-- meta
        SELECT counter_ceiling, clean, migrated_from, migrated_at FROM meta";
    NEWEST = "-- newest
        SELECT (SELECT max(o.id) FROM outbox o), (SELECT max(d.id) FROM dead_letters d),
            (SELECT max(a.id) FROM abandoned_executions a),
            (SELECT max(fired_until) FROM schedule_trigger_details),
            (SELECT at FROM audit WHERE id = (SELECT max(id) FROM audit))";
    META_START = "-- meta_start
        UPDATE meta SET clean = 0";
    META_STOP = "-- meta_stop
        UPDATE meta SET clean = 1";

    // The catalog.

    APPS = "-- apps
        SELECT id, slug, host, allow_hosts, expose_errors, revision, access FROM apps ORDER BY id";
    SCRIPTS = "-- scripts
        SELECT id, app_id, name, version, source, limits FROM scripts ORDER BY id";
    ROUTES = "-- routes
        SELECT id, app_id, method, path, script, dispatch_mode, retry, principal_id, access FROM routes ORDER BY id";
    PRINCIPALS = "-- principals
        SELECT id, name, uid FROM principals ORDER BY id";
    GRANTS = "-- grants
        SELECT principal_id, capability, app_id FROM grants ORDER BY principal_id, capability, app_id";
    SECRETS = "-- secrets
        SELECT app_id, name, set_at, set_by FROM secrets ORDER BY app_id, name";
    TOKENS = "-- tokens
        SELECT id, name, hash, principal_id, created_at, expires_at, revoked_at FROM tokens ORDER BY id";
    PAUSES = "-- pauses
        SELECT target, reason, since, by_principal FROM pauses ORDER BY target";
    /// `$6` is the revision that the change was made for; a row that has another one is left alone.
    APP_PUT = "-- app_put
        INSERT INTO apps (id, slug, host, allow_hosts, expose_errors, revision, access)
        VALUES ($1, $2, $3, $4, $5, CAST($6 AS BIGINT) + 1, $7)
        ON CONFLICT (id) DO UPDATE SET slug = excluded.slug, host = excluded.host,
            allow_hosts = excluded.allow_hosts, expose_errors = excluded.expose_errors, revision = excluded.revision,
            access = excluded.access
        WHERE apps.revision = $6";
    APP_DELETE = "-- app_delete
        DELETE FROM apps WHERE id = $1";
    SCRIPT_PUT = "-- script_put
        INSERT INTO scripts (id, app_id, name, version, source, limits) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version,
            source = excluded.source, limits = excluded.limits";
    SCRIPT_VERSION_PUT = "-- script_version_put
        INSERT INTO script_versions (script_id, version, source, limits, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (script_id, version) DO NOTHING";
    SCRIPT_DELETE = "-- script_delete
        DELETE FROM scripts WHERE id = $1";
    ROUTE_PUT = "-- route_put
        INSERT INTO routes (id, app_id, method, path, script, dispatch_mode, retry, principal_id, access)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (id) DO UPDATE SET method = excluded.method, path = excluded.path, script = excluded.script,
            dispatch_mode = excluded.dispatch_mode, retry = excluded.retry, principal_id = excluded.principal_id,
            access = excluded.access";
    ROUTE_DELETE = "-- route_delete
        DELETE FROM routes WHERE id = $1";
    TRIGGER_PUT = "-- trigger_put
        INSERT INTO triggers (id, app_id, name, kind, script, enabled, retry, ordering, concurrency,
            registered_by_principal)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, kind = excluded.kind, script = excluded.script,
            enabled = excluded.enabled, retry = excluded.retry, ordering = excluded.ordering,
            concurrency = excluded.concurrency, registered_by_principal = excluded.registered_by_principal";
    TRIGGER_DELETE = "-- trigger_delete
        DELETE FROM triggers WHERE id = $1";
    /// The clock was set: schedules that fired for times after `$2` go on from `$1`.
    SCHEDULES_GO_ON = "-- schedules_go_on
        UPDATE schedule_trigger_details SET fired_until = $1 WHERE fired_until > $2";
    PRINCIPAL_PUT = "-- principal_put
        INSERT INTO principals (id, name, uid) VALUES ($1, $2, $3)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, uid = excluded.uid";
    PRINCIPAL_DELETE = "-- principal_delete
        DELETE FROM principals WHERE id = $1";
    /// Of a token only its end ever changes.
    TOKEN_PUT = "-- token_put
        INSERT INTO tokens (id, name, hash, principal_id, created_at, expires_at, revoked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (id) DO UPDATE SET revoked_at = excluded.revoked_at";
    TOKEN_DELETE = "-- token_delete
        DELETE FROM tokens WHERE id = $1";
    GRANTS_DELETE = "-- grants_delete
        DELETE FROM grants WHERE principal_id = $1";
    GRANTS_OF_APP_DELETE = "-- grants_of_app_delete
        DELETE FROM grants WHERE app_id = $1";
    GRANT_PUT = "-- grant_put
        INSERT INTO grants (principal_id, capability, app_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    SECRET_PUT = "-- secret_put
        INSERT INTO secrets (app_id, name, sealed, set_at, set_by) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (app_id, name) DO UPDATE SET sealed = excluded.sealed, set_at = excluded.set_at,
            set_by = excluded.set_by";
    SECRET_DELETE = "-- secret_delete
        DELETE FROM secrets WHERE app_id = $1 AND name = $2";
    PAUSE_PUT = "-- pause_put
        INSERT INTO pauses (target, reason, since, by_principal) VALUES ($1, $2, $3, $4)
        ON CONFLICT (target) DO UPDATE SET reason = excluded.reason, since = excluded.since,
            by_principal = excluded.by_principal";
    PAUSE_DELETE = "-- pause_delete
        DELETE FROM pauses WHERE target = $1";
    AUDIT_INSERT = "-- audit_insert
        INSERT INTO audit (at, principal_id, action, object, detail, principal)
        VALUES ($1, $2, $3, $4, $5, (SELECT p.name FROM principals p WHERE p.id = $2))";

    // Reads of scripts and of the admin edge.

    ENTRY = "-- entry
        SELECT e.version, e.value, e.expires_at, e.written_by FROM entries e
        WHERE e.app_id = $1 AND e.space = $2 AND e.collection = $3 AND e.key = $4";
    /// From `$4` on, which is included. `$5` is now.
    ENTRIES_PAGE = "-- entries_page
        SELECT e.key, e.version, e.value, e.expires_at, e.written_by FROM entries e
        WHERE e.app_id = $1 AND e.space = $2 AND e.collection = $3 AND e.key >= $4
          AND (e.expires_at IS NULL OR e.expires_at > $5)
        ORDER BY e.key LIMIT $6";
    /// A search for each name: it does not matter how much a collection holds.
    COLLECTIONS_PAGE = "-- collections_page
        WITH RECURSIVE names (name) AS (
            SELECT (SELECT min(e.collection) FROM entries e
                    WHERE e.app_id = $1 AND e.space = $2 AND e.collection > $3)
            UNION ALL
            SELECT (SELECT min(e.collection) FROM entries e
                    WHERE e.app_id = $1 AND e.space = $2 AND e.collection > names.name)
            FROM names WHERE names.name IS NOT NULL)
        SELECT names.name FROM names WHERE names.name IS NOT NULL LIMIT $4";
    VERSIONS = "-- versions
        SELECT k.key, e.version, e.expires_at
        FROM jsonb_each($1) k CROSS JOIN entries e
        WHERE e.app_id = CAST(k.value ->> 0 AS BIGINT) AND e.space = k.value ->> 1
          AND e.collection = k.value ->> 2 AND e.key = k.value ->> 3";
    REQUEST = "-- request
        SELECT r.body_hash, r.result, r.execution_id, r.accepted_at FROM requests r
        WHERE r.app_id = $1 AND r.route_id = $2 AND r.principal_id = $3 AND r.key = $4 AND r.kept_until > $5";
    SECRET = "-- secret
        SELECT s.sealed FROM secrets s WHERE s.app_id = $1 AND s.name = $2";
    SECRETS_SEALED = "-- secrets_sealed
        SELECT s.name, s.sealed FROM secrets s WHERE s.app_id = $1 ORDER BY s.name";
    /// The newest first, only those before `$2`.
    SCRIPT_VERSIONS_PAGE = "-- script_versions_page
        SELECT v.version, v.created_at, CAST(octet_length(v.source) AS BIGINT) FROM script_versions v
        WHERE v.script_id = $1 AND v.version < $2 ORDER BY v.version DESC LIMIT $3";
    SCRIPT_VERSION_ONE = "-- script_version_one
        SELECT v.version, v.created_at, v.source, v.limits FROM script_versions v
        WHERE v.script_id = $1 AND v.version = $2";
    OUTBOX_ONE = concat!("-- outbox_one
        SELECT ", outbox_columns!(), " FROM outbox o WHERE o.id = $1");
    LETTER_ONE = concat!("-- letter_one
        SELECT ", letter_columns!(), " FROM dead_letters d WHERE d.id = $1");
    LETTER_OF_ROW = concat!("-- letter_of_row
        SELECT ", letter_columns!(), " FROM dead_letters d WHERE d.row_id = $1 LIMIT 1");
    LETTERS_MANY = concat!("-- letters_many
        SELECT ", letter_columns!("''"), " FROM jsonb_each($1) k CROSS JOIN dead_letters d
        WHERE d.id = k.atom ORDER BY d.id DESC");
    LETTERS_REPLAYED = "-- letters_replayed
        SELECT d.id, d.app_id, d.resolved_by, CAST(octet_length(d.event) AS BIGINT)
        FROM jsonb_each($1) k CROSS JOIN dead_letters d WHERE d.id = k.atom";
    LETTERS_OF_ROOT = concat!("-- letters_of_root
        SELECT ", letter_columns!("''"), " FROM dead_letters d WHERE d.root_id = $1 ORDER BY d.id LIMIT $2");

    // What filters look at: no events, and all rows of a step as one JSON text.

    OUTBOX_SCAN = concat!("-- outbox_scan
        SELECT ", outbox_brief!(), " FROM outbox p WHERE p.id < $1 ORDER BY p.id DESC LIMIT $2) s");
    /// Claimed rows are few and sorted here, so that waiting ones are not stepped over.
    OUTBOX_SCAN_RUNNING = concat!("-- outbox_scan_running
        SELECT ", outbox_brief!(), " FROM outbox p
            WHERE p.lease_token > -9223372036854775807 AND p.id || '' < $1 ORDER BY p.id || '' DESC LIMIT $2) s");
    /// Upward: what a row caused was made soon after it.
    OUTBOX_SCAN_AFTER = concat!("-- outbox_scan_after
        SELECT ", outbox_brief!(), " FROM outbox p WHERE p.id >= $1 ORDER BY p.id LIMIT $2) s");
    LETTERS_SCAN_OPEN = concat!("-- letters_scan_open
        SELECT ", letter_brief!(), " FROM dead_letters p
            WHERE p.resolved_at IS NULL AND p.id < $1 ORDER BY p.id DESC LIMIT $2) s");
    LETTERS_SCAN_OPEN_APP = concat!("-- letters_scan_open_app
        SELECT ", letter_brief!(), " FROM dead_letters p
            WHERE p.resolved_at IS NULL AND p.app_id = $3 AND p.id < $1 ORDER BY p.id DESC LIMIT $2) s");
    LETTERS_SCAN_RESOLVED = concat!("-- letters_scan_resolved
        SELECT ", letter_brief!(), " FROM dead_letters p
            WHERE p.resolved_at IS NOT NULL AND p.id < $1 ORDER BY p.id DESC LIMIT $2) s");
    LETTERS_SCAN_RESOLVED_APP = concat!("-- letters_scan_resolved_app
        SELECT ", letter_brief!(), " FROM dead_letters p
            WHERE p.resolved_at IS NOT NULL AND p.app_id = $3 AND p.id < $1 ORDER BY p.id DESC LIMIT $2) s");
    LETTERS_SCAN_ANY = concat!("-- letters_scan_any
        SELECT ", letter_brief!(), " FROM dead_letters p WHERE p.id < $1 ORDER BY p.id DESC LIMIT $2) s");
    ABANDONED_PAGE = concat!("-- abandoned_page
        SELECT ", abandoned_columns!(), " FROM abandoned_executions a
        WHERE a.id < $1 ORDER BY a.id DESC LIMIT $2");
    ABANDONED_PAGE_APP = concat!("-- abandoned_page_app
        SELECT ", abandoned_columns!(), " FROM abandoned_executions a
        WHERE a.app_id = $3 AND a.id < $1 ORDER BY a.id DESC LIMIT $2");
    ABANDONED_ONE = concat!("-- abandoned_one
        SELECT ", abandoned_columns!(), ", a.event FROM abandoned_executions a WHERE a.id = $1");
    ABANDONED_OF_ROOT = concat!("-- abandoned_of_root
        SELECT ", abandoned_columns!(), " FROM abandoned_executions a
        WHERE a.root_id = $1 ORDER BY a.id LIMIT $2");
    AUDIT_PAGE = "-- audit_page
        SELECT a.id, a.at, a.principal_id, a.principal, a.action, a.object, a.detail FROM audit a
        WHERE a.id < $1 ORDER BY a.id DESC LIMIT $2";
}

#[cfg(test)]
pub(crate) mod tests {
    use sqlx::Row;

    use crate::store::tests::scratch;
    use crate::store::{details, sql};

    /// Tables that grow with use. All others are as small as the configuration.
    pub(crate) const GROWING: [&str; 7] = [
        "audit",
        "outbox",
        "entries",
        "dead_letters",
        "abandoned_executions",
        "requests",
        "script_versions",
    ];

    #[tokio::test]
    async fn no_statement_scans_a_growing_table() {
        let mut scratch = scratch().await;
        for (statement, _) in sql::ALL.iter().chain(details::ALL) {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let plan = sqlx::query(explain).fetch_all(scratch.conn()).await;
            for step in plan.unwrap_or_else(|error| panic!("{statement}: {error}")) {
                let detail: String = step.get("detail");
                let scanned = detail.strip_prefix("SCAN ").map(|rest| {
                    let name = rest.split(' ').next().unwrap_or(rest);
                    let alias = |table: &&&str| {
                        statement.contains(&format!("{table} {name}\n"))
                            || statement.contains(&format!("{table} {name} "))
                    };
                    GROWING.iter().find(alias).copied().unwrap_or(name).to_owned()
                });
                let scanned = scanned.filter(|table| GROWING.contains(&table.as_str()));
                assert_eq!(scanned, None, "{statement}\n{detail}");
            }
        }
    }
}

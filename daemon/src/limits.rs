//! Every limit of the daemon with its default: the one place that `check-config`, the example configuration and
//! the documentation are made from.

use picloud_scripts_runtime::limits::RunLimits;

/// All limits. In the configuration file each part is a section: `[limits.http]`, `[limits.run]`, and so on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub http: HttpLimits,
    pub gate: GateLimits,
    pub run: RunLimits,
    pub outbox: OutboxLimits,
    pub store: StoreLimits,
    pub admin: AdminLimits,
    pub outgoing: OutgoingLimits,
    pub secrets: SecretLimits,
}

/// One limit, as people see it.
pub struct Limit {
    /// The part of [`Limits`] that it belongs to.
    pub part: &'static str,
    pub name: &'static str,
    pub unit: Unit,
    /// Lines of its explanation.
    pub doc: &'static [&'static str],
    pub least: u64,
    pub most: u64,
    pub get: fn(&Limits) -> u64,
    pub set: fn(&mut Limits, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Ms,
    Percent,
    Count,
}

impl Unit {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Ms => "ms",
            Self::Percent => "percent",
            Self::Count => "count",
        }
    }
}

/// The limits of all parts, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Limit> {
    [HTTP, GATE, RUN, OUTBOX, STORE, ADMIN, OUTGOING, SECRETS].into_iter().flatten()
}

/// The limits that a script may lower for itself.
pub fn of_a_run() -> &'static [Limit] {
    RUN
}

/// A limit's type: whole numbers only. What does not fit becomes the largest that does; `Limit::most` prevents it.
trait Whole: Copy {
    fn get(self) -> u64;
    fn of(value: u64) -> Self;
}

macro_rules! whole {
    ($($type:ty)*) => {$(
        impl Whole for $type {
            fn get(self) -> u64 {
                u64::try_from(self).unwrap_or(0)
            }

            fn of(value: u64) -> Self {
                <$type>::try_from(value).unwrap_or(<$type>::MAX)
            }
        }
    )*};
}

whole! { u32 u64 usize i64 }

/// The table of a part whose struct is defined elsewhere.
macro_rules! table {
    ($TABLE:ident of $part:ident {$(
        $(#[doc = $doc:literal])+
        $field:ident: $unit:ident $least:literal..=$most:expr;
    )*}) => {
        const $TABLE: &[Limit] = &[$(Limit {
            part: stringify!($part),
            name: stringify!($field),
            unit: Unit::$unit,
            doc: &[$($doc),+],
            least: $least,
            most: $most,
            get: |limits| Whole::get(limits.$part.$field),
            set: |limits, value| limits.$part.$field = Whole::of(value),
        },)*];
    };
}

/// The struct of a part, its defaults, and its table.
macro_rules! part {
    ($(#[$about:meta])* $Name:ident, $TABLE:ident of $part:ident {$(
        $(#[doc = $doc:literal])+
        $field:ident: $type:ty = $default:expr, $unit:ident $least:literal..=$most:expr;
    )*}) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {$(
            $(#[doc = $doc])+
            pub $field: $type,
        )*}

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        table! { $TABLE of $part {$(
            $(#[doc = $doc])+
            $field: $unit $least..=$most;
        )*}}
    };
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

part! {
    /// Limits of the public listener.
    HttpLimits, HTTP of http {
        /// Open connections; further ones get a 503 and are closed.
        connections_max: usize = 512, Count 1..=65_536;
        /// Open connections of one address, or of one /64 of IPv6.
        connections_per_ip_max: usize = 64, Count 1..=65_536;
        /// Bytes of a request's line and header fields; more is 431.
        head_bytes_max: usize = 32 << 10, Bytes 1_024..=1 << 20;
        /// Header fields of a request; more is 431.
        headers_max: usize = 100, Count 10..=1_000;
        /// Bytes of a request's path and query; more is 414.
        uri_bytes_max: usize = 8 << 10, Bytes 256..=64 << 10;
        /// Bytes of a request's body; more is 413.
        body_bytes_max: usize = 1 << 20, Bytes 0..=64 << 20;
        /// Fields of a form or a query; more is 413 or 400.
        fields_max: usize = 1_000, Count 1..=100_000;
        /// Callers of routes with a rate that are counted each for itself; beyond, those that are new share one count a route.
        rate_callers_max: usize = 4_096, Count 1..=1_000_000;
        /// Time for a request's head, from its first byte or the connection's start.
        head_ms: u64 = 10_000, Ms 10..=HOUR_MS;
        /// Time for which a connection may wait for its next request.
        idle_ms: u64 = 60_000, Ms 10..=DAY_MS;
        /// Time for a request's body; then 408.
        body_ms: u64 = 30_000, Ms 10..=HOUR_MS;
        /// Time that a caller may take to receive its answer; then the connection is closed.
        write_ms: u64 = 30_000, Ms 10..=HOUR_MS;
        /// Time that open requests get to end when the daemon stops.
        stop_ms: u64 = 10_000, Ms 0..=HOUR_MS;
        /// Time for which a refused caller's bytes are still read, so that the refusal reaches it.
        linger_ms: u64 = 500, Ms 0..=60_000;
        /// Time after a caller's half-close at which it is asked whether it is still there.
        half_close_ms: u64 = 100, Ms 1..=60_000;
        /// Time without accepting after the system had no room for a connection.
        accept_pause_ms: u64 = 100, Ms 1..=60_000;
    }
}

part! {
    /// Limits of the gate: what runs at a time.
    GateLimits, GATE of gate {
        /// Scripts that run at a time. 0: four for each core.
        permits: usize = 0, Count 0..=1_024;
        /// Share of the permits that work nobody waits for may take.
        async_share_percent: u32 = 75, Percent 1..=100;
        /// Share of the permits that one app may take.
        app_share_percent: u32 = 50, Percent 1..=100;
        /// Requests that wait for a permit; more get 503.
        sync_waiting_max: usize = 1_024, Count 0..=65_536;
        /// Bytes that all runs together may hold.
        memory_bytes_max: u64 = 64 << 20, Bytes 1_048_576..=1 << 40;
    }
}

table! { RUN of run {
    /// Rhai operations.
    operations_max: Count 1_000..=1 << 40;
    /// Bytes that a run may hold at once.
    memory_bytes_max: Bytes 65_536..=1 << 40;
    /// Nested calls of script functions.
    call_depth_max: Count 4..=256;
    /// Time from acceptance to the end of the run.
    timeout_ms: Ms 10..=HOUR_MS;
    /// Bytes of one string.
    string_bytes_max: Bytes 1_024..=64 << 20;
    /// Elements of one array.
    array_items_max: Count 16..=10_000_000;
    /// Entries of one map.
    map_items_max: Count 16..=1_000_000;
    /// Bytes of one stored value or document, as JSON.
    value_bytes_max: Bytes 64..=16 << 20;
    /// Bytes of the result, as JSON.
    response_bytes_max: Bytes 64..=64 << 20;
    /// Log lines; what is beyond is dropped.
    log_lines_max: Count 0..=100_000;
    /// Bytes of one log line, fields included; what is beyond is cut.
    log_line_bytes_max: Bytes 64..=64 << 10;
    /// Writes and enqueued tasks.
    effects_max: Count 1..=10_000;
    /// Calls to the outside.
    calls_max: Count 0..=1_000;
}}

part! {
    /// Limits of the outbox and of what hangs on it.
    OutboxLimits, OUTBOX of outbox {
        /// Rows that an app may have waiting.
        app_rows_max: i64 = 1_000_000, Count 1..=100_000_000;
        /// Bytes that an app may have waiting.
        app_bytes_max: i64 = 256 << 20, Bytes 65_536..=1 << 40;
        /// Tasks delayed by a second or more that an app may have waiting.
        app_delayed_max: i64 = 1_000, Count 0..=1_000_000;
        /// Rows that one settle may make.
        settle_rows_max: usize = 10_000, Count 1..=15_000;
        /// Bytes of the rows that one settle may make.
        settle_bytes_max: i64 = 16 << 20, Bytes 65_536..=1 << 30;
        /// A row deeper than this in its chain of causes is abandoned.
        trigger_depth_max: u32 = 16, Count 1..=100;
        /// Replays by scripts of one root.
        root_replays_max: u32 = 3, Count 0..=1_000;
        /// Open dead letters of one route, trigger or script; what is full is paused.
        open_letters_max: i64 = 1_000, Count 1..=1_000_000;
        /// Bytes of an answer that is kept for an idempotency key.
        kept_answer_bytes_max: usize = 64 << 10, Bytes 0..=1 << 20;
        /// Milliseconds for which answers are kept.
        kept_answer_ms: i64 = 24 * 3_600_000, Ms 0..=30 * DAY_MS;
        /// Bytes of kept answers of an app.
        kept_answers_app_bytes_max: i64 = 16 << 20, Bytes 0..=1 << 30;
        /// Resolved dead letters of an app that are kept.
        kept_letters_max: i64 = 1_000, Count 0..=1_000_000;
        /// Time for which resolved dead letters are kept.
        kept_letters_ms: i64 = 30 * 24 * 3_600_000, Ms 0..=3_650 * DAY_MS;
        /// Abandoned executions of an app that are kept.
        kept_abandoned_max: i64 = 1_000, Count 0..=1_000_000;
        /// Versions of a script that are kept, the current one included.
        kept_script_versions_max: i64 = 20, Count 1..=1_000;
        /// Entries of the audit log that are kept.
        kept_audit_max: i64 = 10_000, Count 100..=1_000_000;
    }
}

part! {
    /// Limits of the store.
    StoreLimits, STORE of store {
        /// Commands that wait for the writer; more are refused as busy.
        waiting_max: usize = 10_000, Count 16..=1_000_000;
        /// Bytes of the write-ahead log at which it is written back.
        log_bytes_max: u64 = 4 << 20, Bytes 65_536..=1 << 30;
        /// Bytes of free space below which nothing new is taken in.
        free_bytes_min: u64 = 64 << 20, Bytes 0..=1 << 40;
        /// Backups that are kept; the oldest go.
        kept_backups_max: usize = 7, Count 1..=1_000;
        /// Bytes to which the log may grow while a backup reads the store; then the backup is given up.
        backup_log_bytes_max: u64 = 64 << 20, Bytes 1_048_576..=1 << 40;
    }
}

part! {
    /// Limits of the admin API.
    AdminLimits, ADMIN of admin {
        /// Bytes of a request's body; more is 413.
        body_bytes_max: usize = 8 << 20, Bytes 65_536..=64 << 20;
        /// Open connections.
        connections_max: usize = 64, Count 1..=1_024;
        /// Open connections of one uid, or of one address.
        connections_per_uid_max: usize = 16, Count 1..=1_024;
        /// Of the open connections, those that only root, the daemon's own user and members of picloud-admin get.
        connections_reserved: usize = 8, Count 0..=1_024;
        /// Time for a request's head, from its first byte or the connection's start.
        head_ms: u64 = 10_000, Ms 10..=HOUR_MS;
        /// Time for a request's body; then 408.
        body_ms: u64 = 30_000, Ms 10..=HOUR_MS;
        /// Time for which a connection may wait for its next request.
        idle_ms: u64 = 60_000, Ms 10..=DAY_MS;
        /// Principals that can be known.
        principals_max: usize = 1_000, Count 10..=100_000;
        /// Tokens, those included that expired or were revoked in the last 30 days.
        tokens_max: usize = 1_000, Count 1..=100_000;
        /// Ended runs that are remembered.
        executions_max: usize = 1_000, Count 0..=100_000;
        /// Dry runs at a time; they take no permits of the gate. More get 503.
        dry_runs_max: usize = 2, Count 1..=4;
        /// Readers of live events at a time.
        event_readers_max: usize = 32, Count 1..=1_024;
        /// Live events that are kept for readers which are slow or come back; none while nobody looks on.
        events_max: usize = 10_000, Count 10..=1_000_000;
        /// Bytes that these may take.
        events_bytes_max: usize = 8 << 20, Bytes 65_536..=1 << 30;
        /// Time for which a caller may take nothing of its answer; then the connection is closed.
        write_ms: u64 = 30_000, Ms 10..=HOUR_MS;
    }
}

part! {
    /// Limits of calls to the outside.
    OutgoingLimits, OUTGOING of outgoing {
        /// Bytes of a request's body.
        request_bytes_max: usize = 1 << 20, Bytes 0..=64 << 20;
        /// Bytes of an answer's body.
        response_bytes_max: usize = 1 << 20, Bytes 0..=64 << 20;
        /// Time for one call, redirects included; the end of the run ends it too.
        call_ms: u64 = 30_000, Ms 10..=HOUR_MS;
        /// Redirects that one call follows.
        redirects_max: u32 = 5, Count 0..=20;
        /// Names that are looked up at a time.
        lookups_max: usize = 16, Count 1..=1_024;
    }
}

part! {
    /// Limits of secrets.
    SecretLimits, SECRETS of secrets {
        /// Secrets of an app.
        secrets_max: usize = 100, Count 0..=10_000;
        /// Bytes of one value.
        value_bytes_max: usize = 8 << 10, Bytes 4..=1 << 20;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_bounds_and_can_be_set() {
        for limit in all() {
            let mut limits = Limits::default();
            let default = (limit.get)(&limits);
            let name = format!("{}.{}", limit.part, limit.name);
            assert!((limit.least..=limit.most).contains(&default), "{name} = {default}");
            for value in [limit.least, limit.most] {
                (limit.set)(&mut limits, value);
                assert_eq!((limit.get)(&limits), value, "{name}");
            }
        }
    }

    /// The rows, and beside them a dead letter and its handlers, get ids derived from one.
    #[test]
    fn what_one_settle_may_make_has_room_behind_one_id() {
        let limit = all().find(|limit| limit.name == "settle_rows_max").expect("it is there");
        let handlers_max = picloud_api::manifest::TRIGGERS_MAX as u64;
        assert!(u128::from(limit.most + handlers_max + 1) < crate::ids::DERIVED_MAX);
    }

    #[test]
    fn names_carry_their_unit() {
        for limit in all() {
            let unit = match limit.unit {
                Unit::Bytes => limit.name.contains("_bytes_"),
                Unit::Ms => limit.name.ends_with("_ms"),
                Unit::Percent => limit.name.ends_with("_percent"),
                Unit::Count => !limit.name.contains("bytes") && !limit.name.ends_with("_ms"),
            };
            assert!(unit, "{}.{} is in {}", limit.part, limit.name, limit.unit.as_str());
        }
    }

    #[test]
    fn the_table_has_every_limit_of_a_run() {
        let fields = serde_json::to_value(RunLimits::default()).expect("limits are JSON");
        let mut fields: Vec<&str> =
            fields.as_object().expect("a map").keys().map(String::as_str).collect();
        let mut named: Vec<&str> = RUN.iter().map(|limit| limit.name).collect();
        fields.sort_unstable();
        named.sort_unstable();
        assert_eq!(named, fields);
    }
}

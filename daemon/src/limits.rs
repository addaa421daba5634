//! Every limit of the daemon with its default: the one place that `check-config`, the example configuration and
//! the documentation are made from.

/// Limits of the outbox and of what hangs on it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxLimits {
    /// Rows that an app may have waiting.
    pub app_rows_max: i64,
    /// Bytes that an app may have waiting.
    pub app_bytes_max: i64,
    /// Tasks delayed by a second or more that an app may have waiting.
    pub app_delayed_max: i64,
    /// Rows that one settle may make.
    pub settle_rows_max: usize,
    /// Bytes of the rows that one settle may make.
    pub settle_bytes_max: i64,
    /// A row deeper than this in its chain of causes is abandoned.
    pub trigger_depth_max: u32,
    /// Replays by scripts of one root.
    pub root_replays_max: u32,
    /// Open dead letters of one route, trigger or script; what is full is paused.
    pub open_letters_max: i64,
    /// Bytes of an answer that is kept for an idempotency key.
    pub kept_answer_bytes_max: usize,
    /// Milliseconds for which answers are kept.
    pub kept_answer_ms: i64,
    /// Bytes of kept answers of an app.
    pub kept_answers_app_bytes_max: i64,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            app_rows_max: 1_000_000,
            app_bytes_max: 256 << 20,
            app_delayed_max: 1_000,
            settle_rows_max: 10_000,
            settle_bytes_max: 16 << 20,
            trigger_depth_max: 16,
            root_replays_max: 3,
            open_letters_max: 1_000,
            kept_answer_bytes_max: 64 << 10,
            kept_answer_ms: 24 * 3_600_000,
            kept_answers_app_bytes_max: 16 << 20,
        }
    }
}

/// Limits of the public listener.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpLimits {
    /// Connections open at a time; further ones get a 503 and are closed.
    pub connections_max: usize,
    /// Connections open at a time from one address.
    pub connections_per_ip_max: usize,
    /// Bytes of a request line with its headers; more get a 431.
    pub head_bytes_max: usize,
    /// Header lines of a request; more get a 431.
    pub headers_max: usize,
    /// Bytes of a request's path and query; more get a 414.
    pub uri_bytes_max: usize,
    /// Bytes of a request's body; more get a 413.
    pub body_bytes_max: usize,
    /// Fields of a form or a query; more get a 413 or a 400.
    pub fields_max: usize,
    /// Milliseconds from a request's first byte (or the connection's begin) to the end of its headers.
    pub head_ms: u64,
    /// Milliseconds that a connection may be idle between two requests.
    pub idle_ms: u64,
    /// Milliseconds from the end of the headers to the end of the body; then 408.
    pub body_ms: u64,
    /// Milliseconds that a caller may take to receive a response; then the connection is closed.
    pub write_ms: u64,
    /// Milliseconds that open requests have to end in when the daemon stops.
    pub stop_ms: u64,
    /// Milliseconds for which a refused caller's bytes are still read, so that the refusal reaches it.
    pub linger_ms: u64,
    /// Milliseconds after a caller's half-close before it is asked whether it is still there.
    pub half_close_ms: u64,
    /// Milliseconds without accepting after the system had no file descriptor or memory for a connection.
    pub accept_pause_ms: u64,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            connections_per_ip_max: 64,
            head_bytes_max: 32 << 10,
            headers_max: 100,
            uri_bytes_max: 8 << 10,
            body_bytes_max: 1 << 20,
            fields_max: 1_000,
            head_ms: 10_000,
            idle_ms: 60_000,
            body_ms: 30_000,
            write_ms: 30_000,
            stop_ms: 10_000,
            linger_ms: 500,
            half_close_ms: 100,
            accept_pause_ms: 100,
        }
    }
}

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
    /// Bytes of one stored value or document after a patch, as JSON.
    pub entry_bytes_max: usize,
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
            entry_bytes_max: 256 << 10,
            kept_answer_bytes_max: 64 << 10,
            kept_answer_ms: 24 * 3_600_000,
            kept_answers_app_bytes_max: 16 << 20,
        }
    }
}

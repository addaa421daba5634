//! What one run may use.

use serde::{Deserialize, Serialize};

/// The budget of one run. Every field is a hard limit; a run that reaches one is stopped and leaves nothing.
///
/// Stored with each script as JSON, so the names are part of the schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunLimits {
    /// Rhai operations.
    pub operations_max: u64,
    /// Bytes that the run's thread may hold at once, as the counting allocator sees them.
    pub memory_bytes_max: u64,
    /// Nested calls of script functions.
    pub call_depth_max: u32,
    /// Wall-clock milliseconds from acceptance; the host tells when they are over.
    pub timeout_ms: u64,
    /// Bytes of one string.
    pub string_bytes_max: usize,
    /// Elements of one array.
    pub array_items_max: usize,
    /// Entries of one map.
    pub map_items_max: usize,
    /// Bytes of one stored value or document, as JSON.
    pub value_bytes_max: usize,
    /// Bytes of the run's result, as JSON.
    pub response_bytes_max: usize,
    /// Log lines of one run; what is beyond is dropped.
    pub log_lines_max: usize,
    /// Bytes of one log line, fields included; what is beyond is cut.
    pub log_line_bytes_max: usize,
    /// Effects of one run.
    pub effects_max: usize,
    /// Calls to the outside of one run.
    pub calls_max: usize,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            operations_max: 5_000_000,
            memory_bytes_max: 16 << 20,
            call_depth_max: 64,
            timeout_ms: 10_000,
            string_bytes_max: 1 << 20,
            array_items_max: 100_000,
            map_items_max: 10_000,
            value_bytes_max: 256 << 10,
            response_bytes_max: 1 << 20,
            log_lines_max: 200,
            log_line_bytes_max: 4 << 10,
            effects_max: 1_000,
            calls_max: 20,
        }
    }
}

impl RunLimits {
    /// The lower of both, limit by limit: a script may lower what the instance allows, never raise it.
    #[must_use]
    pub fn at_most(&self, other: &RunLimits) -> RunLimits {
        RunLimits {
            operations_max: self.operations_max.min(other.operations_max),
            memory_bytes_max: self.memory_bytes_max.min(other.memory_bytes_max),
            call_depth_max: self.call_depth_max.min(other.call_depth_max),
            timeout_ms: self.timeout_ms.min(other.timeout_ms),
            string_bytes_max: self.string_bytes_max.min(other.string_bytes_max),
            array_items_max: self.array_items_max.min(other.array_items_max),
            map_items_max: self.map_items_max.min(other.map_items_max),
            value_bytes_max: self.value_bytes_max.min(other.value_bytes_max),
            response_bytes_max: self.response_bytes_max.min(other.response_bytes_max),
            log_lines_max: self.log_lines_max.min(other.log_lines_max),
            log_line_bytes_max: self.log_line_bytes_max.min(other.log_line_bytes_max),
            effects_max: self.effects_max.min(other.effects_max),
            calls_max: self.calls_max.min(other.calls_max),
        }
    }
}

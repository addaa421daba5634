//! Crash points and planted bugs, for tests. Without the `faults` feature every question is answered "no" by a constant.

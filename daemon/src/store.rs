//! The store: the writer, the readers, and the only SQL.

#[cfg(feature = "faults")]
pub mod bench;

//! The store: the writer, the readers, and the only SQL.

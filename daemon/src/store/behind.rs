//! Sync rows that are written behind their runs: kept in memory, and written only when the run lasts long.

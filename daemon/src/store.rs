//! The store: one writer, a few readers, the only SQL.
//!
//! [`open::Store::open`] checks and migrates the file. [`batch::Batcher`] turns commands into transactions; it has no
//! thread and no clock, so a simulation can drive it. [`writer::Writer`] is the thread around it. [`read::Reader`]
//! answers what runs and people ask. Everything above deals in `flow`'s values; nothing above knows the engine, and in here
//! only `engine` does, besides what is about SQLite's file.

// the file
pub mod look;
pub mod migrate;
pub mod open;
pub mod upgrade;

// its copies
pub mod backup;
pub mod making;
pub mod naming;

mod upkeep;

// writing
pub mod batch;
pub mod commits;
pub mod configure;

mod again;
mod apply;
pub mod backlog;
mod clock;
mod facts;
pub mod purge;
mod sweep;
pub mod told;

// the thread
pub mod behind;
pub mod writer;

mod desk;

// reading
pub mod lists;
pub mod read;
pub mod standing;

mod catalog;
mod details;

// SQL
mod bulk;
mod engine;
mod rows;
mod sql;

#[cfg(feature = "faults")]
pub mod bench;
#[cfg(test)]
pub(crate) mod tests;

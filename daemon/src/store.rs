//! The store: one writer, a few readers, the only SQL.
//!
//! [`open::Store::open`] checks and migrates the file. [`batch::Batcher`] turns commands into transactions; it has no
//! thread and no clock, so a simulation can drive it. [`writer::Writer`] is the thread around it. [`read::Reader`]
//! answers what runs and people ask. Everything above deals in `flow`'s values; nothing above knows the engine.

pub mod batch;
pub mod behind;
pub mod configure;
pub mod open;
pub mod read;
pub mod writer;

mod apply;
mod backlog;

mod catalog;

mod facts;
mod migrate;
mod rows;
mod sql;
mod sweep;
mod trouble;

#[cfg(test)]
mod tests;

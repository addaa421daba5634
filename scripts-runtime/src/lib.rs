//! The script sandbox: the only crate that knows Rhai.
//!
//! A run is a function from an event and what the [`host::Host`] lets it read to a [`exec::ExecReport`]: a
//! result or an error, the reads to validate, and the effects to commit. Nothing is written from here.

pub mod effect;
pub mod exec;
pub mod host;
pub mod limits;

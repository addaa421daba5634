//! The script sandbox: the only crate that knows Rhai.
//!
//! A run is a function from an event and what the [`host::Host`] lets it read to a [`exec::ExecReport`]: a
//! result or an error, the reads to validate, and the effects to commit. Nothing is written from here.

pub mod apply;
pub mod bounds;
pub mod duration;
pub mod effect;
pub mod exec;
pub mod host;
pub mod limits;
pub mod mask;
pub mod memory;
pub mod outside;
pub mod program;
pub mod runtime;

mod entries;
mod fault;
mod filter;
mod find;
mod guards;
mod json;
mod message;
mod random;
mod run;
mod services;

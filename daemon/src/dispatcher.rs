//! The dispatcher: rows become runs, outcomes become settles.

pub mod call;

//! The dispatcher: rows become runs, outcomes become settles.

pub mod call;
pub mod history;
pub mod inbox;
pub mod ready;
pub mod slots;

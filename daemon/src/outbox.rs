//! The outbox: the rows between what happened and what runs.

pub mod decide;
pub mod masked;
pub mod row;
pub mod source;

//! What the tests stand on: the real process and its sockets, the repository as text, and the house rules.

pub mod source;
pub mod tidy;

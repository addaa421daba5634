//! What the tests stand on: the real process and its sockets, the repository as text, and the house rules.

pub mod appliance;
pub mod chance;
pub mod client;
pub mod daemon;
pub mod failing_card;
pub mod history;
pub mod ledger;
pub mod manuals;
pub mod measure;
pub mod mount;
pub mod outside;
pub mod postgres;
pub mod preload;
pub mod simulation;
pub mod source;
pub mod store_file;
pub mod systemd;
pub mod terminal;
pub mod tidy;
pub mod tour;
pub mod wait;

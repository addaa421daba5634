//! PiCloud's daemon: requests, changes and triggers run scripts through a durable outbox.
//!
//! ARCHITECTURE.md at the root of the repository has the picture; the modules below stand in the order of its
//! layers, and each imports only from those that stand before it.

// leaf
pub mod config;
pub mod failure;
pub mod faults;
pub mod histogram;
pub mod ids;
pub mod limits;
pub mod log;
pub mod payload;
pub mod places;
pub mod time;
// domain
pub mod allow;
pub mod catalog;
pub mod entry;
pub mod filter;
pub mod gate;
pub mod inbox;
pub mod manifest;
pub mod outbox;
pub mod principal;
pub mod retry;
pub mod route;
pub mod schedule;
pub mod trigger;
// flow
pub mod flow;
// store
pub mod store;
// edge
pub mod admin;
pub mod app;
pub mod appliance;
pub mod args;
pub mod backups;
pub mod demo;
pub mod dispatcher;
pub mod doctor;
pub mod engine;
pub mod groups;
pub mod http;
pub mod machine;
pub mod outgoing;
pub mod vault;

//! What crosses PiCloud's admin API: the types of its requests and answers, and the manifest, which command line
//! and daemon share.
//!
//! Every time is in milliseconds since 1970, by the daemon's clock. Unknown fields in requests are errors; clients
//! leave unknown fields of answers alone and show unknown words as they are.

pub mod app;
pub mod audit;
pub mod backups;
pub mod data;
pub mod deploy;
pub mod events;
pub mod executions;
pub mod health;
pub mod instance;
pub mod letters;
pub mod list;
pub mod manifest;
pub mod nodes;
pub mod principals;
pub mod problem;
pub mod routes;
pub mod script;
pub mod secrets;
pub mod stats;
pub mod text;
pub mod tokens;
pub mod triggers;

/// What all calls begin with.
pub const BASE: &str = "/api/v1/admin";
/// Goes up when a client that knows only what was before would misread an answer. What is merely new leaves it as it is.
pub const VERSION: u32 = 1;
/// The header that every answer has, with [`VERSION`].
pub const VERSION_HEADER: &str = "picloud-api";

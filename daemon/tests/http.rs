//! The public listener over real sockets, with an engine that answers as its script's name says.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "http/server.rs"]
mod server;

#[path = "http/callers.rs"]
mod callers;
#[path = "http/requests.rs"]
mod requests;
#[path = "http/wire.rs"]
mod wire;

//! PiCloud's command line, and later its console: clients of the admin API.

pub mod cli;
pub mod client;
pub mod clipboard;
pub mod editor;
pub mod opened;
pub mod output;
pub mod painter;
pub mod sse;
pub mod terminal;

//! PiCloud's command line and its console: clients of the admin API.

// What both are made of.
pub mod client;
pub mod opened;
pub mod sse;

// The command line.
pub mod cli;
pub mod output;

// The console: from what it is started with to what it shows. Below `run` and `tasks` everything is pure.
pub mod console;
pub mod screenshot;

pub mod run;
pub mod tasks;

pub mod clipboard;
pub mod editor;
pub mod outlet;
pub mod pace;
pub mod painter;
pub mod terminal;

pub mod update;

pub mod acts;
pub mod palette;
pub mod plain;

pub mod view;

pub mod columns;
pub mod layout;

pub mod effect;
pub mod message;
pub mod model;

pub mod doors;
pub mod item;
pub mod keys;
pub mod listing;
pub mod part;
pub mod purpose;
pub mod reply;
pub mod screen;
pub mod verbs;

pub mod diff;
pub mod field;
pub mod plot;
pub mod source;
pub mod symbols;
pub mod table;
pub mod text;
pub mod theme;
pub mod when;

#[cfg(test)]
mod tests;

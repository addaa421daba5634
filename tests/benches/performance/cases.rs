//! The cases: each line of the targets, by the names that the command takes.

mod board;
mod console;
mod depth;
mod disk;
mod http;
mod live;
mod load;
mod matching;
mod queue;

use anyhow::Result;
use picloud_tests::measure::figure::{Base, Line, Round, Target, Unit};

use crate::ground::Ground;

pub struct Case {
    pub name: &'static str,
    pub title: &'static str,
    /// Taken before and after each round.
    pub bases: &'static [Base],
    pub lines: &'static [Line],
    pub rounds: Rounds,
    pub profiled: Profiled,
    pub round: fn(&Ground) -> Result<Round>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// As many as the options say.
    AsAsked,
    /// For rounds that take long because they wait.
    OneIfQuick,
    /// For what is the same each time, or takes a window of its own.
    One,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profiled {
    Yes,
    No,
}

pub const ALL: [Case; 26] = [
    http::SYNC_READ,
    http::SYNC_WRITE,
    http::ASYNC,
    queue::DRAIN,
    queue::START_LATENCY,
    disk::FSYNCS,
    disk::SLOW_FSYNC,
    depth::CLAIM_COST,
    matching::MATCHING,
    depth::LISTS,
    depth::BULK,
    depth::NEIGHBOUR,
    board::MEMORY,
    board::IDLE,
    board::READS,
    board::BYTES,
    board::SIZES,
    board::START,
    live::EVENTS,
    live::UNWATCHED,
    console::START,
    console::IDLE,
    console::LOAD,
    console::RATE,
    console::DEEP,
    load::GENERATOR,
];

/// A line that is judged as it is.
const fn line(value: &'static str, title: &'static str, unit: Unit, target: Target) -> Line {
    Line { value, title, unit, per: None, target }
}

/// A line that is judged by its ratio to a base line.
const fn ratio(value: &'static str, title: &'static str, base: Base, target: Target) -> Line {
    let unit = match base {
        Base::AxumCpu => Unit::Micros,
        Base::AxumAnswers | Base::Fdatasync | Base::SlowFdatasync | Base::Sqlite => Unit::PerSecond,
    };
    Line { value, title, unit, per: Some(base), target }
}

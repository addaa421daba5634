//! What comes to `update`: keys, answers, events, time.

use picloud_api::events::{Begin, LogEntry, OutboxEvent};
use picloud_api::list::ExecutionItem;
use picloud_api::problem::Problem;
use picloud_api::stats::Stats;
use ratatui::crossterm::event::KeyEvent;

use crate::effect::Ticket;
use crate::reply::Reply;

#[derive(Debug)]
pub enum Message {
    Key(KeyEvent),
    Paste(String),
    Resize(u16, u16),
    /// The wheel, in rows; or a click on a row of the screen.
    Wheel(i32),
    Click(u16),
    /// Time has passed; [`crate::update::wake_at`] said when to say so.
    Tick,
    Answer(Ticket, Result<Reply, Failure>),
    /// What came of calls for many things.
    Many(Ticket, Many),
    Events(Ticket, Vec<Live>),
    /// A stream has ended for good, or could not be opened.
    StreamEnded(Ticket, Failure),
    /// What came back from the editor: nothing when it is as it was.
    Edited(Ticket, Result<Option<String>, String>),
    Copied(Result<&'static str, String>),
    Written(Result<String, String>),
    /// The console has the terminal again.
    Resumed,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Live {
    /// The stream stands; of which start of the daemon.
    Connected(Begin),
    Missed(Option<u64>),
    Outbox(Box<OutboxEvent>),
    Run(Box<ExecutionItem>),
    Log(Box<LogEntry>),
    Stats(Box<Stats>),
}

/// What came of calls for many things.
#[derive(Clone, Debug, Default)]
pub struct Many {
    /// Ids that the answers name.
    pub done: Vec<String>,
    pub failed: usize,
    pub first_failure: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum Failure {
    /// There is no daemon at the other end.
    NoDaemon { text: String, hint: Option<String> },
    /// The socket is there, and closed to whoever sits here.
    Closed { text: String },
    /// The daemon says no.
    Problem(Box<Problem>),
    /// It said something that this console does not understand, or nothing in time.
    Odd(String),
    /// It speaks a version of the API that this console does not know.
    OtherVersion { text: String, remedy: &'static str },
}

impl Failure {
    /// What went wrong, in one line.
    pub fn text(&self) -> &str {
        match self {
            Self::NoDaemon { text, .. }
            | Self::Closed { text }
            | Self::Odd(text)
            | Self::OtherVersion { text, .. } => text,
            Self::Problem(problem) => &problem.detail,
        }
    }

    /// The same with everything that is wrong with what was sent, line by line.
    pub fn whole_text(&self) -> String {
        match self {
            Self::Problem(problem) => crate::output::problem_text(problem),
            Self::NoDaemon { .. }
            | Self::Closed { .. }
            | Self::Odd(_)
            | Self::OtherVersion { .. } => self.text().to_owned(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NoDaemon { hint, .. } => hint.as_deref(),
            Self::Closed { .. } => None,
            Self::Problem(problem) => problem.hint.as_deref(),
            Self::Odd(_) => Some("if that happens again: journalctl -u picloud"),
            Self::OtherVersion { remedy, .. } => Some(remedy),
        }
    }

    /// The daemon's word for it.
    pub fn code(&self) -> &str {
        match self {
            Self::Problem(problem) => &problem.code,
            Self::NoDaemon { .. }
            | Self::Closed { .. }
            | Self::Odd(_)
            | Self::OtherVersion { .. } => "",
        }
    }
}

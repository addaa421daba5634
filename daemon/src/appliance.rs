//! The daemon as a service of systemd: it says how it is, takes the sockets that it is given, and logs to the journal.
//!
//! Without systemd all of this is silent, and the daemon is the same.

pub mod journal;
pub mod notify;
pub mod sockets;
pub mod status;
pub mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{LogConfig, LogTo};
use crate::log::{self, Look, field, message};
use crate::time::Clock;

use journal::Journal;
use sockets::Inherited;

/// What systemd gave this process.
#[derive(Default)]
pub struct Given {
    pub sockets: Vec<Inherited>,
    /// Where to say how the service is.
    pub notify_socket: Option<OsString>,
    /// How long systemd waits for a sign of life.
    pub watchdog: Option<Duration>,
    pub streams: Streams,
}

/// Where the standard streams lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    ToTheJournal,
    #[default]
    Elsewhere,
}

impl Given {
    /// Takes it: the descriptors belong to the value from then on. Once, before anything else is opened.
    pub fn to_this_process(environment: impl Iterator<Item = (OsString, OsString)>) -> Given {
        let mut environment = environment;
        let notify_socket = environment.find(|(name, _)| name == "NOTIFY_SOCKET");
        let notify_socket = notify_socket.map(|(_, value)| value);
        let streams = match systemd_journal_logger::connected_to_journal() {
            true => Streams::ToTheJournal,
            false => Streams::Elsewhere,
        };
        let sockets = sockets::inherited();
        Given { sockets, notify_socket, watchdog: sd_notify::watchdog_enabled(), streams }
    }
}

/// Where the log of this process goes.
pub enum Log {
    ToTheJournal(Journal),
    ToStderr,
}

/// Where it is found that there is a journal.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Whether the log goes to the journal.
pub fn is_for_the_journal(to: LogTo, streams: Streams) -> bool {
    match to {
        LogTo::Auto => streams == Streams::ToTheJournal,
        LogTo::Journal => true,
        LogTo::Stderr => false,
    }
}

impl Log {
    /// Sends the log there from now on.
    pub fn start(config: &LogConfig, streams: Streams, look: Look, clock: &Arc<dyn Clock>) -> Log {
        let mut why = "there is none here".to_owned();
        if is_for_the_journal(config.to, streams) && Path::new(JOURNAL).exists() {
            match Journal::start(config.level) {
                Ok(Some(journal)) => return Log::ToTheJournal(journal),
                Ok(None) => return Log::ToStderr,
                Err(error) => why = error.to_string(),
            }
        }
        // Another one may be there already where several daemons share a process.
        let _already = log::to_terminal(look, config.level, Arc::clone(clock));
        if is_for_the_journal(config.to, streams) {
            tracing::warn!({ field::ERROR } = why, "the log does not go to the journal");
        }
        Log::ToStderr
    }

    /// Says why the daemon does not run, or no longer, if this is where people look for it.
    pub fn told(&self, error: &anyhow::Error, id: message::MessageId) -> Told {
        match self {
            Log::ToTheJournal(_) => {
                let why = format!("{error:#}");
                tracing::error!(
                    { field::MESSAGE_ID } = id.0,
                    { field::ERROR } = why,
                    "the daemon cannot run"
                );
                Told::Yes
            }
            Log::ToStderr => Told::No,
        }
    }

    /// Waits until everything is written, but not for long.
    pub fn flush(&self) {
        match self {
            Log::ToTheJournal(journal) => journal.flush(),
            Log::ToStderr => {}
        }
    }
}

/// Whether people have been told already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Yes,
    No,
}

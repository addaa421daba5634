//! What the command line is started with: the only place that reads the process's arguments and environment.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use crate::cli::CliError;
use crate::cli::confirm::Asking;
use crate::client::{Client, DEFAULT_SOCKET, Place, Waiting};
use crate::output::Colours;

/// What a process is started with.
pub struct Surroundings {
    pub arguments: Vec<OsString>,
    /// `$PICLOUD_SOCKET`
    pub socket: Option<OsString>,
    /// `$PICLOUD_URL`
    pub url: Option<OsString>,
    /// `$PICLOUD_TOKEN`
    pub token: Option<OsString>,
    pub asking: Asking,
    /// Columns of the terminal that standard output is; `None` if it is none.
    pub columns: Option<usize>,
    pub colours: Colours,
    /// Who is told when an answer takes long.
    pub waiting: Waiting,
    /// `$COMPLETE`, with which shells ask how a command can go on.
    pub complete: Option<OsString>,
}

impl Surroundings {
    #[allow(clippy::disallowed_methods, reason = "this is where the environment is read")]
    pub fn of_this_process() -> Surroundings {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let stdout = io::stdout();
        let columns = stdout.is_terminal().then(|| {
            let told = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| size.ws_col);
            let named = || set("COLUMNS")?.to_str()?.parse().ok();
            if told > 0 { usize::from(told) } else { named().unwrap_or(80) }
        });
        let colours =
            if columns.is_some() && set("NO_COLOR").is_none() { Colours::On } else { Colours::Off };
        Surroundings {
            arguments: std::env::args_os().collect(),
            socket: set("PICLOUD_SOCKET"),
            url: set("PICLOUD_URL"),
            token: set("PICLOUD_TOKEN"),
            asking: if io::stdin().is_terminal() && io::stderr().is_terminal() {
                Asking::Possible
            } else {
                Asking::Impossible
            },
            columns,
            colours,
            waiting: if io::stderr().is_terminal() {
                Waiting::on_the_terminal()
            } else {
                Waiting::default()
            },
            complete: set("COMPLETE"),
        }
    }

    /// The daemon that is meant: arguments before the environment, an address before a socket.
    pub(super) fn client(
        &self,
        socket: Option<PathBuf>,
        url: Option<String>,
        token: Option<String>,
    ) -> Result<Client, CliError> {
        let text = |name: &str, value: &OsString| {
            let value = value.clone().into_string();
            value.map_err(|_| CliError::Usage(format!("{name} is no text")))
        };
        let named = |name: &str, value: &Option<OsString>| {
            value.as_ref().map(|value| text(name, value)).transpose()
        };
        let token = match token {
            Some(token) => Some(token),
            None => named("$PICLOUD_TOKEN", &self.token)?,
        };
        let url = match (url, &socket) {
            (Some(url), _) => Some(url),
            (None, Some(_)) => None,
            (None, None) => named("$PICLOUD_URL", &self.url)?,
        };
        let place = match url {
            Some(url) => Place::of_url(&url).map_err(CliError::Usage)?,
            None => {
                let named = self.socket.as_ref().map(PathBuf::from);
                Place::Socket(socket.or(named).unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)))
            }
        };
        let client = Client::new(place, token).map_err(CliError::Usage)?;
        Ok(client.waiting(self.waiting.clone()))
    }

    /// The same for the console, which says itself when an answer takes long.
    pub(crate) fn console_client(
        &self,
        socket: Option<PathBuf>,
        url: Option<String>,
        token: Option<String>,
    ) -> Result<Client, CliError> {
        Ok(self.client(socket, url, token)?.waiting(Waiting::default()))
    }
}

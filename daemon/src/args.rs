//! `picloudd`'s command line: arguments in, exit code out. Nothing else reads the process's arguments and environment.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::admin::reference;
use crate::app::{self, CannotGoOn, Diagnosis, Shape, Start};
use crate::appliance::{Given, Log, Streams, Told};
use crate::config::read::File;
use crate::config::render::{self, Form};
use crate::config::{self, Config};
use crate::doctor::{Machine, Rehearsal, Visit};
use crate::engine::Pausing;
use crate::faults::Faults;
use crate::log::{Look, message};
use crate::time::SystemClock;

/// What a process is started with.
pub struct Surroundings {
    pub arguments: Vec<OsString>,
    /// Variables whose name or value is no Unicode are left out.
    pub environment: Vec<(String, String)>,
    pub stderr_is_terminal: IsATerminal,
    /// By systemd, if it has started the process.
    pub given: Given,
}

/// Whether a person reads what is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsATerminal {
    Yes,
    No,
}

impl Surroundings {
    /// Takes them: to be called once, before anything is opened.
    pub fn of_this_process() -> Surroundings {
        Surroundings {
            given: Given::to_this_process(std::env::vars_os()),
            arguments: std::env::args_os().collect(),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            stderr_is_terminal: if std::io::stderr().is_terminal() {
                IsATerminal::Yes
            } else {
                IsATerminal::No
            },
        }
    }

    fn look(&self) -> Look {
        let no_color =
            self.environment.iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
        match self.stderr_is_terminal {
            IsATerminal::Yes if !no_color => Look::Coloured,
            IsATerminal::Yes | IsATerminal::No => Look::Plain,
        }
    }

    /// What a test plants: nothing in a build that ships.
    #[cfg(not(feature = "faults"))]
    #[allow(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
    fn faults(&self) -> anyhow::Result<Faults> {
        Ok(Faults::default())
    }

    /// The faults that `PICLOUD_FAULT` lists.
    #[cfg(feature = "faults")]
    fn faults(&self) -> anyhow::Result<Faults> {
        let named = self.environment.iter().find(|(name, _)| name == "PICLOUD_FAULT");
        let Some((_, value)) = named else { return Ok(Faults::default()) };
        Faults::planted(value).with_context(|| format!("PICLOUD_FAULT={value} names no fault"))
    }

    fn config(&self, file: Option<&Path>) -> anyhow::Result<Config> {
        let path = file.unwrap_or(Path::new(config::DEFAULT_PATH));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            // Nobody asked for it: without it, the defaults hold.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => None,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let name = path.display().to_string();
        let file = text.as_deref().map(|text| File { path: &name, text });
        let environment =
            self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(Config::load(file, environment)?)
    }

    fn visit(&self, file: Option<&Path>, rehearsal: Rehearsal) -> Visit {
        let config_file = file.unwrap_or(Path::new(config::DEFAULT_PATH));
        Visit {
            config: self.config(file).map_err(|error| format!("{error:#}")),
            config_file: config_file.to_owned(),
            is_of_service: config_file == Path::new(config::DEFAULT_PATH),
            machine: Machine::this(),
            clock: Arc::new(SystemClock::start()),
            rehearsal,
        }
    }
}

/// PiCloud's daemon: HTTP routes, triggers and scripts through a durable outbox.
#[derive(Parser)]
#[command(name = "picloudd", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground.
    Run {
        /// Configuration file [default: /etc/picloud/picloud.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Start paused: everything is accepted and kept, nothing runs until `picloud resume`.
        #[arg(long)]
        paused: bool,
    },
    /// Run with an example app on a store that is thrown away, and say what to try.
    Demo {
        /// Port to serve the routes on, on this machine only; 0 takes a free one.
        #[arg(long, value_name = "N", default_value_t = 8080)]
        port: u16,
        /// Folder for store and socket, kept afterwards [default: a new one, removed at the end]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Copy the store into a new file, also while the daemon runs.
    Backup {
        /// The file, or a folder for one that is named after the time
        #[arg(value_name = "FILE")]
        to: PathBuf,
        /// Configuration file [default: /etc/picloud/picloud.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Make the store what a backup has; one that is there already is not replaced.
    Restore {
        /// The backup
        #[arg(value_name = "FILE")]
        from: PathBuf,
        /// Configuration file [default: /etc/picloud/picloud.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Bring the store of an older picloud up to date, after a backup of it; no daemon may run.
    Migrate {
        /// Configuration file [default: /etc/picloud/picloud.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the version of the store's schema that this picloud was built for.
    Schema {
        /// Print the version that the store has instead, 0 if there is none; also while the daemon runs.
        #[arg(long)]
        store: bool,
        /// Configuration file [default: /etc/picloud/picloud.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Check everything that an owner can put right, with what to do, also while the daemon runs.
    Doctor {
        /// Configuration file [default: /etc/picloud/picloud.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print a line of JSON for each check.
        #[arg(long)]
        json: bool,
        /// Do not restore the newest backup to try it, which writes as much as the store has.
        #[arg(long)]
        no_rehearsal: bool,
    },
    /// Check the configuration, and print what holds.
    CheckConfig {
        /// Configuration file [default: /etc/picloud/picloud.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// What to print.
        #[arg(long, value_name = "WHAT", value_enum, default_value_t = Print::Effective)]
        print: Print,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Print {
    /// The configuration that holds, with the explanation of each key.
    Effective,
    /// The example file: every key commented out at its default.
    Example,
    /// The documentation, in Markdown.
    Reference,
    /// The documentation of the admin API, in Markdown.
    AdminApi,
}

/// All that can be said to `picloudd`.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the daemon's command line. Exit codes: 0 done, 1 failed, 2 usage, 8 the doctor has warnings and nothing worse.
pub fn main_with(surroundings: Surroundings) -> ExitCode {
    let arguments = match Arguments::try_parse_from(&surroundings.arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _closed = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match obey(arguments.command, surroundings) {
        Ok(code) => code,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "picloudd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command, surroundings: Surroundings) -> anyhow::Result<ExitCode> {
    match command {
        Command::Doctor { config, json, no_rehearsal } => {
            let rehearsal = if no_rehearsal { Rehearsal::No } else { Rehearsal::Yes };
            let shape = if json { Shape::Json } else { Shape::Text };
            let found = app::doctor(surroundings.visit(config.as_deref(), rehearsal), shape)?;
            return Ok(match found {
                Diagnosis::Well => ExitCode::SUCCESS,
                Diagnosis::Warned => ExitCode::from(8),
                Diagnosis::Ill => ExitCode::FAILURE,
            });
        }
        Command::Run { config, paused } => {
            let pausing = if paused { Pausing::FromTheStart } else { Pausing::AsStored };
            return run(config.as_deref(), pausing, surroundings);
        }
        Command::Demo { port, dir } => {
            app::demo(port, dir.as_deref(), surroundings.look(), surroundings.faults()?)
        }
        Command::Backup { to, config } => {
            app::back_up(&surroundings.config(config.as_deref())?, &to)
        }
        Command::Restore { from, config } => {
            app::restore(&surroundings.config(config.as_deref())?, &from)
        }
        Command::Migrate { config } => {
            app::migrate(&surroundings.config(config.as_deref())?, surroundings.faults()?)
        }
        Command::Schema { store: true, config } => {
            app::schema(Some(&surroundings.config(config.as_deref())?))
        }
        Command::Schema { store: false, .. } => app::schema(None),
        Command::CheckConfig { config, print } => {
            let text = match print {
                Print::Effective => {
                    render::file(&surroundings.config(config.as_deref())?, Form::Effective)
                }
                Print::Example => render::file(&Config::default(), Form::Example),
                Print::Reference => render::reference(),
                Print::AdminApi => reference::reference(),
            };
            std::io::stdout().write_all(text.as_bytes()).context("cannot print")
        }
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Runs the daemon, and sees to it that why it does not is told where people look for it.
fn run(
    file: Option<&Path>,
    pausing: Pausing,
    surroundings: Surroundings,
) -> anyhow::Result<ExitCode> {
    let config = surroundings.config(file);
    // That the configuration cannot be read is told where the log goes without one.
    let to = config.as_ref().map_or_else(|_| Config::default().log, |config| config.log.clone());
    let faults = surroundings.faults();
    let clock = faults.as_ref().map_or_else(|_| Faults::default().clock(), Faults::clock);
    let streams = surroundings.given.streams;
    let log = Log::start(&to, streams, surroundings.look(), &clock);
    let start = config.and_then(|config| {
        Ok(Start { config, pausing, faults: faults?, clock, given: surroundings.given })
    });
    let Err(error) = start.and_then(app::run) else {
        log.flush();
        return Ok(ExitCode::SUCCESS);
    };
    let id = match error.is::<CannotGoOn>() {
        true => message::CANNOT_GO_ON,
        false => message::START_REFUSED,
    };
    let told = log.told(&error, id);
    log.flush();
    // The journal would have it twice.
    if told == Told::Yes && streams == Streams::ToTheJournal {
        return Ok(ExitCode::FAILURE);
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Surroundings {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Surroundings {
            arguments: ["picloudd"].iter().chain(arguments).map(OsString::from).collect(),
            environment: environment.iter().map(text).collect(),
            stderr_is_terminal: IsATerminal::Yes,
            given: Given::default(),
        }
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_there_and_the_usual_one_need_not() {
        let surroundings = start(&[], &[]);
        let missing = Path::new("/nowhere/picloud.toml");
        let error = surroundings.config(Some(missing)).expect_err("there is no such file");
        assert_eq!(error.to_string(), "cannot read /nowhere/picloud.toml");
    }

    #[test]
    fn colour_is_only_for_a_terminal_whose_owner_wants_it() {
        assert_eq!(start(&[], &[]).look(), Look::Coloured);
        assert_eq!(start(&[], &[("NO_COLOR", "1")]).look(), Look::Plain);
        assert_eq!(start(&[], &[("NO_COLOR", "")]).look(), Look::Coloured);
        let mut piped = start(&[], &[]);
        piped.stderr_is_terminal = IsATerminal::No;
        assert_eq!(piped.look(), Look::Plain);
    }

    #[test]
    fn the_arguments_hold_together() {
        command().debug_assert();
    }
}

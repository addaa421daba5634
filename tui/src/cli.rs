//! The command line `picloud`: nouns, then verbs. Results go to standard output, everything else to standard error.

pub mod complete;
pub mod confirm;
pub mod folder;
pub mod help;
pub mod surroundings;

mod abandoned;
mod apps;
mod ask;
mod audit;
mod backups;
mod console;
mod data;
mod dead_letters;
mod deploy;
mod executions;
mod export;
mod follow;
mod ids;
mod list;
mod logs;
mod nodes;
mod outbox;
mod pause;
mod principals;
mod routes;
mod scripts;
mod secrets;
mod show;
mod stats;
mod tokens;
mod triggers;
mod words;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::cli::complete::Shell;
use crate::cli::confirm::Asking;
use crate::cli::folder::FolderError;
use crate::cli::list::PageArgs;
use crate::cli::surroundings::Surroundings;
use crate::client::{Client, ClientError, Place};
use crate::output::{self, Colours, Form, Output};

/// How a command ended. The numbers are the process's exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    NotAllowed = 4,
    Conflict = 5,
    NoDaemon = 6,
    ScriptFailed = 7,
    Partly = 8,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    /// Whoever was asked did not say yes.
    #[error("nothing was done")]
    Declined,
    /// A script that was run failed.
    #[error("{text}")]
    Script { text: String, hint: Option<String> },
    /// Another number matches than was expected.
    #[error("{matching} match, not {expected}")]
    Unexpected { matching: usize, expected: usize },
    #[error("backup {name} failed: {error}")]
    NotBackedUp { name: String, error: String },
    /// The doctor has found something.
    #[error("{0} of the checks failed")]
    Ill(usize),
    /// It has found nothing bad, and what could be better.
    #[error("{0} of the checks have warnings")]
    Unwell(usize),
    /// Some of many things could not be done; how many is among the results.
    #[error("{failed} failed: {first}")]
    Partly { failed: usize, first: String },
    #[error("the console cannot be started: {0}")]
    Console(io::Error),
    /// Nobody reads the results any more, or the disk is full.
    #[error("cannot print the result")]
    Print(#[from] io::Error),
}

impl CliError {
    fn exit(&self) -> Exit {
        match self {
            Self::Client(ClientError::NoDaemon { .. }) => Exit::NoDaemon,
            Self::Client(ClientError::Closed { .. }) => Exit::NotAllowed,
            Self::Client(ClientError::Problem(problem)) => match problem.status {
                401 | 403 => Exit::NotAllowed,
                404 => Exit::NotFound,
                409 | 412 => Exit::Conflict,
                _ => Exit::Failed,
            },
            Self::Folder(FolderError::NotFound { .. }) => Exit::NotFound,
            Self::Folder(FolderError::NotEmpty { .. }) => Exit::Conflict,
            Self::Usage(_) => Exit::Usage,
            Self::NotFound(_) => Exit::NotFound,
            Self::Script { .. } => Exit::ScriptFailed,
            Self::Unexpected { .. } => Exit::Conflict,
            Self::Partly { .. } | Self::Unwell(_) => Exit::Partly,
            Self::Client(
                ClientError::Silent { .. }
                | ClientError::Broken(_)
                | ClientError::Odd(_)
                | ClientError::OtherVersion(_),
            )
            | Self::Folder(_)
            | Self::NotBackedUp { .. }
            | Self::Ill(_)
            | Self::Declined
            | Self::Console(_)
            | Self::Print(_) => Exit::Failed,
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Client(ClientError::Problem(problem)) => output::problem_text(problem),
            Self::Client(
                error @ (ClientError::NoDaemon { source, .. } | ClientError::Closed { source, .. }),
            ) => format!("{error}: {source}"),
            Self::Folder(error) => error.text(),
            Self::Print(error) => format!("{self}: {error}"),
            Self::Client(_)
            | Self::Usage(_)
            | Self::NotFound(_)
            | Self::Declined
            | Self::Script { .. }
            | Self::Unexpected { .. }
            | Self::Partly { .. }
            | Self::NotBackedUp { .. }
            | Self::Console(_)
            | Self::Ill(_)
            | Self::Unwell(_) => self.to_string(),
        }
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Client(ClientError::NoDaemon { place: Place::Address(_), .. }) => {
                Some("does the daemon run there, with `[admin] listen` set to that port?")
            }
            Self::Client(ClientError::NoDaemon { place: Place::Socket(_), .. }) => Some(
                "sudo systemctl start picloud, or name its socket with --socket PATH or $PICLOUD_SOCKET",
            ),
            Self::Client(ClientError::Closed { .. }) => {
                Some("call as root, or as the user that the daemon runs as")
            }
            Self::Client(ClientError::Silent { .. }) => {
                Some("journalctl -u picloud says what it does")
            }
            Self::Client(ClientError::Odd(_)) => {
                Some("if that happens again: journalctl -u picloud")
            }
            Self::Client(ClientError::OtherVersion(other)) => {
                Some(other.remedy("upgrade picloud on this machine: sudo apt install picloud"))
            }
            Self::Client(ClientError::Problem(problem)) => problem.hint.as_deref(),
            Self::Folder(error) => error.hint(),
            Self::Script { hint, .. } => hint.as_deref(),
            Self::Unexpected { .. } => Some("nothing was done: look at what matches, then repeat"),
            Self::Partly { .. } => Some("the same command goes on with what is left"),
            Self::Client(ClientError::Broken(_)) => Some(
                "if that happens again, there may be no daemon at the other end of a forwarded socket",
            ),
            Self::Console(error) => console::hint(error),
            Self::NotBackedUp { .. } => Some("`picloud doctor` says whether the disk is to blame"),
            Self::Usage(_)
            | Self::NotFound(_)
            | Self::Ill(_)
            | Self::Unwell(_)
            | Self::Declined
            | Self::Print(_) => None,
        }
    }
}

/// Deploy apps to a PiCloud, and look at what it does.
#[derive(Parser)]
#[command(name = "picloud", version, max_term_width = 100)]
struct Arguments {
    /// Admin socket of the daemon [default: $PICLOUD_SOCKET, or /run/picloud/admin.sock]
    #[arg(long, global = true, value_name = "PATH", help_heading = EVERYWHERE)]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    socket: Option<PathBuf>,
    /// Admin address of the daemon instead of its socket, such as http://127.0.0.1:8081 [default: $PICLOUD_URL]
    #[arg(long, global = true, value_name = "URL", conflicts_with = "socket")]
    #[arg(help_heading = EVERYWHERE)]
    url: Option<String>,
    /// Token to call with [default: $PICLOUD_TOKEN, where other users do not see it]
    #[arg(long, global = true, value_name = "TOKEN", help_heading = EVERYWHERE)]
    token: Option<String>,
    /// Print JSON: one line for each item of a list, one document otherwise
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    /// Whether to print in colours; auto does on a terminal, unless $NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    #[arg(hide_default_value = true, help_heading = EVERYWHERE)]
    color: When,
    #[command(subcommand)]
    command: Command,
}

/// Heading of the options that every command has.
const EVERYWHERE: &str = "Options of every command";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Command {
    /// Make an app what DIR/picloud.toml says, and print the difference.
    Deploy {
        dir: PathBuf,
        /// Print the difference only.
        #[arg(long)]
        dry_run: bool,
        /// Only if the app is still at this revision (0: not there).
        #[arg(long, value_name = "N")]
        if_revision: Option<i64>,
    },
    /// Write an app's manifest and scripts into an empty folder.
    Export { app: String, dir: PathBuf },
    /// Apps: what they are, and what waits in them.
    #[command(subcommand)]
    Apps(apps::Verb),
    /// What an app is reached by.
    #[command(subcommand)]
    Routes(routes::Routes),
    /// Scripts: look at them, edit, try and run them.
    #[command(subcommand)]
    Scripts(scripts::Verb),
    /// What scripts have stored under keys.
    #[command(subcommand)]
    Kv(data::Verb),
    /// Documents that scripts have stored.
    #[command(subcommand)]
    Docs(data::Verb),
    /// Work that waits or runs.
    #[command(subcommand)]
    Outbox(outbox::Outbox),
    /// Work that could not be done.
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    /// Work that ended without success and without a dead letter.
    #[command(subcommand)]
    Abandoned(abandoned::Abandoned),
    /// Runs that ended lately.
    #[command(subcommand)]
    Executions(executions::Executions),
    /// What sets scripts off: changes, dead letters, the clock.
    #[command(subcommand)]
    Triggers(triggers::Triggers),
    /// What scripts know and nobody else sees.
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// Who is known, and what they may do.
    #[command(subcommand)]
    Principals(principals::Principals),
    /// Tokens, with which callers from elsewhere are known.
    #[command(subcommand)]
    Tokens(tokens::Tokens),
    /// Copies of the store that the daemon takes and keeps.
    #[command(subcommand)]
    Backups(backups::Backups),
    /// The daemons that share the work.
    #[command(subcommand)]
    Nodes(nodes::Nodes),
    /// Who changed what.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// What scripts log.
    Logs(logs::Logs),
    /// How much there is to do, and how it goes.
    Stats(stats::StatsArgs),
    /// Check everything that you can put right, and say how.
    Doctor,
    /// Keep the instance, an app or a trigger from running; what comes in is kept.
    Pause {
        /// APP, APP/TRIGGER, 'APP/METHOD /path' or APP/script:NAME; nothing: the instance
        target: Option<String>,
        /// Shown wherever the pause is shown.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let it run again.
    Resume {
        /// As for pause.
        target: Option<String>,
    },
    /// The console, at one thing: a dead letter, a row of the outbox, an execution.
    Open { id: String },
    /// The console: everything at a glance, live.
    Console,
    /// Print what makes the tab key know picloud, its apps, scripts and ids.
    Completions { shell: Shell },
}

#[derive(Args)]
struct ListArgs {
    /// Only of this app.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Words and key:value, such as 'state:retry age:>1h -script:warn'.
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// All that can be said to `picloud`, with what its words stand for.
pub fn command() -> clap::Command {
    words::explained(Arguments::command()).after_help(help::below())
}

#[derive(Args)]
struct WatchArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Print what happens from now on, until you stop it.
    #[arg(long, conflicts_with_all = ["limit", "all", "after"])]
    watch: bool,
}

/// Runs the command line on the process's own streams.
pub fn main_with(surroundings: &Surroundings) -> ExitCode {
    if completed(surroundings, &mut io::stdout()) {
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _closed = writeln!(io::stderr(), "picloud: cannot start: {error}");
            return ExitCode::from(Exit::Failed as u8);
        }
    };
    let (mut results, mut errors) = (io::stdout(), io::stderr());
    let exit = runtime.block_on(run(surroundings, &mut results, &mut errors));
    ExitCode::from(exit as u8)
}

/// Whether a shell asked how a command can go on, and was told so. The words of that command follow `--`; it is about the
/// daemon that they name.
fn completed(surroundings: &Surroundings, results: &mut dyn Write) -> bool {
    let shell = surroundings.complete.as_deref().and_then(Shell::named);
    let (Some(shell), [_, dashes, words @ ..]) = (shell, &surroundings.arguments[..]) else {
        return false;
    };
    if dashes != "--" {
        return false;
    }
    let said = |option: &str| {
        let at = words.iter().position(|word| word == option)?;
        words.get(at + 1)?.to_str().map(str::to_owned)
    };
    let client =
        surroundings.client(said("--socket").map(Into::into), said("--url"), said("--token"));
    // Nothing is said of what goes wrong: the line that is being written would be spoilt.
    let _broken = complete::print(shell, command(), words.to_vec(), client.ok().as_ref(), results);
    true
}

/// Runs the command line.
pub async fn run(
    surroundings: &Surroundings,
    results: &mut dyn Write,
    errors: &mut dyn Write,
) -> Exit {
    let matches = command().try_get_matches_from(&surroundings.arguments);
    let arguments = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = error.render().to_string();
            let _closed = if error.use_stderr() {
                let (program, cause) = match text.strip_prefix("error: ") {
                    Some(cause) => ("picloud: ", cause),
                    None => ("", text.as_str()),
                };
                write!(errors, "{program}{cause}")
            } else {
                write!(results, "{text}")
            };
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let colours = match arguments.color {
        When::Auto => surroundings.colours,
        When::Always => Colours::On,
        When::Never => Colours::Off,
    };
    let mut output = Output {
        results,
        columns: surroundings.columns,
        colours,
        form: if arguments.json { Form::Json } else { Form::Text },
    };
    let ended = match surroundings.client(arguments.socket, arguments.url, arguments.token) {
        Ok(client) => {
            obey(arguments.command, &client, &mut output, errors, surroundings.asking).await
        }
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => Exit::Done,
        // `picloud outbox list | head` is no failure.
        Err(CliError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            let _closed = output::error(errors, &error.text(), error.hint());
            error.exit()
        }
    }
}

async fn obey(
    command: Command,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    asking: Asking,
) -> Result<(), CliError> {
    match command {
        Command::Deploy { dir, dry_run, if_revision } => {
            let mode = if dry_run { deploy::Mode::DryRun } else { deploy::Mode::ForReal };
            deploy::run(client, output, errors, &dir, (mode, if_revision)).await
        }
        Command::Export { app, dir } => export::run(client, output, &app, &dir).await,
        Command::Apps(verb) => apps::run(client, output, errors, asking, verb).await,
        Command::Routes(verb) => routes::run(verb, client, output, errors, asking).await,
        Command::Scripts(verb) => scripts::run(client, output, errors, asking, verb).await,
        Command::Kv(verb) => {
            data::run(client, output, errors, asking, (data::Space::Kv, verb)).await
        }
        Command::Docs(verb) => {
            data::run(client, output, errors, asking, (data::Space::Docs, verb)).await
        }
        Command::Outbox(command) => outbox::run(command, client, output, errors).await,
        Command::DeadLetters(command) => {
            dead_letters::run(command, client, output, errors, asking).await
        }
        Command::Abandoned(command) => abandoned::run(command, client, output, errors).await,
        Command::Executions(command) => executions::run(command, client, output, errors).await,
        Command::Triggers(command) => triggers::run(command, client, output, errors, asking).await,
        Command::Secrets(command) => secrets::run(client, output, errors, asking, command).await,
        Command::Logs(command) => logs::run(command, client, output, errors).await,
        Command::Stats(args) => stats::stats(args, client, output, errors).await,
        Command::Doctor => stats::doctor(client, output).await,
        Command::Principals(command) => {
            principals::run(command, client, output, errors, asking).await
        }
        Command::Tokens(command) => tokens::run(command, client, output, errors, asking).await,
        Command::Backups(command) => backups::run(command, client, output, errors).await,
        Command::Nodes(command) => nodes::run(command, client, output, errors).await,
        Command::Audit(command) => audit::run(command, client, output, errors).await,
        Command::Pause { target, reason } => {
            pause::pause(client, output, target.as_deref(), reason).await
        }
        Command::Resume { target } => pause::resume(client, output, target.as_deref()).await,
        Command::Open { id } => console::run(client, Some(&id)).await,
        Command::Console => console::run(client, None).await,
        Command::Completions { shell } => Ok(complete::registration(shell, output.results)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_hold_together() {
        command().debug_assert();
    }

    fn each(command: &clap::Command, path: &str, look: &mut dyn FnMut(&str, &clap::Command)) {
        let path = format!("{path} {}", command.get_name());
        look(&path, command);
        for sub in command.get_subcommands() {
            each(sub, &path, look);
        }
    }

    #[test]
    fn every_command_and_every_word_says_in_one_sentence_what_it_is() {
        let mut said = 0;
        each(&command(), "", &mut |path, command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let sentence = |text: &str| {
                text.starts_with(|c: char| !c.is_lowercase() && !c.is_whitespace())
                    && !text.ends_with('.')
                    && !text.contains('\n')
            };
            assert!(sentence(&about), "{path}: {about:?}");
            for arg in command.get_arguments() {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(sentence(&help), "{path} {}: {help:?}", arg.get_id());
                said += 1;
            }
        });
        assert!(said > 100, "only {said} arguments were found");
    }

    #[test]
    fn the_examples_are_commands() {
        for (example, does) in help::EXAMPLES {
            let words = example.split('\'').enumerate().flat_map(|(n, part)| match n % 2 {
                0 => part.split_whitespace().collect::<Vec<&str>>(),
                _ => vec![part],
            });
            let parsed = command().try_get_matches_from(words);
            assert!(parsed.is_ok(), "{example}: {:?}", parsed.err());
            assert!(!does.is_empty());
        }
    }

    #[test]
    fn every_exit_code_is_explained() {
        let codes: Vec<u8> = help::EXITS.iter().map(|(exit, _)| *exit as u8).collect();
        assert_eq!(codes, (0..=8).collect::<Vec<u8>>());
    }
}

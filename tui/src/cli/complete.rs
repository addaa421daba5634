//! What the tab key brings: commands and options from the command line itself; apps, scripts, triggers and ids from the
//! daemon, which is given a moment to answer. Whatever goes wrong, nothing is offered and nothing is said.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::time::Duration;

use clap::builder::StyledStr;
use clap::{Arg, Command, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use picloud_api::text;
use serde_json::Value;

use crate::cli::words::{self, Known};
use crate::client::{Client, segment};

/// The variable that tells `picloud` to complete the words after `--`, in the way of the shell that it names.
const VARIABLE: &str = "COMPLETE";
/// Who waits longer for the tab key thinks that it is broken.
const DEADLINE: Duration = Duration::from_millis(700);
/// Things that are offered at most.
const CANDIDATES_MAX: usize = 200;
/// Characters of what is said of each.
const ABOUT_CHARS_MAX: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// The shell that `$COMPLETE` names.
    pub(super) fn named(name: &OsStr) -> Option<Shell> {
        Shell::from_str(name.to_str()?, false).ok()
    }

    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
        }
    }
}

/// What a shell has to read to know about `picloud`.
pub fn registration(shell: Shell, results: &mut dyn Write) -> io::Result<()> {
    let mut script = Vec::new();
    shell.completer().write_registration(VARIABLE, "picloud", "picloud", "picloud", &mut script)?;
    results.write_all(script.trim_ascii())?;
    results.write_all(b"\n")
}

/// Prints what the words can go on with, as the shell's part of it expects.
pub(super) fn print(
    shell: Shell,
    command: Command,
    words: Vec<OsString>,
    client: Option<&Client>,
    results: &mut dyn Write,
) -> io::Result<()> {
    let mut command = asking(command, "", client);
    let folder = std::env::current_dir().ok();
    shell.completer().write_complete(&mut command, words, folder.as_deref(), results)
}

/// The command, whose words ask the daemon; `noun` is the subcommand that it is part of.
fn asking(command: Command, noun: &str, client: Option<&Client>) -> Command {
    let verb = command.get_name().to_owned();
    let command = command.mut_args(|arg| {
        let Some(client) = client else { return arg };
        let Some(places) = places(&arg, noun, &verb) else { return arg };
        let client = client.clone();
        arg.add(ArgValueCompleter::new(move |word: &OsStr| {
            let word = word.to_str().unwrap_or_default();
            candidates(&client, &places, word).unwrap_or_default()
        }))
    });
    command.mut_subcommands(|sub| {
        let noun = if noun.is_empty() && verb == "picloud" { sub.get_name() } else { noun };
        let noun = noun.to_owned();
        asking(sub, &noun, client)
    })
}

/// A list of the daemon's, and which field of its items completes a word.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    /// `{app}` stands for what is before the slash of the word.
    path: &'static str,
    field: &'static str,
    /// What is said of it, where the shell shows that.
    about: &'static [&'static str],
}

const APPS: Place = Place { path: "/apps", field: "slug", about: &[] };
const LETTERS: Place =
    Place { path: "/dead-letters", field: "id", about: &["app", "script", "error/message"] };
const RUNS: Place =
    Place { path: "/executions", field: "id", about: &["app", "script", "outcome"] };

/// Where the daemon lists what an argument can be; with `{app}` in the path after the app is there, and apps before.
fn places(arg: &Arg, noun: &str, verb: &str) -> Option<Vec<Place>> {
    let of_app = |path, field, about| vec![Place { path, field, about }];
    Some(match words::known(arg)? {
        Known::Apps => vec![APPS],
        Known::Scripts => of_app("/apps/{app}/scripts", "name", &[]),
        Known::Triggers => of_app("/apps/{app}/triggers", "name", &["matches"]),
        Known::Targets => {
            let path = "/apps/{app}/triggers";
            vec![APPS, Place { path, field: "name", about: &["matches"] }]
        }
        Known::Secrets => of_app("/apps/{app}/secrets", "name", &[]),
        Known::Collections if noun == "docs" => of_app("/apps/{app}/docs", "collection", &[]),
        Known::Collections => of_app("/apps/{app}/kv", "collection", &[]),
        Known::Principals => vec![Place { path: "/principals", field: "name", about: &[] }],
        Known::Tokens => vec![Place { path: "/tokens", field: "name", about: &["state"] }],
        Known::Ids => match (noun, verb) {
            ("outbox", _) => {
                vec![Place { path: "/outbox", field: "id", about: &["app", "script", "state"] }]
            }
            ("dead-letters", "reopen") => {
                vec![Place { path: "/dead-letters?filter=is%3Adiscarded", ..LETTERS }]
            }
            ("dead-letters", "take-back") => {
                vec![Place { path: "/dead-letters?filter=is%3Areplayed", ..LETTERS }]
            }
            ("dead-letters", _) => vec![LETTERS],
            ("abandoned", _) => {
                let about = &["app", "script", "reason"];
                vec![Place { path: "/abandoned", field: "id", about }]
            }
            ("scripts", _) => vec![LETTERS, RUNS],
            (_, _) => vec![RUNS],
        },
        Known::Files | Known::Folders => return None,
    })
}

/// What the daemon knows that begins with the word, within the deadline.
fn candidates(client: &Client, places: &[Place], word: &str) -> Option<Vec<CompletionCandidate>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let asked = async {
            let mut all = Vec::new();
            for place in places {
                all.extend(ask(client, *place, word).await?);
            }
            Some(all)
        };
        tokio::time::timeout(DEADLINE, asked).await.ok().flatten()
    })
}

async fn ask(client: &Client, place: Place, word: &str) -> Option<Vec<CompletionCandidate>> {
    let question = Question::of(place, word);
    let mark = if question.path.contains('?') { '&' } else { '?' };
    let path = format!("{}{mark}limit={CANDIDATES_MAX}", question.path);
    let page: Value = client.get(&path).await.ok()?;
    let fits = |item: &Value| {
        let Question { before, behind, .. } = &question;
        let name = format!("{before}{}{behind}", item[question.field].as_str()?);
        // What is no plain name would have to be quoted, each shell in its way.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let fits = name.starts_with(word) && name.chars().all(is_plain);
        fits.then(|| CompletionCandidate::new(name).help(about(item, place.about)))
    };
    Some(page["items"].as_array()?.iter().filter_map(fits).collect())
}

/// What the daemon is asked for a word, and what stands around the names that it answers with.
#[derive(Debug, PartialEq)]
struct Question {
    path: String,
    field: &'static str,
    before: String,
    behind: &'static str,
}

impl Question {
    /// Of `APP/NAME` first the app is asked for, then the name.
    fn of(place: Place, word: &str) -> Question {
        let Place { path, field, .. } = place;
        match (path.contains("{app}"), word.split_once('/')) {
            (false, _) => {
                Question { path: path.to_owned(), field, before: String::new(), behind: "" }
            }
            (true, Some((app, _))) => Question {
                path: path.replace("{app}", &segment(app)),
                field,
                before: format!("{app}/"),
                behind: "",
            },
            (true, None) => Question {
                path: APPS.path.to_owned(),
                field: APPS.field,
                before: String::new(),
                behind: "/",
            },
        }
    }
}

/// What is said of an item, if anything.
fn about(item: &Value, fields: &[&str]) -> Option<StyledStr> {
    let parts = fields.iter().filter_map(|field| item.pointer(&format!("/{field}"))?.as_str());
    let text = text::visible(&parts.collect::<Vec<&str>>().join(" "));
    let short: String = text.chars().take(ABOUT_CHARS_MAX).collect();
    (!short.is_empty()).then(|| short.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn of_a_pair_first_the_app_is_asked_for_then_the_name() {
        let place = Place { path: "/apps/{app}/scripts", field: "name", about: &[] };
        let question = |path: &str, field, before: &str, behind| Question {
            path: path.to_owned(),
            field,
            before: before.to_owned(),
            behind,
        };
        assert_eq!(Question::of(place, "gre"), question("/apps", "slug", "", "/"));
        assert_eq!(
            Question::of(place, "a b/wa"),
            question("/apps/a%20b/scripts", "name", "a b/", "")
        );
        assert_eq!(Question::of(APPS, "gre"), question("/apps", "slug", "", ""));
    }

    #[test]
    fn every_id_comes_from_the_list_that_its_command_is_about() {
        let command = cli::command();
        for (noun, verb, path) in [
            ("outbox", "show", "/outbox"),
            ("dead-letters", "replay", "/dead-letters"),
            ("dead-letters", "reopen", "/dead-letters?filter=is%3Adiscarded"),
            ("abandoned", "show", "/abandoned"),
            ("executions", "show", "/executions"),
        ] {
            let found = command.find_subcommand(noun).and_then(|noun| noun.find_subcommand(verb));
            let found = found.unwrap_or_else(|| panic!("there is {noun} {verb}"));
            let asked = found.get_arguments().find_map(|arg| places(arg, noun, verb));
            assert_eq!(asked.expect("an id can be completed")[0].path, path, "{noun} {verb}");
        }
    }

    #[test]
    fn what_is_said_of_an_item_is_short_and_harmless() {
        let item = serde_json::json!({"app": "a\u{1b}[2J", "error": {"message": "x".repeat(500)}});
        let text = about(&item, &["app", "gone", "error/message"]).expect("there is something");
        let text = text.to_string();
        assert!(text.starts_with("a\u{241b}[2J xxx"), "{text}");
        assert_eq!(text.chars().count(), ABOUT_CHARS_MAX);
        assert!(about(&item, &["gone"]).is_none());
    }
}

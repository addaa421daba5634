//! What the words in capitals stand for, wherever they are in the command line: one sentence each, and what is known of
//! them for whoever presses the tab key.

use clap::{Arg, Command, ValueHint};

/// What a word can be completed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Apps,
    Scripts,
    Triggers,
    /// Collections of the noun's space.
    Collections,
    Secrets,
    /// What can be paused: apps and their triggers.
    Targets,
    /// Ids of the noun's things.
    Ids,
    Principals,
    Tokens,
    Files,
    Folders,
}

/// A word with what it stands for.
struct Word {
    name: &'static str,
    help: &'static str,
    known: Option<Known>,
}

const fn word(name: &'static str, help: &'static str, known: Option<Known>) -> Word {
    Word { name, help, known }
}

const WORDS: &[Word] = &[
    word("APP", "The app, by its slug", Some(Known::Apps)),
    word("SLUG", "The app's name in URLs", None),
    word("APP/SCRIPT", "The script", Some(Known::Scripts)),
    word("APP/ROUTE", "The route by method and path: 'greenhouse/POST /readings'", None),
    word("APP/TRIGGER", "The trigger", Some(Known::Triggers)),
    word("APP/COLLECTION", "The collection", Some(Known::Collections)),
    word("APP[/COLLECTION]", "The app, or one of its collections", Some(Known::Collections)),
    word("APP/NAME", "The secret", Some(Known::Secrets)),
    word("TARGET", "What is meant", Some(Known::Targets)),
    word("KEY", "The key of an entry, or the id of a document", None),
    word("VALUE", "The value as JSON; - for standard input", None),
    word("ID", "The id, or the beginning of it that no other has", Some(Known::Ids)),
    word("PRINCIPAL", "The principal, by name or number", Some(Known::Principals)),
    word("TOKEN", "The token, by name or number", Some(Known::Tokens)),
    word("NAME", "The name", None),
    word("VERSION", "The version, by its number", None),
    word("CAPABILITY", "A capability, such as AppRead", None),
    word("FILE", "The file; - for standard input", Some(Known::Files)),
    word("SHELL", "The shell", None),
    word("DIR", "The app's folder", Some(Known::Folders)),
];

fn find(arg: &Arg) -> Option<&'static Word> {
    let names = arg.get_value_names()?;
    WORDS.iter().find(|word| names.iter().any(|name| name.as_str() == word.name))
}

/// What an argument can be completed to.
pub(super) fn known(arg: &Arg) -> Option<Known> {
    // The secret itself: nobody lists those.
    if arg.get_long() == Some("token") {
        return None;
    }
    find(arg)?.known
}

/// The command with what its words stand for, where it does not say so itself.
pub(super) fn explained(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let Some(word) = find(&arg) else { return arg };
        let arg = match word.known {
            Some(Known::Files) => arg.value_hint(ValueHint::FilePath),
            Some(Known::Folders) => arg.value_hint(ValueHint::DirPath),
            Some(_) | None => arg,
        };
        if arg.get_help().is_some() { arg } else { arg.help(word.help) }
    });
    command.mut_subcommands(explained)
}

//! What packages carry beside the programs: man pages and completions, made from the programs' own command lines.

use std::io;
use std::path::Path;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use picloud_tui::cli::complete::{self, Shell};
use picloud_tui::cli::help;
use picloud_tui::keys;

/// A man page: what clap knows, and what it does not.
struct Page {
    command: Command,
    section: &'static str,
    /// Before the options.
    description: &'static str,
    /// Heading, and entries with what they mean.
    more: Vec<(&'static str, Vec<(String, String)>)>,
    see_also: &'static str,
}

/// Writes all files into a folder, made if need be: `man/`, and `completions/` under the names that shells look for.
pub fn write(folder: &Path) -> io::Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(man.join("picloud.1"), picloud()?)?;
    std::fs::write(man.join("picloud-tui.1"), picloud_tui()?)?;
    std::fs::write(man.join("picloudd.8"), picloudd()?)?;
    for (shell, name) in
        [(Shell::Bash, "picloud"), (Shell::Zsh, "_picloud"), (Shell::Fish, "picloud.fish")]
    {
        let mut script = Vec::new();
        complete::registration(shell, &mut script)?;
        std::fs::write(completions.join(name), script)?;
    }
    Ok(())
}

fn owned(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// The man page of the command line.
pub fn picloud() -> io::Result<String> {
    let exits = help::EXITS.iter().map(|(exit, means)| {
        let number = *exit as u8;
        (number.to_string(), (*means).to_owned())
    });
    Page {
        command: picloud_tui::cli::command(),
        section: "1",
        description: PICLOUD,
        more: vec![
            ("EXIT STATUS", exits.collect()),
            ("ENVIRONMENT", owned(PICLOUD_ENVIRONMENT)),
            ("FILES", owned(PICLOUD_FILES)),
            ("EXAMPLES", owned(help::EXAMPLES)),
        ],
        see_also: "picloudd(8), ssh(1), https://rhai.rs/book/",
    }
    .render()
}

/// The man page of the console.
pub fn picloud_tui() -> io::Result<String> {
    let keys = keys::KEYS.iter().map(|key| (spelled(key.shown), sentence(key.does)));
    Page {
        command: picloud_tui::console::command(),
        section: "1",
        description: PICLOUD_TUI,
        more: vec![
            ("KEYS", keys.collect()),
            ("EXIT STATUS", owned(PICLOUD_TUI_EXITS)),
            ("ENVIRONMENT", owned(PICLOUD_TUI_ENVIRONMENT)),
            ("FILES", owned(PICLOUD_FILES)),
            ("EXAMPLES", owned(PICLOUD_TUI_EXAMPLES)),
        ],
        see_also: "picloud(1), picloudd(8), ssh(1)",
    }
    .render()
}

/// Keys by their names: troff knows no arrows.
fn spelled(keys: &str) -> String {
    let names = [
        ("⏎", "Enter"),
        ("⇧", "Shift-"),
        ("↓", "Down"),
        ("↑", "Up"),
        ("→", "Right"),
        ("←", "Left"),
        ("^", "Ctrl-"),
    ];
    names.iter().fold(keys.to_owned(), |keys, (symbol, name)| keys.replace(symbol, name))
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let end = if text.ends_with('?') { "" } else { "." };
    first.chain(letters).chain(end.chars()).collect()
}

/// The man page of the daemon.
pub fn picloudd() -> io::Result<String> {
    Page {
        command: picloud_daemon::args::command(),
        section: "8",
        description: PICLOUDD,
        more: vec![
            ("EXIT STATUS", owned(PICLOUDD_EXITS)),
            ("SIGNALS", owned(PICLOUDD_SIGNALS)),
            ("ENVIRONMENT", owned(PICLOUDD_ENVIRONMENT)),
            ("FILES", owned(PICLOUDD_FILES)),
            ("EXAMPLES", owned(PICLOUDD_EXAMPLES)),
        ],
        see_also: "picloud(1), systemctl(1), journalctl(1)",
    }
    .render()
}

const PICLOUD: &str = "Nouns, then verbs. On a terminal a list is a table that fits it; in a pipe it has the same columns, \
    uncut. With --json, a list is one line for each item and everything else one document, in the types of the admin API. \
    Results go to standard output, everything else to standard error. Errors say what is wrong and, after \"hint:\", what \
    to do.\n\
    What destroys something asks first; without a terminal it wants --yes. What is done to many at once, by a filter, also \
    takes --expect N, and does nothing if another number matches.\n\
    An id may be abbreviated to its beginning, as long as no other begins so. A file that is named - is standard input.";

const PICLOUD_ENVIRONMENT: &[(&str, &str)] = &[
    ("PICLOUD_SOCKET", "Admin socket of the daemon, unless --socket names one."),
    ("PICLOUD_URL", "Admin address of the daemon, unless --url or --socket is given."),
    (
        "PICLOUD_TOKEN",
        "Token to call with. Other users of the machine see arguments, but not this.",
    ),
    ("NO_COLOR", "If it is set and not empty, nothing is coloured unless --color always is given."),
    ("COLUMNS", "Width of a terminal that does not tell its own."),
    (
        "COMPLETE",
        "Set by completions, which ask how a command can go on: \"picloud completions bash\".",
    ),
];

const PICLOUD_FILES: &[(&str, &str)] = &[
    (
        "/run/picloud/admin.sock",
        "The daemon's admin socket. Root, and members of the group picloud-admin, may do everything, members of picloud \
         may read, and others what they were granted.",
    ),
    ("DIR/picloud.toml", "The manifest of an app that is deployed from DIR."),
];

const PICLOUD_TUI: &str = "Everything that a PiCloud does, live, in a terminal: what waits for you first, with the key to \
    it. It talks to the daemon's admin socket and to nothing else, and may do what you may do. 60 columns and 15 rows are \
    the least.\n\
    With --screenshot it prints one frame as text, and needs no terminal.";

const PICLOUD_TUI_EXITS: &[(&str, &str)] = &[
    ("0", "It was left, or has printed."),
    ("1", "It could not begin, or has lost its terminal."),
    ("2", "The command cannot be understood."),
];

const PICLOUD_TUI_ENVIRONMENT: &[(&str, &str)] = &[
    ("PICLOUD_SOCKET", "Admin socket of the daemon, unless --socket names one."),
    ("PICLOUD_URL", "Admin address of the daemon, unless --url or --socket is given."),
    ("PICLOUD_TOKEN", "Token to call with, where other users do not see it."),
    ("VISUAL, EDITOR", "The editor for what \"e\" edits; nano or vi otherwise."),
    ("XDG_RUNTIME_DIR", "Where the file lies that is edited, readable by nobody else."),
    ("NO_COLOR", "If it is set and not empty, bold, dim and reversed are all there is."),
    ("LANG, LC_ALL, LC_CTYPE", "Where they do not say UTF-8, symbols are letters."),
    ("COLUMNS, LINES", "Size of a terminal that does not tell its own, such as a serial line."),
    ("TMUX", "Inside tmux what is copied goes through tmux."),
];

const PICLOUD_TUI_EXAMPLES: &[(&str, &str)] = &[
    ("picloud-tui", "The console."),
    ("picloud-tui 01M8JRDJVXENSAB7ADZEB84G01", "At that dead letter, row or run."),
    (
        "picloud-tui --socket ./pi.sock --name pi",
        "After ssh -NL ./pi.sock:/run/picloud/admin.sock pi",
    ),
    ("picloud-tui --screenshot overview --size 80x24", "One frame, as text."),
];

const PICLOUDD: &str = "Serves the HTTP routes of apps, runs their scripts, and keeps what they store and what is still to \
    be done. It is started by systemd and controlled with picloud(1); \"picloudd demo\" needs neither.";

const PICLOUDD_EXITS: &[(&str, &str)] = &[
    ("0", "Stopped in order, or done."),
    ("1", "Failed; the last line of the log says why."),
    ("2", "The command cannot be understood."),
    ("8", "Of doctor: there are warnings, and nothing is bad."),
];

const PICLOUDD_SIGNALS: &[(&str, &str)] = &[(
    "SIGTERM, SIGINT",
    "Take nothing new, let runs end for a while, release the others, and stop. Nothing that was accepted is lost.",
)];

const PICLOUDD_ENVIRONMENT: &[(&str, &str)] = &[
    (
        "PICLOUD__SECTION__KEY",
        "Overrides a key of the configuration: PICLOUD__HTTP__LISTEN that of listen in [http]. Lists are separated by \
         commas.",
    ),
    ("NO_COLOR", "If it is set and not empty, the log on a terminal is not coloured."),
    (
        "LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID",
        "Sockets that systemd hands over. One that is named \"admin\" becomes the admin socket, each that is named \"http\" \
         serves routes beside listen in [http].",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "Where systemd is told that the daemon is ready, lives and stops, and what it does; and how often it wants to hear.",
    ),
    (
        "JOURNAL_STREAM",
        "Whether standard error is the journal: then the log goes there with its fields.",
    ),
];

const PICLOUDD_FILES: &[(&str, &str)] = &[
    ("/etc/picloud/picloud.toml", "The configuration; it need not be there."),
    ("/var/lib/picloud/picloud.db", "The store, with -wal and -shm beside it."),
    (
        "/var/lib/picloud/secrets.key",
        "The key that secrets are sealed with. Without it they have to be set again.",
    ),
    (
        "/var/lib/picloud/backups",
        "Backups; those with \"before-schema\" in their name are from before an update of picloud.",
    ),
    ("/run/picloud/admin.sock", "The admin socket."),
    (
        "/usr/lib/systemd/catalog/picloud.catalog",
        "What the messages in the journal mean and what to do: \"journalctl -x -u picloud\".",
    ),
];

const PICLOUDD_EXAMPLES: &[(&str, &str)] = &[
    ("picloudd demo", "Run a greenhouse on a store that is thrown away, and say what to try."),
    ("picloudd check-config", "Is the configuration right, and what holds?"),
    ("journalctl -u picloud PICLOUD_APP=greenhouse", "What the log says of one app."),
    ("picloudd doctor || [ $? -eq 8 ]", "Is all well, or nearly, for a script?"),
    (
        "picloudd run --paused",
        "Accept and keep everything, but run nothing until \"picloud resume\".",
    ),
];

impl Page {
    fn render(&self) -> io::Result<String> {
        let mut command = self.command.clone();
        command.build();
        let version = command.get_version().unwrap_or_default().to_owned();
        let man = Man::new(self.command.clone().disable_help_subcommand(true))
            .title(command.get_name().to_uppercase())
            .section(self.section)
            // No date: the same sources make the same page.
            .date("")
            .source(format!("{} {version}", command.get_name()))
            .manual("PiCloud");
        let mut page = Vec::new();
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        let mut roff = Roff::new();
        let rest =
            [roman(" ["), italic("OPTION"), roman("]... "), italic("COMMAND"), roman(" ...")];
        let synopsis: Vec<Inline> = [bold(command.get_name())].into_iter().chain(rest).collect();
        roff.control("SH", ["SYNOPSIS"]).text(synopsis);
        roff.control("SH", ["DESCRIPTION"]);
        for paragraph in self.description.lines() {
            roff.control("PP", []).text([roman(paragraph)]);
        }
        roff.to_writer(&mut page)?;
        man.render_options_section(&mut page)?;
        let mut roff = Roff::new();
        roff.control("SH", ["COMMANDS"]);
        for sub in command.get_subcommands() {
            verbs(sub, &mut roff);
        }
        for (heading, entries) in &self.more {
            roff.control("SH", [*heading]);
            for (name, text) in entries {
                roff.control("TP", []).text([bold(name)]).text([roman(text)]);
            }
        }
        roff.control("SH", ["SEE ALSO"]).text([roman(self.see_also)]);
        roff.to_writer(&mut page)?;
        String::from_utf8(page).map_err(io::Error::other)
    }
}

/// Each command that can be given, with its own options.
fn verbs(command: &Command, roff: &mut Roff) {
    if command.get_name() == "help" {
        return;
    }
    if command.has_subcommands() {
        for sub in command.get_subcommands() {
            verbs(sub, roff);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let usage =
        usage.trim_start_matches("Usage: ").replace("[OPTIONS] ", "").replace(" [OPTIONS]", "");
    // What stands in a heading is not escaped, and a hyphen would be set as one that no shell knows.
    roff.control("SS", [usage.replace('-', "\\-").as_str()]);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    roff.text([roman(format!("{about}."))]);
    let own = |arg: &&Arg| !arg.is_global_set() && arg.get_id() != "help";
    for arg in command.get_arguments().filter(own) {
        let mut name = Vec::new();
        if let Some(long) = arg.get_long() {
            name.push(bold(format!("--{long}")));
        }
        if arg.get_action().takes_values() {
            let space = if name.is_empty() { "" } else { " " };
            let values: Vec<&str> = arg
                .get_value_names()
                .unwrap_or_default()
                .iter()
                .map(|name| name.as_str())
                .collect();
            name.extend([roman(space), italic(values.join(" "))]);
        }
        let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults: Vec<_> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        // A switch is off by default, which goes without saying.
        if !defaults.is_empty() && arg.get_action().takes_values() {
            help.push_str(&format!(" [default: {}]", defaults.join(", ")));
        }
        roff.control("TP", []).text(name).text([roman(format!("{help}."))]);
    }
}

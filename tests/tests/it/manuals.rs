//! Man pages and completions that packages carry.

use std::fs;
use std::process::{Command, Stdio};

use picloud_tests::manuals;

#[test]
fn the_man_pages_have_every_command_and_what_clap_does_not_know() {
    let page = manuals::picloud().expect("it is text");
    for heading in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "COMMANDS",
        "\"EXIT STATUS\"",
        "ENVIRONMENT",
        "FILES",
        "EXAMPLES",
        "\"SEE ALSO\"",
    ] {
        assert_eq!(page.matches(&format!(".SH {heading}\n")).count(), 1, "{heading}");
    }
    let commands = commands(&picloud_tui::cli::command(), "picloud");
    assert!(commands.len() > 40, "{commands:?}");
    for command in commands {
        let heading = format!(".SS \"{}", command.replace('-', "\\-"));
        assert!(page.contains(&heading), "{command}");
    }
    let page = manuals::picloud_tui().expect("it is text");
    for part in [".SH KEYS", "\\-\\-screenshot", "NO_COLOR", "Stop what is shown; go on."] {
        assert!(page.contains(part), "{part}");
    }
    let page = manuals::picloudd().expect("it is text");
    for part in [".SS \"picloudd run\"", "\\-\\-paused", "SIGTERM", "/etc/picloud/picloud.toml"] {
        assert!(page.contains(part), "{part}");
    }
}

/// All commands that do something.
fn commands(command: &clap::Command, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    for sub in command.get_subcommands() {
        let path = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() { all.extend(commands(sub, &path)) } else { all.push(path) }
    }
    all
}

#[test]
fn the_same_sources_make_the_same_files() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut made = Vec::new();
    for name in ["a", "b"] {
        let folder = folder.path().join(name);
        manuals::write(&folder).expect("the folder is ours");
        let read = |file: &str| fs::read_to_string(folder.join(file)).expect("it was written");
        made.push(
            [
                "man/picloud.1",
                "man/picloud-tui.1",
                "man/picloudd.8",
                "completions/picloud",
                "completions/_picloud",
                "completions/picloud.fish",
            ]
            .map(read),
        );
    }
    assert_eq!(made[0], made[1]);
    assert!(made[0].iter().all(|text| !text.is_empty() && text.ends_with('\n')));
}

/// Where groff is there, it must have nothing to complain of.
#[test]
fn the_man_pages_are_set_without_a_warning() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    manuals::write(folder.path()).expect("the folder is ours");
    for page in ["man/picloud.1", "man/picloud-tui.1", "man/picloudd.8"] {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tutf8", "-ww", "-z"]).arg(folder.path().join(page));
        let Ok(output) = groff.stdin(Stdio::null()).output() else {
            println!("groff is not installed: the man pages are not set");
            return;
        };
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{page}: {complaints}");
    }
}

//! `docs/tour.md`, played against a real daemon. `PICLOUD_WRITE_DOCS=1` writes it anew.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use picloud_tests::daemon::program;
use picloud_tests::source::{self, documents_are_to_be_written};
use picloud_tests::tour::{self, Piece};
use picloud_tests::wait;

/// What the tour says in its first terminal, and the address that it names.
const START: &str = "picloudd demo --dir ./pi";
const ADDRESS: &str = "127.0.0.1:8080";

/// A process that goes with the value.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // Either fails only when it has ended.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// The demo's daemon in a folder, and the address that it serves at.
fn demo(folder: &Path) -> (Started, String) {
    let mut arguments: Vec<&str> = START.split(' ').skip(1).collect();
    arguments.extend(["--port", "0"]);
    let log = fs::File::create(folder.join("log")).expect("the folder is ours");
    let mut command = Command::new(program("picloudd"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(log);
    let mut child = Started(command.spawn().expect("the daemon is built with the tests"));
    let stdout = child.0.stdout.take().expect("it was asked for");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let address = lines.find_map(|line| {
        let (_, after) = line.split_once("http://")?;
        Some(after.split('/').next()?.to_owned())
    });
    // What else it says is read, so that it can go on saying it.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address.expect("the demo says where it listens"))
}

/// The second terminal.
struct Shell {
    _shell: Started,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    command: PathBuf,
}

/// Stands at the end of what a command printed.
const END: &str = "\u{1}the end\u{1}\n";

impl Shell {
    fn new(folder: &Path) -> Shell {
        let programs = folder.join("programs");
        fs::create_dir(&programs).expect("the folder is new");
        symlink(program("picloud"), programs.join("picloud")).expect("the folder is new");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display());
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc"]).current_dir(folder).env("PATH", path);
        // Without a terminal, curl would draw a bar for its progress.
        fs::write(folder.join(".curlrc"), "silent\nshow-error\n").expect("the folder is ours");
        bash.env("CURL_HOME", folder).env_remove("PICLOUD_URL").env_remove("PICLOUD_TOKEN");
        bash.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = Started(bash.spawn().expect("bash is there"));
        let input = shell.0.stdin.take().expect("it was asked for");
        let output = BufReader::new(shell.0.stdout.take().expect("it was asked for"));
        Shell { _shell: shell, input, output, command: folder.join("command") }
    }

    /// What a command prints, on both outputs.
    fn run(&mut self, command: &str) -> String {
        fs::write(&self.command, command).expect("the folder is ours");
        let file = self.command.display();
        writeln!(self.input, ". {file} 2>&1 </dev/null; printf '{END}'").expect("it reads");
        let mut printed = Vec::new();
        while !printed.ends_with(END.as_bytes()) {
            let read = self.output.read_until(b'\n', &mut printed).expect("it writes");
            assert!(read > 0, "the shell ended: {}", String::from_utf8_lossy(&printed));
        }
        printed.truncate(printed.len() - END.len());
        let mut printed = String::from_utf8(printed).expect("what is printed is text");
        if !printed.is_empty() && !printed.ends_with('\n') {
            printed.push('\n');
        }
        printed
    }

    /// Waits until nothing is left to run, so that what comes next sees how it ended.
    fn settle(&mut self) {
        wait::until("the outbox is empty", || {
            let waiting = self.run("test ! -S \"$PICLOUD_SOCKET\" || picloud outbox list --json");
            waiting.is_empty().then_some(())
        });
    }
}

/// Whether it may be done again and again until it is as expected: it only looks.
fn only_looks(command: &str) -> bool {
    command.split(' ').any(|word| ["list", "show"].contains(&word))
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("every system has it");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_tour_is_what_a_new_user_sees() {
    let path = source::root().join("docs/tour.md");
    let text = fs::read_to_string(&path).expect("the tour is there");
    assert!(text.contains(&format!("```sh\n{START}\n```")), "the tour starts otherwise");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (_demo, address) = demo(folder.path());
    let mut shell = Shell::new(folder.path());
    let user = user();
    // Ids of the document, and those that came in their place.
    let mut known = HashMap::new();
    let mut pieces = tour::pieces(&text);
    for piece in &mut pieces {
        let (command, expected) = match piece {
            Piece::Prose(_) => continue,
            Piece::File { path, text } => {
                let file = folder.path().join(path);
                fs::create_dir_all(file.parent().expect("it is below")).expect("it is ours");
                fs::write(file, text).expect("the folder is ours");
                continue;
            }
            Piece::Command { command, printed } => (command, printed),
        };
        let mine = tour::with_ids(command, &known).replace(ADDRESS, &address);
        shell.settle();
        let mut printed = String::new();
        let mut is_as_expected = || {
            printed = shell.run(&mine).replace(&address, ADDRESS);
            tour::masked(&printed, &user) == tour::masked(expected, &user)
        };
        if !documents_are_to_be_written() && only_looks(&mine) {
            // That a run has ended is in the store before it is among the executions.
            let _same = wait::within(wait::PATIENCE, || is_as_expected().then_some(()));
        } else {
            is_as_expected();
        }
        known.extend(tour::ids(expected).into_iter().zip(tour::ids(&printed)));
        if documents_are_to_be_written() {
            *command = tour::with_ids(command, &known);
            *expected = printed;
        } else {
            let (found, wanted) = (tour::masked(&printed, &user), tour::masked(expected, &user));
            assert_eq!(
                found, wanted,
                "\n$ {command}\n{printed}\ndocs/tour.md is out of date. Written anew it is with: \
                 PICLOUD_WRITE_DOCS=1 cargo test -p picloud-tests --test it tour"
            );
        }
    }
    if documents_are_to_be_written() {
        fs::write(&path, tour::document(&pieces)).expect("the tour can be written");
    }
}

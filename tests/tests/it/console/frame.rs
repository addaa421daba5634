//! Frames without a terminal.

use std::process::{Command, Output, Stdio};

use picloud_tests::daemon::{Site, program};

use crate::console::{garden, letters};

fn console(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(program("picloud-tui"));
    command.env_clear().env("LANG", "C.UTF-8").env("TERM", "xterm-256color");
    command.arg("--socket").arg(site.socket()).args(arguments).stdin(Stdio::null());
    command.output().expect("it is built with the tests")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("what is printed is text")
}

#[test]
fn a_frame_is_printed_as_text_of_the_size_that_was_asked_for() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 2);
    for (screen, press, sees) in [
        ("overview", "", "▲ 2 dead letters wait for you"),
        ("dead", "<enter>", "sensor 11 is silent"),
        ("scripts", "/water<enter>", "looks at the sensor"),
        ("system", "", "the store's file is whole"),
    ] {
        for (size, columns, rows) in [("80x24", 80, 24), ("60x15", 60, 15), ("100x30", 100, 30)] {
            let output =
                console(&site, &["--screenshot", screen, "--size", size, "--press", press]);
            let printed = text(&output.stdout);
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert_eq!(printed.lines().count(), rows, "{screen} {size}\n{printed}");
            let widest = printed.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns), "{screen} {size}\n{printed}");
            assert!(!printed.contains('\x1b'));
            if size != "60x15" {
                assert!(printed.contains(sees), "{screen} {size}: {sees}\n{printed}");
            }
        }
    }
    daemon.stop();
}

#[test]
fn without_a_daemon_or_a_terminal_it_says_so_and_fails() {
    let site = Site::new();
    for (arguments, says) in [
        (&["--screenshot", "overview", "--size", "80x24"][..], "no daemon answers at "),
        (&["01ARZ3NDEKTSV4RRFFQ69G5FAV"], "the console needs a terminal"),
        (&[], "the console needs a terminal"),
        (&["--screenshot", "overview", "--size", "80"], "\"80\" is no size such as 100x30"),
    ] {
        let output = console(&site, arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.starts_with(&format!("picloud-tui: {says}")), "{errors}");
        assert_eq!(text(&output.stdout), "");
    }
}

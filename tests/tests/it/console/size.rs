//! Terminals of every size, and those that change it all the time.

use picloud_tests::daemon::Site;

use crate::console::{garden, letters, live, open_at, quits, shows};

#[test]
fn through_a_storm_of_sizes_it_draws_what_fits() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 3);
    let mut console = live(&site);
    for key in ["1", "2", "3", "6", "9", "0", "?"] {
        console.keys(key);
        for (columns, rows) in
            [(1, 1), (300, 100), (2, 50), (300, 1), (59, 14), (60, 15), (79, 19), (80, 20), (1, 30)]
        {
            console.resize(columns, rows);
            console.keys("j");
        }
    }
    console.resize(100, 30);
    shows(&mut console, &["esc back", "to the last"]);
    console.keys("\x1b");
    shows(&mut console, &["the store's file is whole"]);
    for (columns, rows) in [(1, 1), (60, 15), (300, 100)] {
        console.resize(columns, rows);
        console.keys("3");
    }
    shows(&mut console, &["3 open, 1 group", "sensor # is silent", "● live"]);
    let screen = console.screen();
    let rule = screen.lines().nth(2).unwrap_or_default();
    assert_eq!(rule, "─".repeat(300), "{screen}");
    quits(console);
    daemon.stop();
}

#[test]
fn a_small_terminal_has_one_pane_and_a_smaller_one_says_what_to_take_instead() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    letters(&daemon, 1);
    let mut console = open_at(&site, &[], &[], (60, 15));
    shows(&mut console, &["● live", "3 Dead 1!", "1 dead letter waits for you"]);
    for (columns, rows) in [(59, 15), (60, 14)] {
        console.resize(columns, rows);
        let says = format!("too small: {columns}x{rows}, needs 60x15; or use `picloud stats`");
        // At 59 columns the line is cut.
        let says: String = says.chars().take(usize::from(columns)).collect();
        console.shows(|text| text.trim() == says, &says);
        console.resize(60, 15);
        shows(&mut console, &["3 Dead 1!"]);
    }
    quits(console);
    daemon.stop();
}

//! Pictures of every state that a screen can be in.

use picloud_api::VERSION;
use picloud_api::instance::Paused;
use picloud_api::problem::{Code, Problem};

use crate::client::{ClientError, OtherVersion};
use crate::message::{Failure, Live, Message};
use crate::model::Plots;
use crate::symbols::Charset;
use crate::tasks::failure;
use crate::tests::canned::{HOUR, NOW, id};
use crate::tests::frames::is_as_pictured;
use crate::tests::world::{Answers, World, gone};
use crate::theme::Theme;
use crate::view;

const USUAL: (u16, u16) = (80, 24);

#[track_caller]
fn is_pictured(name: &str, world: &World) {
    is_as_pictured(name, &world.frame());
}

#[test]
fn what_takes_long_is_spoken_of_after_300_ms() {
    let mut world = World::unstarted(USUAL);
    world.answers = Answers::Held;
    is_pictured("state-first-frame", &world);
    world.start();
    world.wait(300);
    is_pictured("state-connecting", &world);
    world.release();
    world.answers = Answers::Held;
    world.press("2");
    is_pictured("state-loading", &world);
    world.wait(300);
    is_pictured("state-loading-slow", &world);
}

#[test]
fn a_list_with_nothing_in_it_says_why() {
    let mut world = World::new(USUAL);
    world.daemon.empty.extend(["/apps/energy/triggers", "/apps/greenhouse/triggers"]);
    world.press("7");
    is_pictured("state-empty", &world);
    world.press("6/zzz<enter>");
    is_pictured("state-nothing-fits", &world);

    let mut world = World::unstarted(USUAL);
    world.daemon.stats.apps.clear();
    world.start();
    is_pictured("state-no-apps", &world);
}

#[test]
fn a_list_that_cannot_be_had_says_why_and_leaves_the_rest_usable() {
    let mut world = World::new(USUAL);
    let problem = Problem::new(Code::BadRequest, "the filter has an unknown key \"stat\"");
    world.daemon.refuses.insert("GET /outbox", problem.with_hint("did you mean \"state\"?"));
    world.press("2/stat:due<enter>");
    is_pictured("state-error", &world);
}

#[test]
fn what_was_there_stays_while_the_daemon_is_away() {
    let mut world = World::new(USUAL);
    world.press("2");
    world.lose();
    is_pictured("state-lost", &world);
    world.wait(100);
    world.press("r");
    is_pictured("state-lost-and-refused", &world);

    let mut world = World::unstarted(USUAL);
    world.answers = Answers::Fails(gone);
    world.start();
    is_pictured("state-no-daemon", &world);
}

#[test]
fn a_pause_says_since_when_and_what_was_missed() {
    let mut world = World::new(USUAL);
    world.press("2<space>");
    let mut stats = world.daemon.stats.clone();
    stats.all.as_mut().unwrap().total.runs += 312;
    world.counts(vec![Live::Stats(Box::new(stats))]);
    is_pictured("state-stopped", &world);
}

#[test]
fn what_everybody_has_to_know_stands_first() {
    let mut world = World::unstarted(USUAL);
    let pause = |target: &str, reason: &str, by: Option<&str>| Paused {
        target: target.to_owned(),
        reason: reason.to_owned(),
        since: NOW - 2 * HOUR,
        by: by.map(str::to_owned),
    };
    let all = world.daemon.stats.all.as_mut().unwrap();
    all.pauses = vec![
        pause("", "new pipes", Some("pi")),
        pause("greenhouse/on-reading", "1,000 dead letters", None),
    ];
    all.store.storage_low = true;
    world.start();
    is_pictured("state-paused-and-disk-low", &world);
    world.press("3");
    world.hear(Message::Resize(60, 15));
    is_pictured("state-paused-and-disk-low-60x15", &world);
}

#[test]
fn a_daemon_that_was_restarted_says_how() {
    let mut world = World::new(USUAL);
    world.press("2");
    world.daemon.instance_id = id("START", 2);
    world.daemon.stats.instance.id = id("START", 2);
    world.daemon.stats.instance.why = "stopped_in_order".to_owned();
    world.counts(vec![Live::Connected(picloud_api::events::Begin {
        instance_id: id("START", 2),
        ..Default::default()
    })]);
    is_pictured("state-restarted", &world);
}

#[test]
fn who_may_not_in_is_told_what_to_do() {
    let closed = || Failure::Closed { text: "you may not open /run/picloud/admin.sock".to_owned() };
    let mut world = World::unstarted(USUAL);
    world.answers = Answers::Fails(closed);
    world.start();
    is_pictured("state-closed", &world);

    let mut world = World::unstarted(USUAL);
    let problem = Problem::new(Code::NotAllowed, "pi lacks AppRead");
    world.daemon.refuses.insert("GET /instance", problem);
    world.start();
    is_pictured("state-not-allowed", &world);

    let mut world = World::unstarted(USUAL);
    world.daemon.capabilities = vec!["AppRead"];
    world.start();
    world.press("3r");
    is_pictured("state-read-only", &world);
}

#[test]
fn an_answer_that_makes_no_sense_is_told_as_it_is() {
    let odd = || {
        Failure::Odd("the daemon's answer cannot be understood: missing field `caller`".to_owned())
    };
    let mut world = World::unstarted(USUAL);
    world.answers = Answers::Fails(odd);
    world.start();
    is_pictured("state-odd", &world);
}

#[test]
fn a_daemon_of_another_major_version_is_told_with_the_package_to_upgrade() {
    let newer = || failure(ClientError::OtherVersion(OtherVersion::Newer(VERSION + 1)));
    let mut world = World::unstarted(USUAL);
    world.answers = Answers::Fails(newer);
    world.start();
    is_pictured("state-newer-daemon", &world);

    // It was exchanged while the console looked on.
    let older = || failure(ClientError::OtherVersion(OtherVersion::Older(None)));
    let mut world = World::new(USUAL);
    world.answers = Answers::Fails(older);
    world.press("2");
    is_pictured("state-older-daemon", &world);
}

#[test]
fn events_that_were_missed_are_counted() {
    let mut world = World::new(USUAL);
    world.press("2");
    world.happens(vec![Live::Missed(Some(118))]);
    is_pictured("state-missed", &world);
}

#[test]
fn drafts_show_what_was_changed() {
    let mut world = World::new((100, 30));
    world.editor = Box::new(|text| Some(text.replace("\"17\"", "17")));
    world.press("3<enter>e");
    is_pictured("draft-payload", &world);
    world.press("t");
    is_pictured("draft-payload-tried", &world);
    world.press("<esc>");
    is_pictured("draft-dropped", &world);

    let mut world = World::new(USUAL);
    world.editor = Box::new(|text| Some(text.replace("17", "17,")));
    world.press("8jj<enter>e");
    is_pictured("draft-bad-json", &world);
    world.editor = Box::new(|text| Some(text.replace("17,", "18")));
    world.press("e");
    is_pictured("draft-entry", &world);

    let mut world = World::new((60, 15));
    world.editor = Box::new(|text| Some(text.replace("dry", "too dry")));
    world.press("6Ge");
    is_pictured("draft-script-60x15", &world);
}

#[test]
fn somebody_elses_change_stands_beside_ones_own() {
    let mut world = World::new(USUAL);
    world.editor = Box::new(|text| Some(text.replace("dry", "too dry")));
    world.press("6Ge");
    world.daemon.source = world.daemon.source.replace("moisture;", "moisture * 2;");
    let problem = Problem::new(Code::Changed, "it is at version 13");
    world.daemon.refuses.insert("PUT /apps/greenhouse/scripts/warn", problem);
    world.press("y");
    is_pictured("draft-changed-meanwhile", &world);
}

#[test]
fn what_is_asked_says_what_will_be_done() {
    let mut world = World::new((100, 30));
    world.press("3r");
    is_pictured("asked-replay", &world);
    world.press("<esc>");
    world.hear(Message::Resize(80, 24));
    world.press("d");
    is_pictured("asked-discard", &world);
    world.press("<esc>");
    world.hear(Message::Resize(60, 15));
    world.answers = Answers::Held;
    world.press("r");
    is_pictured("asked-waiting-60x15", &world);
    world.release();
    is_pictured("asked-replay-60x15", &world);

    let mut world = World::new(USUAL);
    world.press("3bxjxd");
    is_pictured("asked-marked", &world);
    world.press("<esc>5d");
    is_pictured("asked-delete-app", &world);
}

#[test]
fn what_lies_over_the_screen_takes_its_place() {
    let mut world = World::new(USUAL);
    world.press("6?");
    is_pictured("overlay-help", &world);
    world.press("<esc>:dead");
    is_pictured("overlay-palette", &world);
    world.press("<esc>aj");
    is_pictured("overlay-scope", &world);
    world.press("<enter>");
    is_pictured("scoped", &world);
    world.press("3bY");
    is_pictured("overlay-copy-as", &world);
    world.press("<esc>/try:>=3 conn");
    is_pictured("overlay-filter", &world);
    world.press("<esc>6r");
    is_pictured("overlay-prompt", &world);
}

#[test]
fn the_views_of_a_row_fill_the_pane() {
    let mut world = World::new((100, 30));
    world.press("3<enter><tab><tab>");
    is_pictured("detail-tries", &world);
    world.press("<tab>");
    is_pictured("detail-script", &world);
    world.press("4c");
    is_pictured("detail-chain", &world);
    world.press("6Gv");
    world.press("j<tab>");
    is_pictured("detail-versions", &world);
    world.hear(Message::Resize(60, 15));
    world.press("5j<enter><enter>");
    is_pictured("detail-route-60x15", &world);
    world.press("0G<enter>");
    is_pictured("system-audit-60x15", &world);
}

/// Below each line of the frame, where it is not blank, the attributes of its cells.
fn with_attributes(world: &World) -> String {
    use ratatui::style::{Color, Modifier};
    let (buffer, _) = view::buffer(&world.model);
    let mark = |cell: &ratatui::buffer::Cell| {
        let has = |modifier| cell.modifier.contains(modifier);
        match (has(Modifier::REVERSED), cell.fg) {
            (true, _) => 'R',
            (false, Color::Red) => 'r',
            (false, Color::Green) => 'g',
            (false, Color::Cyan) => 'c',
            (false, Color::Magenta) => 'm',
            (false, _) if has(Modifier::BOLD) => 'B',
            (false, _) if has(Modifier::DIM) => 'd',
            (false, _) => ' ',
        }
    };
    let mut lines = Vec::new();
    for y in buffer.area.rows().map(|row| row.y) {
        let cells = (0..buffer.area.width).map(|x| &buffer[(x, y)]);
        lines.push(cells.clone().map(|cell| cell.symbol()).collect::<String>());
        lines.push(cells.map(mark).collect::<String>());
    }
    let trimmed: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    trimmed.join("\n")
}

#[test]
fn colours_attributes_and_letters_say_the_same() {
    for (theme, name) in [(Theme::Colours, "colours"), (Theme::Mono, "mono")] {
        let mut world = World::unstarted(USUAL);
        world.model.fixed.theme = theme;
        world.start();
        world.press("2");
        is_as_pictured(&format!("{name}-outbox"), &with_attributes(&world));
    }
    let mut world = World::unstarted(USUAL);
    world.model.fixed.theme = Theme::Mono;
    world.editor = Box::new(|text| Some(text.replace("\"17\"", "17")));
    world.start();
    world.press("3<enter>e");
    is_as_pictured("mono-draft", &with_attributes(&world));
}

#[test]
fn where_there_are_no_symbols_letters_stand_for_them() {
    for (name, keys) in [("overview", ""), ("outbox", "2"), ("chain", "4c")] {
        let mut world = World::unstarted(USUAL);
        world.model.fixed.charset = Charset::Ascii;
        world.start();
        world.press(keys);
        assert!(world.frame().is_ascii(), "{}", world.frame());
        is_pictured(&format!("ascii-{name}"), &world);
    }
    let mut world = World::unstarted(USUAL);
    world.model.fixed.charset = Charset::Ascii;
    world.model.fixed.plots = Plots::Left;
    world.start();
    is_pictured("plain-overview", &world);
}

#[test]
fn what_is_too_small_says_what_it_needs() {
    let mut world = World::new((59, 15));
    is_pictured("too-small", &world);
    world.hear(Message::Resize(60, 14));
    assert_eq!(world.frame().trim_end(), "too small: 60x14, needs 60x15; or use `picloud stats`");
    world.hear(Message::Resize(12, 2));
    assert_eq!(world.frame(), "too small: …\n");
}

#[test]
fn what_others_wrote_neither_reaches_the_terminal_nor_breaks_a_line() {
    let mut world = World::unstarted((100, 30));
    world.daemon.texts = crate::tests::daemon::Texts::Hostile;
    world.start();
    world.press("3b<enter>");
    is_pictured("hostile-letter", &world);
    world.press("9");
    is_pictured("hostile-log", &world);
}

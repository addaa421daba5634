//! What the console does with what comes, as tables.

use picloud_api::events::{Begin, OutboxEvent};
use picloud_api::problem::{Code, Problem};

use crate::columns::SortKey;
use crate::message::{Live, Message};
use crate::model::{Draft, Fetch, Flow, Focus, Link, shown};
use crate::purpose::Purpose;
use crate::reply::{Batch, Reply};
use crate::screen::Screen;
use crate::tests::canned::{NOW, id};
use crate::tests::world::{Answers, World, gone};
use crate::{update, view};

const SIZE: (u16, u16) = (100, 30);

fn at(keys: &str) -> World {
    let mut world = World::new(SIZE);
    world.press(keys);
    world.did();
    world
}

/// A row of the outbox that is newer than all others, or moves.
fn moved(n: usize, state: &str) -> Live {
    Live::Outbox(Box::new(OutboxEvent {
        state: state.to_owned(),
        at: NOW,
        id: id("ROW", n),
        app: "greenhouse".to_owned(),
        script: "record".to_owned(),
        source: "http".to_owned(),
        max_attempts: 5,
        root_id: id("ROW", n),
        ..OutboxEvent::default()
    }))
}

#[test]
fn a_key_acts_on_what_is_under_the_cursor_when_it_is_pressed() {
    let table = [
        ("2jr", vec![format!("POST /outbox/{}/run-now", id("ROW", 46))]),
        (
            "3br",
            vec![format!(r#"POST /dead-letters/{}/replay {{"hold_ms":10000}}"#, id("DEAD", 41))],
        ),
        (
            "3bGr",
            vec![format!(r#"POST /dead-letters/{}/replay {{"hold_ms":10000}}"#, id("DEAD", 1))],
        ),
        ("7jo", vec!["POST /apps/greenhouse/triggers/every-night/disable".to_owned()]),
        ("7jjo", vec!["POST /apps/greenhouse/triggers/on-dead/enable".to_owned()]),
        (
            "7P",
            vec![
                r#"POST /apps/energy/triggers/on-price/pause {"reason":"in the console"}"#
                    .to_owned(),
            ],
        ),
        ("7jdy", vec!["DELETE /apps/greenhouse/triggers/every-night at 7".to_owned()]),
        (
            "6Gvjry",
            vec![r#"POST /apps/greenhouse/scripts/warn/roll-back {"version":11}"#.to_owned()],
        ),
        ("8jj<enter>jdy", vec!["DELETE /apps/greenhouse/docs/readings/a4 at 4".to_owned()]),
        ("6r<enter>", vec![r#"POST /apps/energy/scripts/tariff/invoke {"payload":{}}"#.to_owned()]),
        ("5+attic<enter>", vec![r#"POST /apps {"slug":"attic"}"#.to_owned()]),
    ];
    for (keys, expected) in table {
        let mut world = World::new(SIZE);
        world.press(keys);
        assert_eq!(world.changed(), expected, "{keys}");
    }
}

#[test]
fn the_cursor_sticks_to_its_row_while_others_come_and_go() {
    let mut world = at("2j");
    let retried = id("ROW", 46);
    assert_eq!((world.cursor(), world.model.level().at), (retried.as_str(), 1));
    world.happens(vec![moved(48, "due"), moved(49, "run")]);
    assert_eq!((world.cursor(), world.model.level().at), (retried.as_str(), 3));
    // The key that was on its way when rows came hits the row that it was meant for.
    world.press("r");
    assert_eq!(world.changed(), [format!("POST /outbox/{retried}/run-now")]);
}

#[test]
fn a_row_that_vanishes_leaves_the_cursor_in_its_place() {
    let mut world = at("2j");
    world.happens(vec![moved(46, "done")]);
    assert_eq!(world.cursor(), id("ROW", 46), "it stays in sight");
    assert!(world.line("✓ done").contains("greenhouse/record"));
    world.daemon.outbox.retain(|row| row.id != id("ROW", 46));
    world.wait(5_000);
    assert_eq!((world.cursor(), world.model.level().at), (id("ROW", 45).as_str(), 1));
    world.press("G");
    world.daemon.outbox.truncate(3);
    world.press("R");
    assert_eq!((world.cursor(), world.model.level().at), (id("ROW", 44).as_str(), 2));
}

#[test]
fn the_newest_is_followed_only_where_that_was_asked_for() {
    let mut world = at("2jf");
    assert_eq!(world.cursor(), id("ROW", 47));
    world.happens(vec![moved(48, "due")]);
    assert_eq!(world.cursor(), id("ROW", 48));
    world.press("j");
    world.happens(vec![moved(49, "due")]);
    assert_eq!(world.cursor(), id("ROW", 47));
}

#[test]
fn rows_are_sorted_by_what_their_columns_mean() {
    let firsts = |world: &World| -> Vec<String> {
        shown(world.model.level()).iter().map(|row| row.name()).collect()
    };
    for (keys, first, last) in [
        // When: what was due first, and what is due last.
        ("2ss", id("ROW", 44), id("ROW", 43)),
        // Took: milliseconds are less than seconds.
        ("4ssssss", id("RUN", 90), id("RUN", 83)),
        ("4ssssssS", id("RUN", 83), id("RUN", 90)),
        // Text with and without numbers in front has one order.
        ("6sss", "energy/tariff".to_owned(), "greenhouse/warn".to_owned()),
    ] {
        let rows = firsts(&at(keys));
        assert_eq!((rows.first(), rows.last()), (Some(&first), Some(&last)), "{keys} {rows:?}");
    }
    let number = SortKey::Number(5.0);
    let text = SortKey::Text("4th".to_owned());
    assert_eq!(number.compare(&text), text.compare(&number).reverse());
}

#[test]
fn an_answer_that_nobody_waits_for_is_dropped() {
    let mut world = at("");
    world.answers = Answers::Held;
    world.press("2");
    let (late, _) = world.held[0].clone();
    world.press("3");
    world.did();
    let before = world.frame();
    let rows = Reply::Page(Batch { now: NOW, ..Batch::default() });
    world.hear(Message::Answer(late, Ok(rows)));
    world.hear(Message::Answer(late, Err(gone())));
    world.hear(Message::Events(late, vec![moved(50, "due")]));
    assert_eq!(world.frame(), before);
    assert!(matches!(world.model.link, Link::Live));
    assert!(world.did().is_empty());
}

#[test]
fn a_detail_that_comes_late_is_not_shown_with_another_row() {
    let mut world = at("3b");
    world.answers = Answers::Held;
    world.press("j");
    let first = world.held.pop_front().expect("the detail is asked for");
    world.press("j");
    let answer = world.daemon.answer(&first.1);
    world.hear(Message::Answer(first.0, answer));
    assert_eq!(world.cursor(), id("DEAD", 39));
    assert!(!world.frame().contains("\"moisture\""), "{}", world.frame());
}

#[test]
fn leaving_a_screen_aborts_what_it_asked_for() {
    let mut world = at("");
    world.answers = Answers::Held;
    world.press("2");
    let did = world.did();
    assert!(did.contains(&"GET /outbox".to_owned()), "{did:?}");
    world.press("3");
    let did = world.did();
    // The page and the stream of the outbox.
    assert_eq!(did.iter().filter(|one| *one == "abort").count(), 2, "{did:?}");
    let left = |purpose: &Purpose| matches!(purpose, Purpose::Page(place, _) | Purpose::Part(place, ..) if place.screen == Screen::Outbox);
    assert!(!world.model.asked.values().any(left));
}

#[test]
fn escape_takes_back_one_thing_at_a_time() {
    let mut world = at("3<enter>/refused<enter>xx<enter>");
    let state = |world: &World| {
        let level = world.model.level();
        (level.focus, level.marks.len(), level.filter.clone(), world.model.place().depth)
    };
    let refused = "refused".to_owned();
    assert_eq!(state(&world), (Focus::Detail, 2, refused.clone(), 1));
    for expected in [
        (Focus::List, 2, refused.clone(), 1),
        (Focus::List, 0, refused, 1),
        (Focus::List, 0, String::new(), 1),
        (Focus::List, 0, String::new(), 0),
        (Focus::List, 0, String::new(), 0),
    ] {
        world.press("<esc>");
        assert_eq!(state(&world), expected);
    }
    assert!(world.changed().is_empty());
}

#[test]
fn only_y_does_what_is_asked() {
    for no in ["<esc>", "n", "q", "<enter>", "<space>", "Y", "r", "<tab>", "<up>"] {
        let mut world = at("3r");
        world.press(no);
        assert!(world.changed().is_empty(), "{no}");
        assert!(world.model.overlay.is_none(), "{no}");
        assert_eq!(world.note(), "not done: replay", "{no}");
    }
    let mut world = at("3r");
    world.hear(Message::Paste("y".to_owned()));
    assert!(world.changed().is_empty());
    world.press("y");
    assert_eq!(world.changed().len(), 1);
    assert_eq!(world.note(), "replay: 38 done  u take the replays back");
}

#[test]
fn nothing_is_done_before_it_is_known_what() {
    let mut world = at("3");
    world.answers = Answers::Held;
    world.press("ryy<enter>");
    assert!(world.changed().is_empty());
    world.release();
    assert!(world.model.overlay.is_some());
    world.press("y");
    assert_eq!(world.changed().len(), 1);
}

#[test]
fn what_destroys_or_is_much_wants_its_number_typed() {
    let mut world = at("3d");
    world.press("y<enter>");
    assert!(world.changed().is_empty());
    assert_eq!(world.note(), "not done: 38 was to be typed");
    world.press("d38<enter>");
    assert!(world.changed()[0].starts_with("POST /dead-letters/discard "));

    let mut world = World::new(SIZE);
    let more = world.daemon.letters.last().cloned().expect("there are letters");
    world.daemon.letters.extend(
        (1..=63).map(|n| picloud_api::list::DeadLetterItem { id: id("CROWD", n), ..more.clone() }),
    );
    world.press("3ry<enter>");
    assert!(world.changed().is_empty(), "101 are too many for a y");
    world.press("r101<enter>");
    assert!(world.changed()[0].starts_with("POST /dead-letters/replay "));

    let mut world = at("5d");
    world.press("greenhouse<enter>");
    assert!(world.changed().is_empty());
    world.press("denergy<enter>");
    assert_eq!(world.changed(), ["DELETE /apps/energy"]);
}

#[test]
fn a_call_in_bulk_hits_what_was_previewed_and_nothing_that_came_later() {
    let mut world = at("3r");
    let newer = picloud_api::list::DeadLetterItem {
        id: id("DEAD", 99),
        ..world.daemon.letters.last().cloned().expect("there are letters")
    };
    world.daemon.letters.insert(0, newer);
    // What the list shows meanwhile does not matter.
    let mut stats = world.daemon.stats.clone();
    stats.apps[1].dead_letters += 1;
    world.counts(vec![Live::Stats(Box::new(stats))]);
    world.press("y");
    let changed = world.changed();
    let (call, body) = changed[0].split_once(" {").expect("it has a body");
    assert_eq!(call, "POST /dead-letters/replay");
    let body: serde_json::Value = serde_json::from_str(&format!("{{{body}")).expect("JSON");
    let expected = serde_json::json!({
        "filter": r#"app:greenhouse script:warn kind:runtime error:"http: connection refused (api.example.org)""#,
        "up_to": id("DEAD", 38), "expect": 38, "as_of": NOW, "hold_ms": 10_000,
    });
    assert_eq!(body, expected);
}

#[test]
fn a_call_in_bulk_keeps_to_the_app_that_is_shown() {
    let mut world = at("aj<enter>3r");
    world.press("y");
    let changed = world.changed();
    assert!(changed[0].contains(r#""app":"energy""#), "{changed:?}");
    assert!(changed[0].contains(r#""expect":2"#), "{changed:?}");
}

#[test]
fn what_is_marked_is_named_one_by_one() {
    let mut world = at("3bxjxr");
    assert_eq!(world.model.level().marks.len(), 2);
    world.press("y");
    let ids = [id("DEAD", 41), id("DEAD", 39)];
    let expected = ids.map(|id| format!(r#"POST /dead-letters/{id}/replay {{"hold_ms":10000}}"#));
    assert_eq!(world.changed(), expected);
    world.press("u");
    let taken_back = serde_json::json!({ "ids": [id("DEAD", 41), id("DEAD", 39)] });
    assert_eq!(world.changed(), [format!("POST /dead-letters/take-back {taken_back}")]);
}

#[test]
fn undo_is_offered_as_long_as_it_is_true() {
    let mut world = at("3br");
    world.changed();
    world.wait(9_000);
    assert!(world.model.undo.is_some());
    world.press("u");
    let taken_back = format!(r#"POST /dead-letters/take-back {{"ids":["{}"]}}"#, id("DEAD", 41));
    assert_eq!(world.changed(), [taken_back]);
    assert_eq!(world.note(), "1 back");

    let mut world = at("3br");
    world.changed();
    world.wait(10_000);
    assert!(!world.frame().contains("take the replay back"));
    world.press("u");
    assert_eq!(world.note(), "there is nothing to undo");
    assert!(world.changed().is_empty());
}

#[test]
fn each_undo_sets_what_was_before() {
    for (keys, expected) in [
        ("3bdyu", format!("POST /dead-letters/{}/reopen", id("DEAD", 41))),
        ("7ou", "POST /apps/energy/triggers/on-price/enable".to_owned()),
        ("7Pu", "POST /apps/energy/triggers/on-price/resume".to_owned()),
        ("6Gvjryu", r#"POST /apps/greenhouse/scripts/warn/roll-back {"version":12}"#.to_owned()),
    ] {
        let mut world = World::new(SIZE);
        world.press(keys);
        assert_eq!(world.changed().last(), Some(&expected), "{keys}");
    }
    // Writes fire triggers: nothing takes that back, and nothing claims to.
    let mut world = World::new(SIZE);
    world.editor = Box::new(|text| Some(text.replace("17", "18")));
    world.press("8jj<enter>ey");
    assert_eq!(world.note(), "saved; sets off on-reading");
    assert!(world.model.undo.is_none());
}

#[test]
fn without_a_daemon_nothing_is_asked_or_changed_and_edits_are_kept() {
    let mut world = World::new(SIZE);
    world.editor = Box::new(|text| Some(text.replace("dry", "too dry")));
    world.press("6Ge");
    world.lose();
    world.did();
    let now = world.model.now;
    for key in ["y", "t", "r"] {
        let key = crate::screenshot::keys(key).expect("a key")[0];
        let effects = update::update(&mut world.model, Message::Key(key), now);
        assert!(effects.is_empty(), "{key:?} {effects:?}");
    }
    assert!(
        matches!(&world.model.level().draft, Some(Draft { text, .. }) if text.contains("too dry"))
    );
    for keys in ["7o", "3r", "3bd", "2r", "0", "u"] {
        for key in crate::screenshot::keys(keys).expect("keys") {
            let effects = update::update(&mut world.model, Message::Key(key), now);
            assert!(effects.is_empty(), "{keys} {effects:?}");
        }
    }
    world.answers = Answers::AtOnce;
    world.press("R6");
    assert!(matches!(world.model.link, Link::Live));
    world.press("y");
    assert_eq!(world.note(), "greenhouse/warn v13 is live  u back to v12");
}

#[test]
fn what_was_asked_before_the_daemon_went_is_not_done_after_it() {
    for (opens, answers) in
        [("3r", "y"), ("3d", "38<enter>"), ("5+attic", "<enter>"), ("6r", "<enter>")]
    {
        let mut world = at(opens);
        world.did();
        world.lose();
        world.press(answers);
        assert!(world.changed().is_empty(), "{opens}");
        let says = "not connected: nothing is changed, and nothing is kept for later";
        assert_eq!(world.note(), says, "{opens}");
    }
}

#[test]
fn the_daemon_is_looked_for_less_and_less_often() {
    let mut world = at("");
    world.lose();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let Link::Lost(lost) = &world.model.link else { panic!("it is lost") };
        let wait = lost.again_at - world.model.now;
        waits.push(wait);
        world.did();
        world.wait(wait - 1);
        assert!(world.did().is_empty(), "before its time");
        world.wait(1);
        assert!(world.did().contains(&"GET /instance".to_owned()));
    }
    for (wait, least) in waits.iter().zip([250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]) {
        assert!((least..=least * 6 / 5).contains(wait), "{waits:?}");
    }
    world.answers = Answers::AtOnce;
    world.press("R");
    assert!(matches!(world.model.link, Link::Live));
}

#[test]
fn another_start_of_the_daemon_has_everything_fetched_anew() {
    let mut world = at("2");
    world.daemon.instance_id = id("START", 2);
    let begin = Begin { instance_id: id("START", 2), ..Begin::default() };
    world.counts(vec![Live::Connected(begin.clone())]);
    let did = world.did();
    for asked in ["GET /instance", "GET /stats", "GET /outbox"] {
        assert!(did.contains(&asked.to_owned()), "{asked}: {did:?}");
    }
    let streams = |wanted: fn(&Purpose) -> bool| {
        world.model.asked.values().filter(|purpose| wanted(purpose)).count()
    };
    assert_eq!(streams(|purpose| matches!(purpose, Purpose::StatsStream)), 1);
    assert_eq!(streams(|purpose| matches!(purpose, Purpose::RowsStream)), 1);
    assert!(world.frame().contains("restarted 14:02:31"));
    world.counts(vec![Live::Connected(begin)]);
    assert!(world.did().is_empty(), "the same start is nothing new");
    world.wait(30_000);
    assert!(!world.frame().contains("restarted"));
}

#[test]
fn a_pause_closes_the_stream_and_goes_on_with_a_fresh_page() {
    let mut world = at("2");
    world.press("<space>");
    assert_eq!(world.did(), ["abort"]);
    assert!(matches!(world.model.flow, Flow::Paused { .. }));
    world.wait(60_000);
    assert!(world.did().is_empty());
    world.press("<space>");
    let did = world.did();
    assert!(did.contains(&"GET /outbox".to_owned()), "{did:?}");
    assert!(
        did.iter().any(|one| one.starts_with("follow /events?filter=kind%3Aoutbox")),
        "{did:?}"
    );
}

#[test]
fn a_paste_is_text_in_fields_and_nothing_elsewhere() {
    let mut world = at("3b");
    world.hear(Message::Paste("rdy\nq".to_owned()));
    assert!(world.did().is_empty());
    assert_eq!(world.note(), "a paste is taken in fields only");
    world.press("/");
    world.hear(Message::Paste("conn\u{1b}ection\nrefused\n".to_owned()));
    world.press("<enter>");
    assert_eq!(world.model.level().filter, "connection refused");
}

#[test]
fn what_is_not_allowed_says_why() {
    let mut world = World::unstarted(SIZE);
    world.daemon.capabilities = vec!["AppRead"];
    world.start();
    for (keys, says) in [
        ("3r", "you may not replay: it asks for DeadLettersResolve"),
        ("2r", "you may not run now: it asks for OutboxManage"),
        ("6e", "you may not edit: it asks for AppManageScripts"),
        ("7o", "you may not on/off: it asks for AppManageTriggers"),
        ("5d", "you may not delete: it asks for AppWrite"),
    ] {
        world.press(keys);
        assert_eq!(world.note(), says, "{keys}");
        assert!(world.changed().is_empty(), "{keys}");
        assert!(world.model.overlay.is_none(), "{keys}");
    }
    // What only looks is allowed.
    world.press("4c");
    assert_eq!(world.model.level().focus, Focus::Detail);
}

#[test]
fn the_overview_has_the_runs_that_ended_while_other_screens_were_shown() {
    let mut world = at("7");
    let newest = world.daemon.runs[0].clone();
    let new = picloud_api::list::ExecutionItem { id: id("RUN", 99), ..newest };
    world.daemon.runs.insert(0, new);
    world.press("1");
    assert_eq!(world.model.recent[0].id, id("RUN", 99));
}

#[test]
fn who_may_look_at_one_app_is_shown_that_one() {
    let mut world = World::unstarted(SIZE);
    world.daemon.only = Some("energy");
    world.daemon.capabilities.clear();
    world.start();
    world.wait(200);
    assert_eq!(world.model.scope.as_deref(), Some("energy"));
    world.press("3");
    assert!(world.frame().contains("energy/tariff"), "{}", world.frame());
}

#[test]
fn from_one_app_the_way_to_the_others_is_still_there() {
    let mut world = at("aj<enter>a");
    assert!(world.frame().contains("greenhouse"), "{}", world.frame());
    world.press("j<enter>");
    assert_eq!(world.model.scope.as_deref(), Some("greenhouse"));
}

#[test]
fn what_fails_says_what_and_why() {
    let mut world = at("7");
    let problem = Problem::new(Code::Paused, "greenhouse is paused").with_hint("picloud resume");
    world.daemon.refuses.insert("POST /apps/energy/triggers/on-price/disable", problem);
    world.press("o");
    assert_eq!(
        world.note(),
        "could not disable energy/on-price: greenhouse is paused  (picloud resume)"
    );
    assert!(world.model.undo.is_none());
}

#[test]
fn time_alone_changes_no_frame_before_it_was_announced() {
    // The rows of the outbox tell their age; what is still is what comes without time passing.
    let still = [("2", 0), ("2<space>", 0)];
    let slow = ["", "3", "3b", "4", "5", "6", "7", "8", "9", "0", "?", ":", "3r", "9<space>"];
    for (keys, most) in slow.map(|keys| (keys, i64::MAX)).into_iter().chain(still) {
        let mut world = at(keys);
        world.wait(10_000);
        let frame = view::buffer(&world.model);
        let wake = update::wake_at(&world.model).expect("the clock moves on");
        assert!(wake > world.model.now, "{keys}");
        let rest = wake - world.model.now - 1;
        world.did();
        world.wait(rest.min(most));
        assert!(view::buffer(&world.model) == frame, "{keys}\n{}", world.frame());
        assert!(world.did().is_empty(), "{keys}");
    }
}

#[test]
fn a_list_that_cannot_be_had_is_not_asked_for_again_and_again() {
    let mut world = at("");
    let problem = Problem::new(Code::Busy, "too much is asked for");
    world.daemon.refuses.insert("GET /outbox", problem);
    world.press("2");
    world.did();
    world.wait(60_000);
    assert!(!world.did().iter().any(|one| one == "GET /outbox"));
    assert!(matches!(world.model.level().fetch, Fetch::Failed(_)));
    world.daemon.refuses.clear();
    world.press("R");
    assert!(world.did().contains(&"GET /outbox".to_owned()));
    assert_eq!(world.cursor(), id("ROW", 47));
}

#[test]
fn the_secrets_of_an_app_are_one_key_from_its_routes_and_back() {
    let mut world = at("5<enter>b");
    assert!(world.frame().contains("API_KEY"), "{}", world.frame());
    world.press("d");
    assert!(world.frame().contains("delete"), "{}", world.frame());
    world.press("<esc>b");
    assert!(world.frame().contains("POST"), "{}", world.frame());
}

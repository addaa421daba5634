//! The five jobs of whoever sits here, each with no more keys than it may take; typing of names apart.

use crate::tests::canned::id;
use crate::tests::world::World;

const SIZE: (u16, u16) = (100, 30);

#[test]
fn is_everything_all_right_also_after_the_power_cut() {
    let world = World::new(SIZE);
    assert!(world.line("dead letters").ends_with("press 3"));
    assert!(world.line("store").contains("since a power cut Nov 17 14:02: 3 runs taken up"));
}

#[test]
fn why_did_the_run_at_night_fail_mend_its_payload_and_replay_it() {
    let mut world = World::new(SIZE);
    world.editor = Box::new(|text| Some(text.replace("\"17\"", "17")));
    world.press("3<enter><enter>e");
    assert!(world.frame().contains("+     \"moisture\": 17"));
    world.press("r");
    let changed = world.changed();
    assert_eq!(changed.len(), 1);
    let call = format!("POST /dead-letters/{}/replay ", id("DEAD", 38));
    assert!(changed[0].starts_with(&call), "{changed:?}");
    assert!(changed[0].contains(r#""moisture":17"#), "{changed:?}");
    assert!(world.model.level().draft.is_none());
    assert_eq!(world.model.level().rows.len(), 37);
}

#[test]
fn replay_the_letters_of_one_outage() {
    let mut world = World::new(SIZE);
    world.press("3ry");
    assert_eq!(world.note(), "replay: 38 done  u take the replays back");
    assert!(world.frame().contains("2 groups"));
    world.press("u");
    assert_eq!(world.note(), "38 back");
    assert!(world.frame().contains("3 groups"));
}

#[test]
fn what_does_the_request_of_a_sensor_set_off() {
    let mut world = World::new(SIZE);
    world.press("2/readings<enter><space>c");
    let frame = world.frame();
    assert!(frame.contains("/readings"), "{frame}");
    let first = frame.find("greenhouse/record  POST").expect("the cause");
    assert!(first < frame.find("greenhouse/notify").expect("what it set off"));
}

#[test]
fn change_a_script_try_it_on_the_last_event_and_put_it_live() {
    let mut world = World::new(SIZE);
    world.editor = Box::new(|text| Some(text.replace("dry", "too dry")));
    world.press("6/warn<enter>et");
    assert!(
        world.line("dry run v12").contains("your edit, on the event of 01J9ZK"),
        "{}",
        world.frame()
    );
    world.press("y");
    let changed = world.changed();
    assert!(changed[0].starts_with("POST /apps/greenhouse/scripts/warn/dry-run "), "{changed:?}");
    assert!(changed[1].starts_with("PUT /apps/greenhouse/scripts/warn at 12 "), "{changed:?}");
    assert_eq!(world.note(), "greenhouse/warn v13 is live  u back to v12");
}

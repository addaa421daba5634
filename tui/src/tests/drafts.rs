//! What is edited and not saved: it keeps to its own row, and answers keep to what they were asked about.

use crate::message::Message;
use crate::model::{Draft, Overlay};
use crate::purpose::Purpose;
use crate::tests::canned::id;
use crate::tests::world::{Answers, World};

const SIZE: (u16, u16) = (100, 30);

fn edited(keys: &str) -> World {
    let mut world = World::new(SIZE);
    world.editor = Box::new(|text| Some(text.replace("dry", "too dry").replace("\"17\"", "17")));
    world.press(keys);
    assert!(world.model.level().draft.is_some(), "{}", world.frame());
    world.did();
    world
}

#[test]
fn while_an_edit_is_not_saved_keys_are_about_its_row_alone() {
    let mut world = edited("3be");
    let row = world.cursor().to_owned();
    for keys in ["d", "b", "3", "q", "aj<enter>", "<tab><tab><tab><tab><tab><tab>j"] {
        world.press(keys);
        assert_eq!(world.note(), "first save what you have edited, or drop it with esc", "{keys}");
        assert_eq!(world.cursor(), row);
        assert!(world.model.level().draft.is_some() && world.model.overlay.is_none(), "{keys}");
        assert!(!world.did().iter().any(|did| did.starts_with("POST") || did == "quit"), "{keys}");
    }
    world.press("r");
    let changed = world.changed();
    assert!(changed[0].starts_with(&format!("POST /dead-letters/{row}/replay ")), "{changed:?}");

    // Of a script `r` would run what is live, and not the edit.
    let mut world = edited("6Ge");
    world.press("r");
    assert!(world.model.overlay.is_none() && world.changed().is_empty());
}

#[test]
fn what_a_question_was_about_is_not_taken_for_what_another_one_is_about() {
    let mut world = World::new(SIZE);
    world.press("3");
    world.answers = Answers::Held;
    world.press("r");
    let first = world.ticket(|purpose| matches!(purpose, Purpose::Preview));
    let (_, question) = world.held.pop_back().expect("it was asked");
    world.press("<esc>jd");
    // The first answer comes when the second question stands.
    let answer = world.daemon.answer(&question);
    world.hear(Message::Answer(first, answer));
    let Some(Overlay::Confirm(confirm)) = &world.model.overlay else { panic!("{}", world.frame()) };
    assert_eq!(confirm.title, "Discard?");
    world.release();
    assert!(world.frame().contains("Discard 2 dead letters?"), "{}", world.frame());
}

#[test]
fn a_preview_says_when_it_is_about_more_than_the_group() {
    let mut world = World::new(SIZE);
    world.press("3");
    let more = world.daemon.letters.last().cloned().expect("there are letters");
    let more = picloud_api::list::DeadLetterItem { id: id("MORE", 1), ..more };
    world.daemon.letters.push(more);
    world.press("r");
    assert!(world.frame().contains("the group has 38: the filter finds 39"), "{}", world.frame());
}

#[test]
fn what_is_edited_on_while_it_is_saved_is_kept() {
    let mut world = edited("6Ge");
    world.answers = Answers::Held;
    world.press("y");
    world.editor = Box::new(|text| Some(format!("{text}// more\n")));
    world.press("e");
    world.release();
    let draft = world.model.level().draft.as_ref();
    assert!(matches!(draft, Some(Draft { text, .. }) if text.ends_with("// more\n")), "{draft:?}");
}

#[test]
fn blanks_in_an_error_are_part_of_the_filter_that_finds_it() {
    let mut world = World::new(SIZE);
    for letter in &mut world.daemon.letters {
        letter.error.message =
            letter.error.message.replace("connection refused", "connection  refused");
    }
    world.press("3ry");
    let changed = world.changed();
    assert!(changed[0].contains("connection  refused"), "{changed:?}");
    assert!(changed[0].contains(r#""expect":38"#), "{changed:?}");
}

#[test]
fn a_save_whose_daemon_goes_says_what_became_of_it_and_keeps_the_edit() {
    let mut world = edited("6Ge");
    world.answers = Answers::Held;
    world.press("y");
    let save = world.ticket(|purpose| matches!(purpose, Purpose::Save(..)));
    world.lose();
    world.hear(Message::Answer(save, Err(crate::tests::world::gone())));
    assert!(world.note().starts_with("not saved: "), "{}", world.note());
    assert!(world.model.level().draft.is_some());
}

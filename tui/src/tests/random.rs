//! Whatever comes, in whatever order: nothing panics, every frame fits, and no key acts on anything but what was shown.

use picloud_api::VERSION;
use picloud_api::events::{Begin, LogEntry, OutboxEvent};
use picloud_api::problem::{Code, Problem};
use proptest::prelude::*;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::client::{ClientError, OtherVersion};
use crate::effect::{Effect, Ticket};
use crate::keys::{KEYS, Press};
use crate::message::{Failure, Live, Message};
use crate::model::{Link, Model, shown};
use crate::purpose::Purpose;
use crate::reply::Reply;
use crate::symbols::Charset;
use crate::tasks::failure;
use crate::tests::canned::{self, NOW, id};
use crate::tests::daemon::Texts;
use crate::tests::world::{Answers, World, gone};
use crate::{item::Item, update, view};

/// Something that comes to the console.
#[derive(Clone, Debug)]
enum Comes {
    Key(KeyCode, KeyModifiers),
    Paste(String),
    Resize(u16, u16),
    Wheel(i32),
    Click(u16),
    Wait(i64),
    /// From now on answers are held back, or come at once.
    Hold,
    Release,
    /// One of the answers that are held, also of those that nobody waits for any more; or another one instead.
    Answer(usize, Instead),
    /// For a question that was never asked.
    Unasked(u64),
    Event(Happens, usize),
    Lost,
    Back,
}

#[derive(Clone, Copy, Debug)]
enum Instead {
    Nothing,
    NoDaemon,
    Closed,
    Problem,
    Odd,
    Newer,
    /// An answer to another question.
    Other,
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    Stats,
    Row,
    Run,
    Log,
    Missed,
    Restart,
}

/// Every key of the table, and those that are typed.
fn keys() -> Vec<(KeyCode, KeyModifiers)> {
    let event = |press: &Press| match press {
        Press::Plain(code) => (*code, KeyModifiers::NONE),
        Press::Control(c) => (KeyCode::Char(*c), KeyModifiers::CONTROL),
    };
    let table = KEYS.iter().flat_map(|binding| binding.keys).map(event);
    // What opens, moves and confirms comes more often.
    let often = "yyjjk\n\n3861dr0".chars().map(|c| match c {
        '\n' => KeyCode::Enter,
        c => KeyCode::Char(c),
    });
    let typed = "w:-\"水1e".chars().map(KeyCode::Char).chain([
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::Insert,
        KeyCode::F(5),
    ]);
    let plain = often.chain(typed).map(|code| (code, KeyModifiers::NONE));
    table.chain(plain).collect()
}

fn comes() -> impl Strategy<Value = Comes> {
    use Comes::{
        Answer, Back, Click, Event, Hold, Key, Lost, Paste, Release, Resize, Unasked, Wait, Wheel,
    };
    let instead = prop_oneof![
        6 => Just(Instead::Nothing),
        1 => Just(Instead::NoDaemon),
        1 => Just(Instead::Closed),
        2 => Just(Instead::Problem),
        1 => Just(Instead::Odd),
        1 => Just(Instead::Newer),
        2 => Just(Instead::Other),
    ];
    let happens = prop_oneof![
        Just(Happens::Stats),
        Just(Happens::Row),
        Just(Happens::Run),
        Just(Happens::Log),
        Just(Happens::Missed),
        Just(Happens::Restart),
    ];
    prop_oneof![
        30 => prop::sample::select(keys()).prop_map(|(code, modifiers)| Key(code, modifiers)),
        1 => "\\PC{0,20}|y\n|\u{1b}\\[31m".prop_map(Paste),
        3 => (1_u16..=200, 1_u16..=60).prop_map(|(columns, rows)| Resize(columns, rows)),
        1 => prop::sample::select(vec![(100, 30), (80, 24), (60, 15)])
            .prop_map(|(columns, rows)| Resize(columns, rows)),
        1 => (-2..3).prop_map(Wheel),
        1 => (0_u16..70).prop_map(Click),
        5 => prop::sample::select(vec![0, 1, 150, 300, 1_000, 6_000, 61_000]).prop_map(Wait),
        2 => Just(Hold),
        2 => Just(Release),
        6 => (any::<usize>(), instead).prop_map(|(n, instead)| Answer(n, instead)),
        1 => (0_u64..200).prop_map(Unasked),
        6 => (happens, 0_usize..60).prop_map(|(happens, n)| Event(happens, n)),
        1 => Just(Lost),
        2 => Just(Back),
    ]
}

fn play(world: &mut World, comes: Comes) {
    match comes {
        Comes::Key(code, modifiers) => {
            world.hear(Message::Key(KeyEvent::new(code, modifiers)));
        }
        Comes::Paste(text) => world.hear(Message::Paste(text)),
        Comes::Resize(columns, rows) => world.hear(Message::Resize(columns, rows)),
        Comes::Wheel(rows) => world.hear(Message::Wheel(rows)),
        Comes::Click(row) => world.hear(Message::Click(row)),
        Comes::Wait(ms) => world.wait(ms),
        Comes::Hold => world.answers = Answers::Held,
        Comes::Release => world.release(),
        Comes::Answer(n, instead) => answer(world, n, instead),
        Comes::Unasked(n) => {
            world.hear(Message::Answer(Ticket(1_000 + n), Ok(Reply::Anything)));
            world.hear(Message::Events(Ticket(1_000 + n), vec![event(Happens::Row, 3)]));
            world.hear(Message::Edited(Ticket(1_000 + n), Ok(Some("{}".to_owned()))));
        }
        Comes::Event(happens, n) => {
            let is_stats = matches!(happens, Happens::Stats | Happens::Restart);
            let wanted = |purpose: &Purpose| match purpose {
                Purpose::StatsStream => is_stats,
                Purpose::RowsStream => !is_stats,
                _ => false,
            };
            let asked = world.model.asked.iter().find(|(_, purpose)| wanted(purpose));
            let ticket = asked.map_or(Ticket(u64::MAX), |(ticket, _)| *ticket);
            world.hear(Message::Events(ticket, vec![event(happens, n)]));
        }
        Comes::Lost => {
            world.answers = Answers::Fails(gone);
            let is_stats = |purpose: &Purpose| matches!(purpose, Purpose::StatsStream);
            let asked = world.model.asked.iter().find(|(_, purpose)| is_stats(purpose));
            let ticket = asked.map_or(Ticket(u64::MAX), |(ticket, _)| *ticket);
            world.hear(Message::StreamEnded(ticket, gone()));
        }
        Comes::Back => {
            world.answers = Answers::AtOnce;
            world.wait(6_000);
        }
    }
}

fn answer(world: &mut World, n: usize, instead: Instead) {
    if world.held.is_empty() {
        return;
    }
    let (ticket, question) =
        world.held.remove(n % world.held.len()).expect("it is one of those that are held");
    let answer = match instead {
        Instead::Nothing => world.daemon.answer(&question),
        Instead::NoDaemon => Err(gone()),
        Instead::Closed => Err(Failure::Closed { text: "closed\u{1b}[2J".to_owned() }),
        Instead::Problem => {
            let codes = [Code::NotFound, Code::Changed, Code::NotAllowed, Code::Busy];
            let problem = Problem::new(codes[n % codes.len()], "no\n水\u{202e}".repeat(n % 90));
            Err(Failure::Problem(Box::new(problem.with_hint("try\tagain"))))
        }
        Instead::Odd => Err(Failure::Odd("odd ".repeat(300))),
        Instead::Newer => Err(failure(ClientError::OtherVersion(OtherVersion::Newer(VERSION + 1)))),
        Instead::Other => Ok(Reply::Anything),
    };
    world.hear(Message::Answer(ticket, answer));
}

fn event(happens: Happens, n: usize) -> Live {
    const STATES: [&str; 9] =
        ["due", "later", "run", "retry", "done", "dead", "abandoned", "lost", "new \u{1b}[7m水"];
    let worst = "\u{202e}水\u{1b}]0;x\u{7}".repeat(n);
    match happens {
        Happens::Stats => {
            let mut stats = canned::stats(NOW);
            stats.apps.truncate(n % 3);
            stats.apps.iter_mut().for_each(|app| app.dead_letters -= 1);
            Live::Stats(Box::new(stats))
        }
        Happens::Row => Live::Outbox(Box::new(OutboxEvent {
            state: STATES[n % STATES.len()].to_owned(),
            at: NOW,
            id: id("ROW", n),
            app: worst,
            error: n.is_multiple_of(4).then(|| canned::failure("runtime", "\0\u{9b}31m\n")),
            ..OutboxEvent::default()
        })),
        Happens::Run => {
            let mut run = canned::runs().remove(n % 8);
            run.id = id("RUN", 100 + n);
            run.script = worst;
            Live::Run(Box::new(run))
        }
        Happens::Log => {
            Live::Log(Box::new(LogEntry { message: worst, at: NOW, ..LogEntry::default() }))
        }
        Happens::Missed => Live::Missed((n > 9).then_some(n as u64)),
        Happens::Restart => {
            Live::Connected(Begin { instance_id: id("START", n % 3), ..Begin::default() })
        }
    }
}

fn every_frame_fits(model: &Model) -> Result<(), TestCaseError> {
    let page = view::page(model);
    let (columns, rows) = (usize::from(model.size.0), usize::from(model.size.1));
    prop_assert_eq!(page.rows.len(), rows);
    for row in &page.rows {
        let text = row.line.text();
        prop_assert!(crate::text::width(&text) <= columns, "wider than {columns}: {text:?}");
        let is_harmless = text.chars().all(picloud_api::text::is_plain);
        prop_assert!(is_harmless, "{text:?}");
    }
    Ok(())
}

fn every_cell_is_filled(model: &Model) -> Result<(), TestCaseError> {
    let (buffer, cursor) = view::buffer(model);
    prop_assert_eq!((buffer.area.width, buffer.area.height), model.size);
    if let Some(cursor) = cursor {
        prop_assert!(cursor.x < model.size.0 && cursor.y < model.size.1);
    }
    Ok(())
}

fn every_cursor_is_on_a_row(model: &Model) -> Result<(), TestCaseError> {
    for level in model.levels.values().flatten() {
        let ids: Vec<String> = shown(level).into_iter().map(Item::id).collect();
        if ids.is_empty() {
            continue;
        }
        let cursor = level.cursor.clone().unwrap_or_default();
        prop_assert_eq!(ids.get(level.at), Some(&cursor), "{:?}", level.listing);
        prop_assert!(level.marks.iter().all(|mark| ids.contains(mark)));
    }
    Ok(())
}

/// Whatever an action could rightly name: what is under the cursor or marked, what is asked or can be undone.
fn named(model: &Model) -> String {
    let level = model.level();
    let draft = level.draft.as_ref().map(|draft| &draft.of);
    format!("{:?} {:?} {draft:?} {:?} {:?}", level.cursor, level.marks, model.overlay, model.undo)
}

/// Ids that stand in a text.
fn ids_in(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("01J9ZK").filter_map(|(at, _)| text.get(at..at + 26))
}

fn actions_name_what_was_shown(
    before: &str,
    was_live: bool,
    effects: &[Effect],
) -> Result<(), TestCaseError> {
    let asks = effects.iter().flat_map(|effect| match effect {
        Effect::Ask(_, question) => vec![question],
        Effect::AskEach(_, questions) => questions.iter().collect(),
        _ => Vec::new(),
    });
    for question in asks {
        let body = question.body.as_ref().map(ToString::to_string).unwrap_or_default();
        let says = format!("{} {} {body}", question.method, question.paths.join(" "));
        let only_looks = question.method == http::Method::GET
            || says.contains("/dry-run ")
            || body.contains("\"dry_run\":true");
        if only_looks {
            continue;
        }
        prop_assert!(was_live, "not connected: {says}");
        for id in ids_in(&says) {
            prop_assert!(before.contains(id), "{id} was not shown: {says}\n{before}");
        }
    }
    Ok(())
}

fn survives(all: Vec<Comes>) -> Result<(), TestCaseError> {
    let mut world = World::unstarted((80, 24));
    world.daemon.texts = Texts::Hostile;
    // What is drawn in letters is wider: every other world is one of them.
    if all.len().is_multiple_of(2) {
        world.model.fixed.charset = Charset::Ascii;
    }
    world.editor = Box::new(|text| (text.len() % 3 > 0).then(|| text.replace('7', "8,")));
    // What nobody may do, nobody can do wrong.
    world.daemon.capabilities.clear();
    // A few letters of each error: each costs time, and tells nothing new.
    world.daemon.letters.truncate(9);
    world.start();
    for (n, comes) in all.into_iter().enumerate() {
        let before = named(&world.model);
        let was_live = matches!(world.model.link, Link::Live);
        world.effects.clear();
        play(&mut world, comes.clone());
        every_frame_fits(&world.model)?;
        // Painting takes as long as all the rest: now and then is often enough over so many cases.
        if n.is_multiple_of(4) {
            every_cell_is_filled(&world.model)?;
        }
        every_cursor_is_on_a_row(&world.model)?;
        actions_name_what_was_shown(&before, was_live, &world.effects)?;
        let wake = update::wake_at(&world.model);
        prop_assert!(wake.is_none_or(|at| at > world.model.now), "{comes:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        // Each takes a fifth of a second: 51, and five times less than `PROPTEST_CASES` where that is set.
        cases: ProptestConfig::default().cases / 5,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_comes_frames_fit_cursors_stand_and_actions_hit_what_was_shown(
        all in prop::collection::vec(comes(), 59..=60),
    ) {
        survives(all)?;
    }
}

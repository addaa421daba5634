//! Every decision of the console: from what it knows and what comes, to what it knows then and what is to be done.
//!
//! Pure. `now` is the wall clock in milliseconds.

mod act;
mod draft;
mod events;
mod list;
mod overlay;
mod upkeep;

use crate::effect::{Ask, Effect, Mouse, Ticket};
use crate::keys::{self, Command};
use crate::listing::Listing;
use crate::message::{Failure, Message};
use crate::model::{
    Confirm, Draft, Flow, Focus, Follow, Gate, Level, Link, Model, Note, Overlay, Zoom,
};
use crate::purpose::{Place, Purpose};
use crate::reply::{Batch, Reply, Rows, Want};
use crate::screen::Screen;
use crate::text::Role;

pub use upkeep::wake_at;

/// For so long a note is shown.
const NOTE_MS: i64 = 8_000;
/// Rows that one turn of the wheel moves.
const WHEEL_ROWS: usize = 3;

/// What is to be done, in order.
#[derive(Debug, Default)]
pub(crate) struct Out(Vec<Effect>);

impl Out {
    fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }
}

/// What to do first of all.
pub fn start(model: &mut Model) -> Vec<Effect> {
    let mut out = Out::default();
    upkeep::connect(model, &mut out);
    upkeep::upkeep(model, &mut out);
    out.0
}

pub fn update(model: &mut Model, message: Message, now: i64) -> Vec<Effect> {
    let mut out = Out::default();
    model.now = now;
    match message {
        Message::Key(key) => key_pressed(model, &key, &mut out),
        Message::Paste(text) => overlay::paste(model, &text),
        Message::Resize(columns, rows) => model.size = (columns, rows),
        Message::Wheel(rows) => {
            let command = if rows < 0 { Command::Up } else { Command::Down };
            for _ in 0..WHEEL_ROWS {
                run(model, command, &mut out);
            }
        }
        Message::Click(row) => list::click(model, row),
        Message::Tick => {}
        Message::Answer(ticket, answer) => answered(model, ticket, answer, &mut out),
        Message::Many(ticket, many) => {
            if let Some(Purpose::Act(act)) = model.asked.remove(&ticket) {
                act::many_done(model, &act, &many);
            }
        }
        Message::Events(ticket, events) => events::happened(model, ticket, events, &mut out),
        Message::StreamEnded(ticket, failure) => {
            upkeep::stream_ended(model, ticket, failure, &mut out);
        }
        Message::Edited(ticket, edited) => {
            if let Some(Purpose::Editor(place, edits)) = model.asked.remove(&ticket) {
                draft::edited(model, (place, edits), edited, &mut out);
            }
        }
        Message::Copied(Ok(how)) => note(model, Role::Ok, format!("{how}. Nothing? p")),
        Message::Copied(Err(why)) => note(model, Role::Bad, format!("not copied: {why}")),
        Message::Written(Ok(path)) => note(model, Role::Ok, format!("written to {path}")),
        Message::Written(Err(why)) => note(model, Role::Bad, format!("not written: {why}")),
        Message::Resumed => out.push(Effect::Repaint),
    }
    upkeep::upkeep(model, &mut out);
    out.0
}

/// Says something in the status line.
fn note(model: &mut Model, role: Role, text: impl Into<String>) {
    model.note = Some(Note { role, text: text.into(), until: model.now + NOTE_MS });
}

/// Says what went wrong, and what to do.
fn complain(model: &mut Model, what: &str, failure: &Failure) {
    let hint = failure.hint().map(|hint| format!("  ({hint})")).unwrap_or_default();
    note(model, Role::Bad, format!("{what}: {}{hint}", failure.text()));
}

/// Asks, and remembers why.
fn ask(model: &mut Model, purpose: Purpose, ask: Ask, out: &mut Out) {
    let ticket = expect(model, purpose);
    out.push(Effect::Ask(ticket, ask));
}

/// Remembers why something will come.
fn expect(model: &mut Model, purpose: Purpose) -> Ticket {
    model.tickets += 1;
    let ticket = Ticket(model.tickets);
    model.asked.insert(ticket, purpose);
    ticket
}

/// Nobody waits any more for what is given up here.
fn give_up(model: &mut Model, out: &mut Out, given_up: impl Fn(&Purpose) -> bool) {
    let gone: Vec<Ticket> = model
        .asked
        .iter()
        .filter(|(_, purpose)| given_up(purpose))
        .map(|(ticket, _)| *ticket)
        .collect();
    for ticket in gone {
        model.asked.remove(&ticket);
        out.push(Effect::Abort(ticket));
    }
}

fn key_pressed(model: &mut Model, key: &ratatui::crossterm::event::KeyEvent, out: &mut Out) {
    let command = keys::command(key);
    match command {
        Some(Command::QuitNow) => return out.push(Effect::Quit),
        Some(Command::Suspend) => return out.push(Effect::Suspend),
        Some(Command::Repaint) => return out.push(Effect::Repaint),
        _ => {}
    }
    if model.overlay.is_some() {
        return overlay::key(model, key, out);
    }
    if let Some(command) = command {
        run(model, command, out);
    }
}

/// Does what a key, the palette or the wheel asks for.
pub(crate) fn run(model: &mut Model, command: Command, out: &mut Out) {
    match command {
        Command::Go(screen) => go(model, screen, out),
        Command::NextScreen => go(model, model.screen.further(1), out),
        Command::PreviousScreen => go(model, model.screen.further(Screen::ALL.len() - 1), out),
        Command::NextPane => list::pane(model, list::Turn::Next),
        Command::PreviousPane => list::pane(model, list::Turn::Back),
        Command::Up
        | Command::Down
        | Command::First
        | Command::Last
        | Command::PageUp
        | Command::PageDown
        | Command::NextMatch
        | Command::PreviousMatch => list::go(model, command),
        Command::Open => open(model, out),
        Command::Back => back(model, out),
        Command::Quit if model.has_drafts() => note(model, Role::Warn, list::DRAFTED),
        Command::Quit => out.push(Effect::Quit),
        Command::Filter | Command::Palette | Command::Help | Command::Scope | Command::CopyAs => {
            overlay::open(model, command);
        }
        Command::Pause => pause(model, out),
        Command::Newest => list::newest(model),
        Command::Mark | Command::MarkAll => list::mark(model, command),
        Command::Sort | Command::Reverse => list::sort(model, command),
        Command::Group => group(model, out),
        Command::Highlight => list::highlight(model),
        Command::Run
        | Command::Try
        | Command::Edit
        | Command::Discard
        | Command::Toggle
        | Command::Hold
        | Command::New
        | Command::Versions
        | Command::Chain => act::asked(model, command, out),
        Command::Undo => act::undo(model, out),
        Command::Yes => yes(model, out),
        Command::Write => match crate::plain::payload(model) {
            Some(text) => out.push(Effect::Write(text)),
            None => note(model, Role::Dim, "there is nothing to write here"),
        },
        Command::Plain => out.push(Effect::Plain(crate::plain::page(model))),
        Command::Zoom => {
            model.zoom = match model.zoom {
                Zoom::Both => Zoom::One,
                Zoom::One => Zoom::Both,
            };
        }
        Command::Reload => reload(model, out),
        Command::Mouse => mouse(model, out),
        Command::QuitNow | Command::Suspend | Command::Repaint => {}
    }
}

/// Changes the screen: what the one before waited for is given up.
fn go(model: &mut Model, screen: Screen, out: &mut Out) {
    if screen == model.screen {
        if model.level().draft.is_some() {
            return note(model, Role::Warn, list::DRAFTED);
        }
        // Once more the same key leads back to where the screen begins.
        model.levels.get_mut(&screen).expect("every screen has its lists").truncate(1);
        return;
    }
    let left = model.screen;
    give_up(
        model,
        out,
        |purpose| matches!(purpose, Purpose::Page(place, _) | Purpose::Part(place, ..) if place.screen == left),
    );
    model.screen = screen;
    if screen == Screen::Overview {
        upkeep::ask_recent(model, out);
    }
    // A pause is about what was looked at.
    model.flow = Flow::Live;
    refresh(model.level_mut());
}

/// Has a list fetched anew; what it shows stays until then.
fn refresh(level: &mut Level) {
    level.fetch = crate::model::Fetch::Never;
    level.parts.clear();
    level.missed = None;
}

fn open(model: &mut Model, out: &mut Out) {
    let level = model.level();
    let Some(item) = crate::model::selected(level) else { return };
    if let crate::item::Item::Traffic(app) = item {
        let slug = app.app.clone();
        go(model, Screen::Apps, out);
        let level = model.level_mut();
        level.cursor = Some(slug);
        return;
    }
    match level.listing.inside(item) {
        Some((listing, base)) => {
            let base = [level.base.as_str(), level.filter.as_str(), base.as_str()];
            let daemons = level.listing.filtered() == crate::listing::Filtered::ByDaemon;
            let kept = base.iter().filter(|part| daemons && !part.is_empty());
            let base = kept.copied().collect::<Vec<&str>>().join(" ");
            push(model, listing, base);
        }
        None if level.shown_tab().is_some() && level.focus == Focus::List => {
            model.level_mut().focus = Focus::Detail;
        }
        None => {}
    }
}

/// Opens a list upon the one that is shown.
fn push(model: &mut Model, listing: Listing, base: String) {
    let levels = model.levels.get_mut(&model.screen).expect("every screen has its lists");
    levels.push(Level::new(listing, base));
}

/// One step back: each clears what was done last.
fn back(model: &mut Model, out: &mut Out) {
    let place = model.place();
    let level = model.level_mut();
    if let Some(Draft { theirs: Some(_), .. }) = &level.draft {
        level.draft = None;
        refresh(level);
        note(model, Role::Text, "theirs is kept");
    } else if level.draft.is_some() {
        let says = vec![(Role::Text, "What you have edited is not saved.".to_owned())];
        let title = "Drop your edit?".to_owned();
        model.overlay = Some(Overlay::Confirm(Box::new(Confirm {
            title,
            says,
            gate: Gate::Yes,
            act: act::drop_draft(),
        })));
    } else if level.tried.take().is_some() {
        give_up(model, out, |purpose| matches!(purpose, Purpose::Try(..)));
    } else if level.focus == Focus::Detail {
        level.focus = Focus::List;
    } else if !level.marks.is_empty() {
        level.marks.clear();
    } else if !level.filter.is_empty() {
        level.filter.clear();
        if level.listing.filtered() == crate::listing::Filtered::ByDaemon {
            refresh(level);
        }
    } else if place.depth > 0 {
        give_up(
            model,
            out,
            |purpose| matches!(purpose, Purpose::Page(at, _) | Purpose::Part(at, ..) if *at == place),
        );
        model.levels.get_mut(&model.screen).expect("every screen has its lists").pop();
    }
}

/// From groups to what is in them and back, from runs to what was abandoned and back.
fn group(model: &mut Model, out: &mut Out) {
    let level = model.level();
    let other = match &level.listing {
        Listing::Groups => Listing::Letters,
        Listing::Letters => Listing::Groups,
        Listing::Runs => Listing::Abandoned,
        Listing::Abandoned => Listing::Runs,
        Listing::Routes { app } => Listing::Secrets { app: app.clone() },
        Listing::Secrets { app } => Listing::Routes { app: app.clone() },
        _ => return note(model, Role::Dim, "there is no other view of this"),
    };
    if level.draft.is_some() {
        return note(model, Role::Warn, list::DRAFTED);
    }
    let (base, filter) = (level.base.clone(), level.filter.clone());
    let place = model.place();
    give_up(
        model,
        out,
        |purpose| matches!(purpose, Purpose::Page(at, _) | Purpose::Part(at, ..) if *at == place),
    );
    *model.level_mut() = Level { filter, ..Level::new(other, base) };
}

fn pause(model: &mut Model, out: &mut Out) {
    let runs = model.runs_so_far();
    model.flow = match model.flow {
        Flow::Live => Flow::Paused { since: model.now, runs },
        Flow::Paused { .. } => {
            refresh(model.level_mut());
            Flow::Live
        }
    };
    upkeep::close_stream(model, out);
}

fn reload(model: &mut Model, out: &mut Out) {
    match &model.link {
        Link::Live => refresh(model.level_mut()),
        Link::Connecting(_) | Link::Lost(_) | Link::Refused(_) => upkeep::connect(model, out),
    }
}

fn mouse(model: &mut Model, out: &mut Out) {
    model.mouse = match model.mouse {
        Mouse::On => Mouse::Off,
        Mouse::Off => Mouse::On,
    };
    out.push(Effect::Mouse(model.mouse));
    let said = match model.mouse {
        Mouse::On => "the mouse moves the cursor; M gives selecting back",
        Mouse::Off => "the mouse selects text again",
    };
    note(model, Role::Text, said);
}

/// What `y` means: yes to a draft, or else to copy.
fn yes(model: &mut Model, out: &mut Out) {
    if model.level().draft.is_some() {
        return draft::save(model, out);
    }
    match crate::plain::copied(model) {
        Some(text) => out.push(Effect::Copy(text)),
        None => note(model, Role::Dim, "there is nothing to copy here"),
    }
}

fn answered(model: &mut Model, ticket: Ticket, answer: Result<Reply, Failure>, out: &mut Out) {
    // What nobody waits for any more is dropped.
    let Some(purpose) = model.asked.remove(&ticket) else { return };
    if let Err(
        failure
        @ (Failure::NoDaemon { .. } | Failure::Closed { .. } | Failure::OtherVersion { .. }),
    ) = &answer
    {
        let failure = failure.clone();
        upkeep::lost(model, failure, out);
    }
    match (purpose, answer) {
        (Purpose::Instance, Ok(Reply::Instance(instance))) => {
            upkeep::greeted(model, *instance, out);
        }
        (Purpose::Stats, Ok(Reply::Stats(stats))) => events::took_stock(model, *stats),
        (Purpose::Recent, Ok(Reply::Part(part))) => {
            if let crate::reply::Part::Runs(runs) = *part {
                model.recent = runs.into();
            }
        }
        (Purpose::Page(place, how), answer) => list::page(model, place, how, answer),
        (Purpose::Part(place, of, key), answer) => list::part(model, place, (&of, key), answer),
        (Purpose::Act(act), answer) => act::done(model, &act, answer),
        (Purpose::Undo(label), answer) => act::undone(model, &label, answer),
        (Purpose::Preview, answer) => act::previewed(model, answer),
        (Purpose::Try(place, on), answer) => draft::tried(model, place, on, answer),
        (Purpose::Would(place), answer) => draft::would(model, place, answer),
        (Purpose::Save(place, text), answer) => draft::saved(model, (place, &text), answer, out),
        (Purpose::Theirs(place), answer) => draft::theirs(model, place, answer),
        (Purpose::Stats, Err(failure))
            if failure.code() == "not_allowed" && model.scope.is_none() =>
        {
            let question = Ask::get("/apps", Want::Page(Rows::Apps));
            ask(model, Purpose::OwnApps, question, out);
        }
        (Purpose::OwnApps, Ok(Reply::Page(batch))) => own_apps(model, &batch, out),
        (Purpose::Instance | Purpose::Stats | Purpose::OwnApps, Err(failure)) => {
            if model.instance.is_none() && matches!(failure, Failure::Problem(_) | Failure::Odd(_))
            {
                upkeep::refused(model, failure);
            }
        }
        (
            Purpose::Instance
            | Purpose::Stats
            | Purpose::OwnApps
            | Purpose::StatsStream
            | Purpose::RowsStream
            | Purpose::Recent
            | Purpose::Editor(..),
            _,
        ) => {}
    }
}

/// Who may look at some apps looks at the first of them; `a` leads to the others.
fn own_apps(model: &mut Model, batch: &Batch, out: &mut Out) {
    let slugs: Vec<String> = batch.items.iter().map(crate::item::Item::name).collect();
    let first = slugs.first().cloned();
    model.slugs = Some(slugs);
    match first {
        Some(app) => overlay::to_scope(model, Some(app), out),
        None => note(model, Role::Warn, "there is no app that you may look at"),
    }
}

/// A list, if it is still there.
fn level_at(model: &mut Model, place: Place) -> Option<&mut Level> {
    model.at_mut(place)
}

/// The cursor of a list goes with the newest.
fn follows(level: &Level) -> bool {
    level.follow == Follow::Newest
}

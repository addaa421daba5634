//! What is done with the row under the cursor, or with those that are marked, and how it is undone.

use serde_json::json;

use crate::acts;
use crate::effect::{Ask, Effect};
use crate::field::Field;
use crate::item::Item;
use crate::keys::Command;
use crate::listing::{Listing, group_filter};
use crate::message::{Failure, Many};
use crate::model::{
    Act, Asked, Bulk, Confirm, Does, Draft, Edits, Focus, Gate, Level, May, Model, Overlay, Undo,
    selected, shown,
};
use crate::part::Tab;
use crate::purpose::Purpose;
use crate::reply::{Reply, Want};
use crate::text::Role;
use crate::update::{Out, ask, complain, draft, expect, give_up, list, note, push, refresh};

/// From so many on a bulk call wants the number typed.
const TYPED_FROM: usize = 101;

const NOT_CONNECTED: &str = "not connected: nothing is changed, and nothing is kept for later";

/// A key that does something here.
pub(super) fn asked(model: &mut Model, command: Command, out: &mut Out) {
    let verb = crate::verbs::of(&model.level().listing).iter().find(|verb| verb.command == command);
    if !is_of_the_draft(model.level(), command) {
        return note(model, Role::Warn, list::DRAFTED);
    }
    let Some(verb) = verb else {
        let key = crate::keys::key_of(command);
        return note(model, Role::Dim, format!("{key} does nothing on this screen"));
    };
    if model.may(verb.needs) == May::No {
        let says = format!("you may not {}: it asks for {}", verb.label, verb.needs);
        return note(model, Role::Warn, says);
    }
    if verb.needs != "AppRead" && !matches!(model.link, crate::model::Link::Live) {
        return note(model, Role::Warn, NOT_CONNECTED);
    }
    match command {
        Command::Chain => chain(model),
        Command::Versions => versions(model),
        Command::Group => super::group(model, out),
        Command::Highlight => list::highlight(model),
        Command::Try => draft::try_it(model, out),
        Command::Edit => draft::edit(model, out),
        Command::New => new(model, out),
        Command::Run => run(model, out),
        Command::Discard => discard(model, out),
        Command::Toggle | Command::Hold => toggle(model, command, out),
        _ => {}
    }
}

/// Whether a key may do what it does, while an edit is not saved.
fn is_of_the_draft(level: &Level, command: Command) -> bool {
    match (&level.draft, command) {
        (None, _) | (Some(_), Command::Try | Command::Edit) => true,
        (Some(draft), Command::Run) => matches!(draft.of, Edits::Payload { .. }),
        (Some(_), _) => false,
    }
}

fn chain(model: &mut Model) {
    let level = model.level_mut();
    let tabs = level.listing.tabs();
    if let Some(at) = tabs.iter().position(|tab| *tab == Tab::Chain) {
        level.tab = at;
        level.focus = Focus::Detail;
        level.scroll = 0;
    }
}

fn versions(model: &mut Model) {
    let Some(Item::Script(script)) = selected(model.level()) else { return };
    let (app, script) = (script.app.clone(), script.name.clone());
    push(model, Listing::Versions { app, script }, String::new());
}

/// The rows that an action is about: those that are marked, or the one under the cursor.
fn targets(level: &Level) -> Vec<Item> {
    if level.marks.is_empty() {
        return selected(level).cloned().into_iter().collect();
    }
    let marked = shown(level).into_iter().filter(|row| level.marks.contains(&row.id()));
    marked.cloned().collect()
}

fn run(model: &mut Model, out: &mut Out) {
    if let Some(Draft { of: Edits::Payload { .. }, .. }) = &model.level().draft {
        return draft::save(model, out);
    }
    let rows = targets(model.level());
    match rows.as_slice() {
        [] => {}
        [Item::Group(_)] => {
            let filter = group_filter(&rows[0]);
            preview(model, Bulk::Replay, &filter, out);
        }
        [Item::Script(script)] => {
            let question = format!("payload for {}/{} (JSON)", script.app, script.name);
            let then = Asked::Invoke { app: script.app.clone(), script: script.name.clone() };
            model.overlay = Some(Overlay::Prompt { field: Field::of("{}"), question, then });
        }
        [Item::Trigger(_) | Item::Version(_)] => confirm_one(model, Command::Run, &rows[0]),
        [one] => match acts::of(Command::Run, one, &model.level().listing) {
            Some(act) => go_ahead(model, act, out),
            None => note(model, Role::Dim, "there is nothing to run here"),
        },
        _ => confirm_many(model, Command::Run, &rows),
    }
}

fn discard(model: &mut Model, out: &mut Out) {
    let rows = targets(model.level());
    match rows.as_slice() {
        [] => {}
        [Item::Group(_)] => {
            let filter = group_filter(&rows[0]);
            preview(model, Bulk::Discard, &filter, out);
        }
        [one] => confirm_one(model, Command::Discard, one),
        _ => confirm_many(model, Command::Discard, &rows),
    }
}

fn toggle(model: &mut Model, command: Command, out: &mut Out) {
    let Some(item) = selected(model.level()).cloned() else { return };
    match acts::of(command, &item, &model.level().listing) {
        Some(act) => go_ahead(model, act, out),
        None => note(model, Role::Dim, "that cannot be switched"),
    }
}

fn confirm_one(model: &mut Model, command: Command, item: &Item) {
    let Some(act) = acts::of(command, item, &model.level().listing) else {
        return note(model, Role::Dim, "that cannot be done here");
    };
    let mut says = acts::says(command, item);
    says.push((Role::Dim, act.command.clone()));
    // What goes with everything in it wants its name.
    let gate = match (command, item) {
        (Command::Discard, Item::App(app)) => {
            Gate::Typed { word: app.slug.clone(), field: Field::of("") }
        }
        _ => Gate::Yes,
    };
    let title = format!("{}?", acts::capital(&act.label));
    model.overlay = Some(Overlay::Confirm(Box::new(Confirm { title, says, gate, act })));
}

/// What is done with rows that are marked: to each of them by its id, and to nothing else.
fn confirm_many(model: &mut Model, command: Command, rows: &[Item]) {
    let listing = model.level().listing.clone();
    let acts: Vec<Act> = rows.iter().filter_map(|row| acts::of(command, row, &listing)).collect();
    let asks = acts.iter().filter_map(|act| match &act.does {
        Does::One(ask) => Some(ask.clone()),
        Does::Each(_) | Does::Bulk { .. } | Does::DropDraft => None,
    });
    let asks: Vec<Ask> = asks.collect();
    let Some(first) = acts.first().filter(|_| !asks.is_empty()) else {
        return note(model, Role::Dim, "that cannot be done with what is marked");
    };
    let count = asks.len();
    let verb = first.label.split(' ').next().unwrap_or("do");
    let label = format!("{verb} {count} marked");
    let mut says = vec![(Role::Text, format!("{count} rows that you have marked, such as"))];
    says.extend(rows.iter().take(3).map(|row| (Role::Text, format!("  {}", row.name()))));
    says.push((Role::Dim, format!("{}  # and so on", first.command)));
    let verb_kind = if command == Command::Discard { Bulk::Discard } else { Bulk::Replay };
    let gate = gate(verb_kind, count);
    let act = Act { does: Does::Each(asks), label, command: first.command.clone() };
    let title = format!("{} {count} marked?", acts::capital(verb));
    model.overlay = Some(Overlay::Confirm(Box::new(Confirm { title, says, gate, act })));
}

/// What destroys, and what is much, wants the number typed.
fn gate(verb: Bulk, count: usize) -> Gate {
    match verb {
        Bulk::Replay if count < TYPED_FROM => Gate::Yes,
        Bulk::Replay | Bulk::Discard => {
            Gate::Typed { word: count.to_string(), field: Field::of("") }
        }
    }
}

/// Asks what a filter matches, before anything is done with that.
fn preview(model: &mut Model, verb: Bulk, filter: &str, out: &mut Out) {
    let level = model.level();
    let parts = [level.base.as_str(), level.filter.as_str(), filter];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let filter = parts.join(" ");
    let act = acts::bulk(verb, &filter, None);
    let title = format!("{}?", acts::capital(&act.label));
    // What another question was about must not be taken for what this one is about.
    give_up(model, out, |purpose| matches!(purpose, Purpose::Preview));
    let path = acts::preview_path(&filter, model.scope.as_deref());
    ask(model, Purpose::Preview, Ask::get(path, Want::Preview), out);
    let says = vec![(Role::Dim, "asking the daemon what that would be about…".to_owned())];
    let confirm = Confirm { title, says, gate: Gate::Waiting, act };
    model.overlay = Some(Overlay::Confirm(Box::new(confirm)));
}

pub(super) fn previewed(model: &mut Model, answer: Result<Reply, Failure>) {
    let rows: Vec<Item> = model.level().rows.iter().cloned().collect();
    let Some(Overlay::Confirm(confirm)) = &mut model.overlay else { return };
    let Does::Bulk { verb, filter, .. } = confirm.act.does.clone() else { return };
    match answer {
        Ok(Reply::Preview(seen)) if seen.count == 0 => {
            model.overlay = None;
            note(model, Role::Text, "nothing matches any more");
        }
        Ok(Reply::Preview(seen)) => {
            confirm.title =
                format!("{} {} dead letters?", acts::capital(&confirm.act.label), seen.count);
            confirm.says = acts::previewed(&seen, &rows, &filter);
            confirm.gate = gate(verb, seen.count);
            confirm.act = acts::bulk(verb, &filter, Some(seen));
            confirm.says.push((Role::Dim, confirm.act.command.clone()));
        }
        Ok(_) => {}
        Err(failure) => {
            model.overlay = None;
            complain(model, "no preview", &failure);
        }
    }
}

/// Does it, unless the daemon has gone while it was asked for.
pub(super) fn go_ahead(model: &mut Model, act: Act, out: &mut Out) {
    if !matches!(act.does, Does::DropDraft) && !matches!(model.link, crate::model::Link::Live) {
        return note(model, Role::Warn, NOT_CONNECTED);
    }
    match act.does.clone() {
        Does::One(question) => ask(model, Purpose::Act(Box::new(act)), question, out),
        Does::DropDraft => drop_it(model),
        Does::Each(asks) => {
            let ticket = expect(model, Purpose::Act(Box::new(act)));
            out.push(Effect::AskEach(ticket, asks));
        }
        Does::Bulk { verb, filter, seen } => {
            let Some(seen) = seen else { return };
            let question = acts::bulk_ask(verb, &filter, &seen, model.scope.as_deref());
            ask(model, Purpose::Act(Box::new(act)), question, out);
        }
    }
}

/// Drops the draft: it is an act so that it can be asked for like any other.
pub(super) fn drop_draft() -> Act {
    Act { does: Does::DropDraft, label: "drop the edit".to_owned(), command: String::new() }
}

fn drop_it(model: &mut Model) {
    let level = model.level_mut();
    level.draft = None;
    level.tried = None;
    note(model, Role::Text, "the edit is dropped");
}

pub(super) fn done(model: &mut Model, act: &Act, answer: Result<Reply, Failure>) {
    let reply = match answer {
        Ok(reply) => reply,
        Err(failure) => return complain(model, &format!("could not {}", act.label), &failure),
    };
    let undo = acts::undo(act, &reply);
    let (role, mut says) = acts::said(act, &reply);
    if let Some(way) = undo {
        says = format!("{says}  u {}", way.label);
        offer(model, way);
    }
    note(model, role, says);
    let is_letter = matches!(model.level().listing, Listing::Letters | Listing::Groups);
    let level = model.level_mut();
    level.marks.clear();
    if is_letter && matches!(level.draft, Some(Draft { of: Edits::Payload { .. }, .. })) {
        level.draft = None;
        level.tried = None;
    }
    if is_letter {
        level.focus = Focus::List;
    }
    refresh_all(model);
}

pub(super) fn many_done(model: &mut Model, act: &Act, many: &Many) {
    let done = many.done.len();
    let mut says = format!("{}: {done} done", act.label);
    let role = if many.failed > 0 { Role::Warn } else { Role::Ok };
    if many.failed > 0 {
        says = format!("{says}, {} failed", many.failed);
    }
    if let Some(why) = &many.first_failure {
        says = format!("{says}: {why}");
    }
    if let Some(way) = acts::undo_many(act, &many.done) {
        says = format!("{says}  u {}", way.label);
        offer(model, way);
    }
    note(model, role, says);
    model.level_mut().marks.clear();
    refresh_all(model);
}

/// Offers to bring back what was, as long as that is true.
pub(super) fn offer(model: &mut Model, way: acts::WayBack) {
    let until = model.now + way.for_ms;
    model.undo = Some(Undo { label: way.label, asks: way.asks, until });
}

/// What was changed may stand in every list.
fn refresh_all(model: &mut Model) {
    for level in model.levels.values_mut().flatten() {
        if level.draft.is_none() {
            refresh(level);
        }
    }
}

pub(super) fn undo(model: &mut Model, out: &mut Out) {
    let Some(undo) = model.undo.take() else {
        return note(model, Role::Dim, "there is nothing to undo");
    };
    if !matches!(model.link, crate::model::Link::Live) {
        return note(model, Role::Warn, "not connected: nothing is undone");
    }
    for question in undo.asks {
        ask(model, Purpose::Undo(undo.label.clone()), question, out);
    }
}

pub(super) fn undone(model: &mut Model, label: &str, answer: Result<Reply, Failure>) {
    match answer {
        Ok(Reply::Bulk(bulk)) => {
            let begun = bulk.skipped + bulk.failed;
            let says = match begun {
                0 => format!("{} back", bulk.done.len()),
                begun => format!("{} back, {begun} had begun", bulk.done.len()),
            };
            note(model, if begun == 0 { Role::Ok } else { Role::Warn }, says);
        }
        Ok(_) => note(model, Role::Ok, format!("done: {label}")),
        Err(failure) => complain(model, &format!("could not {label}"), &failure),
    }
    refresh_all(model);
}

fn new(model: &mut Model, out: &mut Out) {
    let prompt = |question: String, then: Asked| {
        Some(Overlay::Prompt { field: Field::of(""), question, then })
    };
    match model.level().listing.clone() {
        Listing::Apps => model.overlay = prompt("slug of the new app".to_owned(), Asked::NewApp),
        Listing::Scripts => {
            let own = selected(model.level()).and_then(Item::app).map(str::to_owned);
            match model.scope.clone().or(own) {
                Some(app) => {
                    let question = format!("name of the new script in {app}");
                    model.overlay = prompt(question, Asked::NewScript { app });
                }
                None => note(model, Role::Text, "choose an app first: a"),
            }
        }
        Listing::Entries { app, space, collection } => {
            let question = format!("key of the new entry in {space} {collection}");
            model.overlay = prompt(question, Asked::NewEntry { app, space, collection });
        }
        Listing::Backups => {
            let act = Act {
                does: Does::One(Ask::post("/backups", json!({}), Want::Anything)),
                label: "begin a backup".to_owned(),
                command: "picloud backups start".to_owned(),
            };
            go_ahead(model, act, out);
        }
        _ => note(model, Role::Dim, "nothing new can be made here"),
    }
}

pub(super) fn new_app(model: &mut Model, slug: &str, out: &mut Out) {
    let act = Act {
        does: Does::One(Ask::post("/apps", json!({ "slug": slug }), Want::Anything)),
        label: format!("make the app {slug}"),
        command: format!("picloud apps create {slug}"),
    };
    go_ahead(model, act, out);
}

pub(super) fn invoke(
    model: &mut Model,
    (app, script): (String, String),
    payload: &str,
    out: &mut Out,
) {
    let payload: serde_json::Value = match serde_json::from_str(payload) {
        Ok(payload) => payload,
        Err(error) => return note(model, Role::Bad, format!("that is no JSON: {error}")),
    };
    let path = format!("{}/invoke", crate::part::script(&app, &script));
    let act = Act {
        does: Does::One(Ask::post(path, json!({ "payload": payload }), Want::Invoked)),
        label: format!("run {app}/{script}"),
        command: format!("picloud scripts run {app}/{script} -"),
    };
    go_ahead(model, act, out);
}

//! What is edited: from the editor back as a draft, tried, saved, or in the way of somebody else's change.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::acts;
use crate::effect::{Ask, Effect, Text};
use crate::item::Item;
use crate::message::Failure;
use crate::model::{
    Act, Does, Draft, Edits, Focus, Link, Model, Theirs, Tried, TriedOutcome, selected,
};
use crate::part::{self, Key, Loaded};
use crate::purpose::{Place, Purpose};
use crate::reply::{Part, Reply, Want};
use crate::source;
use crate::text::Role;
use crate::update::{Out, act, ask, complain, expect, give_up, level_at, note, refresh};

/// Opens what is under the cursor in the editor, or the draft again.
pub(super) fn edit(model: &mut Model, out: &mut Out) {
    let level = model.level();
    let begun = match &level.draft {
        Some(draft) => Some((draft.of.clone(), draft.text.clone())),
        None => selected(level).and_then(|item| editable(item, &level.parts)),
    };
    match begun {
        Some((of, text)) => to_editor(model, of, text, out),
        None => note(model, Role::Text, "not here yet: a moment"),
    }
}

fn to_editor(model: &mut Model, of: Edits, text: String, out: &mut Out) {
    let name = file_name(&of);
    let place = model.place();
    let ticket = expect(model, Purpose::Editor(place, of));
    out.push(Effect::Edit(ticket, Text { name, text }));
}

fn file_name(of: &Edits) -> String {
    match of {
        Edits::Payload { letter, .. } => format!("{letter}.json"),
        Edits::Script { name, .. } | Edits::NewScript { name, .. } => format!("{name}.rhai"),
        Edits::Entry { key, .. } | Edits::NewEntry { key, .. } => format!("{key}.json"),
        Edits::Trigger { name, .. } => format!("{name}.json"),
    }
}

/// What can be edited of a row, as text.
fn editable(item: &Item, parts: &[(Key, Loaded)]) -> Option<(Edits, String)> {
    let here = |wanted: fn(&Part) -> bool| {
        parts.iter().find_map(|(_, part)| match part {
            Loaded::Here(part) if wanted(part) => Some(&**part),
            _ => None,
        })
    };
    match item {
        Item::Letter(letter) => {
            let part = here(|part| matches!(part, Part::Letter(_)))?;
            let Part::Letter(detail) = part else { return None };
            let of = Edits::Payload {
                letter: letter.id.clone(),
                app: letter.app.clone(),
                script: letter.script.clone(),
                source: letter.source.clone(),
            };
            Some((of, payload(&letter.source, detail.event.get())))
        }
        Item::Script(one) => {
            let part = here(|part| matches!(part, Part::Script(_)))?;
            let Part::Script(script) = part else { return None };
            let (app, name) = (one.app.clone(), one.name.clone());
            Some((Edits::Script { app, name, version: script.version }, script.source.clone()))
        }
        Item::Entry(one) => {
            let of = Edits::Entry {
                app: one.app.clone(),
                space: one.space.clone(),
                collection: one.collection.clone(),
                key: one.key.clone(),
                version: one.version,
            };
            Some((of, source::json(one.value.get())))
        }
        Item::Trigger(one) => {
            let of = Edits::Trigger {
                app: one.app.clone(),
                name: one.name.clone(),
                revision: one.revision,
            };
            let entry = serde_json::to_string(&one.entry).ok()?;
            Some((of, source::json(&entry)))
        }
        _ => None,
    }
}

/// What a replay takes instead of what a letter has: of a task its payload, else the event.
fn payload(source: &str, event: &str) -> String {
    let whole = source::json(event);
    if source != "task" {
        return whole;
    }
    let event: Option<std::collections::BTreeMap<String, Box<RawValue>>> =
        serde_json::from_str(event).ok();
    event
        .and_then(|event| event.get("payload").map(|payload| source::json(payload.get())))
        .unwrap_or(whole)
}

/// The first text of a script that is not there yet.
pub(super) fn begin_script(model: &mut Model, app: String, name: String, out: &mut Out) {
    let text = format!("// {name}: what it is for.\n\n#{{ status: 200, body: event }}\n");
    to_editor(model, Edits::NewScript { app, name }, text, out);
}

pub(super) fn begin_entry(
    model: &mut Model,
    (app, space, collection): (String, String, String),
    key: String,
    out: &mut Out,
) {
    to_editor(model, Edits::NewEntry { app, space, collection, key }, "{}\n".to_owned(), out);
}

/// The editor has ended.
pub(super) fn edited(
    model: &mut Model,
    (place, of): (Place, Edits),
    edited: Result<Option<String>, String>,
    out: &mut Out,
) {
    out.push(Effect::Repaint);
    let text = match edited {
        Ok(Some(text)) => text,
        Ok(None) => return note(model, Role::Text, "nothing was changed"),
        Err(why) => return note(model, Role::Bad, format!("not edited: {why}")),
    };
    let Some(level) = level_at(model, place) else { return };
    let before = match &level.draft {
        Some(draft) if draft.of == of => draft.before.clone(),
        Some(_) | None => match selected(level).and_then(|item| editable(item, &level.parts)) {
            Some((same, before)) if same == of => before,
            _ => String::new(),
        },
    };
    let theirs = level.draft.take().and_then(|draft| draft.theirs);
    let problem = problem_of(&of, &text);
    level.draft = Some(Draft { of, before, text, problem, would: None, theirs });
    level.tried = None;
    level.focus = Focus::Detail;
    level.scroll = 0;
    ask_would(model, place, out);
}

/// Why a text cannot be taken, with its place.
fn problem_of(of: &Edits, text: &str) -> Option<String> {
    match of {
        Edits::Script { .. } | Edits::NewScript { .. } => None,
        Edits::Payload { .. }
        | Edits::Entry { .. }
        | Edits::NewEntry { .. }
        | Edits::Trigger { .. } => {
            let error = serde_json::from_str::<Box<RawValue>>(text).err()?;
            let says = error.to_string();
            // Serde names the place behind what is wrong; here it stands first.
            let what = says.split(" at line ").next().unwrap_or_default();
            Some(format!("no JSON, line {}, column {}: {what}", error.line(), error.column()))
        }
    }
}

fn raw(text: &str) -> Value {
    // Numbers keep what they are: the text was read as JSON before it came here.
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// What would an edit of an entry set off? It is said before it is done, since it cannot be undone.
fn ask_would(model: &mut Model, place: Place, out: &mut Out) {
    let Some(draft) = model.at(place).and_then(|level| level.draft.as_ref()) else { return };
    let (Edits::Entry { app, space, collection, key, .. }
    | Edits::NewEntry { app, space, collection, key }) = &draft.of
    else {
        return;
    };
    if draft.problem.is_some() {
        return;
    }
    let path = acts::entry_path(app, space, collection, key);
    let body = json!({ "value": raw(&draft.text), "dry_run": true });
    give_up(model, out, |purpose| matches!(purpose, Purpose::Would(at) if *at == place));
    ask(model, Purpose::Would(place), Ask::put(path, body, Want::Edited), out);
}

pub(super) fn would(model: &mut Model, place: Place, answer: Result<Reply, Failure>) {
    let Some(draft) = level_at(model, place).and_then(|level| level.draft.as_mut()) else { return };
    match answer {
        Ok(Reply::Edited(would)) => draft.would = Some(would),
        Ok(_) => {}
        Err(failure) => draft.problem = Some(failure.whole_text()),
    }
}

/// Tries the draft, or what is under the cursor, without effect.
pub(super) fn try_it(model: &mut Model, out: &mut Out) {
    let place = model.place();
    let level = model.level();
    let Some(item) = selected(level).cloned() else { return };
    let (Some(app), Some(script)) =
        (item.app().map(str::to_owned), item.script().map(str::to_owned))
    else {
        return;
    };
    let last_run = part::find(&level.parts, |part| match part {
        Part::Runs(runs) => runs.first().map(|run| run.id.clone()),
        _ => None,
    });
    let (body, on) = match (&level.draft, &item) {
        (Some(Draft { problem: Some(problem), .. }), _) => {
            let says = format!("first mend it: {problem}");
            return note(model, Role::Bad, says);
        }
        (Some(Draft { of: Edits::Payload { source, .. }, text, .. }), _) => {
            let event = if source == "task" { json!({ "payload": raw(text) }) } else { raw(text) };
            (json!({ "event": without_own(event) }), "the edited event".to_owned())
        }
        (Some(Draft { of: Edits::Script { .. }, text, .. }), _) => match last_run {
            Some(id) => {
                (json!({ "source": text, "from": id }), format!("your edit, on the event of {id}"))
            }
            None => (json!({ "source": text }), "your edit, on an empty event".to_owned()),
        },
        (Some(_), _) => return note(model, Role::Dim, "there is nothing to try: y saves it"),
        (None, Item::Letter(letter)) => (json!({ "from": letter.id }), "its event".to_owned()),
        (_, Item::Run(run)) => (json!({ "from": run.id }), "its event".to_owned()),
        (_, Item::Script(_)) => match last_run {
            Some(id) => (json!({ "from": id }), format!("the event of {id}")),
            None => (json!({}), "an empty event: it has not run lately".to_owned()),
        },
        _ => return,
    };
    let path = format!("{}/dry-run", part::script(&app, &script));
    let (now, id) = (model.now, item.id());
    let level = model.level_mut();
    level.tried = Some(Tried { on, outcome: TriedOutcome::Asked(now) });
    level.focus = Focus::Detail;
    level.scroll = 0;
    ask(model, Purpose::Try(place, id), Ask::post(path, body, Want::DryRun), out);
}

/// An event without what each run is given anew.
fn without_own(mut event: Value) -> Value {
    if let Value::Object(map) = &mut event {
        for own in ["execution_id", "attempt", "depth", "root_id"] {
            map.remove(own);
        }
    }
    event
}

pub(super) fn tried(model: &mut Model, place: Place, of: String, answer: Result<Reply, Failure>) {
    let Some(level) = level_at(model, place) else { return };
    if selected(level).map(Item::id) != Some(of) {
        return;
    }
    let Some(tried) = &mut level.tried else { return };
    match answer {
        Ok(Reply::DryRun(answer)) => tried.outcome = TriedOutcome::Here(answer),
        Ok(_) => {}
        Err(failure) => tried.outcome = TriedOutcome::Failed(failure),
    }
}

/// Does with the draft what it is for.
pub(super) fn save(model: &mut Model, out: &mut Out) {
    let place = model.place();
    let Some(draft) = model.level().draft.clone() else { return };
    if let Some(problem) = &draft.problem {
        return note(model, Role::Bad, format!("first mend it (e): {problem}"));
    }
    if !matches!(model.link, Link::Live) {
        return note(model, Role::Warn, "not connected: your edit is kept, nothing was saved");
    }
    let text = &draft.text;
    let version = draft.theirs.as_ref().map(|theirs| theirs.version);
    let question = match &draft.of {
        Edits::Payload { letter, .. } => {
            let body = json!({ "payload": raw(text), "hold_ms": acts::HOLD_MS });
            let replay = Act {
                does: Does::One(Ask::post(
                    format!("/dead-letters/{letter}/replay"),
                    body,
                    Want::Done,
                )),
                label: format!("replay {letter}, edited"),
                command: format!("picloud dead-letters replay {letter} --payload -"),
            };
            return act::go_ahead(model, replay, out);
        }
        Edits::Script { app, name, version: own } => {
            let body = json!({ "source": text });
            Ask::put(part::script(app, name), body, Want::ScriptChanged)
                .if_at(version.unwrap_or(*own))
        }
        Edits::NewScript { app, name } => {
            let body = json!({ "source": text });
            Ask::put(part::script(app, name), body, Want::ScriptChanged)
        }
        Edits::Entry { app, space, collection, key, version: own } => {
            let body = json!({ "value": raw(text) });
            Ask::put(acts::entry_path(app, space, collection, key), body, Want::Edited)
                .if_at(version.unwrap_or(*own))
        }
        Edits::NewEntry { app, space, collection, key } => {
            let body = json!({ "value": raw(text) });
            Ask::put(acts::entry_path(app, space, collection, key), body, Want::Edited)
        }
        Edits::Trigger { app, name, revision } => {
            let path = format!(
                "/apps/{}/triggers/{}",
                crate::client::segment(app),
                crate::client::segment(name)
            );
            Ask::put(path, raw(text), Want::Anything).if_at(version.unwrap_or(*revision))
        }
    };
    ask(model, Purpose::Save(place, draft.text), question, out);
}

pub(super) fn saved(
    model: &mut Model,
    (place, text): (Place, &str),
    answer: Result<Reply, Failure>,
    out: &mut Out,
) {
    let reply = match answer {
        Ok(reply) => reply,
        Err(failure) if failure.code() == "changed" => return look_at_theirs(model, place, out),
        Err(failure) => {
            if let Some(draft) = level_at(model, place).and_then(|level| level.draft.as_mut()) {
                draft.problem = Some(failure.whole_text());
            }
            return complain(model, "not saved", &failure);
        }
    };
    let says = match &reply {
        Reply::ScriptChanged(changed) if !changed.changed => "it was so already".to_owned(),
        Reply::ScriptChanged(changed) => {
            format!("{}/{} v{} is live", changed.app, changed.name, changed.version)
        }
        Reply::Edited(edited) if edited.triggers.is_empty() => {
            "saved; it sets nothing off".to_owned()
        }
        Reply::Edited(edited) => {
            let fired: Vec<&str> = edited.triggers.iter().map(|one| one.trigger.as_str()).collect();
            format!("saved; sets off {}", fired.join(", "))
        }
        _ => "saved".to_owned(),
    };
    let way = match &reply {
        Reply::ScriptChanged(changed) => acts::former_version(changed),
        _ => None,
    };
    match way {
        Some(way) => {
            note(model, Role::Ok, format!("{says}  u {}", way.label));
            act::offer(model, way);
        }
        None => note(model, Role::Ok, says),
    }
    if let Some(level) = level_at(model, place) {
        // Who has edited on meanwhile keeps that.
        if level.draft.as_ref().is_some_and(|draft| draft.text == text) {
            level.draft = None;
            level.tried = None;
            level.focus = Focus::List;
        }
        refresh(level);
    }
}

/// Somebody else was faster: what they wrote is shown beside the draft.
fn look_at_theirs(model: &mut Model, place: Place, out: &mut Out) {
    note(model, Role::Warn, "it was changed meanwhile");
    let Some(draft) = model.at(place).and_then(|level| level.draft.as_ref()) else { return };
    let question = match &draft.of {
        Edits::Script { app, name, .. } => Ask::get(part::script(app, name), Want::Script),
        Edits::Entry { app, space, collection, key, .. } => {
            Ask::get(acts::entry_path(app, space, collection, key), Want::Entry)
        }
        Edits::Payload { .. }
        | Edits::NewScript { .. }
        | Edits::NewEntry { .. }
        | Edits::Trigger { .. } => {
            return note(
                model,
                Role::Warn,
                "it was changed meanwhile: R fetches it, e edits again",
            );
        }
    };
    ask(model, Purpose::Theirs(place), question, out);
}

pub(super) fn theirs(model: &mut Model, place: Place, answer: Result<Reply, Failure>) {
    let failure = match answer {
        Ok(Reply::Part(part)) => {
            let theirs = match *part {
                Part::Script(script) => Theirs { text: script.source, version: script.version },
                Part::Entry(entry) => {
                    Theirs { text: source::json(entry.value.get()), version: entry.version }
                }
                _ => return,
            };
            if let Some(draft) = level_at(model, place).and_then(|level| level.draft.as_mut()) {
                draft.theirs = Some(theirs);
            }
            return;
        }
        Ok(_) => return,
        Err(failure) => failure,
    };
    complain(model, "what they wrote cannot be shown", &failure);
}

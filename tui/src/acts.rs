//! Actions on things: which call does them, which command of `picloud` does the same, what brings it back.

use picloud_api::letters::{BulkRequest, Preview};
use picloud_api::script::ScriptChanged;
use picloud_api::triggers::TriggerItem;
use serde_json::json;

use crate::client::segment;
use crate::effect::Ask;
use crate::item::Item;
use crate::keys::Command;
use crate::listing::Listing;
use crate::model::{Act, Bulk, Does};
use crate::part;
use crate::reply::{Reply, Want};
use crate::text::Role;

/// For so long a replay can be taken back.
pub const HOLD_MS: i64 = 10_000;
/// For so long other things are offered to be undone.
const UNDO_MS: i64 = 30_000;
/// What the audit log says of what is thrown away here.
const REASON: &str = "in the console";

/// What a key does with this row, if anything.
pub fn of(command: Command, item: &Item, listing: &Listing) -> Option<Act> {
    if command == Command::Hold {
        return hold(item);
    }
    match item {
        Item::Outbox(row) => outbox(command, &row.row.id),
        Item::Letter(letter) => self::letter(command, &letter.id),
        Item::Trigger(one) => trigger(command, one),
        Item::Version(one) => version(command, one.version, listing),
        Item::App(_)
        | Item::Route(_)
        | Item::Script(_)
        | Item::Entry(_)
        | Item::Secret(_)
        | Item::Token(_) => {
            if command == Command::Discard {
                delete(item, listing)
            } else {
                None
            }
        }
        Item::Traffic(_)
        | Item::Group(_)
        | Item::Run(_)
        | Item::Abandoned(_)
        | Item::Collection(_)
        | Item::Log(_)
        | Item::Check(_)
        | Item::Door(_)
        | Item::Backup(_)
        | Item::Node(_)
        | Item::Principal(_)
        | Item::Audit(_) => None,
    }
}

fn act(question: Ask, label: String, command: &str) -> Option<Act> {
    Some(Act { does: Does::One(question), label, command: format!("picloud {command}") })
}

fn outbox(command: Command, id: &str) -> Option<Act> {
    match command {
        Command::Run => {
            let question = Ask::post(format!("/outbox/{id}/run-now"), json!({}), Want::Done);
            act(question, format!("run {id} now"), &format!("outbox run-now {id}"))
        }
        Command::Discard => {
            let body = json!({ "reason": REASON });
            let question = Ask::post(format!("/outbox/{id}/cancel"), body, Want::Done);
            act(question, format!("cancel {id}"), &format!("outbox cancel {id}"))
        }
        _ => None,
    }
}

fn letter(command: Command, id: &str) -> Option<Act> {
    match command {
        Command::Run => {
            let body = json!({ "hold_ms": HOLD_MS });
            let question = Ask::post(format!("/dead-letters/{id}/replay"), body, Want::Done);
            act(question, format!("replay {id}"), &format!("dead-letters replay {id} --hold 10"))
        }
        Command::Discard => {
            let body = json!({ "reason": REASON });
            let question = Ask::post(format!("/dead-letters/{id}/discard"), body, Want::Done);
            let command = format!("dead-letters discard {id} --reason '{REASON}'");
            act(question, format!("discard {id}"), &command)
        }
        _ => None,
    }
}

fn trigger(command: Command, one: &TriggerItem) -> Option<Act> {
    let (path, name) = trigger_place(&one.app, &one.name);
    match command {
        Command::Run => {
            let question = Ask::post(format!("{path}/fire"), json!({}), Want::Fired);
            act(question, format!("fire {name} once"), &format!("triggers fire {name}"))
        }
        Command::Toggle => {
            let verb = if one.enabled { "disable" } else { "enable" };
            let question = Ask::post(format!("{path}/{verb}"), json!({}), Want::Anything);
            act(question, format!("{verb} {name}"), &format!("triggers {verb} {name}"))
        }
        Command::Discard => {
            let question = Ask::delete(path, Want::Anything).if_at(one.revision);
            act(question, format!("delete {name}"), &format!("triggers delete {name}"))
        }
        _ => None,
    }
}

fn version(command: Command, version: i64, listing: &Listing) -> Option<Act> {
    let (Command::Run, Listing::Versions { app, script }) = (command, listing) else { return None };
    let path = format!("{}/roll-back", part::script(app, script));
    let question = Ask::post(path, json!({ "version": version }), Want::ScriptChanged);
    let command = format!("scripts roll-back {app}/{script} {version}");
    act(question, format!("make v{version} of {app}/{script} current"), &command)
}

fn delete(item: &Item, listing: &Listing) -> Option<Act> {
    match item {
        Item::Route(one) => {
            let name = format!("{} {}", one.method, one.path);
            let path = format!("/apps/{}/routes/{}", segment(&one.app), segment(&name));
            let question = Ask::delete(path, Want::Anything).if_at(one.revision);
            let command = format!("routes delete '{}/{name}'", one.app);
            act(question, format!("delete {}/{name}", one.app), &command)
        }
        Item::App(app) => {
            let slug = &app.slug;
            let question = Ask::delete(format!("/apps/{}", segment(slug)), Want::Anything);
            act(question, format!("delete {slug}"), &format!("apps delete {slug}"))
        }
        Item::Script(one) => {
            let name = format!("{}/{}", one.app, one.name);
            let path = part::script(&one.app, &one.name);
            let question = Ask::delete(path, Want::Anything).if_at(one.version);
            act(question, format!("delete {name}"), &format!("scripts delete {name}"))
        }
        Item::Entry(one) => {
            let name = format!("{}/{} {}", one.app, one.collection, one.key);
            let path = entry_path(&one.app, &one.space, &one.collection, &one.key);
            let question = Ask::delete(path, Want::Edited).if_at(one.version);
            act(question, format!("delete {name}"), &format!("{} delete {name}", one.space))
        }
        Item::Secret(one) => {
            let Listing::Secrets { app } = listing else { return None };
            let path = format!("/apps/{}/secrets/{}", segment(app), segment(&one.name));
            let name = format!("{app}/{}", one.name);
            let question = Ask::delete(path, Want::Anything);
            act(question, format!("delete {name}"), &format!("secrets delete {name}"))
        }
        Item::Token(one) => {
            let path = format!("/tokens/{}/revoke", segment(&one.name));
            let question = Ask::post(path, json!({}), Want::Anything);
            act(question, format!("revoke {}", one.name), &format!("tokens revoke {}", one.name))
        }
        _ => None,
    }
}

/// Pauses what runs, and lets go on what is paused.
fn hold(item: &Item) -> Option<Act> {
    let (path, target, paused) = match item {
        Item::App(app) => {
            (format!("/apps/{}", segment(&app.slug)), app.slug.clone(), app.paused.as_ref())
        }
        Item::Trigger(one) => {
            let (path, name) = trigger_place(&one.app, &one.name);
            (path, name, one.paused.as_ref())
        }
        Item::Route(one) => {
            let name = format!("{} {}", one.method, one.path);
            let path = format!("/apps/{}/routes/{}", segment(&one.app), segment(&name));
            (path, format!("{}/{name}", one.app), one.paused.as_ref())
        }
        Item::Script(one) => {
            let target = format!("{}/script:{}", one.app, one.name);
            (part::script(&one.app, &one.name), target, one.paused.as_ref())
        }
        _ => return None,
    };
    // What its app or the instance holds up cannot be let go here.
    let own = paused.is_some_and(|paused| paused.target == target);
    let (verb, body) =
        if own { ("resume", json!({})) } else { ("pause", json!({ "reason": REASON })) };
    Some(Act {
        does: Does::One(Ask::post(format!("{path}/{verb}"), body, Want::Anything)),
        label: format!("{verb} {target}"),
        command: format!("picloud {verb} '{target}'"),
    })
}

fn trigger_place(app: &str, name: &str) -> (String, String) {
    (format!("/apps/{}/triggers/{}", segment(app), segment(name)), format!("{app}/{name}"))
}

/// Where an entry is.
pub fn entry_path(app: &str, space: &str, collection: &str, key: &str) -> String {
    format!("/apps/{}/{space}/{}/{}", segment(app), segment(collection), segment(key))
}

/// What is asked before it is done.
pub fn says(command: Command, item: &Item) -> Vec<(Role, String)> {
    let text = |text: &str| vec![(Role::Text, text.to_owned())];
    match (command, item) {
        (Command::Discard, Item::Outbox(_)) => {
            text("It becomes a dead letter, and can be replayed from there.")
        }
        (Command::Discard, Item::Letter(_)) => text("It is kept for 30 days; u reopens it."),
        (Command::Discard, Item::App(app)) => vec![(
            Role::Bad,
            format!(
                "{} scripts, {} routes, {} triggers and everything stored go; {} rows that wait are abandoned.",
                app.scripts, app.routes, app.triggers, app.waiting
            ),
        )],
        (Command::Discard, Item::Entry(_)) => {
            text("Triggers fire as if a script had deleted it. There is no undo.")
        }
        (Command::Discard, Item::Trigger(_)) => text("What it has set off still runs."),
        (Command::Discard, Item::Route(_)) => text("What it has accepted still runs."),
        (Command::Run, Item::Trigger(one)) => text(&format!(
            "{}/{} runs once, as you, with an event that is made up. It may write and call as always.",
            one.app, one.script
        )),
        (Command::Run, Item::Version(one)) => {
            text(&format!("v{} becomes the newest version; the current one is kept.", one.version))
        }
        _ => Vec::new(),
    }
}

/// A call in bulk.
pub fn bulk(verb: Bulk, filter: &str, seen: Option<Box<Preview>>) -> Act {
    let (label, word) = match verb {
        Bulk::Replay => ("replay", "replay"),
        Bulk::Discard => ("discard", "discard"),
    };
    let expect = seen.as_ref().map(|seen| format!(" --expect {}", seen.count)).unwrap_or_default();
    let command = format!("picloud dead-letters {word} --filter '{filter}'{expect}");
    let does = Does::Bulk { verb, filter: filter.to_owned(), seen };
    Act { does, label: label.to_owned(), command }
}

pub fn preview_path(filter: &str, app: Option<&str>) -> String {
    let app = app.map(|app| format!("app={}&", segment(app))).unwrap_or_default();
    format!("/dead-letters/preview?{app}filter={}", segment(filter))
}

pub fn bulk_ask(verb: Bulk, filter: &str, seen: &Preview, app: Option<&str>) -> Ask {
    let (word, hold_ms, reason) = match verb {
        Bulk::Replay => ("replay", Some(HOLD_MS), None),
        Bulk::Discard => ("discard", None, Some(REASON.to_owned())),
    };
    let request = BulkRequest {
        filter: filter.to_owned(),
        app: app.map(str::to_owned),
        up_to: seen.up_to.clone().unwrap_or_default(),
        expect: seen.count,
        as_of: seen.as_of,
        hold_ms,
        reason,
    };
    let body = serde_json::to_value(request).expect("a request of plain values is JSON");
    Ask::post(format!("/dead-letters/{word}"), body, Want::Bulk)
}

/// What a preview has seen, in lines.
pub fn previewed(seen: &Preview, rows: &[Item], filter: &str) -> Vec<(Role, String)> {
    let apps: Vec<String> =
        seen.apps.iter().map(|app| format!("{} {}", app.count, app.app)).collect();
    let mut says = vec![(Role::Text, format!("in {}", apps.join(", ")))];
    let group = rows.iter().find_map(|row| match row {
        Item::Group(group) if filter.ends_with(&crate::listing::group_filter(row)) => Some(group),
        _ => None,
    });
    if let Some(group) = group {
        let now = group.current_version.map_or("gone".to_owned(), |v| format!("v{v}"));
        let failed = if group.version_min == group.version_max {
            format!("v{}", group.version_max)
        } else {
            format!("v{} to v{}", group.version_min, group.version_max)
        };
        says.push((Role::Text, format!("{failed} failed, {now} will run")));
        // Numbers are left out of a group's error, so the filter may find what looks nearly like it.
        if seen.count != group.count {
            let more = format!("the group has {}: the filter finds {}", group.count, seen.count);
            says.push((Role::Warn, more));
        }
    }
    says.push((Role::Dim, "the newest of them:".to_owned()));
    says.extend(seen.examples.iter().map(|one| {
        let cause = crate::item::cause(&one.source, one.origin.as_deref());
        (Role::Text, format!("  {}/{}  {cause}  {}", one.app, one.script, one.error.message))
    }));
    says
}

/// What is said of what was done.
pub fn said(act: &Act, reply: &Reply) -> (Role, String) {
    match reply {
        Reply::Bulk(bulk) => {
            let mut says = format!("{}: {} done", act.label, bulk.done.len());
            if bulk.skipped > 0 {
                says = format!("{says}, {} skipped (changed since)", bulk.skipped);
            }
            if bulk.failed > 0 {
                says = format!("{says}, {} failed", bulk.failed);
            }
            if let Some(why) = &bulk.first_failure {
                says = format!("{says}: {why}");
            }
            (if bulk.failed > 0 { Role::Warn } else { Role::Ok }, says)
        }
        Reply::Invoked(answer) => match &answer.error {
            Some(error) => (Role::Bad, format!("{}: {}", act.label, error.message)),
            None => {
                let result = answer.result.as_ref().map_or("done", |result| result.get());
                (Role::Ok, format!("{}: {result}", act.label))
            }
        },
        Reply::Fired(answer) => (Role::Ok, format!("{}: {}", act.label, answer.execution_id)),
        _ => (Role::Ok, format!("done: {}", act.label)),
    }
}

/// What brings back what was, what that is called, and for how long it is offered.
#[derive(Debug)]
pub struct WayBack {
    pub label: String,
    pub asks: Vec<Ask>,
    pub for_ms: i64,
}

fn way(label: String, question: Ask) -> Option<WayBack> {
    Some(WayBack { label, asks: vec![question], for_ms: UNDO_MS })
}

/// What brings back what this has done, where that is possible.
pub fn undo(act: &Act, reply: &Reply) -> Option<WayBack> {
    let question = match (&act.does, reply) {
        (Does::Bulk { verb: Bulk::Replay, .. }, Reply::Bulk(bulk)) => return take_back(&bulk.done),
        (Does::One(question), _) => question,
        (Does::Each(_) | Does::Bulk { .. } | Does::DropDraft, _) => return None,
    };
    let path = question.paths.first()?;
    match reply {
        Reply::Done(done) if path.ends_with("/replay") => {
            return take_back(std::slice::from_ref(&done.id));
        }
        Reply::Done(done) if path.starts_with("/dead-letters/") && path.ends_with("/discard") => {
            let path = format!("/dead-letters/{}/reopen", done.id);
            return way(format!("reopen {}", done.id), Ask::post(path, json!({}), Want::Done));
        }
        Reply::ScriptChanged(changed) => return former_version(changed),
        _ => {}
    }
    let other = [
        ("/enable", "/disable", "disable it"),
        ("/disable", "/enable", "enable it"),
        ("/pause", "/resume", "resume it"),
        ("/resume", "/pause", "pause it"),
    ];
    let (ending, instead, label) = other.iter().find(|(ending, ..)| path.ends_with(ending))?;
    let path = format!("{}{instead}", path.strip_suffix(ending)?);
    let body = if *instead == "/pause" { json!({ "reason": REASON }) } else { json!({}) };
    way((*label).to_owned(), Ask::post(path, body, Want::Anything))
}

/// What puts the version back that was live before.
pub fn former_version(changed: &ScriptChanged) -> Option<WayBack> {
    if !changed.changed || changed.version_before == 0 {
        return None;
    }
    let path = format!("{}/roll-back", part::script(&changed.app, &changed.name));
    let body = json!({ "version": changed.version_before });
    let question = Ask::post(path, body, Want::ScriptChanged);
    way(format!("back to v{}", changed.version_before), question)
}

/// What brings back what was done to many.
pub fn undo_many(act: &Act, done: &[String]) -> Option<WayBack> {
    let Does::Each(asks) = &act.does else { return None };
    let are_replays = asks.first()?.paths.first()?.ends_with("/replay");
    if are_replays { take_back(done) } else { None }
}

fn take_back(ids: &[String]) -> Option<WayBack> {
    if ids.is_empty() {
        return None;
    }
    let body = json!({ "ids": ids });
    let question = Ask::post("/dead-letters/take-back", body, Want::Bulk);
    let label = if ids.len() == 1 { "take the replay back" } else { "take the replays back" };
    Some(WayBack { label: label.to_owned(), asks: vec![question], for_ms: HOLD_MS })
}

/// The same with a capital letter.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

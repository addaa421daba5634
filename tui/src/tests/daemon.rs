//! A daemon in memory: it answers what the console asks with what `canned` knows.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use percent_encoding::percent_decode_str;
use picloud_api::letters::{BulkAnswer, Done, LetterGroups, Preview};
use picloud_api::list::{DeadLetterItem, ExecutionItem, OutboxItem, Page};
use picloud_api::problem::{Code, Problem};
use picloud_api::script::ScriptChanged;
use picloud_api::stats::Stats;
use serde::Serialize;
use serde_json::{Value, json};

use crate::effect::Ask;
use crate::message::Failure;
use crate::reply::{self, Batch, Reply, Want};
use crate::tests::canned::{self, NOW, id};

type Answer = Result<Value, Box<Problem>>;

/// Whose texts it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texts {
    Kind,
    /// What a terminal would obey, hide or draw in two columns, and what does not end.
    Hostile,
}

pub(super) struct Daemon {
    pub(super) texts: Texts,
    pub(super) capabilities: Vec<&'static str>,
    /// With each start another one.
    pub(super) instance_id: String,
    pub(super) stats: Stats,
    pub(super) outbox: Vec<OutboxItem>,
    pub(super) letters: Vec<DeadLetterItem>,
    pub(super) runs: Vec<ExecutionItem>,
    pub(super) source: String,
    /// Instead of an answer, by method and path without query.
    pub(super) refuses: BTreeMap<&'static str, Problem>,
    /// The app that alone may be looked at.
    pub(super) only: Option<&'static str>,
    /// Lists that have nothing in them, by path without query.
    pub(super) empty: BTreeSet<&'static str>,
    resolved: BTreeSet<String>,
}

impl Daemon {
    pub(super) fn new() -> Daemon {
        Daemon {
            texts: Texts::Kind,
            capabilities: vec!["InstanceAdmin"],
            instance_id: id("START", 1),
            stats: canned::stats(NOW),
            outbox: canned::outbox(),
            letters: canned::letters(),
            runs: canned::runs(),
            source: canned::SOURCE.to_owned(),
            refuses: BTreeMap::new(),
            only: None,
            empty: BTreeSet::new(),
            resolved: BTreeSet::new(),
        }
    }

    /// What it answers; a page goes on with the next path, as the console's tasks do it.
    pub(super) fn answer(&mut self, question: &Ask) -> Result<Reply, Failure> {
        let Want::Page(_) = question.want else {
            return self.one(question, &question.paths[0]);
        };
        let mut whole = Batch::default();
        for path in &question.paths {
            let Reply::Page(page) = self.one(question, path)? else { continue };
            whole.items.extend(page.items);
            whole.now = page.now;
            whole.partial = page.partial;
        }
        Ok(Reply::Page(whole))
    }

    fn one(&mut self, question: &Ask, path: &str) -> Result<Reply, Failure> {
        let body = question.body.clone().unwrap_or_default();
        let mut answer = self.call(&question.method, path, &body).map_err(Failure::Problem)?;
        if self.texts == Texts::Hostile {
            spoil("", &mut answer);
        }
        let body = serde_json::to_vec(&answer).expect("a value is JSON");
        Ok(reply::read(question.want, &body).expect("the daemon says what it is asked for"))
    }

    fn call(&mut self, method: &Method, path: &str, body: &Value) -> Answer {
        let (place, query) = path.split_once('?').unwrap_or((path, ""));
        if let Some(problem) = self.refuses.get(format!("{method} {place}").as_str()) {
            return Err(Box::new(problem.clone()));
        }
        let is_of_all = ["/stats", "/outbox", "/executions", "/logs", "/dead-letters/groups"];
        if let Some(only) = self.only
            && is_of_all.contains(&place)
            && of(query, "app").as_deref() != Some(only)
        {
            let says = "this asks for AppRead for all apps";
            return Err(Box::new(Problem::new(Code::NotAllowed, says)));
        }
        if self.empty.contains(place) {
            return Ok(page(Vec::<Value>::new()));
        }
        let segments: Vec<String> = place.split('/').skip(1).map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        if *method == Method::GET {
            self.get(&segments, query)
        } else {
            self.change(method, &segments, body)
        }
    }

    fn get(&self, segments: &[&str], query: &str) -> Answer {
        Ok(match segments {
            ["instance"] => {
                let mut instance = canned::instance(&self.capabilities);
                instance.instance_id.clone_from(&self.instance_id);
                value(&instance)
            }
            ["stats"] => match of(query, "app") {
                Some(app) => value(&self.stats.of_app(&app)),
                None => value(&self.stats),
            },
            ["outbox"] => page(self.outbox.clone()),
            ["outbox", id] => {
                canned::outbox_detail(found(self.outbox.iter().find(|row| row.id == *id), id)?)
            }
            ["dead-letters"] => page(self.open(query)),
            ["dead-letters", "groups"] => {
                let letters = self.open(query);
                let groups = canned::groups(&letters);
                value(&LetterGroups { groups, looked_at: letters.len(), complete: true, now: NOW })
            }
            ["dead-letters", "preview"] => value(&self.preview(query)),
            ["dead-letters", id] => {
                canned::letter_detail(found(self.letters.iter().find(|one| one.id == *id), id)?)
            }
            ["executions"] => page(self.runs_of(query)),
            ["executions", id] => {
                let run = self.runs.iter().find(|run| run.id == *id).or(self.runs.get(2));
                value(&canned::execution(found(run, id)?))
            }
            ["executions", id, "chain"] => value(&canned::chain(id)),
            ["abandoned"] => page(canned::abandoned()),
            ["abandoned", id] => {
                let all = canned::abandoned();
                let one = found(all.iter().find(|one| one.id == *id), id)?;
                json!({ "abandoned": one, "event": { "op": "update" }, "now": NOW })
            }
            ["apps"] => page(canned::apps()),
            ["apps", app, rest @ ..] => self.of_app(app, rest)?,
            ["doctor"] => value(&canned::checks()),
            ["logs"] => page(canned::log()),
            ["backups"] => page(canned::backups()),
            ["nodes"] => page(canned::nodes()),
            ["principals"] => page(canned::principals()),
            ["tokens"] => page(canned::tokens()),
            ["audit"] => page(canned::audit()),
            _ => panic!("the daemon has no {segments:?}"),
        })
    }

    fn of_app(&self, app: &str, rest: &[&str]) -> Answer {
        Ok(match rest {
            [] => value(&canned::app(app)),
            ["manifest"] => canned::manifest(app),
            ["routes"] => page(canned::routes(app)),
            ["scripts"] => page(canned::scripts(app)),
            ["scripts", name] => value(&canned::script(app, name, &self.source)),
            ["scripts", _, "versions"] => page(canned::versions()),
            ["scripts", name, "versions", version] => {
                value(&canned::version(app, name, version.parse().expect("a number")))
            }
            ["triggers"] => page(canned::triggers(app)),
            ["secrets"] => page(canned::secrets()),
            [space @ ("kv" | "docs")] => page(canned::collections(app, space)),
            [space @ ("kv" | "docs"), collection] => {
                let place = (app, *space, *collection);
                page(["a3", "a4", "a5"].map(|key| canned::entry(place, key, 4)).to_vec())
            }
            [space @ ("kv" | "docs"), collection, key] => {
                canned::entry((app, space, collection), key, 5)
            }
            _ => panic!("the daemon has no {rest:?} of {app}"),
        })
    }

    fn change(&mut self, method: &Method, segments: &[&str], body: &Value) -> Answer {
        let put = *method == Method::PUT;
        let done = |id: &str| value(&Done { id: id.to_owned(), ..Done::default() });
        Ok(match segments {
            ["dead-letters", verb @ ("replay" | "discard")] => self.bulk(verb, body),
            ["dead-letters", "take-back"] => {
                let ids: Vec<String> = serde_json::from_value(body["ids"].clone()).expect("ids");
                let done = ids.into_iter().filter(|id| self.resolved.remove(id)).collect();
                value(&BulkAnswer { done, ..BulkAnswer::default() })
            }
            ["dead-letters", id, "replay" | "discard"] => {
                self.resolved.insert((*id).to_owned());
                done(id)
            }
            ["dead-letters", id, "reopen"] => {
                self.resolved.remove(*id);
                done(id)
            }
            ["outbox", id, "run-now" | "cancel"] => done(id),
            ["apps", _, "scripts", _, "dry-run"] => canned::dry_run(),
            ["apps", _, "scripts", _, "invoke"] => json!({
                "execution_id": id("RUN", 99), "outcome": "answered", "result": { "ok": true },
                "error": null, "accepted_at": null,
            }),
            ["apps", _, "triggers", _, "fire"] => json!({ "execution_id": id("RUN", 98) }),
            ["apps", app, "scripts", name] if put => {
                body["source"].as_str().unwrap_or_default().clone_into(&mut self.source);
                changed(app, name)
            }
            ["apps", app, "scripts", name, "roll-back"] => changed(app, name),
            ["apps", app, "kv" | "docs", collection, key] => json!({
                "app": app, "dry_run": body["dry_run"] == true, "write": null,
                "triggers": [{ "trigger": "on-reading", "script": "warn", "source": "docs",
                    "collection": collection, "key": key }],
                "root_id": null, "version": 5,
            }),
            _ => json!({}),
        })
    }

    fn bulk(&mut self, verb: &str, body: &Value) -> Value {
        let filter = body["filter"].as_str().expect("a filter");
        let up_to = body["up_to"].as_str().expect("an id");
        let hit: Vec<String> = self
            .open(&format!("filter={}", crate::client::segment(filter)))
            .into_iter()
            .map(|letter| letter.id)
            .filter(|id| id.as_str() <= up_to)
            .collect();
        assert!(verb != "discard" || body["reason"].is_string(), "a discard says why");
        self.resolved.extend(hit.iter().cloned());
        value(&BulkAnswer { done: hit, ..BulkAnswer::default() })
    }

    /// Open letters that a query lets through.
    fn open(&self, query: &str) -> Vec<DeadLetterItem> {
        let filter = of(query, "filter").unwrap_or_default();
        let app = of(query, "app");
        let is_open = |letter: &&DeadLetterItem| {
            !self.resolved.contains(&letter.id) && app.iter().all(|app| *app == letter.app)
        };
        let passes = |letter: &&DeadLetterItem| {
            passes(&filter, &letter.app, &letter.script, &letter.error.message)
        };
        self.letters.iter().filter(is_open).filter(passes).cloned().collect()
    }

    fn preview(&self, query: &str) -> Preview {
        let open = self.open(query);
        let mut apps: Vec<picloud_api::letters::AppCount> = Vec::new();
        for letter in &open {
            match apps.iter_mut().find(|one| one.app == letter.app) {
                Some(one) => one.count += 1,
                None => {
                    apps.push(picloud_api::letters::AppCount { app: letter.app.clone(), count: 1 })
                }
            }
        }
        Preview {
            count: open.len(),
            apps,
            first_at: open.iter().map(|letter| letter.first_at).min(),
            last_at: open.iter().map(|letter| letter.last_at).max(),
            up_to: open.iter().map(|letter| letter.id.clone()).max(),
            examples: open.into_iter().take(3).collect(),
            as_of: NOW,
        }
    }

    fn runs_of(&self, query: &str) -> Vec<ExecutionItem> {
        let filter = of(query, "filter").unwrap_or_default();
        let message = |run: &ExecutionItem| {
            run.error.as_ref().map(|error| error.message.clone()).unwrap_or_default()
        };
        let passes = |run: &&ExecutionItem| passes(&filter, &run.app, &run.script, &message(run));
        self.runs.iter().filter(passes).cloned().collect()
    }
}

/// Of the grammar of filters only what the tests ask for: an app, a script, words of an error.
fn passes(filter: &str, app: &str, script: &str, message: &str) -> bool {
    filter.split_whitespace().all(|word| match word.split_once(':') {
        Some(("app", wanted)) => wanted == app,
        Some(("script", wanted)) => wanted == script,
        Some(_) => true,
        None => word.contains('"') || script.contains(word) || message.contains(word),
    })
}

fn changed(app: &str, name: &str) -> Value {
    value(&ScriptChanged {
        app: app.to_owned(),
        name: name.to_owned(),
        changed: true,
        version_before: 12,
        version: 13,
    })
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).expect("the API's types are JSON")
}

fn page<T: Serialize>(items: Vec<T>) -> Value {
    value(&Page { items, next: None, now: NOW })
}

fn found<'a, T>(one: Option<&'a T>, id: &str) -> Result<&'a T, Box<Problem>> {
    one.ok_or_else(|| Box::new(Problem::new(Code::NotFound, format!("there is no {id}"))))
}

fn of(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| decoded(value))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Puts into every text what has no business there. Ids stay what they are.
fn spoil(key: &str, value: &mut Value) {
    const WORST: [&str; 6] = [
        "\u{1b}[2J\u{1b}]52;c;aGk=\u{7}",
        "水やり🌱👩‍🌾",
        "\u{202e}txt.exe\u{2066}",
        "e\u{301}\u{301}\u{301}\u{200b}\u{feff}",
        "\t\r\n\0\u{9b}31m",
        "\u{fdfa}\u{1100}\u{1161}ﷺ",
    ];
    match value {
        Value::String(text)
            if !(key.ends_with("id") || ["up_to", "example", "space"].contains(&key)) =>
        {
            let at = text.len();
            text.push_str(WORST[at % WORST.len()]);
            if at % 7 == 0 {
                text.push_str(&"long 長い ".repeat(60));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(key, item)),
        Value::Object(map) => map.iter_mut().for_each(|(key, item)| spoil(key, item)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

//! The description of the admin API as OpenAPI 3.1, made from the table of its calls and the types that cross it. It is
//! checked in as `docs/openapi.json`, which the daemon serves; this module is not in a build that ships.

use std::collections::BTreeMap;
use std::fmt::Display;

use picloud_api::BASE;
use picloud_api::app::{App, AppChange, AppCreate, AppDeleted};
use picloud_api::audit::AuditItem;
use picloud_api::backups::{BackupItem, BackupStarted};
use picloud_api::data::{CollectionItem, Edited, EntryItem, EntryPut};
use picloud_api::deploy::Difference;
use picloud_api::events::{Begin, Closed, LogEntry, Missed, OutboxEvent};
use picloud_api::executions::{
    AbandonedDetail, AbandonedItem, Chain, ExecutionDetail, OutboxDetail,
};
use picloud_api::health::{Checks, Healthy};
use picloud_api::instance::{Instance, PauseAnswer, PauseRequest};
use picloud_api::letters::{
    BulkAnswer, BulkRequest, Done, LetterDetail, LetterGroups, Preview, ReasonRequest,
    ReplayRequest, TakeBackRequest,
};
use picloud_api::list::{AppItem, DeadLetterItem, ExecutionItem, OutboxItem, PAGE_ITEMS_MAX};
use picloud_api::manifest::{Bundle, RouteEntry, TriggerEntry};
use picloud_api::nodes::NodeItem;
use picloud_api::principals::{GrantRequest, PrincipalAnswer, PrincipalItem, PrincipalRequest};
use picloud_api::problem::{self, Problem};
use picloud_api::routes::{RouteAnswer, RouteDeleted, RouteItem};
use picloud_api::script::{
    DryRun, DryRunAnswer, Invoke, InvokeAnswer, RollBack, Script, ScriptChanged, ScriptItem,
    ScriptPut, Version, VersionItem,
};
use picloud_api::secrets::{SecretAnswer, SecretItem, SecretPut};
use picloud_api::stats::Stats;
use picloud_api::tokens::{TokenAnswer, TokenItem, TokenMade, TokenRequest};
use picloud_api::triggers::{FireAnswer, FireRequest, TriggerAnswer, TriggerDeleted, TriggerItem};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::admin::calls::{CALLS, Call, Does};
use crate::admin::metrics;
use crate::outbox::source::TriggerKind;

/// The document, as it is checked in.
pub fn document() -> String {
    let mut schemas = Schemas::default();
    let problem = schemas.of::<Problem>();
    let mut paths: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
    for call in CALLS {
        let operation = operation(call, &problem, &mut schemas);
        let methods = paths.entry(call.path).or_default();
        methods.insert(call.method.as_str().to_ascii_lowercase(), operation);
    }
    let head = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "PiCloud admin API",
            "description": "Who may do what, and how lists, filters and versions work: docs/admin-api.md.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": BASE, "description": "On the admin socket, and over TCP where [admin] listen says so." }],
        // On the socket the kernel says who calls.
        "security": [{}, { "token": [] }],
    });
    let components =
        json!({ "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } });
    let paths = paths.into_iter().map(|(path, methods)| (path, lines(methods)));
    let parts = [
        (&head, format!("\"paths\": {}", lines(paths))),
        (&components, format!("\"schemas\": {}", lines(schemas.0))),
    ];
    let [document, components] = parts.map(|(begin, rest)| {
        let begin = begin.to_string();
        format!("{},\n{rest}}}", begin.strip_suffix('}').expect("a map ends so"))
    });
    let document = document.strip_suffix('}').expect("a map ends so");
    format!("{document},\n\"components\": {components}}}\n")
}

/// A map with a line for each entry, so that a change shows as what it is, and yet no larger than it must be: the daemon
/// carries all of it.
fn lines<K: AsRef<str>, V: Display>(entries: impl IntoIterator<Item = (K, V)>) -> String {
    let line = |(key, value): (K, V)| format!("{}: {value}", Value::from(key.as_ref()));
    let lines: Vec<String> = entries.into_iter().map(line).collect();
    format!("{{\n{}}}", lines.join(",\n"))
}

fn operation(call: &Call, problem: &Value, schemas: &mut Schemas) -> Value {
    let shape = shape(call.does, schemas);
    let asks = call.capability.map_or("known", |capability| capability.as_str());
    let mut good = Map::new();
    for (status, description) in statuses(call.does) {
        let mut content = Map::new();
        content.insert(media_type(call.does).to_owned(), json!({ "schema": shape.gives }));
        good.insert(
            (*status).to_owned(),
            json!({ "description": description, "content": content }),
        );
    }
    let mut content = Map::new();
    content.insert(problem::MEDIA_TYPE.to_owned(), json!({ "schema": problem }));
    good.insert(
        "default".to_owned(),
        json!({ "description": "It was not done, and why.", "content": content }),
    );
    let id: String = format!("{:?}", call.does).chars().filter(char::is_ascii_alphabetic).collect();
    let mut operation = json!({
        "operationId": id,
        "summary": call.about,
        "description": format!("Asks for: {asks}."),
        "parameters": parameters(call),
        "responses": good,
    });
    if let Some(takes) = shape.takes {
        operation["requestBody"] = json!({
            "required": shape.needs_body,
            "content": { "application/json": { "schema": takes } },
        });
    }
    operation
}

fn media_type(does: Does) -> &'static str {
    match does {
        Does::StreamEvents => "text/event-stream",
        Does::ShowMetrics => metrics::MEDIA_TYPE,
        _ => "application/json",
    }
}

fn statuses(does: Does) -> &'static [(&'static str, &'static str)] {
    match does {
        Does::Invoke => &[("200", "It ran."), ("202", "It will run.")],
        Does::StartBackup => &[("202", "It is begun.")],
        _ => &[("200", "It is done.")],
    }
}

fn parameters(call: &Call) -> Vec<Value> {
    let segments =
        call.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = segments.map(|name| parameter(call, "path", name));
    let in_query = call.query.iter().map(|name| parameter(call, "query", name));
    let mut all: Vec<Value> = in_path.chain(in_query).collect();
    if takes_if_match(call.does) {
        all.push(json!({
            "name": "If-Match",
            "in": "header",
            "description": "The ETag that was shown: nothing is changed if it has another version meanwhile.",
            "required": false,
            "schema": { "type": "string", "pattern": "^\"[0-9]{1,18}\"$" },
        }));
    }
    if call.does == Does::StreamEvents {
        all.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "description": "The id of the last event that was seen: the stream goes on behind it.",
            "required": false,
            "schema": { "type": "string", "pattern": "^[0-9A-HJKMNP-TV-Z]{26}-[0-9]{1,18}$" },
        }));
    }
    all
}

/// `place` is where it stands: `path` or `query`.
fn parameter(call: &Call, place: &str, name: &str) -> Value {
    let text = json!({ "type": "string" });
    let (schema, about) = match name {
        "app" if place == "path" => (text, "Slug or number of the app."),
        "app" => (text, "Only of this app."),
        "name" if call.does == Does::CreateTrigger => (
            json!({ "type": "string", "enum": TriggerKind::ALL.map(TriggerKind::in_a_path) }),
            "The kind of trigger.",
        ),
        "name" => {
            (text, "What it is called; a route is called by method and path, `POST /readings`.")
        }
        "id" => (
            json!({ "type": "string", "pattern": "^[0-9A-HJKMNP-TV-Z]{26}$" }),
            "Its id, as lists show it.",
        ),
        "version" => (json!({ "type": "integer", "minimum": 0 }), "The version."),
        "collection" => (text, "The collection."),
        "key" => (text, "The key, or the document's id."),
        "after" => (text, "`next` of the page before."),
        "limit" => (
            json!({ "type": "integer", "minimum": 1, "maximum": PAGE_ITEMS_MAX }),
            "Items of the page at most.",
        ),
        "filter" => (text, "Words and `key:value`, as docs/work.md says."),
        "prefix" => (text, "Only keys that begin like this."),
        "dry_run" => (json!({ "type": "boolean" }), "Only say what would happen."),
        other => unreachable!("parameter {other} of {} is not described", call.path),
    };
    json!({ "name": name, "in": place, "required": place == "path", "schema": schema, "description": about })
}

fn takes_if_match(does: Does) -> bool {
    matches!(
        does,
        Does::Deploy
            | Does::ChangeApp
            | Does::DeleteApp
            | Does::CreateRoute
            | Does::ChangeRoute
            | Does::DeleteRoute
            | Does::CreateTrigger
            | Does::ChangeTrigger
            | Does::SwitchTrigger(_)
            | Does::DeleteTrigger
            | Does::PutScript
            | Does::DeleteScript
            | Does::RollBack
            | Does::PutEntry(_)
            | Does::DeleteEntry(_)
    )
}

/// What a call takes and gives.
struct Shape {
    takes: Option<Value>,
    needs_body: bool,
    gives: Value,
}

#[expect(clippy::too_many_lines, reason = "a line for each call")]
fn shape(does: Does, all: &mut Schemas) -> Shape {
    match does {
        Does::ShowInstance => all.gives::<Instance>(),
        Does::ShowOpenApi => all.any(),
        Does::ListApps => all.lists::<AppItem>(),
        Does::CreateApp => all.gives::<App>().taking::<AppCreate>(all),
        Does::ShowApp => all.gives::<App>(),
        Does::ChangeApp => all.gives::<App>().taking::<AppChange>(all),
        Does::DeleteApp => all.gives::<AppDeleted>(),
        Does::Deploy => all.gives::<Difference>().taking::<Bundle>(all),
        Does::Export => all.gives::<Bundle>(),
        Does::Pause(_) => all.gives::<PauseAnswer>().may_take::<PauseRequest>(all),
        Does::Resume(_) => all.gives::<PauseAnswer>(),
        Does::ListTriggers => all.lists::<TriggerItem>(),
        Does::ShowTrigger => all.gives::<TriggerItem>(),
        Does::CreateTrigger | Does::ChangeTrigger => {
            all.gives::<TriggerAnswer>().taking::<TriggerEntry>(all)
        }
        Does::SwitchTrigger(_) => all.gives::<TriggerAnswer>(),
        Does::FireTrigger => all.gives::<FireAnswer>().may_take::<FireRequest>(all),
        Does::DeleteTrigger => all.gives::<TriggerDeleted>(),
        Does::ListSecrets => all.lists::<SecretItem>(),
        Does::SetSecret => all.gives::<SecretAnswer>().taking::<SecretPut>(all),
        Does::DeleteSecret => all.gives::<SecretAnswer>(),
        Does::ListRoutes => all.lists::<RouteItem>(),
        Does::ShowRoute => all.gives::<RouteItem>(),
        Does::CreateRoute | Does::ChangeRoute => {
            all.gives::<RouteAnswer>().taking::<RouteEntry>(all)
        }
        Does::DeleteRoute => all.gives::<RouteDeleted>(),
        Does::ListCollections(_) => all.lists::<CollectionItem>(),
        Does::ListEntries(_) => all.lists::<EntryItem>(),
        Does::ShowEntry(_) => all.gives::<EntryItem>(),
        Does::PutEntry(_) | Does::CreateDocument => all.gives::<Edited>().taking::<EntryPut>(all),
        Does::DeleteEntry(_) => all.gives::<Edited>(),
        Does::ListScripts => all.lists::<ScriptItem>(),
        Does::ShowScript => all.gives::<Script>(),
        Does::PutScript => all.gives::<ScriptChanged>().taking::<ScriptPut>(all),
        Does::DeleteScript => all.gives::<ScriptChanged>(),
        Does::ListVersions => all.lists::<VersionItem>(),
        Does::ShowVersion => all.gives::<Version>(),
        Does::RollBack => all.gives::<ScriptChanged>().taking::<RollBack>(all),
        Does::DryRun => all.gives::<DryRunAnswer>().may_take::<DryRun>(all),
        Does::Invoke => all.gives::<InvokeAnswer>().may_take::<Invoke>(all),
        Does::ListOutbox => all.lists::<OutboxItem>(),
        Does::ShowOutboxRow => all.gives::<OutboxDetail>(),
        Does::RunNow => all.gives::<Done>(),
        Does::Cancel => all.gives::<Done>().taking::<ReasonRequest>(all),
        Does::ListDeadLetters => all.lists::<DeadLetterItem>(),
        Does::GroupDeadLetters => all.gives::<LetterGroups>(),
        Does::PreviewDeadLetters => all.gives::<Preview>(),
        Does::ShowDeadLetter => all.gives::<LetterDetail>(),
        Does::ReplayDeadLetter => all.gives::<Done>().may_take::<ReplayRequest>(all),
        Does::TakeBackDeadLetter | Does::ReopenDeadLetter => all.gives::<Done>(),
        Does::DiscardDeadLetter => all.gives::<Done>().taking::<ReasonRequest>(all),
        Does::ReplayDeadLetters | Does::DiscardDeadLetters => {
            all.gives::<BulkAnswer>().taking::<BulkRequest>(all)
        }
        Does::TakeBackDeadLetters => all.gives::<BulkAnswer>().taking::<TakeBackRequest>(all),
        Does::ListAbandoned => all.lists::<AbandonedItem>(),
        Does::ShowAbandoned => all.gives::<AbandonedDetail>(),
        Does::ListExecutions => all.lists::<ExecutionItem>(),
        Does::ShowExecution => all.gives::<ExecutionDetail>(),
        Does::ShowChain => all.gives::<Chain>(),
        Does::ListLogs => all.lists::<LogEntry>(),
        Does::StreamEvents => {
            // What stands in its data, for whoever reads it.
            all.of::<Begin>();
            all.of::<Missed>();
            all.of::<Closed>();
            all.of::<OutboxEvent>();
            all.text()
        }
        Does::ShowStats => all.gives::<Stats>(),
        Does::ShowMetrics => all.text(),
        Does::ShowDoctor => all.gives::<Checks>(),
        Does::ListBackups => all.lists::<BackupItem>(),
        Does::StartBackup => all.gives::<BackupStarted>(),
        Does::ListNodes => all.lists::<NodeItem>(),
        Does::ShowHealth | Does::ShowReadiness => all.gives::<Healthy>(),
        Does::ListPrincipals => all.lists::<PrincipalItem>(),
        Does::ShowPrincipal => all.gives::<PrincipalItem>(),
        Does::CreatePrincipal => all.gives::<PrincipalAnswer>().taking::<PrincipalRequest>(all),
        Does::DeletePrincipal => all.gives::<PrincipalAnswer>(),
        Does::Grant | Does::Revoke => all.gives::<PrincipalAnswer>().taking::<GrantRequest>(all),
        Does::ListTokens => all.lists::<TokenItem>(),
        Does::CreateToken => all.gives::<TokenMade>().taking::<TokenRequest>(all),
        Does::RevokeToken => all.gives::<TokenAnswer>(),
        Does::ListAudit => all.lists::<AuditItem>(),
    }
}

impl Shape {
    fn taking<T: ToSchema>(self, all: &mut Schemas) -> Shape {
        Shape { takes: Some(all.of::<T>()), needs_body: true, ..self }
    }

    /// An empty body is that of nothing said.
    fn may_take<T: ToSchema>(self, all: &mut Schemas) -> Shape {
        Shape { needs_body: false, ..self.taking::<T>(all) }
    }
}

/// The schemas of all types, by name.
#[derive(Default)]
struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    fn of<T: ToSchema>(&mut self) -> Value {
        let name = T::name().into_owned();
        let mut parts = vec![(name.clone(), T::schema())];
        T::schemas(&mut parts);
        for (name, schema) in parts {
            let schema = serde_json::to_value(schema).expect("a schema is JSON");
            let known = self.0.insert(name.clone(), schema.clone());
            assert!(known.is_none_or(|known| known == schema), "two types are called {name}");
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    fn gives<T: ToSchema>(&mut self) -> Shape {
        Shape { takes: None, needs_body: false, gives: self.of::<T>() }
    }

    /// A page of a list: `picloud_api::list::Page`.
    fn lists<T: ToSchema>(&mut self) -> Shape {
        let gives = json!({
            "type": "object",
            "required": ["items", "next", "now"],
            "properties": {
                "items": { "type": "array", "items": self.of::<T>() },
                "next": { "type": ["string", "null"], "description": "Cursor of the next page; null on the last one." },
                "now": { "type": "integer", "format": "int64", "description": "When the page was read." },
            },
        });
        Shape { takes: None, needs_body: false, gives }
    }

    fn text(&mut self) -> Shape {
        Shape { takes: None, needs_body: false, gives: json!({ "type": "string" }) }
    }

    /// Any map.
    fn any(&mut self) -> Shape {
        Shape { takes: None, needs_body: false, gives: json!({ "type": "object" }) }
    }
}

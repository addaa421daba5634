//! What stands in the console's lists: the API's types, under one name, with what all of them have.

use picloud_api::audit::AuditItem;
use picloud_api::backups::BackupItem;
use picloud_api::data::{CollectionItem, EntryItem};
use picloud_api::events::{LogEntry, OutboxEvent};
use picloud_api::executions::AbandonedItem;
use picloud_api::health::Check;
use picloud_api::letters::LetterGroup;
use picloud_api::list::{AppItem, DeadLetterItem, ExecutionItem, FailureItem, OutboxItem};
use picloud_api::nodes::NodeItem;
use picloud_api::principals::PrincipalItem;
use picloud_api::routes::RouteItem;
use picloud_api::script::{ScriptItem, VersionItem};
use picloud_api::secrets::SecretItem;
use picloud_api::stats::AppStats;
use picloud_api::tokens::TokenItem;
use picloud_api::triggers::TriggerItem;

use crate::listing::Listing;

/// A row of a list.
#[derive(Clone, Debug)]
pub enum Item {
    /// An app as the statistics have it.
    Traffic(AppStats),
    App(AppItem),
    Route(RouteItem),
    Script(ScriptItem),
    Version(VersionItem),
    Trigger(TriggerItem),
    Secret(SecretItem),
    Outbox(Row),
    Group(LetterGroup),
    Letter(DeadLetterItem),
    Run(ExecutionItem),
    Abandoned(AbandonedItem),
    Collection(CollectionItem),
    Entry(EntryItem),
    Log(Line),
    Check(Check),
    /// A way to another list.
    Door(Door),
    Backup(BackupItem),
    Node(NodeItem),
    Principal(PrincipalItem),
    Token(TokenItem),
    Audit(AuditItem),
}

/// A row of the outbox, and how it went when it has gone.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub row: OutboxItem,
    pub gone: Option<Gone>,
}

/// How a row left the outbox.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gone {
    pub at: i64,
    pub took_us: Option<i64>,
}

/// A line of a log, with a number that no other line has.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pub number: u64,
    pub entry: LogEntry,
}

/// A way to another list.
#[derive(Clone, Debug)]
pub struct Door {
    pub name: &'static str,
    pub says: &'static str,
    pub to: Listing,
}

impl Item {
    /// What tells it from all other rows of its list.
    pub fn id(&self) -> String {
        match self {
            Self::Traffic(app) => app.app.clone(),
            Self::App(app) => app.slug.clone(),
            Self::Route(route) => format!("{}/{} {}", route.app, route.method, route.path),
            Self::Script(script) => format!("{}/{}", script.app, script.name),
            Self::Version(version) => version.version.to_string(),
            Self::Trigger(trigger) => format!("{}/{}", trigger.app, trigger.name),
            Self::Secret(secret) => secret.name.clone(),
            Self::Outbox(row) => row.row.id.clone(),
            Self::Group(group) => {
                format!("{}/{}/{}/{}", group.app, group.script, group.kind, group.error)
            }
            Self::Letter(letter) => letter.id.clone(),
            Self::Run(run) => format!("{}/{}", run.id, run.attempt),
            Self::Abandoned(abandoned) => abandoned.id.clone(),
            Self::Collection(one) => format!("{}/{}/{}", one.app, one.space, one.collection),
            Self::Entry(entry) => entry.key.clone(),
            Self::Log(line) => line.number.to_string(),
            Self::Check(check) => check.name.clone(),
            // A check may be called the same.
            Self::Door(door) => format!("{}/", door.name),
            Self::Backup(backup) => backup.name.clone(),
            Self::Node(node) => node.id.clone(),
            Self::Principal(principal) => principal.name.clone(),
            Self::Token(token) => token.id.to_string(),
            Self::Audit(entry) => entry.id.to_string(),
        }
    }

    /// Whether this is its id. Lists of many rows are searched often: those of the longest make no text for it.
    pub fn is(&self, id: &str) -> bool {
        match self {
            Self::Outbox(row) => row.row.id == id,
            Self::Letter(letter) => letter.id == id,
            Self::Run(run) => id.starts_with(&run.id) && self.id() == id,
            Self::Abandoned(abandoned) => abandoned.id == id,
            Self::Entry(entry) => entry.key == id,
            Self::Log(line) => id.parse() == Ok(line.number),
            Self::Traffic(_)
            | Self::App(_)
            | Self::Route(_)
            | Self::Script(_)
            | Self::Version(_)
            | Self::Trigger(_)
            | Self::Secret(_)
            | Self::Group(_)
            | Self::Collection(_)
            | Self::Check(_)
            | Self::Door(_)
            | Self::Backup(_)
            | Self::Node(_)
            | Self::Principal(_)
            | Self::Token(_)
            | Self::Audit(_) => self.id() == id,
        }
    }

    /// What people call it, as a command of `picloud` takes it.
    pub fn name(&self) -> String {
        match self {
            Self::Run(run) => run.id.clone(),
            Self::Group(group) => format!("{}/{}", group.app, group.script),
            Self::Token(token) => token.name.clone(),
            Self::Log(line) => line.entry.execution_id.clone(),
            Self::Door(door) => door.name.to_owned(),
            Self::Traffic(_)
            | Self::App(_)
            | Self::Route(_)
            | Self::Script(_)
            | Self::Version(_)
            | Self::Trigger(_)
            | Self::Secret(_)
            | Self::Outbox(_)
            | Self::Letter(_)
            | Self::Abandoned(_)
            | Self::Collection(_)
            | Self::Entry(_)
            | Self::Check(_)
            | Self::Backup(_)
            | Self::Node(_)
            | Self::Principal(_)
            | Self::Audit(_) => self.id(),
        }
    }

    /// The app that it belongs to.
    pub fn app(&self) -> Option<&str> {
        match self {
            Self::Traffic(app) => Some(&app.app),
            Self::App(app) => Some(&app.slug),
            Self::Route(route) => Some(&route.app),
            Self::Script(script) => Some(&script.app),
            Self::Trigger(trigger) => Some(&trigger.app),
            Self::Outbox(row) => Some(&row.row.app),
            Self::Group(group) => Some(&group.app),
            Self::Letter(letter) => Some(&letter.app),
            Self::Run(run) => Some(&run.app),
            Self::Abandoned(abandoned) => Some(&abandoned.app),
            Self::Collection(one) => Some(&one.app),
            Self::Entry(entry) => Some(&entry.app),
            Self::Log(line) => Some(&line.entry.app),
            Self::Version(_)
            | Self::Secret(_)
            | Self::Check(_)
            | Self::Door(_)
            | Self::Backup(_)
            | Self::Node(_)
            | Self::Principal(_)
            | Self::Token(_)
            | Self::Audit(_) => None,
        }
    }

    /// The script that it is, runs or ran.
    pub fn script(&self) -> Option<&str> {
        match self {
            Self::Route(route) => Some(&route.script),
            Self::Script(script) => Some(&script.name),
            Self::Trigger(trigger) => Some(&trigger.script),
            Self::Outbox(row) => Some(&row.row.script),
            Self::Group(group) => Some(&group.script),
            Self::Letter(letter) => Some(&letter.script),
            Self::Run(run) => Some(&run.script),
            Self::Abandoned(abandoned) => Some(&abandoned.script),
            Self::Log(line) => Some(&line.entry.script),
            Self::Traffic(_)
            | Self::App(_)
            | Self::Version(_)
            | Self::Secret(_)
            | Self::Collection(_)
            | Self::Entry(_)
            | Self::Check(_)
            | Self::Door(_)
            | Self::Backup(_)
            | Self::Node(_)
            | Self::Principal(_)
            | Self::Token(_)
            | Self::Audit(_) => None,
        }
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<&FailureItem> {
        match self {
            Self::Outbox(row) => row.row.error.as_ref(),
            Self::Letter(letter) => Some(&letter.error),
            Self::Run(run) => run.error.as_ref(),
            Self::Traffic(_)
            | Self::App(_)
            | Self::Route(_)
            | Self::Script(_)
            | Self::Version(_)
            | Self::Trigger(_)
            | Self::Secret(_)
            | Self::Group(_)
            | Self::Abandoned(_)
            | Self::Collection(_)
            | Self::Entry(_)
            | Self::Log(_)
            | Self::Check(_)
            | Self::Door(_)
            | Self::Backup(_)
            | Self::Node(_)
            | Self::Principal(_)
            | Self::Token(_)
            | Self::Audit(_) => None,
        }
    }

    /// Whether all words stand somewhere in it; of lists that the daemon does not filter.
    pub fn has(&self, words: &str) -> bool {
        let text = self.searched().to_lowercase();
        words.split_whitespace().all(|word| match word.strip_prefix('-') {
            Some(not) if !not.is_empty() => !text.contains(&not.to_lowercase()),
            Some(_) | None => text.contains(&word.to_lowercase()),
        })
    }

    fn searched(&self) -> String {
        match self {
            Self::Route(route) => format!("{} {}", self.id(), route.script),
            Self::Script(script) => {
                format!("{} {} {}", self.id(), script.routes.join(" "), script.triggers.join(" "))
            }
            Self::Trigger(trigger) => {
                format!("{} {} {} {}", self.id(), trigger.kind, trigger.script, trigger.matches)
            }
            Self::Entry(entry) => format!("{} {}", entry.key, entry.value.get()),
            Self::Check(check) => format!("{} {} {}", check.name, check.state, check.text),
            Self::Door(door) => format!("{} {}", door.name, door.says),
            Self::Token(token) => format!("{} {} {}", token.name, token.principal, token.state),
            Self::Audit(entry) => format!("{} {} {}", entry.principal, entry.action, entry.object),
            Self::Log(line) => format!("{} {}", line.entry.level, line.entry.message),
            Self::Traffic(_)
            | Self::App(_)
            | Self::Version(_)
            | Self::Secret(_)
            | Self::Outbox(_)
            | Self::Group(_)
            | Self::Letter(_)
            | Self::Run(_)
            | Self::Abandoned(_)
            | Self::Collection(_)
            | Self::Backup(_)
            | Self::Node(_)
            | Self::Principal(_) => self.id(),
        }
    }
}

/// What set a run off, as people say it.
pub fn cause(source: &str, origin: Option<&str>) -> String {
    match (source, origin) {
        ("http", Some(route)) => route.to_owned(),
        (source, Some(trigger)) => format!("{source} {trigger}"),
        (source, None) => source.to_owned(),
    }
}

/// A move of a row as the row that it then is.
pub fn moved(event: OutboxEvent) -> Row {
    let gone = match event.state.as_str() {
        "done" | "dead" | "abandoned" | "taken_back" | "lost" => {
            Some(Gone { at: event.at, took_us: event.took_us })
        }
        _ => None,
    };
    let row = OutboxItem {
        id: event.id,
        app: event.app,
        script: event.script,
        source: event.source,
        origin: event.origin,
        state: event.state,
        available_at: event.available_at,
        created_at: event.at,
        attempt: event.attempt,
        max_attempts: event.max_attempts,
        key: event.key,
        depth: event.depth,
        root_id: event.root_id,
        error: event.error,
    };
    Row { row, gone }
}

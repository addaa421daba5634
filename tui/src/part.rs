//! What more can be shown of one row, and which questions that takes.

use picloud_api::list::DeadLetterItem;

use crate::client::segment;
use crate::effect::Ask;
use crate::item::Item;
use crate::listing::Listing;
use crate::message::Failure;
use crate::model::Level;
use crate::reply::{Part, Want};

/// A view of the row under the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Event,
    Tries,
    Script,
    Chain,
    Log,
    Facts,
    Source,
    Uses,
    Runs,
    Versions,
    /// Against the current version.
    Change,
    Value,
    Manifest,
}

impl Tab {
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "Event",
            Self::Tries => "Tries",
            Self::Script => "Script",
            Self::Chain => "Chain",
            Self::Log => "Log",
            Self::Facts => "Facts",
            Self::Source => "Source",
            Self::Uses => "Uses",
            Self::Runs => "Runs",
            Self::Versions => "Versions",
            Self::Change => "Change",
            Self::Value => "Value",
            Self::Manifest => "Manifest",
        }
    }
}

/// Something that can be asked about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Outbox(String),
    Letter(String),
    Execution(String),
    Abandoned(String),
    Chain(String),
    Script(String, String),
    Version(String, String, i64),
    Versions(String, String),
    /// Of an app, those that a filter lets through.
    Runs(String, String),
    App(String),
    Manifest(String),
}

/// As far as it is known.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// Asked at this time.
    Asked(i64),
    Here(Box<Part>),
    Failed(Failure),
}

/// Runs of a script or trigger that are shown.
const RUNS_SHOWN: usize = 20;

impl Key {
    pub fn ask(&self) -> Ask {
        match self {
            Self::Outbox(id) => Ask::get(format!("/outbox/{id}"), Want::Outbox),
            Self::Letter(id) => Ask::get(format!("/dead-letters/{id}"), Want::Letter),
            Self::Execution(id) => Ask::get(format!("/executions/{id}"), Want::Execution),
            Self::Abandoned(id) => Ask::get(format!("/abandoned/{id}"), Want::Abandoned),
            Self::Chain(id) => Ask::get(format!("/executions/{id}/chain"), Want::Chain),
            Self::Script(app, name) => Ask::get(script(app, name), Want::Script),
            Self::Version(app, name, version) => {
                Ask::get(format!("{}/versions/{version}", script(app, name)), Want::Version)
            }
            Self::Versions(app, name) => {
                Ask::get(format!("{}/versions", script(app, name)), Want::Versions)
            }
            Self::Runs(app, filter) => Ask::get(
                format!(
                    "/executions?app={}&limit={RUNS_SHOWN}&filter={}",
                    segment(app),
                    segment(filter)
                ),
                Want::Runs,
            ),
            Self::App(app) => Ask::get(format!("/apps/{}", segment(app)), Want::App),
            Self::Manifest(app) => {
                Ask::get(format!("/apps/{}/manifest", segment(app)), Want::Manifest)
            }
        }
    }
}

/// Where a script is.
pub fn script(app: &str, name: &str) -> String {
    format!("/apps/{}/scripts/{}", segment(app), segment(name))
}

/// What this view of a row is made of. More may be needed when some of it is there.
pub fn needs(level: &Level, item: &Item, tab: Tab) -> Vec<Key> {
    let known = &level.parts;
    let own_script = || Some(Key::Script(item.app()?.to_owned(), item.script()?.to_owned()));
    match (item, tab) {
        (Item::Group(group), _) => {
            let mut keys = vec![Key::Letter(group.example.clone())];
            if tab == Tab::Script {
                keys.extend(own_script());
            }
            keys
        }
        (Item::Letter(one), tab) => letter_needs(known, one, tab),
        (Item::Outbox(row), tab) => match tab {
            Tab::Chain => vec![Key::Chain(row.row.id.clone())],
            Tab::Script => own_script().into_iter().collect(),
            // What has left the outbox is known as an execution, if at all.
            _ if row.gone.is_some() => vec![Key::Execution(row.row.id.clone())],
            _ => vec![Key::Outbox(row.row.id.clone())],
        },
        (Item::Run(run), tab) => match tab {
            Tab::Chain => vec![Key::Chain(run.id.clone())],
            Tab::Script => {
                vec![Key::Version(run.app.clone(), run.script.clone(), run.script_version)]
            }
            _ => vec![Key::Execution(run.id.clone())],
        },
        (Item::Abandoned(one), Tab::Chain) => vec![Key::Chain(one.id.clone())],
        (Item::Abandoned(one), _) => vec![Key::Abandoned(one.id.clone())],
        (Item::Log(line), Tab::Chain) => vec![Key::Chain(line.entry.execution_id.clone())],
        (Item::App(app), Tab::Manifest) => vec![Key::Manifest(app.slug.clone())],
        (Item::App(app), _) => vec![Key::App(app.slug.clone())],
        (Item::Script(one), tab) => {
            let (app, name) = (one.app.clone(), one.name.clone());
            let runs = Key::Runs(app.clone(), format!("script:{name}"));
            match tab {
                Tab::Versions => vec![Key::Versions(app, name)],
                Tab::Runs => vec![runs],
                // The last run's event is what a dry run takes.
                _ => vec![Key::Script(app, name), runs],
            }
        }
        (Item::Version(one), _) => match &level.listing {
            Listing::Versions { app, script } => vec![
                Key::Version(app.clone(), script.clone(), one.version),
                Key::Script(app.clone(), script.clone()),
            ],
            _ => Vec::new(),
        },
        (Item::Trigger(_) | Item::Route(_), Tab::Source) => own_script().into_iter().collect(),
        (Item::Trigger(one), Tab::Runs) => {
            vec![Key::Runs(one.app.clone(), format!("trigger:{}", one.name))]
        }
        (Item::Route(one), Tab::Runs | Tab::Facts) => {
            let origin = format!("origin:\"{} {}\"", one.method, one.path);
            vec![Key::Runs(one.app.clone(), origin)]
        }
        _ => Vec::new(),
    }
}

/// Its runs are those of the row that died, which the letter itself names.
fn letter_needs(known: &[(Key, Loaded)], one: &DeadLetterItem, tab: Tab) -> Vec<Key> {
    let row = find(known, |part| match part {
        Part::Letter(letter) => Some(letter.row_id.clone()),
        _ => None,
    });
    let more = match tab {
        Tab::Script => Some(failed_version(one)),
        Tab::Chain => row.map(Key::Chain),
        Tab::Tries | Tab::Log => row.map(Key::Execution),
        _ => None,
    };
    std::iter::once(Key::Letter(one.id.clone())).chain(more).collect()
}

/// The first of what is here that this picks.
pub fn find<'a, T>(parts: &'a [(Key, Loaded)], pick: impl Fn(&'a Part) -> Option<T>) -> Option<T> {
    parts.iter().find_map(|(_, part)| match part {
        Loaded::Here(part) => pick(part),
        Loaded::Asked(_) | Loaded::Failed(_) => None,
    })
}

/// The version that failed; the current one when there was none.
fn failed_version(letter: &DeadLetterItem) -> Key {
    let (app, script) = (letter.app.clone(), letter.script.clone());
    match letter.script_version {
        0 => Key::Script(app, script),
        version => Key::Version(app, script, version),
    }
}

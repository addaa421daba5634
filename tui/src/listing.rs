//! What there is to list, where the daemon has it, and what can be done with its rows.

use crate::client::segment;
use crate::item::Item;
use crate::part::Tab;
use crate::reply::Rows;

/// A list of the console's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// The apps of the statistics; nothing is asked for them.
    Traffic,
    Outbox,
    Groups,
    Letters,
    Runs,
    Abandoned,
    Apps,
    Routes {
        app: String,
    },
    Secrets {
        app: String,
    },
    Scripts,
    Versions {
        app: String,
        script: String,
    },
    Triggers,
    Collections,
    Entries {
        app: String,
        space: String,
        collection: String,
    },
    Log,
    System,
    Backups,
    Nodes,
    Principals,
    Tokens,
    Audit,
}

/// Whose apps are listed.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// One app, or all.
    pub app: Option<&'a str>,
    /// The slugs of all apps, as far as they are known.
    pub slugs: Option<&'a [String]>,
}

/// Who knows what a filter means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// The grammar of the API: words and `key:value`.
    ByDaemon,
    /// Words that stand in a row.
    ByConsole,
}

impl Listing {
    pub fn rows(&self) -> Option<Rows> {
        Some(match self {
            Self::Traffic => return None,
            Self::Outbox => Rows::Outbox,
            Self::Groups => Rows::Groups,
            Self::Letters => Rows::Letters,
            Self::Runs => Rows::Runs,
            Self::Abandoned => Rows::Abandoned,
            Self::Apps => Rows::Apps,
            Self::Routes { .. } => Rows::Routes,
            Self::Secrets { .. } => Rows::Secrets,
            Self::Scripts => Rows::Scripts,
            Self::Versions { .. } => Rows::Versions,
            Self::Triggers => Rows::Triggers,
            Self::Collections => Rows::Collections,
            Self::Entries { .. } => Rows::Entries,
            Self::Log => Rows::Log,
            Self::System => Rows::Checks,
            Self::Backups => Rows::Backups,
            Self::Nodes => Rows::Nodes,
            Self::Principals => Rows::Principals,
            Self::Tokens => Rows::Tokens,
            Self::Audit => Rows::Audit,
        })
    }

    pub fn filtered(&self) -> Filtered {
        match self {
            Self::Outbox
            | Self::Groups
            | Self::Letters
            | Self::Runs
            | Self::Abandoned
            | Self::Log => Filtered::ByDaemon,
            Self::Traffic
            | Self::Apps
            | Self::Routes { .. }
            | Self::Secrets { .. }
            | Self::Scripts
            | Self::Versions { .. }
            | Self::Triggers
            | Self::Collections
            | Self::Entries { .. }
            | Self::System
            | Self::Backups
            | Self::Nodes
            | Self::Principals
            | Self::Tokens
            | Self::Audit => Filtered::ByConsole,
        }
    }

    /// Where its first page is. `None` as long as nobody knows which apps there are.
    pub fn paths(&self, scope: Scope<'_>, filter: &str) -> Option<Vec<String>> {
        let one = |path: &str| {
            let mut query = Vec::new();
            if let Some(app) = scope.app {
                query.push(format!("app={}", segment(app)));
            }
            if !filter.is_empty() {
                query.push(format!("filter={}", segment(filter)));
            }
            let mark = if query.is_empty() { "" } else { "?" };
            vec![format!("{path}{mark}{}", query.join("&"))]
        };
        let of = |app: &str, rest: &str| vec![format!("/apps/{}/{rest}", segment(app))];
        let each = |rests: &[&str]| {
            let own = scope.app.map(str::to_owned);
            let apps = own.as_ref().map(std::slice::from_ref).or(scope.slugs)?;
            let paths = |app: &String| rests.iter().flat_map(|rest| of(app, rest)).collect();
            Some(apps.iter().flat_map(|app| -> Vec<String> { paths(app) }).collect())
        };
        let plain = |path: &str| vec![path.to_owned()];
        Some(match self {
            Self::Traffic => return None,
            Self::Outbox => one("/outbox"),
            Self::Groups => one("/dead-letters/groups"),
            Self::Letters => one("/dead-letters"),
            Self::Runs => one("/executions"),
            Self::Abandoned => one("/abandoned"),
            Self::Log => one("/logs"),
            Self::Apps => match scope.app {
                Some(app) => vec![format!("/apps?app={}", segment(app))],
                None => plain("/apps"),
            },
            Self::Routes { app } => of(app, "routes"),
            Self::Secrets { app } => of(app, "secrets"),
            Self::Versions { app, script } => {
                of(app, &format!("scripts/{}/versions", segment(script)))
            }
            Self::Entries { app, space, collection } => {
                of(app, &format!("{space}/{}", segment(collection)))
            }
            Self::Scripts => return each(&["scripts"]),
            Self::Triggers => return each(&["triggers"]),
            Self::Collections => return each(&["kv", "docs"]),
            Self::System => plain("/doctor"),
            Self::Backups => plain("/backups"),
            Self::Nodes => plain("/nodes"),
            Self::Principals => plain("/principals"),
            Self::Tokens => plain("/tokens"),
            Self::Audit => plain("/audit"),
        })
    }

    /// The kind of live events that change it.
    pub fn events(&self) -> Option<&'static str> {
        match self {
            Self::Traffic | Self::Runs => Some("execution"),
            Self::Outbox => Some("outbox"),
            Self::Log => Some("log"),
            Self::Groups
            | Self::Letters
            | Self::Abandoned
            | Self::Apps
            | Self::Routes { .. }
            | Self::Secrets { .. }
            | Self::Scripts
            | Self::Versions { .. }
            | Self::Triggers
            | Self::Collections
            | Self::Entries { .. }
            | Self::System
            | Self::Backups
            | Self::Nodes
            | Self::Principals
            | Self::Tokens
            | Self::Audit => None,
        }
    }

    /// What can be shown of the row under the cursor, the first at once.
    pub fn tabs(&self) -> &'static [Tab] {
        match self {
            Self::Traffic | Self::Collections | Self::Secrets { .. } => &[],
            Self::Outbox => &[Tab::Event, Tab::Chain, Tab::Script, Tab::Facts],
            Self::Groups => &[Tab::Event, Tab::Script, Tab::Facts],
            Self::Letters => {
                &[Tab::Event, Tab::Tries, Tab::Script, Tab::Chain, Tab::Log, Tab::Facts]
            }
            Self::Runs => &[Tab::Tries, Tab::Log, Tab::Chain, Tab::Script],
            Self::Abandoned => &[Tab::Event, Tab::Chain, Tab::Facts],
            Self::Apps => &[Tab::Facts, Tab::Manifest],
            Self::Scripts => &[Tab::Source, Tab::Uses, Tab::Runs, Tab::Versions],
            Self::Versions { .. } => &[Tab::Change, Tab::Source],
            Self::Triggers => &[Tab::Facts, Tab::Runs, Tab::Source],
            Self::Entries { .. } => &[Tab::Value, Tab::Facts],
            Self::Log => &[Tab::Facts, Tab::Chain],
            Self::Routes { .. } => &[Tab::Facts, Tab::Runs, Tab::Source],
            Self::System
            | Self::Backups
            | Self::Nodes
            | Self::Principals
            | Self::Tokens
            | Self::Audit => &[Tab::Facts],
        }
    }

    /// Where `⏎` on a row leads, beside its detail.
    pub fn inside(&self, item: &Item) -> Option<(Listing, String)> {
        match item {
            Item::Group(_) => Some((Listing::Letters, group_filter(item))),
            Item::App(app) => Some((Listing::Routes { app: app.slug.clone() }, String::new())),
            Item::Collection(one) => Some((
                Listing::Entries {
                    app: one.app.clone(),
                    space: one.space.clone(),
                    collection: one.collection.clone(),
                },
                String::new(),
            )),
            Item::Door(door) => Some((door.to.clone(), String::new())),
            Item::Traffic(_)
            | Item::Route(_)
            | Item::Script(_)
            | Item::Version(_)
            | Item::Trigger(_)
            | Item::Secret(_)
            | Item::Outbox(_)
            | Item::Letter(_)
            | Item::Run(_)
            | Item::Abandoned(_)
            | Item::Entry(_)
            | Item::Log(_)
            | Item::Check(_)
            | Item::Backup(_)
            | Item::Node(_)
            | Item::Principal(_)
            | Item::Token(_)
            | Item::Audit(_) => None,
        }
    }

    /// What it is called above its rows.
    pub fn title(&self) -> String {
        match self {
            Self::Traffic => "Overview".to_owned(),
            Self::Outbox => "Outbox".to_owned(),
            Self::Groups | Self::Letters => "Dead letters".to_owned(),
            Self::Runs => "Runs".to_owned(),
            Self::Abandoned => "Abandoned".to_owned(),
            Self::Apps => "Apps".to_owned(),
            Self::Routes { app } => format!("Routes of {app}"),
            Self::Secrets { app } => format!("Secrets of {app}"),
            Self::Scripts => "Scripts".to_owned(),
            Self::Versions { app, script } => format!("Versions of {app}/{script}"),
            Self::Triggers => "Triggers".to_owned(),
            Self::Collections => "Data".to_owned(),
            Self::Entries { app, space, collection } => format!("{app}  {space} {collection}"),
            Self::Log => "Log".to_owned(),
            Self::System => "System".to_owned(),
            Self::Backups => "Backups".to_owned(),
            Self::Nodes => "Nodes".to_owned(),
            Self::Principals => "Principals".to_owned(),
            Self::Tokens => "Tokens".to_owned(),
            Self::Audit => "Audit".to_owned(),
        }
    }
}

/// Terms of a filter that a group's error may have.
const ERROR_TERMS_MAX: usize = 4;
/// What is shorter says nothing about an error.
const ERROR_TERM_CHARS_MIN: usize = 3;
/// The daemon takes filters of a kilobyte.
const ERROR_TERM_BYTES_MAX: usize = 150;

/// The filter that finds what a group holds: numbers and ids stand as `#` in its error, so what is between them is looked for.
pub fn group_filter(item: &Item) -> String {
    let Item::Group(group) = item else { return String::new() };
    let mut terms = vec![
        format!("app:{}", group.app),
        format!("script:{}", group.script),
        format!("kind:{}", group.kind),
    ];
    let pieces = group.error.split(['#', '"', '…', '\n']).map(str::trim);
    let said = pieces.filter(|piece| piece.chars().count() >= ERROR_TERM_CHARS_MIN);
    let begin = |piece: &str| piece[..piece.floor_char_boundary(ERROR_TERM_BYTES_MAX)].to_owned();
    terms.extend(said.take(ERROR_TERMS_MAX).map(|piece| format!("error:\"{}\"", begin(piece))));
    terms.join(" ")
}

//! What the daemon answers, read as what was asked for.

use picloud_api::app::App;
use picloud_api::data::{Edited, EntryItem};
use picloud_api::events::LogEntry;
use picloud_api::executions::{AbandonedDetail, Chain, ExecutionDetail, OutboxDetail};
use picloud_api::health::Checks;
use picloud_api::instance::Instance;
use picloud_api::letters::{BulkAnswer, Done, LetterDetail, LetterGroups, Preview};
use picloud_api::list::{ExecutionItem, Page};
use picloud_api::manifest::Bundle;
use picloud_api::script::{
    DryRunAnswer, InvokeAnswer, Script, ScriptChanged, Version, VersionItem,
};
use picloud_api::stats::Stats;
use picloud_api::triggers::FireAnswer;
use serde::de::DeserializeOwned;

use crate::client::ClientError;
use crate::item::{Item, Line, Row};

/// How an answer is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Instance,
    Stats,
    Page(Rows),
    Outbox,
    Letter,
    Execution,
    Abandoned,
    Chain,
    Script,
    Versions,
    Version,
    Runs,
    Log,
    App,
    Manifest,
    Entry,
    Preview,
    DryRun,
    Invoked,
    Fired,
    ScriptChanged,
    Edited,
    Done,
    Bulk,
    /// Whatever it is: that it came is all there is to know.
    Anything,
}

/// What the rows of a page are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    Apps,
    Routes,
    Scripts,
    Versions,
    Triggers,
    Secrets,
    Outbox,
    Groups,
    Letters,
    Runs,
    Abandoned,
    Collections,
    Entries,
    Log,
    Checks,
    Backups,
    Nodes,
    Principals,
    Tokens,
    Audit,
}

/// What came.
#[derive(Clone, Debug)]
pub enum Reply {
    Instance(Box<Instance>),
    Stats(Box<Stats>),
    Page(Batch),
    Part(Box<Part>),
    Preview(Box<Preview>),
    DryRun(Box<DryRunAnswer>),
    Invoked(Box<InvokeAnswer>),
    Fired(FireAnswer),
    ScriptChanged(ScriptChanged),
    Edited(Box<Edited>),
    Done(Done),
    Bulk(Box<BulkAnswer>),
    Anything,
}

/// Rows, and where more of them are.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub items: Vec<Item>,
    /// Cursor of the path that was asked.
    pub next: Option<String>,
    pub now: i64,
    /// Paths that are still to be asked; the first goes on where this batch ends.
    pub rest: Vec<String>,
    /// Of groups: whether only the newest letters were looked at.
    pub partial: Option<usize>,
}

/// More about one thing.
#[derive(Clone, Debug)]
pub enum Part {
    Outbox(OutboxDetail),
    Letter(LetterDetail),
    Execution(ExecutionDetail),
    Abandoned(AbandonedDetail),
    Chain(Chain),
    Script(Script),
    Versions(Vec<VersionItem>),
    Version(Version),
    Runs(Vec<ExecutionItem>),
    Log(Vec<LogEntry>),
    App(App),
    Manifest(Bundle),
    Entry(EntryItem),
}

/// Reads the body of an answer.
pub fn read(want: Want, body: &[u8]) -> Result<Reply, ClientError> {
    let part = |part: Part| Reply::Part(Box::new(part));
    Ok(match want {
        Want::Instance => Reply::Instance(Box::new(json(body)?)),
        Want::Stats => Reply::Stats(Box::new(json(body)?)),
        Want::Page(rows) => Reply::Page(batch(rows, body)?),
        Want::Outbox => part(Part::Outbox(json(body)?)),
        Want::Letter => part(Part::Letter(json(body)?)),
        Want::Execution => part(Part::Execution(json(body)?)),
        Want::Abandoned => part(Part::Abandoned(json(body)?)),
        Want::Chain => part(Part::Chain(json(body)?)),
        Want::Script => part(Part::Script(json(body)?)),
        Want::Versions => part(Part::Versions(json::<Page<VersionItem>>(body)?.items)),
        Want::Version => part(Part::Version(json(body)?)),
        Want::Runs => part(Part::Runs(json::<Page<ExecutionItem>>(body)?.items)),
        Want::Log => part(Part::Log(json::<Page<LogEntry>>(body)?.items)),
        Want::App => part(Part::App(json(body)?)),
        Want::Manifest => part(Part::Manifest(json(body)?)),
        Want::Entry => part(Part::Entry(json(body)?)),
        Want::Preview => Reply::Preview(Box::new(json(body)?)),
        Want::DryRun => Reply::DryRun(Box::new(json(body)?)),
        Want::Invoked => Reply::Invoked(Box::new(json(body)?)),
        Want::Fired => Reply::Fired(json(body)?),
        Want::ScriptChanged => Reply::ScriptChanged(json(body)?),
        Want::Edited => Reply::Edited(Box::new(json(body)?)),
        Want::Done => Reply::Done(json(body)?),
        Want::Bulk => Reply::Bulk(Box::new(json(body)?)),
        Want::Anything => Reply::Anything,
    })
}

fn batch(rows: Rows, body: &[u8]) -> Result<Batch, ClientError> {
    match rows {
        Rows::Apps => page(body, Item::App),
        Rows::Routes => page(body, Item::Route),
        Rows::Scripts => page(body, Item::Script),
        Rows::Versions => page(body, Item::Version),
        Rows::Triggers => page(body, Item::Trigger),
        Rows::Secrets => page(body, Item::Secret),
        Rows::Outbox => page(body, |row| Item::Outbox(Row { row, gone: None })),
        Rows::Letters => page(body, Item::Letter),
        Rows::Runs => page(body, Item::Run),
        Rows::Abandoned => page(body, Item::Abandoned),
        Rows::Collections => page(body, Item::Collection),
        Rows::Entries => page(body, Item::Entry),
        // Numbers are given where all lines come together.
        Rows::Log => page(body, |entry| Item::Log(Line { number: 0, entry })),
        Rows::Backups => page(body, Item::Backup),
        Rows::Nodes => page(body, Item::Node),
        Rows::Principals => page(body, Item::Principal),
        Rows::Tokens => page(body, Item::Token),
        Rows::Audit => page(body, Item::Audit),
        Rows::Groups => {
            let groups: LetterGroups = json(body)?;
            let partial = (!groups.complete).then_some(groups.looked_at);
            let items = groups.groups.into_iter().map(Item::Group).collect();
            Ok(Batch { items, now: groups.now, partial, ..Batch::default() })
        }
        Rows::Checks => {
            let checks: Checks = json(body)?;
            let items = checks.checks.into_iter().map(Item::Check).collect();
            Ok(Batch { items, now: checks.now, ..Batch::default() })
        }
    }
}

fn page<T: DeserializeOwned>(body: &[u8], item: fn(T) -> Item) -> Result<Batch, ClientError> {
    let page: Page<T> = json(body)?;
    let items = page.items.into_iter().map(item).collect();
    Ok(Batch { items, next: page.next, now: page.now, ..Batch::default() })
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Odd(error.to_string()))
}

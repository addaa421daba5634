//! All that the console knows and shows. Data only: `update` changes it, `view` reads it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use picloud_api::data::Edited;
use picloud_api::instance::Instance;
use picloud_api::letters::Preview;
use picloud_api::list::ExecutionItem;
use picloud_api::script::DryRunAnswer;
use picloud_api::stats::{Counts, Stats};

use crate::columns::SortKey;
use crate::effect::{Ask, Mouse, Ticket};
use crate::field::Field;
use crate::item::Item;
use crate::listing::Listing;
use crate::message::Failure;
use crate::part::{Key, Loaded, Tab};
use crate::purpose::{Place, Purpose};
use crate::screen::Screen;
use crate::symbols::Charset;
use crate::text::Role;
use crate::theme::Theme;
use crate::when::Zone;

/// Seconds that the plots show.
pub const SERIES_SECONDS: usize = 300;
/// Runs that the overview remembers.
pub const RECENT_MAX: usize = 50;
/// Rows that a list holds.
pub const ROWS_MAX: usize = 1_000;
/// Lines that the log holds.
pub const LOG_LINES_MAX: usize = 5_000;

/// The cursor rests for so long before it is sure that nothing more is asked for.
const RESTS_MS: i64 = 200;

/// What does not change while the console runs.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// Of the machine that is looked at, as far as it is known.
    pub host: String,
    /// The daemon's socket or address.
    pub place: String,
    /// Who sits here.
    pub user: String,
    pub zone: Zone,
    pub theme: Theme,
    pub charset: Charset,
    pub plots: Plots,
    pub version: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plots {
    Drawn,
    /// Figures instead.
    Left,
}

#[derive(Debug)]
pub struct Model {
    pub fixed: Fixed,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    pub now: i64,
    pub link: Link,
    pub instance: Option<Instance>,
    pub stats: Option<Stats>,
    /// Second by second, the oldest first.
    pub series: VecDeque<Counts>,
    pub waiting: VecDeque<u64>,
    pub recent: VecDeque<ExecutionItem>,
    /// The slugs of the apps that may be looked at, as soon as they are known.
    pub slugs: Option<Vec<String>>,
    /// One app, or all.
    pub scope: Option<String>,
    pub screen: Screen,
    /// What was opened on each screen, one upon the other.
    pub levels: BTreeMap<Screen, Vec<Level>>,
    pub overlay: Option<Overlay>,
    pub note: Option<Note>,
    pub undo: Option<Undo>,
    pub flow: Flow,
    pub zoom: Zoom,
    pub mouse: Mouse,
    /// What is waited for.
    pub asked: BTreeMap<Ticket, Purpose>,
    pub tickets: u64,
    /// Lines of the log that came so far.
    pub lines: u64,
    /// When the daemon was found started anew; shown for a while.
    pub restarted_at: Option<i64>,
    /// What brings the live rows.
    pub stream: Option<Stream>,
}

/// A stream of events for one list.
#[derive(Clone, Debug)]
pub struct Stream {
    pub ticket: Ticket,
    pub place: Place,
    pub path: String,
}

/// How the daemon is reached.
#[derive(Clone, Debug)]
pub enum Link {
    /// Since when it is tried.
    Connecting(i64),
    Live,
    Lost(Lost),
    /// No trying again helps: no permission, or another version of the API.
    Refused(Failure),
}

#[derive(Clone, Debug)]
pub struct Lost {
    pub since: i64,
    pub why: Failure,
    pub tries: u32,
    pub again_at: i64,
}

/// Whether what happens is shown as it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Live,
    Paused {
        since: i64,
        /// Runs that the daemon had counted by then.
        runs: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zoom {
    Both,
    One,
}

/// One list, and what is shown of the row under its cursor.
#[derive(Clone, Debug)]
pub struct Level {
    pub listing: Listing,
    /// What it was opened for: part of every filter.
    pub base: String,
    pub filter: String,
    /// As the daemon or the events have them.
    pub rows: VecDeque<Item>,
    /// Pages that are still to be had.
    pub rest: Vec<String>,
    /// Only so many of the newest letters were looked at.
    pub partial: Option<usize>,
    pub fetch: Fetch,
    /// The id under the cursor.
    pub cursor: Option<String>,
    /// Where that is among the rows that are shown.
    pub at: usize,
    /// The first row in view.
    pub top: usize,
    pub follow: Follow,
    /// When the cursor came to its row.
    pub moved_at: i64,
    pub marks: BTreeSet<String>,
    pub sort: Option<Sort>,
    pub words: Words,
    /// Events that were lost on their way here.
    pub missed: Option<u64>,
    pub focus: Focus,
    pub tab: usize,
    /// The row that the rest is about.
    pub of: Option<String>,
    pub parts: Vec<(Key, Loaded)>,
    /// The first line of the detail in view.
    pub scroll: usize,
    pub draft: Option<Draft>,
    pub tried: Option<Tried>,
}

#[derive(Clone, Debug)]
pub enum Fetch {
    Never,
    Asked(i64),
    Done(i64),
    Failed(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The cursor stays on its row.
    Row,
    /// The cursor stays on the newest.
    Newest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    pub column: usize,
    pub order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Up,
    Down,
}

/// What becomes of lines that a filter does not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    Hide,
    Highlight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    List,
    Detail,
}

impl Level {
    pub fn new(listing: Listing, base: String) -> Level {
        // What is live is watched where it grows, until somebody moves.
        let follow = match listing.events() {
            Some(_) if listing != Listing::Traffic => Follow::Newest,
            Some(_) | None => Follow::Row,
        };
        Level {
            listing,
            base,
            filter: String::new(),
            rows: VecDeque::new(),
            rest: Vec::new(),
            partial: None,
            fetch: Fetch::Never,
            cursor: None,
            at: 0,
            top: 0,
            follow,
            moved_at: 0,
            marks: BTreeSet::new(),
            sort: None,
            words: Words::Hide,
            missed: None,
            focus: Focus::List,
            tab: 0,
            of: None,
            parts: Vec::new(),
            scroll: 0,
            draft: None,
            tried: None,
        }
    }

    /// The view of the row that is shown.
    pub fn shown_tab(&self) -> Option<Tab> {
        self.listing.tabs().get(self.tab).copied()
    }

    pub fn part(&self, key: &Key) -> Option<&Loaded> {
        self.parts.iter().find(|(known, _)| known == key).map(|(_, part)| part)
    }
}

/// Something that was edited and is not saved.
#[derive(Clone, Debug)]
pub struct Draft {
    pub of: Edits,
    /// As it was.
    pub before: String,
    pub text: String,
    /// Why it cannot be taken as it is.
    pub problem: Option<String>,
    /// What saving it would do, where the daemon was asked.
    pub would: Option<Box<Edited>>,
    /// Somebody changed it meanwhile.
    pub theirs: Option<Theirs>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Theirs {
    pub text: String,
    pub version: i64,
}

/// What is edited.
#[derive(Clone, Debug, PartialEq)]
pub enum Edits {
    /// The event of a dead letter.
    Payload {
        letter: String,
        app: String,
        script: String,
        source: String,
    },
    Script {
        app: String,
        name: String,
        version: i64,
    },
    NewScript {
        app: String,
        name: String,
    },
    Entry {
        app: String,
        space: String,
        collection: String,
        key: String,
        version: i64,
    },
    NewEntry {
        app: String,
        space: String,
        collection: String,
        key: String,
    },
    Trigger {
        app: String,
        name: String,
        revision: i64,
    },
}

/// A dry run.
#[derive(Clone, Debug)]
pub struct Tried {
    /// On which event, in words.
    pub on: String,
    pub outcome: TriedOutcome,
}

#[derive(Clone, Debug)]
pub enum TriedOutcome {
    Asked(i64),
    Here(Box<DryRunAnswer>),
    Failed(Failure),
}

/// What lies over the screen and takes the keys.
#[derive(Clone, Debug)]
pub enum Overlay {
    Help {
        scroll: usize,
    },
    Palette {
        field: Field,
        at: usize,
    },
    Scope {
        at: usize,
    },
    /// The filter of the list, being written.
    Filter {
        field: Field,
        before: String,
    },
    /// A word that something needs.
    Prompt {
        field: Field,
        question: String,
        then: Asked,
    },
    Confirm(Box<Confirm>),
    CopyAs {
        choices: Vec<(char, &'static str, String)>,
    },
}

/// What a prompt is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    NewApp,
    NewScript { app: String },
    NewEntry { app: String, space: String, collection: String },
    Invoke { app: String, script: String },
}

/// A question before something is done.
#[derive(Clone, Debug)]
pub struct Confirm {
    pub title: String,
    /// What will be done, line by line.
    pub says: Vec<(Role, String)>,
    pub gate: Gate,
    pub act: Act,
}

/// What it takes.
#[derive(Clone, Debug)]
pub enum Gate {
    /// Nothing can be done before it is known what.
    Waiting,
    Yes,
    /// The word has to be typed.
    Typed {
        word: String,
        field: Field,
    },
}

/// Something to be done, and how it is spoken of.
#[derive(Clone, Debug)]
pub struct Act {
    pub does: Does,
    /// In the imperative: "replay".
    pub label: String,
    /// The same for `picloud`.
    pub command: String,
}

#[derive(Clone, Debug)]
pub enum Does {
    One(Ask),
    Each(Vec<Ask>),
    /// What was edited and not saved is forgotten.
    DropDraft,
    /// With what a preview has seen.
    Bulk {
        verb: Bulk,
        filter: String,
        seen: Option<Box<Preview>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bulk {
    Replay,
    Discard,
}

/// A line about what was done or went wrong.
#[derive(Clone, Debug)]
pub struct Note {
    pub role: Role,
    pub text: String,
    /// When it goes.
    pub until: i64,
}

/// What brings back what was, as long as that is true.
#[derive(Clone, Debug)]
pub struct Undo {
    pub label: String,
    pub asks: Vec<Ask>,
    pub until: i64,
}

impl Model {
    pub fn new(fixed: Fixed, size: (u16, u16), now: i64) -> Model {
        let level = |screen: Screen| vec![Level::new(screen.listing(), String::new())];
        Model {
            fixed,
            size,
            now,
            link: Link::Connecting(now),
            instance: None,
            stats: None,
            series: VecDeque::new(),
            waiting: VecDeque::new(),
            recent: VecDeque::new(),
            slugs: None,
            scope: None,
            screen: Screen::Overview,
            levels: Screen::ALL.iter().map(|screen| (*screen, level(*screen))).collect(),
            overlay: None,
            note: None,
            undo: None,
            flow: Flow::Live,
            zoom: Zoom::Both,
            mouse: Mouse::Off,
            asked: BTreeMap::new(),
            tickets: 0,
            lines: 0,
            restarted_at: None,
            stream: None,
        }
    }

    /// The list that is shown.
    pub fn level(&self) -> &Level {
        self.levels[&self.screen].last().expect("a screen has at least its first list")
    }

    pub fn level_mut(&mut self) -> &mut Level {
        let levels = self.levels.get_mut(&self.screen).expect("every screen has its lists");
        levels.last_mut().expect("a screen has at least its first list")
    }

    /// Where the list is that is shown.
    pub fn place(&self) -> Place {
        Place { screen: self.screen, depth: self.levels[&self.screen].len() - 1 }
    }

    pub fn at(&self, place: Place) -> Option<&Level> {
        self.levels.get(&place.screen)?.get(place.depth)
    }

    pub fn at_mut(&mut self, place: Place) -> Option<&mut Level> {
        self.levels.get_mut(&place.screen)?.get_mut(place.depth)
    }

    /// Whether everything that the screen asks for is there.
    pub fn loading(&self) -> Loading {
        let is_stream =
            |purpose: &Purpose| matches!(purpose, Purpose::StatsStream | Purpose::RowsStream);
        let waits = self.asked.values().any(|purpose| !is_stream(purpose));
        let level = self.level();
        let is_fetched = matches!(level.fetch, Fetch::Done(_) | Fetch::Failed(_));
        let rests = self.now >= level.moved_at + RESTS_MS || level.listing.tabs().is_empty();
        if self.stats.is_some() && is_fetched && rests && !waits {
            Loading::Done
        } else {
            Loading::Waits
        }
    }

    /// Whether something on any screen was edited and is not saved.
    pub fn has_drafts(&self) -> bool {
        self.levels.values().flatten().any(|level| level.draft.is_some())
    }

    /// Runs that the daemon has counted.
    pub fn runs_so_far(&self) -> u64 {
        let Some(stats) = &self.stats else { return 0 };
        match &stats.all {
            Some(all) => all.total.runs,
            None => stats.apps.iter().map(|app| app.total.runs).sum(),
        }
    }

    /// Whether whoever sits here may do what asks for this capability. What holds for single apps only the daemon knows.
    pub fn may(&self, capability: &str) -> May {
        let Some(instance) = &self.instance else { return May::Perhaps };
        let has = |wanted: &str| instance.caller.capabilities.iter().any(|one| one == wanted);
        if has(capability) || has("InstanceAdmin") {
            May::Yes
        } else if instance.caller.capabilities.is_empty() {
            May::Perhaps
        } else {
            May::No
        }
    }
}

/// Whether everything that a screen asks for is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loading {
    Waits,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    Yes,
    /// For some apps.
    Perhaps,
    No,
}

/// The rows of a list that are shown, in the order in which they are.
pub fn shown(level: &Level) -> Vec<&Item> {
    let by_console = level.listing.filtered() == crate::listing::Filtered::ByConsole;
    let hides = by_console && !level.filter.is_empty();
    let mut rows: Vec<&Item> =
        level.rows.iter().filter(|row| !hides || row.has(&level.filter)).collect();
    if let Some(sort) = level.sort {
        // What a row is sorted by takes a while to find out: once for each is enough.
        let key = |row| (crate::columns::sort_key(row, &level.listing, sort.column), row);
        let mut keyed: Vec<(SortKey, &Item)> = rows.into_iter().map(key).collect();
        keyed.sort_by(|(one, _), (other, _)| one.compare(other));
        rows = keyed.into_iter().map(|(_, row)| row).collect();
        if sort.order == Order::Down {
            rows.reverse();
        }
    }
    rows
}

/// The row under the cursor.
pub fn selected(level: &Level) -> Option<&Item> {
    let cursor = level.cursor.as_deref()?;
    let rows = shown(level);
    // It is nearly always where it was.
    let there = rows.get(level.at).filter(|row| row.is(cursor));
    there.or_else(|| rows.iter().find(|row| row.is(cursor))).copied()
}

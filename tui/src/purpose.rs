//! Why something was asked, and which list it is for.

use crate::model::{Act, Edits};
use crate::part::Key;
use crate::screen::Screen;

/// Why something was asked.
#[derive(Clone, Debug)]
pub enum Purpose {
    Instance,
    Stats,
    StatsStream,
    /// The apps of somebody who may not look at all.
    OwnApps,
    /// The runs that ended last, for the overview.
    Recent,
    RowsStream,
    Page(Place, How),
    Part(Place, String, Key),
    Act(Box<Act>),
    /// How many were undone of how many.
    Undo(String),
    Preview,
    /// A dry run of what is under the cursor there, which had this id.
    Try(Place, String),
    Editor(Place, Edits),
    /// What saving the draft would do.
    Would(Place),
    /// The text that is saved: what was edited meanwhile is another one.
    Save(Place, String),
    Theirs(Place),
}

/// A list, and which of those upon each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub screen: Screen,
    pub depth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Replace,
    Append,
}

//! Where things stand on the screen, for `update`, which scrolls, and for `view`, which draws.

use crate::listing::Listing;
use crate::model::{Flow, Focus, Link, Model, Overlay, Zoom};
use crate::view;

/// The smallest terminal that the console can be used on, and the smallest with two panes.
pub const LEAST: (u16, u16) = (60, 15);
const TWO_PANES: (u16, u16) = (80, 20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Wide,
    /// One pane, and one line of header.
    Narrow,
    /// Nothing but a line that says so.
    TooSmall,
}

/// Rows of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub kind: Kind,
    pub columns: usize,
    /// Header, tabs and rule, or all in one.
    pub header_rows: usize,
    pub banner_rows: usize,
    pub body_top: usize,
    pub body_rows: usize,
    /// The first row of the list itself, below titles and headings.
    pub list_top: usize,
    pub list_rows: usize,
    /// With its rule; 0 when there is none.
    pub detail_rows: usize,
}

pub fn kind(size: (u16, u16)) -> Kind {
    let fits = |least: (u16, u16)| size.0 >= least.0 && size.1 >= least.1;
    if fits(TWO_PANES) {
        Kind::Wide
    } else if fits(LEAST) {
        Kind::Narrow
    } else {
        Kind::TooSmall
    }
}

pub fn of(model: &Model) -> Layout {
    let kind = kind(model.size);
    let (columns, rows) = (usize::from(model.size.0), usize::from(model.size.1));
    let (header_rows, footer_rows) = match kind {
        Kind::Wide => (3, 2),
        Kind::Narrow => (1, 1),
        Kind::TooSmall => (0, 0),
    };
    let banner_rows = view::banner(model).len();
    let body_top = header_rows + banner_rows;
    let body_rows = rows.saturating_sub(body_top + footer_rows);
    let (above, below) = around(model, kind, columns, body_rows);
    Layout {
        kind,
        columns,
        header_rows,
        banner_rows,
        body_top,
        body_rows,
        list_top: body_top + above,
        list_rows: body_rows.saturating_sub(above + below),
        detail_rows: below,
    }
}

/// Rows of the body above and below the list's own.
fn around(model: &Model, kind: Kind, columns: usize, body: usize) -> (usize, usize) {
    let level = model.level();
    if level.listing == Listing::Traffic {
        let head = view::overview::head(model, columns).len() + 1;
        let left = body.saturating_sub(head);
        let apps = level.rows.len().clamp(1, (left / 2).max(1));
        return (head, if kind == Kind::Wide { left.saturating_sub(apps) } else { 0 });
    }
    let asks = matches!(model.overlay, Some(Overlay::Confirm(_)));
    if level.listing.tabs().is_empty() && !asks {
        return (2, 0);
    }
    let wants_detail =
        level.focus == Focus::Detail || level.draft.is_some() || level.tried.is_some() || asks;
    let one_pane = kind == Kind::Narrow || model.zoom == Zoom::One;
    if one_pane {
        return if wants_detail { (0, body) } else { (2, 0) };
    }
    let most = body.saturating_sub(6);
    let detail = if wants_detail {
        most
    } else {
        match level.listing {
            Listing::Letters | Listing::Groups | Listing::Scripts | Listing::Versions { .. } => {
                body / 2
            }
            _ => (body / 3).max(7),
        }
    };
    (2, detail.min(most))
}

/// Lines of the detail, and those of them that are in view.
pub fn detail_lines(model: &Model) -> (usize, usize) {
    let level = model.level();
    if level.focus == Focus::List && level.scroll == 0 {
        return (0, 0);
    }
    let layout = of(model);
    (view::detail::lines(model).len(), layout.detail_rows.saturating_sub(1))
}

/// Whether what is shown is not of this moment.
pub fn is_old(model: &Model) -> bool {
    !matches!(model.link, Link::Live) || matches!(model.flow, Flow::Paused { .. })
}

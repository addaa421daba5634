//! From the model to a screen full of lines. Reads only.

pub mod detail;
pub mod overview;

mod facts;
mod header;
mod list;
mod overlay;
mod pieces;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};

use crate::layout::{self, Kind, LEAST};
use crate::listing::Listing;
use crate::model::{Model, Overlay};
use crate::symbols::Charset;
use crate::text::{self, Line, Role};

pub use header::banner;
pub use overlay::help_lines;

/// A screen full of lines, and where the cursor stands: column and row.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub rows: Vec<Row>,
    pub cursor: Option<(usize, usize)>,
}

#[derive(Clone, Debug, Default)]
pub struct Row {
    pub line: Line,
    pub shade: Shade,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shade {
    #[default]
    Plain,
    /// The row under the cursor.
    Selected,
    /// Not of this moment.
    Old,
}

impl Page {
    fn push(&mut self, line: Line) {
        self.rows.push(Row { line, shade: Shade::Plain });
    }

    fn extend(&mut self, lines: impl IntoIterator<Item = Line>) {
        self.rows.extend(lines.into_iter().map(|line| Row { line, shade: Shade::Plain }));
    }

    /// Exactly so many rows: what is missing is blank.
    fn fill(&mut self, rows: usize) {
        self.rows.resize_with(rows, Row::default);
    }
}

/// The whole screen.
pub fn page(model: &Model) -> Page {
    let layout = layout::of(model);
    let (columns, rows) = (usize::from(model.size.0), usize::from(model.size.1));
    let mut page = Page::default();
    if layout.kind == Kind::TooSmall {
        let (least_columns, least_rows) = LEAST;
        let says = format!(
            "too small: {columns}x{rows}, needs {least_columns}x{least_rows}; or use `picloud stats`"
        );
        page.push(Line::of(Role::Warn, says));
    } else {
        header::draw(model, &layout, &mut page);
        page.extend(banner(model));
        body(model, &layout, &mut page);
        page.fill(layout.body_top + layout.body_rows);
        header::footer(model, &layout, &mut page);
    }
    page.fill(rows);
    for row in &mut page.rows {
        row.line = match model.fixed.charset {
            Charset::Unicode => row.line.cut(columns),
            // Letters may be wider than what they stand for, and the ellipsis of a cut is one too.
            Charset::Ascii => text::ascii(&text::ascii(&row.line).cut(columns)),
        };
    }
    page
}

fn body(model: &Model, layout: &layout::Layout, page: &mut Page) {
    match &model.overlay {
        Some(Overlay::Help { scroll }) => {
            page.extend(help_lines(model).into_iter().skip(*scroll).take(layout.body_rows));
        }
        Some(Overlay::Palette { field, at }) => overlay::palette(model, layout, (field, *at), page),
        Some(Overlay::Scope { at }) => overlay::scope(model, *at, page),
        Some(
            Overlay::Filter { .. }
            | Overlay::Prompt { .. }
            | Overlay::Confirm(_)
            | Overlay::CopyAs { .. },
        )
        | None => match model.level().listing {
            Listing::Traffic => overview::draw(model, layout, page),
            _ => list::draw(model, layout, page),
        },
    }
}

/// The lines as plain text, without blanks at their ends.
pub fn text(page: &Page) -> String {
    let line = |row: &Row| row.line.text().trim_end().to_owned();
    page.rows.iter().map(line).collect::<Vec<String>>().join("\n")
}

/// The screen as cells, and where the cursor stands.
pub fn buffer(model: &Model) -> (Buffer, Option<Position>) {
    let (columns, rows) = model.size;
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
    let page = page(model);
    for (row, y) in page.rows.iter().zip(0..rows) {
        let mut x = 0;
        let shade = |style: Style| match row.shade {
            Shade::Plain => style,
            Shade::Selected => model.fixed.theme.selected(style),
            Shade::Old => style.add_modifier(Modifier::DIM),
        };
        for span in &row.line.spans {
            let style = shade(model.fixed.theme.style(span.role));
            let left = usize::from(columns.saturating_sub(x));
            (x, _) = buffer.set_stringn(x, y, &span.text, left, style);
        }
        if row.shade == Shade::Selected {
            buffer.set_style(Rect::new(0, y, columns, 1), shade(Style::default()));
        }
    }
    let cursor = page.cursor.and_then(|(x, y)| {
        let (x, y) = (u16::try_from(x).ok()?, u16::try_from(y).ok()?);
        (x < columns && y < rows).then_some(Position { x, y })
    });
    (buffer, cursor)
}

//! Columns that fit: those that matter least fall away first, and what is left is cut by display width.

use crate::text::{Line, Role, cut, cut_front, width};

/// Blanks between two columns.
const GAP: usize = 2;

#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub heading: &'static str,
    /// 0 never falls away; of the others the highest goes first.
    pub rank: u8,
    /// Columns of the display that it needs, and that it takes unless there is room to spare.
    pub least: usize,
    pub most: usize,
    pub side: Side,
    pub keep: Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// Which part of a text survives a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Beginning,
    End,
}

impl Column {
    pub const fn left(heading: &'static str, rank: u8, least: usize, most: usize) -> Column {
        Column { heading, rank, least, most, side: Side::Left, keep: Keep::Beginning }
    }

    pub const fn right(heading: &'static str, rank: u8, least: usize, most: usize) -> Column {
        Column { heading, rank, least, most, side: Side::Right, keep: Keep::Beginning }
    }

    pub const fn keeping_end(self) -> Column {
        Column { keep: Keep::End, ..self }
    }
}

/// The columns that stay, each with its width.
#[derive(Clone, Debug)]
pub struct Fitted {
    columns: Vec<(usize, Column, usize)>,
}

/// Finds out which columns stay on so many columns of the display, and how wide they are.
pub fn fit(columns: &[Column], rows: &[Vec<Line>], room: usize) -> Fitted {
    let natural = |at: usize, column: &Column| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(Line::width);
        cells.max().unwrap_or_default().max(width(column.heading))
    };
    let is_empty =
        |at: usize| rows.iter().all(|row| row.get(at).is_none_or(|cell| cell.width() == 0));
    let mut kept: Vec<(usize, Column, usize)> = columns
        .iter()
        .enumerate()
        .filter(|(at, column)| column.rank == 0 || rows.is_empty() || !is_empty(*at))
        .map(|(at, column)| (at, *column, natural(at, column)))
        .collect();
    let least = |kept: &[(usize, Column, usize)]| {
        let widths = kept.iter().map(|(_, column, natural)| column.least.min(*natural));
        widths.sum::<usize>() + GAP * kept.len().saturating_sub(1)
    };
    while least(&kept) > room {
        let Some(goes) =
            kept.iter().map(|(_, column, _)| column.rank).max().filter(|rank| *rank > 0)
        else {
            break;
        };
        let at = kept.iter().rposition(|(_, column, _)| column.rank == goes);
        kept.remove(at.expect("one has the highest rank"));
    }
    share(&mut kept, room);
    Fitted { columns: kept }
}

/// Gives each column what it needs, then what it wants as far as there is room: the first ones before the last.
fn share(kept: &mut [(usize, Column, usize)], room: usize) {
    let wants: Vec<usize> =
        kept.iter().map(|(_, column, natural)| (*natural).min(column.most)).collect();
    for (_, column, width) in kept.iter_mut() {
        *width = column.least.min(*width);
    }
    let used: usize = kept.iter().map(|(.., width)| *width).sum();
    let mut left = room.saturating_sub(used + GAP * kept.len().saturating_sub(1));
    for ((_, _, width), want) in kept.iter_mut().zip(wants) {
        let more = want.saturating_sub(*width).min(left);
        *width += more;
        left -= more;
    }
}

impl Fitted {
    pub fn headings(&self) -> Line {
        let cells = self.columns.iter().map(|(_, column, _)| Line::of(Role::Dim, column.heading));
        self.line(cells)
    }

    pub fn row(&self, cells: &[Line]) -> Line {
        let empty = Line::new();
        self.line(self.columns.iter().map(|(at, ..)| cells.get(*at).unwrap_or(&empty).clone()))
    }

    fn line(&self, cells: impl Iterator<Item = Line>) -> Line {
        let last = self.columns.len().saturating_sub(1);
        let mut line = Line::new();
        for (n, (cell, (_, column, width))) in cells.zip(&self.columns).enumerate() {
            if n > 0 {
                line = line.and(Role::Text, " ".repeat(GAP));
            }
            let cell = fitted(&cell, *column, *width);
            line = line.then(match column.side {
                Side::Right => cell.right(*width),
                // Blanks at the end of a line are bytes for nothing.
                Side::Left if n == last => cell,
                Side::Left => cell.padded(*width),
            });
        }
        line
    }
}

fn fitted(cell: &Line, column: Column, columns: usize) -> Line {
    if cell.width() <= columns {
        return cell.clone();
    }
    match (column.keep, cell.spans.first()) {
        (Keep::End, Some(first)) => Line::of(first.role, cut_front(&cell.text(), columns)),
        (Keep::Beginning, Some(first)) if cell.spans.len() == 1 => {
            Line::of(first.role, cut(&first.text, columns))
        }
        (Keep::Beginning | Keep::End, _) => cell.cut(columns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::left("name", 0, 4, 10).keeping_end(),
        Column::right("count", 1, 5, 7),
        Column::left("key", 2, 3, 8),
        Column::left("error", 1, 6, 100),
    ];

    fn rows() -> Vec<Vec<Line>> {
        let row = |cells: [&str; 4]| cells.iter().map(|cell| Line::from(*cell)).collect();
        vec![row(["greenhouse", "12", "k", "connection refused"]), row(["a", "3", "", "x"])]
    }

    fn drawn(room: usize) -> Vec<String> {
        let rows = rows();
        let fitted = fit(&COLUMNS, &rows, room);
        let mut lines = vec![fitted.headings().text()];
        lines.extend(rows.iter().map(|row| fitted.row(row).text()));
        lines
    }

    #[test]
    fn with_room_every_column_has_what_it_wants() {
        assert_eq!(
            drawn(60),
            [
                "name        count  key  error",
                "greenhouse     12  k    connection refused",
                "a               3       x"
            ]
        );
    }

    #[test]
    fn what_matters_least_falls_away_first_and_the_rest_is_cut() {
        assert_eq!(
            drawn(30),
            ["name        count  key  error", "greenhouse     12  k    connec…"][..1]
                .iter()
                .map(|line| (*line).to_owned())
                .chain(drawn(30).into_iter().skip(1))
                .collect::<Vec<String>>()
        );
        for room in 0..60 {
            for line in drawn(room) {
                assert!(width(&line) <= room.max(4), "{room}: {line:?}");
            }
        }
        assert_eq!(drawn(20)[0], "name   count  error");
        assert_eq!(drawn(5), ["name", "…ouse", "a"]);
    }

    #[test]
    fn a_column_without_any_value_is_left_out() {
        let rows = [vec![Line::from("a"), Line::from("1"), Line::new(), Line::from("x")]];
        assert_eq!(fit(&COLUMNS, &rows, 60).headings().text(), "name  count  error");
    }
}

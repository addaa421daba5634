//! Tables: which columns fit into a width, how wide each of them is, and the rows laid out in them.

use crate::text::{Line, Role, width};

const GAP_COLUMNS: usize = 2;

/// Where a cell stands in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    /// For numbers. Such a column is never narrower than what stands in it: half a number is a wrong one.
    Right,
}

/// Which part of a cell survives a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Start,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub heading: &'static str,
    /// 0 never falls away; of the others the highest goes first.
    pub rank: u8,
    /// Columns of the screen: it is never narrower, and wider than `most` only when there is room to spare.
    pub least: usize,
    pub most: usize,
    pub side: Side,
    pub keep: Keep,
}

impl Column {
    pub const fn left(heading: &'static str, rank: u8, least: usize, most: usize) -> Column {
        Column { heading, rank, least, most, side: Side::Left, keep: Keep::Start }
    }

    pub const fn right(heading: &'static str, rank: u8, least: usize, most: usize) -> Column {
        Column { heading, rank, least, most, side: Side::Right, keep: Keep::Start }
    }

    #[must_use]
    pub const fn keeping_end(self) -> Column {
        Column { keep: Keep::End, ..self }
    }
}

/// The columns that fit, with their widths.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    columns: Vec<Place>,
    width: usize,
}

/// A column that stays.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    column: Column,
    /// Which of the cells of a row is its own.
    cell: usize,
    /// Columns of the screen: what it has, what it is at least, and what heading and cells would like.
    has: usize,
    least: usize,
    wants: usize,
}

/// Fits columns into a width. A column is as wide as its heading and cells, up to its `most`; where that is too much, wide
/// columns become narrower, down to their `least`, then columns fall away by rank. What is left goes to the last columns
/// that want more than their `most`. A column without anything in it falls away too, unless its rank is 0.
pub fn fit(columns: &[Column], rows: &[Vec<Line>], width: usize) -> Fitted {
    let places = columns.iter().enumerate().map(|(cell, column)| place(*column, cell, rows, width));
    let mut places: Vec<Place> = places
        .filter(|place| {
            let is_empty = |row: &Vec<Line>| row.get(place.cell).is_none_or(Line::is_empty);
            place.column.rank == 0 || rows.is_empty() || !rows.iter().all(is_empty)
        })
        .collect();
    while total(&places, |place| place.least) > width {
        // Of equal ranks the one at the right goes.
        let last = places.iter().enumerate().max_by_key(|(_, place)| place.column.rank);
        match last {
            Some((at, place)) if place.column.rank > 0 => places.remove(at),
            Some(_) | None => break,
        };
    }
    narrow(&mut places, width);
    widen(&mut places, width);
    Fitted { columns: places, width }
}

fn place(column: Column, cell: usize, rows: &[Vec<Line>], room: usize) -> Place {
    let cells = rows.iter().filter_map(|row| row.get(cell)).map(|cell| cell.width_up_to(room));
    let wants = cells.fold(width(column.heading), usize::max);
    let has = wants.min(column.most);
    let least = match column.side {
        Side::Left => column.least.min(has),
        Side::Right => has,
    };
    Place { column, cell, has, least, wants }
}

fn total(places: &[Place], each: impl Fn(&Place) -> usize) -> usize {
    let gaps = GAP_COLUMNS * places.len().saturating_sub(1);
    places.iter().map(each).sum::<usize>() + gaps
}

/// Takes from the column that can give most until all fit, or none can give any more.
fn narrow(places: &mut [Place], width: usize) {
    while total(places, |place| place.has) > width {
        let richest = places.iter_mut().max_by_key(|place| place.has - place.least);
        match richest {
            Some(place) if place.has > place.least => place.has -= 1,
            Some(_) | None => break,
        }
    }
}

fn widen(places: &mut [Place], width: usize) {
    let mut left = width.saturating_sub(total(places, |place| place.has));
    let wanting = places.iter_mut().rev().filter(|place| place.column.side == Side::Left);
    for place in wanting {
        let more = place.wants.saturating_sub(place.has).min(left);
        place.has += more;
        left -= more;
    }
}

impl Fitted {
    pub fn headings(&self) -> Line {
        self.laid_out(|place| Line::of(Role::Dim, place.column.heading))
    }

    /// The cells of a row, one for each of the columns that were to be fitted; what is missing is empty.
    pub fn row(&self, cells: &[Line]) -> Line {
        self.laid_out(|place| cells.get(place.cell).cloned().unwrap_or_default())
    }

    /// One line, without blanks at its end.
    fn laid_out(&self, cell: impl Fn(&Place) -> Line) -> Line {
        let mut line = Line::new();
        let mut blanks = 0;
        for place in &self.columns {
            let cell = cell(place);
            let cell = match place.column.keep {
                Keep::Start => cell.cut(place.has),
                Keep::End => cell.cut_front(place.has),
            };
            let (taken, left) = (cell.width(), place.has - cell.width());
            let (before, after) = match place.column.side {
                Side::Left => (0, left),
                Side::Right => (left, 0),
            };
            if taken == 0 {
                blanks += place.has + GAP_COLUMNS;
                continue;
            }
            line = line.and(Role::Text, " ".repeat(blanks + before)).then(cell);
            blanks = after + GAP_COLUMNS;
        }
        line.cut(self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 5] = [
        Column::left("state", 0, 5, 8),
        Column::right("when", 0, 4, 8),
        Column::left("app/script", 1, 8, 12).keeping_end(),
        Column::left("key", 3, 3, 4),
        Column::left("last error", 2, 10, 12),
    ];

    fn rows(rows: &[[&str; 5]]) -> Vec<Vec<Line>> {
        rows.iter().map(|row| row.iter().map(|cell| Line::from(*cell)).collect()).collect()
    }

    /// Headings and rows, as text.
    fn drawn(columns: &[Column], rows: &[Vec<Line>], width: usize) -> Vec<String> {
        let fitted = fit(columns, rows, width);
        let lines = rows.iter().map(|row| fitted.row(row));
        let lines: Vec<Line> = std::iter::once(fitted.headings()).chain(lines).collect();
        assert!(lines.iter().all(|line| line.width() <= width), "{lines:?}");
        lines.iter().map(Line::text).collect()
    }

    fn queue() -> Vec<Vec<Line>> {
        rows(&[
            ["run", "0.4 s", "greenhouse/record", "", ""],
            ["retry", "in 4 s", "energy/tariff", "a3", "connection refused"],
        ])
    }

    #[test]
    fn columns_become_narrower_and_then_fall_away_until_they_fit() {
        for (width, expected) in [
            (
                80,
                [
                    "state    when  app/script         key  last error",
                    "run     0.4 s  greenhouse/record",
                    "retry  in 4 s  energy/tariff      a3   connection refused",
                ],
            ),
            (
                53,
                [
                    "state    when  app/script     key  last error",
                    "run     0.4 s  …house/record",
                    "retry  in 4 s  energy/tariff  a3   connection refused",
                ],
            ),
            (
                40,
                [
                    "state    when  …/script  key  last error",
                    "run     0.4 s  …/record",
                    "retry  in 4 s  …/tariff  a3   connectio…",
                ],
            ),
            (
                36,
                [
                    "state    when  …p/script  last error",
                    "run     0.4 s  …e/record",
                    "retry  in 4 s  …y/tariff  connectio…",
                ],
            ),
            (
                24,
                [
                    "state    when  …p/script",
                    "run     0.4 s  …e/record",
                    "retry  in 4 s  …y/tariff",
                ],
            ),
            (22, ["state    when", "run     0.4 s", "retry  in 4 s"]),
            (10, ["state    …", "run     0…", "retry  in…"]),
        ] {
            assert_eq!(drawn(&COLUMNS, &queue(), width), expected, "{width}");
        }
    }

    #[test]
    fn without_rows_all_headings_stand_and_without_anything_in_it_a_column_does_not() {
        assert_eq!(drawn(&COLUMNS, &[], 80), ["state  when  app/script  key  last error"]);
        let only = rows(&[["run", "", "", "", "x"]]);
        assert_eq!(drawn(&COLUMNS, &only, 80), ["state  when  last error", "run          x"]);
    }

    #[test]
    fn what_is_left_goes_to_the_last_column_that_wants_more() {
        let columns = [Column::left("a", 0, 2, 4), Column::left("b", 0, 2, 4)];
        let rows = [vec![Line::from("abcdefgh"), Line::from("ijklmnop")]];
        for (width, expected) in [
            (10, "abc…  ijk…"),
            (12, "abc…  ijklm…"),
            (14, "abc…  ijklmnop"),
            (16, "abcde…  ijklmnop"),
            (40, "abcdefgh  ijklmnop"),
        ] {
            assert_eq!(drawn(&columns, &rows, width)[1], expected, "{width}");
        }
    }

    #[test]
    fn numbers_are_never_cut_to_make_room() {
        let columns = [Column::right("count", 0, 1, 12), Column::left("text", 0, 2, 20)];
        let rows = [vec![Line::from("1,234,567"), Line::from("a long text")]];
        assert_eq!(drawn(&columns, &rows, 15), ["    count  text", "1,234,567  a l…"]);
    }

    #[test]
    fn wide_characters_and_roles_keep_their_columns() {
        let columns = [Column::left("a", 0, 2, 8), Column::left("b", 0, 2, 8)];
        let cells = vec![Line::of(Role::Ok, "水水"), Line::of(Role::Bad, "x")];
        let fitted = fit(&columns, std::slice::from_ref(&cells), 20);
        let expected = Line::of(Role::Ok, "水水").and(Role::Text, "  ").and(Role::Bad, "x");
        assert_eq!(fitted.row(&cells), expected);
        assert_eq!(fitted.headings().text(), "a     b");
        assert_eq!(fitted.headings().spans[0].role, Role::Dim);
        assert_eq!(fitted.row(&[]), Line::new());
    }
}

//! Frames upon the terminal: only what differs from the one before is written, in one piece. Nothing is ever asked of
//! the terminal, and an unchanged frame writes no byte.

use std::io::{self, Write};
use std::mem;

use ratatui::buffer::{Buffer, Cell, CellWidth};
use ratatui::layout::Position;
use ratatui::style::{Color, Modifier};

/// What is on the screen, and the way to change it.
pub struct Painter<W: Write> {
    out: W,
    /// `None`: nobody knows what the terminal shows.
    shown: Option<Buffer>,
    cursor: Cursor,
    bytes: Vec<u8>,
}

/// Where the terminal's own cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    Unknown,
    Hidden,
    At(Position),
}

const CLEAR: &[u8] = b"\x1b[m\x1b[2J";
const HIDE_CURSOR: &[u8] = b"\x1b[?25l";
const SHOW_CURSOR: &[u8] = b"\x1b[?25h";
const ERASE_TO_END_OF_ROW: &[u8] = b"\x1b[K";

impl<W: Write> Painter<W> {
    /// Each frame is one `write` on `out`, so a buffer in between would only cut it elsewhere.
    pub fn new(out: W) -> Painter<W> {
        Painter { out, shown: None, cursor: Cursor::Unknown, bytes: Vec::new() }
    }

    /// Where the frames go.
    pub fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Somebody else has written on the terminal: the next frame is painted whole.
    pub fn forget(&mut self) {
        self.shown = None;
        self.cursor = Cursor::Unknown;
    }

    /// Shows this frame, with the cursor at a place of it or hidden, and returns the bytes that it took. After an error
    /// the next frame is painted whole.
    pub fn paint(&mut self, next: Buffer, cursor: Option<Position>) -> io::Result<usize> {
        // Both stay unknown until the frame is out.
        let known = self.shown.take().filter(|shown| shown.area == next.area);
        let was = mem::replace(&mut self.cursor, Cursor::Unknown);
        let cursor = match cursor.filter(|at| next.area.contains(*at)) {
            Some(at) => Cursor::At(at),
            None => Cursor::Hidden,
        };
        self.bytes.clear();
        let is_unknown = known.is_none();
        let shown = known.unwrap_or_else(|| Buffer::empty(next.area));
        let changes = changes(&shown, &next);
        let moves = is_unknown || !changes.is_empty();
        let before = match was {
            Cursor::Unknown | Cursor::At(_) if moves => {
                self.bytes.extend(HIDE_CURSOR);
                Cursor::Hidden
            }
            Cursor::Unknown | Cursor::At(_) | Cursor::Hidden => was,
        };
        if is_unknown {
            self.bytes.extend(CLEAR);
        }
        write_cells(&mut self.bytes, &next, &changes);
        place_cursor(&mut self.bytes, before, cursor);
        if !self.bytes.is_empty() {
            self.out.write_all(&self.bytes)?;
            self.out.flush()?;
        }
        self.shown = Some(next);
        self.cursor = cursor;
        Ok(self.bytes.len())
    }
}

fn place_cursor(bytes: &mut Vec<u8>, before: Cursor, cursor: Cursor) {
    match (before, cursor) {
        (Cursor::At(before), Cursor::At(at)) if before == at => {}
        (Cursor::At(_), Cursor::At(at)) => move_to(bytes, at),
        (Cursor::Hidden | Cursor::Unknown, Cursor::At(at)) => {
            move_to(bytes, at);
            bytes.extend(SHOW_CURSOR);
        }
        (Cursor::At(_) | Cursor::Unknown, Cursor::Hidden) => bytes.extend(HIDE_CURSOR),
        (Cursor::Hidden, Cursor::Hidden) | (_, Cursor::Unknown) => {}
    }
}

/// Where to write what, row by row and from left to right. Writing upon one half of a wide character disturbs the other
/// half, in which terminals then show this or that: it is written too.
fn changes<'a>(shown: &Buffer, next: &'a Buffer) -> Vec<(Position, &'a Cell)> {
    let area = next.area;
    let mut changes = Vec::new();
    for y in area.top()..area.bottom() {
        let mut disturbed_to = 0;
        let mut x = area.left();
        while x < area.right() {
            let cell = &next[(x, y)];
            let end = x.saturating_add(cell.cell_width().max(1));
            if x < disturbed_to || *cell != shown[(x, y)] {
                changes.push((Position { x, y }, cell));
                for covered in x..end.min(area.right()) {
                    let width = shown[(covered, y)].cell_width();
                    disturbed_to = disturbed_to.max(covered.saturating_add(width));
                }
            }
            x = end;
        }
    }
    changes
}

/// Begins and ends with plain text.
fn write_cells(bytes: &mut Vec<u8>, next: &Buffer, changes: &[(Position, &Cell)]) {
    let mut pen = None;
    let mut look = Look::PLAIN;
    let mut blank = Blank { row: None, from: 0 };
    let mut erased_row = None;
    for &(at, cell) in changes {
        if erased_row == Some(at.y) {
            continue;
        }
        if pen != Some(at) {
            move_to(bytes, at);
        }
        let cell_look = Look::of(cell);
        if cell_look != look {
            write_look(bytes, look, cell_look);
            look = cell_look;
        }
        if blank.reaches_end_from(next, at) {
            bytes.extend(ERASE_TO_END_OF_ROW);
            erased_row = Some(at.y);
            continue;
        }
        let (symbol, columns) = (cell.symbol(), cell.cell_width());
        let is_one_char = symbol.chars().nth(1).is_none();
        if !is_one_char {
            // Terminals differ in the columns that they take for it: nothing old may stay in any of them.
            bytes.extend(" ".repeat(usize::from(columns)).as_bytes());
            move_to(bytes, at);
        }
        bytes.extend(symbol.as_bytes());
        pen = (is_one_char && columns == 1).then_some(Position { x: at.x + 1, ..at });
    }
    if look != Look::PLAIN {
        write_look(bytes, look, Look::PLAIN);
    }
}

/// From where on a row is empty, reckoned once a row.
struct Blank {
    row: Option<u16>,
    from: u16,
}

impl Blank {
    /// Whether nothing but emptiness follows, and so much of it that erasing is shorter than writing it.
    fn reaches_end_from(&mut self, buffer: &Buffer, at: Position) -> bool {
        let (Position { x, y }, area) = (at, buffer.area);
        if self.row != Some(y) {
            self.row = Some(y);
            let is_blank = |x: &u16| buffer[(*x, y)] == Cell::EMPTY;
            let blank = (area.left()..area.right()).rev().take_while(is_blank);
            self.from = blank.last().unwrap_or(area.right());
        }
        x >= self.from && usize::from(area.right() - x) > ERASE_TO_END_OF_ROW.len()
    }
}

fn move_to(bytes: &mut Vec<u8>, at: Position) {
    bytes.extend(format!("\x1b[{};{}H", u32::from(at.y) + 1, u32::from(at.x) + 1).as_bytes());
}

/// How a character looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    foreground: Color,
    background: Color,
    modifier: Modifier,
}

impl Look {
    const PLAIN: Look =
        Look { foreground: Color::Reset, background: Color::Reset, modifier: Modifier::empty() };

    fn of(cell: &Cell) -> Look {
        Look { foreground: cell.fg, background: cell.bg, modifier: cell.modifier }
    }
}

const MODIFIERS: [(Modifier, &str); 9] = [
    (Modifier::BOLD, "1"),
    (Modifier::DIM, "2"),
    (Modifier::ITALIC, "3"),
    (Modifier::UNDERLINED, "4"),
    (Modifier::SLOW_BLINK, "5"),
    (Modifier::RAPID_BLINK, "6"),
    (Modifier::REVERSED, "7"),
    (Modifier::HIDDEN, "8"),
    (Modifier::CROSSED_OUT, "9"),
];

/// Goes over plain text, so that nothing of the look before is left whatever a terminal makes of turning things off.
fn write_look(bytes: &mut Vec<u8>, before: Look, look: Look) {
    let mut codes: Vec<String> = Vec::new();
    if before != Look::PLAIN && look != Look::PLAIN {
        codes.push("0".to_owned());
    }
    let modifiers = MODIFIERS.iter().filter(|(modifier, _)| look.modifier.contains(*modifier));
    codes.extend(modifiers.map(|(_, code)| (*code).to_owned()));
    codes.extend(colour_code(look.foreground, 30));
    codes.extend(colour_code(look.background, 40));
    bytes.extend(format!("\x1b[{}m", codes.join(";")).as_bytes());
}

/// The sixteen colours in the form that every terminal with colours knows; `first` is the code of black.
fn colour_code(colour: Color, first: u8) -> Option<String> {
    let code = match colour {
        Color::Reset => return None,
        Color::Black => first,
        Color::Red => first + 1,
        Color::Green => first + 2,
        Color::Yellow => first + 3,
        Color::Blue => first + 4,
        Color::Magenta => first + 5,
        Color::Cyan => first + 6,
        Color::Gray => first + 7,
        Color::DarkGray => first + 60,
        Color::LightRed => first + 61,
        Color::LightGreen => first + 62,
        Color::LightYellow => first + 63,
        Color::LightBlue => first + 64,
        Color::LightMagenta => first + 65,
        Color::LightCyan => first + 66,
        Color::White => first + 67,
        Color::Indexed(index) => return Some(format!("{};5;{index}", first + 8)),
        Color::Rgb(red, green, blue) => {
            return Some(format!("{};2;{red};{green};{blue}", first + 8));
        }
    };
    Some(code.to_string())
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    /// Counts what goes out, and how often.
    #[derive(Default)]
    struct Wire {
        bytes: Vec<u8>,
        writes: usize,
        flushes: usize,
        is_broken: bool,
    }

    impl Write for &mut Wire {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.writes += 1;
            self.bytes.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.flushes += 1;
            Ok(())
        }
    }

    fn frame(lines: &[&str]) -> Buffer {
        Buffer::with_lines(lines.iter().copied())
    }

    /// What each of these frames writes.
    fn written(frames: &[(Buffer, Option<Position>)]) -> Vec<String> {
        let mut wire = Wire::default();
        let mut painter = Painter::new(&mut wire);
        let frames = frames.iter().map(|(frame, cursor)| {
            let from = painter.out.bytes.len();
            let count = painter.paint(frame.clone(), *cursor).expect("the wire takes all");
            assert_eq!(painter.out.bytes.len() - from, count);
            String::from_utf8(painter.out.bytes[from..].to_vec()).expect("frames are text")
        });
        frames.collect()
    }

    #[test]
    fn an_unchanged_frame_writes_nothing() {
        let at = Some(Position { x: 0, y: 1 });
        let one = frame(&["abc", "de "]);
        let written = written(&[
            (one.clone(), at),
            (one.clone(), at),
            (one.clone(), None),
            (one.clone(), None),
            (one, at),
        ]);
        let whole = "\x1b[?25l\x1b[m\x1b[2J\x1b[1;1Habc\x1b[2;1Hde\x1b[2;1H\x1b[?25h";
        assert_eq!(written, [whole, "", "\x1b[?25l", "", "\x1b[2;1H\x1b[?25h"]);
    }

    #[test]
    fn only_what_differs_is_written() {
        let first = frame(&["due      44", "dead      3", "          "]);
        let mut coloured = frame(&["due      44", "dead      4", "          "]);
        coloured[(10, 1)].set_style(Style::new().fg(Color::Red).add_modifier(Modifier::BOLD));
        let at = |x, y| Some(Position { x, y });
        let written = written(&[
            (first, None),
            (coloured.clone(), None),
            (coloured.clone(), at(0, 0)),
            (coloured, at(0, 1)),
            (frame(&["due      44", "dead      4", "          "]), at(0, 1)),
        ]);
        let changes = [
            "\x1b[2;11H\x1b[1;31m4\x1b[m",
            "\x1b[1;1H\x1b[?25h",
            "\x1b[2;1H",
            "\x1b[?25l\x1b[2;11H4\x1b[2;1H\x1b[?25h",
        ];
        assert_eq!(written[1..], changes);
    }

    #[test]
    fn a_look_follows_another_over_plain_text() {
        let mut styled = frame(&["abcd"]);
        styled[(0, 0)].set_style(Style::new().add_modifier(Modifier::DIM | Modifier::REVERSED));
        styled[(1, 0)].set_style(Style::new().fg(Color::White).bg(Color::Indexed(7)));
        styled[(2, 0)].set_style(Style::new().fg(Color::Rgb(1, 2, 3)));
        let written = written(&[(frame(&["    "]), None), (styled, None)]);
        let expected = "\x1b[1;1H\x1b[2;7ma\x1b[0;97;48;5;7mb\x1b[0;38;2;1;2;3mc\x1b[md".to_owned();
        assert_eq!(written[1], expected);
    }

    #[test]
    fn the_empty_end_of_a_row_is_erased() {
        let written = written(&[
            (frame(&["abcdefgh", "abcdefgh", "水水水水"]), None),
            (frame(&["abc     ", "abcdef  ", "水      "]), None),
        ]);
        assert_eq!(written[1], "\x1b[1;4H\x1b[K\x1b[2;7H  \x1b[3;3H\x1b[K");
    }

    #[test]
    fn what_follows_a_wide_character_is_placed_anew() {
        let written = written(&[
            (frame(&["       "]), None),
            (frame(&["a水b e\u{301}c"]), None),
            (frame(&["ab水 e\u{301}c"]), None),
        ]);
        assert_eq!(written[1], "\x1b[1;1Ha水\x1b[1;4Hb\x1b[1;6H \x1b[1;6He\u{301}\x1b[1;7Hc");
        assert_eq!(written[2], "\x1b[1;2Hb水");
    }

    #[test]
    fn another_size_is_painted_whole() {
        let written = written(&[
            (frame(&["abcdef", "ghijkl"]), None),
            (frame(&["abcd"]), Some(Position { x: 5, y: 1 })),
            (Buffer::empty(Rect::ZERO), None),
            (frame(&["abcd"]), None),
        ]);
        let whole = "\x1b[m\x1b[2J\x1b[1;1Habcd";
        assert_eq!(written[1..], [whole, "\x1b[m\x1b[2J", whole]);
    }

    #[test]
    fn what_was_forgotten_is_painted_whole() {
        let mut wire = Wire::default();
        let mut painter = Painter::new(&mut wire);
        let first = painter.paint(frame(&["abc"]), None).expect("the wire takes all");
        painter.forget();
        assert_eq!(painter.paint(frame(&["abc"]), None).expect("the wire takes all"), first);
    }

    #[test]
    fn a_frame_is_one_write_and_after_an_error_the_next_is_whole() {
        let mut wire = Wire::default();
        let mut painter = Painter::new(&mut wire);
        let whole = painter.paint(frame(&["abc"]), None).expect("the wire takes all");
        painter.out.is_broken = true;
        assert!(painter.paint(frame(&["abd"]), None).is_err());
        painter.out.is_broken = false;
        assert_eq!(painter.paint(frame(&["abd"]), None).expect("the wire takes all"), whole);
        assert_eq!((wire.writes, wire.flushes), (2, 2));
    }

    /// A few of everything that frames hold, chosen by a number.
    fn arbitrary_frame(mut number: u64, area: Rect) -> Buffer {
        let mut next = |most: u64| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (number >> 33) % most
        };
        let symbols = ["a", "b", " ", " ", "水", "é", "▁", "e\u{301}"];
        let mut frame = Buffer::empty(area);
        for y in area.top()..area.bottom() {
            let end = u16::try_from(next(u64::from(area.width) + 1)).expect("it is a column");
            let mut x = area.left();
            while x < end {
                let symbol = symbols[usize::try_from(next(8)).expect("there are eight")];
                let style = match next(6) {
                    0 => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
                    1 => Style::new().add_modifier(Modifier::REVERSED),
                    2 => Style::new().bg(Color::Green),
                    _ => Style::new(),
                };
                (x, _) = frame.set_stringn(x, y, symbol, usize::from(end - x), style);
                if symbol == "水" && end - x < 2 {
                    break;
                }
            }
        }
        frame
    }

    /// What a terminal shows: each cell with its look, and the cursor.
    fn seen(terminal: &vt100::Parser) -> (Vec<String>, (u16, u16)) {
        let screen = terminal.screen();
        let (rows, columns) = screen.size();
        let places = (0..rows.get()).flat_map(|y| (0..columns.get()).map(move |x| (y, x)));
        let cells = places.map(|(y, x)| {
            let cell = screen.cell(y, x).expect("it is on the screen");
            let contents = if cell.has_contents() { cell.contents() } else { " " };
            let colours = (cell.fgcolor(), cell.bgcolor());
            format!("{contents:?} {colours:?} {} {}", cell.bold(), cell.inverse())
        });
        (cells.collect(), screen.cursor_position())
    }

    #[test]
    fn a_row_of_frames_leaves_the_screen_of_the_last() {
        let area = Rect::new(0, 0, 9, 3);
        let side = |length| NonZero::new(length).expect("it is no empty screen");
        let new_terminal = || vt100::Parser::new(side(area.height), side(area.width), 0);
        let cursor = Some(Position { x: 1, y: 1 });
        let mut terminal = new_terminal();
        let mut wire = Wire::default();
        let mut painter = Painter::new(&mut wire);
        for number in 0..2_000 {
            let next = arbitrary_frame(number, area);
            painter.paint(next.clone(), cursor).expect("the wire takes all");
            terminal.process(&painter.out.bytes);
            painter.out.bytes.clear();
            let mut afresh = Wire::default();
            Painter::new(&mut afresh).paint(next, cursor).expect("the wire takes all");
            let mut other = new_terminal();
            other.process(&afresh.bytes);
            assert_eq!(seen(&terminal), seen(&other), "frame {number}");
        }
    }
}

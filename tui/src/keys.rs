//! The key table: what a key does, and what help, palette and key line say of it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::screen::Screen;

/// What keys ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Go(Screen),
    NextScreen,
    PreviousScreen,
    NextPane,
    PreviousPane,
    Up,
    Down,
    First,
    Last,
    PageUp,
    PageDown,
    Open,
    Back,
    Filter,
    NextMatch,
    PreviousMatch,
    Palette,
    Help,
    Pause,
    Newest,
    Scope,
    Mark,
    MarkAll,
    Sort,
    Reverse,
    Group,
    Run,
    Try,
    Edit,
    Discard,
    Undo,
    Chain,
    Versions,
    Toggle,
    Hold,
    New,
    Yes,
    CopyAs,
    Write,
    Plain,
    Zoom,
    Reload,
    Mouse,
    Repaint,
    Highlight,
    Quit,
    QuitNow,
    Suspend,
}

/// One line of the table.
pub struct Binding {
    pub command: Command,
    pub keys: &'static [Press],
    /// As people write them.
    pub shown: &'static str,
    /// In the imperative, everywhere the same.
    pub does: &'static str,
}

/// A key with or without control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    Plain(KeyCode),
    Control(char),
}

const fn char(c: char) -> Press {
    Press::Plain(KeyCode::Char(c))
}

const fn binding(
    command: Command,
    keys: &'static [Press],
    shown: &'static str,
    does: &'static str,
) -> Binding {
    Binding { command, keys, shown, does }
}

/// Every key of the console.
pub const KEYS: &[Binding] = &[
    binding(Command::Go(Screen::Overview), &[char('1')], "1", "Overview: is everything all right?"),
    binding(Command::Go(Screen::Outbox), &[char('2')], "2", "Outbox: what waits and runs"),
    binding(Command::Go(Screen::Dead), &[char('3')], "3", "Dead letters: what could not be done"),
    binding(Command::Go(Screen::Runs), &[char('4')], "4", "Runs that ended lately"),
    binding(Command::Go(Screen::Apps), &[char('5')], "5", "Apps and their routes"),
    binding(Command::Go(Screen::Scripts), &[char('6')], "6", "Scripts: look, edit, try"),
    binding(Command::Go(Screen::Triggers), &[char('7')], "7", "Triggers: what sets scripts off"),
    binding(Command::Go(Screen::Data), &[char('8')], "8", "Data: KV and documents"),
    binding(Command::Go(Screen::Log), &[char('9')], "9", "Log: what scripts say"),
    binding(Command::Go(Screen::System), &[char('0')], "0", "System: checks, backups, people"),
    binding(Command::PreviousScreen, &[char('[')], "[", "the screen before"),
    binding(Command::NextScreen, &[char(']')], "]", "the next screen"),
    binding(Command::NextPane, &[Press::Plain(KeyCode::Tab)], "Tab", "the next pane"),
    binding(Command::PreviousPane, &[Press::Plain(KeyCode::BackTab)], "⇧Tab", "the pane before"),
    binding(Command::Down, &[char('j'), Press::Plain(KeyCode::Down)], "j ↓", "down"),
    binding(Command::Up, &[char('k'), Press::Plain(KeyCode::Up)], "k ↑", "up"),
    binding(Command::First, &[char('g'), Press::Plain(KeyCode::Home)], "g Home", "to the first"),
    binding(Command::Last, &[char('G'), Press::Plain(KeyCode::End)], "G End", "to the last"),
    binding(
        Command::PageDown,
        &[Press::Control('d'), Press::Plain(KeyCode::PageDown)],
        "^d PgDn",
        "a page down",
    ),
    binding(
        Command::PageUp,
        &[Press::Control('u'), Press::Plain(KeyCode::PageUp)],
        "^u PgUp",
        "a page up",
    ),
    binding(
        Command::Open,
        &[Press::Plain(KeyCode::Enter), char('l'), Press::Plain(KeyCode::Right)],
        "⏎ l →",
        "open",
    ),
    binding(
        Command::Back,
        &[Press::Plain(KeyCode::Esc), char('h'), Press::Plain(KeyCode::Left)],
        "esc h ←",
        "back; first marks and filter are cleared",
    ),
    binding(Command::Filter, &[char('/')], "/", "filter; Enter keeps it"),
    binding(Command::NextMatch, &[char('n')], "n", "the next match"),
    binding(Command::PreviousMatch, &[char('N')], "N", "the match before"),
    binding(Command::Palette, &[char(':'), Press::Control('p')], ": ^p", "go to anything by name"),
    binding(Command::Help, &[char('?'), Press::Plain(KeyCode::F(1))], "? F1", "help"),
    binding(Command::Pause, &[char(' ')], "space", "stop what is shown; go on"),
    binding(Command::Newest, &[char('f')], "f", "the newest, and follow"),
    binding(Command::Scope, &[char('a')], "a", "one app or all"),
    binding(Command::Mark, &[char('x')], "x", "mark"),
    binding(Command::MarkAll, &[char('X')], "X", "mark all that match"),
    binding(Command::Sort, &[char('s')], "s", "sort by the next column"),
    binding(Command::Reverse, &[char('S')], "S", "sort the other way round"),
    binding(
        Command::Group,
        &[char('b')],
        "b",
        "the other view: by error or one by one, abandoned, secrets",
    ),
    binding(Command::Run, &[char('r')], "r", "run: replay, run now, fire, invoke"),
    binding(Command::Try, &[char('t')], "t", "try without effect"),
    binding(Command::Edit, &[char('e')], "e", "edit in $VISUAL or $EDITOR"),
    binding(Command::Discard, &[char('d')], "d", "discard, cancel, delete; asks first"),
    binding(Command::Undo, &[char('u')], "u", "undo, while it is offered"),
    binding(Command::Chain, &[char('c')], "c", "chain of causes and consequences"),
    binding(Command::Versions, &[char('v')], "v", "versions"),
    binding(Command::Toggle, &[char('o')], "o", "on or off"),
    binding(Command::Hold, &[char('P')], "P", "pause or resume what is under the cursor"),
    binding(Command::New, &[char('+')], "+", "new"),
    binding(Command::Yes, &[char('y')], "y", "copy; yes, where something is asked"),
    binding(Command::CopyAs, &[char('Y')], "Y", "copy as id, command, payload, error"),
    binding(Command::Write, &[char('w')], "w", "write to a file"),
    binding(Command::Plain, &[char('p')], "p", "plain text, for the mouse"),
    binding(Command::Zoom, &[char('z')], "z", "one pane or two"),
    binding(Command::Reload, &[char('R')], "R", "reload; connect now"),
    binding(Command::Mouse, &[char('M')], "M", "mouse on or off"),
    binding(Command::Highlight, &[char('H')], "H", "hide or highlight what the filter finds"),
    binding(Command::Repaint, &[Press::Control('l')], "^l", "paint all anew"),
    binding(Command::Quit, &[char('q')], "q", "quit"),
    binding(Command::QuitNow, &[Press::Control('c')], "^c", "quit from anywhere"),
    binding(Command::Suspend, &[Press::Control('z')], "^z", "suspend"),
];

/// What a key asks for outside of fields.
pub fn command(key: &KeyEvent) -> Option<Command> {
    let press = press(key)?;
    KEYS.iter().find(|binding| binding.keys.contains(&press)).map(|binding| binding.command)
}

/// The key for it, as people write the first of those that there are.
pub fn key_of(command: Command) -> &'static str {
    let found = KEYS.iter().find(|binding| binding.command == command);
    found.and_then(|binding| binding.shown.split(' ').next()).unwrap_or_default()
}

fn press(key: &KeyEvent) -> Option<Press> {
    let beside_shift = key.modifiers.difference(KeyModifiers::SHIFT);
    match key.code {
        KeyCode::Char(c) if beside_shift == KeyModifiers::CONTROL => {
            Some(Press::Control(c.to_ascii_lowercase()))
        }
        code if beside_shift.is_empty() => Some(Press::Plain(code)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_stands_twice_in_the_table() {
        let mut seen: Vec<Press> = Vec::new();
        for press in KEYS.iter().flat_map(|binding| binding.keys) {
            assert!(!seen.contains(press), "{press:?}");
            seen.push(*press);
        }
    }

    #[test]
    fn shift_does_not_matter_and_alt_is_nothing() {
        let key = |code, modifiers| command(&KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Command::Last));
        assert_eq!(key(KeyCode::Char('d'), KeyModifiers::CONTROL), Some(Command::PageDown));
        assert_eq!(key(KeyCode::Char('d'), KeyModifiers::NONE), Some(Command::Discard));
        assert_eq!(key(KeyCode::Char('d'), KeyModifiers::ALT), None);
        assert_eq!(key(KeyCode::BackTab, KeyModifiers::SHIFT), Some(Command::PreviousPane));
    }

    #[test]
    fn a_command_is_written_with_its_first_key() {
        assert_eq!(key_of(Command::Open), "⏎");
        assert_eq!(key_of(Command::Palette), ":");
        assert_eq!(key_of(Command::Pause), "space");
    }
}

//! Takes the terminal as the console does, and does with it what each key says.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;

use picloud_tui::editor::Editor;
use picloud_tui::effect::Mouse;
use picloud_tui::painter::Painter;
use picloud_tui::terminal::{self, Signal, Signals, Suspended, Terminal, Unbuffered};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// `terminal-guard-under-test EDITOR FOLDER`
#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [command, folder] = arguments.as_slice() else {
        return Err(io::Error::other("name an editor and a folder"));
    };
    let editor = Editor { command: command.clone(), folder: PathBuf::from(folder) };
    let mut signals = Signals::new()?;
    let terminal = Terminal::enter(Mouse::On)?;
    let painter = Painter::new(Unbuffered);
    let mut guard = Guard { terminal, painter, keys: keys(), said: String::new() };
    guard.say("ready")?;
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Terminate | Signal::Interrupt => return Ok(()),
                Signal::Suspend => guard.suspend(&mut signals).await?,
                Signal::Resumed => {
                    guard.terminal.enter_again()?;
                    let said = format!("{}, resumed", guard.said);
                    guard.say(&said)?;
                }
            },
            key = guard.keys.recv() => match key {
                Some(b'q') | None => return Ok(()),
                Some(b'p') => panic!("a panic on purpose"),
                Some(b'z') => guard.suspend(&mut signals).await?,
                Some(b'e') => guard.edit(&editor, &mut signals).await?,
                Some(key) => guard.say(&format!("key {key}"))?,
            },
        }
    }
}

struct Guard {
    terminal: Terminal,
    painter: Painter<Unbuffered>,
    keys: UnboundedReceiver<u8>,
    said: String,
}

impl Guard {
    fn say(&mut self, what: &str) -> io::Result<()> {
        what.clone_into(&mut self.said);
        let size = terminal::size((None, None));
        let mut frame = Buffer::empty(Rect::new(0, 0, size.width, size.height));
        frame.set_string(0, 0, what, Style::new());
        frame.set_string(0, 1, format!("{} x {}", size.width, size.height), Style::new());
        self.painter.forget();
        self.painter.paint(frame, Some(Position { x: 0, y: 0 }))?;
        Ok(())
    }

    async fn suspend(&mut self, signals: &mut Signals) -> io::Result<()> {
        match self.terminal.suspend(signals).await? {
            Suspended::Resumed => self.say("resumed"),
            Suspended::NoShell => self.say("no shell"),
        }
    }

    async fn edit(&mut self, editor: &Editor, signals: &mut Signals) -> io::Result<()> {
        self.terminal.leave()?;
        let edited = {
            let mut edited = std::pin::pin!(editor.edit("before", "txt"));
            loop {
                tokio::select! {
                    edited = &mut edited => break edited,
                    signal = signals.next() => match signal {
                        Signal::Suspend => terminal::stop()?,
                        Signal::Interrupt | Signal::Resumed => {}
                        Signal::Terminate => return Ok(()),
                    },
                }
            }
        };
        self.terminal.enter_again()?;
        match edited {
            Ok(Some(text)) => self.say(&format!("edited {text}")),
            Ok(None) => self.say("unchanged"),
            Err(error) => self.say(&error.to_string()),
        }
    }
}

/// What is typed, each byte a key. The editors of the tests read nothing, so nobody is robbed.
fn keys() -> UnboundedReceiver<u8> {
    let (tell, keys) = unbounded_channel();
    std::thread::spawn(move || {
        for byte in io::stdin().lock().bytes().map_while(Result::ok) {
            if tell.send(byte).is_err() {
                return;
            }
        }
    });
    keys
}

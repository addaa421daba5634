//! The loop: keys, answers, events and time in, one after the other; effects and frames out.
//!
//! Here and in `tasks.rs` is all that touches the world. Nothing in the loop waits for the network.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Write};
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use ratatui::crossterm::event::{
    Event, EventStream, KeyEvent, KeyEventKind, MouseButton, MouseEventKind,
};
use tokio::sync::mpsc::{self, Receiver};

use crate::client::Client;
use crate::clipboard::{self, Sent};
use crate::editor::Editor;
use crate::effect::{Effect, Text};
use crate::message::Message;
use crate::model::Model;
use crate::outlet::Outlet;
use crate::pace::Pace;
use crate::painter::Painter;
use crate::tasks::Tasks;
use crate::terminal::{self, Signal, Signals, Suspended, Terminal};
use crate::{update, view};

/// Messages that wait for the loop. Whoever has more waits, and in the end the daemon says what was missed.
const MESSAGES_MAX: usize = 32;
/// Messages that are taken before the next frame.
const MESSAGES_A_FRAME: usize = 1_024;
/// Names that are tried for a file.
const NAMES_MAX: usize = 100;

/// What the console has of the world.
pub struct Equipment {
    pub client: Client,
    pub editor: Option<Editor>,
    /// `$TMUX`
    pub tmux: Option<OsString>,
    pub pace: Pace,
    /// `$COLUMNS` and `$LINES`
    pub size: (Option<u16>, Option<u16>),
}

struct Console {
    model: Model,
    equipment: Equipment,
    tasks: Tasks,
    messages: Receiver<Message>,
    terminal: Terminal,
    signals: Signals,
    painter: Painter<Outlet>,
    /// Nobody reads keys while an editor has the terminal.
    keys: Option<EventStream>,
    screen: Shown,
}

/// What the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Frames,
    /// Plain text, for the mouse; any key brings the frames back.
    Plain,
}

/// Why a frame is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    No,
    /// Something came.
    Data,
    /// Somebody waits.
    Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    On,
    Out,
}

/// The wall clock, in milliseconds.
#[allow(clippy::disallowed_methods, reason = "this is the console's clock")]
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Runs the console until somebody quits or a signal ends it.
pub async fn run(
    model: Model,
    mouse: crate::effect::Mouse,
    equipment: Equipment,
) -> io::Result<()> {
    let signals = Signals::new()?;
    let terminal = Terminal::enter(mouse)?;
    let painter = Painter::new(Outlet::open()?);
    let (sender, messages) = mpsc::channel(MESSAGES_MAX);
    let tasks = Tasks::new(equipment.client.clone(), sender);
    let mut console = Console {
        model,
        equipment,
        tasks,
        messages,
        terminal,
        signals,
        painter,
        keys: Some(EventStream::new()),
        screen: Shown::Frames,
    };
    let ended = console.live().await;
    console.tasks.stop();
    console.painter.out().abandon().await;
    ended.and(console.terminal.leave())
}

impl Console {
    async fn live(&mut self) -> io::Result<()> {
        // The first frame stands before anything is asked.
        self.paint(Due::Key)?;
        let effects = update::start(&mut self.model);
        let mut due = Due::No;
        if self.obey(effects).await? == Goes::Out {
            return Ok(());
        }
        loop {
            let came = self.wait(due).await?;
            let Some((messages, cause)) = came else { return Ok(()) };
            // Until there is something to look at, somebody waits for it.
            let cause = if self.model.stats.is_none() { Due::Key } else { cause };
            if cause == Due::Key || due == Due::No {
                due = cause;
            }
            for message in messages {
                let effects = update::update(&mut self.model, message, now());
                if self.obey(effects).await? == Goes::Out {
                    return Ok(());
                }
            }
            if due != Due::No && now() >= self.frame_at(due) && self.painter.out().is_free() {
                self.paint(due)?;
                due = Due::No;
            }
        }
    }

    fn frame_at(&self, due: Due) -> i64 {
        match due {
            Due::No => i64::MAX,
            Due::Key => self.equipment.pace.next_key_frame(),
            Due::Data => self.equipment.pace.next_data_frame(),
        }
    }

    /// Waits for what comes next, and takes what has come with it. `None`: it is to end.
    async fn wait(&mut self, due: Due) -> io::Result<Option<(Vec<Message>, Due)>> {
        // Frames never queue: one that is still under way comes first, and says when it is out.
        let frame_at = if self.painter.out().is_free() { self.frame_at(due) } else { i64::MAX };
        let wake = update::wake_at(&self.model).unwrap_or(i64::MAX).min(frame_at);
        let left = u64::try_from(wake.saturating_sub(now())).unwrap_or_default();
        let keys = &mut self.keys;
        let mut messages = Vec::new();
        let mut cause = Due::Data;
        tokio::select! {
            biased;
            signal = self.signals.next() => {
                match signal {
                    Signal::Terminate | Signal::Interrupt => return Ok(None),
                    Signal::Suspend => {
                        self.suspend().await?;
                        messages.push(self.size_now());
                    }
                    Signal::Resumed => {
                        self.painter.out().settle().await?;
                        self.terminal.enter_again()?;
                    }
                    Signal::Resized => {
                        messages.push(self.resized()?);
                        return Ok(Some((messages, Due::Key)));
                    }
                }
                self.painter.forget();
                messages.push(Message::Resumed);
                cause = Due::Key;
            }
            event = next(keys) => {
                let Some(event) = event else { return Ok(None) };
                messages.extend(self.read(event?)?);
                cause = Due::Key;
            }
            written = self.painter.out().written() => {
                written?;
                cause = Due::No;
            }
            message = self.messages.recv() => messages.extend(message),
            () = tokio::time::sleep(Duration::from_millis(left.min(60_000))) => {
                messages.push(Message::Tick);
                // A frame that was due already is now at most painted.
                cause = Due::Data;
            }
        }
        while messages.len() < MESSAGES_A_FRAME {
            let Ok(message) = self.messages.try_recv() else { break };
            messages.push(message);
        }
        let came = cause == Due::No && !messages.is_empty();
        Ok(Some((messages, if came { Due::Data } else { cause })))
    }

    /// What an event of the terminal says.
    fn read(&mut self, event: Event) -> io::Result<Option<Message>> {
        if self.screen == Shown::Plain {
            if let Event::Key(KeyEvent { kind: KeyEventKind::Press, .. }) = event {
                self.back_from_plain()?;
            }
            return Ok(None);
        }
        Ok(match event {
            Event::Key(key) if key.kind == KeyEventKind::Release => None,
            Event::Key(key) => Some(Message::Key(key)),
            Event::Paste(text) => Some(Message::Paste(text)),
            // The signal for it says what the size is: here it would be said late or never.
            Event::Resize(..) => {
                self.terminal.nudge()?;
                None
            }
            Event::Mouse(mouse) => match mouse.kind {
                MouseEventKind::ScrollDown => Some(Message::Wheel(1)),
                MouseEventKind::ScrollUp => Some(Message::Wheel(-1)),
                MouseEventKind::Down(MouseButton::Left) => Some(Message::Click(mouse.row)),
                _ => None,
            },
            Event::FocusGained | Event::FocusLost => None,
        })
    }

    /// Reads keys again. The first look takes notice of the end of the reader before; a key that came with that notice
    /// would not be told of. What was typed before, for another program, is dropped.
    async fn listen(&mut self) -> io::Result<()> {
        self.keys = Some(EventStream::new());
        let _typed_before = tokio::time::timeout(Duration::ZERO, next(&mut self.keys)).await;
        self.terminal.nudge()
    }

    fn resized(&mut self) -> io::Result<Message> {
        self.terminal.nudge()?;
        // It may have been smaller in between, and have lost what it showed.
        self.painter.forget();
        Ok(self.size_now())
    }

    fn paint(&mut self, due: Due) -> io::Result<()> {
        if self.screen == Shown::Plain {
            return Ok(());
        }
        let (buffer, cursor) = view::buffer(&self.model);
        let bytes = self.painter.paint(buffer, cursor)?;
        match due {
            Due::Key => self.equipment.pace.key_frame(now()),
            Due::Data | Due::No => {
                self.equipment.pace.data_frame(bytes, self.model.screen, now());
            }
        }
        Ok(())
    }

    async fn obey(&mut self, effects: Vec<Effect>) -> io::Result<Goes> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Ask(ticket, question) => self.tasks.ask(ticket, question),
                Effect::AskEach(ticket, questions) => self.tasks.ask_each(ticket, questions),
                Effect::Follow(ticket, path) => self.tasks.follow(ticket, path),
                Effect::Abort(ticket) => self.tasks.abort(ticket),
                Effect::Edit(ticket, text) => {
                    let Some(edited) = self.edit(&text).await? else { return Ok(Goes::Out) };
                    effects.extend(self.hear(self.size_now()));
                    effects.extend(self.hear(Message::Edited(ticket, edited)));
                }
                Effect::Copy(text) => {
                    let copied = self.copy(&text).await;
                    effects.extend(self.hear(Message::Copied(copied)));
                }
                Effect::Write(text) => {
                    let written = write_new(&text).map_err(|error| error.to_string());
                    effects.extend(self.hear(Message::Written(written)));
                }
                Effect::Plain(text) => self.plain(&text)?,
                Effect::Mouse(mouse) => self.terminal.set_mouse(mouse)?,
                Effect::Repaint => self.painter.forget(),
                Effect::Suspend => {
                    self.suspend().await?;
                    effects.extend(self.hear(self.size_now()));
                }
                Effect::Quit => return Ok(Goes::Out),
            }
        }
        Ok(Goes::On)
    }

    /// Tells the model; returns what it wants done then.
    fn hear(&mut self, message: Message) -> Vec<Effect> {
        update::update(&mut self.model, message, now())
    }

    fn size_now(&self) -> Message {
        let size = terminal::size(self.equipment.size);
        Message::Resize(size.width, size.height)
    }

    /// Lets the user's editor have the terminal. `None`: the console is to end.
    async fn edit(&mut self, text: &Text) -> io::Result<Option<Result<Option<String>, String>>> {
        let Some(editor) = &self.equipment.editor else {
            return Ok(Some(Err("no editor: set $VISUAL or $EDITOR".to_owned())));
        };
        // Both would read the keys.
        self.keys = None;
        self.painter.out().settle().await?;
        self.terminal.leave()?;
        let extension = text.name.rsplit('.').next().unwrap_or("txt").to_owned();
        let edited = {
            let mut editing = std::pin::pin!(editor.edit(&text.text, &extension));
            loop {
                tokio::select! {
                    edited = &mut editing => break Some(edited),
                    signal = self.signals.next() => match signal {
                        Signal::Terminate => break None,
                        Signal::Suspend => terminal::stop()?,
                        // They are the editor's.
                        Signal::Interrupt | Signal::Resumed | Signal::Resized => {}
                    },
                }
            }
        };
        let Some(edited) = edited else { return Ok(None) };
        self.terminal.enter_again()?;
        self.painter.forget();
        self.listen().await?;
        Ok(Some(edited.map_err(|error| error.to_string())))
    }

    async fn copy(&mut self, text: &str) -> Result<&'static str, String> {
        let tmux = self.equipment.tmux.as_deref();
        match clipboard::send(text, tmux, self.painter.out()).await {
            Ok(Sent::Osc52) => Ok("sent to the clipboard"),
            Ok(Sent::Tmux) => Ok("sent to the clipboard through tmux"),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Prints text where the mouse can take it, and the shell keeps it.
    fn plain(&mut self, text: &str) -> io::Result<()> {
        let mut out = String::from("\x1b[m\x1b[?1049l\x1b[?25h\r\n");
        for line in text.lines() {
            out.push_str(&crate::text::harmless(line));
            out.push_str("\r\n");
        }
        out.push_str("\r\nany key goes back ");
        self.screen = Shown::Plain;
        self.painter.out().write_all(out.as_bytes())
    }

    fn back_from_plain(&mut self) -> io::Result<()> {
        self.screen = Shown::Frames;
        self.painter.forget();
        self.painter.out().write_all(b"\r\n\x1b[?1049h")
    }

    async fn suspend(&mut self) -> io::Result<()> {
        self.keys = None;
        self.painter.out().settle().await?;
        let suspended = self.terminal.suspend(&mut self.signals).await?;
        self.listen().await?;
        self.painter.forget();
        if suspended == Suspended::Resumed {
            self.screen = Shown::Frames;
        }
        Ok(())
    }
}

/// The next event of the terminal; never, while nobody reads.
async fn next(keys: &mut Option<EventStream>) -> Option<io::Result<Event>> {
    match keys {
        Some(keys) => std::future::poll_fn(|context| Pin::new(&mut *keys).poll_next(context)).await,
        None => std::future::pending().await,
    }
}

/// Writes a file that was not there before, and returns its name.
fn write_new(text: &Text) -> io::Result<String> {
    let (stem, ending) = text.name.rsplit_once('.').unwrap_or((&text.name, "txt"));
    for n in 0..NAMES_MAX {
        let name = match n {
            0 => text.name.clone(),
            n => format!("{stem}-{n}.{ending}"),
        };
        match std::fs::File::create_new(&name) {
            Ok(mut file) => {
                file.write_all(text.text.as_bytes())?;
                return Ok(name);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "there are too many files of that name"))
}

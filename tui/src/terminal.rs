//! The terminal as a whole: taken, and left as it was found, however that comes about.

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ratatui::layout::Size;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{getpgrp, getsid, kill_current_process_group};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};
use tokio::signal::unix::{self, SignalKind, signal};

use crate::effect::Mouse;

/// The terminal of this process while the console has it. Dropped, it leaves it.
pub struct Terminal {
    taken: Arc<Mutex<Taken>>,
}

/// What became of a wish to be suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspended {
    /// It was, and goes on now: the screen has to be painted anew.
    Resumed,
    /// It was not: nobody is there who could let it go on.
    NoShell,
}

/// What comes to this process from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It is to end: the system stops, the user logs out, or the terminal is gone.
    Terminate,
    /// `^c` of a terminal that is not ours at the moment: meant for an editor if one is at work, else for us.
    Interrupt,
    /// It is to stop until further notice: [`Terminal::suspend`], or [`stop`] while the terminal is left.
    Suspend,
    /// It goes on after a stop that it did not see: [`Terminal::enter_again`], and paint anew.
    Resumed,
    /// The terminal has another size.
    Resized,
}

/// The signals of this process. From its making on they no longer do what they do by default.
pub struct Signals {
    terminate: unix::Signal,
    hangup: unix::Signal,
    interrupt: unix::Signal,
    suspend: unix::Signal,
    resumed: unix::Signal,
    resized: unix::Signal,
}

/// Standard output without a buffer: a `write` is one system call, so that a frame arrives in one piece.
#[derive(Clone, Copy, Debug)]
pub struct Unbuffered;

/// How the terminal was found; nothing while it is left.
struct Taken {
    found: Option<Termios>,
    mouse: Mouse,
}

/// Alternate screen, bracketed paste.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?2004h";
/// Plain text, an empty screen for terminals that have no alternate one, and then back, with the cursor shown.
const LEAVE: &[u8] = b"\x1b[m\x1b[2J\x1b[H\x1b[?2004l\x1b[?1049l\x1b[?25h";
/// Presses and the wheel, no movements, in the form without a limit on columns.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";

/// What is drawn on if nobody knows how large the terminal is.
const SIZE: Size = Size { width: 80, height: 24 };
/// Larger ones get a frame of this size, so that a wrong report takes no memory.
const SIZE_MAX: Size = Size { width: 1_000, height: 500 };

impl Terminal {
    /// Takes the terminal. From here on a panic leaves it before it is printed.
    pub fn enter(mouse: Mouse) -> io::Result<Terminal> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            let why = "picloud-tui needs a terminal; `picloud` prints for pipes";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let taken = Arc::new(Mutex::new(Taken { found: None, mouse }));
        let terminal = Terminal { taken: taken.clone() };
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // A terminal that cannot be left is no reason not to say why.
            let _gone = lock(&taken).leave();
            print(panic);
        }));
        lock(&terminal.taken).enter()?;
        Ok(terminal)
    }

    /// Gives the terminal back as it was found. Left already, nothing happens.
    pub fn leave(&mut self) -> io::Result<()> {
        lock(&self.taken).leave()
    }

    /// Takes the terminal again, whether it was left or somebody else has changed it in between. What it shows is
    /// unknown then.
    pub fn enter_again(&mut self) -> io::Result<()> {
        lock(&self.taken).enter()
    }

    /// Holds for the next entering too.
    pub fn set_mouse(&mut self, mouse: Mouse) -> io::Result<()> {
        lock(&self.taken).set_mouse(mouse)
    }

    /// Makes the terminal say again that keys can be read. The reader of keys learns of them and of a new size at once,
    /// looks at one of both, and would not be told of the other until the next key: to set what is set tells everybody.
    pub fn nudge(&self) -> io::Result<()> {
        if is_in_foreground() {
            tcsetattr(stdin(), OptionalActions::Now, &tcgetattr(stdin())?)?;
        }
        Ok(())
    }

    /// Leaves the terminal, stops until the shell lets it go on, and takes the terminal again. Nobody may read from the
    /// terminal meanwhile.
    pub async fn suspend(&mut self, signals: &mut Signals) -> io::Result<Suspended> {
        if !has_shell() {
            return Ok(Suspended::NoShell);
        }
        self.leave()?;
        // Going on is awaited and not only returned to: the stop reaches each thread when it is its turn, and nothing
        // may be written before.
        signals.resumed = signal(continued())?;
        let stopped = stop();
        if stopped.is_ok() {
            signals.resumed.recv().await;
        }
        self.enter_again()?;
        stopped.map(|()| Suspended::Resumed)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Without a terminal there is nobody to tell.
        let _gone = self.leave();
    }
}

/// The size of the terminal. A serial line reports 0 times 0: there `environment`, `$COLUMNS` and `$LINES`, says it, else
/// it is 80 times 24.
pub fn size(environment: (Option<u16>, Option<u16>)) -> Size {
    let reported = tcgetwinsize(stdout());
    let reported = reported.map_or((0, 0), |reported| (reported.ws_col, reported.ws_row));
    chosen(reported, environment)
}

/// Stops this process, with all that the shell started along with it, until somebody lets it go on; without a shell
/// nothing happens.
pub fn stop() -> io::Result<()> {
    // The signal that only asks to stop is taken by `Signals`.
    if has_shell() {
        Ok(kill_current_process_group(rustix::process::Signal::STOP)?)
    } else {
        Ok(())
    }
}

impl Signals {
    /// Needs a runtime of tokio.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            suspend: signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?,
            resumed: signal(continued())?,
            resized: signal(SignalKind::window_change())?,
        })
    }

    /// The next one. Cancelled, it loses none.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.hangup.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.suspend.recv() => Signal::Suspend,
            _ = self.resumed.recv() => Signal::Resumed,
            _ = self.resized.recv() => Signal::Resized,
        }
    }
}

impl Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(stdout(), bytes) {
                // Another program on this terminal may have made it non-blocking, for us as well.
                Err(Errno::AGAIN) => wait_for_room()?,
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Taken {
    fn enter(&mut self) -> io::Result<()> {
        let now = tcgetattr(stdin())?;
        // Whoever stopped us from outside left it as we had it, which is not how it was found.
        let found = self.found.get_or_insert(now);
        let mut raw = found.clone();
        raw.make_raw();
        // First this: in the background it stops us, before anything is written on what is another's screen then.
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Unbuffered.write_all(ENTER)?;
        self.write_mouse()
    }

    /// Does as much of it as can be done.
    fn leave(&mut self) -> io::Result<()> {
        let Some(found) = self.found.take() else { return Ok(()) };
        // In the background the shell has long since put back its own, and to set it would stop us.
        let is_reset = if is_in_foreground() {
            tcsetattr(stdin(), OptionalActions::Now, &found)
        } else {
            Ok(())
        };
        let is_written = match self.mouse {
            Mouse::Off => Unbuffered.write_all(LEAVE),
            Mouse::On => {
                let written = Unbuffered.write_all(&[MOUSE_OFF, LEAVE].concat());
                // Reports under way would come to the shell as text.
                let _gone = is_in_foreground().then(|| tcflush(stdin(), QueueSelector::IFlush));
                written
            }
        };
        is_reset?;
        is_written
    }

    fn set_mouse(&mut self, mouse: Mouse) -> io::Result<()> {
        if self.mouse == mouse {
            return Ok(());
        }
        self.mouse = mouse;
        if self.found.is_none() {
            return Ok(());
        }
        self.write_mouse()
    }

    fn write_mouse(&self) -> io::Result<()> {
        match self.mouse {
            Mouse::Off => Unbuffered.write_all(MOUSE_OFF),
            Mouse::On => Unbuffered.write_all(MOUSE_ON),
        }
    }
}

/// A panic elsewhere takes nothing from what is to be done.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

fn continued() -> SignalKind {
    SignalKind::from_raw(rustix::process::Signal::CONT.as_raw())
}

/// Whether a shell looks after this process: it puts each job into a group of its own. What has the whole session to
/// itself, as after `exec` or in a window of tmux, would never go on again.
fn has_shell() -> bool {
    getsid(None).is_ok_and(|session| session != getpgrp())
}

/// A terminal that is not the one of our session knows no foreground, and is all ours.
fn is_in_foreground() -> bool {
    tcgetpgrp(stdin()).map_or(true, |group| group == getpgrp())
}

fn wait_for_room() -> io::Result<()> {
    let output = stdout();
    match poll(&mut [PollFd::new(&output, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Each side of its own: what the terminal says, else the environment, else the usual.
fn chosen(reported: (u16, u16), environment: (Option<u16>, Option<u16>)) -> Size {
    let choose = |reported: u16, told: Option<u16>, usual: u16| {
        let known = [Some(reported), told].into_iter().flatten();
        let mut known = known.filter(|&size| size > 0);
        known.next().unwrap_or(usual)
    };
    Size {
        width: choose(reported.0, environment.0, SIZE.width).min(SIZE_MAX.width),
        height: choose(reported.1, environment.1, SIZE.height).min(SIZE_MAX.height),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_comes_from_the_terminal_else_from_the_environment() {
        let cases = [
            ((100, 30), (Some(80), Some(24)), (100, 30)),
            ((1, 1), (None, None), (1, 1)),
            ((0, 0), (Some(132), Some(50)), (132, 50)),
            ((0, 0), (Some(132), None), (132, 24)),
            ((0, 30), (Some(0), Some(50)), (80, 30)),
            ((0, 0), (None, None), (80, 24)),
            ((65_535, 65_535), (None, None), (1_000, 500)),
        ];
        for (reported, environment, (width, height)) in cases {
            assert_eq!(chosen(reported, environment), Size { width, height }, "{reported:?}");
        }
    }
}

//! The way of frames to the terminal. They are written on a thread of their own, so that a line that takes them slowly
//! keeps the console from the next frame and from nothing else.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::stdout;
use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::terminal::Unbuffered;

/// Takes what is to be written at once. Whoever cares asks whether it is out.
pub struct Outlet {
    to_write: Sender<Vec<u8>>,
    written: UnboundedReceiver<io::Result<()>>,
    /// Pieces that are not out yet.
    under_way: usize,
}

/// Between two looks at whether the thread has got rid of what nobody will see.
const LOOK: Duration = Duration::from_millis(5);

impl Outlet {
    pub fn open() -> io::Result<Outlet> {
        let (to_write, pieces) = channel::<Vec<u8>>();
        let (tell, written) = unbounded_channel();
        thread::Builder::new().name("outlet".to_owned()).spawn(move || {
            for piece in pieces {
                if tell.send(Unbuffered.write_all(&piece)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Outlet { to_write, written, under_way: 0 })
    }

    /// Whether all is out.
    pub fn is_free(&self) -> bool {
        self.under_way == 0
    }

    /// The next piece is out; never, while none is under way. Cancelled, it loses nothing.
    pub async fn written(&mut self) -> io::Result<()> {
        if self.is_free() {
            std::future::pending::<()>().await;
        }
        let written = self.written.recv().await.unwrap_or_else(|| Err(gone()));
        self.under_way -= 1;
        written
    }

    /// Waits until all is out.
    pub async fn settle(&mut self) -> io::Result<()> {
        while !self.is_free() {
            self.written().await?;
        }
        Ok(())
    }

    /// What the terminal has not taken yet is thrown away: nobody waits for frames when the console ends.
    pub async fn abandon(&mut self) {
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        let out = stdout();
        let mut fds = [PollFd::new(&out, PollFlags::OUT)];
        let is_full = poll(&mut fds, Some(&nothing)).is_ok_and(|ready| ready == 0);
        if self.is_free() && !is_full {
            return;
        }
        // Each flush makes room for more of it, of which whoever writes learns when the settings are set.
        let flush = || {
            tcflush(stdout(), QueueSelector::OFlush)?;
            tcsetattr(stdout(), OptionalActions::Now, &tcgetattr(stdout())?)
        };
        while !self.is_free() && flush().is_ok() {
            if let Ok(Err(_gone)) = tokio::time::timeout(LOOK, self.written()).await {
                return;
            }
        }
        let _gone = flush();
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to_write.send(bytes.to_vec()).map_err(|_| gone())?;
        self.under_way += 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::from(ErrorKind::BrokenPipe)
}

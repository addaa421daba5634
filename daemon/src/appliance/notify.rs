//! What systemd is told: that the daemon is ready, that it lives, what it does, which sockets to keep for it.
//!
//! Nothing waits for systemd for long: what it does not take in time is said another time, or not at all.

use std::ffi::OsStr;
use std::io;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};
use sd_notify::NotifyState;
use tokio::net::unix::pipe;

use crate::log::{field, message};

/// How long one message may take.
const SAY_MAX: Duration = Duration::from_secs(1);
/// Between two tries, when systemd has too much to read.
const AGAIN: Duration = Duration::from_millis(20);
/// How long systemd may take to do what was said before.
const DONE_MAX: Duration = Duration::from_secs(5);

/// How often a start that lasts says so.
pub const EXTEND_EVERY: Duration = Duration::from_secs(10);
/// For how long each time: several times as long, so that one that gets lost costs nothing.
const EXTEND_BY: Duration = Duration::from_secs(60);
/// A start that lasts even longer is one that hangs.
const START_MAX: Duration = Duration::from_secs(3_600);

/// The way to systemd. Silent where there is none.
#[derive(Clone)]
pub struct Manager {
    way: Option<Arc<Way>>,
}

struct Way {
    socket: UnixDatagram,
    to: SocketAddrUnix,
    /// That it cannot be told is said once.
    is_said: AtomicBool,
}

impl Manager {
    /// `socket` is what systemd calls `NOTIFY_SOCKET`.
    pub fn at(socket: Option<&OsStr>) -> Manager {
        let way = socket.and_then(|socket| match Way::to(socket) {
            Ok(way) => Some(Arc::new(way)),
            Err(error) => {
                not_told(&error);
                None
            }
        });
        Manager { way }
    }

    pub fn is_there(&self) -> bool {
        self.way.is_some()
    }

    pub async fn say(&self, states: &[NotifyState<'_>]) {
        self.hand(states, &[]).await;
    }

    /// Gives systemd a socket to keep over a restart, under a name.
    pub async fn keep(&self, name: &str, socket: BorrowedFd<'_>) {
        let name = format!("FDNAME={name}");
        let states = [NotifyState::Custom("FDSTORE=1"), NotifyState::Custom(&name)];
        self.hand(&states, &[socket]).await;
    }

    /// Has systemd close sockets that it keeps; returns when it has.
    pub async fn forget(&self, names: &[String]) {
        if self.way.is_none() {
            return;
        }
        for name in names {
            let name = format!("FDNAME={name}");
            self.say(&[NotifyState::Custom("FDSTOREREMOVE=1"), NotifyState::Custom(&name)]).await;
        }
        if let Err(error) = self.barrier().await {
            not_told(&error);
        }
    }

    /// Waits until systemd has done all that it was told: it closes what comes with this message when it is its turn.
    async fn barrier(&self) -> io::Result<()> {
        let (theirs, ours) = pipe::pipe()?;
        self.hand(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()]).await;
        drop(theirs);
        // Nobody writes: it becomes readable with its end.
        match tokio::time::timeout(DONE_MAX, ours.readable()).await {
            Ok(ended) => ended,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn hand(&self, states: &[NotifyState<'_>], sockets: &[BorrowedFd<'_>]) {
        let Some(way) = &self.way else { return };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        let told = tokio::time::timeout(SAY_MAX, async {
            loop {
                match way.send(&text, sockets) {
                    Err(Errno::AGAIN | Errno::INTR) => tokio::time::sleep(AGAIN).await,
                    done => return done,
                }
            }
        });
        let error = match told.await {
            Ok(Ok(())) => return way.is_said.store(false, Ordering::Relaxed),
            Ok(Err(errno)) => io::Error::from(errno),
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        if !way.is_said.swap(true, Ordering::Relaxed) {
            not_told(&error);
        }
    }

    /// Asks for more time for as long as the start lasts. Ends with the task that it runs in.
    pub async fn ask_for_time(&self) {
        if !self.is_there() {
            return;
        }
        let times = START_MAX.as_secs() / EXTEND_EVERY.as_secs();
        for _ in 0..times {
            tokio::time::sleep(EXTEND_EVERY).await;
            self.say(&[extend(EXTEND_BY)]).await;
        }
    }

    /// The stop begins, and may last for so long.
    pub async fn stopping(&self, at_most: Duration) {
        self.say(&[NotifyState::Stopping, NotifyState::Status("stopping"), extend(at_most)]).await;
    }
}

fn extend(by: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))
}

fn not_told(error: &io::Error) {
    tracing::warn!(
        { field::MESSAGE_ID } = message::SYSTEMD_NOT_TOLD.0,
        { field::ERROR } = %error,
        "systemd cannot be told how the daemon is"
    );
}

impl Way {
    fn to(socket: &OsStr) -> io::Result<Way> {
        // A name with an `@` stands for a socket that is no file.
        let to = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            path => SocketAddrUnix::new(path)?,
        };
        Ok(Way { socket: UnixDatagram::unbound()?, to, is_said: AtomicBool::new(false) })
    }

    /// One message, at once or not at all.
    fn send(&self, text: &str, sockets: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() {
            let fits = ancillary.push(SendAncillaryMessage::ScmRights(sockets));
            debug_assert!(fits, "one socket goes with a message");
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let text = [IoSlice::new(text.as_bytes())];
        sendmsg_addr(&self.socket, &self.to, &text, &mut ancillary, flags).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_no_file_is_told_as_well() {
        let name = format!("picloud-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("it is short");
        let systemd = UnixDatagram::bind_addr(&address).expect("nobody else has this name");
        let manager = Manager::at(Some(OsStr::new(&format!("@{name}"))));
        manager.say(&[NotifyState::Ready, NotifyState::Status("calm")]).await;
        let mut message = [0; 100];
        let length = systemd.recv(&mut message).expect("it was sent");
        assert_eq!(&message[..length], b"READY=1\nSTATUS=calm\n");
    }

    #[tokio::test]
    async fn a_systemd_that_reads_nothing_holds_up_nobody() {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).expect("the folder is new");
        let manager = Manager::at(Some(path.as_os_str()));
        let way = manager.way.as_ref().expect("there is a systemd");
        while !way.is_said.load(Ordering::Relaxed) {
            manager.say(&[NotifyState::Watchdog]).await;
        }
        systemd.recv(&mut [0; 100]).expect("it was sent before");
        manager.say(&[NotifyState::Watchdog]).await;
        assert!(!way.is_said.load(Ordering::Relaxed), "it goes on");
    }

    #[tokio::test]
    async fn without_systemd_nothing_is_said_and_nothing_is_waited_for() {
        let manager = Manager::at(None);
        manager.ask_for_time().await;
        manager.forget(&["listen-http".to_owned()]).await;
        manager.stopping(Duration::from_secs(1)).await;
        assert!(!manager.is_there());
    }
}

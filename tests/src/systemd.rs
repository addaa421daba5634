//! What systemd does for a service: it hands sockets over, reads what the service says, and keeps sockets for it.

use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

use crate::wait::PATIENCE;

/// The systemd of one service.
pub struct Systemd {
    folder: TempDir,
    said: Mutex<Receiver<String>>,
    kept: Kept,
    /// What it hands over at the next start beside what it keeps.
    pub sockets: Vec<(&'static str, OwnedFd)>,
    /// Within what time it wants signs of life.
    pub watchdog: Option<Duration>,
}

type Kept = Arc<Mutex<Vec<(String, OwnedFd)>>>;

/// Sockets that can be handed over: the shell, which gives them their numbers, takes them as its standard streams.
const SOCKETS_MAX: usize = 2;

/// Gives the process the number that systemd would have told it, and its sockets their places.
const HAND_OVER: &str = "export LISTEN_PID=$$ WATCHDOG_PID=$$; \
    [ $LISTEN_FDS -lt 1 ] || exec 3<&0 0</dev/null; [ $LISTEN_FDS -lt 2 ] || exec 4>&1 1>/dev/null; exec \"$@\"";

impl Systemd {
    pub fn new() -> Systemd {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("the folder is new");
        let (tell, said) = mpsc::channel();
        let kept = Kept::default();
        let keeps = Arc::clone(&kept);
        thread::spawn(move || listen(&socket, &tell, &keeps));
        Systemd { folder, said: Mutex::new(said), kept, sockets: Vec::new(), watchdog: None }
    }

    /// The words before a command that make it a service, and its environment.
    pub fn prepare(&self) -> Vec<String> {
        ["sh", "-c", HAND_OVER, "sh"].map(str::to_owned).to_vec()
    }

    /// Hands over. Standard output is the second socket, if there is one.
    pub fn apply(&self, command: &mut Command) {
        let handed = self.sockets.iter().map(|(name, socket)| ((*name).to_owned(), socket));
        let handed = handed.map(|(name, socket)| (name, socket.try_clone().expect("it is open")));
        let mut handed: Vec<(String, OwnedFd)> = handed.collect();
        for (name, socket) in self.kept.lock().expect("nobody panics").iter() {
            handed.push((name.clone(), socket.try_clone().expect("it is open")));
        }
        assert!(handed.len() <= SOCKETS_MAX, "{handed:?}");
        let names: Vec<&str> = handed.iter().map(|(name, _)| name.as_str()).collect();
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.env("LISTEN_FDS", handed.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        if let Some(watchdog) = self.watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        let mut handed = handed.into_iter().map(|(_, socket)| Stdio::from(socket));
        if let Some(first) = handed.next() {
            command.stdin(first);
        }
        if let Some(second) = handed.next() {
            command.stdout(second);
        }
    }

    /// The next message, within `limit`.
    pub fn hears_within(&self, limit: Duration) -> Option<String> {
        self.said.lock().expect("nobody panics").recv_timeout(limit).ok()
    }

    /// The messages up to the first one that has this in it, which is the last of them.
    #[track_caller]
    pub fn hears(&self, wanted: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let next = self.hears_within(PATIENCE);
            heard.push(next.unwrap_or_else(|| panic!("no {wanted:?} after {heard:?}")));
            if heard.last().is_some_and(|message| message.contains(wanted)) {
                return heard;
            }
        }
    }

    /// Names of the sockets that it keeps.
    pub fn keeps(&self) -> Vec<String> {
        self.kept.lock().expect("nobody panics").iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Default for Systemd {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads messages until nobody listens any more. What comes with one is closed, unless it is to be kept.
fn listen(socket: &UnixDatagram, tell: &Sender<String>, kept: &Kept) {
    loop {
        let mut bytes = [0; 4_096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let read = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        let Ok(read) = read else { return };
        let text = String::from_utf8_lossy(&bytes[..read.bytes]).into_owned();
        let came: Vec<OwnedFd> = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
                _ => None,
            })
            .flatten()
            .collect();
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or_default();
        let mut kept = kept.lock().expect("nobody panics");
        if text.contains("FDSTORE=1\n") {
            kept.extend(came.into_iter().map(|socket| (name.to_owned(), socket)));
        } else if text.contains("FDSTOREREMOVE=1\n") {
            kept.retain(|(known, _)| known != name);
        }
        drop(kept);
        if tell.send(text).is_err() {
            return;
        }
    }
}

/// A journal that keeps what it is sent, or stands still.
pub struct Journal {
    socket: UnixDatagram,
}

/// An entry: names and values, in the order in which they came.
pub type Entry = Vec<(String, String)>;

impl Journal {
    /// In the folder `journal` of what will be mounted at `/run/systemd`.
    pub fn in_folder(folder: &std::path::Path) -> Journal {
        std::fs::create_dir(folder.join("journal")).expect("the folder is ours");
        let socket = UnixDatagram::bind(folder.join("journal/socket")).expect("the folder is new");
        socket.set_read_timeout(Some(PATIENCE)).expect("it is no zero");
        Journal { socket }
    }

    /// The entries up to the first one that `is_wanted`, which is the last of them.
    #[track_caller]
    pub fn entries(&self, is_wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = vec![0; 256 << 10];
        loop {
            let length = self.socket.recv(&mut bytes);
            let length = length.unwrap_or_else(|error| {
                let _closed = std::io::stderr().write_all(format!("{entries:#?}\n").as_bytes());
                panic!("no such entry: {error}")
            });
            // Whether somebody is there is asked with an empty one.
            if length == 0 {
                continue;
            }
            entries.push(entry(&bytes[..length]));
            if entries.last().is_some_and(&is_wanted) {
                return entries;
            }
        }
    }
}

/// What a field of an entry is; all values, for fields that come twice.
pub fn values<'a>(entry: &'a Entry, name: &str) -> Vec<&'a str> {
    entry.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

/// `NAME=value` and a line feed, or the name, a line feed, eight bytes of length, the value and a line feed.
fn entry(mut bytes: &[u8]) -> Entry {
    let mut fields = Vec::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = &bytes[..end];
        bytes = &bytes[end + 1..];
        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            fields.push((text(&line[..equals]), text(&line[equals + 1..])));
            continue;
        }
        let (length, rest) = bytes.split_at(8);
        let length = u64::from_le_bytes(length.try_into().expect("it has eight bytes"));
        let length = usize::try_from(length).expect("it fits into a datagram");
        fields.push((text(line), text(&rest[..length])));
        bytes = &rest[length + 1..];
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_the_protocol_has_them() {
        let found = entry(b"A=b=c\nMESSAGE\n\x03\0\0\0\0\0\0\0d\ne\nP=6\n");
        let expected = [("A", "b=c"), ("MESSAGE", "d\ne"), ("P", "6")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}

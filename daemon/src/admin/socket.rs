//! The Unix socket: how it is made, and how many connections it takes.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use crate::admin::peer::Peer;
use crate::limits::AdminLimits;
use crate::log::field;

/// Bytes of a socket's path, as the kernel has it.
const PATH_BYTES_MAX: usize = 107;

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "admin socket {0}: in use by another daemon; stop it, or set another socket in [admin]"
    )]
    InUse(PathBuf),
    #[error(
        "admin socket {0}: something that is no socket stands there; remove it, or set another socket in [admin]"
    )]
    NotASocket(PathBuf),
    #[error(
        "admin socket {path}: the path has {bytes} bytes, at most {PATH_BYTES_MAX} are possible; set a shorter one in [admin]"
    )]
    TooLong { path: PathBuf, bytes: usize },
    #[error("admin socket {path}: cannot {doing}")]
    Failed { path: PathBuf, doing: &'static str, source: io::Error },
}

/// Makes the socket. One that a dead daemon left behind is replaced. Anybody may connect: each call is checked.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let bytes = path.as_os_str().len();
    if bytes > PATH_BYTES_MAX {
        return Err(BindError::TooLong { path: path.to_owned(), bytes });
    }
    let fail = |doing| move |source| BindError::Failed { path: path.to_owned(), doing, source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail("look at it")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {
            if answers(path) {
                return Err(BindError::InUse(path.to_owned()));
            }
            std::fs::remove_file(path).map_err(fail("replace the one that is left over"))?;
        }
    }
    let listener = UnixListener::bind(path).map_err(fail("make it"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
        .map_err(fail("set its permissions"))?;
    Ok(listener)
}

/// Whether somebody listens there. A full backlog means that somebody does.
fn answers(path: &Path) -> bool {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::ConnectionRefused,
    }
}

/// A listener that counts its connections, in all and of each uid, and closes what is beyond the limits.
pub struct AdminListener {
    listener: UnixListener,
    open: Arc<Mutex<HashMap<u32, usize>>>,
    connections_max: usize,
    connections_per_uid_max: usize,
}

impl AdminListener {
    pub fn new(listener: UnixListener, limits: &AdminLimits) -> AdminListener {
        AdminListener {
            listener,
            open: Arc::default(),
            connections_max: limits.connections_max,
            connections_per_uid_max: limits.connections_per_uid_max,
        }
    }

    /// The connection's place, if there is one for this uid.
    fn place(&self, uid: u32) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(&uid).copied().unwrap_or_default();
        if all >= self.connections_max || own >= self.connections_per_uid_max {
            return None;
        }
        open.insert(uid, own + 1);
        Some(Place { uid, open: Arc::clone(&self.open) })
    }
}

/// One connection's share of the limits; given back when the connection ends.
struct Place {
    uid: u32,
    open: Arc<Mutex<HashMap<u32, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

/// A connection that was let in.
pub struct Admitted {
    stream: UnixStream,
    place: Place,
}

impl Listener for AdminListener {
    type Io = Admitted;
    type Addr = ();

    async fn accept(&mut self) -> (Admitted, ()) {
        loop {
            let accepted = self.listener.accept().await;
            let peer = accepted.and_then(|(stream, _)| Ok((stream.peer_cred()?.uid(), stream)));
            match peer {
                Ok((uid, stream)) => match self.place(uid) {
                    Some(place) => return (Admitted { stream, place }, ()),
                    None => {
                        warn!({ field::UID } = uid, "too many admin connections; one was closed")
                    }
                },
                Err(error) => {
                    warn!({ field::ERROR } = %error, "an admin connection could not be accepted");
                    // Out of file descriptors, most likely: the next try would fail at once, and so on.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Connected<IncomingStream<'_, AdminListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, AdminListener>) -> Peer {
        Peer { uid: stream.io().place.uid }
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! The Unix socket: how it is made.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

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

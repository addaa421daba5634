//! The store, seen from outside: what it is, whether a daemon has it, whether it is whole.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use picloud_api::health::Check;

use crate::config::Config;
use crate::doctor::{AS_ROOT, State, check};
use crate::store::look;
use crate::store::migrate::{Found, SCHEMA_VERSION};
use crate::store::open::{StoreError, beside, folder_of};

/// How long looking through the file may take: an hour is some gigabytes on a slow card.
const LOOK_MAX: Duration = Duration::from_secs(3_600);

/// Whether a daemon has the store. Taking its lock, if only for a moment, could keep one from starting, so the kernel is asked who
/// has it. `None`: it does not say.
pub(super) fn is_held(store: &Path, proc: &Path) -> Option<bool> {
    let locks = fs::read_to_string(proc.join("locks")).ok()?;
    match fs::metadata(beside(store, ".lock")) {
        Ok(found) => Some(holds(&locks, found.dev(), found.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

/// Lines such as `1: FLOCK  ADVISORY  WRITE 2424 b3:02:131090 0 EOF`.
fn holds(locks: &str, device: u64, inode: u64) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let own = format!("{major:02x}:{minor:02x}:{inode}");
    // A file system without a device of its own has another number there.
    let end = (major == 0).then(|| format!(":{inode}"));
    locks.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let is_lock = fields.nth(1) == Some("FLOCK");
        let file = fields.nth(3).unwrap_or_default();
        is_lock && (file == own || end.as_ref().is_some_and(|end| file.ends_with(end)))
    })
}

/// What the file is; `None`: that cannot be read.
pub(super) async fn schema(config: &Config) -> (Option<Found>, Check) {
    let path = &config.store.path;
    let shown = path.display();
    if !folder_of(path).is_dir() {
        let text = StoreError::NoFolder(folder_of(path).to_owned()).to_string();
        return (None, of_error("schema", &text));
    }
    let found = match look::schema(path).await {
        Ok(found) => found,
        Err(error) if may_not_read(path) => {
            let text = format!("{shown} cannot be read by you: {error}");
            return (None, check("schema", State::Warn, text, Some(AS_ROOT)));
        }
        Err(error) => return (None, of_error("schema", &error.to_string())),
    };
    let said = match found {
        Found::Empty => {
            check("schema", State::Ok, format!("{shown} is made by the first start"), None)
        }
        Found::Foreign => of_error("schema", &StoreError::Foreign(path.clone()).to_string()),
        Found::Schema { version, oldest_daemon } if oldest_daemon > SCHEMA_VERSION => {
            let folder = config.backup_folder();
            let backup = look::newest_before_upgrade(&folder).await;
            let newer = StoreError::Newer { path: path.clone(), version, backup, folder };
            of_error("schema", &newer.to_string())
        }
        Found::Schema { version, .. } if version < SCHEMA_VERSION => {
            let text = format!(
                "{version}: the next start brings it to {SCHEMA_VERSION}, after a backup of it"
            );
            check("schema", State::Ok, text, None)
        }
        Found::Schema { version, .. } => {
            check("schema", State::Ok, format!("{version}, which this picloud knows"), None)
        }
    };
    (Some(found), said)
}

fn may_not_read(path: &Path) -> bool {
    fs::File::open(path).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Errors of the store say what failed and, behind the last colon, what to do.
fn of_error(name: &str, text: &str) -> Check {
    match text.rsplit_once(": ").filter(|(_, remedy)| !remedy.ends_with("failed")) {
        Some((what, remedy)) => check(name, State::Bad, what, Some(remedy)),
        None => check(name, State::Bad, text, Some("journalctl -u picloud -e may say more")),
    }
}

/// Whether the file is whole. Only for a store that no daemon has.
pub(super) async fn file(path: &Path) -> Check {
    match tokio::time::timeout(LOOK_MAX, look::quick_check(path)).await {
        Ok(Ok(())) => check("file", State::Ok, "the store's file is whole", None),
        Ok(Err(_)) if may_not_read(path) => {
            check("file", State::Warn, "cannot be read by you", Some(AS_ROOT))
        }
        Ok(Err(error)) => of_error("file", &error.to_string()),
        Err(_) => {
            let text = format!("could not be looked through within {} s", LOOK_MAX.as_secs());
            check("file", State::Warn, text, Some("repeat it when the card has less to do"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_who_has_a_lock() {
        let locks = "1: FLOCK  ADVISORY  WRITE 2424 b3:02:131090 0 EOF\n\
            1: -> FLOCK  ADVISORY  WRITE 2425 b3:02:7 0 EOF\n\
            2: POSIX  ADVISORY  WRITE 99 b3:02:131091 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE 99 00:2f:55 0 EOF\n";
        let card = rustix::fs::makedev(179, 2);
        assert!(holds(locks, card, 131_090));
        assert!(!holds(locks, card, 131_091), "of another kind");
        assert!(!holds(locks, card, 31_090));
        assert!(!holds(locks, card, 55), "on another disk");
        assert!(holds(locks, rustix::fs::makedev(0, 40), 55));
    }

    #[test]
    fn a_store_that_is_open_is_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, proc) = (folder.path().join("store.db"), Path::new("/proc"));
        assert_eq!(is_held(&store, proc), Some(false));
        let lock = crate::store::open::lock(&store).expect("nobody has it");
        assert_eq!(is_held(&store, proc), Some(true));
        drop(lock);
        assert_eq!(is_held(&store, proc), Some(false));
        assert_eq!(is_held(&store, folder.path()), None);
    }
}

//! Who owns and may write what the daemon keeps and reads.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use picloud_api::health::Check;

use crate::config::Config;
use crate::doctor::{AS_ROOT, State, check};
use crate::store::open::{beside, folder_of};

/// `error`: why the file does not hold.
pub(super) fn configuration(file: &Path, error: Option<&str>) -> Check {
    let shown = file.display();
    if let Some(error) = error {
        let remedy = format!("correct it, then: picloudd check-config --config {shown}");
        return check("config", State::Bad, error, Some(&remedy));
    }
    match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = format!("there is no {shown}: all keys have their defaults");
            check("config", State::Ok, text, None)
        }
        Err(error) => {
            let text = format!("{shown} cannot be looked at: {error}");
            check("config", State::Warn, text, Some(AS_ROOT))
        }
        Ok(found) if found.permissions().mode() & 0o002 != 0 => {
            let text = format!("{shown} can be written by everybody");
            check("config", State::Bad, text, Some(&format!("sudo chmod o-w {shown}")))
        }
        Ok(_) => check("config", State::Ok, format!("{shown} holds"), None),
    }
}

/// Folder and key, and whether all belong to one user. Nothing is there before the first start.
pub(super) fn of_store(config: &Config) -> Vec<Check> {
    let store = &config.store.path;
    let folder_of_store = folder_of(store);
    let Ok(own) = fs::metadata(folder_of_store) else {
        // What the schema's check tells.
        return Vec::new();
    };
    let key_file = config.key_file();
    let mut checks = vec![folder(store, None), key(&key_file, None)];
    let ends = ["", "-wal", "-shm", ".lock"];
    let mut files: Vec<_> = ends.iter().map(|end| beside(store, end)).collect();
    files.extend([key_file, config.backup_folder()]);
    let strange = |file: &&std::path::PathBuf| {
        let found = fs::metadata(file);
        // Who has more than its owner's rights needs no file of its own.
        own.uid() != 0 && found.is_ok_and(|found| found.uid() != own.uid())
    };
    checks.push(match files.iter().find(strange) {
        Some(file) => {
            let (file, place) = (file.display(), folder_of_store.display());
            let text = format!("{file} belongs to another user than {place}");
            let remedy = format!("sudo chown --reference={place} {file}");
            check("owner", State::Bad, text, Some(&remedy))
        }
        None => check("owner", State::Ok, "all files of the store belong to one user", None),
    });
    checks
}

/// The folder of the store holds everything that scripts keep. `own`: the daemon's user, for the daemon itself.
pub(super) fn folder(store: &Path, own: Option<u32>) -> Check {
    let folder = folder_of(store);
    let shown = folder.display();
    match fs::metadata(folder) {
        Err(error) => {
            let text = format!("{shown} cannot be looked at: {error}");
            check("folder", State::Bad, text, Some("give it to the daemon's user"))
        }
        Ok(found) if found.permissions().mode() & 0o002 != 0 => {
            let text = format!("{shown} can be written by everybody");
            check("folder", State::Bad, text, Some(&format!("sudo chmod o-w {shown}")))
        }
        Ok(found) => match is_of_another(&found, own) {
            Some(own) => {
                let owner = found.uid();
                let text = format!("{shown} belongs to uid {owner}, the daemon is uid {own}");
                check("folder", State::Warn, text, Some(&format!("sudo chown {own} {shown}")))
            }
            None => {
                check("folder", State::Ok, format!("{shown} cannot be written by others"), None)
            }
        },
    }
}

pub(super) fn key(file: &Path, own: Option<u32>) -> Check {
    let shown = file.display();
    match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check("key", State::Ok, "no secret has been set on this machine", None)
        }
        Err(error) if own.is_none() && error.kind() == io::ErrorKind::PermissionDenied => {
            check("key", State::Warn, format!("{shown}: {error}"), Some(AS_ROOT))
        }
        Err(error) => {
            let text = format!("{shown} cannot be looked at: {error}");
            check("key", State::Bad, text, Some("give it to the daemon's user"))
        }
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            let text = format!("{shown} can be read by others: secrets are sealed with it");
            check("key", State::Bad, text, Some(&format!("sudo chmod 600 {shown}")))
        }
        Ok(found) => match is_of_another(&found, own) {
            Some(own) => {
                let owner = found.uid();
                let text = format!("{shown} belongs to uid {owner}, the daemon is uid {own}");
                check("key", State::Bad, text, Some(&format!("sudo chown {own} {shown}")))
            }
            None => {
                check("key", State::Ok, format!("{shown} is readable by its owner alone"), None)
            }
        },
    }
}

/// The daemon's user, if the file is another's and that one is not root.
fn is_of_another(found: &Metadata, own: Option<u32>) -> Option<u32> {
    own.filter(|own| *own != 0 && found.uid() != *own)
}

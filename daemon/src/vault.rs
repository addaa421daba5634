//! The key that secrets are sealed with. It lies in a file of its own, so that the database and its backups alone are
//! worth nothing to who finds them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::catalog::App;
use crate::ids::AppId;

const KEY_BYTES: usize = 32;

/// Seals and opens. The key is read when it is needed first, and made when the first secret is set.
pub struct Vault {
    path: PathBuf,
    key: Mutex<Option<Arc<LessSafeKey>>>,
}

/// Why a secret cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("the key file {} is gone", .0.display())]
    NoKey(PathBuf),
    #[error("the key file {} is not the one that the secret was sealed with", .0.display())]
    OtherKey(PathBuf),
    #[error("{} is no key file: it has to have {KEY_BYTES} bytes", .0.display())]
    NotAKey(PathBuf),
    #[error("the key file {} cannot be used", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Vault {
    /// Touches nothing yet.
    pub fn at(path: PathBuf) -> Vault {
        Vault { path, key: Mutex::default() }
    }

    /// Seals a value so that it can be opened only under the same app and name. Makes the key file if there is none.
    pub fn seal(&self, app: AppId, name: &str, value: &str) -> Result<Vec<u8>, VaultError> {
        let key = match self.key() {
            Err(VaultError::NoKey(_)) => {
                self.make_key()?;
                self.key()
            }
            found => found,
        }?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the system has a random source");
        let mut sealed = value.as_bytes().to_vec();
        let bound = Aad::from(bound_to(app, name));
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed)
            .expect("a secret is far shorter than what the cipher takes");
        Ok([&nonce[..], &sealed].concat())
    }

    pub fn open(&self, app: AppId, name: &str, sealed: &[u8]) -> Result<Arc<str>, VaultError> {
        let key = self.key()?;
        let other_key = || VaultError::OtherKey(self.path.clone());
        let (nonce, sealed) = sealed.split_first_chunk().ok_or_else(other_key)?;
        let mut opened = sealed.to_vec();
        let bound = Aad::from(bound_to(app, name));
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.open_in_place(nonce, bound, &mut opened).map_err(|_| other_key())?;
        std::str::from_utf8(opened).map(Arc::from).map_err(|_| other_key())
    }

    /// The value of an app's secret as the store has it, or what its owner has to do.
    pub fn secret_of(
        &self,
        app: &App,
        name: &str,
        sealed: Option<&[u8]>,
    ) -> Result<Arc<str>, String> {
        let set_it = format!("picloud secrets set {}/{name} -", app.slug);
        let Some(sealed) = sealed else {
            return Err(format!("there is no secret \"{name}\" in this app; set it: {set_it}"));
        };
        self.open(app.id, name, sealed).map_err(|error| {
            let why = told(&error);
            format!("the value of secret \"{name}\" is lost ({why}); set it again: {set_it}")
        })
    }

    fn key(&self) -> Result<Arc<LessSafeKey>, VaultError> {
        let mut known = self.key.lock().expect("no panic while held");
        if let Some(key) = &*known {
            return Ok(Arc::clone(key));
        }
        let mut bytes = Vec::new();
        // One byte more than a key has, so that a larger file is noticed.
        let read = File::open(&self.path)
            .and_then(|file| file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(VaultError::NoKey(self.path.clone()));
            }
            Err(source) => return Err(self.failed(source)),
            Ok(KEY_BYTES) => {}
            Ok(_) => return Err(VaultError::NotAKey(self.path.clone())),
        }
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &bytes);
        let key = Arc::new(LessSafeKey::new(unbound.expect("the length was checked")));
        *known = Some(Arc::clone(&key));
        Ok(key)
    }

    /// Writes a new key beside its place and then puts it there, unless somebody else was faster.
    fn make_key(&self) -> Result<(), VaultError> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).expect("the system has a random source");
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let new = PathBuf::from(name);
        let placed = self.write_new(&new, &bytes).and_then(|()| fs::hard_link(&new, &self.path));
        let _left_over = fs::remove_file(&new);
        match placed {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            placed => placed.and_then(|()| sync_folder_of(&self.path)).map_err(|e| self.failed(e)),
        }
    }

    fn write_new(&self, new: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let _of_a_dead_daemon = fs::remove_file(new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn failed(&self, source: io::Error) -> VaultError {
        VaultError::Io { path: self.path.clone(), source }
    }
}

/// What a sealed value belongs to. A name has no zero in it.
fn bound_to(app: AppId, name: &str) -> String {
    format!("picloud secret\0{app}\0{name}")
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// The error and what it came from.
pub fn told(error: &VaultError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    const APP: AppId = AppId(3);

    fn vault() -> (TempDir, PathBuf, Vault) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("keys/secrets.key");
        (folder, path.clone(), Vault::at(path))
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_next_start_and_nowhere_else() {
        let (_folder, path, vault) = vault();
        let sealed = vault.seal(APP, "API_KEY", "hunter2").expect("it is sealed");
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        let next = Vault::at(path.clone());
        assert_eq!(&*next.open(APP, "API_KEY", &sealed).expect("it is opened"), "hunter2");
        for (app, name) in [(AppId(4), "API_KEY"), (APP, "API_KEY2")] {
            assert!(matches!(next.open(app, name, &sealed), Err(VaultError::OtherKey(_))));
        }
        let mut changed = sealed.clone();
        *changed.last_mut().expect("it is not empty") ^= 1;
        assert!(vault.open(APP, "API_KEY", &changed).is_err());
        assert!(vault.open(APP, "API_KEY", &sealed[..5]).is_err());
        let mode = fs::metadata(&path).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(sealed, vault.seal(APP, "API_KEY", "hunter2").expect("it is sealed"));
    }

    #[test]
    fn a_key_that_is_gone_or_another_is_said_so_and_new_secrets_get_a_new_one() {
        let (_folder, path, vault) = vault();
        let sealed = vault.seal(APP, "OLD", "hunter2").expect("it is sealed");
        fs::remove_file(&path).expect("it was made");
        let vault = Vault::at(path.clone());
        assert!(matches!(vault.open(APP, "OLD", &sealed), Err(VaultError::NoKey(_))));
        let new = vault.seal(APP, "NEW", "hunter3").expect("it is sealed with a new key");
        assert_eq!(&*vault.open(APP, "NEW", &new).expect("it is opened"), "hunter3");
        assert!(matches!(vault.open(APP, "OLD", &sealed), Err(VaultError::OtherKey(_))));
    }

    #[test]
    fn what_is_no_key_is_left_as_it_is() {
        let (_folder, path, vault) = vault();
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("it can be made");
        for wrong in [&b""[..], b"short", &[7; 33]] {
            fs::write(&path, wrong).expect("it can be written");
            assert!(matches!(vault.seal(APP, "A", "hunter2"), Err(VaultError::NotAKey(_))));
            assert_eq!(fs::read(&path).expect("it is there"), wrong);
        }
    }
}

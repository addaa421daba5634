//! The user's own editor: a text goes out to it in a file, and comes back changed or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use tempfile::TempDir;
use tokio::process::Command;

/// Bytes of a text that comes back.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// What the environment says about editors.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// `$VISUAL`
    pub visual: Option<OsString>,
    /// `$EDITOR`
    pub editor: Option<OsString>,
    /// `$PATH`
    pub path: Option<OsString>,
    /// `$XDG_RUNTIME_DIR`
    pub runtime_folder: Option<OsString>,
    pub temporary_folder: PathBuf,
}

/// The editor, and where the files for it are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editor {
    /// As a shell reads it: `code --wait`.
    pub command: OsString,
    pub folder: PathBuf,
}

/// Why a text did not come back. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("no file can be written for the editor in {}", folder.display())]
    Write { folder: PathBuf, source: io::Error },
    #[error("the editor `{command}` cannot be started")]
    Start { command: String, source: io::Error },
    #[error("there is no editor `{command}`: set $VISUAL to one that is installed")]
    Missing { command: String },
    #[error("the editor `{command}` failed ({status}): nothing is changed")]
    Failed { command: String, status: ExitStatus },
    #[error("what the editor left cannot be read")]
    Read { source: io::Error },
    #[error("the text has more than 1 MiB now: nothing is changed")]
    TooLong,
    #[error("the text is no UTF-8 from byte {at} on: nothing is changed")]
    NotText { at: usize },
}

/// Editors that most systems have, the one for everybody first.
const USUAL: [&str; 2] = ["nano", "vi"];
/// What a shell exits with when it does not find a command.
const NOT_FOUND: i32 = 127;

impl Editor {
    /// The editor that the user wishes for, else one that is there; `None` when none is.
    pub fn choose(wishes: &Wishes) -> Option<Editor> {
        let wished = [&wishes.visual, &wishes.editor].into_iter().flatten();
        let mut wished = wished.filter(|command| !command.to_string_lossy().trim().is_empty());
        let command = match wished.next() {
            Some(command) => command.clone(),
            None => USUAL.into_iter().find(|name| is_on(wishes.path.as_deref(), name))?.into(),
        };
        let runtime = wishes.runtime_folder.as_ref().map(PathBuf::from);
        // A text may hold secrets: that folder is the user's own, in memory, and gone when they log out.
        let runtime = runtime.filter(|folder| folder.is_absolute() && folder.is_dir());
        Some(Editor { command, folder: runtime.unwrap_or(wishes.temporary_folder.clone()) })
    }

    /// Lets the user edit a text, on the terminal of this process, and returns it; `None` when it is as before. The file
    /// is named after the extension (`json`), so that the editor knows the language.
    ///
    /// Cancelled, it kills the editor. Whoever waits has to act on [`Signal::Suspend`](crate::terminal::Signal)
    /// meanwhile: an editor that stops stops alone otherwise, and no shell sees it.
    pub async fn edit(&self, text: &str, extension: &str) -> Result<Option<String>, EditError> {
        // Editors leave backups beside a file, and replace it: in a folder that nobody else enters and that goes with
        // all that is in it, none of that matters.
        let (_folder, path) = self
            .write(text, extension)
            .map_err(|source| EditError::Write { folder: self.folder.clone(), source })?;
        let command = self.command.to_string_lossy().into_owned();
        let mut script = self.command.clone();
        script.push(" \"$@\"");
        let status = Command::new("/bin/sh")
            .arg("-c")
            .args([script.as_os_str(), OsStr::new("sh"), path.as_os_str()])
            .kill_on_drop(true)
            .status()
            .await
            .map_err(|source| EditError::Start { command: command.clone(), source })?;
        match status.code() {
            Some(0) => {}
            Some(NOT_FOUND) => return Err(EditError::Missing { command }),
            Some(_) | None => return Err(EditError::Failed { command, status }),
        }
        let mut edited = read(&path)?;
        // Most editors end the last line, which is no change of the user's.
        if !text.ends_with('\n') && edited.ends_with('\n') {
            edited.pop();
        }
        Ok((edited != text).then_some(edited))
    }

    fn write(&self, text: &str, extension: &str) -> io::Result<(TempDir, PathBuf)> {
        let folder = tempfile::Builder::new()
            .prefix("picloud-")
            .rand_bytes(16)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&self.folder)?;
        let path = folder.path().join(format!("edit.{extension}"));
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        Ok((folder, path))
    }
}

fn read(path: &Path) -> Result<String, EditError> {
    let mut bytes = Vec::new();
    let most = u64::try_from(TEXT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|source| EditError::Read { source })?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(EditError::TooLong);
    }
    String::from_utf8(bytes)
        .map_err(|error| EditError::NotText { at: error.utf8_error().valid_up_to() })
}

fn is_on(path: Option<&OsStr>, name: &str) -> bool {
    let is_program = |folder: PathBuf| {
        fs::metadata(folder.join(name))
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    path.is_some_and(|path| std::env::split_paths(path).any(is_program))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An editor that is a line of shell: it finds the file in `$1`.
    fn editor(folder: &TempDir, script: &str) -> Editor {
        let path = folder.path().join("my editor");
        fs::write(&path, format!("{script}\n")).expect("there is room");
        let files = folder.path().join("files");
        fs::create_dir(&files).expect("there is room");
        Editor { command: format!("sh '{}' --wait", path.display()).into(), folder: files }
    }

    async fn edited(script: &str, text: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().expect("there is room");
        // The first argument is the one that the user wrote.
        let editor = editor(&folder, &format!("test \"$1\" = --wait || exit 3; shift\n{script}"));
        let edited = editor.edit(text, "json").await;
        let left = fs::read_dir(&editor.folder).expect("it is there").count();
        assert_eq!(left, 0, "{script}: files are left");
        edited.map_err(|error| error.to_string().replace(&*folder.path().to_string_lossy(), ""))
    }

    #[tokio::test]
    async fn a_changed_text_comes_back_and_an_unchanged_one_does_not() {
        let cases: [(&str, &str, Option<&str>); 7] = [
            ("true", "{}", None),
            ("cat \"$1\" >\"$1.new\"; mv \"$1.new\" \"$1\"", "{}\n", None),
            ("echo >>\"$1\"", "{}", None),
            ("echo >>\"$1\"", "{}\n", Some("{}\n\n")),
            ("echo '{\"a\":1}' >\"$1\"; cp \"$1\" \"$1~\"", "{}", Some("{\"a\":1}")),
            ("echo '{\"a\":1}' >\"$1\"", "{}\n", Some("{\"a\":1}\n")),
            ("printf '' >\"$1\"", "{}", Some("")),
        ];
        for (script, text, expected) in cases {
            assert_eq!(edited(script, text).await, Ok(expected.map(str::to_owned)), "{script}");
        }
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said_and_changes_nothing() {
        let cases = [
            (
                "echo x >\"$1\"; exit 1",
                "the editor `sh '/my editor' --wait` failed (exit status: 1): nothing is changed",
            ),
            ("rm \"$1\"", "what the editor left cannot be read"),
            (
                "head -c 1048577 /dev/zero >\"$1\"",
                "the text has more than 1 MiB now: nothing is changed",
            ),
            ("printf 'ab\\377' >\"$1\"", "the text is no UTF-8 from byte 2 on: nothing is changed"),
        ];
        for (script, expected) in cases {
            assert_eq!(edited(script, "{}").await, Err(expected.to_owned()), "{script}");
        }
        let folder = tempfile::tempdir().expect("there is room");
        let missing =
            Editor { command: "no-such-editor -x".into(), folder: folder.path().to_owned() };
        assert_eq!(
            missing.edit("", "json").await.expect_err("it is not there").to_string(),
            "there is no editor `no-such-editor -x`: set $VISUAL to one that is installed"
        );
    }

    #[tokio::test]
    async fn nobody_else_reads_the_file_and_its_name_says_the_language() {
        let script =
            "stat -c '%a %n' \"$1\" \"$(dirname \"$1\")\" >\"$1.new\"; mv \"$1.new\" \"$1\"";
        let said = edited(script, "{}").await.expect("it works").expect("it is changed");
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("600 ") && lines[0].ends_with("/edit.json"), "{said}");
        assert!(lines[1].starts_with("700 ") && lines[1].contains("/picloud-"), "{said}");
        let again = edited(script, "{}").await.expect("it works").expect("it is changed");
        assert_ne!(said, again);
    }

    #[test]
    fn the_users_wish_goes_before_what_is_there() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = Some(folder.path().as_os_str().to_owned());
        let temporary_folder = PathBuf::from("/tmp");
        let choose = |visual: Option<&str>, editor: Option<&str>| {
            let wishes = Wishes {
                visual: visual.map(OsString::from),
                editor: editor.map(OsString::from),
                path: path.clone(),
                runtime_folder: None,
                temporary_folder: temporary_folder.clone(),
            };
            Editor::choose(&wishes).map(|editor| editor.command)
        };
        assert_eq!(choose(Some("code --wait"), Some("ed")), Some("code --wait".into()));
        assert_eq!(choose(Some(" "), Some("ed")), Some("ed".into()));
        assert_eq!(choose(None, None), None);
        for name in ["vi", "nano"] {
            let program = folder.path().join(name);
            fs::write(&program, "").expect("there is room");
            assert_ne!(choose(None, Some("")), Some(name.into()));
            fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("it is ours");
            assert_eq!(choose(None, Some("")), Some(name.into()));
        }
    }

    #[test]
    fn files_are_in_the_users_own_folder_when_there_is_one() {
        let folder = tempfile::tempdir().expect("there is room");
        let place = |runtime: Option<&OsStr>| {
            let wishes = Wishes {
                visual: Some("ed".into()),
                runtime_folder: runtime.map(OsStr::to_owned),
                temporary_folder: "/tmp".into(),
                ..Wishes::default()
            };
            Editor::choose(&wishes).expect("one is wished for").folder
        };
        assert_eq!(place(Some(folder.path().as_os_str())), folder.path());
        for elsewhere in [None, Some(""), Some("relative"), Some("/nowhere/at/all")] {
            assert_eq!(place(elsewhere.map(OsStr::new)), PathBuf::from("/tmp"));
        }
    }
}

//! An app's folder: read without ever leaving it, written without ever replacing anything.
//!
//! A manifest may come from somebody else. Its paths stay below the folder, pass through no link, and end at regular
//! files; nothing is opened that could block.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use picloud_api::manifest::{
    BUNDLE_BYTES_MAX, Bundle, FILE_NAME, MANIFEST_BYTES_MAX, Manifest, SCRIPT_BYTES_MAX,
};
use picloud_api::text;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{path} is not there")]
    NotFound { path: PathBuf },
    #[error("{path}: {reason}")]
    Refused { path: PathBuf, reason: String },
    #[error("{path}, line {line}, column {column}: {message}\n{excerpt}")]
    Manifest { path: PathBuf, line: usize, column: usize, message: String, excerpt: String },
    #[error("{path} is not empty")]
    NotEmpty { path: PathBuf },
    #[error("{path} cannot be {doing}")]
    Failed { path: PathBuf, doing: &'static str, source: io::Error },
}

impl FolderError {
    pub fn text(&self) -> String {
        match self {
            Self::Failed { source, .. } => format!("{self}: {source}"),
            Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::Manifest { .. }
            | Self::NotEmpty { .. } => self.to_string(),
        }
    }

    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { .. } => {
                Some("an app's folder has a picloud.toml and the scripts that it names")
            }
            Self::NotEmpty { .. } => Some("name a folder that is empty or not there yet"),
            Self::Refused { .. } | Self::Manifest { .. } | Self::Failed { .. } => None,
        }
    }
}

/// Reads `dir/picloud.toml` and the scripts that it names.
pub fn read(dir: &Path) -> Result<Bundle, FolderError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(dir, flags, Mode::empty()).map_err(|error| failed(dir, error))?;
    let path = dir.join(FILE_NAME);
    let text = read_text(&folder, dir, FILE_NAME, MANIFEST_BYTES_MAX)?;
    let manifest = parse(&path, &text)?;
    let mut bundle = Bundle { manifest, ..Bundle::default() };
    let mut bytes = 0;
    for script in &bundle.manifest.scripts {
        if bundle.sources.contains_key(&script.file) {
            continue;
        }
        let source = read_text(&folder, dir, &script.file, SCRIPT_BYTES_MAX)?;
        bytes += source.len();
        if bytes > BUNDLE_BYTES_MAX {
            let reason = format!("its scripts have more than {BUNDLE_BYTES_MAX} bytes");
            return Err(FolderError::Refused { path: dir.to_owned(), reason });
        }
        bundle.sources.insert(script.file.clone(), source);
    }
    Ok(bundle)
}

/// Reads a manifest; an error has its place.
fn parse(path: &Path, text: &str) -> Result<Manifest, FolderError> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let place = text::place(text, error.span().map_or(0, |span| span.start));
        FolderError::Manifest {
            path: path.to_owned(),
            line: place.line,
            column: place.column,
            message: text::explain(error.message()),
            excerpt: text::excerpt(place.line, place.column, place.source_line),
        }
    })
}

fn failed(path: &Path, error: rustix::io::Errno) -> FolderError {
    if error == rustix::io::Errno::NOENT {
        return FolderError::NotFound { path: path.to_owned() };
    }
    FolderError::Failed { path: path.to_owned(), doing: "opened", source: error.into() }
}

/// The plain names of a path below the folder.
fn names<'a>(dir: &Path, file: &'a str) -> Result<Vec<&'a str>, FolderError> {
    let refuse = |reason: &str| FolderError::Refused {
        path: dir.join(FILE_NAME),
        reason: format!("file \"{file}\" {reason}"),
    };
    let mut names = Vec::new();
    for component in Path::new(file).components() {
        match component {
            Component::Normal(name) => {
                names.push(name.to_str().expect("it is part of a text"));
            }
            Component::CurDir => {}
            Component::ParentDir => return Err(refuse("leaves the folder with \"..\"")),
            Component::RootDir | Component::Prefix(_) => {
                return Err(refuse("is an absolute path; write it relative to the folder"));
            }
        }
    }
    if names.is_empty() || file.contains('\0') {
        return Err(refuse("names no file"));
    }
    Ok(names)
}

/// Reads a text file below the folder, step by step, so that no link is ever followed.
fn read_text(
    folder: &OwnedFd,
    dir: &Path,
    file: &str,
    bytes_max: usize,
) -> Result<String, FolderError> {
    let names = names(dir, file)?;
    let (last, folders) = names.split_last().expect("there is at least one name");
    let mut path = dir.to_owned();
    let mut at = folder.try_clone().map_err(|source| FolderError::Failed {
        path: dir.to_owned(),
        doing: "opened",
        source,
    })?;
    for name in folders {
        path.push(name);
        expect(&at, name, &path, FileType::Directory)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = rustix::fs::openat(&at, *name, flags, Mode::empty())
            .map_err(|error| failed(&path, error))?;
    }
    path.push(last);
    expect(&at, last, &path, FileType::RegularFile)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&at, *last, flags, Mode::empty())
        .map_err(|error| failed(&path, error))?;
    let refuse = |reason: String| FolderError::Refused { path: path.clone(), reason };
    // It may have been exchanged since it was looked at.
    let found = rustix::fs::fstat(&opened).map_err(|error| failed(&path, error))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(refuse("is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    File::from(opened)
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|source| FolderError::Failed { path: path.clone(), doing: "read", source })?;
    if bytes.len() > bytes_max {
        return Err(refuse(format!("has more than {bytes_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        refuse(format!("is not UTF-8 text (byte {})", error.utf8_error().valid_up_to()))
    })
}

fn expect(at: &OwnedFd, name: &str, path: &Path, wanted: FileType) -> Result<(), FolderError> {
    let found = rustix::fs::statat(at.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| failed(path, error))?;
    let found = FileType::from_raw_mode(found.st_mode);
    if found == wanted {
        return Ok(());
    }
    let reason = match found {
        FileType::Symlink => "is a link; links are not followed",
        FileType::Fifo => "is a pipe, no regular file",
        FileType::Socket => "is a socket, no regular file",
        FileType::CharacterDevice | FileType::BlockDevice => "is a device, no regular file",
        FileType::Directory => "is a folder, no regular file",
        FileType::RegularFile => "is a file, no folder",
        FileType::Unknown => "is no regular file",
    };
    Err(FolderError::Refused { path: path.to_owned(), reason: reason.to_owned() })
}

/// Writes files into a folder that is empty or not there yet; gives back how many.
pub fn write(dir: &Path, files: &[(&str, &str)]) -> Result<usize, FolderError> {
    let fail = |path: &Path, doing: &'static str| {
        let path = path.to_owned();
        move |source| FolderError::Failed { path, doing, source }
    };
    for (file, _) in files {
        names(dir, file)?;
    }
    std::fs::create_dir_all(dir).map_err(fail(dir, "made"))?;
    if std::fs::read_dir(dir).map_err(fail(dir, "read"))?.next().is_some() {
        return Err(FolderError::NotEmpty { path: dir.to_owned() });
    }
    for (file, content) in files {
        let path = dir.join(file);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fail(parent, "made"))?;
        }
        let mut made = File::create_new(&path).map_err(fail(&path, "written"))?;
        made.write_all(content.as_bytes()).map_err(fail(&path, "written"))?;
    }
    Ok(files.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(file: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let manifest = format!("[app]\nslug = \"a\"\n[[scripts]]\nname = \"s\"\nfile = {file:?}\n");
        std::fs::write(dir.path().join(FILE_NAME), manifest).expect("it can be written");
        dir
    }

    fn refused(dir: &Path) -> String {
        let text = read(dir).expect_err("the folder is wrong").text();
        text.replace(&dir.display().to_string(), "DIR")
    }

    #[test]
    fn a_folder_is_read_with_its_scripts() {
        let dir = folder("lib/s.rhai");
        std::fs::create_dir(dir.path().join("lib")).expect("it can be made");
        std::fs::write(dir.path().join("lib/s.rhai"), "42").expect("it can be written");
        let bundle = read(dir.path()).expect("nothing is wrong");
        assert_eq!(bundle.sources["lib/s.rhai"], "42");
    }

    #[test]
    fn a_path_stays_below_the_folder() {
        for (file, expected) in [
            ("../s.rhai", "DIR/picloud.toml: file \"../s.rhai\" leaves the folder with \"..\""),
            ("a/../../s.rhai", "DIR/picloud.toml: file \"a/../../s.rhai\" leaves the folder"),
            ("/etc/passwd", "DIR/picloud.toml: file \"/etc/passwd\" is an absolute path"),
            ("", "DIR/picloud.toml: file \"\" names no file"),
            (".", "DIR/picloud.toml: file \".\" names no file"),
            ("none.rhai", "DIR/none.rhai is not there"),
        ] {
            let text = refused(folder(file).path());
            assert!(text.starts_with(expected), "{file}: {text}");
        }
    }

    #[test]
    fn links_pipes_and_folders_are_refused_and_nothing_blocks() {
        let outside = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        let link = folder("s.rhai");
        std::os::unix::fs::symlink(outside.path(), link.path().join("s.rhai")).expect("a link");
        assert_eq!(refused(link.path()), "DIR/s.rhai: is a link; links are not followed");

        let through = folder("lib/s.rhai");
        let parent = outside.path().parent().expect("it is in a folder");
        std::os::unix::fs::symlink(parent, through.path().join("lib")).expect("a link");
        assert_eq!(refused(through.path()), "DIR/lib: is a link; links are not followed");

        let pipe = folder("s.rhai");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, pipe.path().join("s.rhai"), FileType::Fifo, mode, 0)
            .expect("a pipe can be made");
        assert_eq!(refused(pipe.path()), "DIR/s.rhai: is a pipe, no regular file");

        let sub = folder("s.rhai");
        std::fs::create_dir(sub.path().join("s.rhai")).expect("it can be made");
        assert_eq!(refused(sub.path()), "DIR/s.rhai: is a folder, no regular file");

        let manifest = tempfile::tempdir().expect("a temporary folder can be made");
        let path = manifest.path().join(FILE_NAME);
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0).expect("a pipe");
        assert_eq!(refused(manifest.path()), "DIR/picloud.toml: is a pipe, no regular file");
    }

    #[test]
    fn what_is_too_large_or_no_text_is_refused() {
        let large = folder("s.rhai");
        std::fs::write(large.path().join("s.rhai"), " ".repeat(SCRIPT_BYTES_MAX + 1)).expect("ok");
        assert_eq!(refused(large.path()), "DIR/s.rhai: has more than 262144 bytes");
        let binary = folder("s.rhai");
        std::fs::write(binary.path().join("s.rhai"), b"ab\xff").expect("it can be written");
        assert_eq!(refused(binary.path()), "DIR/s.rhai: is not UTF-8 text (byte 2)");
    }

    #[test]
    fn a_manifest_that_is_wrong_is_shown_with_its_place() {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let refuse = |text: &str| {
            std::fs::write(dir.path().join(FILE_NAME), text).expect("it can be written");
            refused(dir.path())
        };
        assert_eq!(
            refuse(
                "[app]\nslug = \"a\"\n[[routes]]\nmethod = \"GET\"\npaht = \"/\"\nscript = \"s\"\n"
            ),
            "DIR/picloud.toml, line 5, column 1: unknown key \"paht\"; did you mean \"path\"?\n\
             5 | paht = \"/\"\n  | ^"
        );
        assert!(refuse("[app]\n").contains("missing field `slug`"));
        assert!(refuse("[app\n").contains("DIR/picloud.toml, line 1"));
        assert!(refuse("[app]\nslug = 5\n").contains("line 2, column 8"));
        assert_eq!(refused(&dir.path().join("none")), "DIR is not there");
    }

    #[test]
    fn nothing_is_ever_replaced_or_written_outside() {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let made = dir.path().join("new");
        assert_eq!(write(&made, &[("a/b.rhai", "1"), (FILE_NAME, "x")]).expect("it is new"), 2);
        assert_eq!(std::fs::read_to_string(made.join("a/b.rhai")).expect("it is there"), "1");
        assert!(matches!(write(&made, &[("c", "1")]), Err(FolderError::NotEmpty { .. })));
        let other = dir.path().join("other");
        assert!(matches!(write(&other, &[("../c", "1")]), Err(FolderError::Refused { .. })));
        assert!(!other.exists());
    }
}

//! Small libraries in C that are loaded into the daemon before all others, to see or change its calls of the kernel.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// Compiles `source` into `folder`, with the C compiler that links programs here.
pub fn build(folder: &Path, name: &str, source: &str) -> io::Result<PathBuf> {
    let [text, library] = ["c", "so"].map(|kind| folder.join(format!("{name}.{kind}")));
    fs::write(&text, source)?;
    let built = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-pthread", "-o"])
        .args([&library, &text])
        .status()?;
    if built.success() {
        return Ok(library);
    }
    Err(io::Error::other(format!("cc could not build {}", text.display())))
}

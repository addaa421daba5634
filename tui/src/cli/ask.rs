//! What a command takes from outside its arguments: a file or standard input.

use std::io::{self, Read};
use std::path::Path;

use picloud_api::text;

use crate::cli::CliError;

/// The text of a file, or of standard input for `-`.
pub(super) fn text_of(place: &str, bytes_max: usize) -> Result<String, CliError> {
    let refuse = |error: &dyn std::fmt::Display| {
        CliError::Usage(format!("{} cannot be read: {error}", text::visible(place)))
    };
    let mut read = String::new();
    // One more than is allowed, so that too much is told from just enough.
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let taken = if place == "-" {
        io::stdin().lock().take(most).read_to_string(&mut read)
    } else {
        let path = Path::new(place);
        let metadata = std::fs::metadata(path).map_err(|error| refuse(&error))?;
        if !metadata.is_file() {
            return Err(refuse(&"it is no file"));
        }
        let file = std::fs::File::open(path).map_err(|error| refuse(&error))?;
        file.take(most).read_to_string(&mut read)
    };
    taken.map_err(|error| refuse(&error))?;
    if read.len() > bytes_max {
        return Err(refuse(&format_args!("it has more than {bytes_max} bytes")));
    }
    Ok(read)
}

/// `APP/NAME`, taken apart at its first slash.
pub(super) fn pair<'a>(target: &'a str, what: &str) -> Result<(&'a str, &'a str), CliError> {
    match target.split_once('/') {
        Some((app, name)) if !app.is_empty() && !name.is_empty() => Ok((app, name)),
        Some(_) | None => Err(CliError::Usage(format!("\"{target}\" is not APP/{what}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_taken_apart_at_its_first_slash() {
        assert_eq!(pair("a/b/c", "COLLECTION").expect("it is one"), ("a", "b/c"));
        for wrong in ["a", "/b", "a/", ""] {
            assert!(matches!(pair(wrong, "SCRIPT"), Err(CliError::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_or_none_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("f");
        std::fs::write(&file, "12345").expect("it can be written");
        let file = file.to_str().expect("the path is text");
        assert_eq!(text_of(file, 5).expect("it fits"), "12345");
        for (place, bytes_max) in
            [(file, 4), (folder.path().to_str().expect("text"), 5), ("/no", 5)]
        {
            assert!(matches!(text_of(place, bytes_max), Err(CliError::Usage(_))), "{place}");
        }
    }
}

//! Asking before something is destroyed.

use std::io::{self, BufRead, Write};

use crate::cli::CliError;

/// Whether there is somebody to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// On a terminal.
    Possible,
    Impossible,
}

/// Whether it was said beforehand that nobody need ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    Given,
    Wanted,
}

/// Goes on only after a yes.
pub(super) fn ask(
    errors: &mut dyn Write,
    asking: Asking,
    consent: Consent,
    question: &str,
) -> Result<(), CliError> {
    match (consent, asking) {
        (Consent::Given, _) => return Ok(()),
        (Consent::Wanted, Asking::Impossible) => {
            return Err(CliError::Usage(
                "nobody can be asked here; --yes says that it is meant".to_owned(),
            ));
        }
        (Consent::Wanted, Asking::Possible) => {}
    }
    write!(errors, "{} [y/N] ", picloud_api::text::visible(question))?;
    errors.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::Declined),
    }
}

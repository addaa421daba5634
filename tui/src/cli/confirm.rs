//! Asking before something is destroyed.

use std::io::{self, BufRead, Write};

use picloud_api::text;

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
    /// `--yes` was there.
    Given,
    Wanted,
}

impl Consent {
    pub(super) fn of(yes: bool) -> Consent {
        if yes { Consent::Given } else { Consent::Wanted }
    }
}

/// Goes on only after a yes to the deed, such as `revoke token phone`.
pub(super) fn ask(
    errors: &mut dyn Write,
    asking: Asking,
    consent: Consent,
    deed: &str,
) -> Result<(), CliError> {
    match (consent, asking) {
        (Consent::Given, _) => return Ok(()),
        (Consent::Wanted, Asking::Impossible) => {
            return Err(CliError::Usage(format!(
                "{}; say --yes, since there is no terminal to ask at",
                text::visible(deed)
            )));
        }
        (Consent::Wanted, Asking::Possible) => {}
    }
    write!(errors, "{}? [y/N] ", text::visible(deed))?;
    errors.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::Declined),
    }
}

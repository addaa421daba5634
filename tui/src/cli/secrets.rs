//! `picloud secrets`. A value comes from standard input or a prompt, never from an argument: those are seen by everybody
//! on the machine, and stay in the shell's history.

use std::io::{self, Read, Write};

use clap::Subcommand;
use picloud_api::secrets::{SecretAnswer, SecretItem, SecretPut};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::cli::CliError;
use crate::cli::ask::pair;
use crate::cli::confirm::{self, Asking, Consent};
use crate::cli::list::{OfAppArgs, fetch_of_apps, print};
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative};

/// Bytes of a value that are read at most; the daemon allows fewer.
const VALUE_BYTES_MAX: u64 = 1 << 20;

#[derive(Subcommand)]
pub(super) enum Secrets {
    /// The secrets of an app, or of all: their names, and who set them when, but never a value.
    List(OfAppArgs),
    /// Set a secret, new or not; its value is read from standard input, or asked for on a terminal.
    Set {
        #[arg(value_name = "APP/NAME")]
        secret: String,
        /// Standard input, also where it is a terminal
        #[arg(value_name = "-")]
        from: Option<String>,
    },
    /// Delete a secret; scripts that read it fail from then on.
    Delete {
        #[arg(value_name = "APP/NAME")]
        secret: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    asking: Asking,
    command: Secrets,
) -> Result<(), CliError> {
    match command {
        Secrets::List(args) => list(client, output, errors, args).await,
        Secrets::Set { secret, from } => {
            let path = path(&secret)?;
            let value = match from.as_deref() {
                Some("-") => read_all()?,
                None if asking == Asking::Possible => ask(errors, &secret)?,
                None => read_all()?,
                Some(_) => {
                    let message = "a value is no argument: give - and standard input, or nothing";
                    return Err(CliError::Usage(message.to_owned()));
                }
            };
            let answer: SecretAnswer = client.put_if(&path, &SecretPut { value }, None).await?;
            say(output, &answer, &format!("{secret} is set"))
        }
        Secrets::Delete { secret, yes } => {
            let path = path(&secret)?;
            confirm::ask(errors, asking, Consent::of(yes), &format!("delete secret {secret}"))?;
            let answer: SecretAnswer = client.delete(&path, None).await?;
            say(output, &answer, &format!("{secret} is deleted"))
        }
    }
}

async fn list(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    args: OfAppArgs,
) -> Result<(), CliError> {
    let list = fetch_of_apps::<SecretItem>(client, "secrets", args).await?;
    let headings = ["SECRET", "SET", "BY", "LOST"];
    print(output, errors, &list, &headings, |(app, secret), now| {
        let lost = secret.lost.as_ref();
        vec![
            format!("{app}/{}", secret.name),
            relative(secret.set_at, now),
            secret.set_by.clone().unwrap_or_default(),
            lost.map_or_else(String::new, |why| format!("set it again: {why}")),
        ]
    })
}

fn say(output: &mut Output<'_>, answer: &SecretAnswer, text: &str) -> Result<(), CliError> {
    if output.form == Form::Json {
        return Ok(output.json(answer)?);
    }
    Ok(output.line(text)?)
}

fn path(secret: &str) -> Result<String, CliError> {
    let (app, name) = pair(secret, "NAME")?;
    Ok(format!("/apps/{}/secrets/{}", segment(app), segment(name)))
}

fn read_all() -> Result<String, CliError> {
    let mut value = String::new();
    let read = io::stdin().lock().take(VALUE_BYTES_MAX).read_to_string(&mut value);
    read.map_err(|error| CliError::Usage(format!("the value cannot be read: {error}")))?;
    Ok(without_last_newline(value))
}

/// What `echo` and editors put at the end is not meant.
fn without_last_newline(mut value: String) -> String {
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    value
}

/// Asks on the terminal, which does not show what is typed.
fn ask(errors: &mut dyn Write, secret: &str) -> Result<String, CliError> {
    let stdin = io::stdin();
    let failed = |error: io::Error| CliError::Usage(format!("the value cannot be asked: {error}"));
    let shown = tcgetattr(&stdin).map_err(|error| failed(error.into()))?;
    let mut hidden = shown.clone();
    // A process that is ended here would leave the terminal without an echo: Ctrl-C is read like a letter instead.
    hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    write!(errors, "value of {secret} (not shown): ")?;
    errors.flush()?;
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(|error| failed(error.into()))?;
    let mut value = String::new();
    let read = stdin.read_line(&mut value);
    // As it was before, also when nothing could be read.
    let restored = tcsetattr(&stdin, OptionalActions::Now, &shown);
    writeln!(errors)?;
    read.map_err(failed)?;
    restored.map_err(|error| failed(error.into()))?;
    if value.contains('\u{3}') {
        return Err(CliError::Usage("nothing was set".to_owned()));
    }
    Ok(without_last_newline(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_by_its_app() {
        assert_eq!(path("a b/KEY").expect("it is named"), "/apps/a%20b/secrets/KEY");
        for wrong in ["KEY", "/KEY", "app/", ""] {
            assert!(matches!(path(wrong), Err(CliError::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn only_the_last_newline_is_not_meant() {
        for (read, meant) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("", "")]
        {
            assert_eq!(without_last_newline(read.to_owned()), meant);
        }
    }
}

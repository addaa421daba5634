//! `picloud backups`: copies of the store that the daemon takes and keeps.

use std::io::Write;
use std::time::Duration;

use clap::Subcommand;
use picloud_api::backups::{BackupItem, BackupStarted};
use picloud_api::list::{PAGE_ITEMS_MAX, Page};
use picloud_api::text;

use crate::cli::CliError;
use crate::cli::list::{self, PageArgs, took};
use crate::cli::stats::size;
use crate::client::Client;
use crate::output::{Form, Output, relative};

/// How often the daemon is asked whether the backup is done.
const ASK_EVERY: Duration = Duration::from_millis(250);

#[derive(Subcommand)]
pub(super) enum Backups {
    /// Those that are kept, the one that runs, and those that failed lately, the newest first.
    List(PageArgs),
    /// Begin one, and wait until it is done.
    Start {
        /// Do not wait for its end.
        #[arg(long)]
        no_wait: bool,
    },
}

pub(super) async fn run(
    command: Backups,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
) -> Result<(), CliError> {
    match command {
        Backups::List(args) => {
            let list = list::fetch_of::<BackupItem>(client, "/backups", &[], args).await?;
            let headings = ["BEGUN", "STATE", "TOOK", "SIZE", "ERROR", "FILE"];
            list::print(output, errors, &list, &headings, row)
        }
        Backups::Start { no_wait } => {
            let started: BackupStarted = client.post("/backups", &serde_json::json!({})).await?;
            tell_of_key(errors, started.key_file.as_deref())?;
            let backup = started.backup;
            let backup = if no_wait { backup } else { ended(client, &backup.name).await? };
            if let Some(error) = backup.error {
                return Err(CliError::NotBackedUp { name: backup.name, error });
            }
            if output.form == Form::Json {
                return Ok(output.json(&backup)?);
            }
            // The file alone, so that it can be piped to what takes it elsewhere.
            output.line(&backup.path)?;
            Ok(())
        }
    }
}

fn row(one: &BackupItem, now: i64) -> Vec<String> {
    let state = if one.verified { "done, verified" } else { &one.state };
    vec![
        relative(one.begun_at, now),
        state.to_owned(),
        one.took_ms.map_or(String::new(), |ms| took(ms.saturating_mul(1_000))),
        one.bytes.map_or(String::new(), size),
        one.error.clone().unwrap_or_default(),
        one.path.clone(),
    ]
}

fn tell_of_key(errors: &mut dyn Write, key_file: Option<&str>) -> Result<(), CliError> {
    if let Some(key_file) = key_file {
        let told = format!("the key of the secrets is not in it: keep {key_file} elsewhere, too");
        writeln!(errors, "{}", text::visible(&told))?;
    }
    Ok(())
}

/// The backup when it is done or has failed.
async fn ended(client: &Client, name: &str) -> Result<BackupItem, CliError> {
    loop {
        let list: Page<BackupItem> =
            client.get(&format!("/backups?limit={PAGE_ITEMS_MAX}")).await?;
        match list.items.into_iter().find(|one| one.name == name) {
            Some(one) if one.state == "running" => tokio::time::sleep(ASK_EVERY).await,
            Some(one) => return Ok(one),
            None => {
                let error = "the daemon was stopped meanwhile, or it is deleted".to_owned();
                return Err(CliError::NotBackedUp { name: name.to_owned(), error });
            }
        }
    }
}

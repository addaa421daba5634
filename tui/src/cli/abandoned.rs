//! `picloud abandoned`: work that ended without success and without a dead letter.

use std::io::Write;

use clap::Subcommand;
use picloud_api::executions::{AbandonedDetail, AbandonedItem};

use crate::cli::ids::{self, List};
use crate::cli::list::{self, cause};
use crate::cli::{CliError, ListArgs, show};
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative};

#[derive(Subcommand)]
pub(super) enum Abandoned {
    /// What was abandoned, the newest first.
    List(ListArgs),
    /// One with its event.
    Show { id: String },
}

pub(super) async fn run(
    command: Abandoned,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
) -> Result<(), CliError> {
    match command {
        Abandoned::List(args) => {
            let found = list::fetch::<AbandonedItem>(client, "/abandoned", args).await?;
            let headings = ["WHEN", "REASON", "APP/SCRIPT", "CAUSE", "DEPTH", "ID"];
            list::print(output, errors, &found, &headings, |one, now| {
                vec![
                    relative(one.at, now),
                    one.reason.clone(),
                    format!("{}/{}", one.app, one.script),
                    cause(&one.source, one.origin.as_deref()),
                    one.depth.to_string(),
                    one.id.clone(),
                ]
            })
        }
        Abandoned::Show { id } => show(client, output, &id).await,
    }
}

async fn show(client: &Client, output: &mut Output<'_>, id: &str) -> Result<(), CliError> {
    let id = ids::whole(client, id, &[List::Abandoned]).await?;
    let detail: AbandonedDetail = client.get(&format!("/abandoned/{}", segment(&id))).await?;
    if output.form == Form::Json {
        return Ok(output.json(&detail)?);
    }
    let one = &detail.abandoned;
    for (name, value) in [
        ("row", one.id.clone()),
        ("script", format!("{}/{}", one.app, one.script)),
        ("cause", cause(&one.source, one.origin.as_deref())),
        ("reason", one.reason.clone()),
        ("when", relative(one.at, detail.now)),
        ("depth", one.depth.to_string()),
        ("caused by", one.cause_id.clone().unwrap_or_default()),
        ("root", one.root_id.clone()),
    ] {
        show::field(output, name, &value)?;
    }
    match &detail.event {
        Some(event) => Ok(show::event(output, event)?),
        None => Ok(show::field(output, "event", "too large to keep")?),
    }
}

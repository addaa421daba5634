//! `picloud outbox`: work that waits or runs.

use std::io::Write;

use clap::Subcommand;
use picloud_api::events::{OutboxEvent, kind};
use picloud_api::executions::OutboxDetail;
use picloud_api::letters::{Done, ReasonRequest};
use serde_json::json;

use crate::cli::follow::{self, Wanted, cells};
use crate::cli::ids::{self, List};
use crate::cli::list::{self, cause, failure, took};
use crate::cli::{CliError, WatchArgs, show};
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative, utc};

#[derive(Subcommand)]
pub(super) enum Outbox {
    /// What waits or runs, the newest first.
    List(WatchArgs),
    /// One row with its event.
    Show { id: String },
    /// Run a row now that was to run later.
    RunNow { id: String },
    /// Take a row out before it runs; it becomes a dead letter.
    Cancel {
        id: String,
        /// Why, for whoever looks at the dead letter.
        #[arg(long, value_name = "TEXT", default_value = "cancelled by hand")]
        reason: String,
    },
}

pub(super) async fn run(
    command: Outbox,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
) -> Result<(), CliError> {
    match command {
        Outbox::List(WatchArgs { list, watch: false }) => {
            list::outbox(client, output, errors, list).await
        }
        Outbox::List(WatchArgs { list, watch: true }) => {
            let wanted = Wanted {
                kind: kind::OUTBOX,
                app: list.app.as_deref(),
                filter: list.filter.as_deref(),
            };
            follow::follow(client, output, errors, wanted, line).await
        }
        Outbox::Show { id } => show(client, output, &id).await,
        Outbox::RunNow { id } => {
            let id = whole(client, &id).await?;
            let path = format!("/outbox/{}/run-now", segment(&id));
            let done: Done = client.post(&path, &json!({})).await?;
            if output.form == Form::Json {
                return Ok(output.json(&done)?);
            }
            Ok(output.line(&format!("{} is due now", done.id))?)
        }
        Outbox::Cancel { id, reason } => {
            let id = whole(client, &id).await?;
            let path = format!("/outbox/{}/cancel", segment(&id));
            let done: Done = client.post(&path, &ReasonRequest { reason }).await?;
            if output.form == Form::Json {
                return Ok(output.json(&done)?);
            }
            let letter = done.letter_id.unwrap_or_default();
            output.line(&format!("{} will not run: it is dead letter {letter}", done.id))?;
            Ok(output.line(&format!("picloud dead-letters replay {letter} runs it after all"))?)
        }
    }
}

/// One move of a row.
fn line(event: &OutboxEvent) -> String {
    let script = format!("{}/{}", event.app, event.script);
    let cause = cause(&event.source, event.origin.as_deref());
    let tries = format!("{}/{}", event.attempt, event.max_attempts);
    let when = match (event.available_at, event.took_us) {
        (Some(at), _) => relative(at, event.at),
        (None, Some(us)) => took(us),
        (None, None) => String::new(),
    };
    let why = event.error.as_ref().map(failure).or_else(|| event.reason.clone());
    cells(&[
        (&utc(event.at), 0),
        (&event.state, 9),
        (&when, 8),
        (&script, 24),
        (&cause, 24),
        (&tries, 4),
        (event.key.as_deref().unwrap_or_default(), 8),
        (&event.id, 26),
        (&why.unwrap_or_default(), 0),
    ])
}

async fn whole(client: &Client, id: &str) -> Result<String, CliError> {
    ids::whole(client, id, &[List::Outbox]).await
}

async fn show(client: &Client, output: &mut Output<'_>, id: &str) -> Result<(), CliError> {
    let id = whole(client, id).await?;
    let detail: OutboxDetail = client.get(&format!("/outbox/{}", segment(&id))).await?;
    if output.form == Form::Json {
        return Ok(output.json(&detail)?);
    }
    let (row, now) = (&detail.row, detail.now);
    let when = row.available_at.map(|at| format!(", {}", relative(at, now)));
    let script = format!("{}/{} {}", row.app, row.script, show::version(detail.current_version));
    for (name, value) in [
        ("row", row.id.clone()),
        ("script", script),
        ("cause", cause(&row.source, row.origin.as_deref())),
        ("made", relative(row.created_at, now)),
        ("state", format!("{}{}", row.state, when.unwrap_or_default())),
        ("tries", format!("{} of {}", row.attempt, row.max_attempts)),
        ("key", row.key.clone().unwrap_or_default()),
        ("dedupe", detail.dedupe.clone().unwrap_or_default()),
        ("letter", detail.letter_id.clone().unwrap_or_default()),
        ("caused by", detail.cause_id.clone().unwrap_or_default()),
        ("root", row.root_id.clone()),
    ] {
        show::field(output, name, &value)?;
    }
    if let Some(error) = &row.error {
        show::error(output, error)?;
    }
    Ok(show::event(output, &detail.event)?)
}

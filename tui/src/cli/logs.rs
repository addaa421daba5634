//! `picloud logs`: what scripts log.

use std::io::Write;

use clap::Args;
use picloud_api::events::{LogEntry, kind};

use crate::cli::follow::{self, Wanted, cells};
use crate::cli::list::PageArgs;
use crate::cli::{CliError, ListArgs, list};
use crate::client::Client;
use crate::output::{Form, Output, utc};

#[derive(Args)]
pub(super) struct Logs {
    /// Only of this app.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Words and key:value, such as 'level:error script:warn'.
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Lines at most.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Go on with what is logged from now on.
    #[arg(short, long)]
    follow: bool,
}

pub(super) async fn run(
    command: Logs,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
) -> Result<(), CliError> {
    let Logs { app, filter, limit, follow } = command;
    let (wanted_app, wanted_filter) = (app.clone(), filter.clone());
    let args = ListArgs { app, filter, page: PageArgs::newest(limit) };
    let mut page = list::fetch::<LogEntry>(client, "/logs", args).await?;
    // A log is read from top to bottom.
    page.items.reverse();
    for item in &page.items {
        match output.form {
            Form::Json => output.json(item)?,
            Form::Text => output.line(&line(item))?,
        }
    }
    if !follow {
        return Ok(());
    }
    output.results.flush()?;
    let wanted =
        Wanted { kind: kind::LOG, app: wanted_app.as_deref(), filter: wanted_filter.as_deref() };
    follow::follow(client, output, errors, wanted, line).await
}

fn line(item: &LogEntry) -> String {
    let fields = item.fields.as_deref().map_or(String::new(), |fields| format!(" {fields}"));
    let place = format!("{}/{}", item.app, item.script);
    let at = utc(item.at);
    let message = format!("{}{fields}", item.message);
    cells(&[(&at, 0), (&item.level, 5), (&place, 0), (&message, 0)])
}

//! `picloud dead-letters`: work that could not be done, and what is done with it, one by one or in bulk.

use std::io::{self, BufRead as _, Read as _, Write};

use clap::{Args, Subcommand};
use picloud_api::letters::{
    BulkAnswer, BulkRequest, Done, LetterDetail, LetterGroups, Preview, ReasonRequest,
    ReplayRequest, TakeBackRequest,
};
use picloud_api::text;
use serde_json::json;
use serde_json::value::RawValue;

use crate::cli::confirm::Asking;
use crate::cli::ids::{self, List};
use crate::cli::list::{self, cause, failure};
use crate::cli::{CliError, ListArgs, show};
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative};

#[derive(Subcommand)]
pub(super) enum DeadLetters {
    /// Open ones, the newest first; others with --filter is:replayed, is:discarded or is:any.
    List {
        #[command(flatten)]
        args: ListArgs,
        /// One line for each script and error.
        #[arg(long, value_name = "BY", value_parser = ["error"], conflicts_with_all = ["limit", "after", "all"])]
        group: Option<String>,
    },
    /// One with its event, its error and what became of it.
    Show { id: String },
    /// Do the work again, as it was or with another payload.
    Replay {
        #[command(flatten)]
        which: Which,
        /// The payload of a task, or the whole event of anything else: a file, or - for standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "filter")]
        payload: Option<String>,
        /// Wait for so long; until then it can be taken back.
        #[arg(long, value_name = "SECONDS")]
        hold: Option<u32>,
        /// Also if it was replayed already.
        #[arg(long, conflicts_with = "filter")]
        again: bool,
    },
    /// Undo replays that have not begun.
    TakeBack {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// The work is not to be done.
    Discard {
        #[command(flatten)]
        which: Which,
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "discarded by hand")]
        reason: String,
    },
    /// Open one again that was discarded.
    Reopen { id: String },
}

/// One letter, or all that a filter lets through.
#[derive(Args)]
pub(super) struct Which {
    #[arg(required_unless_present = "filter", conflicts_with_all = ["filter", "app"])]
    id: Option<String>,
    /// All open ones that it lets through; '' for all.
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Only of this app.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Do it if exactly so many match, and nothing otherwise.
    #[arg(long, value_name = "N", conflicts_with = "id")]
    expect: Option<usize>,
    /// Do not ask.
    #[arg(long, conflicts_with = "id")]
    yes: bool,
}

/// What is done with many.
enum Deed {
    Replay { hold_ms: Option<i64> },
    Discard { reason: String },
}

pub(super) async fn run(
    command: DeadLetters,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    asking: Asking,
) -> Result<(), CliError> {
    match command {
        DeadLetters::List { args, group: None } => {
            list::dead_letters(client, output, errors, args).await
        }
        DeadLetters::List { args, group: Some(_) } => groups(client, output, errors, args).await,
        DeadLetters::Show { id } => show(client, output, &id).await,
        DeadLetters::Replay { which, payload, hold, again } => {
            let hold_ms = hold.map(|seconds| i64::from(seconds) * 1_000);
            let Some(id) = &which.id else {
                return many(client, output, errors, asking, (which, Deed::Replay { hold_ms }))
                    .await;
            };
            let payload = payload.as_deref().map(read_payload).transpose()?;
            let id = &whole(client, id).await?;
            let body = ReplayRequest { payload, hold_ms, again };
            let done: Done = client.post(&format!("{}/replay", path(id)), &body).await?;
            if output.form == Form::Json {
                return Ok(output.json(&done)?);
            }
            let row = done.row_id.unwrap_or_default();
            output.line(&format!("{} is replayed by row {row}", done.id))?;
            if done.held_until.is_some() {
                output.line(&format!("picloud dead-letters take-back {} undoes it", done.id))?;
            }
            Ok(())
        }
        DeadLetters::TakeBack { ids } => match &ids[..] {
            [id] => one(client, output, id, "take-back", "is open again").await,
            _ => {
                let mut wholes = Vec::new();
                for id in &ids {
                    wholes.push(whole(client, id).await?);
                }
                let ids = wholes;
                let answer: BulkAnswer = client
                    .post_in_bulk("/dead-letters/take-back", &TakeBackRequest { ids })
                    .await?;
                told(output, &answer, "taken back")
            }
        },
        DeadLetters::Discard { which, reason } => {
            let Some(id) = &which.id else {
                return many(client, output, errors, asking, (which, Deed::Discard { reason }))
                    .await;
            };
            let path = format!("{}/discard", path(&whole(client, id).await?));
            let done: Done = client.post(&path, &ReasonRequest { reason }).await?;
            if output.form == Form::Json {
                return Ok(output.json(&done)?);
            }
            output.line(&format!("{} is discarded", done.id))?;
            Ok(output.line(&format!("picloud dead-letters reopen {} undoes it", done.id))?)
        }
        DeadLetters::Reopen { id } => one(client, output, &id, "reopen", "is open again").await,
    }
}

async fn whole(client: &Client, id: &str) -> Result<String, CliError> {
    ids::whole(client, id, &[List::DeadLetters]).await
}

fn path(id: &str) -> String {
    format!("/dead-letters/{}", segment(id))
}

async fn one(
    client: &Client,
    output: &mut Output<'_>,
    id: &str,
    verb: &str,
    told: &str,
) -> Result<(), CliError> {
    let id = whole(client, id).await?;
    let done: Done = client.post(&format!("{}/{verb}", path(&id)), &json!({})).await?;
    if output.form == Form::Json {
        return Ok(output.json(&done)?);
    }
    Ok(output.line(&format!("{} {told}", done.id))?)
}

/// JSON out of a file, or of standard input.
fn read_payload(file: &str) -> Result<Box<RawValue>, CliError> {
    let mut text = String::new();
    if file == "-" {
        io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file)
            .map_err(|error| CliError::Usage(format!("--payload {file}: {error}")))?;
    }
    serde_json::from_str(&text)
        .map_err(|error| CliError::Usage(format!("the payload is no JSON: {error}")))
}

async fn groups(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    args: ListArgs,
) -> Result<(), CliError> {
    let query = query(args.filter.as_deref().unwrap_or_default(), args.app.as_deref());
    let found: LetterGroups = client.get(&format!("/dead-letters/groups?{query}")).await?;
    if output.form == Form::Json {
        for group in &found.groups {
            output.json(group)?;
        }
    } else if found.groups.is_empty() {
        writeln!(errors, "nothing there")?;
    } else {
        let headings = ["COUNT", "LAST", "APP/SCRIPT", "ERROR", "FAILED", "NOW", "EXAMPLE"];
        let row = |group: &picloud_api::letters::LetterGroup| {
            let failed = match (group.version_min, group.version_max) {
                (first, last) if first == last => format!("v{first}"),
                (first, last) => format!("v{first}-v{last}"),
            };
            vec![
                group.count.to_string(),
                relative(group.last_at, found.now),
                format!("{}/{}", group.app, group.script),
                format!("{}: {}", group.kind, group.error),
                failed,
                show::version(group.current_version),
                group.example.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = found.groups.iter().map(row).collect();
        output.table(&headings, &rows)?;
    }
    if !found.complete {
        writeln!(errors, "only the newest {} were looked at", found.looked_at)?;
    }
    Ok(())
}

fn query(filter: &str, app: Option<&str>) -> String {
    let app = app.map_or_else(String::new, |app| format!("&app={}", segment(app)));
    format!("filter={}{app}", segment(filter))
}

async fn show(client: &Client, output: &mut Output<'_>, id: &str) -> Result<(), CliError> {
    let detail: LetterDetail = client.get(&path(&whole(client, id).await?)).await?;
    if output.form == Form::Json {
        return Ok(output.json(&detail)?);
    }
    let (letter, now) = (&detail.letter, detail.now);
    let resolved = detail.resolved_at.map(|at| format!(" {}", relative(at, now)));
    let state = letter.resolution.as_deref().unwrap_or("open");
    let held = detail.held_until.map(|at| format!(", begins {}", relative(at, now)));
    let replayed_by = detail.replayed_by.as_ref();
    for (name, value) in [
        ("letter", letter.id.clone()),
        ("state", format!("{state}{}", resolved.unwrap_or_default())),
        ("reason", detail.reason.clone().unwrap_or_default()),
        (
            "replay",
            replayed_by.map_or_else(String::new, |by| format!("{by}{}", held.unwrap_or_default())),
        ),
        (
            "script",
            format!(
                "{}/{} v{} failed, now {}",
                letter.app,
                letter.script,
                letter.script_version,
                show::version(detail.current_version)
            ),
        ),
        ("cause", cause(&letter.source, letter.origin.as_deref())),
        ("tries", format!("{} of {}", letter.attempts, detail.max_attempts)),
        ("first", relative(letter.first_at, now)),
        ("last", relative(letter.last_at, now)),
        ("key", detail.key.clone().unwrap_or_default()),
        ("row", detail.row_id.clone()),
        ("caused by", detail.cause_id.clone().unwrap_or_default()),
        ("root", detail.root_id.clone()),
    ] {
        show::field(output, name, &value)?;
    }
    show::error(output, &letter.error)?;
    if let Some(error) = &detail.handler_error {
        show::field(output, "handler", &failure(error))?;
    }
    Ok(show::event(output, &detail.event)?)
}

/// First a look at what matches, then exactly that, if the caller wants it.
async fn many(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    asking: Asking,
    (which, deed): (Which, Deed),
) -> Result<(), CliError> {
    let filter = which.filter.unwrap_or_default();
    let asked = query(&filter, which.app.as_deref());
    let preview: Preview = client.get(&format!("/dead-letters/preview?{asked}")).await?;
    if let Some(expected) = which.expect
        && expected != preview.count
    {
        return Err(CliError::Unexpected { matching: preview.count, expected });
    }
    let (Some(up_to), true) = (preview.up_to.clone(), preview.count > 0) else {
        writeln!(errors, "nothing matches")?;
        return Ok(());
    };
    if which.expect.is_none() && !which.yes {
        describe(errors, &preview)?;
        if !confirmed(errors, asking, &preview, &deed)? {
            return Err(CliError::Declined);
        }
    }
    let body = BulkRequest {
        filter,
        app: which.app,
        up_to,
        expect: preview.count,
        as_of: preview.as_of,
        ..BulkRequest::default()
    };
    match deed {
        Deed::Replay { hold_ms } => {
            let body = BulkRequest { hold_ms, ..body };
            let answer: BulkAnswer = client.post_in_bulk("/dead-letters/replay", &body).await?;
            told(output, &answer, "replayed")
        }
        Deed::Discard { reason } => {
            let body = BulkRequest { reason: Some(reason), ..body };
            let answer: BulkAnswer = client.post_in_bulk("/dead-letters/discard", &body).await?;
            told(output, &answer, "discarded")
        }
    }
}

fn describe(errors: &mut dyn Write, preview: &Preview) -> Result<(), CliError> {
    let apps: Vec<String> =
        preview.apps.iter().map(|one| format!("{} of {}", one.count, one.app)).collect();
    writeln!(errors, "{} match: {}", preview.count, text::visible(&apps.join(", ")))?;
    if let (Some(first), Some(last)) = (preview.first_at, preview.last_at) {
        let now = preview.as_of;
        writeln!(errors, "from {} to {}", relative(first, now), relative(last, now))?;
    }
    for letter in &preview.examples {
        let line = format!("{}/{}: {}", letter.app, letter.script, failure(&letter.error));
        writeln!(errors, "  {}", text::visible(&line))?;
    }
    Ok(())
}

/// So many at once want their number typed.
const MANY: usize = 100;

fn confirmed(
    errors: &mut dyn Write,
    asking: Asking,
    preview: &Preview,
    deed: &Deed,
) -> Result<bool, CliError> {
    if asking == Asking::Impossible {
        return Err(CliError::Usage(
            "without a terminal nobody can be asked: give --expect N or --yes".to_owned(),
        ));
    }
    let count = preview.count.to_string();
    let wanted = match deed {
        Deed::Discard { .. } => count.as_str(),
        Deed::Replay { .. } if preview.count > MANY => count.as_str(),
        Deed::Replay { .. } => "y",
    };
    let verb = match deed {
        Deed::Discard { .. } => "discard",
        Deed::Replay { .. } => "replay",
    };
    write!(errors, "type {wanted} to {verb} them: ")?;
    errors.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == wanted)
}

fn told(output: &mut Output<'_>, answer: &BulkAnswer, done: &str) -> Result<(), CliError> {
    if output.form == Form::Json {
        output.json(answer)?;
    } else {
        let (count, skipped, failed) = (answer.done.len(), answer.skipped, answer.failed);
        output.line(&format!("{count} {done}, {skipped} skipped, {failed} failed"))?;
    }
    match (answer.failed, &answer.first_failure) {
        (0, _) => Ok(()),
        (failed, first) => {
            Err(CliError::Partly { failed, first: first.clone().unwrap_or_default() })
        }
    }
}

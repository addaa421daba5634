//! The lists: `picloud apps list` and its like.

use std::io::Write;

use clap::Args;
use picloud_api::list::{
    AppItem, DeadLetterItem, ExecutionItem, FailureItem, OutboxItem, PAGE_ITEMS_MAX, Page,
};
use picloud_api::text;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::{CliError, ListArgs};
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative};

pub(super) async fn apps(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    args: PageArgs,
) -> Result<(), CliError> {
    let list = fetch_of::<AppItem>(client, "/apps", &[], args).await?;
    let headings =
        ["APP", "REVISION", "SCRIPTS", "ROUTES", "TRIGGERS", "WAITING", "DEAD", "HOST", "PAUSED"];
    print(output, errors, &list, &headings, |app, now| {
        let paused = app.paused.as_ref();
        vec![
            app.slug.clone(),
            app.revision.to_string(),
            app.scripts.to_string(),
            app.routes.to_string(),
            app.triggers.to_string(),
            app.waiting.to_string(),
            app.dead_letters.to_string(),
            app.host.clone().unwrap_or_default(),
            paused.map_or_else(String::new, |pause| {
                format!("{}: {}", relative(pause.since, now), pause.reason)
            }),
        ]
    })
}

pub(super) async fn outbox(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    args: ListArgs,
) -> Result<(), CliError> {
    let list = fetch::<OutboxItem>(client, "/outbox", args).await?;
    let headings = ["STATE", "WHEN", "APP/SCRIPT", "CAUSE", "TRY", "KEY", "LAST ERROR", "ID"];
    print(output, errors, &list, &headings, |row, now| {
        vec![
            row.state.clone(),
            row.available_at.map_or_else(String::new, |at| relative(at, now)),
            format!("{}/{}", row.app, row.script),
            cause(&row.source, row.origin.as_deref()),
            format!("{}/{}", row.attempt, row.max_attempts),
            row.key.clone().unwrap_or_default(),
            row.error.as_ref().map(failure).unwrap_or_default(),
            row.id.clone(),
        ]
    })
}

pub(super) async fn dead_letters(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    args: ListArgs,
) -> Result<(), CliError> {
    let list = fetch::<DeadLetterItem>(client, "/dead-letters", args).await?;
    let headings = ["LAST", "APP/SCRIPT", "CAUSE", "TRIES", "ERROR", "STATE", "ID"];
    print(output, errors, &list, &headings, |letter, now| {
        vec![
            relative(letter.last_at, now),
            format!("{}/{} v{}", letter.app, letter.script, letter.script_version),
            cause(&letter.source, letter.origin.as_deref()),
            letter.attempts.to_string(),
            failure(&letter.error),
            letter.resolution.clone().unwrap_or_else(|| "open".to_owned()),
            letter.id.clone(),
        ]
    })
}

pub(super) async fn executions(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    args: ListArgs,
) -> Result<(), CliError> {
    let list = fetch::<ExecutionItem>(client, "/executions", args).await?;
    let headings =
        ["WHEN", "OUTCOME", "APP/SCRIPT", "CAUSE", "TRY", "TOOK", "WRITES", "ERROR", "ID"];
    print(output, errors, &list, &headings, |run, now| {
        vec![
            relative(run.started_at, now),
            run.outcome.clone(),
            format!("{}/{} v{}", run.app, run.script, run.script_version),
            cause(&run.source, run.origin.as_deref()),
            run.attempt.to_string(),
            took(run.took_us),
            run.effects.to_string(),
            run.error.as_ref().map(failure).unwrap_or_default(),
            run.id.clone(),
        ]
    })
}

pub(super) fn cause(source: &str, origin: Option<&str>) -> String {
    match (source, origin) {
        ("http", Some(route)) => route.to_owned(),
        (source, Some(trigger)) => format!("{source} {trigger}"),
        (source, None) => source.to_owned(),
    }
}

pub(super) fn failure(failure: &FailureItem) -> String {
    match failure.line {
        Some(line) => format!("line {line}: {}", failure.message),
        None => failure.message.clone(),
    }
}

pub(super) fn took(us: i64) -> String {
    match us {
        ..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// Which part of a list.
#[derive(Args, Clone, Debug, PartialEq)]
pub(super) struct PageArgs {
    /// So many items at most.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// All items, however many there are.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Begin behind this cursor, which the end of the list before named.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

impl PageArgs {
    /// So many of the newest.
    pub(super) fn newest(limit: usize) -> PageArgs {
        PageArgs { limit, all: false, after: None }
    }

    fn items_max(&self) -> Result<usize, CliError> {
        match (self.all, self.limit) {
            (true, _) => Ok(usize::MAX),
            (false, 0) => Err(CliError::Usage("--limit is 0; ask for one at least".to_owned())),
            (false, limit) => Ok(limit),
        }
    }
}

/// A list that belongs to an app.
#[derive(Args)]
pub(super) struct OfAppArgs {
    /// Only of this app.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// Pages until there are as many as were asked for, or no more.
pub(super) async fn fetch<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    args: ListArgs,
) -> Result<Page<T>, CliError> {
    let fields = [("app", args.app.as_deref()), ("filter", args.filter.as_deref())];
    fetch_of(client, path, &fields, args.page).await
}

/// As [`fetch`], with the fields of the query.
pub(super) async fn fetch_of<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    fields: &[(&str, Option<&str>)],
    args: PageArgs,
) -> Result<Page<T>, CliError> {
    let items_max = args.items_max()?;
    let mut list: Page<T> = Page { items: Vec::new(), next: args.after, now: 0 };
    loop {
        let mut query = format!("limit={}", (items_max - list.items.len()).min(PAGE_ITEMS_MAX));
        let after = [("after", list.next.as_deref())];
        for (key, value) in after.into_iter().chain(fields.iter().copied()) {
            if let Some(value) = value {
                query.push_str(&format!("&{key}={}", segment(value)));
            }
        }
        let page: Page<T> = client.get(&format!("{path}?{query}")).await?;
        // A page may be empty and yet not the last; a cursor that stands still would be asked for again and again.
        let ended = page.next.is_none() || page.next == list.next;
        list.items.extend(page.items);
        (list.next, list.now) = (page.next, page.now);
        if ended || list.items.len() >= items_max {
            return Ok(list);
        }
    }
}

/// Items of an app, or of all apps in the order of their names; each with the app that it belongs to.
pub(super) async fn fetch_of_apps<T: DeserializeOwned>(
    client: &Client,
    what: &str,
    args: OfAppArgs,
) -> Result<Page<(String, T)>, CliError> {
    let OfAppArgs { app, page } = args;
    let of = async |app: String, page: PageArgs| {
        let path = format!("/apps/{}/{what}", segment(&app));
        let Page { items, next, now } = fetch_of::<T>(client, &path, &[], page).await?;
        let items = items.into_iter().map(|item| (app.clone(), item)).collect();
        Ok::<_, CliError>(Page { items, next, now })
    };
    if let Some(app) = app {
        return of(app, page).await;
    }
    if page.after.is_some() {
        let text = "--after is a cursor of one app's list: name the app with --app";
        return Err(CliError::Usage(text.to_owned()));
    }
    let items_max = page.items_max()?;
    let every = PageArgs { all: true, ..page.clone() };
    let apps: Page<AppItem> = fetch_of(client, "/apps", &[], every).await?;
    let mut list = Page { items: Vec::new(), next: None, now: apps.now };
    for app in apps.items {
        let left = items_max.saturating_sub(list.items.len());
        if left == 0 {
            break;
        }
        let part = of(app.slug, PageArgs { limit: left, ..page.clone() }).await?;
        list.items.extend(part.items);
        list.now = part.now;
    }
    Ok(list)
}

pub(super) fn print<T: Serialize>(
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    list: &Page<T>,
    headings: &[&str],
    row: impl Fn(&T, i64) -> Vec<String>,
) -> Result<(), CliError> {
    if output.form == Form::Json {
        for item in &list.items {
            output.json(item)?;
        }
    } else if list.items.is_empty() {
        writeln!(errors, "nothing there")?;
    } else {
        let rows: Vec<Vec<String>> = list.items.iter().map(|item| row(item, list.now)).collect();
        output.table(headings, &rows)?;
    }
    if let Some(next) = &list.next {
        writeln!(errors, "there are more: --all, or --after {}", text::visible(next))?;
    }
    Ok(())
}

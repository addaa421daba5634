//! `picloud stats` and `picloud doctor`: how everything is.

use std::io::Write;

use clap::Args;
use picloud_api::events::kind;
use picloud_api::health::{self, Checks};
use picloud_api::stats::{AllStats, AppStats, Stats, Times};

use crate::cli::follow::{self, Wanted, cells};
use crate::cli::list::took;
use crate::cli::{CliError, show};
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative, utc};

#[derive(Args)]
pub(super) struct StatsArgs {
    /// Only of this app.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// A line each second.
    #[arg(long)]
    watch: bool,
}

pub(super) async fn stats(
    args: StatsArgs,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
) -> Result<(), CliError> {
    let app = args.app.as_deref();
    if args.watch {
        let wanted = Wanted { kind: kind::STATS, app, filter: None };
        return follow::follow(client, output, errors, wanted, line).await;
    }
    let query = app.map_or(String::new(), |app| format!("?app={}", segment(app)));
    let stats: Stats = client.get(&format!("/stats{query}")).await?;
    if output.form == Form::Json {
        return Ok(output.json(&stats)?);
    }
    if let Some(all) = &stats.all {
        of_all(output, &stats, all)?;
    }
    apps(output, &stats)?;
    scripts(output, &stats)
}

fn of_all(output: &mut Output<'_>, stats: &Stats, all: &AllStats) -> Result<(), CliError> {
    let instance = &stats.instance;
    let since = utc(instance.started_at);
    let begun = format!("{} since {since}, {}", instance.version, instance.why);
    show::field(output, "instance", &begun)?;
    for (name, value) in work(all).into_iter().chain(machine(all, stats.now)) {
        show::field(output, name, &value)?;
    }
    for pause in &all.pauses {
        let target = if pause.target.is_empty() { "the instance" } else { &pause.target };
        let since = relative(pause.since, stats.now);
        show::field(output, "paused", &format!("{target}, {since}: {}", pause.reason))?;
    }
    Ok(())
}

fn time(us: Option<u64>) -> String {
    us.map_or("-".to_owned(), |us| took(whole(us)))
}

fn times(times: &Times) -> String {
    format!("p50 {}, p99 {}", time(times.p50_us), time(times.p99_us))
}

fn work(all: &AllStats) -> [(&'static str, String); 6] {
    let per_second = |count: u64| format!("{:.1}/s", count as f64 / 60.0);
    let (minute, gate, queue) = (&all.minute, &all.gate, &all.queue);
    let minute = format!(
        "{} requests, {} runs, {} failed",
        per_second(minute.requests),
        per_second(minute.runs),
        minute.failures
    );
    let gate = format!(
        "{} of {} running, {} kept for who waits, {} in line",
        gate.running, gate.permits, gate.reserved, gate.in_line
    );
    let capped = if queue.capped { ", or more" } else { "" };
    let oldest = queue.oldest_due_ms.map_or(String::new(), |ms| {
        format!(", the oldest due for {}", took(ms.saturating_mul(1_000)))
    });
    let outbox = format!(
        "{} rows: {} due, {} later, {} retry, {} behind, {} paused{capped}{oldest}",
        queue.rows, queue.due, queue.later, queue.retry, queue.behind, queue.paused
    );
    [
        ("minute", minute),
        ("answers", times(&all.answer)),
        ("runs", times(&all.run)),
        ("gate", gate),
        ("outbox", outbox),
        ("letters", format!("{} open", all.dead_letters)),
    ]
}

fn machine(all: &AllStats, now: i64) -> [(&'static str, String); 3] {
    let bytes = |bytes: Option<u64>| bytes.map_or("?".to_owned(), size);
    let (store, process) = (&all.store, &all.process);
    let memory = format!("{} of {}", bytes(process.memory_bytes), bytes(process.memory_bytes_max));
    let files = format!(
        "{}, log {}, {} free; {} written since the start",
        bytes(store.file_bytes),
        bytes(store.log_bytes),
        bytes(store.free_bytes),
        bytes(process.written_bytes)
    );
    let last = store
        .last_commit_at
        .map_or(String::new(), |at| format!(", the last {}", relative(at, now)));
    let commits = format!("{}, p99 {}{last}", store.commits, time(store.commit.p99_us));
    [("memory", memory), ("store", files), ("commits", commits)]
}

fn apps(output: &mut Output<'_>, stats: &Stats) -> Result<(), CliError> {
    if stats.apps.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let row = |app: &AppStats| {
        let trouble = app.trouble.as_ref();
        vec![
            app.app.clone(),
            app.minute.requests.to_string(),
            app.minute.runs.to_string(),
            app.minute.failures.to_string(),
            app.waiting.to_string(),
            app.dead_letters.to_string(),
            trouble.map_or(String::new(), |trouble| {
                let at = relative(trouble.at, stats.now);
                format!("{at} {}: {}", trouble.script, trouble.message)
            }),
        ]
    };
    let rows: Vec<Vec<String>> = stats.apps.iter().map(row).collect();
    let headings = ["APP", "REQ/MIN", "RUNS/MIN", "FAILED", "WAITING", "DEAD", "LAST TROUBLE"];
    Ok(output.table(&headings, &rows)?)
}

fn scripts(output: &mut Output<'_>, stats: &Stats) -> Result<(), CliError> {
    if stats.scripts.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let time = |us: Option<u64>| us.map_or(String::new(), |us| took(whole(us)));
    let rows: Vec<Vec<String>> = stats
        .scripts
        .iter()
        .map(|one| {
            let (app, script) = (one.app.as_deref(), one.script.as_deref());
            let name = app.zip(script).map(|(app, script)| format!("{app}/{script}"));
            vec![
                name.unwrap_or_else(|| "others".to_owned()),
                one.total.runs.to_string(),
                one.minute.runs.to_string(),
                one.total.failures.to_string(),
                time(one.p50_us),
                time(one.p99_us),
            ]
        })
        .collect();
    Ok(output.table(&["SCRIPT", "RUNS", "RUNS/MIN", "FAILED", "P50", "P99"], &rows)?)
}

/// One second.
fn line(stats: &Stats) -> String {
    let at = utc(stats.now);
    let Some(all) = &stats.all else {
        let apps = stats.apps.iter().map(|app| {
            format!(
                "{}: {} req/min, {} runs/min, {} failed, {} waiting, {} dead",
                app.app,
                app.minute.requests,
                app.minute.runs,
                app.minute.failures,
                app.waiting,
                app.dead_letters
            )
        });
        return cells(&[(&at, 0), (&apps.collect::<Vec<_>>().join("; "), 0)]);
    };
    let (requests, runs) =
        (format!("{} req/s", all.second.requests), format!("{} runs/s", all.second.runs));
    cells(&[
        (&at, 0),
        (&requests, 11),
        (&runs, 12),
        (&format!("{} failed", all.minute.failures), 10),
        (&format!("{}/{} running", all.gate.running, all.gate.permits), 15),
        (&format!("{} waiting", all.queue.rows), 15),
        (&format!("{} dead", all.dead_letters), 9),
        (&format!("p99 {}", time(all.answer.p99_us)), 12),
        (&all.process.memory_bytes.map_or(String::new(), size), 0),
    ])
}

fn whole(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

pub(super) async fn doctor(client: &Client, output: &mut Output<'_>) -> Result<(), CliError> {
    let Checks { mut checks, .. } = client.get("/doctor").await?;
    health::worst_first(&mut checks);
    for check in &checks {
        if output.form == Form::Json {
            output.json(check)?;
            continue;
        }
        for line in check.lines() {
            output.line(&line)?;
        }
    }
    let count = |state: &str| checks.iter().filter(|check| check.state == state).count();
    match (count(health::BAD), count(health::WARN)) {
        (0, 0) => Ok(()),
        (0, warned) => Err(CliError::Unwell(warned)),
        (bad, _) => Err(CliError::Ill(bad)),
    }
}

//! `picloud executions`: runs that ended lately, and the chains of causes that they belong to.

use std::io::Write;

use clap::Subcommand;
use picloud_api::events::kind;
use picloud_api::executions::{AttemptDetail, Chain, ExecutionDetail, Link};
use picloud_api::list::ExecutionItem;

use crate::cli::follow::{self, Wanted, cells};
use crate::cli::ids::{self, List};
use crate::cli::list::{self, cause, failure, took};
use crate::cli::{CliError, WatchArgs, show};
use crate::client::{Client, segment};
use crate::output::{Form, Output, relative, utc};

#[derive(Subcommand)]
pub(super) enum Executions {
    /// Runs that ended lately, the newest first.
    List(WatchArgs),
    /// The attempts of one, with log and writes.
    Show {
        id: String,
        /// What caused it and what it caused instead, as a tree.
        #[arg(long)]
        chain: bool,
    },
}

pub(super) async fn run(
    command: Executions,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
) -> Result<(), CliError> {
    match command {
        Executions::List(WatchArgs { list, watch: false }) => {
            list::executions(client, output, errors, list).await
        }
        Executions::List(WatchArgs { list, watch: true }) => {
            let wanted = Wanted {
                kind: kind::EXECUTION,
                app: list.app.as_deref(),
                filter: list.filter.as_deref(),
            };
            follow::follow(client, output, errors, wanted, line).await
        }
        Executions::Show { id, chain: true } => chain(client, output, errors, &id).await,
        Executions::Show { id, chain: false } => show(client, output, &id).await,
    }
}

/// One run that has ended.
fn line(run: &ExecutionItem) -> String {
    let script = format!("{}/{} v{}", run.app, run.script, run.script_version);
    let cause = cause(&run.source, run.origin.as_deref());
    cells(&[
        (&utc(run.started_at), 0),
        (&run.outcome, 13),
        (&script, 24),
        (&cause, 24),
        (&format!("try {}", run.attempt), 6),
        (&took(run.took_us), 8),
        (&run.id, 26),
        (&run.error.as_ref().map(failure).unwrap_or_default(), 0),
    ])
}

async fn show(client: &Client, output: &mut Output<'_>, id: &str) -> Result<(), CliError> {
    let id = ids::whole(client, id, &[List::Executions]).await?;
    let detail: ExecutionDetail = client.get(&format!("/executions/{}", segment(&id))).await?;
    if output.form == Form::Json {
        return Ok(output.json(&detail)?);
    }
    show::field(output, "execution", &detail.id)?;
    show::field(output, "caused by", detail.cause_id.as_deref().unwrap_or_default())?;
    show::field(output, "root", &detail.root_id)?;
    for attempt in &detail.attempts {
        output.line("")?;
        show_attempt(output, attempt, detail.now)?;
    }
    Ok(())
}

fn show_attempt(
    output: &mut Output<'_>,
    attempt: &AttemptDetail,
    now: i64,
) -> Result<(), CliError> {
    let run = &attempt.run;
    for (name, value) in [
        ("script", format!("{}/{} v{}", run.app, run.script, run.script_version)),
        ("cause", cause(&run.source, run.origin.as_deref())),
        ("try", run.attempt.to_string()),
        ("outcome", run.outcome.clone()),
        ("started", relative(run.started_at, now)),
        ("took", format!("{}, after {} in line", took(run.took_us), took(run.queued_us))),
    ] {
        show::field(output, name, &value)?;
    }
    if let Some(error) = &run.error {
        show::error(output, error)?;
    }
    for effect in &attempt.effects {
        show::field(output, &effect.does, &effect.to)?;
    }
    let left = run.effects as usize - attempt.effects.len().min(run.effects as usize);
    if left > 0 {
        show::field(output, "writes", &format!("{left} more"))?;
    }
    for line in &attempt.log {
        let fields = line.fields.as_deref().map_or(String::new(), |fields| format!(" {fields}"));
        show::field(output, &line.level, &format!("{}{fields}", line.message))?;
    }
    Ok(())
}

async fn chain(
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
    id: &str,
) -> Result<(), CliError> {
    let id = ids::whole(client, id, List::ALL).await?;
    let chain: Chain = client.get(&format!("/executions/{}/chain", segment(&id))).await?;
    if output.form == Form::Json {
        return Ok(output.json(&chain)?);
    }
    for (depth, link) in tree(&chain.links) {
        let mark = if link.id == id || link.letter_id.as_ref() == Some(&id) { ">" } else { " " };
        output.line(&format!("{mark} {}{}", "  ".repeat(depth), link_line(link, chain.now)))?;
    }
    if !chain.complete {
        writeln!(errors, "not all of the chain is shown: it is too long")?;
    }
    Ok(())
}

fn link_line(link: &Link, now: i64) -> String {
    let is = match link.is.as_str() {
        "execution" => "",
        "outbox" => "waits: ",
        "dead_letter" => "dead letter: ",
        "abandoned" => "abandoned: ",
        other => other,
    };
    let cause = cause(&link.source, link.origin.as_deref());
    let error = link.error.as_deref().map_or(String::new(), |error| format!(": {error}"));
    let replays = link.replay_of.as_ref().map_or("", |_| "  replay");
    format!(
        "{}/{}  {cause}  {is}{}{error}  {}{replays}  {}",
        link.app,
        link.script,
        link.state,
        relative(link.at, now),
        link.letter_id.as_ref().unwrap_or(&link.id),
    )
}

/// Each link below the one that caused it, with its depth. What caused a replay is the letter that it replays.
fn tree(links: &[Link]) -> Vec<(usize, &Link)> {
    let parent = |link: &Link| {
        links.iter().position(|other| {
            let causes = link.cause_id.as_ref() == Some(&other.id);
            causes || (link.replay_of.is_some() && link.replay_of == other.letter_id)
        })
    };
    let parents: Vec<Option<usize>> = links.iter().map(parent).collect();
    let mut shown = vec![false; links.len()];
    let mut lines = Vec::new();
    // Whatever is left, such as links of a circle that no daemon sends, stands at the end.
    let roots = (0..links.len()).filter(|at| parents[*at].is_none());
    for first in roots.chain(0..links.len()) {
        let mut open = vec![(0, first)];
        while let Some((depth, at)) = open.pop() {
            if std::mem::replace(&mut shown[at], true) {
                continue;
            }
            lines.push((depth, &links[at]));
            let below = (0..links.len()).rev().filter(|other| parents[*other] == Some(at));
            open.extend(below.map(|other| (depth + 1, other)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(id: &str, cause: Option<&str>, letter: Option<&str>, replay: Option<&str>) -> Link {
        Link {
            id: id.to_owned(),
            cause_id: cause.map(ToOwned::to_owned),
            letter_id: letter.map(ToOwned::to_owned),
            replay_of: replay.map(ToOwned::to_owned),
            ..Link::default()
        }
    }

    #[test]
    fn a_chain_is_a_tree_of_causes_in_which_replays_hang_below_their_letters() {
        let links = [
            link("a", None, None, None),
            link("b", Some("a"), Some("B"), None),
            link("c", Some("a"), None, None),
            link("d", Some("c"), None, None),
            link("e", None, None, Some("B")),
            link("f", Some("gone"), None, None),
        ];
        let tree: Vec<(usize, &str)> =
            tree(&links).into_iter().map(|(depth, link)| (depth, link.id.as_str())).collect();
        assert_eq!(tree, [(0, "a"), (1, "b"), (2, "e"), (1, "c"), (2, "d"), (0, "f")]);
    }

    #[test]
    fn a_circle_of_causes_ends() {
        let links = [link("a", Some("b"), None, None), link("b", Some("a"), None, None)];
        assert_eq!(tree(&links).len(), 2);
    }
}

//! `picloud nodes`: the daemons that share the work.

use std::io::Write;

use clap::Subcommand;
use picloud_api::nodes::NodeItem;

use crate::cli::CliError;
use crate::cli::list::{self, PageArgs};
use crate::client::Client;
use crate::output::{Output, relative};

#[derive(Subcommand)]
pub(super) enum Nodes {
    /// All of them.
    List(PageArgs),
}

pub(super) async fn run(
    Nodes::List(args): Nodes,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
) -> Result<(), CliError> {
    let list = list::fetch_of::<NodeItem>(client, "/nodes", &[], args).await?;
    let headings =
        ["NODE", "ROLE", "STATE", "VERSION", "STARTED", "WHY", "ADDRESS", "STORE", "RUNS", "ID"];
    list::print(output, errors, &list, &headings, |one, now| {
        vec![
            one.name.clone(),
            one.role.clone(),
            one.state.clone(),
            one.version.clone(),
            relative(one.started_at, now),
            one.why.replace('_', " "),
            one.address.clone().unwrap_or_default(),
            format!("{}, schema {}", one.store, one.schema),
            format!("{} of {}", one.running, one.executors),
            one.id.clone(),
        ]
    })
}

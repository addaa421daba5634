//! `picloud audit`: who changed what.

use std::io::Write;

use clap::Subcommand;
use picloud_api::audit::AuditItem;

use crate::cli::CliError;
use crate::cli::list::{self, PageArgs};
use crate::client::Client;
use crate::output::{Output, relative};

#[derive(Subcommand)]
pub(super) enum Audit {
    /// Changes, the newest first.
    List(PageArgs),
}

pub(super) async fn run(
    Audit::List(args): Audit,
    client: &Client,
    output: &mut Output<'_>,
    errors: &mut dyn Write,
) -> Result<(), CliError> {
    let list = list::fetch::<AuditItem>(client, "/audit", args.into()).await?;
    let headings = ["WHEN", "WHO", "ACTION", "WHAT", "DETAIL"];
    list::print(output, errors, &list, &headings, |one, now| {
        let is_empty = one.detail.as_object().is_some_and(serde_json::Map::is_empty);
        vec![
            relative(one.at, now),
            one.principal.clone(),
            one.action.clone(),
            if one.object.is_empty() { "the instance".to_owned() } else { one.object.clone() },
            if is_empty { String::new() } else { one.detail.to_string() },
        ]
    })
}

//! `picloud audit`: who changed what.

use std::io::Write;

use clap::Subcommand;
use picloud_api::audit::AuditItem;
use serde_json::Value;

use crate::cli::CliError;
use crate::cli::list::{self, PageArgs};
use crate::client::Client;
use crate::output::{Output, relative, utc};

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
    let list = list::fetch_of::<AuditItem>(client, "/audit", &[], args).await?;
    let headings = ["WHEN", "WHO", "ACTION", "WHAT", "DETAIL"];
    list::print(output, errors, &list, &headings, |one, now| {
        vec![
            relative(one.at, now),
            one.principal.clone(),
            one.action.replace(['_', '-'], " "),
            if one.object.is_empty() { "the instance".to_owned() } else { one.object.clone() },
            detail(&one.detail),
        ]
    })
}

/// `revision 1, changes (add app 1, add route 6)`: JSON with less ado.
fn detail(value: &Value) -> String {
    let nested = |value: &Value| match value {
        Value::Object(_) | Value::Array(_) => format!("({})", detail(value)),
        _ => detail(value),
    };
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => items.iter().map(nested).collect::<Vec<String>>().join(", "),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| match value.as_i64() {
                Some(at) if name.ends_with("_at") => format!("{name} {}", utc(at)),
                Some(_) | None => format!("{name} {}", nested(value)),
            };
            fields.iter().map(field).collect::<Vec<String>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn details_are_told_without_braces() {
        for (value, told) in [
            (json!({}), ""),
            (
                json!({"expires_at": 0, "principal": "ada"}),
                "expires_at 1970-01-01T00:00:00Z, principal ada",
            ),
            (
                json!({"revision": 1, "changes": {"add app": 1, "add route": 6}}),
                "changes (add app 1, add route 6), revision 1",
            ),
            (json!({"uid": null, "names": ["a", {"b": true}]}), "names (a, (b true)), uid none"),
        ] {
            assert_eq!(detail(&value), told);
        }
    }
}

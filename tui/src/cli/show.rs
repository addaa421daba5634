//! One thing with everything: its fields line by line, and JSON as it is written.

use std::io;

use picloud_api::list::FailureItem;
use picloud_api::text;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::list::failure;
use crate::output::Output;

/// Columns of the names of fields.
const NAME_COLUMNS: usize = 9;

/// A field with its value; one without a value is left out.
pub(super) fn field(output: &mut Output<'_>, name: &str, value: &str) -> io::Result<()> {
    if value.is_empty() {
        return Ok(());
    }
    output.line(&format!("{name:NAME_COLUMNS$} {value}"))
}

/// A failure, with its place in the script where there is one.
pub(super) fn error(output: &mut Output<'_>, error: &FailureItem) -> io::Result<()> {
    field(output, "error", &failure(error))?;
    let (Some(line), Some(source_line)) = (error.line, &error.source_line) else { return Ok(()) };
    let (line, column) = (line as usize, error.column.unwrap_or(0) as usize);
    for line in text::excerpt(line, column, source_line).lines() {
        output.line(&format!("{:NAME_COLUMNS$} {line}", ""))?;
    }
    Ok(())
}

/// An event below its heading.
pub(super) fn event(output: &mut Output<'_>, event: &RawValue) -> io::Result<()> {
    output.line("event")?;
    let pretty = serde_json::from_str::<Value>(event.get())
        .and_then(|value| serde_json::to_string_pretty(&value));
    for line in pretty.as_deref().unwrap_or(event.get()).lines() {
        output.line(&format!("  {line}"))?;
    }
    Ok(())
}

/// `v12`, or `gone`.
pub(super) fn version(version: Option<i64>) -> String {
    version.map_or_else(|| "gone".to_owned(), |version| format!("v{version}"))
}

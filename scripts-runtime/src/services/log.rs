//! `log::`, `print` and `debug`.

use rhai::{Dynamic, Engine, Map, Module};

use crate::fault::Fault;
use crate::host::{Level, LogLine};
use crate::json::write::{self, Unwritable};
use crate::mask::HIDDEN;
use crate::message::cut_to;
use crate::run::{self, Run};
use crate::services::Called;

pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    functions!(module:
        "debug" (message: Dynamic) => line(Level::Debug, &message, None);
        "debug" (message: Dynamic, fields: Map) => line(Level::Debug, &message, Some(&fields));
        "info" (message: Dynamic) => line(Level::Info, &message, None);
        "info" (message: Dynamic, fields: Map) => line(Level::Info, &message, Some(&fields));
        "warn" (message: Dynamic) => line(Level::Warn, &message, None);
        "warn" (message: Dynamic, fields: Map) => line(Level::Warn, &message, Some(&fields));
        "error" (message: Dynamic) => line(Level::Error, &message, None);
        "error" (message: Dynamic, fields: Map) => line(Level::Error, &message, Some(&fields));
    );
    engine.register_static_module("log", module.into());
}

/// What `print` does with the text of its value.
pub(crate) fn print(text: &str) {
    printed(Level::Info, text);
}

/// What `debug` does with the text of its value.
pub(crate) fn debug(text: &str) {
    printed(Level::Debug, text);
}

fn printed(level: Level, text: &str) {
    let written = run::with(|run| {
        let message = begin(run, text);
        emit(run, level, message, None);
        Ok(())
    });
    debug_assert!(written.is_ok() || run::fatal().is_some(), "a line is always taken");
}

fn line(level: Level, message: &Dynamic, fields: Option<&Map>) -> Called<()> {
    run::with(|run| {
        // What is beyond the limit is cut, so at most that much is ever written.
        let bytes_max = run.limits.log_line_bytes_max;
        if run.log_lines >= run.limits.log_lines_max {
            run.log_lines_dropped += 1;
            return Ok(());
        }
        let message = match message.as_immutable_string_ref() {
            Ok(text) => begin(run, &text),
            Err(_) => run.mask.hide(&json(message, bytes_max)?).into_owned(),
        };
        let left = bytes_max.saturating_sub(message.len());
        let fields = match fields {
            Some(fields) => Some(fields_text(run, fields, left)?),
            None => None,
        };
        emit(run, level, message, fields);
        Ok(())
    })
}

fn emit(run: &mut Run, level: Level, message: String, fields: Option<String>) {
    if run.log_lines >= run.limits.log_lines_max {
        run.log_lines_dropped += 1;
        return;
    }
    run.log_lines += 1;
    run.host.log(LogLine { level, message, fields });
}

/// The text without secrets, up to the limit of a line.
fn begin(run: &Run, text: &str) -> String {
    let bytes_max = run.limits.log_line_bytes_max;
    // One character more than there is room for, so that it shows that something was cut.
    let hidden = run.mask.hide_begin(text, bytes_max.saturating_add(4));
    cut_to(hidden.into_owned(), bytes_max)
}

/// A value's JSON without secrets. Where a secret was not within a text (a number, say) the whole value is hidden.
fn hidden(run: &Run, json: &str) -> String {
    let shown = run.mask.hide(json);
    if *shown == *json || serde_json::from_str::<serde::de::IgnoredAny>(&shown).is_ok() {
        return shown.into_owned();
    }
    format!("\"{HIDDEN}\"")
}

/// As many fields as there is room for; `…` stands for the others.
fn fields_text(run: &Run, fields: &Map, bytes_max: usize) -> Result<String, Fault> {
    const CUT: &str = "\"…\":true}";
    let mut text = String::from("{");
    for (name, value) in fields {
        let before = text.len();
        let mut field = String::new();
        write::quote(&run.mask.hide(name), &mut field);
        field.push(':');
        let room = bytes_max.saturating_sub(before + CUT.len() + 1);
        match write::text(value, name, room.saturating_sub(field.len())) {
            Ok(value) => field.push_str(&hidden(run, &value)),
            Err(Unwritable::NoJson(message)) => {
                return Err(Fault::Thrown(format!("log: {message}")));
            }
            Err(Unwritable::TooLarge(_)) => {
                text.push_str(CUT);
                return Ok(text);
            }
        }
        text.push_str(&field);
        text.push(',');
    }
    if text.ends_with(',') {
        text.pop();
    }
    text.push('}');
    Ok(text)
}

/// A value that is no string, as JSON; a large one is cut.
fn json(message: &Dynamic, bytes_max: usize) -> Result<String, Fault> {
    match write::text(message, "message", bytes_max) {
        Ok(text) => Ok(text),
        Err(Unwritable::NoJson(message)) => Err(Fault::Thrown(format!("log: {message}"))),
        Err(Unwritable::TooLarge(_)) => {
            Ok(cut_to("(too large to be logged)".to_owned(), bytes_max))
        }
    }
}

//! Errors in the words of those who write scripts: no type names of Rust or Rhai.

use std::any::TypeId;

use rhai::{
    Array, Blob, Dynamic, EvalAltResult, FnPtr, ImmutableString, Map, ParseError, ParseErrorType,
};

use crate::bounds::{MESSAGE_BYTES_MAX, SOURCE_LINE_CHARS_MAX};
use crate::exec::{ExecError, ExecErrorKind, Position};
use crate::json::write;
use crate::mask::Mask;

/// An error that a script raised while it ran. `fatal` is what the run remembers as its end.
pub(crate) fn run_error(
    error: EvalAltResult,
    fatal: Option<(ExecErrorKind, String)>,
    source: &str,
    mask: &Mask,
) -> ExecError {
    let (mut error, outer) = innermost(error);
    let own = error.take_position();
    let position = position(if own.is_none() { outer } else { own }, source);
    if let Some((kind, message)) = fatal {
        return ExecError { kind, message: cut_hidden(&message, mask), position };
    }
    let kind = match &error {
        EvalAltResult::ErrorTooManyOperations(..)
        | EvalAltResult::ErrorTooManyVariables(..)
        | EvalAltResult::ErrorTooManyModules(..)
        | EvalAltResult::ErrorStackOverflow(..)
        | EvalAltResult::ErrorDataTooLarge(..) => ExecErrorKind::Budget,
        _ => ExecErrorKind::Thrown,
    };
    ExecError { kind, message: cut_hidden(&run_message(&error), mask), position }
}

/// Goes to the place where the error arose, through the calls that it came out of.
fn innermost(mut error: EvalAltResult) -> (EvalAltResult, rhai::Position) {
    let mut outer = rhai::Position::NONE;
    loop {
        match error {
            EvalAltResult::ErrorInFunctionCall(_, _, inner, position)
            | EvalAltResult::ErrorInModule(_, inner, position) => {
                if !position.is_none() {
                    outer = position;
                }
                error = *inner;
            }
            error => return (error, outer),
        }
    }
}

fn run_message(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorRuntime(value, _) => thrown_text(value),
        EvalAltResult::ErrorVariableNotFound(name, _) => format!("there is no variable {name}"),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            format!("there is no function {}", friendly(signature))
        }
        EvalAltResult::ErrorPropertyNotFound(name, _) => format!("there is no property {name}"),
        EvalAltResult::ErrorStackOverflow(_) => {
            "calls its functions too deeply within each other".to_owned()
        }
        EvalAltResult::ErrorDataTooLarge(what, _) => {
            format!(
                "{} is beyond the limit",
                lower_first(what).replace("array/BLOB", "array or blob")
            )
        }
        EvalAltResult::ErrorModuleNotFound(name, _) => format!("there is no module {name}"),
        EvalAltResult::ErrorParsing(kind, _) => parse_message(kind),
        EvalAltResult::ErrorMismatchDataType(wanted, found, _)
            if !wanted.is_empty() && !found.is_empty() =>
        {
            format!("takes {}, not {}", friendly(wanted), friendly(found))
        }
        other => friendly(&lower_first(&other.to_string())),
    }
}

/// What a script threw, as text.
pub(crate) fn thrown_text(value: &Dynamic) -> String {
    if let Ok(text) = value.as_immutable_string_ref() {
        return if text.is_empty() { "threw an empty text".to_owned() } else { text.to_string() };
    }
    if value.is_unit() {
        return "threw without a value".to_owned();
    }
    if let Ok(map) = value.as_map_ref()
        && let Some(message) = map.get("message")
        && let Ok(text) = message.as_immutable_string_ref()
    {
        // Rhai's own errors come as such a map when they are thrown again out of a catch.
        if map.contains_key("error") {
            return friendly(&lower_first(&text));
        }
    }
    write::text(value, "value", MESSAGE_BYTES_MAX)
        .unwrap_or_else(|_| format!("threw {}", kind_of(value)))
}

/// An error found while compiling.
pub(crate) fn compile_error(error: &ParseError, source: &str) -> ExecError {
    ExecError {
        kind: ExecErrorKind::Compile,
        message: cut(parse_message(error.err_type())),
        position: position(error.position(), source),
    }
}

fn parse_message(kind: &ParseErrorType) -> String {
    match kind {
        ParseErrorType::VariableUndefined(name) => format!("there is no variable {name}"),
        ParseErrorType::ModuleUndefined(name) => format!("there is no module {name}"),
        ParseErrorType::ExprTooDeep => {
            "the expression is nested too deeply; name its parts with let".to_owned()
        }
        ParseErrorType::Reserved(name) => format!("{name} cannot be used in scripts"),
        other => friendly(&lower_first(&other.to_string())),
    }
}

fn position(position: rhai::Position, source: &str) -> Option<Position> {
    let line = position.line()?;
    let text = source.lines().nth(line - 1).unwrap_or("");
    Some(Position {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(position.position().unwrap_or(0)).unwrap_or(u32::MAX),
        source_line: text.chars().take(SOURCE_LINE_CHARS_MAX).collect(),
    })
}

/// What a value is, with its article.
pub(crate) fn kind_of(value: &Dynamic) -> &'static str {
    let kind = value.type_id();
    for (known, name) in [
        (TypeId::of::<()>(), "nothing"),
        (TypeId::of::<bool>(), "a bool"),
        (TypeId::of::<i64>(), "an int"),
        (TypeId::of::<f64>(), "a float"),
        (TypeId::of::<char>(), "a char"),
        (TypeId::of::<ImmutableString>(), "a string"),
        (TypeId::of::<Array>(), "an array"),
        (TypeId::of::<Map>(), "a map"),
        (TypeId::of::<Blob>(), "a blob"),
        (TypeId::of::<FnPtr>(), "a function"),
        (TypeId::of::<std::ops::Range<i64>>(), "a range"),
        (TypeId::of::<std::ops::RangeInclusive<i64>>(), "a range"),
        (TypeId::of::<crate::services::kv::KvCollection>(), "a KV collection"),
        (TypeId::of::<crate::services::docs::DocsCollection>(), "a collection of documents"),
    ] {
        if kind == known {
            return name;
        }
    }
    "a value of its own kind"
}

/// Rhai's text with its type names replaced by those that scripts know.
fn friendly(text: &str) -> String {
    let mut text = text
        .replace("&str | ImmutableString | String", "string")
        .replace("alloc::string::String", "string")
        .replace("Fn pointer", "function")
        .replace("Fn", "function");
    for (theirs, ours) in [
        ("i64", "int"),
        ("f64", "float"),
        ("ImmutableString", "string"),
        ("String", "string"),
        ("&str", "string"),
        ("Dynamic", "any value"),
        ("core::ops::range::Range<int>", "range"),
        ("core::ops::range::RangeInclusive<int>", "range"),
    ] {
        text = replace_word(&text, theirs, ours);
    }
    text
}

fn replace_word(text: &str, word: &str, with: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        out.push_str(before);
        let starts = !before.chars().next_back().or(out.chars().next_back()).is_some_and(is_part);
        let ends = !after.chars().next().is_some_and(is_part);
        out.push_str(if starts && ends { with } else { word });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Cuts a text to a number of bytes, marking the cut.
pub(crate) fn cut_to(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8())));
        text.push('…');
        // Lines are kept: what was cut off must not be held on to.
        text.shrink_to_fit();
    }
    text
}

fn cut(text: String) -> String {
    cut_to(text, MESSAGE_BYTES_MAX)
}

/// Hides secrets before the text is cut, which might be within one.
fn cut_hidden(text: &str, mask: &Mask) -> String {
    cut(mask.hide_begin(text, MESSAGE_BYTES_MAX.saturating_add(4)).into_owned())
}

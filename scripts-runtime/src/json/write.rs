//! Script values to JSON text, checked while it is written.

use std::any::TypeId;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rhai::{Array, Blob, Dynamic, ImmutableString, Map};

use crate::bounds::JSON_DEPTH_MAX;
use crate::exec::ExecErrorKind;
use crate::fault::Fault;
use crate::json::BLOB_KEY;

/// Writes `value`; an error says where in `root` what could not be written is.
pub(crate) fn text(value: &Dynamic, root: &str, bytes_max: usize) -> Result<String, Unwritable> {
    let mut writer = Writer { out: String::with_capacity(64), bytes_max };
    match writer.value(value, 0) {
        Ok(()) => Ok(writer.out),
        Err(mut failed) => {
            failed.path.push(root.to_owned());
            failed.path.reverse();
            let place = failed.path.concat();
            Err(match failed.problem {
                Problem::TooLarge => Unwritable::TooLarge(format!(
                    "{root} is larger than {bytes_max} bytes as JSON (reached at {place})"
                )),
                Problem::TooDeep => Unwritable::NoJson(format!(
                    "{place} is nested more than {JSON_DEPTH_MAX} levels deep, which is too deep for JSON"
                )),
                Problem::Is(what) => {
                    Unwritable::NoJson(format!("{place} is {what}, which cannot be JSON"))
                }
            })
        }
    }
}

/// Why a value is not written, in a sentence that names the place like `result.items[3]`.
#[derive(Debug, PartialEq)]
pub(crate) enum Unwritable {
    TooLarge(String),
    NoJson(String),
}

impl Unwritable {
    /// For an argument of a service call: what is too large ends the run, the rest can be caught.
    pub(crate) fn into_fault(self) -> Fault {
        match self {
            Self::TooLarge(message) => Fault::budget(message),
            Self::NoJson(message) => Fault::Thrown(message),
        }
    }

    /// For a run's result.
    pub(crate) fn into_kind_and_message(self) -> (ExecErrorKind, String) {
        match self {
            Self::TooLarge(message) => (ExecErrorKind::Budget, message),
            Self::NoJson(message) => (ExecErrorKind::BadResult, message),
        }
    }
}

enum Problem {
    Is(&'static str),
    TooDeep,
    TooLarge,
}

/// A failure on its way up; every level adds its step to the path.
struct Failed {
    path: Vec<String>,
    problem: Problem,
}

impl Failed {
    fn new(problem: Problem) -> Failed {
        Failed { path: Vec::new(), problem }
    }

    fn within(mut self, step: String) -> Failed {
        // Paths of values that are nested too deeply are cut: their beginning tells enough.
        if self.path.len() >= 16 {
            self.path.remove(0);
        }
        self.path.push(step);
        self
    }
}

struct Writer {
    out: String,
    bytes_max: usize,
}

impl Writer {
    fn value(&mut self, value: &Dynamic, depth: usize) -> Result<(), Failed> {
        let kind = value.type_id();
        if kind == TypeId::of::<ImmutableString>() {
            let text = value.as_immutable_string_ref().map_err(unreadable)?;
            self.string(&text)?;
        } else if kind == TypeId::of::<i64>() {
            let integer = value.as_int().map_err(unreadable)?;
            let _ = write!(self.out, "{integer}");
        } else if kind == TypeId::of::<Map>() {
            let map = value.as_map_ref().map_err(unreadable)?;
            self.map(&map, depth)?;
        } else if kind == TypeId::of::<Array>() {
            let array = value.as_array_ref().map_err(unreadable)?;
            self.array(&array, depth)?;
        } else if kind == TypeId::of::<()>() {
            self.out.push_str("null");
        } else if kind == TypeId::of::<bool>() {
            let truth = value.as_bool().map_err(unreadable)?;
            self.out.push_str(if truth { "true" } else { "false" });
        } else if kind == TypeId::of::<f64>() {
            self.float(value.as_float().map_err(unreadable)?)?;
        } else if kind == TypeId::of::<char>() {
            let character = value.as_char().map_err(unreadable)?;
            self.string(character.encode_utf8(&mut [0; 4]))?;
        } else if kind == TypeId::of::<Blob>() {
            let blob = value.as_blob_ref().map_err(unreadable)?;
            self.blob(&blob)?;
        } else {
            return Err(Failed::new(Problem::Is(crate::message::kind_of(value))));
        }
        self.fits()
    }

    fn fits(&self) -> Result<(), Failed> {
        if self.out.len() > self.bytes_max {
            return Err(Failed::new(Problem::TooLarge));
        }
        Ok(())
    }

    fn float(&mut self, float: f64) -> Result<(), Failed> {
        if float.is_nan() {
            return Err(Failed::new(Problem::Is("not a number (NaN)")));
        }
        if float.is_infinite() {
            return Err(Failed::new(Problem::Is("infinite")));
        }
        // The shortest text that reads back as the same float, always with a point or an exponent.
        let _ = write!(self.out, "{float:?}");
        Ok(())
    }

    fn array(&mut self, array: &Array, depth: usize) -> Result<(), Failed> {
        if depth == JSON_DEPTH_MAX {
            return Err(Failed::new(Problem::TooDeep));
        }
        self.out.push('[');
        for (index, item) in array.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.value(item, depth + 1).map_err(|failed| failed.within(format!("[{index}]")))?;
        }
        self.out.push(']');
        Ok(())
    }

    fn map(&mut self, map: &Map, depth: usize) -> Result<(), Failed> {
        if depth == JSON_DEPTH_MAX {
            return Err(Failed::new(Problem::TooDeep));
        }
        self.out.push('{');
        for (index, (name, value)) in map.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.string(name)?;
            self.out.push(':');
            self.value(value, depth + 1).map_err(|failed| failed.within(step(name)))?;
        }
        self.out.push('}');
        Ok(())
    }

    fn blob(&mut self, blob: &Blob) -> Result<(), Failed> {
        if self.out.len() + blob.len() / 3 * 4 > self.bytes_max {
            return Err(Failed::new(Problem::TooLarge));
        }
        let _ = write!(self.out, "{{\"{BLOB_KEY}\":\"");
        STANDARD.encode_string(blob, &mut self.out);
        self.out.push_str("\"}");
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), Failed> {
        if self.out.len() + text.len() > self.bytes_max {
            return Err(Failed::new(Problem::TooLarge));
        }
        quote(text, &mut self.out);
        Ok(())
    }
}

/// Appends a text as a JSON string.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[clean..at]);
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        clean = at + 1;
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

fn step(name: &str) -> String {
    let plain = !name.is_empty()
        && name.len() <= 40
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain {
        return format!(".{name}");
    }
    let cut: String = name.chars().take(40).collect();
    format!("[{cut:?}]")
}

fn unreadable(_: &'static str) -> Failed {
    Failed::new(Problem::Is("a variable that is being changed"))
}

//! Rhai's own functions that could make something large out of something small, again, with the size checked first;
//! and those that would recurse as deeply as a script nests its data, again, with the depth bounded.
//!
//! The others need no guard: what they make is at most about twice as large as what they are given, and Rhai checks it
//! before the script has it; or they check before they start (`pad`, `blob`, `+` of strings), or call back at each
//! item, which counts as operations.

use std::fmt::Write as _;

use rhai::{Array, Dynamic, Engine, FnPtr, ImmutableString, Map};

use crate::bounds::JSON_DEPTH_MAX;
use crate::fault::Fault;
use crate::message::kind_of;
use crate::run;
use crate::services::Called;

pub(crate) fn register(engine: &mut Engine) {
    register_splits(engine);
    register_replaces(engine);
    for name in ["to_string", "print", "to_debug", "debug"] {
        engine.register_fn(name, |array: &mut Array| text(|out| array_text(array, 0, out)));
        engine.register_fn(name, |map: &mut Map| text(|out| map_text(map, 0, out)));
        engine.register_fn(name, |f: &mut FnPtr| ImmutableString::from(function_text(f)));
    }
}

/// At most as many parts as an array may have.
fn parts<'a>(parts: impl Iterator<Item = &'a str>) -> Called<Array> {
    run::with(|run| {
        let items_max = run.limits.array_items_max;
        let mut array = Array::new();
        for part in parts {
            if array.len() == items_max {
                return Err(Fault::budget(format!(
                    "splits a text into more than {items_max} parts"
                )));
            }
            array.push(ImmutableString::from(part).into());
        }
        run.check_memory()?;
        Ok(array)
    })
}

fn register_splits(engine: &mut Engine) {
    let segments = |count: i64| usize::try_from(count).unwrap_or(0).max(1);
    engine
        .register_fn("to_chars", |text: &str| {
            run::with(|run| {
                let items_max = run.limits.array_items_max;
                if text.chars().count() > items_max {
                    return Err(Fault::budget(format!(
                        "has more than {items_max} characters to split"
                    )));
                }
                Ok(text.chars().map(Dynamic::from).collect::<Array>())
            })
        })
        .register_fn("split", |text: &mut ImmutableString| parts(text.split_whitespace()))
        .register_fn("split", |text: &mut ImmutableString, by: &str| parts(text.split(by)))
        .register_fn("split", |text: &mut ImmutableString, by: char| parts(text.split(by)))
        .register_fn("split", move |text: &mut ImmutableString, by: &str, count: i64| {
            parts(text.splitn(segments(count), by))
        })
        .register_fn("split", move |text: &mut ImmutableString, by: char, count: i64| {
            parts(text.splitn(segments(count), by))
        })
        .register_fn("split_rev", |text: &mut ImmutableString, by: &str| parts(text.rsplit(by)))
        .register_fn("split_rev", |text: &mut ImmutableString, by: char| parts(text.rsplit(by)))
        .register_fn("split_rev", move |text: &mut ImmutableString, by: &str, count: i64| {
            parts(text.rsplitn(segments(count), by))
        })
        .register_fn("split_rev", move |text: &mut ImmutableString, by: char, count: i64| {
            parts(text.rsplitn(segments(count), by))
        });
}

fn replace(text: &mut ImmutableString, find: &str, with: &str) -> Called<()> {
    run::with(|run| {
        let found = text.matches(find).count();
        let removed = found.saturating_mul(find.len());
        let added = found.saturating_mul(with.len());
        let bytes = (text.len() - removed).saturating_add(added);
        let bytes_max = run.limits.string_bytes_max;
        if bytes > bytes_max {
            return Err(Fault::budget(format!(
                "would make a string of more than {bytes_max} bytes"
            )));
        }
        *text = text.replace(find, with).into();
        Ok(())
    })
}

fn register_replaces(engine: &mut Engine) {
    engine
        .register_fn("replace", replace)
        .register_fn("replace", |text: &mut ImmutableString, find: &str, with: char| {
            replace(text, find, with.encode_utf8(&mut [0; 4]))
        })
        .register_fn("replace", |text: &mut ImmutableString, find: char, with: &str| {
            replace(text, find.encode_utf8(&mut [0; 4]), with)
        })
        .register_fn("replace", |text: &mut ImmutableString, find: char, with: char| {
            replace(text, find.encode_utf8(&mut [0; 4]), with.encode_utf8(&mut [0; 4]))
        });
}

fn text(write: impl FnOnce(&mut Text)) -> Called<ImmutableString> {
    run::with(|run| {
        let mut text = Text { out: String::new(), bytes_max: run.limits.string_bytes_max };
        write(&mut text);
        if text.out.len() > text.bytes_max {
            return Err(Fault::budget(format!(
                "would make a string of more than {} bytes",
                text.bytes_max
            )));
        }
        Ok(text.out.into())
    })
}

/// A text that is no longer written once it is too long.
struct Text {
    out: String,
    bytes_max: usize,
}

fn array_text(array: &Array, depth: usize, text: &mut Text) {
    text.out.push('[');
    for (index, item) in array.iter().enumerate() {
        if text.out.len() > text.bytes_max {
            return;
        }
        if index > 0 {
            text.out.push_str(", ");
        }
        value_text(item, depth + 1, text);
    }
    text.out.push(']');
}

fn map_text(map: &Map, depth: usize, text: &mut Text) {
    text.out.push_str("#{");
    for (index, (name, value)) in map.iter().enumerate() {
        if text.out.len() > text.bytes_max {
            return;
        }
        if index > 0 {
            text.out.push_str(", ");
        }
        let _ = write!(text.out, "{name:?}: ");
        value_text(value, depth + 1, text);
    }
    text.out.push('}');
}

fn value_text(value: &Dynamic, depth: usize, text: &mut Text) {
    if depth > JSON_DEPTH_MAX {
        text.out.push('…');
        return;
    }
    if let Ok(array) = value.as_array_ref() {
        array_text(&array, depth, text);
    } else if let Ok(map) = value.as_map_ref() {
        map_text(&map, depth, text);
    } else if let Ok(string) = value.as_immutable_string_ref() {
        let _ = write!(text.out, "{:?}", string.as_str());
    } else if let Some(function) = value.read_lock::<FnPtr>() {
        text.out.push_str(&function_text(&function));
    } else if value.is_unit() {
        text.out.push_str("()");
    } else if value.is_int()
        || value.is_float()
        || value.is_bool()
        || value.is_char()
        || value.is_blob()
    {
        let _ = write!(text.out, "{value:?}");
    } else {
        text.out.push_str(kind_of(value));
    }
}

fn function_text(function: &FnPtr) -> String {
    if function.is_anonymous() {
        "Fn(|…|)".to_owned()
    } else {
        format!("Fn({})", function.fn_name())
    }
}

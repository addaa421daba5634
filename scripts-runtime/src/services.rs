//! What scripts can call. `docs/scripts.md` describes it for users.

/// Adds functions to a module. Rhai does not give the errors of a module's functions their place; this does.
macro_rules! functions {
    ($module:ident: $($name:literal ($($arg:ident: $kind:ty),*) => $call:expr;)*) => {$(
        $module.set_native_fn($name, |ctx: rhai::NativeCallContext, $($arg: $kind),*| {
            $crate::services::placed(&ctx, $call)
        });
    )*};
}

pub(crate) mod dead_letters;
pub(crate) mod docs;
pub(crate) mod encoding;
pub(crate) mod http;
pub(crate) mod json;
pub(crate) mod kv;
pub(crate) mod log;
pub(crate) mod outbox;
pub(crate) mod random;
pub(crate) mod secrets;
pub(crate) mod time;

use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult, Map, NativeCallContext};

use crate::bounds::NAME_BYTES_MAX;
use crate::duration;
use crate::fault::Fault;
use crate::json::write;

/// The result of a function that scripts call.
pub(crate) type Called<T> = Result<T, Box<EvalAltResult>>;

pub(crate) fn register(engine: &mut Engine) {
    kv::register(engine);
    docs::register(engine);
    outbox::register(engine);
    dead_letters::register(engine);
    http::register(engine);
    secrets::register(engine);
    log::register(engine);
    json::register(engine);
    time::register(engine);
    random::register(engine);
    encoding::register(engine);
}

/// Gives an error the place of the call that it came out of.
fn placed<T>(ctx: &NativeCallContext, called: Called<T>) -> Called<T> {
    called.map_err(|mut error| {
        if error.position().is_none() {
            error.set_position(ctx.call_position());
        }
        error
    })
}

/// A collection's name, a key, an id: any text but empty, too long, or with control characters.
fn name(what: &str, text: &str) -> Result<Arc<str>, Fault> {
    if text.is_empty() {
        return Err(Fault::Thrown(format!("{what} is empty")));
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(Fault::Thrown(format!(
            "{what} has {} bytes, at most {NAME_BYTES_MAX} are allowed",
            text.len()
        )));
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(Fault::Thrown(format!(
            "{what} has the control character {}, which is not allowed",
            control.escape_unicode()
        )));
    }
    Ok(text.into())
}

/// A value as JSON text, within the limit of stored values.
fn json_text(value: &Dynamic, what: &str, bytes_max: usize) -> Result<Arc<str>, Fault> {
    let text = write::text(value, what, bytes_max).map_err(write::Unwritable::into_fault)?;
    Ok(text.into())
}

/// The duration under `name` of an option map.
fn duration_ms(name: &str, value: &Dynamic) -> Result<i64, Fault> {
    let Ok(text) = value.as_immutable_string_ref() else {
        return Err(Fault::Thrown(format!("{name} takes a duration like \"10m\"")));
    };
    duration::parse_ms(&text).map_err(|error| Fault::Thrown(format!("{name}: {error}")))
}

/// The text under `name` of an option map.
fn text_option(name: &str, value: &Dynamic) -> Result<Arc<str>, Fault> {
    let Ok(text) = value.as_immutable_string_ref() else {
        return Err(Fault::Thrown(format!("{name} takes a string")));
    };
    self::name(name, &text)
}

fn unknown_option(
    call: &str,
    known: &str,
    options: &Map,
    is_known: fn(&str) -> bool,
) -> Result<(), Fault> {
    match options.keys().find(|name| !is_known(name)) {
        Some(name) => {
            let name: String = name.chars().take(60).collect();
            Err(Fault::Thrown(format!("{call} has no option \"{name}\", {known}")))
        }
        None => Ok(()),
    }
}

//! `json::`.

use rhai::{Dynamic, Engine, ImmutableString, Module};

use crate::json::read::{self, Blobs};
use crate::json::write;
use crate::run;
use crate::services::Called;

pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    functions!(module:
        "parse" (text: ImmutableString) => parse(&text);
        "stringify" (value: Dynamic) => stringify(&value);
    );
    engine.register_static_module("json", module.into());
    // Rhai's own names for the same.
    engine.register_fn("parse_json", |text: ImmutableString| parse(&text));
    engine.register_fn("to_json", |value: rhai::Map| stringify(&value.into()));
}

fn parse(text: &str) -> Called<Dynamic> {
    run::with(|run| read::value(text, "the text", Blobs::AsMaps, &run.limits))
}

fn stringify(value: &Dynamic) -> Called<ImmutableString> {
    run::with(|run| {
        let text = write::text(value, "value", run.limits.string_bytes_max)
            .map_err(write::Unwritable::into_fault)?;
        Ok(text.into())
    })
}

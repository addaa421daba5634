//! `outbox::`: durable work for later.

use rhai::{Dynamic, Engine, ImmutableString, Map, Module};

use crate::effect::Effect;
use crate::fault::Fault;
use crate::host::Need;
use crate::run::{self, Run};
use crate::services::{Called, duration_ms, json_text, name, text_option, unknown_option};

pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    functions!(module:
        "enqueue" (script: ImmutableString, payload: Dynamic) => enqueue(&script, &payload);
        "enqueue" (script: ImmutableString, payload: Dynamic, options: Map) => {
            enqueue_with(&script, &payload, &options)
        };
    );
    engine.register_static_module("outbox", module.into());
}

fn enqueue(script: &str, payload: &Dynamic) -> Called<()> {
    run::service(Need::Invoke, "outbox::enqueue", |run| task(run, script, payload, &Map::new()))
}

fn enqueue_with(script: &str, payload: &Dynamic, options: &Map) -> Called<()> {
    run::service(Need::Invoke, "outbox::enqueue", |run| {
        unknown_option("enqueue", "there are delay, key and dedupe", options, |name| {
            matches!(name, "delay" | "key" | "dedupe")
        })?;
        task(run, script, payload, options)
    })
}

fn task(run: &mut Run, script: &str, payload: &Dynamic, options: &Map) -> Result<(), Fault> {
    let script = name("the script's name", script)?;
    let delay_ms = options.get("delay").map_or(Ok(0), |delay| duration_ms("delay", delay))?;
    let order_key = options.get("key").map(|key| text_option("key", key)).transpose()?;
    let dedupe = options.get("dedupe").map(|value| text_option("dedupe", value)).transpose()?;
    let payload = json_text(payload, "payload", run.limits.value_bytes_max)?;
    run.push(Effect::Enqueue { script, payload, delay_ms, order_key, dedupe })
}

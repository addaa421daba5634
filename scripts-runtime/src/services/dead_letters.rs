//! `dead_letters::`: what a dead-letter handler may do with a dead letter.

use rhai::{Dynamic, Engine, ImmutableString, Module};

use crate::effect::Effect;
use crate::host::Need;
use crate::run;
use crate::services::{Called, json_text, name};

pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    functions!(module:
        "replay" (id: ImmutableString) => replay(&id);
        "replay" (id: ImmutableString, payload: Dynamic) => replay_with(&id, &payload);
        "discard" (id: ImmutableString, reason: ImmutableString) => discard(&id, &reason);
    );
    engine.register_static_module("dead_letters", module.into());
}

fn replay(id: &str) -> Called<()> {
    run::service(Need::ResolveDeadLetters, "dead_letters::replay", |run| {
        let id = name("the dead letter's id", id)?;
        run.push(Effect::ReplayDeadLetter { id, payload: None })
    })
}

fn replay_with(id: &str, payload: &Dynamic) -> Called<()> {
    run::service(Need::ResolveDeadLetters, "dead_letters::replay", |run| {
        let id = name("the dead letter's id", id)?;
        let payload = Some(json_text(payload, "payload", run.limits.value_bytes_max)?);
        run.push(Effect::ReplayDeadLetter { id, payload })
    })
}

fn discard(id: &str, reason: &str) -> Called<()> {
    run::service(Need::ResolveDeadLetters, "dead_letters::discard", |run| {
        let id = name("the dead letter's id", id)?;
        let reason = name("the reason", reason)?;
        run.push(Effect::DiscardDeadLetter { id, reason })
    })
}

//! `secrets::`: what is set from outside and can be read only here.

use rhai::{Engine, ImmutableString, Module};

use crate::exec::ExecErrorKind;
use crate::fault::Fault;
use crate::host::Need;
use crate::run;
use crate::services::{Called, name};

pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    functions!(module: "get" (name: ImmutableString) => get(&name););
    engine.register_static_module("secrets", module.into());
}

fn get(text: &str) -> Called<ImmutableString> {
    run::service(Need::Secrets, "secrets::get", |run| {
        let name = name("the secret's name", text)?;
        match run.host.secret(&name) {
            Ok(Ok(value)) => {
                run.mask.add(&value);
                Ok(ImmutableString::from(&*value))
            }
            Ok(Err(missing)) => Err(Fault::Thrown(missing.to_string())),
            Err(failed) => Err(Fault::Fatal(
                ExecErrorKind::HostFailed,
                format!("the secrets could not be read: {failed}"),
            )),
        }
    })
}

//! `kv::`: values under keys.

#![allow(clippy::needless_pass_by_value, reason = "Rhai hands arguments over by value")]

use std::sync::Arc;

use rhai::{Array, Dynamic, Engine, ImmutableString, Map, Module};

use crate::effect::{Amount, Key, Space};
use crate::entries::{self, Scan};
use crate::fault::Fault;
use crate::find;
use crate::host::Need;
use crate::json::read::{self, Blobs};
use crate::run::{self, Run};
use crate::services::{Called, duration_ms, json_text, name, unknown_option};

/// What `kv::collection(name)` gives.
#[derive(Clone)]
pub(crate) struct KvCollection {
    name: Arc<str>,
}

pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    functions!(module: "collection" (name: ImmutableString) => collection(&name););
    engine.register_static_module("kv", module.into());
    engine
        .register_type_with_name::<KvCollection>("KV collection")
        .register_fn("get", get)
        .register_fn("set", set)
        .register_fn("set", set_with)
        .register_fn("has", has)
        .register_fn("delete", delete)
        .register_fn("incr", incr_int)
        .register_fn("incr", incr_float)
        .register_fn("keys", keys)
        .register_fn("list", list);
}

impl KvCollection {
    fn key(&self, key: &str) -> Result<Key, Fault> {
        Ok(Key { space: Space::Kv, collection: Arc::clone(&self.name), key: name("the key", key)? })
    }
}

fn collection(text: &str) -> Called<KvCollection> {
    run::with(|_| Ok(KvCollection { name: name("the collection's name", text)? }))
}

fn get(kv: &mut KvCollection, key: ImmutableString) -> Called<Dynamic> {
    run::service(Need::Data, "kv get", |run| {
        let key = kv.key(&key)?;
        let Some(text) = entries::get(run, &key)? else { return Ok(Dynamic::UNIT) };
        read::value(&text, &entries::shown(&key), Blobs::Decoded, &run.limits)
    })
}

fn has(kv: &mut KvCollection, key: ImmutableString) -> Called<bool> {
    run::service(Need::Data, "kv has", |run| Ok(entries::get(run, &kv.key(&key)?)?.is_some()))
}

fn set(kv: &mut KvCollection, key: ImmutableString, value: Dynamic) -> Called<()> {
    run::service(Need::Data, "kv set", |run| put(run, kv, &key, &value, None))
}

fn set_with(
    kv: &mut KvCollection,
    key: ImmutableString,
    value: Dynamic,
    options: Map,
) -> Called<()> {
    run::service(Need::Data, "kv set", |run| {
        unknown_option("set", "there is ttl", &options, |name| name == "ttl")?;
        let ttl_ms = options.get("ttl").map(|ttl| duration_ms("ttl", ttl)).transpose()?;
        if ttl_ms == Some(0) {
            return Err(Fault::thrown("ttl is 0; use delete"));
        }
        put(run, kv, &key, &value, ttl_ms)
    })
}

fn put(
    run: &mut Run,
    kv: &KvCollection,
    key: &str,
    value: &Dynamic,
    ttl_ms: Option<i64>,
) -> Result<(), Fault> {
    let key = kv.key(key)?;
    let text = json_text(value, "value", run.limits.value_bytes_max)?;
    entries::put(run, key, text, ttl_ms)
}

fn delete(kv: &mut KvCollection, key: ImmutableString) -> Called<()> {
    run::service(Need::Data, "kv delete", |run| entries::delete(run, kv.key(&key)?))
}

fn incr_int(kv: &mut KvCollection, key: ImmutableString, by: i64) -> Called<()> {
    run::service(Need::Data, "kv incr", |run| {
        entries::increment(run, kv.key(&key)?, Amount::Integer(by))
    })
}

fn incr_float(kv: &mut KvCollection, key: ImmutableString, by: f64) -> Called<()> {
    run::service(Need::Data, "kv incr", |run| {
        if !by.is_finite() {
            return Err(Fault::thrown("incr takes a finite number"));
        }
        entries::increment(run, kv.key(&key)?, Amount::Float(by))
    })
}

fn keys(kv: &mut KvCollection, prefix: ImmutableString) -> Called<Array> {
    run::service(Need::Data, "kv keys", |run| {
        let keys_max = run.limits.array_items_max;
        let mut keys = Array::new();
        let mut scan = Scan::new(run, Space::Kv, &kv.name, prefix.as_str().into(), None);
        while let Some((key, _)) = scan.next(run)? {
            if keys.len() == keys_max {
                return Err(Fault::budget(format!("lists more than {keys_max} keys at once")));
            }
            keys.push(Dynamic::from(ImmutableString::from(&*key)));
            run.check_memory()?;
        }
        Ok(keys)
    })
}

fn list(kv: &mut KvCollection, prefix: ImmutableString, limit: i64) -> Called<Array> {
    run::service(Need::Data, "kv list", |run| {
        let limit =
            find::limit(&limit.into(), run.limits.array_items_max).map_err(Fault::Thrown)?;
        let mut items = Array::new();
        let mut scan = Scan::new(run, Space::Kv, &kv.name, prefix.as_str().into(), None);
        while items.len() < limit
            && let Some((key, text)) = scan.next(run)?
        {
            let value = read::value(&text, "a listed value", Blobs::Decoded, &run.limits)?;
            let mut item = Map::new();
            item.insert("key".into(), ImmutableString::from(&*key).into());
            item.insert("value".into(), value);
            items.push(item.into());
            run.check_memory()?;
        }
        Ok(items)
    })
}

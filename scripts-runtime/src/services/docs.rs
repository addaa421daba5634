//! `docs::`: documents, which are maps under ids.

#![allow(clippy::needless_pass_by_value, reason = "Rhai hands arguments over by value")]

use std::sync::Arc;

use rhai::{Array, Dynamic, Engine, ImmutableString, Map, Module};

use crate::effect::{Key, Space};
use crate::entries;
use crate::fault::Fault;
use crate::filter::Filter;
use crate::find::{self, Options};
use crate::host::Need;
use crate::json::read::{self, Blobs};
use crate::run::{self, Run};
use crate::services::{Called, json_text, name};

/// What `docs::collection(name)` gives.
#[derive(Clone)]
pub(crate) struct DocsCollection {
    name: Arc<str>,
}

pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    functions!(module: "collection" (name: ImmutableString) => collection(&name););
    engine.register_static_module("docs", module.into());
    engine
        .register_type_with_name::<DocsCollection>("documents collection")
        .register_fn("create", create)
        .register_fn("put", put)
        .register_fn("get", get)
        .register_fn("has", has)
        .register_fn("update", update)
        .register_fn("delete", delete)
        .register_fn("find", find_all)
        .register_fn("find", find_with)
        .register_fn("count", count);
}

impl DocsCollection {
    fn key(&self, id: &str) -> Result<Key, Fault> {
        Ok(Key {
            space: Space::Docs,
            collection: Arc::clone(&self.name),
            key: name("the document's id", id)?,
        })
    }
}

fn collection(text: &str) -> Called<DocsCollection> {
    run::with(|_| Ok(DocsCollection { name: name("the collection's name", text)? }))
}

fn create(docs: &mut DocsCollection, data: Map) -> Called<ImmutableString> {
    run::service(Need::Data, "docs create", |run| {
        let id = run.random.document_id(run.now_ms);
        let text = document_text(run, data)?;
        entries::put(run, docs.key(&id)?, text, None)?;
        Ok(id.into())
    })
}

fn put(docs: &mut DocsCollection, id: ImmutableString, data: Map) -> Called<()> {
    run::service(Need::Data, "docs put", |run| {
        let key = docs.key(&id)?;
        let text = document_text(run, data)?;
        entries::put(run, key, text, None)
    })
}

fn get(docs: &mut DocsCollection, id: ImmutableString) -> Called<Dynamic> {
    run::service(Need::Data, "docs get", |run| {
        let key = docs.key(&id)?;
        let Some(text) = entries::get(run, &key)? else { return Ok(Dynamic::UNIT) };
        read::value(&text, &entries::shown(&key), Blobs::Decoded, &run.limits)
    })
}

fn has(docs: &mut DocsCollection, id: ImmutableString) -> Called<bool> {
    run::service(Need::Data, "docs has", |run| Ok(entries::get(run, &docs.key(&id)?)?.is_some()))
}

fn update(docs: &mut DocsCollection, id: ImmutableString, patch: Map) -> Called<()> {
    run::service(Need::Data, "docs update", |run| {
        let key = docs.key(&id)?;
        let text = json_text(&patch.into(), "patch", run.limits.value_bytes_max)?;
        entries::patch(run, key, text)
    })
}

fn delete(docs: &mut DocsCollection, id: ImmutableString) -> Called<()> {
    run::service(Need::Data, "docs delete", |run| entries::delete(run, docs.key(&id)?))
}

fn find_all(docs: &mut DocsCollection, filter: Map) -> Called<Array> {
    run::service(Need::Data, "docs find", |run| found(run, docs, &filter, &Options::none()))
}

fn find_with(docs: &mut DocsCollection, filter: Map, options: Map) -> Called<Array> {
    run::service(Need::Data, "docs find", |run| {
        let options =
            Options::parse(&options, run.limits.array_items_max).map_err(Fault::Thrown)?;
        found(run, docs, &filter, &options)
    })
}

fn found(
    run: &mut Run,
    docs: &DocsCollection,
    filter: &Map,
    options: &Options,
) -> Result<Array, Fault> {
    let filter = Filter::parse(filter).map_err(Fault::Thrown)?;
    let found = find::find(run, &docs.name, &filter, options)?;
    let item = |document: find::Found| {
        let mut item = Map::new();
        item.insert("id".into(), ImmutableString::from(&*document.id).into());
        item.insert("data".into(), document.data);
        Dynamic::from_map(item)
    };
    Ok(found.into_iter().map(item).collect())
}

fn count(docs: &mut DocsCollection, filter: Map) -> Called<i64> {
    run::service(Need::Data, "docs count", |run| {
        let filter = Filter::parse(&filter).map_err(Fault::Thrown)?;
        find::count(run, &docs.name, &filter)
    })
}

fn document_text(run: &Run, data: Map) -> Result<Arc<str>, Fault> {
    json_text(&data.into(), "data", run.limits.value_bytes_max)
}

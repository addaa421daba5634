//! KV entries and documents: browsed, edited.

use axum::response::Response;
use picloud_api::data::{CollectionItem, EntriesQuery, EntryPut};
use picloud_api::list::{Page, PageQuery};
use picloud_api::problem::{Code, Problem};
use picloud_scripts_runtime::bounds::NAME_BYTES_MAX;
use picloud_scripts_runtime::effect::{Effect, Key, Space};
use picloud_scripts_runtime::host;
use serde::Deserialize;

use std::sync::Arc;

use crate::admin::answer::scripts::checked;
use crate::admin::answer::{json, limit, page_limit, tagged};
use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::admin::engine::data::{Edit, Mode, PAGE_BYTES_MAX};
use crate::manifest::words;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteQuery {
    #[serde(default)]
    dry_run: bool,
}

/// The names of an app's collections; the cursor is the name before.
pub(super) async fn collections(
    engine: &Engine,
    request: &Request,
    space: Space,
) -> Result<Response, Problem> {
    let query: PageQuery = request.query()?;
    let limit = limit(&query)?;
    let app = request.app()?;
    let after = query.after.unwrap_or_default();
    let names = engine.collections(app, space, &after, limit).await?;
    let next = names.last().filter(|_| names.len() == limit).map(ToString::to_string);
    let items = names.iter().map(|name| CollectionItem {
        app: app.slug.to_string(),
        space: word(space).to_owned(),
        collection: name.to_string(),
    });
    json(&Page { items: items.collect(), next, now: engine.clock.now().0 })
}

/// The entries of a collection in the order of their keys' bytes; the cursor is the key before.
pub(super) async fn list(
    engine: &Engine,
    request: &Request,
    space: Space,
) -> Result<Response, Problem> {
    let query: EntriesQuery = request.query()?;
    let page = host::Page {
        space,
        collection: name("the collection's name", request.segment("collection")?)?,
        prefix: query.prefix.unwrap_or_default().into(),
        after: query.after.map(Into::into),
        limit: page_limit(query.limit)?,
        bytes_max: PAGE_BYTES_MAX,
    };
    let (items, next) = engine.entries(request.app()?, page).await?;
    json(&Page { items, next, now: engine.clock.now().0 })
}

pub(super) async fn show(
    engine: &Engine,
    request: &Request,
    space: Space,
) -> Result<Response, Problem> {
    let (app, key) = (request.app()?, key(request, space)?);
    let found = engine.entry(app, &key).await?.ok_or_else(|| {
        let (word, collection, key) = (word(space), &key.collection, &key.key);
        Problem::new(Code::NotFound, format!("{word} {collection}/{key} is not there"))
            .with_hint(format!("`picloud {word} list {}/{collection}` shows what is", app.slug))
    })?;
    tagged(&found, found.version)
}

pub(super) async fn put(
    engine: &Engine,
    request: &Request,
    space: Space,
) -> Result<Response, Problem> {
    let key = key(request, space)?;
    write(engine, request, key).await
}

/// A document under a new id.
pub(super) async fn create(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    let collection = name("the collection's name", request.segment("collection")?)?;
    let id = engine.ids.next(engine.clock.now()).to_string();
    write(engine, request, Key { space: Space::Docs, collection, key: id.into() }).await
}

async fn write(engine: &Engine, request: &Request, key: Key) -> Result<Response, Problem> {
    let body: EntryPut = request.body(Code::BadRequest)?;
    let text = checked("value", &body.value)?;
    let unfit = |detail: String| Problem::new(Code::Unfit, detail);
    if key.space == Space::Docs && !text.starts_with('{') {
        return Err(unfit("value: a document is a map".to_owned()));
    }
    // As a script would have written it.
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| unfit(format!("value: {error}")))?;
    let ttl_ms = match (&body.ttl, key.space) {
        (None, _) => None,
        (Some(_), Space::Docs) => {
            return Err(unfit("ttl: documents do not expire".to_owned()));
        }
        (Some(ttl), Space::Kv) => match words::duration_ms("ttl", ttl).map_err(unfit)? {
            ms if ms > 0 => Some(ms),
            _ => return Err(unfit(format!("ttl {ttl} is no time at all"))),
        },
    };
    let mode = if body.dry_run { Mode::DryRun } else { Mode::ForReal };
    let effect = Effect::Put { key: key.clone(), value: value.to_string().into(), ttl_ms };
    edit(engine, request, key, effect, mode).await
}

pub(super) async fn delete(
    engine: &Engine,
    request: &Request,
    space: Space,
) -> Result<Response, Problem> {
    let query: DeleteQuery = request.query()?;
    let mode = if query.dry_run { Mode::DryRun } else { Mode::ForReal };
    let key = key(request, space)?;
    edit(engine, request, key.clone(), Effect::Delete { key }, mode).await
}

async fn edit(
    engine: &Engine,
    request: &Request,
    key: Key,
    effect: Effect,
    mode: Mode,
) -> Result<Response, Problem> {
    let edit = Edit {
        app: Arc::clone(request.app()?),
        principal: request.principal.id,
        key,
        effect,
        expected: request.expected()?,
    };
    let edited = engine.edit(&edit, mode).await?;
    match edited.version {
        Some(version) => tagged(&edited, version),
        None => json(&edited),
    }
}

fn key(request: &Request, space: Space) -> Result<Key, Problem> {
    Ok(Key {
        space,
        collection: name("the collection's name", request.segment("collection")?)?,
        key: name("the key", request.segment("key")?)?,
    })
}

/// A name exactly as it was sent, if a script could have written it too.
fn name(what: &str, text: &str) -> Result<Arc<str>, Problem> {
    let unfit = |detail: String| Err(Problem::new(Code::Unfit, detail));
    if text.is_empty() {
        return unfit(format!("{what} is empty"));
    }
    if text.len() > NAME_BYTES_MAX {
        let bytes = text.len();
        return unfit(format!("{what} has {bytes} bytes, at most {NAME_BYTES_MAX} are allowed"));
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        let control = control.escape_unicode();
        return unfit(format!("{what} has the control character {control}, which is not allowed"));
    }
    Ok(text.into())
}

fn word(space: Space) -> &'static str {
    match space {
        Space::Kv => "kv",
        Space::Docs => "docs",
    }
}

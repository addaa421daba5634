//! `find` and `count`: a collection is read page by page, and only what the answer needs is kept.

use std::cmp::Ordering;
use std::sync::Arc;

use rhai::{Dynamic, Map};

use crate::effect::{Key, Space};
use crate::entries::{self, Scan};
use crate::fault::Fault;
use crate::filter::{Filter, Path, sort_order};
use crate::json::read::{self, Blobs};
use crate::run::Run;

/// Fields that one `sort` may name.
const SORT_FIELDS_MAX: usize = 8;

/// How an answer is ordered and cut.
pub(crate) struct Options {
    sort: Vec<(Path, Direction)>,
    limit: Option<usize>,
    after: Option<Arc<str>>,
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

/// A document that matched.
pub(crate) struct Found {
    pub(crate) id: Arc<str>,
    pub(crate) data: Dynamic,
    sort_values: Vec<Dynamic>,
}

impl Options {
    pub(crate) fn none() -> Options {
        Options { sort: Vec::new(), limit: None, after: None }
    }

    pub(crate) fn parse(options: &Map, items_max: usize) -> Result<Options, String> {
        let mut read = Options::none();
        for (name, value) in options {
            match name.as_str() {
                "sort" => read.sort = sort_fields(value)?,
                "limit" => read.limit = Some(limit(value, items_max)?),
                "after" if value.is_unit() => (),
                "after" => {
                    let id = value.as_immutable_string_ref();
                    read.after =
                        Some(id.map_err(|_| "after takes a document's id")?.as_str().into());
                }
                other => {
                    return Err(format!(
                        "find has no option \"{other}\", there are sort, limit and after"
                    ));
                }
            }
        }
        Ok(read)
    }
}

/// A limit from 1 to what an array may hold.
pub(crate) fn limit(value: &Dynamic, items_max: usize) -> Result<usize, String> {
    let limit = value.as_int().ok().and_then(|limit| usize::try_from(limit).ok());
    limit
        .filter(|limit| (1..=items_max).contains(limit))
        .ok_or_else(|| format!("limit takes an integer from 1 to {items_max}"))
}

fn sort_fields(value: &Dynamic) -> Result<Vec<(Path, Direction)>, String> {
    let wrong = || {
        format!(
            "sort takes a field like \"at\" or \"-at\" (falling), or an array of up to {SORT_FIELDS_MAX}"
        )
    };
    let field = |value: &Dynamic| {
        let text = value.as_immutable_string_ref().map_err(|_| wrong())?;
        let (path, direction) = match text.strip_prefix('-') {
            Some(path) => (path, Direction::Down),
            None => (text.as_str(), Direction::Up),
        };
        Ok((Path::parse(path)?, direction))
    };
    let Ok(fields) = value.as_array_ref() else { return Ok(vec![field(value)?]) };
    if fields.is_empty() || fields.len() > SORT_FIELDS_MAX {
        return Err(wrong());
    }
    fields.iter().map(field).collect()
}

/// The documents that match, in order of their ids unless `options` sort them otherwise.
pub(crate) fn find(
    run: &mut Run,
    collection: &Arc<str>,
    filter: &Filter,
    options: &Options,
) -> Result<Vec<Found>, Fault> {
    if options.sort.is_empty() {
        return in_order_of_ids(run, collection, filter, options);
    }
    let after = match &options.after {
        Some(id) => Some(last_page_end(run, collection, id, options)?),
        None => None,
    };
    let items_max = run.limits.array_items_max;
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut found: Vec<Found> = Vec::new();
    let mut scan = Scan::new(run, Space::Docs, collection, "".into(), None);
    while let Some((id, text)) = scan.next(run)? {
        let Some(data) = matching(run, collection, &id, &text, filter)? else { continue };
        let sort_values = sort_values(&data, options);
        let document = Found { id, data, sort_values };
        if after.as_ref().is_some_and(|after| order(&document, after, options).is_le()) {
            continue;
        }
        found.push(document);
        // Sorting now and then instead of a heap: the same order, and simpler.
        if found.len() >= limit.saturating_mul(2).max(64) {
            found.sort_unstable_by(|a, b| order(a, b, options));
            found.truncate(limit);
        }
        fits(&found, items_max)?;
    }
    found.sort_unstable_by(|a, b| order(a, b, options));
    found.truncate(limit);
    Ok(found)
}

fn in_order_of_ids(
    run: &mut Run,
    collection: &Arc<str>,
    filter: &Filter,
    options: &Options,
) -> Result<Vec<Found>, Fault> {
    let items_max = run.limits.array_items_max;
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut scan = Scan::new(run, Space::Docs, collection, "".into(), options.after.clone());
    while found.len() < limit
        && let Some((id, text)) = scan.next(run)?
    {
        if let Some(data) = matching(run, collection, &id, &text, filter)? {
            found.push(Found { id, data, sort_values: Vec::new() });
            fits(&found, items_max)?;
        }
    }
    Ok(found)
}

pub(crate) fn count(run: &mut Run, collection: &Arc<str>, filter: &Filter) -> Result<i64, Fault> {
    let mut count = 0;
    let mut scan = Scan::new(run, Space::Docs, collection, "".into(), None);
    while let Some((id, text)) = scan.next(run)? {
        if matching(run, collection, &id, &text, filter)?.is_some() {
            count += 1;
        }
    }
    Ok(count)
}

fn matching(
    run: &Run,
    collection: &Arc<str>,
    id: &Arc<str>,
    text: &str,
    filter: &Filter,
) -> Result<Option<Dynamic>, Fault> {
    let name = format!("docs {collection:?}, {id:?}");
    let data = read::value(text, &name, Blobs::Decoded, &run.limits)?;
    run.check_memory()?;
    Ok(filter.matches(&data).then_some(data))
}

fn fits(found: &[Found], items_max: usize) -> Result<(), Fault> {
    if found.len() > items_max {
        return Err(Fault::budget(format!(
            "finds more than {items_max} documents at once; give find a limit"
        )));
    }
    Ok(())
}

/// The document that ended the page before, which the next one begins behind.
fn last_page_end(
    run: &mut Run,
    collection: &Arc<str>,
    id: &Arc<str>,
    options: &Options,
) -> Result<Found, Fault> {
    let key = Key { space: Space::Docs, collection: Arc::clone(collection), key: Arc::clone(id) };
    let Some(text) = entries::get(run, &key)? else {
        return Err(Fault::Thrown(format!(
            "after names {}, which does not exist (any more)",
            entries::shown(&key)
        )));
    };
    let data = read::value(&text, &entries::shown(&key), Blobs::Decoded, &run.limits)?;
    let sort_values = sort_values(&data, options);
    Ok(Found { id: Arc::clone(id), data: Dynamic::UNIT, sort_values })
}

fn sort_values(data: &Dynamic, options: &Options) -> Vec<Dynamic> {
    let value = |path: &Path| path.visit(data, |value| value.cloned().unwrap_or_default());
    options.sort.iter().map(|(path, _)| value(path)).collect()
}

fn order(a: &Found, b: &Found, options: &Options) -> Ordering {
    let pairs = a.sort_values.iter().zip(&b.sort_values);
    for ((_, direction), (a, b)) in options.sort.iter().zip(pairs) {
        let order = match direction {
            Direction::Up => sort_order(a, b),
            Direction::Down => sort_order(b, a),
        };
        if order.is_ne() {
            return order;
        }
    }
    a.id.cmp(&b.id)
}

//! KV entries and documents as the admin API sees them.

use std::sync::Arc;

use picloud_api::data::{Edited, EntryItem, Writer};
use picloud_api::problem::{Code, Problem};
use picloud_scripts_runtime::effect::{Effect, Key, Read, Space};
use picloud_scripts_runtime::host::Page;

use crate::admin::engine::Engine;
use crate::admin::engine::scripts::{broken, fired_items, raw, space, write_items};
use crate::catalog::{App, Catalog};
use crate::entry::{Entry, EntryKey};
use crate::flow::mutate::Mutate;
use crate::flow::{Command, Refusal};
use crate::ids::PrincipalId;
use crate::store::writer::{CommitError, NotTaken};

/// Bytes of keys and values in one page of a list; the page ends with the entry that goes beyond.
pub const PAGE_BYTES_MAX: usize = 4 << 20;
/// How often an edit that names no version is made anew when somebody else is faster.
const EDIT_TRIES: usize = 3;

/// One edit of one entry.
#[derive(Clone, Debug)]
pub struct Edit {
    pub app: Arc<App>,
    pub principal: PrincipalId,
    pub key: Key,
    pub effect: Effect,
    /// The version that the editor saw.
    pub expected: Option<i64>,
}

/// Whether an edit is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    ForReal,
    DryRun,
}

impl Engine {
    pub async fn collections(
        &self,
        app: &App,
        space: Space,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, Problem> {
        let found = self.reader.collections(app.id, space, after, limit).await;
        found.map_err(|error| broken(&error))
    }

    /// A page of a collection, and the cursor of the next one.
    pub async fn entries(
        &self,
        app: &App,
        page: Page,
    ) -> Result<(Vec<EntryItem>, Option<String>), Problem> {
        let found = self.reader.entries(app.id, &page, self.clock.now()).await;
        let found = found.map_err(|error| broken(&error))?;
        let bytes = found.iter().map(|(key, entry)| key.len() + entry.value.len()).sum();
        let next = match found.last() {
            Some((key, _)) if page.is_full(found.len(), bytes) => Some(key.to_string()),
            Some(_) | None => None,
        };
        let catalog = self.catalog();
        let item = |(key, entry): (Arc<str>, Entry)| {
            let key = Key { space: page.space, collection: Arc::clone(&page.collection), key };
            entry_item(app, &key, &entry, &catalog)
        };
        let items = found.into_iter().map(item).collect::<Result<_, Problem>>()?;
        Ok((items, next))
    }

    pub async fn entry(&self, app: &App, key: &Key) -> Result<Option<EntryItem>, Problem> {
        let found = self.stored(app, key).await?;
        found.map(|entry| entry_item(app, key, &entry, &self.catalog())).transpose()
    }

    async fn stored(&self, app: &App, key: &Key) -> Result<Option<Entry>, Problem> {
        let key = EntryKey { app: app.id, key: key.clone() };
        let found = self.reader.entry(&key, self.clock.now()).await;
        found.map_err(|error| broken(&error))
    }

    /// Edits an entry as a script would: triggers are set off. What the answer says is what was committed, since the edit
    /// is made only if the entry is still what it was when the answer was put together.
    pub async fn edit(&self, edit: &Edit, mode: Mode) -> Result<Edited, Problem> {
        for _ in 0..EDIT_TRIES {
            let mutate = self.mutate_of(edit);
            let (facts, planned) = self.rehearse(&Command::Mutate(mutate.clone())).await?;
            let writes = planned.map_err(|refusal| refused(edit, &refusal))?;
            let edited = Edited {
                app: edit.app.slug.to_string(),
                dry_run: mode == Mode::DryRun,
                write: write_items(&facts, &writes).pop(),
                triggers: fired_items(&writes, &facts.catalog),
                root_id: None,
                version: None,
            };
            if mode == Mode::DryRun || edited.write.is_none() {
                return Ok(edited);
            }
            let key = EntryKey { app: edit.app.id, key: edit.key.clone() };
            let version = facts.entry(&key).map_or(0, |entry| entry.version);
            let reads = vec![Read { key: edit.key.clone(), version }];
            let (id, mutate) = (mutate.id, Mutate { reads, ..mutate });
            match self.writer.commit(Command::Mutate(mutate)).await {
                Ok(()) => return self.edited(edit, edited, id).await,
                Err(CommitError::Refused(Refusal::Conflict)) if edit.expected.is_none() => {}
                Err(CommitError::Refused(refusal)) => return Err(refused(edit, &refusal)),
                Err(CommitError::NotTaken(NotTaken::Stopping)) => {
                    return Err(Problem::new(Code::Stopping, "the daemon is stopping"));
                }
                Err(error @ CommitError::NotTaken(NotTaken::Full)) => {
                    return Err(Problem::new(Code::Busy, error.to_string()));
                }
                Err(error @ CommitError::Unknown) => {
                    return Err(Problem::new(Code::Internal, error.to_string()));
                }
            }
        }
        let detail = format!("others keep changing {}", shown(&edit.key));
        Err(Problem::new(Code::Conflict, detail).with_hint("repeat it in a moment"))
    }

    fn mutate_of(&self, edit: &Edit) -> Mutate {
        let seen = edit.expected.map(|version| Read { key: edit.key.clone(), version });
        Mutate {
            id: self.ids.next(self.clock.now()),
            app: edit.app.id,
            principal: edit.principal,
            reads: seen.into_iter().collect(),
            effects: vec![edit.effect.clone()],
        }
    }

    /// The answer to an edit that is durable.
    async fn edited(
        &self,
        edit: &Edit,
        edited: Edited,
        root: crate::ids::Id,
    ) -> Result<Edited, Problem> {
        let root = root.to_string();
        let stored = self.stored(&edit.app, &edit.key).await?;
        let own = stored.filter(|entry| entry.written_by.ends_with(&root));
        Ok(Edited { version: own.map(|entry| entry.version), root_id: Some(root), ..edited })
    }
}

fn refused(edit: &Edit, refusal: &Refusal) -> Problem {
    let key = shown(&edit.key);
    match refusal {
        Refusal::Conflict => {
            let expected = edit.expected.unwrap_or_default();
            let detail = format!("{key} was changed meanwhile: it is not at version {expected}");
            Problem::new(Code::Changed, detail).with_hint("look at it again, then repeat")
        }
        Refusal::AppDeleted => {
            let detail = format!("app \"{}\" was deleted meanwhile", edit.app.slug);
            Problem::new(Code::NotFound, detail)
        }
        Refusal::StorageLow => Problem::new(Code::StorageLow, refusal.to_string()),
        Refusal::StoreFailed(_) | Refusal::CommandFailed(_) => {
            Problem::new(Code::Internal, refusal.to_string())
        }
        Refusal::AppFull { .. } => Problem::new(Code::Busy, refusal.to_string())
            .with_hint("let the triggers' rows run, or pause what brings more"),
        Refusal::FanOut { .. } | Refusal::TooManyDelayed { .. } | Refusal::NotApplicable { .. } => {
            Problem::new(Code::Unfit, refusal.to_string())
        }
        Refusal::LeaseLost
        | Refusal::NoSuchScript(_)
        | Refusal::Letter { .. }
        | Refusal::Answered(_)
        | Refusal::Declined(_)
        | Refusal::KeyReused => Problem::new(Code::Internal, refusal.to_string()),
    }
}

fn shown(key: &Key) -> String {
    format!("{} {}/{}", space(key.space), key.collection, key.key)
}

fn entry_item(
    app: &App,
    key: &Key,
    entry: &Entry,
    catalog: &Catalog,
) -> Result<EntryItem, Problem> {
    let value = raw(&entry.value)
        .ok_or_else(|| Problem::new(Code::Internal, format!("{} is no JSON", shown(key))))?;
    Ok(EntryItem {
        app: app.slug.to_string(),
        space: space(key.space).to_owned(),
        collection: key.collection.to_string(),
        key: key.key.to_string(),
        value,
        version: entry.version,
        expires_at: entry.expires_at.map(|at| at.0),
        written_by: writer_of(&entry.written_by, catalog),
    })
}

/// Who wrote an entry, from the text that is stored with it: `SCRIPT@VERSION ROOT CAUSE`, or `principal N ROOT`.
fn writer_of(text: &str, catalog: &Catalog) -> Writer {
    let mut words = text.split(' ');
    let first = words.next().unwrap_or_default();
    if first == "principal" {
        let number = words.next().unwrap_or_default();
        let known = number.parse().ok().and_then(|id| catalog.principals.get(&PrincipalId(id)));
        let name = known.map_or_else(|| format!("principal {number}"), |one| one.name.clone());
        let root_id = words.next().map(str::to_owned);
        return Writer { principal: Some(name), root_id, ..Writer::default() };
    }
    let (script, version) = first.split_once('@').unwrap_or((first, ""));
    Writer {
        script: Some(script.to_owned()).filter(|script| !script.is_empty()),
        script_version: version.parse().ok(),
        root_id: words.next().map(str::to_owned),
        cause_id: words.next().map(str::to_owned),
        principal: None,
    }
}

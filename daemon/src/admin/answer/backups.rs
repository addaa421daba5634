//! Backups: those that are kept, and a new one.

use axum::response::Response;
use picloud_api::backups::{BackupItem, BackupStarted};
use picloud_api::list::{Page, PageQuery};
use picloud_api::problem::{Code, Problem};

use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::backups::{Backup, NotBegun, State};
use crate::flow::configure::Planned;
use crate::flow::configure::backups::started;

/// The newest first; the cursor is the name before.
pub(super) async fn list(engine: &Engine, request: &Request) -> Result<Page<BackupItem>, Problem> {
    let query: PageQuery = request.query()?;
    let limit = super::limit(&query)?;
    let mut all = engine.all_backups().await?;
    if let Some(after) = &query.after {
        all.retain(|backup| backup.name < *after);
    }
    let next = (all.len() > limit).then(|| all[limit - 1].name.clone());
    let items = all.iter().take(limit).map(|backup| item(engine, backup)).collect();
    Ok(Page { items, next, now: engine.clock.now().0 })
}

/// It is on record before it is begun, so that the backup has that, too.
pub(super) async fn start(engine: &Engine, request: &Request) -> Result<Response, Problem> {
    request.no_body()?;
    let turn = engine.backup_turn().await?.map_err(|error| refused(&error))?;
    let (name, by, at) = (turn.name().to_owned(), request.principal.id, turn.begun_at());
    let planned = engine.configure(move |_, _| {
        Ok(Planned { changes: vec![started(&name, by, at)], answer: (), next: 0 })
    });
    planned.await?;
    let state = State::Running { bytes: 0 };
    let backup = Backup { name: turn.name().to_owned(), begun_at: at, state };
    engine.backups.begin(turn);
    let has_secrets = request.catalog.has_secrets();
    super::accepted(&BackupStarted {
        backup: item(engine, &backup),
        key_file: has_secrets.then(|| engine.places.key_file.display().to_string()),
    })
}

fn refused(error: &NotBegun) -> Problem {
    let (code, hint) = match error {
        NotBegun::Running(_) => {
            (Code::AlreadyRunning, "`picloud backups list` shows how far it is".to_owned())
        }
        NotBegun::NoRoom { .. } => (
            Code::StorageLow,
            "make room, have fewer kept with [limits.store] kept_backups_max, or name another disk with [backups] directory"
                .to_owned(),
        ),
        NotBegun::Stopping => (Code::Stopping, "repeat it once the daemon runs again".to_owned()),
    };
    Problem::new(code, error.to_string()).with_hint(hint)
}

fn item(engine: &Engine, backup: &Backup) -> BackupItem {
    let Backup { name, begun_at, state } = backup;
    let path = engine.backups.path_of(name).display().to_string();
    let item =
        BackupItem { name: name.clone(), path, begun_at: begun_at.0, ..BackupItem::default() };
    match state {
        State::Running { bytes } => {
            BackupItem { state: "running".to_owned(), bytes: Some(*bytes), ..item }
        }
        State::Done { bytes, took_ms } => BackupItem {
            state: "done".to_owned(),
            took_ms: Some(*took_ms),
            bytes: Some(*bytes),
            verified: true,
            ..item
        },
        State::Failed { error, took_ms } => BackupItem {
            state: "failed".to_owned(),
            took_ms: Some(*took_ms),
            error: Some(error.clone()),
            ..item
        },
    }
}

//! Secrets: listed by name, set, deleted. A value goes in here and nowhere out.

use std::sync::Arc;

use picloud_api::list::{Page, PageQuery};
use picloud_api::problem::{Code, Problem};
use picloud_api::secrets::{SecretAnswer, SecretItem, SecretPut};
use picloud_scripts_runtime::mask::SECRET_CHARACTERS_MIN;

use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::flow::configure::secrets::{Secret, plan_delete, plan_set};
use crate::manifest::words;
use crate::vault;

/// By name; the cursor is the name before.
pub(super) async fn list(engine: &Engine, request: &Request) -> Result<Page<SecretItem>, Problem> {
    let query: PageQuery = request.query()?;
    let limit = super::limit(&query)?;
    let after = query.after.unwrap_or_default();
    let app = request.app()?.id;
    let sealed = engine.reader.secrets_sealed(app).await;
    let sealed = sealed.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let lost = |name: &str| {
        let (_, value) = sealed.iter().find(|(known, _)| **known == *name)?;
        engine.vault.open(app, name, value).err().map(|error| vault::told(&error))
    };
    let catalog = engine.catalog();
    let mut known = catalog.secrets_of(app).filter(|(name, _)| ***name > *after).peekable();
    let page = known.by_ref().take(limit);
    let items = page.map(|(name, note)| SecretItem {
        name: name.to_string(),
        set_at: note.set_at.0,
        set_by: catalog.principals.get(&note.set_by).map(|by| by.name.clone()),
        lost: lost(name),
    });
    let items: Vec<SecretItem> = items.collect();
    let next = items.last().map(|last| last.name.clone()).filter(|_| known.peek().is_some());
    Ok(Page { items, next, now: engine.clock.now().0 })
}

pub(super) async fn set(engine: &Engine, request: &Request) -> Result<SecretAnswer, Problem> {
    let app = request.app()?.id;
    let name = words::secret(request.segment("name")?)
        .map_err(|message| Problem::new(Code::BadRequest, message))?;
    let SecretPut { value } = body(request)?;
    check(&value, engine.secret_limits.value_bytes_max)?;
    let sealed = engine.vault.seal(app, &name, &value).map_err(|error| {
        Problem::new(Code::Internal, vault::told(&error))
            .with_hint("[secrets] key_file names the file; the daemon's user has to own it")
    })?;
    let (set_by, set_at) = (request.principal.id, engine.clock.now());
    let secret = Secret { app, name, sealed, set_at, set_by };
    let secrets_max = engine.secret_limits.secrets_max;
    engine.configure(move |catalog, _| plan_set(catalog, secret, secrets_max)).await
}

pub(super) async fn delete(engine: &Engine, request: &Request) -> Result<SecretAnswer, Problem> {
    let app = request.app()?.id;
    let name: Arc<str> = request.segment("name")?.into();
    let (by, now) = (request.principal.id, engine.clock.now());
    engine.configure(move |catalog, _| plan_delete(catalog, (app, &name), by, now)).await
}

/// A body that is wrong is not repeated in the error, as others are: it may be a secret.
fn body(request: &Request) -> Result<SecretPut, Problem> {
    serde_json::from_slice(&request.body).map_err(|_| {
        Problem::new(Code::BadRequest, "the body has to be {\"value\": \"...\"} and nothing else")
    })
}

fn check(value: &str, value_bytes_max: usize) -> Result<(), Problem> {
    let refuse = |message: String| Err(Problem::new(Code::BadRequest, message));
    if value.len() > value_bytes_max {
        return refuse(format!(
            "the value has {} bytes, at most {value_bytes_max} are allowed",
            value.len()
        ));
    }
    if value.chars().count() < SECRET_CHARACTERS_MIN {
        return refuse(format!(
            "the value has fewer than {SECRET_CHARACTERS_MIN} characters: it could not be hidden in logs and errors"
        ));
    }
    if value.contains('\0') {
        return refuse("the value has a NUL character, which is not allowed".to_owned());
    }
    Ok(())
}

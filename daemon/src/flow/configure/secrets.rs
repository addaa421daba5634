//! Setting and deleting secrets. Values come sealed: no plan ever sees one.

use std::sync::Arc;

use picloud_api::secrets::SecretAnswer;

use crate::catalog::{App, Catalog};
use crate::flow::configure::{Audit, CatalogChange, Planned, Unfit};
use crate::ids::{AppId, PrincipalId};
use crate::time::Timestamp;

/// A sealed value on its way to the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    pub app: AppId,
    pub name: Arc<str>,
    pub sealed: Vec<u8>,
    pub set_at: Timestamp,
    pub set_by: PrincipalId,
}

/// Sets a secret of an app, new or not. An app has at most `secrets_max`.
pub fn plan_set(
    catalog: &Catalog,
    secret: Secret,
    secrets_max: usize,
) -> Result<Planned<SecretAnswer>, Unfit> {
    let app = app_of(catalog, secret.app)?;
    let is_new = catalog.secret(secret.app, &secret.name).is_none();
    let count = catalog.secrets_of(secret.app).count() + usize::from(is_new);
    if is_new && count > secrets_max {
        let app = app.slug.to_string();
        return Err(Unfit::TooMany { app, what: "secrets", count, most: secrets_max });
    }
    let audit = audit(app, "set-secret", &secret.name, secret.set_by, secret.set_at);
    let answer = SecretAnswer { name: secret.name.to_string(), changed: true };
    let changes = vec![CatalogChange::PutSecret(secret), audit];
    Ok(Planned { changes, answer, next: 0 })
}

pub fn plan_delete(
    catalog: &Catalog,
    (app, name): (AppId, &str),
    by: PrincipalId,
    now: Timestamp,
) -> Result<Planned<SecretAnswer>, Unfit> {
    let found = app_of(catalog, app)?;
    if catalog.secret(app, name).is_none() {
        return Err(Unfit::NoSuchPart {
            app: found.slug.to_string(),
            kind: "secret",
            name: name.to_owned(),
        });
    }
    let audit = audit(found, "delete-secret", name, by, now);
    let answer = SecretAnswer { name: name.to_owned(), changed: true };
    let changes = vec![CatalogChange::DeleteSecret { app, name: Arc::from(name) }, audit];
    Ok(Planned { changes, answer, next: 0 })
}

/// The app may have been deleted since the call began.
fn app_of(catalog: &Catalog, app: AppId) -> Result<&Arc<App>, Unfit> {
    catalog.apps.get(&app).ok_or_else(|| Unfit::NoSuchApp(app.to_string()))
}

fn audit(
    app: &App,
    action: &str,
    name: &str,
    principal: PrincipalId,
    at: Timestamp,
) -> CatalogChange {
    CatalogChange::Audit(Audit {
        at,
        principal,
        action: action.to_owned(),
        object: format!("{}/{name}", app.slug),
        detail: "{}".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::configure::deploy::tests::{apply, deployed};

    fn secret(catalog: &Catalog, name: &str, by: PrincipalId) -> Secret {
        let app = catalog.app("greenhouse").expect("it is deployed").id;
        let sealed = vec![1, 2, 3];
        Secret { app, name: name.into(), sealed, set_at: Timestamp(5), set_by: by }
    }

    #[test]
    fn an_app_has_only_so_many_secrets_and_one_can_be_replaced_in_a_full_app() {
        let (mut catalog, who) = deployed();
        for name in ["a", "b", "a"] {
            let planned = plan_set(&catalog, secret(&catalog, name, who), 2).expect("it fits");
            assert_eq!(planned.changes.len(), 2, "the change and its audit");
            catalog = apply(catalog, planned.changes);
        }
        let refused = plan_set(&catalog, secret(&catalog, "c", who), 2).expect_err("it is full");
        assert_eq!(
            refused.to_string(),
            "app \"greenhouse\" would have 3 secrets, at most 2 are allowed"
        );
        let app = catalog.app("greenhouse").expect("it is deployed").id;
        let names: Vec<&str> = catalog.secrets_of(app).map(|(name, _)| &**name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_secret_is_deleted_once() {
        let (catalog, who) = deployed();
        let planned = plan_set(&catalog, secret(&catalog, "a", who), 2).expect("it fits");
        let catalog = apply(catalog, planned.changes);
        let app = catalog.app("greenhouse").expect("it is deployed").id;
        let delete = |catalog: &Catalog| plan_delete(catalog, (app, "a"), who, Timestamp(6));
        let planned = delete(&catalog).expect("it is there");
        let catalog = apply(catalog, planned.changes);
        let refused = delete(&catalog).expect_err("it is gone").to_string();
        assert_eq!(refused, "app \"greenhouse\" has no secret \"a\"");
    }
}

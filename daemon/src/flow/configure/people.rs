//! Who is known: principals, and what they may do.

use std::sync::Arc;

use picloud_api::principals::{GrantItem, PrincipalAnswer, PrincipalItem};

use crate::catalog::{App, Catalog};
use crate::flow::configure::{Audit, CatalogChange, Planned, Unfit};
use crate::ids::{AppId, PrincipalId};
use crate::principal::{Capability, Grant, Principal, TokenState};
use crate::time::Timestamp;

/// Who changes something about people, and what has to be known for it beside the catalog.
pub struct Act<'a> {
    pub by: &'a Principal,
    /// The uids whose principals nobody may touch: root's and the daemon's own.
    pub owners: &'a [u32],
    /// What the groups of a uid give it, for all apps.
    pub by_group: &'a dyn Fn(u32) -> Vec<Capability>,
    pub now: Timestamp,
}

/// A capability, and the slug or number of the app that it is meant for; `None`: for all.
pub type Wish = (Capability, Option<String>);

/// The principal of a uid, made or changed so that it has exactly these capabilities for all apps.
pub fn plan_uid(
    catalog: &Catalog,
    uid: u32,
    name: &str,
    capabilities: &[Capability],
    next: i64,
) -> Planned<PrincipalId> {
    let grants = capabilities
        .iter()
        .map(|capability| Grant { capability: *capability, app: None })
        .collect();
    let known = of_uid(catalog, uid);
    let (id, next) = known.map_or((PrincipalId(next), next + 1), |known| (known.id, next));
    let name = free_name(catalog, id, name, uid);
    let wanted = Principal { id, name, uid: Some(uid), grants };
    let changes =
        if known == Some(&wanted) { Vec::new() } else { vec![CatalogChange::PutPrincipal(wanted)] };
    Planned { changes, answer: id, next }
}

/// The principal of somebody whom only groups let in, who is about to change something: made once, with no grants of
/// its own, so that what happens and what is registered has a name. One that is known stays as it is.
pub fn plan_member(catalog: &Catalog, uid: u32, name: &str, next: i64) -> Planned<PrincipalId> {
    match of_uid(catalog, uid) {
        Some(known) => Planned { changes: Vec::new(), answer: known.id, next },
        None => plan_uid(catalog, uid, name, &[], next),
    }
}

/// The principal that the socket knows by this uid.
pub fn of_uid(catalog: &Catalog, uid: u32) -> Option<&Principal> {
    catalog.principals.values().map(|one| &**one).find(|one| one.uid == Some(uid))
}

/// A principal by its name or its number.
pub fn called<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Arc<Principal>, Unfit> {
    let by_name = catalog.principals.values().find(|one| one.name == name);
    let by_number = || catalog.principals.get(&PrincipalId(name.parse().ok()?));
    by_name.or_else(by_number).ok_or_else(|| Unfit::NoSuchPrincipal(name.to_owned()))
}

/// The name, unless another principal has it.
fn free_name(catalog: &Catalog, id: PrincipalId, name: &str, uid: u32) -> String {
    let is_taken =
        |name: &str| catalog.principals.values().any(|one| one.id != id && one.name == name);
    let names = [name.to_owned(), format!("{name} (uid {uid})"), format!("uid {uid}")];
    let free = names.into_iter().find(|name| !is_taken(name));
    free.unwrap_or_else(|| format!("principal {id}"))
}

/// Makes a principal, with what it may do from the start.
pub fn plan_create(
    catalog: &Catalog,
    act: &Act<'_>,
    (name, uid, wishes): (&str, Option<u32>, &[Wish]),
    principals_max: usize,
    next: i64,
) -> Result<Planned<PrincipalAnswer>, Unfit> {
    if let Some(uid) = uid
        && let Some(known) = of_uid(catalog, uid)
    {
        return Err(Unfit::UidTaken { uid, name: known.name.clone() });
    }
    let mut made = new(catalog, (name, PrincipalId(next)), principals_max)?;
    made.uid = uid;
    made.grants = given(catalog, act, wishes)?;
    let shown = shown(catalog, &made, act);
    let detail = serde_json::json!({ "uid": uid, "grants": shown.grants });
    let audit = audit(act, "create", &made, &detail);
    let answer = PrincipalAnswer { changed: true, principal: shown };
    let changes = vec![CatalogChange::PutPrincipal(made), audit];
    Ok(Planned { changes, answer, next: next + 1 })
}

/// A principal without anything, if there is room and its name is free.
pub(super) fn new(
    catalog: &Catalog,
    (name, id): (&str, PrincipalId),
    max: usize,
) -> Result<Principal, Unfit> {
    if catalog.principals.len() >= max {
        return Err(Unfit::LimitReached { kind: "principals", max });
    }
    if catalog.principals.values().any(|one| one.name == name) {
        return Err(Unfit::NameTaken { kind: "principal", name: name.to_owned() });
    }
    Ok(Principal { id, name: name.to_owned(), uid: None, grants: Vec::new() })
}

/// Deletes a principal with its grants and tokens. What runs as it is refused from then on.
pub fn plan_delete(
    catalog: &Catalog,
    act: &Act<'_>,
    name: &str,
) -> Result<Planned<PrincipalAnswer>, Unfit> {
    let known = touchable(catalog, act, name)?;
    let shown = shown(catalog, known, act);
    let detail = serde_json::json!({ "uid": known.uid, "grants": shown.grants });
    // The entry first: whoever deletes itself is still there to be named.
    let audit = audit(act, "delete", known, &detail);
    let changes = vec![audit, CatalogChange::DeletePrincipal(known.id)];
    let answer = PrincipalAnswer { changed: true, principal: shown };
    Ok(Planned { changes, answer, next: 0 })
}

/// Gives a principal capabilities. What it has already it keeps.
pub fn plan_grant(
    catalog: &Catalog,
    act: &Act<'_>,
    name: &str,
    wishes: &[Wish],
) -> Result<Planned<PrincipalAnswer>, Unfit> {
    let known = touchable(catalog, act, name)?;
    let mut fresh = given(catalog, act, wishes)?;
    fresh.retain(|grant| !known.grants.contains(grant));
    let mut after = Principal::clone(known);
    after.grants.extend(fresh.iter().cloned());
    Ok(changed(catalog, act, after, ("grant", &fresh)))
}

/// Takes capabilities away: for one app what was given for that app, without an app what was given for all.
pub fn plan_revoke(
    catalog: &Catalog,
    act: &Act<'_>,
    name: &str,
    wishes: &[Wish],
) -> Result<Planned<PrincipalAnswer>, Unfit> {
    let known = touchable(catalog, act, name)?;
    let unwanted = wishes.iter().map(|wish| resolved(catalog, wish)).collect::<Result<Vec<_>, _>>();
    let unwanted = unwanted?;
    let mut after = Principal::clone(known);
    let (gone, kept) = after.grants.into_iter().partition(|grant| unwanted.contains(grant));
    after.grants = kept;
    Ok(changed(catalog, act, after, ("revoke", &gone)))
}

/// The owners' rights are made anew at every start, and without them nobody could repair anything.
fn touchable<'a>(
    catalog: &'a Catalog,
    act: &Act<'_>,
    name: &str,
) -> Result<&'a Arc<Principal>, Unfit> {
    let known = called(catalog, name)?;
    match known.uid {
        Some(uid) if act.owners.contains(&uid) => Err(Unfit::IsOwner(known.name.clone())),
        Some(_) | None => Ok(known),
    }
}

fn changed(
    catalog: &Catalog,
    act: &Act<'_>,
    after: Principal,
    (action, grants): (&str, &[Grant]),
) -> Planned<PrincipalAnswer> {
    let changed = !grants.is_empty();
    let answer = PrincipalAnswer { changed, principal: shown(catalog, &after, act) };
    let changes = if changed {
        let grants: Vec<GrantItem> = grants.iter().map(|grant| item(catalog, grant)).collect();
        let audit = audit(act, action, &after, &serde_json::json!({ "grants": grants }));
        vec![CatalogChange::PutPrincipal(after), audit]
    } else {
        Vec::new()
    };
    Planned { changes, answer, next: 0 }
}

/// The grants that are wished for, each once. Nobody can give what they do not have.
pub(super) fn given(
    catalog: &Catalog,
    act: &Act<'_>,
    wishes: &[Wish],
) -> Result<Vec<Grant>, Unfit> {
    let mut grants = Vec::new();
    for wish in wishes {
        let grant = resolved(catalog, wish)?;
        has(act.by, &grant, wish.1.as_deref())?;
        if !grants.contains(&grant) {
            grants.push(grant);
        }
    }
    Ok(grants)
}

pub(super) fn has(by: &Principal, grant: &Grant, app: Option<&str>) -> Result<(), Unfit> {
    if by.has(grant) {
        return Ok(());
    }
    let (who, capability) = (by.name.clone(), grant.capability);
    Err(Unfit::NotYours { who, capability, app: app.map(str::to_owned) })
}

fn resolved(catalog: &Catalog, (capability, app): &Wish) -> Result<Grant, Unfit> {
    let Some(name) = app else { return Ok(Grant { capability: *capability, app: None }) };
    let by_number = || catalog.apps.get(&AppId(name.parse().ok()?));
    let app: Option<&Arc<App>> = catalog.app(name).or_else(by_number);
    let app = app.ok_or_else(|| Unfit::NoSuchApp(name.clone()))?;
    Ok(Grant { capability: *capability, app: Some(app.id) })
}

/// A principal as people see it.
pub fn shown(catalog: &Catalog, principal: &Principal, act: &Act<'_>) -> PrincipalItem {
    let id = principal.id;
    let by_group = principal.uid.map(act.by_group).unwrap_or_default();
    let tokens = catalog
        .tokens
        .values()
        .filter(|one| one.principal == id && one.state(act.now) == TokenState::Valid);
    let routes = catalog.apps.values().flat_map(|app| &app.routes);
    let triggers = catalog.triggers.values();
    PrincipalItem {
        id: id.0,
        name: principal.name.clone(),
        uid: principal.uid,
        grants: principal.grants.iter().map(|grant| item(catalog, grant)).collect(),
        by_group: by_group.into_iter().map(|one| one.as_str().to_owned()).collect(),
        tokens: count(tokens.count()),
        routes: count(routes.filter(|route| route.principal == id).count()),
        triggers: count(triggers.filter(|trigger| trigger.registered_by == id).count()),
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn item(catalog: &Catalog, grant: &Grant) -> GrantItem {
    let slug = |app: AppId| {
        catalog.apps.get(&app).map_or_else(|| app.to_string(), |app| app.slug.to_string())
    };
    GrantItem { capability: grant.capability.as_str().to_owned(), app: grant.app.map(slug) }
}

fn audit(
    act: &Act<'_>,
    action: &str,
    principal: &Principal,
    detail: &serde_json::Value,
) -> CatalogChange {
    CatalogChange::Audit(Audit {
        at: act.now,
        principal: act.by.id,
        action: action.to_owned(),
        object: format!("principal {}", principal.name),
        detail: detail.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::configure::deploy::tests::{apply, deployed};

    /// Root, and a manager who may manage principals and read the greenhouse.
    fn people() -> Catalog {
        let (catalog, _) = deployed();
        let act = Act { by: &root(&catalog), owners: &[0], by_group: &nobody, now: Timestamp(5) };
        let wishes = [
            (Capability::PrincipalsManage, None),
            (Capability::AppRead, Some("greenhouse".to_owned())),
        ];
        let made = plan_create(&catalog, &act, ("manager", Some(1000), &wishes), 10, 70);
        let changes = made.expect("root may").changes;
        apply(catalog, changes)
    }

    fn root(catalog: &Catalog) -> Principal {
        of_uid(catalog, 0).expect("root is known").clone()
    }

    fn nobody(_: u32) -> Vec<Capability> {
        Vec::new()
    }

    fn as_manager<T>(catalog: &Catalog, plan: impl FnOnce(&Act<'_>) -> T) -> T {
        let by = of_uid(catalog, 1000).expect("the manager is known");
        plan(&Act { by, owners: &[0], by_group: &nobody, now: Timestamp(6) })
    }

    fn read(app: Option<&str>) -> [Wish; 1] {
        [(Capability::AppRead, app.map(str::to_owned))]
    }

    #[test]
    fn p8_nobody_gives_what_they_do_not_have() {
        let catalog = people();
        let create = |wishes: &[Wish]| {
            as_manager(&catalog, |act| plan_create(&catalog, act, ("ada", None, wishes), 10, 80))
        };
        assert!(create(&read(Some("greenhouse"))).is_ok());
        assert_eq!(
            create(&read(None)).expect_err("the manager reads one app").to_string(),
            "manager lacks AppRead for all apps, and nobody can give what they do not have"
        );
        let admin = [(Capability::InstanceAdmin, Some("greenhouse".to_owned()))];
        assert!(matches!(create(&admin), Err(Unfit::NotYours { .. })));
        // Nor can they raise themselves.
        let raised = as_manager(&catalog, |act| plan_grant(&catalog, act, "manager", &read(None)));
        assert!(matches!(raised, Err(Unfit::NotYours { .. })));
    }

    #[test]
    fn owners_cannot_be_touched_and_whoever_is_taken_is_named() {
        let catalog = people();
        as_manager(&catalog, |act| {
            let all = [(Capability::InstanceAdmin, None)];
            for refused in [
                plan_delete(&catalog, act, "root"),
                plan_revoke(&catalog, act, "root", &all),
                plan_grant(&catalog, act, "root", &read(Some("greenhouse"))),
            ] {
                assert_eq!(refused.err(), Some(Unfit::IsOwner("root".to_owned())));
            }
            let create = |name, uid| plan_create(&catalog, act, (name, uid, &[]), 10, 80).err();
            let taken = Unfit::NameTaken { kind: "principal", name: "root".to_owned() };
            assert_eq!(create("root", None), Some(taken));
            let taken = Unfit::UidTaken { uid: 0, name: "root".to_owned() };
            assert_eq!(create("ada", Some(0)), Some(taken));
            let full = plan_create(&catalog, act, ("ada", None, &[]), 2, 80).err();
            assert_eq!(full, Some(Unfit::LimitReached { kind: "principals", max: 2 }));
            let gone = plan_delete(&catalog, act, "ada").err();
            assert_eq!(gone, Some(Unfit::NoSuchPrincipal("ada".to_owned())));
        });
    }

    #[test]
    fn what_is_granted_can_be_revoked_and_doing_it_again_changes_nothing() {
        let mut catalog = people();
        let wishes = read(Some("greenhouse"));
        let made = as_manager(&catalog, |act| {
            plan_create(&catalog, act, ("ada", None, &[]), 10, 80).expect("the manager may").changes
        });
        catalog = apply(catalog, made);
        let grant = |catalog: &Catalog| {
            as_manager(catalog, |act| plan_grant(catalog, act, "ada", &wishes))
                .expect("the manager may")
        };
        let first = grant(&catalog);
        assert!(first.answer.changed);
        assert_eq!(first.answer.principal.grants[0].app.as_deref(), Some("greenhouse"));
        catalog = apply(catalog, first.changes);
        let again = grant(&catalog);
        assert!(!again.answer.changed && again.changes.is_empty());
        let revoke = |catalog: &Catalog, wishes: &[Wish]| {
            as_manager(catalog, |act| plan_revoke(catalog, act, "80", wishes))
                .expect("the manager may")
        };
        // What was given for one app is not given for all.
        assert!(!revoke(&catalog, &read(None)).answer.changed);
        let gone = revoke(&catalog, &wishes);
        assert!(gone.answer.changed && gone.answer.principal.grants.is_empty());
        catalog = apply(catalog, gone.changes);
        assert!(!revoke(&catalog, &wishes).answer.changed);
    }

    #[test]
    fn a_member_of_a_group_gets_a_principal_without_grants_and_one_that_is_known_keeps_its_own() {
        let catalog = people();
        let planned = plan_member(&catalog, 1000, "anna", 90);
        assert!(planned.changes.is_empty());
        for (uid, name, expected) in [
            (1001, "anna", "anna"),
            (1001, "root", "root (uid 1001)"),
            (1001, "uid 1001", "uid 1001"),
        ] {
            let planned = plan_member(&catalog, uid, name, 90);
            let Some(CatalogChange::PutPrincipal(made)) = planned.changes.first() else {
                panic!("it is made")
            };
            assert_eq!((made.name.as_str(), made.grants.len()), (expected, 0));
        }
    }
}

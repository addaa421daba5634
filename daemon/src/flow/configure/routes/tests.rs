//! Calls about one route, against the greenhouse.

use super::*;
use crate::catalog::Pause;
use crate::flow::configure::deploy::tests::{apply, deployed};
use crate::time::Timestamp;

const OTHER: PrincipalId = PrincipalId(77);

fn by(principal: PrincipalId) -> By {
    By { principal, now: Timestamp(1_000), expected: None }
}

fn entry(text: &str) -> RouteEntry {
    toml::from_str(text).expect("the keys are right")
}

fn greenhouse(catalog: &Catalog) -> &Arc<App> {
    catalog.app("greenhouse").expect("it is deployed")
}

fn reports(catalog: &Catalog) -> Named {
    let app = greenhouse(catalog).id;
    Named { app, method: "POST".to_owned(), path: "/reports".to_owned() }
}

fn noted<T>(planned: &Planned<T>) -> (String, String) {
    let mut audits = planned.changes.iter().filter_map(|change| match change {
        CatalogChange::Audit(audit) => Some((audit.action.clone(), audit.object.clone())),
        _ => None,
    });
    audits.next().expect("every change is in the audit log")
}

#[test]
fn a_route_is_made_once_and_runs_as_who_made_it() {
    let (catalog, _) = deployed();
    let app = greenhouse(&catalog).id;
    let new = entry("method = \"get\"\npath = \"/last/{sensor}\"\nscript = \"record\"");
    let planned = plan_create(&catalog, app, &new, by(OTHER), 500).expect("it is right");
    assert_eq!((planned.answer.id, planned.next), (RouteId(500), 501));
    let named = "greenhouse/GET /last/{sensor}".to_owned();
    assert_eq!(noted(&planned), ("create route".to_owned(), named));
    let catalog = apply(catalog, planned.changes);
    let which = Named { app, method: "GET".to_owned(), path: "/last/{sensor}".to_owned() };
    let (app, made) = find(&catalog, &which).expect("it is made");
    assert_eq!((made.principal, app.revision), (OTHER, 2));
    let again = plan_create(&catalog, app.id, &new, by(OTHER), 501).expect_err("it is there");
    assert_eq!(again.to_string(), "app \"greenhouse\" has a route \"GET /last/{sensor}\" already");
}

#[test]
fn what_is_wrong_with_a_route_is_said_with_its_reason() {
    let (catalog, who) = deployed();
    let app = greenhouse(&catalog).id;
    for (text, expected) in [
        ("path = \"x\"\nscript = \"record\"", "path \"x\" must begin with /"),
        ("path = \"/x\"\nscript = \"recrod\"", "did you mean \"record\"?"),
        ("path = \"/x\"\nscript = \"record\"\ndispatch_mode = \"later\"", "neither \"sync\" nor"),
        ("path = \"/x\"\nscript = \"record\"\nretry = {}", "only async routes are retried"),
        ("path = \"/x\"\nscript = \"record\"\nauth = \"basic\"", "none of none, token, hmac"),
        ("path = \"/x\"\nscript = \"record\"\nrate = \"fast\"", "rate \"fast\" is neither"),
        (
            "path = \"/readings/{id}\"\nscript = \"record\"",
            "matches the same requests as POST /readings/{sensor}",
        ),
    ] {
        let wrong = entry(&format!("method = \"POST\"\n{text}"));
        let refused = plan_create(&catalog, app, &wrong, by(who), 500).expect_err("it is wrong");
        assert!(matches!(refused, Unfit::BadRoute(_)), "{refused:?}");
        let refused = refused.to_string();
        assert!(refused.starts_with("route POST ") && refused.contains(expected), "{refused}");
    }
}

#[test]
fn p4_an_app_has_only_so_many_routes() {
    let (catalog, who) = deployed();
    let any = Arc::clone(&greenhouse(&catalog).routes[0]);
    let many = (2..ROUTES_MAX as i64).map(|n| {
        let (id, path) = (RouteId(1_000 + n), format!("/r{n}").into());
        CatalogChange::PutRoute(Route { id, path, ..Route::clone(&any) })
    });
    let catalog = apply(catalog, many.collect());
    let more = entry("method = \"GET\"\npath = \"/more\"\nscript = \"record\"");
    let refused = plan_create(&catalog, any.app, &more, by(who), 9_000).expect_err("it is full");
    assert_eq!(
        refused.to_string(),
        "app \"greenhouse\" would have 1001 routes, at most 1000 are allowed"
    );
}

#[test]
fn a_change_keeps_the_number_and_runs_as_who_made_it() {
    let (catalog, who) = deployed();
    let which = reports(&catalog);
    let before = Arc::clone(find(&catalog, &which).expect("it is there").1);
    let same = export::route_entry(&before);
    let planned = plan_change(&catalog, &which, &same, by(OTHER)).expect("it is right");
    assert!(!planned.answer.changed && planned.changes.is_empty());

    let guarded = RouteEntry { auth: Some("token".to_owned()), ..same.clone() };
    let planned = plan_change(&catalog, &which, &guarded, by(OTHER)).expect("it is right");
    assert_eq!(noted(&planned).0, "change route");
    let catalog = apply(catalog, planned.changes);
    let (app, after) = find(&catalog, &which).expect("it is there");
    assert_eq!((before.id, before.principal), (after.id, who));
    assert_eq!((after.principal, app.revision), (OTHER, 2));
    let expected =
        Route { principal: OTHER, access: after.access.clone(), ..Route::clone(&before) };
    assert_eq!((&**after, after.access.auth.as_ref()), (&expected, Some(&Auth::Token)));

    let moved = RouteEntry { path: "/report".to_owned(), ..same };
    let refused = plan_change(&catalog, &which, &moved, by(who)).expect_err("it cannot move");
    assert_eq!(
        refused.to_string(),
        "route POST /report: is called POST /reports; its method and path stay"
    );
}

#[test]
fn what_another_has_changed_meanwhile_is_not_changed_again() {
    let (catalog, who) = deployed();
    let which = reports(&catalog);
    let same = export::route_entry(find(&catalog, &which).expect("it is there").1);
    let new = entry("method = \"GET\"\npath = \"/more\"\nscript = \"record\"");
    let at = |revision| By { expected: Some(revision), ..by(who) };
    let late = "app \"greenhouse\" was changed meanwhile: it is at 1, not at 7";
    let create = plan_create(&catalog, which.app, &new, at(7), 9).expect_err("it is at 1");
    let change = plan_change(&catalog, &which, &same, at(7)).expect_err("it is at 1");
    let delete = plan_delete(&catalog, &which, at(7)).expect_err("it is at 1");
    for refused in [create, change, delete] {
        assert_eq!(refused.to_string(), late);
    }
    plan_delete(&catalog, &which, at(1)).expect("it is as it was seen");
}

#[test]
fn a_route_that_is_deleted_takes_its_pause_with_it() {
    let (catalog, who) = deployed();
    let which = reports(&catalog);
    let target = find(&catalog, &which).expect("it is there").1.id.queue().0;
    let pause = Pause { reason: "rebuilt".into(), since: Timestamp(1), by: None };
    let catalog = apply(catalog, vec![CatalogChange::Pause { target, pause }]);
    let planned = plan_delete(&catalog, &which, by(who)).expect("it is there");
    assert_eq!(noted(&planned).1, "greenhouse/POST /reports");
    let catalog = apply(catalog, planned.changes);
    assert!(catalog.pauses.is_empty());
    let gone = find(&catalog, &which).expect_err("it is deleted");
    assert_eq!(gone.to_string(), "app \"greenhouse\" has no route \"POST /reports\"");
}

#[test]
fn what_is_still_missing_for_a_signed_route_is_said() {
    let (catalog, who) = deployed();
    let app = greenhouse(&catalog).id;
    let text = "method = \"GET\"\npath = \"/hook\"\nscript = \"record\"\nauth = \"hmac\"\nhmac = { secret = \"GITHUB\" }";
    let planned = plan_create(&catalog, app, &entry(text), by(who), 500).expect("it is right");
    let warnings = planned.answer.warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("sign a time as well"), "{warnings:?}");
    assert!(warnings[1].contains("picloud secrets set greenhouse/GITHUB -"), "{warnings:?}");
}

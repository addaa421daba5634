//! Calls about one trigger, against the greenhouse.

use super::*;
use crate::catalog::Pause;
use crate::flow::configure::deploy::tests::{apply, deployed};
use crate::ids::QueueId;
use crate::outbox::source::{OutboxSourceKind, TriggerDetails};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp(1_000);

fn which(catalog: &Catalog, name: &str) -> Named {
    let app = catalog.app("greenhouse").expect("it is deployed").id;
    Named { app, name: name.to_owned() }
}

fn entry(text: &str) -> TriggerEntry {
    toml::from_str(text).expect("the keys are right")
}

fn schedule() -> TriggerEntry {
    entry("kind = \"schedule\"\nname = \"report\"\nscript = \"record\"\ncron = \"0 6 * * *\"")
}

fn called<'a>(catalog: &'a Catalog, name: &str) -> &'a Arc<Trigger> {
    find(catalog, &which(catalog, name)).expect("it is there").1
}

fn noted(planned: &Planned<Touched>) -> (String, String) {
    let audits = planned.changes.iter().filter_map(|change| match change {
        CatalogChange::Audit(audit) => Some((audit.action.clone(), audit.object.clone())),
        _ => None,
    });
    let all: Vec<_> = audits.collect();
    assert_eq!(all.len(), 1, "one line for each call");
    all.into_iter().next().expect("it was counted")
}

#[test]
fn a_trigger_is_made_once_and_runs_as_who_made_it() {
    let (catalog, who) = deployed();
    let by = By { principal: who, now: NOW, expected: None };
    let app = which(&catalog, "").app;
    let planned = plan_create(&catalog, app, &schedule(), by, 500).expect("it is right");
    assert_eq!((planned.answer.id, planned.next), (TriggerId(500), 501));
    assert_eq!(noted(&planned), ("create trigger".to_owned(), "greenhouse/report".to_owned()));
    let catalog = apply(catalog, planned.changes);
    let made = called(&catalog, "report");
    assert_eq!(
        (made.registered_by, made.details.kind().source()),
        (who, OutboxSourceKind::Schedule)
    );
    assert!(catalog.matching.schedules().contains_key(&TriggerId(500)));
    assert_eq!(catalog.app("greenhouse").expect("it is there").revision, 2);
    let again = plan_create(&catalog, app, &schedule(), by, 501).expect_err("the name is taken");
    assert_eq!(again.to_string(), "app \"greenhouse\" has a trigger \"report\" already");
}

#[test]
fn what_is_wrong_with_a_trigger_is_said_with_its_reason() {
    let (catalog, who) = deployed();
    let by = By { principal: who, now: NOW, expected: None };
    let app = which(&catalog, "").app;
    for (text, expected) in [
        ("kind = \"kv\"\nscript = \"warn\"\ncollection_glob = \"\"", "glob \"\": is empty"),
        ("kind = \"kv\"\nscript = \"warn\"", "needs collection_glob"),
        ("kind = \"kv\"\nscript = \"wran\"\ncollection_glob = \"*\"", "did you mean \"warn\"?"),
        ("kind = \"schedule\"\nscript = \"warn\"", "needs cron, such as"),
        ("kind = \"schedule\"\nscript = \"warn\"\ncron = \"0 6 * *\"", "has 4 fields"),
        (
            "kind = \"schedule\"\nscript = \"warn\"\ncron = \"@daily\"\ncatch_up = \"some\"",
            "catch_up \"some\" is none of none, once, all",
        ),
        (
            "kind = \"schedule\"\nscript = \"warn\"\ncron = \"@daily\"\ncollection_glob = \"*\"",
            "collection_glob is for kv and docs triggers",
        ),
        (
            "kind = \"schedule\"\nscript = \"warn\"\ncron = \"@daily\"\nordering = \"by_key\"",
            "schedules have no key; drop ordering",
        ),
        (
            "kind = \"docs\"\nscript = \"warn\"\ncollection_glob = \"*\"\ncron = \"@daily\"",
            "cron is for schedule triggers",
        ),
    ] {
        let wrong =
            TriggerEntry { name: "t".to_owned(), ..entry(&format!("name = \"t\"\n{text}")) };
        let refused = plan_create(&catalog, app, &wrong, by, 500).expect_err("it is wrong");
        let refused = refused.to_string();
        assert!(refused.starts_with("trigger \"t\": ") && refused.contains(expected), "{refused}");
    }
}

#[test]
fn p4_a_trigger_whose_glob_is_too_much_for_the_matcher_of_its_app_is_refused() {
    let (catalog, who) = deployed();
    let by = By { principal: who, now: NOW, expected: None };
    let app = which(&catalog, "").app;
    let any = Arc::clone(catalog.triggers.values().next().expect("the greenhouse has some"));
    let glob: Arc<str> = "?".repeat(199).into();
    let many = (0..900).map(|n| {
        let details = TriggerDetails::Kv { collection_glob: Arc::clone(&glob), ops: Vec::new() };
        let (id, name) = (TriggerId(1_000 + n), format!("g{n}").into());
        CatalogChange::PutTrigger(Trigger { id, name, details, ..Trigger::clone(&any) })
    });
    let catalog = apply(catalog, many.collect());
    let more = |kind: &str| {
        let text =
            format!("name = \"t\"\nscript = \"warn\"\nkind = \"{kind}\"\ncollection_glob = \"*\"");
        plan_create(&catalog, app, &entry(&text), by, 5_000).map(|planned| planned.answer.changed)
    };
    assert_eq!(more("docs"), Ok(true));
    let refused = more("kv").expect_err("it is too much").to_string();
    assert!(refused.contains("the app's kv triggers together are too large"), "{refused}");
}

#[test]
fn a_change_keeps_number_name_and_kind_and_runs_as_who_made_it() {
    let (catalog, who) = deployed();
    let other = By { principal: PrincipalId(77), now: NOW, expected: None };
    let name = which(&catalog, "warn-when-dry");
    let before = Arc::clone(called(&catalog, "warn-when-dry"));
    let same = export::trigger_entry(&before);
    let planned = plan_change(&catalog, &name, &same, other).expect("it is right");
    assert!(!planned.answer.changed && planned.changes.is_empty());

    let narrower = TriggerEntry { collection_glob: Some("readings".to_owned()), ..same.clone() };
    let planned = plan_change(&catalog, &name, &narrower, other).expect("it is right");
    assert_eq!(noted(&planned).0, "change trigger");
    let after = apply(catalog, planned.changes);
    let trigger = called(&after, "warn-when-dry");
    assert_eq!((trigger.id, trigger.registered_by), (before.id, PrincipalId(77)));
    assert_ne!(before.registered_by, trigger.registered_by);
    assert_eq!(before.registered_by, who);

    for wrong in [
        TriggerEntry { name: "dry".to_owned(), ..same.clone() },
        TriggerEntry { kind: "kv".to_owned(), ..same },
    ] {
        assert!(matches!(plan_change(&after, &name, &wrong, other), Err(Unfit::BadTrigger(_))));
    }
}

#[test]
fn a_trigger_is_switched_off_and_on_and_stays_whose_it_is() {
    let (mut catalog, who) = deployed();
    let by = By { principal: PrincipalId(77), now: NOW, expected: None };
    for (switch, action) in [(Switch::Off, "disable trigger"), (Switch::On, "enable trigger")] {
        let name = which(&catalog, "warn-when-dry");
        let planned = plan_switch(&catalog, &name, switch, by).expect("it is there");
        assert!(planned.answer.changed);
        assert_eq!(noted(&planned).0, action);
        catalog = apply(catalog, planned.changes);
        let trigger = called(&catalog, "warn-when-dry");
        assert_eq!((trigger.enabled, trigger.registered_by), (switch == Switch::On, who));
        let again = plan_switch(&catalog, &name, switch, by).expect("it is there");
        assert!(!again.answer.changed && again.changes.is_empty());
    }
}

#[test]
fn what_is_deleted_takes_its_pause_along_so_that_its_rows_run() {
    let (mut catalog, who) = deployed();
    let QueueId(target) = called(&catalog, "warn-when-dry").id.queue();
    catalog.pauses.insert(target, Pause { reason: "x".into(), since: NOW, by: None });
    let by = By { principal: who, now: NOW, expected: None };
    let name = which(&catalog, "warn-when-dry");
    let planned = plan_delete(&catalog, &name, by).expect("it is there");
    assert_eq!(noted(&planned).0, "delete trigger");
    let catalog = apply(catalog, planned.changes);
    assert!(catalog.pauses.is_empty());
    let gone = plan_delete(&catalog, &name, by).expect_err("it is gone");
    assert_eq!(gone.to_string(), "app \"greenhouse\" has no trigger \"warn-when-dry\"");
}

#[test]
fn setting_off_by_hand_is_noted_with_the_execution() {
    let (catalog, who) = deployed();
    let by = By { principal: who, now: NOW, expected: None };
    let name = which(&catalog, "warn-when-dry");
    let planned = plan_fire(&catalog, &name, "01J", by).expect("it is there");
    let [CatalogChange::Audit(audit)] = &planned.changes[..] else {
        panic!("{:?}", planned.changes)
    };
    assert_eq!(audit.detail, r#"{"execution_id":"01J"}"#);
    assert_eq!((audit.principal, audit.at), (who, NOW));
}

//! Changes of configuration.

use std::convert::Infallible;
use std::sync::Arc;

use picloud_scripts_runtime::limits::RunLimits;

use crate::catalog::{INSTANCE, Pause, Script};
use crate::flow::configure::{AppFields, CatalogChange};
use crate::flow::facts::Room;
use crate::ids::{AppId, PrincipalId, RouteId, ScriptId, TriggerId};
use crate::outbox::source::{OutboxSourceKind, TriggerDetails};
use crate::principal::{Capability, Grant, Principal};
use crate::retry::RetryPolicy;
use crate::route::access::{Access, Auth, BODY, Hmac};
use crate::route::{DispatchMode, Route};
use crate::schedule::CatchUp;
use crate::store::configure::ConfigureError;
use crate::store::tests::{
    APP, NOW, SCRIPT, Scratch, accept, kv_trigger, room, scratch_with_app, task,
};
use crate::trigger::{Ordering, Trigger};

fn app(revision: i64) -> CatalogChange {
    CatalogChange::PutApp(AppFields {
        id: APP,
        slug: "greenhouse".into(),
        host: Some("plants.local".into()),
        allow_hosts: vec![],
        expose_errors: true,
        access: Access::default(),
        revision,
    })
}

fn letter_trigger() -> Trigger {
    Trigger {
        id: TriggerId(61),
        name: "letters".into(),
        enabled: false,
        concurrency: Some(2),
        details: TriggerDetails::DeadLetter {
            source: Some(OutboxSourceKind::Kv),
            trigger: Some("trigger-50".into()),
        },
        ..kv_trigger(61, Ordering::Any)
    }
}

fn schedule() -> Trigger {
    Trigger {
        id: TriggerId(62),
        name: "report".into(),
        details: TriggerDetails::Schedule {
            cron: "0 6 * * MON-FRI".into(),
            time_zone: "Europe/Berlin".into(),
            catch_up: CatchUp::Once,
        },
        ..kv_trigger(62, Ordering::Any)
    }
}

fn github() -> Hmac {
    Hmac {
        secret: "GITHUB".into(),
        header: "x-hub-signature-256".into(),
        timestamp_header: None,
        signed: BODY.into(),
        tolerance_ms: 300_000,
    }
}

#[tokio::test]
async fn what_is_configured_is_loaded_as_it_was_put() {
    let mut scratch = scratch_with_app().await;
    let route = Route {
        id: RouteId(40),
        app: APP,
        method: "POST".into(),
        path: "/readings/{sensor}".into(),
        script: "work".into(),
        dispatch_mode: DispatchMode::Async,
        retry: RetryPolicy::default(),
        principal: PrincipalId(9),
        access: Access { auth: Some(Auth::Hmac(github())), rate: None },
    };
    let principal = Principal {
        id: PrincipalId(9),
        name: "root".to_owned(),
        uid: Some(0),
        grants: vec![
            Grant { capability: Capability::AppData, app: Some(APP) },
            Grant { capability: Capability::InstanceAdmin, app: None },
        ],
    };
    let pause = Pause { reason: "cleaning".into(), since: NOW, by: Some(PrincipalId(9)) };
    let kv = kv_trigger(50, Ordering::ByKey);
    let changes = vec![
        CatalogChange::PutRoute(route.clone()),
        CatalogChange::PutTrigger(kv.clone()),
        CatalogChange::PutTrigger(letter_trigger()),
        CatalogChange::PutTrigger(schedule()),
        CatalogChange::PutPrincipal(principal.clone()),
        CatalogChange::Pause { target: INSTANCE, pause: pause.clone() },
    ];
    scratch.configure(changes, 200).await;
    scratch.restart().await;
    let catalog = scratch.batcher().catalog().load_full();
    let greenhouse = catalog.app("greenhouse").expect("is there");
    assert_eq!(greenhouse.allow_hosts, ["api.example.org".into()]);
    assert_eq!(*greenhouse.routes[0], route);
    assert_eq!(greenhouse.access.rate.map(|rate| rate.to_string()).as_deref(), Some("10/s"));
    assert_eq!(greenhouse.scripts["work"].id, SCRIPT);
    assert_eq!(*catalog.triggers[&kv.id], kv);
    assert_eq!(*catalog.triggers[&TriggerId(61)], letter_trigger());
    assert_eq!(*catalog.triggers[&TriggerId(62)], schedule());
    assert_eq!(*catalog.principals[&principal.id], principal);
    assert_eq!(catalog.pauses[&INSTANCE], pause);
}

#[tokio::test]
async fn of_two_changes_of_one_app_at_once_the_second_is_a_conflict() {
    let mut scratch = scratch_with_app().await;
    let mut change = async |revision: i64| {
        let plan = |_: &_, next, _| Ok::<_, Infallible>((vec![app(revision)], next));
        scratch.batcher().configure(plan, NOW).await
    };
    let changed = change(1).await.expect("is the first");
    assert_eq!(changed.app("greenhouse").expect("is there").revision, 2);
    assert!(matches!(change(1).await, Err(ConfigureError::Conflict { .. })));
    assert!(change(2).await.is_ok());
}

#[tokio::test]
async fn a_change_that_fails_half_way_leaves_nothing() {
    let mut scratch = scratch_with_app().await;
    let trigger = CatalogChange::PutTrigger(kv_trigger(50, Ordering::Any));
    let foreign = CatalogChange::PutTrigger(Trigger { app: AppId(999), ..letter_trigger() });
    let plan = |_: &_, next, _| Ok::<_, Infallible>((vec![trigger, foreign], next));
    let outcome = scratch.batcher().configure(plan, NOW).await;
    assert!(matches!(outcome, Err(ConfigureError::Store(_))));
    assert_eq!(scratch.count("triggers").await, 0);
    scratch.run(&[accept(task(1))], Room::default()).await;
}

#[tokio::test]
async fn a_refused_plan_changes_nothing_and_hands_its_reason_on() {
    let mut scratch = scratch_with_app().await;
    let outcome = scratch.batcher().configure(|_, _, _| Err("no"), NOW).await;
    assert!(matches!(outcome, Err(ConfigureError::Refused("no"))));
}

#[tokio::test]
async fn twenty_versions_of_a_script_are_kept() {
    let mut scratch = scratch_with_app().await;
    for version in 2..=30 {
        let script = Script {
            id: ScriptId(SCRIPT.0),
            app: APP,
            name: "work".into(),
            version,
            source: version.to_string().into(),
            limits: picloud_scripts_runtime::limits::RunLimits::default(),
        };
        scratch.configure(vec![CatalogChange::PutScript(script)], 100).await;
    }
    assert_eq!(scratch.count("script_versions").await, 20);
    let catalog = scratch.batcher().catalog().load_full();
    assert_eq!(catalog.script(APP, "work").map(|script| script.version), Some(30));
}

#[tokio::test]
async fn p7_a_limit_that_is_lowered_holds_for_scripts_deployed_before() {
    let mut scratch = scratch_with_app().await;
    let deployed = RunLimits::default();
    let instance = RunLimits { timeout_ms: 500, effects_max: 2_000, ..deployed.clone() };
    let expected = RunLimits { timeout_ms: 500, ..deployed.clone() };
    let limits = async |scratch: &mut Scratch| {
        scratch.restart().await;
        let catalog = scratch.batcher().catalog().load_full();
        catalog.script(APP, "work").expect("is there").limits.clone()
    };
    scratch.run_limits = instance;
    assert_eq!(limits(&mut scratch).await, expected);
    scratch.configure(vec![app(1)], 100).await;
    let catalog = scratch.batcher().catalog().load_full();
    assert_eq!(catalog.script(APP, "work").expect("is there").limits, expected);
    scratch.run_limits = deployed.clone();
    assert_eq!(limits(&mut scratch).await, deployed);
}

#[tokio::test]
async fn what_is_paused_is_kept_and_runs_after_the_resume() {
    let mut scratch = scratch_with_app().await;
    let pause = Pause { reason: "cleaning".into(), since: NOW, by: None };
    let target = crate::store::tests::QUEUE.0;
    scratch.configure(vec![CatalogChange::Pause { target, pause }], 100).await;
    assert!(scratch.run(&[accept(task(1))], room(5)).await.claims.is_empty());
    assert!(!scratch.run(&[], room(5)).await.committed);
    scratch.configure(vec![CatalogChange::Resume { target }], 100).await;
    assert_eq!(scratch.run(&[], room(5)).await.claims.len(), 1);
}

#[tokio::test]
async fn rows_of_a_deleted_trigger_stay() {
    let mut scratch = scratch_with_app().await;
    let trigger = kv_trigger(50, Ordering::Any);
    let id = trigger.id;
    scratch.configure(vec![CatalogChange::PutTrigger(trigger)], 100).await;
    let change = crate::store::tests::mutate(1, vec![crate::store::tests::put("a", "1")]);
    scratch.run(&[change], Room::default()).await;
    scratch.configure(vec![CatalogChange::DeleteTrigger(id)], 100).await;
    assert_eq!(scratch.count("kv_trigger_details").await, 0);
    scratch.restart().await;
    let claims = scratch.run(&[], room(5)).await.claims;
    assert_eq!(claims.len(), 1);
    assert_eq!(Arc::clone(&claims[0].row).origin, Some(50));
}

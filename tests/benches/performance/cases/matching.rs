//! Finding what a change or a request is for, in memory.

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use picloud_daemon::entry::{Change, ChangeOp, EntryKey};
use picloud_daemon::ids::{AppId, PrincipalId, RouteId, TriggerId};
use picloud_daemon::outbox::source::TriggerDetails;
use picloud_daemon::retry::RetryPolicy;
use picloud_daemon::route::table::{Find, RouteTable};
use picloud_daemon::route::{DispatchMode, Route};
use picloud_daemon::trigger::{Ordering, Trigger, TriggerSet};
use picloud_scripts_runtime::effect::{Key, Space};
use picloud_tests::measure::figure::{Round, Target, Unit};

use super::{Case, Profiled, Rounds, line};
use crate::ground::Ground;

const APP: AppId = AppId(1);

pub const MATCHING: Case = Case {
    name: "matching",
    title: "Finding the triggers of a change among 1,000 of one app (globs of four kinds, one of which fits), and the \
            route of a request among 1,000 of one app.",
    bases: &[],
    lines: &[
        line("trigger", "the triggers of a change", Unit::Micros, Target::AtMost(5.0)),
        line("no_trigger", "a change that fits none", Unit::Micros, Target::AtMost(5.0)),
        line("route", "the route of a request", Unit::Micros, Target::AtMost(1.0)),
    ],
    rounds: Rounds::AsAsked,
    profiled: Profiled::No,
    round: matching,
};

fn matching(ground: &Ground) -> Result<Round> {
    let set = TriggerSet::build((0..1_000).map(|n| Arc::new(trigger(n))));
    let [fits, fits_none] = ["room-777/air", "cellar/air"].map(change);
    ensure!(set.for_change(&fits).count() == 1 && set.for_change(&fits_none).count() == 0);
    let time = ground.options.time;
    let of_change =
        |change: &Change| micros(time / 4, || set.for_change(black_box(change)).count());
    let routes: Vec<Arc<Route>> = (0..1_000).map(|n| Arc::new(route(n))).collect();
    let table = RouteTable::build(&routes);
    let path = ["room-777", "air"].map(Cow::Borrowed);
    let finds = |path: &[Cow<'static, str>]| matches!(table.find("POST", path), Find::Route { route, .. } if &*route.path == "/room-777/{what}");
    ensure!(finds(&path));
    Ok(vec![
        ("trigger", of_change(&fits)),
        ("no_trigger", of_change(&fits_none)),
        ("route", micros(time / 4, || finds(black_box(&path)))),
    ])
}

/// Of one turn.
fn micros<T>(time: Duration, turn: impl Fn() -> T) -> f64 {
    let (started, mut turns) = (Instant::now(), 0_u32);
    while started.elapsed() < time {
        for _ in 0..100 {
            black_box(turn());
        }
        turns += 100;
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(turns)
}

/// Literals, and a literal before a parameter.
fn route(n: i64) -> Route {
    let path = if n % 2 == 0 { format!("/room-{n}/light") } else { format!("/room-{n}/{{what}}") };
    Route {
        id: RouteId(n + 10_000),
        app: APP,
        method: "POST".into(),
        path: path.into(),
        script: "record".into(),
        dispatch_mode: DispatchMode::Sync,
        retry: RetryPolicy::default(),
        principal: PrincipalId(2),
        access: Default::default(),
    }
}

/// A house with many rooms: exact names, a star at the end, in the middle, and alternatives.
fn trigger(n: i64) -> Trigger {
    let collection_glob = match n % 4 {
        0 => format!("room-{n}/light"),
        1 => format!("room-{n}/*"),
        2 => format!("room-{n}*/window"),
        _ => format!("room-{n}/{{heat,door}}"),
    };
    Trigger {
        id: TriggerId(n + 10),
        app: APP,
        name: format!("trigger-{n}").into(),
        script: "react".into(),
        enabled: true,
        retry: RetryPolicy::default(),
        ordering: Ordering::Any,
        concurrency: None,
        registered_by: PrincipalId(2),
        details: TriggerDetails::Kv { collection_glob: collection_glob.into(), ops: Vec::new() },
    }
}

fn change(collection: &str) -> Change {
    let key = Key { space: Space::Kv, collection: collection.into(), key: "now".into() };
    Change {
        key: EntryKey { app: APP, key },
        op: ChangeOp::Set,
        version: 7,
        value: Some("21.5".into()),
        prev: None,
    }
}

//! Finding what a change or a request is for, in memory.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use picloud_daemon::entry::{Change, ChangeOp, EntryKey};
use picloud_daemon::ids::{AppId, PrincipalId, TriggerId};
use picloud_daemon::retry::RetryPolicy;
use picloud_daemon::trigger::{Ordering, Trigger, TriggerDetails, TriggerSet};
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
    let micros = |change: &Change| {
        let (started, mut turns) = (Instant::now(), 0_u32);
        while started.elapsed() < time / 4 {
            for _ in 0..100 {
                black_box(set.for_change(black_box(change)).count());
            }
            turns += 100;
        }
        started.elapsed().as_secs_f64() * 1e6 / f64::from(turns)
    };
    Ok(vec![("trigger", micros(&fits)), ("no_trigger", micros(&fits_none))])
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

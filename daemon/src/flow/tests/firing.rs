//! What a schedule that is due writes.

use super::*;
use crate::flow::fire::{self, Fire};
use crate::schedule::CatchUp;

/// 2026-03-08, noon in UTC.
const NOON: Timestamp = Timestamp(1_772_971_200_000);
const DAY_MS: i64 = 86_400_000;

fn daily(catch_up: CatchUp) -> Trigger {
    let details = TriggerDetails::Schedule {
        cron: "0 12 * * *".into(),
        time_zone: "Europe/London".into(),
        catch_up,
    };
    Trigger {
        retry: RetryPolicy { max_attempts: 2, ..RetryPolicy::default() },
        ..trigger(50, "daily", details)
    }
}

fn fire(days: i64) -> Fire {
    Fire { trigger: TriggerId(50), fired_until: NOON.plus_ms(-days * DAY_MS), fresh: FRESH }
}

fn at_noon(catch_up: CatchUp) -> Facts {
    Facts { now: NOON.plus_ms(3), ..facts(vec![daily(catch_up)]) }
}

#[test]
fn p3_a_due_time_becomes_one_row_and_is_done_with_in_the_same_write() {
    let writes = fire::plan(&fire(1), &at_noon(CatchUp::None)).expect("there is room");
    let rows = inserted(&writes);
    let id = FRESH.derived(1);
    let expected = OutboxRow {
        id,
        app: APP,
        queue: QueueId(50),
        source: OutboxSourceKind::Schedule,
        origin: Some(50),
        script: "work".into(),
        principal: PrincipalId(9),
        event: format!(r#"{{"scheduled_at":{},"missed":0,"time_zone":"Europe/London"}}"#, NOON.0)
            .into(),
        retry: RetryPolicy { max_attempts: 2, ..RetryPolicy::default() },
        available_at: NOON.plus_ms(3),
        depth: 0,
        root: id,
        first: id,
        cause: None,
        ..row()
    };
    assert_eq!(rows, [&Arc::new(expected)]);
    assert_eq!(writes.fired, HashMap::from([(TriggerId(50), NOON)]));
}

#[test]
fn what_was_missed_is_counted_or_gets_rows_of_its_own() {
    for (catch_up, rows, missed) in
        [(CatchUp::None, 1, 4), (CatchUp::Once, 1, 4), (CatchUp::All, 5, 0)]
    {
        let writes = fire::plan(&fire(5), &at_noon(catch_up)).expect("there is room");
        let made = inserted(&writes);
        assert_eq!(made.len(), rows, "{catch_up:?}");
        let oldest = NOON.plus_ms(-DAY_MS * (i64::try_from(rows).expect("few") - 1));
        let event = format!(r#"{{"scheduled_at":{},"missed":{missed},"#, oldest.0);
        assert!(made[0].event.starts_with(&event), "{}", made[0].event);
        assert!(made[rows - 1].event.contains(&NOON.0.to_string()));
        assert_eq!(writes.fired[&TriggerId(50)], NOON);
    }
}

#[test]
fn p7_an_app_that_is_full_gets_no_row_and_the_schedule_stays_due() {
    let mut facts = at_noon(CatchUp::All);
    facts.usage.insert(APP, Usage { rows: facts.limits.app_rows_max - 4, ..Usage::default() });
    let refused = fire::plan(&fire(5), &facts).expect_err("five rows do not fit");
    assert!(matches!(refused, Refusal::AppFull { .. }), "{refused}");
    assert!(fire::plan(&fire(4), &facts).is_ok());
    facts.storage_low = true;
    assert_eq!(fire::plan(&fire(1), &facts).err(), Some(Refusal::StorageLow));
}

#[test]
fn a_schedule_that_is_gone_writes_nothing() {
    let writes = fire::plan(&fire(1), &facts(Vec::new())).expect("is no error");
    assert!(writes.is_empty());
}

#[test]
fn an_event_is_made_up_for_every_kind_that_needs_no_letter() {
    let event = |details: &TriggerDetails| details.example(NOON).map(|event| event.to_string());
    let changed =
        r#"{"op":"delete","collection":"readings*","id":"example","data":null,"prev_data":null}"#;
    let docs = docs_trigger(1, "readings*", &[ChangeOp::Delete]);
    assert_eq!(event(&docs.details).as_deref(), Some(changed));
    let set = r#"{"op":"set","collection":"c","key":"example","value":null,"prev_value":null}"#;
    assert_eq!(event(&kv_trigger(1, "c").details).as_deref(), Some(set));
    let due = format!(r#"{{"scheduled_at":{},"missed":0,"time_zone":"Europe/London"}}"#, NOON.0);
    assert_eq!(event(&daily(CatchUp::None).details), Some(due));
    let handler = TriggerDetails::DeadLetter { source: None, trigger: None };
    assert_eq!(event(&handler), None);
}

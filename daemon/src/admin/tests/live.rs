//! Live events, statistics, metrics and the doctor.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;

use http_body_util::BodyExt as _;
use picloud_api::events::{Begin, Closed, LogEntry, Missed, OutboxEvent, kind};
use picloud_api::health::{Checks, Healthy};
use picloud_api::stats::Stats;

use super::*;
use crate::admin::engine::stats::Detail;
use crate::dispatcher::history::{End, Execution, execution_of};
use crate::dispatcher::live::{Move, Moved, What};
use crate::flow::Command;
use crate::flow::accept::Accept;
use crate::ids::{AppId, Id};
use crate::outbox::row::OutboxRow;

/// A stream of events, as one caller gets it.
struct Stream {
    body: Body,
    text: String,
}

/// One event as it was sent.
struct Sent {
    kind: String,
    id: Option<String>,
    data: String,
}

impl Sent {
    fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.data).expect("the data is JSON")
    }
}

async fn look(admin: &Admin, uid: u32, path: &str, last_id: Option<&str>) -> Response {
    let mut request = axum::extract::Request::builder().uri(format!("{BASE}{path}"));
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    let router = admin.router.clone().layer(MockConnectInfo(Peer { uid }));
    let request = request.body(Body::empty()).expect("the request is right");
    router.oneshot(request).await.expect("a router always answers")
}

/// A stream behind its first event, with that.
async fn open(admin: &Admin, uid: u32, path: &str, last_id: Option<&str>) -> (Stream, Sent) {
    let response = look(admin, uid, path, last_id).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut stream = Stream { body: response.into_body(), text: String::new() };
    let first = stream.next().await.expect("it begins");
    (stream, first)
}

impl Stream {
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let kind = field("event: ");
                let (id, data) = (field("id: "), field("data: "));
                self.text = rest.to_owned();
                let Some(kind) = kind else { continue };
                return Some(Sent { kind, id, data: data.expect("an event has data") });
            }
            let frame = self.body.frame().await?.expect("the body is in memory");
            let piece = frame.into_data().expect("there are no trailers");
            self.text.push_str(std::str::from_utf8(&piece).expect("events are text"));
        }
    }

    /// The next event, which must be of this kind.
    async fn a<T: DeserializeOwned>(&mut self, kind: &str) -> T {
        let sent = self.next().await.expect("there is more");
        assert_eq!(sent.kind, kind, "{}", sent.data);
        sent.read()
    }
}

fn app_id(admin: &Admin, slug: &str) -> AppId {
    admin.engine.catalog.load().app(slug).expect("it is deployed").id
}

/// A task of this app's script `record`, which is to run at once.
async fn task(admin: &Admin, slug: &str) -> Id {
    let catalog = admin.engine.catalog.load_full();
    let app = app_id(admin, slug);
    let root = catalog.principals.values().find(|one| one.uid == Some(0)).expect("it is known");
    let id = admin.engine.ids.next(Timestamp(7));
    let row = OutboxRow {
        id,
        app,
        queue: catalog.script(app, "record").expect("it is there").id.queue(),
        script: "record".into(),
        principal: root.id,
        root: id,
        ..crate::outbox::row::tests::row()
    };
    let accept = Command::Accept(Accept { row: Arc::new(row), lease: None });
    admin.engine.writer.commit(accept).await.expect("there is room");
    id
}

async fn second_app(admin: &Admin) {
    let other = GREENHOUSE.replace("\"greenhouse\"", "\"garden\"");
    let body = serde_json::to_string(&bundle(&other)).expect("a bundle is JSON");
    let _made: Difference = ok(admin, 0, "PUT", "/apps/garden/manifest", &body).await;
}

/// Somebody with this uid, who may read one app only.
async fn gardener(admin: &Admin, uid: u32, grants: Vec<Grant>) {
    let made = admin.engine.writer.configure(move |catalog, next, _now| {
        let known = catalog.principals.values().find(|one| one.uid == Some(uid));
        let id = known.map_or(PrincipalId(next), |one| one.id);
        let gardener = Principal { id, name: "gardener".to_owned(), uid: Some(uid), grants };
        Ok::<_, Unfit>((vec![CatalogChange::PutPrincipal(gardener)], next + 1))
    });
    made.await.expect("principals can be made");
}

fn reads(app: AppId) -> Vec<Grant> {
    vec![Grant { capability: Capability::AppRead, app: Some(app) }]
}

/// So many moves of rows, as the dispatcher tells them.
fn happen(admin: &Admin, times: usize) {
    for _ in 0..times {
        admin.engine.dispatcher.live.moved(Moved::of(&crate::outbox::row::tests::row(), Move::Due));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_seen_from_its_coming_to_its_end() {
    let admin = admin().await;
    let (mut stream, first) = open(&admin, 0, "/events?filter=kind:outbox", None).await;
    assert_eq!(first.kind, kind::CONNECTED);
    assert_eq!(first.read::<Begin>().instance_id, admin.engine.owner.to_string());
    let id = task(&admin, "greenhouse").await;
    let mut states = Vec::new();
    for _ in 0..3 {
        let event: OutboxEvent = stream.a(kind::OUTBOX).await;
        assert_eq!((event.id, event.app.as_str()), (id.to_string(), "greenhouse"));
        states.push((event.state, event.attempt, event.took_us.is_some()));
    }
    let expected = [("due", 0, false), ("run", 1, false), ("done", 1, true)];
    assert_eq!(states, expected.map(|(state, n, took)| (state.to_owned(), n, took)));
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_takes_out_is_seen_to_die() {
    let admin = admin().await;
    let _paused: PauseAnswer = ok(&admin, 0, "POST", "/pause", "{}").await;
    let (mut stream, _) = open(&admin, 0, "/events", None).await;
    let id = task(&admin, "greenhouse").await;
    let event: OutboxEvent = stream.a(kind::OUTBOX).await;
    assert_eq!(event.state, "due");
    let (status, _) =
        call(&admin, 0, "POST", &format!("/outbox/{id}/cancel"), r#"{"reason":"x"}"#).await;
    assert_eq!(status, 200);
    let event: OutboxEvent = stream.a(kind::OUTBOX).await;
    assert_eq!((event.state.as_str(), event.id), ("dead", id.to_string()));
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_who_may_read_one_app_sees_nothing_of_another() {
    let admin = admin().await;
    second_app(&admin).await;
    gardener(&admin, 1001, reads(app_id(&admin, "garden"))).await;
    for path in ["/events", "/events?app=greenhouse", "/stats", "/metrics", "/doctor", "/logs"] {
        assert_eq!(problem(&admin, 1001, "GET", path, "").await.status, 403, "{path}");
    }
    let (mut stream, _) = open(&admin, 1001, "/events?app=garden", None).await;
    let (mut all, _) = open(&admin, 0, "/events?filter=state:done", None).await;
    task(&admin, "greenhouse").await;
    assert_eq!(all.a::<OutboxEvent>(kind::OUTBOX).await.app, "greenhouse");
    let stats = admin_engine(&admin).stats(Detail::Brief).await.expect("it is counted");
    let everything = What::Stats(Arc::new(stats));
    admin.engine.dispatcher.live.publish(Timestamp(7), [(None, everything)]);
    let mine = task(&admin, "garden").await;
    let stats: Stats = stream.a(kind::STATS).await;
    assert_eq!((stats.all, stats.apps.len(), stats.apps[0].app.as_str()), (None, 1, "garden"));
    let event: OutboxEvent = stream.a(kind::OUTBOX).await;
    assert_eq!((event.app.as_str(), event.id), ("garden", mine.to_string()));

    let asked: Stats = ok(&admin, 1001, "GET", "/stats?app=garden", "").await;
    assert!(asked.all.is_none() && asked.apps.len() == 1, "{asked:?}");
    admin.stop().await;
}

fn admin_engine(admin: &Admin) -> crate::admin::engine::Engine {
    crate::admin::engine::Engine::of(&admin.engine)
}

#[tokio::test]
async fn p8_a_stream_ends_when_what_its_reader_may_do_is_taken_away() {
    let admin = admin().await;
    let app = app_id(&admin, "greenhouse");
    gardener(&admin, 1001, reads(app)).await;
    let (mut stream, _) = open(&admin, 1001, "/events?app=greenhouse", None).await;
    gardener(&admin, 1001, Vec::new()).await;
    happen(&admin, 1);
    assert_eq!(stream.a::<Closed>(kind::CLOSED).await.why, "not_allowed");
    assert!(stream.next().await.is_none());
    admin.stop().await;
}

#[tokio::test]
async fn a_reader_that_comes_back_goes_on_behind_the_last_event_that_it_saw() {
    let admin = admin().await;
    let (mut stream, first) = open(&admin, 0, "/events", None).await;
    happen(&admin, 2);
    let seen = stream.next().await.expect("it happened");
    drop(stream);
    happen(&admin, 1);
    for (id, left) in [(first.id, 3), (seen.id, 2)] {
        let (mut stream, first) = open(&admin, 0, "/events", id.as_deref()).await;
        assert_eq!((first.kind.as_str(), first.id), (kind::CONNECTED, id));
        for _ in 0..left {
            stream.a::<OutboxEvent>(kind::OUTBOX).await;
        }
        happen(&admin, 0);
    }
    admin.stop().await;
}

#[tokio::test]
async fn an_id_of_another_start_of_the_daemon_says_that_it_was_restarted() {
    let admin = admin().await;
    let foreign = format!("{}-17", admin.engine.ids.next(Timestamp(7)));
    let (mut stream, first) = open(&admin, 0, "/events", Some(&foreign)).await;
    assert_eq!(first.kind, kind::RESTARTED);
    happen(&admin, 1);
    stream.a::<OutboxEvent>(kind::OUTBOX).await;
    admin.stop().await;
}

#[tokio::test]
async fn a_forged_id_is_refused_or_leads_to_what_happens_next() {
    let admin = admin().await;
    for forged in ["", "x", "1-2-3", "01J9ZKQ3M8ABCDEFGHJKMNPQRS-", "-1", "\u{e4}-1"] {
        let response = look(&admin, 0, "/events", Some(forged)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{forged:?}");
    }
    for number in [2, u64::MAX] {
        let never_given = format!("{}-{number}", admin.engine.owner);
        let (mut stream, _) = open(&admin, 0, "/events", Some(&never_given)).await;
        assert_eq!(stream.a::<Missed>(kind::MISSED).await.events, None);
        happen(&admin, 1);
        stream.a::<OutboxEvent>(kind::OUTBOX).await;
    }
    admin.stop().await;
}

#[tokio::test]
async fn p7_a_reader_that_is_too_slow_is_told_how_many_events_it_has_missed() {
    let mut limits = Limits::default();
    limits.admin.events_max = 10;
    let admin = admin_with(limits).await;
    let (mut stream, _) = open(&admin, 0, "/events", None).await;
    happen(&admin, 5_000);
    let missed = stream.next().await.expect("it is told");
    assert_eq!((missed.kind.as_str(), missed.read::<Missed>().events), (kind::MISSED, Some(4_990)));
    for _ in 0..10 {
        stream.a::<OutboxEvent>(kind::OUTBOX).await;
    }
    admin.stop().await;
}

#[tokio::test]
async fn p7_more_readers_than_there_is_room_for_are_refused_until_one_goes() {
    let mut limits = Limits::default();
    limits.admin.event_readers_max = 2;
    let admin = admin_with(limits).await;
    let first = open(&admin, 0, "/events", None).await;
    let _second = open(&admin, 0, "/events", None).await;
    let refused = problem(&admin, 0, "GET", "/events", "").await;
    assert_eq!((refused.status, refused.code.as_str()), (503, "too_many_readers"));
    drop(first);
    open(&admin, 0, "/events", None).await;
    admin.stop().await;
}

#[tokio::test]
async fn a_filter_lets_through_what_it_names_and_a_wrong_one_is_refused() {
    let admin = admin().await;
    let (mut dead, _) = open(&admin, 0, "/events?filter=state:dead%20-script:other", None).await;
    let (mut lines, _) = open(&admin, 0, "/events?filter=kind:log%20level:warn%20dry", None).await;
    happen(&admin, 3);
    let row = crate::outbox::row::tests::row();
    let line = |level, message: &str| picloud_scripts_runtime::host::LogLine {
        level,
        message: message.to_owned(),
        fields: None,
    };
    use picloud_scripts_runtime::host::Level;
    let log =
        vec![line(Level::Info, "dry"), line(Level::Warn, "too dry"), line(Level::Warn, "too wet")];
    let run = execution_of(&row, End::DeadLettered, Timestamp(7));
    let run = Arc::new(Execution { log, ..run });
    let live = &admin.engine.dispatcher.live;
    live.ended(Moved::of(&row, Move::Dead), &run);
    assert_eq!(dead.a::<OutboxEvent>(kind::OUTBOX).await.state, "dead");
    assert_eq!(lines.a::<LogEntry>(kind::LOG).await.message, "too dry");
    live.ended(Moved::of(&row, Move::Dead), &run);
    assert_eq!(lines.a::<LogEntry>(kind::LOG).await.message, "too dry");
    let refused = problem(&admin, 0, "GET", "/events?filter=stat:dead", "").await;
    assert!(refused.detail.contains("did you mean \"state\"?"), "{refused:?}");
    admin.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_daemon() {
    let admin = admin().await;
    let (mut stream, _) = open(&admin, 0, "/events", None).await;
    admin.stop().await;
    assert_eq!(stream.a::<Closed>(kind::CLOSED).await.why, "stopping");
    assert!(stream.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_counted_for_the_instance_its_app_and_its_script() {
    let admin = admin().await;
    let (mut stream, _) = open(&admin, 0, "/events?filter=state:done", None).await;
    for _ in 0..3 {
        task(&admin, "greenhouse").await;
        stream.a::<OutboxEvent>(kind::OUTBOX).await;
    }
    let stats: Stats = ok(&admin, 0, "GET", "/stats", "").await;
    let all = stats.all.expect("all apps were asked for");
    assert_eq!((all.total.runs, all.total.failures, all.run.count), (3, 0, 3));
    assert_eq!((all.queue.rows, all.dead_letters, all.event_readers), (0, 0, 1));
    assert!(all.gate.permits > 0 && all.gate.reserved > 0, "{:?}", all.gate);
    assert!(all.store.commits > 3 && all.store.file_bytes > Some(0), "{:?}", all.store);
    assert!(all.process.memory_bytes > Some(0), "{:?}", all.process);
    assert_eq!(all.series.map(|series| series.len()), Some(299));
    let (app, script) = (&stats.apps[0], &stats.scripts[0]);
    assert_eq!((app.app.as_str(), app.total.runs), ("greenhouse", 3));
    assert_eq!((script.script.as_deref(), script.total.runs), (Some("record"), 3));
    assert_eq!((stats.instance.why.as_str(), stats.instance.taken_up), ("first_start", 0));
    admin.stop().await;
}

#[tokio::test]
async fn what_waits_is_counted_by_what_it_waits_for() {
    let admin = admin().await;
    let _paused: PauseAnswer = ok(&admin, 0, "POST", "/apps/greenhouse/pause", "{}").await;
    task(&admin, "greenhouse").await;
    let stats: Stats = ok(&admin, 0, "GET", "/stats", "").await;
    let all = stats.all.expect("all apps were asked for");
    assert_eq!((all.queue.rows, all.queue.paused, all.queue.due), (1, 1, 0));
    assert_eq!(all.pauses[0].target, "greenhouse");
    assert_eq!(stats.apps[0].waiting, 1);
    admin.stop().await;
}

/// A strict reader of Prometheus' text format: name and labels of each sample with its value. Panics at the first thing
/// that the format does not allow.
fn samples(page: &str) -> Vec<(String, f64)> {
    let (mut found, mut names, mut metric, mut is) = (Vec::new(), HashSet::new(), "", "");
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            metric = rest.split_once(' ').expect("a metric has its help").0;
            assert!(names.insert(metric.to_owned()), "{metric} comes twice");
            assert!(metric.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{metric}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, what) = rest.split_once(' ').expect("a metric has its type");
            assert_eq!(name, metric);
            assert_eq!(what == "counter", metric.ends_with("_total"), "{metric}");
            is = what;
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a sample has its value");
        let name = sample.split_once('{').map_or(sample, |(name, _)| name);
        match is {
            "histogram" => {
                let part = name.strip_prefix(metric).expect("it is of its metric");
                assert!(["_bucket", "_sum", "_count"].contains(&part), "{line}");
            }
            "counter" | "gauge" => assert_eq!(name, metric, "{line}"),
            other => panic!("{metric} is a {other}"),
        }
        if let Some((_, labels)) = sample.split_once('{') {
            let labels = labels.strip_suffix('}').expect("labels end");
            assert!(!labels.is_empty() && labels.ends_with('"'), "{line}");
        }
        let value: f64 = value.parse().expect("a value is a number");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(!found.iter().any(|(known, _)| known == sample), "{sample} comes twice");
        found.push((sample.to_owned(), value));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_in_the_format_of_prometheus() {
    let admin = admin().await;
    let (mut stream, _) = open(&admin, 0, "/events?filter=state:done", None).await;
    task(&admin, "greenhouse").await;
    stream.a::<OutboxEvent>(kind::OUTBOX).await;
    let response = look(&admin, 0, "/metrics", None).await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    let (_, page) = call(&admin, 0, "GET", "/metrics", "").await;
    let samples = samples(&String::from_utf8(page).expect("metrics are text"));
    let value = |name: &str| {
        let found = samples.iter().find(|(sample, _)| sample == name);
        found.unwrap_or_else(|| panic!("there is no {name}: {samples:#?}")).1
    };
    assert_eq!(value("picloud_runs_total"), 1.0);
    assert_eq!(value("picloud_ends_total{end=\"completed\"}"), 1.0);
    assert_eq!(value("picloud_ends_total{end=\"dead_lettered\"}"), 0.0);
    assert_eq!(value("picloud_app_runs_total{app=\"greenhouse\"}"), 1.0);
    let script = "picloud_script_runs_total{app=\"greenhouse\",script=\"record\"}";
    assert_eq!(value(script), 1.0);
    for metric in ["picloud_run_seconds", "picloud_commit_seconds", "picloud_answer_seconds"] {
        let bucket = format!("{metric}_bucket{{");
        let buckets: Vec<f64> = samples
            .iter()
            .filter(|(sample, _)| sample.starts_with(&bucket))
            .map(|(_, value)| *value)
            .collect();
        assert!(buckets.is_sorted(), "{metric} {buckets:?}");
        let all = value(&format!("{metric}_bucket{{le=\"+Inf\"}}"));
        assert_eq!(all, value(&format!("{metric}_count")));
        value(&format!("{metric}_sum"));
    }
    admin.stop().await;
}

#[tokio::test]
async fn the_doctor_says_of_everything_how_it_is_and_of_what_is_wrong_what_to_do() {
    let admin = admin().await;
    let key = admin.folder.path().join("secrets.key");
    std::fs::write(&key, [0; 32]).expect("the folder is ours");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let _paused: PauseAnswer = ok(&admin, 0, "POST", "/pause", r#"{"reason": "a look"}"#).await;
    let found: Checks = ok(&admin, 1000, "GET", "/doctor", "").await;
    let names: Vec<&str> = found.checks.iter().map(|check| check.name.as_str()).collect();
    let expected = [
        "store",
        "schema",
        "file",
        "disk",
        "written",
        "clock",
        "folder",
        "key",
        "backups",
        "memory",
        "start",
        "dead-letters",
        "pauses",
    ];
    assert_eq!(names, expected);
    for check in &found.checks {
        let expected = match check.name.as_str() {
            "key" => "bad",
            "pauses" => "warn",
            // As the machine is that the test runs on.
            "disk" | "memory" => continue,
            _ => "ok",
        };
        assert_eq!(
            (check.state.as_str(), check.remedy.is_some()),
            (expected, expected != "ok"),
            "{check:?}"
        );
    }
    let paused = found.checks.last().expect("the pauses come last");
    assert_eq!(paused.text, "the instance is paused: a look");
    assert_eq!(paused.remedy.as_deref(), Some("picloud resume"));
    admin.stop().await;
}

#[tokio::test]
async fn a_daemon_that_stops_is_alive_but_not_ready() {
    let admin = admin().await;
    let healthy: Healthy = ok(&admin, 1000, "GET", "/healthz", "").await;
    let ready: Healthy = ok(&admin, 1000, "GET", "/readyz", "").await;
    assert_eq!((healthy.is.as_str(), ready.is.as_str()), ("ok", "ready"));
    admin.engine.dispatcher.stop(Duration::ZERO).await;
    let _alive: Healthy = ok(&admin, 1000, "GET", "/healthz", "").await;
    let not_ready = problem(&admin, 1000, "GET", "/readyz", "").await;
    assert_eq!((not_ready.status, not_ready.code.as_str()), (503, "not_ready"));
    assert_eq!(not_ready.detail, "the daemon is stopping");
    admin.stop().await;
}

#[tokio::test]
async fn log_lines_are_listed_page_by_page_the_newest_first() {
    let admin = admin().await;
    let row = crate::outbox::row::tests::row();
    for run in 0..3 {
        let line = |n| picloud_scripts_runtime::host::LogLine {
            level: picloud_scripts_runtime::host::Level::Info,
            message: format!("{run}.{n}"),
            fields: None,
        };
        let log = if run == 1 { Vec::new() } else { vec![line(0), line(1)] };
        let execution = execution_of(&row, End::Completed, Timestamp(7));
        admin.engine.dispatcher.history.record(Arc::new(Execution { log, ..execution }));
    }
    let page = async |path: String| -> (Vec<String>, Option<String>) {
        let page: Page<LogEntry> = ok(&admin, 0, "GET", &path, "").await;
        (page.items.into_iter().map(|item| item.message).collect(), page.next)
    };
    let (first, next) = page("/logs?limit=3".to_owned()).await;
    assert_eq!(first, ["2.1", "2.0", "0.1"]);
    let next = next.expect("there is one more");
    assert_eq!(page(format!("/logs?limit=3&after={next}")).await, (vec!["0.0".to_owned()], None));
    let (filtered, next) = page("/logs?filter=2.0".to_owned()).await;
    assert_eq!((filtered, next), (vec!["2.0".to_owned()], None));
    let refused = problem(&admin, 0, "GET", "/logs?after=7", "").await;
    assert_eq!(refused.detail, "after=\"7\" is no cursor of this list");
    admin.stop().await;
}

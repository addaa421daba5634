//! A listener with two apps, and clients that speak in bytes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use picloud_daemon::catalog::{App, Catalog, CatalogRows};
use picloud_daemon::dispatcher::call::{Call, Reply};
use picloud_daemon::dispatcher::lookup::{Known, State};
use picloud_daemon::groups::Groups;
use picloud_daemon::http::callers::{Callers, Secrets};
use picloud_daemon::http::listener::{places, serve};
use picloud_daemon::http::request::{Edge, Names};
use picloud_daemon::ids::{AppId, Id, PrincipalId, RouteId, TokenId};
use picloud_daemon::inbox::{Changed, InboxFailure, InboxFailureKind, InboxResult};
use picloud_daemon::limits::HttpLimits;
use picloud_daemon::principal::{Capability, Grant, Principal, Token, TokenHash, secret_text};
use picloud_daemon::retry::RetryPolicy;
use picloud_daemon::route::access::{Access, Auth, BODY, Hmac};
use picloud_daemon::route::{DispatchMode, Route};
use picloud_daemon::time::{Clock, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The engine of the tests. What it does is the name of the route's script:
///
/// - `echo` answers with the event;
/// - `held` waits for [`Engine::gate`], then answers `"held"`;
/// - `big` answers with 1 MiB;
/// - `fail <kind>` fails;
/// - everything else is the result itself, as JSON text.
pub(crate) struct Engine {
    pub(crate) gate: Semaphore,
    pub(crate) calls: Mutex<Vec<Call>>,
    /// Calls whose callers wait.
    pub(crate) waiting: watch::Sender<usize>,
    /// Calls whose callers are gone.
    pub(crate) dropped: watch::Sender<usize>,
}

struct Waiting<'a> {
    engine: &'a Engine,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.engine.waiting.send_modify(|count| *count -= 1);
        if !self.answered {
            self.engine.dropped.send_modify(|count| *count += 1);
        }
    }
}

pub(crate) const EXECUTION: Id = Id(7);

impl Engine {
    async fn call(&self, call: Call) -> Reply {
        self.waiting.send_modify(|count| *count += 1);
        let mut waiting = Waiting { engine: self, answered: false };
        self.calls.lock().unwrap().push(call.clone());
        if call.route.dispatch_mode == DispatchMode::Async {
            waiting.answered = true;
            return Reply::Accepted { execution: EXECUTION, at: Timestamp(1_700_000_000_123) };
        }
        let result = match &*call.route.script {
            "echo" => InboxResult::Answered(call.event),
            "held" => {
                self.gate.acquire().await.unwrap().forget();
                InboxResult::Answered("\"held\"".into())
            }
            "big" => InboxResult::Answered(format!("\"{}\"", "x".repeat(1 << 20)).into()),
            "fail busy" => failed(InboxFailureKind::Busy, Changed::Nothing),
            "fail script" => failed(InboxFailureKind::ScriptFailed, Changed::Nothing),
            "fail late" => failed(InboxFailureKind::TimedOut, Changed::Unknown),
            result => InboxResult::Answered(result.into()),
        };
        waiting.answered = true;
        Reply::Answered { execution: EXECUTION, result }
    }

    /// Waits until `count` calls are waiting.
    pub(crate) async fn has_waiting(&self, count: usize) {
        within(self.waiting.subscribe().wait_for(|waiting| *waiting == count)).await.unwrap();
    }

    /// Waits until `count` calls have lost their callers.
    pub(crate) async fn has_dropped(&self, count: usize) {
        within(self.dropped.subscribe().wait_for(|dropped| *dropped == count)).await.unwrap();
    }

    pub(crate) fn call_count(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

fn failed(kind: InboxFailureKind, changed: Changed) -> InboxResult {
    InboxResult::Failed(InboxFailure { kind, message: "the inner reason".to_owned(), changed })
}

/// A clock that tests move, from 2023-11-14 on.
#[derive(Default)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    pub(crate) fn forward(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// What [`Hand`] shows first, in seconds.
pub(crate) const NOW_S: i64 = 1_700_000_000;

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(NOW_S * 1_000 + i64::try_from(self.0.load(Ordering::SeqCst)).unwrap())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<Hand>,
    pub(crate) stop: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/", "\"root\""),
    ("GET", "/echo", "echo"),
    ("POST", "/echo", "echo"),
    ("GET", "/echo/{name}", "echo"),
    ("GET", "/files/{*rest}", "echo"),
    ("GET", "/held", "held"),
    ("GET", "/big", "big"),
    ("GET", "/fail/busy", "fail busy"),
    ("GET", "/fail/script", "fail script"),
    ("GET", "/fail/late", "fail late"),
    ("GET", "/number", "17"),
    ("GET", "/text", r#"{"body":"héllo","headers":{"X-A":["1","2"]},"status":201}"#),
    ("GET", "/html", r#"{"body":"<p>","headers":{"Content-Type":"text/html"}}"#),
    ("GET", "/binary", r#"{"body":{"$base64":"/wA="}}"#),
    ("GET", "/none", r#"{"status":204,"body":"dropped"}"#),
    ("GET", "/split", r#"{"headers":{"x":"a\r\nb: c"}}"#),
];

fn app(id: i64, slug: &str, host: Option<&str>, expose_errors: bool) -> App {
    let route = |place: usize, method: &str, path: &str, script: &str, dispatch_mode| {
        Arc::new(Route {
            id: RouteId(id * 1_000 + i64::try_from(place).unwrap()),
            app: AppId(id),
            method: method.into(),
            path: path.into(),
            script: script.into(),
            dispatch_mode,
            retry: RetryPolicy::default(),
            principal: PrincipalId(1),
            access: Default::default(),
        })
    };
    let mut routes: Vec<_> = ROUTES
        .iter()
        .enumerate()
        .map(|(place, (method, path, script))| {
            route(place, method, path, script, DispatchMode::Sync)
        })
        .collect();
    routes.push(route(LATER, "POST", "/later", "echo", DispatchMode::Async));
    App {
        id: AppId(id),
        slug: slug.into(),
        host: host.map(Arc::from),
        allow_hosts: Vec::new(),
        expose_errors,
        access: Default::default(),
        revision: 1,
        scripts: Default::default(),
        routes,
    }
}

/// The place of the async route in each app.
const LATER: usize = 999;

/// An app whose routes ask who calls. Its async route asks what `asks` says.
fn guarded(id: i64, slug: &str, asks: Auth) -> App {
    let mut app = app(id, slug, None, false);
    app.access = Access { auth: Some(asks), rate: None };
    let says = |auth: Option<Auth>, rate: Option<&str>| Access {
        auth,
        rate: rate.map(|rate| rate.parse().unwrap()),
    };
    let timed =
        Hmac { header: "x-timed".into(), signed: "{timestamp}.{body}".into(), ..signs("KEY") };
    let routes = [
        ("POST", "/gone", says(Some(Auth::Hmac(signs("GONE"))), None)),
        ("POST", "/timed", says(Some(Auth::Hmac(timed)), None)),
        ("POST", "/open", says(Some(Auth::None), None)),
        ("POST", "/twice", says(Some(Auth::None), Some("2/m"))),
        ("POST", "/seldom", says(None, Some("2/m"))),
    ];
    for (place, (method, path, access)) in routes.into_iter().enumerate() {
        let route = Route {
            id: RouteId(id * 1_000 + 900 + i64::try_from(place).unwrap()),
            method: method.into(),
            path: path.into(),
            script: "echo".into(),
            access,
            ..Route::clone(&app.routes[0])
        };
        app.routes.push(Arc::new(route));
    }
    app
}

/// GitHub's way.
pub(crate) fn signs(secret: &str) -> Hmac {
    Hmac {
        secret: secret.into(),
        header: "x-hub-signature-256".into(),
        timestamp_header: None,
        signed: BODY.into(),
        tolerance_ms: 300_000,
    }
}

/// Who has tokens. Each has its name's, and phone also that of old and of lost, which have ended.
fn bearers() -> (Vec<Principal>, Vec<Token>) {
    let who = [
        ("phone", Capability::AppInvoke, Some(4)),
        ("tablet", Capability::AppInvoke, None),
        ("root", Capability::InstanceAdmin, None),
        ("stranger", Capability::AppInvoke, Some(3)),
        ("reader", Capability::AppRead, None),
    ];
    let principals = who.into_iter().zip(11..).map(|((name, capability, app), id)| Principal {
        id: PrincipalId(id),
        name: name.to_owned(),
        uid: None,
        grants: vec![Grant { capability, app: app.map(AppId) }],
    });
    let principals: Vec<Principal> = principals.collect();
    let token = |name: &str, principal: &Principal| Token {
        id: TokenId(20 + i64::from(name.as_bytes()[0])),
        name: name.to_owned(),
        hash: TokenHash::of(&secret_of(name)).unwrap(),
        principal: principal.id,
        created_at: Timestamp(0),
        expires_at: (name == "old").then_some(Timestamp(NOW_S * 1_000)),
        revoked_at: (name == "lost").then_some(Timestamp(1)),
    };
    let own = principals.iter().map(|one| token(&one.name, one));
    let more = ["old", "lost", "second"].map(|name| token(name, &principals[0]));
    let tokens = own.chain(more).collect();
    (principals, tokens)
}

/// The secret of the token with this name.
pub(crate) fn secret_of(token: &str) -> String {
    let mut random = [0; 32];
    random[..token.len()].copy_from_slice(token.as_bytes());
    secret_text(&random)
}

/// The value of the secret that there is.
pub(crate) const SECRET: &str = "It's a Secret to Everybody";

/// A server whose limits of time are far away, so that only a test that is about one meets it.
pub(crate) async fn server() -> Server {
    server_with(|_| {}).await
}

pub(crate) async fn server_with(change: impl FnOnce(&mut HttpLimits)) -> Server {
    let far_ms = 600_000;
    let mut limits = HttpLimits {
        head_ms: far_ms,
        idle_ms: far_ms,
        body_ms: far_ms,
        write_ms: far_ms,
        stop_ms: far_ms,
        linger_ms: far_ms,
        half_close_ms: far_ms,
        ..HttpLimits::default()
    };
    change(&mut limits);
    let apps = vec![
        app(1, "demo", Some("Claimed.example"), false),
        app(2, "other", None, true),
        guarded(3, "hooks", Auth::Hmac(signs("KEY"))),
        guarded(4, "doors", Auth::Token),
    ];
    let (principals, tokens) = bearers();
    let rows = CatalogRows { apps, principals, tokens, ..CatalogRows::default() };
    let catalog = Catalog::build(rows);
    let catalog = Arc::new(ArcSwap::from_pointee(catalog));
    let engine = Arc::new(Engine {
        gate: Semaphore::new(0),
        calls: Mutex::default(),
        waiting: watch::Sender::new(0),
        dropped: watch::Sender::new(0),
    });
    let names = Names { machine: Some("Berry".to_owned()), hosts: vec!["pi.example".to_owned()] };
    let call = {
        let engine = Arc::clone(&engine);
        move |call| {
            let engine = Arc::clone(&engine);
            async move { engine.call(call).await }
        }
    };
    // Executions are called after the number of their app; that of 90 is of a route that is gone.
    let lookup = |Id(id)| async move {
        let app = if id == EXECUTION.0 { 1 } else { i64::try_from(id).unwrap() };
        let route = RouteId(app * 1_000 + i64::try_from(LATER).unwrap());
        let known = Known { app: AppId(app), route, state: State::Retrying, attempts: 2 };
        match app {
            1..10 => Some(known),
            90 => Some(Known { app: AppId(1), route: RouteId(90), ..known }),
            _ => None,
        }
    };
    let clock: Arc<Hand> = Arc::default();
    let secrets: Secrets = Box::new(|_, name| {
        Box::pin(async move {
            if &*name == "KEY" { Ok(SECRET.into()) } else { Err(format!("set {name}")) }
        })
    });
    let groups = Arc::new(Groups::none());
    let (max, places) = (limits.rate_callers_max, places(&limits));
    let callers = Callers::new(Arc::<Hand>::clone(&clock), groups, max, secrets);
    let edge = Arc::new(Edge::new(catalog, (limits, names), callers, call, lookup));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    // Not on the same tracker, which is there to see when the last connection has ended.
    let serve = serve(listener, places, edge, tracker.clone(), stop.clone());
    TaskTracker::new().spawn(serve);
    Server { address, engine, clock, stop, tracker }
}

/// No test waits longer for what has to happen.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it happens in time")
}

impl Server {
    pub(crate) async fn connect(&self) -> Client {
        Client { stream: within(TcpStream::connect(self.address)).await.unwrap(), read: Vec::new() }
    }

    /// Sends bytes on a connection of its own and returns what comes back until the server closes it.
    pub(crate) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.rest().await
    }

    /// `GET` with a good `Host`, on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> String {
        self.exchange(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
        .await
    }

    pub(crate) async fn post(&self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> String {
        let body = body.as_ref();
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        self.exchange(bytes).await
    }

    /// Waits until no connection is open.
    pub(crate) async fn is_quiet(&self) {
        self.tracker.close();
        within(self.tracker.wait()).await;
        self.tracker.reopen();
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A server that refuses early may close before all is sent.
        let _ = within(self.stream.write_all(bytes.as_ref())).await;
    }

    /// What comes until the server closes.
    pub(crate) async fn rest(mut self) -> String {
        let _ = within(self.stream.read_to_end(&mut self.read)).await;
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// One response with a `Content-Length`, or one without a body.
    pub(crate) async fn response(&mut self) -> String {
        loop {
            if let Some(end) = response_end(&self.read) {
                let response = self.read.drain(..end).collect();
                return String::from_utf8(response).unwrap();
            }
            let taken = within(self.stream.read_buf(&mut self.read)).await.unwrap();
            assert!(taken > 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
        }
    }
}

fn response_end(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let end = head + length.map_or(0, |length| length.parse::<usize>().unwrap());
    (bytes.len() >= end).then_some(end)
}

/// Status of the first response in a text.
pub(crate) fn status(response: &str) -> u16 {
    let code = response.strip_prefix("HTTP/1.1 ").or_else(|| response.strip_prefix("HTTP/1.0 "));
    code.and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or_else(|| panic!("{response:?}"))
}

pub(crate) fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let head = response.split("\r\n\r\n").next()?;
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        (found == name).then_some(value)
    })
}

pub(crate) fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").expect("a head").1
}

/// The body as JSON.
pub(crate) fn json(response: &str) -> serde_json::Value {
    serde_json::from_str(body(response)).unwrap_or_else(|_| panic!("{response:?}"))
}

/// Status and code of a problem, which is checked to be one.
pub(crate) fn problem(response: &str) -> (u16, String) {
    let status = status(response);
    assert_eq!(header(response, "content-type"), Some("application/problem+json"), "{response}");
    let json = json(response);
    assert_eq!(json["status"], status, "{response}");
    for key in ["type", "title", "detail", "outcome"] {
        assert!(json[key].is_string(), "{key}: {response}");
    }
    (status, json["code"].as_str().unwrap().to_owned())
}

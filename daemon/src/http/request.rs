//! One request: from its head to a call of the engine, and back.

use std::borrow::Cow;
use std::collections::HashSet;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming as IncomingBody};
use sha2::{Digest as _, Sha256};

use crate::catalog::{App, Catalog};
use crate::dispatcher::call::{Call, Reply};
use crate::dispatcher::lookup::Known;
use crate::http::callers::Callers;
use crate::http::event::{Incoming, event};
use crate::http::problem::{Code, Problem};
use crate::http::response;
use crate::http::wire::{Onward, Wire};
use crate::ids::Id;
use crate::limits::HttpLimits;
use crate::route::table::Find;
use crate::route::{DispatchMode, METHODS, Route, split_path};

/// What all requests share. `call` is the engine; a call whose future is dropped has lost its caller. `lookup` says what is known
/// of an async execution.
pub struct Edge<C, L> {
    catalog: Arc<ArcSwap<Catalog>>,
    hosts: HashSet<String>,
    limits: Arc<HttpLimits>,
    callers: Callers,
    call: C,
    lookup: L,
}

impl<C, L> Edge<C, L> {
    /// `machine` is the machine's name, without a domain; `hosts` are further names from the configuration.
    pub fn new(
        catalog: Arc<ArcSwap<Catalog>>,
        (limits, names): (HttpLimits, Names),
        callers: Callers,
        call: C,
        lookup: L,
    ) -> Edge<C, L> {
        let (hosts, limits) = (names.allowed(), Arc::new(limits));
        Edge { catalog, hosts, limits, callers, call, lookup }
    }

    pub(super) fn limits(&self) -> &Arc<HttpLimits> {
        &self.limits
    }
}

/// The names under which this machine may be called, beside IP addresses, `localhost` and what apps claim.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The machine's name; also taken with `.local`.
    pub machine: Option<String>,
    /// `[http] hosts`.
    pub hosts: Vec<String>,
}

impl Names {
    fn allowed(self) -> HashSet<String> {
        let mut allowed: HashSet<String> =
            self.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        if let Some(machine) = self.machine {
            let machine = machine.to_ascii_lowercase();
            allowed.insert(format!("{machine}.local"));
            allowed.insert(machine);
        }
        allowed.insert("localhost".to_owned());
        allowed
    }
}

impl<C, F, L, G> Edge<C, L>
where
    C: Fn(Call) -> F,
    F: Future<Output = Reply>,
    L: Fn(Id) -> G,
    G: Future<Output = Option<Known>>,
{
    /// Answers whatever the parser took for a request.
    pub(super) async fn answer(
        &self,
        wire: &Wire,
        request: Request<IncomingBody>,
    ) -> Response<Full<Bytes>> {
        let answered = match wire.take_refusal() {
            Some(problem) => Err(problem),
            None => self.respond(wire.peer, request).await,
        };
        let mut response = answered.unwrap_or_else(|problem| problem.response());
        if wire.answered() == Onward::Close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn respond(
        &self,
        peer: IpAddr,
        request: Request<IncomingBody>,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let (parts, body) = request.into_parts();
        let catalog = self.catalog.load_full();
        let by_host = self.host(&parts, &catalog)?;
        if parts.method == Method::TRACE {
            return Err(Problem::method_not_allowed("TRACE", &METHODS.join(", ")));
        }
        let path = parts.uri.path();
        if path == "*" && parts.method == Method::OPTIONS {
            return Ok(options(&METHODS.join(", ")));
        }
        let segments =
            split_path(path).map_err(|error| Problem::new(Code::BadPath, error.to_string()))?;
        if segments[0] == "_picloud" {
            return match own(&parts.method, &segments)? {
                Own::Health => Ok(healthy()),
                Own::Execution(id) => {
                    let id = id.parse().map_err(|_| not_kept(id))?;
                    self.execution(id, (&catalog, by_host), &parts.headers, body).await
                }
            };
        }
        let (app, segments, path) = match by_host {
            Some(app) => (app, &segments[..], path),
            None => {
                let app = catalog.app(&segments[0]).ok_or_else(|| no_such_app(&segments[0]))?;
                (app, &segments[1..], below_first_segment(path))
            }
        };
        let method = parts.method.as_str();
        let table = catalog.table(app.id).expect("each app of a catalog has a table");
        let (route, params) = match table.find(method, segments) {
            Find::Route { route, params } => (route, params),
            Find::Options { allow } => return Ok(options(&allow)),
            Find::MethodNotAllowed { allow } => {
                return Err(Problem::method_not_allowed(method, &allow));
            }
            Find::NotFound => return Err(no_such_route(app, path)),
        };
        let asked = self.callers.ask(&catalog, (app, route), &parts.headers)?;
        self.callers.count(app, route, &asked, peer)?;
        let key = idempotency_key(&parts.headers)?;
        let body = self.read_body(&parts.headers, body).await?;
        let caller = self.callers.know((app, route), asked, &body).await?;
        let incoming = Incoming {
            method,
            path,
            params: &params,
            query: parts.uri.query(),
            headers: &parts.headers,
            body: &body,
            peer,
            caller: &caller,
            hidden: route.access.auth(&app.access).header(),
        };
        let call = Call {
            app: Arc::clone(app),
            route: Arc::clone(route),
            event: event(&incoming, &self.limits)?.into(),
            caller,
            idempotency: key.map(|key| (key.into(), sha256_hex(&body).into())),
        };
        let app = Arc::clone(app);
        // A script may run for long; what the request was made of need not be kept for it.
        drop((params, body));
        let reply = (self.call)(call).await;
        response::response(&app, reply)
    }

    /// What is known of an execution, for whoever may call the route that has accepted it. All others are told that there is nothing,
    /// or what the route asks.
    async fn execution(
        &self,
        id: Id,
        (catalog, by_host): (&Catalog, Option<&Arc<App>>),
        headers: &HeaderMap,
        body: IncomingBody,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let nothing = || not_kept(&id.to_string());
        let known = (self.lookup)(id).await.ok_or_else(nothing)?;
        let app = by_host.or_else(|| catalog.apps.get(&known.app));
        let app = app.filter(|app| app.id == known.app).ok_or_else(nothing)?;
        let is_its = |route: &&Arc<Route>| {
            route.id == known.route && route.dispatch_mode == DispatchMode::Async
        };
        let route = app.routes.iter().find(is_its).ok_or_else(nothing)?;
        // A token for another app learns nothing of this one.
        let silent = |problem: Problem| match problem.code() {
            Code::NotAllowed => nothing(),
            _ => problem,
        };
        let asked = self.callers.ask(catalog, (app, route), headers).map_err(silent)?;
        let body = self.read_body(headers, body).await?;
        self.callers.know((app, route), asked, &body).await?;
        Ok(response::known(id, &known))
    }

    /// Checks `Host`, and finds the app that claims that name.
    ///
    /// A page on the web can make a browser call any address under a name of its own; so only names that are meant for this machine
    /// are answered.
    fn host<'c>(
        &self,
        parts: &Parts,
        catalog: &'c Catalog,
    ) -> Result<Option<&'c Arc<App>>, Problem> {
        let mut values = parts.headers.get_all(header::HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(bad_host("Host must be there, and once"));
        };
        let text = match parts.uri.authority() {
            Some(authority) => authority.as_str(),
            None => value.to_str().map_err(|_| bad_host("Host is not ASCII"))?,
        };
        let name = host_name(text).ok_or_else(|| bad_host("Host is no name or address"))?;
        let HostName::Name(name) = name else { return Ok(None) };
        if let Some(app) = catalog.app_of_host(&name) {
            return Ok(Some(app));
        }
        if self.hosts.contains(&*name) {
            return Ok(None);
        }
        Err(Problem::new(Code::ForeignHost, format!("\"{name}\" is not a name of this machine"))
            .hint("call it by its address or name, or add the name to hosts in [http] of picloud.toml"))
    }

    async fn read_body(&self, headers: &HeaderMap, body: IncomingBody) -> Result<Bytes, Problem> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let encodings = headers.get_all(header::CONTENT_ENCODING);
        if encodings.iter().any(|one| !one.as_bytes().eq_ignore_ascii_case(b"identity")) {
            let problem = Problem::new(Code::BadBody, "no Content-Encoding is taken");
            return Err(problem.hint("send the body as it is, not compressed"));
        }
        if body.size_hint().lower() > self.limits.body_bytes_max as u64 {
            return Err(self.body_too_large());
        }
        let time = Duration::from_millis(self.limits.body_ms);
        match tokio::time::timeout(time, self.collect(body)).await {
            Ok(read) => read,
            Err(_) => {
                let detail = format!("the body did not come within {} ms", self.limits.body_ms);
                Err(Problem::new(Code::RequestTimeout, detail))
            }
        }
    }

    async fn collect(&self, mut body: IncomingBody) -> Result<Bytes, Problem> {
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                let detail = "the body broke off, or is not chunked as it should be";
                Problem::new(Code::BadRequest, detail)
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + all.len() + data.len() > self.limits.body_bytes_max {
                return Err(self.body_too_large());
            }
            if !all.is_empty() {
                all.extend_from_slice(&data);
            } else if first.is_empty() {
                first = data;
            } else {
                let expected = usize::try_from(body.size_hint().lower()).unwrap_or_default();
                all.reserve(first.len() + data.len() + expected.min(self.limits.body_bytes_max));
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&data);
            }
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }

    fn body_too_large(&self) -> Problem {
        let detail = format!("a body may have {} bytes", self.limits.body_bytes_max);
        Problem::new(Code::BodyTooLarge, detail)
    }
}

/// `HOST:PORT` without the port.
#[derive(Debug, PartialEq, Eq)]
enum HostName<'a> {
    /// In lower case and without a dot at its end.
    Name(Cow<'a, str>),
    Address,
}

fn host_name(text: &str) -> Option<HostName<'_>> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (None, port)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (Some(&text[..end]), &text[end..])
        }
    };
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return None;
    }
    let Some(name) = name else { return Some(HostName::Address) };
    if name.parse::<std::net::Ipv4Addr>().is_ok() {
        return Some(HostName::Address);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || name.len() > 253 || !name.bytes().all(is_plain) {
        return None;
    }
    Some(HostName::Name(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }))
}

fn bad_host(detail: &str) -> Problem {
    Problem::new(Code::BadHost, detail)
}

/// What the daemon answers itself. Slugs never begin with `_`.
enum Own<'a> {
    Health,
    Execution(&'a str),
}

fn own<'a>(method: &Method, segments: &'a [Cow<'_, str>]) -> Result<Own<'a>, Problem> {
    let own = match &segments[1..] {
        [name] if name == "healthz" => Own::Health,
        [name, id] if name == "executions" => Own::Execution(id),
        _ => return Err(Problem::new(Code::NoSuchRoute, "the daemon itself has no such path")),
    };
    if method != Method::GET && method != Method::HEAD {
        return Err(Problem::method_not_allowed(method.as_str(), "GET, HEAD"));
    }
    Ok(own)
}

fn healthy() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"ok\n")));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

fn not_kept(id: &str) -> Problem {
    Problem::new(Code::NotKept, format!("nothing is known of execution {id}"))
        .hint("what completed is forgotten after a while")
}

fn no_such_app(slug: &str) -> Problem {
    let detail = if slug.is_empty() {
        "the path names no app".to_owned()
    } else {
        format!("there is no app \"{slug}\"")
    };
    Problem::new(Code::NoSuchApp, detail).hint("paths are /<app>/<path of a route>")
}

fn no_such_route(app: &App, path: &str) -> Problem {
    let detail = format!("app \"{}\" has no route for {path}", app.slug);
    let problem = Problem::new(Code::NoSuchRoute, detail);
    if path.len() > 1 && path.ends_with('/') {
        return problem.hint("try it without the / at the end");
    }
    problem
}

fn options(allow: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allow = HeaderValue::from_str(allow).expect("methods are tokens");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// The path as the app sees it.
fn below_first_segment(path: &str) -> &str {
    path[1..].find('/').map_or("/", |slash| &path[1 + slash..])
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let is_visible = (1..=255).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    if values.next().is_some() || !is_visible {
        let detail = "Idempotency-Key must be there once, with 1 to 255 visible ASCII characters";
        return Err(Problem::new(Code::BadIdempotencyKey, detail));
    }
    Ok(value.to_str().ok())
}

fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").expect("writing to a String does not fail");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_name() {
        let name = |name: &'static str| Some(HostName::Name(Cow::Borrowed(name)));
        for (text, expected) in [
            ("127.0.0.1", Some(HostName::Address)),
            ("192.168.1.7:8080", Some(HostName::Address)),
            ("[::1]:80", Some(HostName::Address)),
            ("[fe80::1]", Some(HostName::Address)),
            ("Raspberry.Local:8080", name("raspberry.local")),
            ("a.example.", name("a.example")),
            ("127.1", name("127.1")),
            ("localhost:", name("localhost")),
            ("", None),
            (":80", None),
            ("a:b", None),
            ("a:80:80", None),
            ("a:123456", None),
            ("user@a", None),
            ("a b", None),
            ("[::1", None),
            ("[zz]", None),
            ("[::1]x", None),
            ("a/b", None),
        ] {
            assert_eq!(host_name(text), expected, "{text}");
        }
    }

    #[test]
    fn the_first_segment_is_not_the_apps_business() {
        for (path, expected) in [("/a", "/"), ("/a/", "/"), ("/a/b%2F/c", "/b%2F/c")] {
            assert_eq!(below_first_segment(path), expected);
        }
    }

    #[test]
    fn a_hash_is_hexadecimal() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_hex(b""), empty);
    }
}

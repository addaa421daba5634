//! Calls of scripts to the outside: sent on the run's own thread, only to hosts that the app's manifest names, and only
//! to addresses that those hosts may have.
//!
//! A connection lives for one request, so that each has been checked, and none keeps a stop waiting.

pub mod location;
pub mod resolve;

mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use picloud_scripts_runtime::outside::{OutsideAnswer, OutsideCall, OutsideError, shown};
use ureq::config::Config;
use ureq::unversioned::transport::{Connector as _, TcpConnector};
use ureq::{Agent, Body};

use crate::allow::{self, Allowed, Target};
use crate::limits::OutgoingLimits;
use crate::time::Clock;

use resolve::{Checked, Lookup, Refused, Rules};

/// The way to the outside; one for the process.
pub struct Outgoing {
    agent: Agent,
    limits: OutgoingLimits,
    /// Where the daemon itself listens: never called.
    own: Arc<[SocketAddr]>,
    clock: Arc<dyn Clock>,
}

/// Who calls, and until when.
pub struct Caller<'a> {
    /// `allow_hosts` of its app.
    pub allow_hosts: &'a [Arc<str>],
    /// What the `Idempotency-Key` is, unless the script sets its own.
    pub key: String,
    /// The run's end, by the monotonic clock.
    pub deadline: Duration,
}

/// Fields that say how a message is sent, which is not the script's business.
const OWN_FIELDS: [HeaderName; 9] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
];

/// Fields that follow a redirect to another host. All others may hold secrets.
const HARMLESS_FIELDS: [HeaderName; 5] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_TYPE,
    header::USER_AGENT,
    IDEMPOTENCY_KEY,
];

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const USER_AGENT: &str = concat!("picloud/", env!("CARGO_PKG_VERSION"));

/// Header fields of an answer; more is an error.
const ANSWER_HEAD_BYTES_MAX: usize = 64 << 10;

impl Outgoing {
    pub fn new(limits: OutgoingLimits, own: Vec<SocketAddr>, clock: Arc<dyn Clock>) -> Outgoing {
        Outgoing::with_lookup(limits, own, clock, resolve::of_the_system)
    }

    fn with_lookup(
        limits: OutgoingLimits,
        own: Vec<SocketAddr>,
        clock: Arc<dyn Clock>,
        lookup: Lookup,
    ) -> Outgoing {
        let config = Config::builder()
            .http_status_as_error(false)
            // Each hop is checked before it is followed.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy of the environment would connect to what was not checked.
            .proxy(None)
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .max_response_header_size(ANSWER_HEAD_BYTES_MAX)
            .user_agent(USER_AGENT)
            .accept_encoding("identity")
            .tls_config(tls::config())
            .build();
        let connector = ().chain(TcpConnector::default()).chain(tls::Tls::default());
        let resolver = Checked::new(limits.lookups_max, lookup);
        let agent = Agent::with_parts(config, connector, resolver);
        Outgoing { agent, limits, own: own.into(), clock }
    }

    /// Sends a request and waits for its answer, on the calling thread.
    pub fn call(
        &self,
        call: &OutsideCall,
        caller: &Caller<'_>,
    ) -> Result<OutsideAnswer, OutsideError> {
        self.answer(call, caller).map_err(OutsideError)
    }

    /// Ends the calls under way; none begins any more.
    pub fn stop(&self) {
        self.agent.clone().shutdown();
    }

    fn answer(&self, call: &OutsideCall, caller: &Caller<'_>) -> Result<OutsideAnswer, String> {
        let body_bytes_max = self.limits.request_bytes_max;
        if call.body.as_ref().is_some_and(|body| body.len() > body_bytes_max) {
            return Err(format!("the body has more than {body_bytes_max} bytes"));
        }
        let allowed: Vec<Allowed> =
            caller.allow_hosts.iter().filter_map(|text| Allowed::parse(text).ok()).collect();
        let allowed: Arc<[Allowed]> = allowed.into();
        let until = self.until(call, caller);
        let mut hop = Hop::first(call, &caller.key)?;
        for _ in 0..=self.limits.redirects_max {
            let target = hop.target()?;
            if !allow::is_named(&allowed, &target) {
                return Err(hop.not_named(&target));
            }
            let (allowed, own) = (Arc::clone(&allowed), Arc::clone(&self.own));
            let rules = Rules { allowed, own, target };
            let mut answer = resolve::with_rules(rules, || self.send(&hop, until))?;
            match location::next(answer.status(), answer.headers()) {
                None => return self.read(&mut answer, &hop),
                Some(place) => hop = hop.redirected(answer.status(), place)?,
            }
        }
        Err(format!("was redirected more than {} times", self.limits.redirects_max))
    }

    /// When the call has to be over: by the script's own limit, the instance's, and the run's end.
    fn until(&self, call: &OutsideCall, caller: &Caller<'_>) -> Duration {
        let ms = call.timeout_ms.unwrap_or(u64::MAX).min(self.limits.call_ms);
        (self.clock.monotonic() + Duration::from_millis(ms)).min(caller.deadline)
    }

    fn send(&self, hop: &Hop, until: Duration) -> Result<http::Response<Body>, String> {
        let left = until.saturating_sub(self.clock.monotonic());
        if left.is_zero() {
            return Err("its time was over before it could be sent".to_owned());
        }
        let mut request = Request::builder().method(&hop.method).uri(&hop.uri);
        for (name, value) in &hop.headers {
            request = request.header(name, value);
        }
        let wants_body = matches!(hop.method, Method::POST | Method::PUT | Method::PATCH);
        let sent = match &hop.body {
            None if !wants_body => {
                let request = request.body(()).map_err(|error| error.to_string())?;
                let request = self.agent.configure_request(request);
                self.agent.run(request.timeout_global(Some(left)).build())
            }
            body => {
                let body = body.as_deref().unwrap_or_default();
                let request = request.body(body).map_err(|error| error.to_string())?;
                let request = self.agent.configure_request(request);
                self.agent.run(request.timeout_global(Some(left)).build())
            }
        };
        sent.map_err(|error| self.reason(&error))
    }

    fn read(&self, answer: &mut http::Response<Body>, hop: &Hop) -> Result<OutsideAnswer, String> {
        let limit = self.limits.response_bytes_max as u64;
        let body = answer.body_mut().with_config().limit(limit).read_to_vec();
        let body = body.map_err(|error| self.reason(&error))?;
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Ok(OutsideAnswer {
            status: answer.status().as_u16(),
            headers: answer.headers().iter().map(field).collect(),
            body,
            url: hop.uri.to_string(),
        })
    }

    /// Why there is no answer, for the person who wrote the script.
    fn reason(&self, error: &ureq::Error) -> String {
        use ureq::Error;
        match error {
            Error::Other(other) if other.is::<Refused>() => other.to_string(),
            Error::Timeout(_) => "there was no answer in time".to_owned(),
            Error::HostNotFound => "the host is not known".to_owned(),
            Error::BodyExceedsLimit(_) => {
                format!("the answer has more than {} bytes", self.limits.response_bytes_max)
            }
            Error::LargeResponseHeader(..) => {
                format!("the answer's header fields have more than {ANSWER_HEAD_BYTES_MAX} bytes")
            }
            Error::Rustls(error) => format!("no secure connection: {error}"),
            Error::Io(error) => error.to_string(),
            other => other.to_string(),
        }
    }
}

/// One request on its way, which may be sent on.
struct Hop {
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Vec<u8>>,
    is_first: bool,
}

impl Hop {
    fn first(call: &OutsideCall, key: &str) -> Result<Hop, String> {
        let method: Method =
            call.method.parse().map_err(|_| format!("there is no method \"{}\"", call.method))?;
        if method == Method::CONNECT || method == Method::TRACE {
            return Err(format!("the method {method} is not allowed"));
        }
        let mut headers = Vec::with_capacity(call.headers.len() + 1);
        for (name, value) in &call.headers {
            let known: HeaderName =
                name.parse().map_err(|_| format!("\"{name}\" is no header's name"))?;
            if OWN_FIELDS.contains(&known) {
                return Err(format!("the header {known} is set by PiCloud alone"));
            }
            let value = HeaderValue::from_bytes(value.as_bytes());
            headers
                .push((known, value.map_err(|_| format!("the header {name} is no line of text"))?));
        }
        if !headers.iter().any(|(name, _)| *name == IDEMPOTENCY_KEY) {
            let value = HeaderValue::from_str(key).map_err(|error| error.to_string())?;
            headers.push((IDEMPOTENCY_KEY, value));
        }
        let uri = location::parse(&call.url)?;
        Ok(Hop { method, uri, headers, body: call.body.clone(), is_first: true })
    }

    fn target(&self) -> Result<Target, String> {
        location::target(&self.uri)
    }

    fn not_named(&self, target: &Target) -> String {
        let whom = format!("{}:{}", target.host, target.port);
        let how = if self.is_first { "the host" } else { "it was redirected to" };
        format!("{how} {whom}, which allow_hosts of the app's manifest does not name")
    }

    /// The request that follows a redirect. On another host nothing of it may be secret but its body.
    fn redirected(mut self, status: http::StatusCode, place: &str) -> Result<Hop, String> {
        let uri = location::join(&self.uri, place)?;
        if self.uri.scheme_str() == Some("https") && uri.scheme_str() != Some("https") {
            return Err(format!("it was redirected from https to {}", shown(&uri.to_string())));
        }
        if location::becomes_get(status, &self.method) {
            self.method = Method::GET;
            self.body = None;
            self.headers.retain(|(name, _)| *name != header::CONTENT_TYPE);
        }
        if location::target(&uri)? != self.target()? {
            self.headers.retain(|(name, _)| HARMLESS_FIELDS.contains(name));
        }
        Ok(Hop { uri, is_first: false, ..self })
    }
}

#[cfg(test)]
mod tests;

//! HTTP on the admin socket, or on the daemon's admin address.

use std::fmt;
use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use picloud_api::problem::Problem;
use picloud_api::{BASE, VERSION, VERSION_HEADER};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Where the daemon listens when nobody says.
pub const DEFAULT_SOCKET: &str = "/run/picloud/admin.sock";
/// Bytes of an answer: a page of a thousand items with long errors is far below.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A deploy of the largest bundle on the smallest board takes some seconds.
pub(crate) const ANSWER_SECONDS_MAX: u64 = 60;
/// A hundred thousand dead letters beside callers, on a slow card.
pub(crate) const BULK_SECONDS_MAX: u64 = 900;

/// Asks the daemon, with a connection for each question.
#[derive(Clone)]
pub struct Client {
    place: Place,
    /// The header that shows a token.
    authorization: Option<HeaderValue>,
    waiting: Waiting,
}

/// Who is told that an answer takes long. By default nobody.
#[derive(Clone, Default)]
pub struct Waiting {
    /// How long nothing is said, and how long until it is said again.
    pub every: Duration,
    /// Gets a text to show, and an empty one in the end.
    pub tell: Option<Tell>,
}

pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

impl Waiting {
    /// On the terminal that standard error is, on a line that is wiped afterwards.
    pub fn on_the_terminal() -> Waiting {
        let tell = |text: &str| {
            let mut errors = io::stderr();
            let _closed = write!(errors, "\r\x1b[K{text}");
            let _closed = errors.flush();
        };
        Waiting { every: Duration::from_secs(1), tell: Some(Arc::new(tell)) }
    }

    /// Waits for the answer, and says so.
    async fn during<T>(&self, answer: impl Future<Output = T>) -> T {
        let Some(tell) = &self.tell else { return answer.await };
        let mut answer = std::pin::pin!(answer);
        let mut waited = Duration::ZERO;
        loop {
            if let Ok(answer) = tokio::time::timeout(self.every, &mut answer).await {
                if waited > Duration::ZERO {
                    tell("");
                }
                return answer;
            }
            waited += self.every;
            tell(&format!("waiting for the daemon, {} s so far", waited.as_secs()));
        }
    }
}

/// Where the daemon is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Socket(PathBuf),
    /// Host and port.
    Address(String),
}

impl Place {
    /// The place that `http://HOST:PORT` names.
    pub fn of_url(url: &str) -> Result<Place, String> {
        let rest = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let parsed = rest.and_then(|rest| rest.parse::<http::uri::Authority>().ok());
        match parsed {
            Some(found) if found.port().is_some() && !found.as_str().contains('@') => {
                Ok(Place::Address(found.to_string()))
            }
            Some(_) | None => Err(format!("\"{url}\" is no address such as http://127.0.0.1:8081")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Address(address) => write!(f, "http://{address}"),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no daemon answers at {place}")]
    NoDaemon { place: Place, source: io::Error },
    #[error("you may not open {place}")]
    Closed { place: Place, source: io::Error },
    #[error(
        "the daemon did not answer within {seconds} s; what it was asked for may still be done"
    )]
    Silent { seconds: u64 },
    #[error("the connection to the daemon broke: {0}")]
    Broken(String),
    #[error("the daemon's answer cannot be understood: {0}")]
    Odd(String),
    #[error("{0}")]
    OtherVersion(OtherVersion),
    /// The daemon says no.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
}

/// The daemon speaks a version of the API that this program does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherVersion {
    Newer(u32),
    /// `None`: from before versions were told, or no PiCloud at all.
    Older(Option<u32>),
}

impl OtherVersion {
    /// What an answer's headers say, unless it is what this program speaks.
    fn of(headers: &http::HeaderMap) -> Option<OtherVersion> {
        let theirs = headers.get(VERSION_HEADER);
        let theirs = theirs.and_then(|version| version.to_str().ok()?.parse::<u32>().ok());
        match theirs {
            Some(VERSION) => None,
            Some(theirs) if theirs > VERSION => Some(Self::Newer(theirs)),
            older => Some(Self::Older(older)),
        }
    }

    /// What to do about it: upgrade this program, which says how, or the daemon.
    pub fn remedy(self, this_program: &'static str) -> &'static str {
        match self {
            Self::Newer(_) => this_program,
            Self::Older(_) => "upgrade picloud on the daemon's machine: sudo apt install picloud",
        }
    }
}

impl fmt::Display for OtherVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(theirs) | Self::Older(Some(theirs)) => {
                write!(
                    f,
                    "the daemon speaks version {theirs} of the admin API, this program {VERSION}"
                )
            }
            Self::Older(None) => {
                write!(
                    f,
                    "the daemon does not say which version of the admin API it speaks, this program {VERSION}"
                )
            }
        }
    }
}

impl Client {
    pub fn new(place: Place, token: Option<String>) -> Result<Client, String> {
        let header = |token: String| {
            let header = HeaderValue::try_from(format!("Bearer {}", token.trim()));
            let mut header = header.map_err(|_| "the token has odd characters".to_owned())?;
            header.set_sensitive(true);
            Ok::<HeaderValue, String>(header)
        };
        let authorization = token.map(header).transpose()?;
        Ok(Client { place, authorization, waiting: Waiting::default() })
    }

    /// The same client, which says when an answer takes long.
    pub fn waiting(self, waiting: Waiting) -> Client {
        Client { waiting, ..self }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The token that it calls with.
    pub(crate) fn token(&self) -> Option<&str> {
        self.authorization.as_ref()?.to_str().ok()?.strip_prefix("Bearer ")
    }

    /// The machine at the other end; `None` of a socket, which may be forwarded from anywhere.
    pub fn host(&self) -> Option<String> {
        match &self.place {
            Place::Socket(_) => None,
            Place::Address(address) => {
                Some(address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).to_owned())
            }
        }
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new(), None).await
    }

    /// Puts only if the thing is still at this version, if one is named.
    pub async fn put_if<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        version: Option<i64>,
    ) -> Result<T, ClientError> {
        self.ask(Method::PUT, path, json(body)?, version).await
    }

    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.post_if(path, body, None).await
    }

    pub async fn post_if<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        version: Option<i64>,
    ) -> Result<T, ClientError> {
        self.ask(Method::POST, path, json(body)?, version).await
    }

    pub async fn patch_if<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        version: Option<i64>,
    ) -> Result<T, ClientError> {
        self.ask(Method::PATCH, path, json(body)?, version).await
    }

    pub async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        version: Option<i64>,
    ) -> Result<T, ClientError> {
        self.ask(Method::DELETE, path, Bytes::new(), version).await
    }

    /// As [`Client::post`], of what may be so much that it takes minutes.
    pub async fn post_in_bulk<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask_for(BULK_SECONDS_MAX, (Method::POST, path, json(body)?, None)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        version: Option<i64>,
    ) -> Result<T, ClientError> {
        self.ask_for(ANSWER_SECONDS_MAX, (method, path, body, version)).await
    }

    async fn ask_for<T: DeserializeOwned>(
        &self,
        seconds: u64,
        question: (Method, &str, Bytes, Option<i64>),
    ) -> Result<T, ClientError> {
        let body = self.bytes(seconds, question).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Odd(error.to_string()))
    }

    /// The body of the answer, whatever it is.
    pub(crate) async fn bytes(
        &self,
        seconds: u64,
        (method, path, body, version): (Method, &str, Bytes, Option<i64>),
    ) -> Result<Bytes, ClientError> {
        let limit = Duration::from_secs(seconds);
        let asked = tokio::time::timeout(limit, self.exchange(method, path, body, version));
        let (status, body) =
            self.waiting.during(asked).await.map_err(|_| ClientError::Silent { seconds })??;
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        version: Option<i64>,
    ) -> Result<(http::StatusCode, Bytes), ClientError> {
        let mut request = self.request(method, path, body)?;
        if let Some(version) = version {
            let version = HeaderValue::try_from(format!("\"{version}\""));
            let version = version.map_err(|error| ClientError::Broken(error.to_string()))?;
            request.headers_mut().insert(header::IF_MATCH, version);
        }
        send(self.connect().await?, request).await
    }

    /// A connection to the daemon.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        let closed = |source: io::Error| {
            let place = self.place.clone();
            if source.kind() == io::ErrorKind::PermissionDenied {
                ClientError::Closed { place, source }
            } else {
                ClientError::NoDaemon { place, source }
            }
        };
        match &self.place {
            Place::Socket(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(closed)?)),
            Place::Address(address) => {
                Ok(Box::new(TcpStream::connect(address).await.map_err(closed)?))
            }
        }
    }

    /// A question to it.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let host = match &self.place {
            Place::Socket(_) => "localhost",
            Place::Address(address) => address.as_str(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{BASE}{path}"))
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}

/// A connection, whatever it goes over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One question on a connection of its own.
async fn send(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
) -> Result<(http::StatusCode, Bytes), ClientError> {
    let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let question = async move {
        let answer = sender.send_request(request).await.map_err(broken)?;
        understood(&answer)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| ClientError::Broken(error.to_string()))?;
        Ok((status, body.to_bytes()))
    };
    // The connection ends when the question, which owns the sender, has its answer.
    let (answer, _ended) = tokio::join!(question, connection);
    answer
}

/// Whether an answer may be read at all.
pub(crate) fn understood<B>(answer: &http::Response<B>) -> Result<(), ClientError> {
    match OtherVersion::of(answer.headers()) {
        None => Ok(()),
        Some(other) => Err(ClientError::OtherVersion(other)),
    }
}

/// What the daemon says when it says no.
pub(crate) fn refusal(status: http::StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(_) => ClientError::Odd(format!("status {status} without a problem")),
    }
}

fn json(body: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| ClientError::Broken(error.to_string()))
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(name, KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_scheme_host_and_port_and_nothing_else() {
        for (url, address) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://pi.local:80/", "pi.local:80"),
            ("http://[::1]:8081", "[::1]:8081"),
        ] {
            assert_eq!(Place::of_url(url), Ok(Place::Address(address.to_owned())));
        }
        for url in
            ["", "127.0.0.1:8081", "https://pi:1", "http://pi", "http://pi:1/x", "http://a@pi:1"]
        {
            assert!(Place::of_url(url).is_err(), "{url}");
        }
    }
}

//! HTTP on the admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use picloud_api::BASE;
use picloud_api::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// Where the daemon listens when nobody says.
pub const DEFAULT_SOCKET: &str = "/run/picloud/admin.sock";
/// Bytes of an answer: a page of a thousand items with long errors is far below.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A deploy of the largest bundle on the smallest board takes some seconds.
const ANSWER_SECONDS_MAX: u64 = 60;

/// Asks the daemon, with a connection for each question.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no daemon answers at {socket}")]
    NoDaemon { socket: PathBuf, source: io::Error },
    #[error("you may not open {socket}")]
    Closed { socket: PathBuf, source: io::Error },
    #[error(
        "the daemon did not answer within {ANSWER_SECONDS_MAX} s; what it was asked for may still be done"
    )]
    Silent,
    #[error("the connection to the daemon broke: {0}")]
    Broken(String),
    #[error("the daemon's answer cannot be understood: {0}")]
    Odd(String),
    /// The daemon says no.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
}

impl Client {
    pub fn new(socket: &Path) -> Client {
        Client { socket: socket.to_owned() }
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

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        version: Option<i64>,
    ) -> Result<T, ClientError> {
        let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
        let asked = tokio::time::timeout(limit, self.exchange(method, path, body, version));
        let (status, body) = asked.await.map_err(|_| ClientError::Silent)??;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| ClientError::Odd(error.to_string()));
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) => Err(ClientError::Odd(format!("status {status} without a problem"))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        version: Option<i64>,
    ) -> Result<(http::StatusCode, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| {
            let socket = self.socket.clone();
            if source.kind() == io::ErrorKind::PermissionDenied {
                ClientError::Closed { socket, source }
            } else {
                ClientError::NoDaemon { socket, source }
            }
        })?;
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut request = Request::builder();
        if let Some(version) = version {
            request = request.header(header::IF_MATCH, format!("\"{version}\""));
        }
        let request = request
            .method(method)
            .uri(format!("{BASE}{path}"))
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        let question = async move {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| ClientError::Broken(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        // The connection ends when the question, which owns the sender, has its answer.
        let (answer, _ended) = tokio::join!(question, connection);
        answer
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

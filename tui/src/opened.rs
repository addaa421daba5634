//! A stream that the daemon sends for as long as somebody takes it.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use crate::client::{
    ANSWER_BYTES_MAX, ANSWER_SECONDS_MAX, Client, ClientError, refusal, understood,
};

/// A stream of the daemon's, with the connection that it comes over.
pub struct Opened {
    body: Incoming,
    connection: Connection,
    /// The connection ends when this goes.
    _sender: SendRequest<Full<Bytes>>,
}

/// Whoever waits for what comes over it has to drive it.
struct Connection(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Connection {
    /// Resolves once, when it has ended.
    async fn drive(&mut self) {
        match &mut self.0 {
            Some(connection) => connection.await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}

impl Opened {
    /// Opens a stream of events, after the one with this id.
    pub async fn open(
        client: &Client,
        path: &str,
        last_id: Option<&str>,
    ) -> Result<Opened, ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let stream = client.connect().await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut connection = Connection(Some(Box::pin(async move { drop(connection.await) })));
        let mut request = client.request(Method::GET, path, Bytes::new())?;
        if let Some(id) = last_id {
            let id = HeaderValue::try_from(id);
            let id = id.map_err(|error| ClientError::Odd(error.to_string()))?;
            request.headers_mut().insert("last-event-id", id);
        }
        let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
        let answer = {
            let asked = tokio::time::timeout(limit, sender.send_request(request));
            let mut asked = std::pin::pin!(asked);
            loop {
                tokio::select! {
                    biased;
                    answer = asked.as_mut() => break answer,
                    () = connection.drive() => {}
                }
            }
        };
        let answer = answer
            .map_err(|_| ClientError::Silent { seconds: ANSWER_SECONDS_MAX })?
            .map_err(broken)?;
        understood(&answer)?;
        let status = answer.status();
        let mut opened = Opened { body: answer.into_body(), connection, _sender: sender };
        if status.is_success() {
            return Ok(opened);
        }
        let mut body = Vec::new();
        while let Some(piece) = opened.piece().await {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES_MAX {
                break;
            }
        }
        Err(refusal(status, &body))
    }

    /// What comes next; `None` at the end, whether that was meant or not.
    pub async fn piece(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                biased;
                frame = self.body.frame() => match frame?.ok()?.into_data() {
                    Ok(piece) => return Some(piece),
                    Err(_trailers) => {}
                },
                () = self.connection.drive() => {}
            }
        }
    }
}

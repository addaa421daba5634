//! What a daemon that runs says of itself.

use std::io;
use std::path::Path;
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use picloud_api::BASE;
use picloud_api::health::{Check, Checks};
use tokio::net::UnixStream;

use crate::doctor::{State, check};

/// How long the daemon may take for all of its checks.
const ANSWER_MAX: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What came of asking.
#[derive(Debug)]
pub(super) enum Asked {
    Answered(Vec<Check>),
    /// No daemon runs.
    Nobody,
    /// One runs, and does not answer; why.
    Silent(NotAnswered),
}

#[derive(Debug)]
pub(super) enum NotAnswered {
    /// It does not know who asks, or does not let them.
    NotAllowed,
    Failed(String),
}

impl Asked {
    pub(super) fn check(&self, socket: &Path) -> Check {
        let socket = socket.display();
        match self {
            Self::Answered(_) => check("daemon", State::Ok, "runs, and answers", None),
            Self::Nobody => {
                check("daemon", State::Ok, "none runs: what it would say is left out", None)
            }
            Self::Silent(NotAnswered::NotAllowed) => {
                let text = format!("you may not ask it at {socket}");
                check("daemon", State::Warn, text, Some(super::AS_ROOT))
            }
            Self::Silent(NotAnswered::Failed(why)) => {
                let text = format!("one runs, and does not answer at {socket}: {why}");
                let remedy = "journalctl -u picloud -e; sudo systemctl restart picloud";
                check("daemon", State::Bad, text, Some(remedy))
            }
        }
    }
}

pub(super) async fn ask(socket: &Path) -> Asked {
    match tokio::time::timeout(ANSWER_MAX, answer(socket)).await {
        Ok(Ok(Ok(checks))) => Asked::Answered(checks),
        Ok(Ok(Err(why))) => Asked::Silent(why),
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Asked::Nobody,
            io::ErrorKind::PermissionDenied => Asked::Silent(NotAnswered::NotAllowed),
            _ => Asked::Silent(NotAnswered::Failed(error.to_string())),
        },
        Err(_) => {
            let why = format!("nothing came within {} s", ANSWER_MAX.as_secs());
            Asked::Silent(NotAnswered::Failed(why))
        }
    }
}

async fn answer(socket: &Path) -> io::Result<Result<Vec<Check>, NotAnswered>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get(format!("{BASE}/doctor"))
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(io::Error::other)?;
    let asking = async move {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok::<_, io::Error>((status, body.map_err(io::Error::other)?.to_bytes()))
    };
    let (answered, _closed) = tokio::join!(asking, connection);
    let (status, body) = answered?;
    Ok(match status {
        StatusCode::OK => match serde_json::from_slice::<Checks>(&body) {
            Ok(answer) => Ok(answer.checks),
            Err(error) => Err(NotAnswered::Failed(format!("it says something else: {error}"))),
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(NotAnswered::NotAllowed),
        other => Err(NotAnswered::Failed(format!("it says {other}"))),
    })
}

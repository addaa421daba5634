//! The admin API over the Unix socket: who calls is known from the connection, what they may do from one table.

pub mod calls;
pub mod deploy;
pub mod engine;
pub mod peer;
pub mod refuse;
pub mod socket;

mod answer;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use picloud_api::BASE;
use picloud_api::problem::{Code, Problem};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::admin::calls::{CALLS, Call, Request};
use crate::admin::engine::Engine;
use crate::admin::peer::Peer;
use crate::admin::socket::AdminListener;
use crate::log::field;

/// Serves the admin API until `stop`; connections that are open then end their present request.
pub async fn serve(
    listener: AdminListener,
    engine: Arc<Engine>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let service = router(engine).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// All calls, each behind the check of its capability.
pub fn router(engine: Arc<Engine>) -> Router {
    let body_bytes_max = engine.body_bytes_max;
    let mut router = Router::new();
    for call in CALLS {
        let obey = move |state: State<Arc<Engine>>,
                         peer: ConnectInfo<Peer>,
                         path: Path<HashMap<String, String>>,
                         parts: Parts| obey(call, state, peer, path, parts);
        router = router.route(&format!("{BASE}{}", call.path), on(filter(call.method), obey));
    }
    router
        .fallback(async |uri: Uri| {
            refuse::response(&Problem::new(
                Code::NoSuchCall,
                format!("there is no call {}", uri.path()),
            ))
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            refuse::response(&Problem::new(
                Code::MethodNotAllowed,
                format!("{} has no method {method}", uri.path()),
            ))
        })
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .with_state(engine)
}

fn filter(method: calls::Method) -> MethodFilter {
    match method {
        calls::Method::Get => MethodFilter::GET,
        calls::Method::Put => MethodFilter::PUT,
        calls::Method::Post => MethodFilter::POST,
    }
}

/// What of a request is read before anything is decided.
struct Parts {
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
}

impl<S: Send + Sync> axum::extract::FromRequest<S> for Parts {
    type Rejection = std::convert::Infallible;

    async fn from_request(
        request: axum::extract::Request,
        state: &S,
    ) -> Result<Self, Self::Rejection> {
        let (uri, headers) = (request.uri().clone(), request.headers().clone());
        Ok(Self { uri, headers, body: Bytes::from_request(request, state).await })
    }
}

/// One call: who is it, may they, what do they ask, what is the answer.
async fn obey(
    call: &'static Call,
    State(engine): State<Arc<Engine>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(path): Path<HashMap<String, String>>,
    parts: Parts,
) -> Response {
    let answered = match read(call, &engine, peer, path, parts) {
        Ok(request) => answer::to(&engine, request).await,
        Err(problem) => Err(problem),
    };
    match answered {
        Ok(json) => {
            debug!({ field::ACTION } = call.path, { field::UID } = peer.uid, "admin call");
            (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], json).into_response()
        }
        Err(problem) => {
            if problem.status >= 500 {
                warn!(
                    { field::ACTION } = call.path,
                    { field::ERROR } = problem.detail.as_str(),
                    "admin call failed"
                );
            }
            refuse::response(&problem)
        }
    }
}

fn read(
    call: &'static Call,
    engine: &Engine,
    peer: Peer,
    path: HashMap<String, String>,
    parts: Parts,
) -> Result<Request, Problem> {
    let catalog = engine.catalog();
    let principal = peer::principal(peer, &catalog)?;
    let body = parts.body.map_err(|error| refuse::body(&error, engine.body_bytes_max))?;
    if !body.is_empty() && !refuse::is_json(&parts.headers) {
        return Err(Problem::new(Code::NotJson, "the body must be application/json"));
    }
    let request = Request { call, principal, peer, path, uri: parts.uri, body, catalog };
    request.check_capability()?;
    Ok(request)
}

#[cfg(test)]
mod tests;

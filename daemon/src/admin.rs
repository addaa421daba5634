//! The admin API over the Unix socket: who calls is known from the connection, what they may do from one table.

pub mod calls;
pub mod deploy;
pub mod engine;
pub mod fields;
pub mod peer;
pub mod refuse;
pub mod socket;

mod answer;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest as _, Path, State};
use axum::http::{Method, Uri, header};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use http_body_util::{BodyExt as _, Limited};
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
                         path: Result<Path<HashMap<String, String>>, PathRejection>,
                         request: axum::extract::Request| {
            obey(call, state, peer, path, request)
        };
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
        calls::Method::Patch => MethodFilter::PATCH,
        calls::Method::Delete => MethodFilter::DELETE,
    }
}

/// One call: who is it, may they, what do they ask, what is the answer.
async fn obey(
    call: &'static Call,
    State(engine): State<Arc<Engine>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    path: Result<Path<HashMap<String, String>>, PathRejection>,
    request: axum::extract::Request,
) -> Response {
    let path = path.map_err(|error| refuse::path(&error));
    let read = async { read(call, &engine, peer, path?.0, request).await };
    let answered = match read.await {
        Ok(request) => answer::to(&engine, request).await,
        Err(problem) => Err(problem),
    };
    match answered {
        Ok(response) => {
            debug!({ field::ACTION } = call.path, { field::UID } = peer.uid, "admin call");
            response
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

/// The body comes last: of what somebody sends who may not call nothing is kept.
async fn read(
    call: &'static Call,
    engine: &Engine,
    peer: Peer,
    path: HashMap<String, String>,
    request: axum::extract::Request,
) -> Result<Request, Problem> {
    let catalog = engine.catalog();
    let (uri, is_json) = (request.uri().clone(), refuse::is_json(request.headers()));
    let if_match = request.headers().get(header::IF_MATCH);
    let if_match = if_match.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let allowed = peer::principal(peer, &catalog).and_then(|principal| {
        let read =
            Request { call, principal, peer, path, uri, if_match, body: Bytes::new(), catalog };
        read.check_capability().map(|()| read)
    });
    let mut read = match allowed {
        Ok(read) => read,
        Err(problem) => {
            // Closed in the middle of its body, the connection would lose the answer.
            let mut rest = Limited::new(request.into_body(), engine.body_bytes_max);
            while let Some(Ok(_)) = rest.frame().await {}
            return Err(problem);
        }
    };
    read.body = Bytes::from_request(request, &())
        .await
        .map_err(|error| refuse::body(&error, engine.body_bytes_max))?;
    if !read.body.is_empty() && !is_json {
        return Err(Problem::new(Code::NotJson, "the body must be application/json"));
    }
    Ok(read)
}

#[cfg(test)]
mod tests;

//! The admin API: who calls is known from the connection or a token, what they may do from one table.

pub mod calls;
pub mod deploy;
pub mod doctor;
pub mod door;
pub mod engine;
pub mod fields;
pub mod metrics;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod peer;
pub mod pulse;
pub mod reference;
pub mod refuse;
pub mod socket;
pub mod stall;

mod answer;
mod pace;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{ExtensionRejection, PathRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest as _, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use http_body_util::{BodyExt as _, Limited};
use picloud_api::problem::{Code, Problem};
use picloud_api::{BASE, VERSION, VERSION_HEADER};
use tracing::{debug, warn};

use crate::admin::calls::{CALLS, Call, Request};
use crate::admin::engine::Engine;
use crate::admin::peer::Peer;
use crate::catalog::Catalog;
use crate::flow::configure::people::plan_member;
use crate::log::field;
use crate::principal::Principal;

/// All calls, each behind the check of its capability.
pub fn router(engine: Arc<Engine>) -> Router {
    let body_bytes_max = engine.body_bytes_max;
    let mut router = Router::new();
    for call in CALLS {
        let obey = move |state: State<Arc<Engine>>,
                         peer: Result<ConnectInfo<Peer>, ExtensionRejection>,
                         path: Result<Path<HashMap<String, String>>, PathRejection>,
                         request: axum::extract::Request| {
            obey(call, state, peer.ok(), path, request)
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
        .layer(axum::middleware::map_response(with_version))
        .with_state(engine)
}

/// Every answer says which version of the API it is of, so that a client knows before it reads the rest.
async fn with_version(mut answer: Response) -> Response {
    answer.headers_mut().insert(VERSION_HEADER, HeaderValue::from(VERSION));
    answer
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
    peer: Option<ConnectInfo<Peer>>,
    path: Result<Path<HashMap<String, String>>, PathRejection>,
    request: axum::extract::Request,
) -> Response {
    let peer = peer.map(|ConnectInfo(peer)| peer);
    let uid = peer.map(|peer| peer.uid);
    let path = path.map_err(|error| refuse::path(&error));
    let read = async { read(call, &engine, peer, path?.0, request).await };
    let answered = match read.await {
        Ok(request) => answer::to(&engine, request).await,
        Err(problem) => Err(problem),
    };
    match answered {
        Ok(response) => {
            debug!({ field::ACTION } = call.path, { field::UID } = uid, "admin call");
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
    peer: Option<Peer>,
    path: HashMap<String, String>,
    request: axum::extract::Request,
) -> Result<Request, Problem> {
    let time = Duration::from_millis(engine.limits.body_ms);
    let (uri, is_json) = (request.uri().clone(), refuse::is_json(request.headers()));
    let if_match = header_of(request.headers(), "if-match");
    let last_event_id = header_of(request.headers(), "last-event-id");
    let catalog = engine.catalog();
    let allowed = caller(engine, peer, &catalog, request.headers()).and_then(|principal| {
        let read = Request {
            call,
            principal,
            peer,
            path,
            uri,
            if_match,
            last_event_id,
            body: Bytes::new(),
            catalog,
        };
        read.check_capability().map(|()| read)
    });
    let mut read = match allowed {
        Ok(read) => read,
        Err(problem) => {
            // Closed in the middle of its body, the connection would lose the answer.
            let mut rest = Limited::new(request.into_body(), engine.body_bytes_max);
            let drained = async { while let Some(Ok(_)) = rest.frame().await {} };
            let _drained_or_late = tokio::time::timeout(time, drained).await;
            return Err(problem);
        }
    };
    let body = tokio::time::timeout(time, Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| {
        let detail = format!("the body did not arrive within {} ms", time.as_millis());
        Problem::new(Code::TooSlow, detail)
    })?;
    read.body = body.map_err(|error| refuse::body(&error, engine.body_bytes_max))?;
    if !read.body.is_empty() && !is_json {
        return Err(Problem::new(Code::NotJson, "the body must be application/json"));
    }
    if read.principal.id == peer::NOT_STORED && call.method != calls::Method::Get {
        read.principal = made_known(engine, &read.principal).await?;
        read.catalog = engine.catalog();
    }
    Ok(read)
}

fn header_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Who a request is from: whom its token stands for, or else the user at the other end of the socket.
fn caller(
    engine: &Engine,
    peer: Option<Peer>,
    catalog: &Catalog,
    headers: &HeaderMap,
) -> Result<Arc<Principal>, Problem> {
    if let Some(principal) = peer::bearer(headers, catalog, &engine.groups, engine.clock.now())? {
        return Ok(principal);
    }
    let peer = peer.ok_or_else(peer::nobody)?;
    peer::principal(peer, catalog, &engine.groups)
}

/// Whoever changes something is named in the audit log, and what they register runs as them: so from then on somebody
/// whom only a group lets in is a principal. Reading writes nothing.
async fn made_known(engine: &Engine, member: &Arc<Principal>) -> Result<Arc<Principal>, Problem> {
    let Some(uid) = member.uid else { return Ok(Arc::clone(member)) };
    let name = member.name.clone();
    let planned =
        engine.configure(move |catalog, next| Ok(plan_member(catalog, uid, &name, next))).await;
    planned?;
    peer::principal(Peer { uid }, &engine.catalog(), &engine.groups)
}

#[cfg(test)]
mod tests;

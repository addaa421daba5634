//! `/events`: what happens, as server-sent events, to everybody at their own pace.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use picloud_api::events::{Begin, Closed, EventsQuery, Missed, OutboxEvent, kind};
use picloud_api::problem::{Code, Problem};
use serde::Serialize;

use crate::admin::answer::logs::log_item;
use crate::admin::answer::page;
use crate::admin::calls::Request;
use crate::admin::engine::{Engine, execution_item, failure_item, origin, slug};
use crate::admin::fields::Seen;
use crate::catalog::Catalog;
use crate::dispatcher::live::{Event, Found, From, Move, Moved, Reader, What};
use crate::filter::{EVENTS, Filter};
use crate::ids::{AppId, Id};
use crate::principal::{Capability, Principal};
use crate::time::Timestamp;

/// Events that a reader is given at once.
const STEP_EVENTS_MAX: usize = 256;
/// A reader that has just been given something rests this long: what comes meanwhile comes together.
const PACE: Duration = Duration::from_millis(100);
/// When nothing was sent for so long, a comment is, so that both sides notice when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Sent then.
const STILL_HERE: &str = ": still here\n\n";

pub(super) fn stream(engine: &Arc<Engine>, request: &Request) -> Result<Response, Problem> {
    let query: EventsQuery = request.query()?;
    let app = query.app.as_deref().map(|name| request.app_called(name)).transpose()?;
    let filter = page::filter(&EVENTS, query.filter.as_deref().unwrap_or_default())?;
    let (begin, from) = match request.last_event_id.as_deref() {
        None => (kind::CONNECTED, From::Now),
        Some(text) => match place(text)? {
            (instance, number) if instance == engine.instance => {
                (kind::CONNECTED, From::After(number))
            }
            _ => (kind::RESTARTED, From::Now),
        },
    };
    let reader = engine.dispatcher.live.look(from).map_err(|full| {
        let problem = format!("{} look on already", full.readers_max);
        Problem::new(Code::TooManyReaders, problem)
            .with_hint("close one, or raise event_readers_max in [limits.admin]")
    })?;
    let is_stored = request.catalog.principals.contains_key(&request.principal.id);
    let stream = Stream {
        engine: Arc::clone(engine),
        reader,
        filter,
        app: app.map(|app| app.id),
        principal: Arc::clone(&request.principal),
        is_stored,
        step: Step::Begin(begin),
    };
    let body = Body::new(Sent { next: Box::pin(stream.next()) });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

/// An event's id: this start of the daemon, and the event's number.
fn place(text: &str) -> Result<(Id, u64), Problem> {
    let parsed = text.split_once('-').and_then(|(instance, number)| {
        Some((instance.parse::<Id>().ok()?, number.parse::<u64>().ok()?))
    });
    parsed.ok_or_else(|| {
        Problem::new(Code::BadRequest, format!("Last-Event-ID \"{text}\" is no id of an event"))
            .with_hint("leave the header out to begin with what happens next")
    })
}

/// One reader's stream, before its next piece.
struct Stream {
    engine: Arc<Engine>,
    reader: Reader,
    filter: Filter,
    app: Option<AppId>,
    principal: Arc<Principal>,
    /// Whether the principal can be looked up; one that only a group lets in cannot.
    is_stored: bool,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin(&'static str),
    GoOn,
    /// Something was sent just now.
    Rest,
    End,
}

impl Stream {
    /// The next piece and what comes after it; `None` at the end.
    async fn next(mut self) -> Option<(Bytes, Stream)> {
        match self.step {
            Step::End => return None,
            Step::Begin(begin) => {
                let text = self.begin(begin);
                self.step = Step::GoOn;
                return Some((text.into(), self));
            }
            Step::Rest => {
                tokio::select! {
                    () = tokio::time::sleep(PACE) => {}
                    () = self.reader.closed() => {}
                }
            }
            Step::GoOn => {}
        }
        let text = self.wait().await;
        Some((text.into(), self))
    }

    /// Waits until there is something to send.
    async fn wait(&mut self) -> String {
        let live = Arc::clone(&self.engine.dispatcher.live);
        let keep_alive = tokio::time::sleep(KEEP_ALIVE);
        let mut keep_alive = std::pin::pin!(keep_alive);
        loop {
            let found = tokio::select! {
                biased;
                () = live.closed() => return self.close("stopping"),
                found = self.reader.next(STEP_EVENTS_MAX) => found,
                () = keep_alive.as_mut() => {
                    self.step = Step::GoOn;
                    return STILL_HERE.to_owned();
                }
            };
            let catalog = self.engine.catalog();
            if !self.may_look(&catalog) {
                return self.close("not_allowed");
            }
            let text = self.text(&found, &catalog);
            if !text.is_empty() {
                self.step = Step::Rest;
                return text;
            }
            // All of it was of others. A reader whose filter lets little through must not look all the time either.
            tokio::time::sleep(PACE).await;
        }
    }

    fn begin(&self, begin: &str) -> String {
        let data = Begin {
            instance_id: self.engine.instance.to_string(),
            started_at: self.engine.started_at.0,
            why: self.engine.began.why.as_str().to_owned(),
            now: self.engine.clock.now().0,
        };
        frame(begin, Some((self.engine.instance, self.reader.seen())), &data)
    }

    fn close(&mut self, why: &str) -> String {
        self.step = Step::End;
        frame(kind::CLOSED, None, &Closed { why: why.to_owned() })
    }

    /// What somebody may do can be taken away while they look on.
    fn may_look(&self, catalog: &Catalog) -> bool {
        let known = catalog.principals.get(&self.principal.id);
        let is_there = self.app.is_none_or(|app| catalog.apps.contains_key(&app));
        let may = match known {
            Some(principal) => principal.may(Capability::AppRead, self.app),
            None => !self.is_stored,
        };
        is_there && may
    }

    fn text(&self, found: &Found, catalog: &Catalog) -> String {
        let mut text = String::new();
        if let Some(events) = found.missed {
            // How much happens in other apps is nobody's business.
            let events = events.filter(|_| self.app.is_none());
            let before = found.events.first().map(|(number, _)| number - 1);
            let at = before.unwrap_or_else(|| self.reader.seen());
            text.push_str(&frame(
                kind::MISSED,
                Some((self.engine.instance, at)),
                &Missed { events },
            ));
        }
        for (number, event) in &found.events {
            if let Some(frame) = self.frame_of(*number, event, catalog) {
                text.push_str(&frame);
            }
        }
        text
    }

    /// The event as this reader gets it, if it does.
    fn frame_of(&self, number: u64, event: &Event, catalog: &Catalog) -> Option<Arc<str>> {
        if self.app.is_some() && event.app.is_some() && event.app != self.app {
            return None;
        }
        let seen = Seen { item: event, catalog, now: event.at };
        if !self.filter.is_empty() && !self.filter.passes(&seen) {
            return None;
        }
        let at = (self.engine.instance, number);
        match (&event.what, self.app) {
            (What::Stats(stats), Some(app)) => {
                Some(frame(kind::STATS, Some(at), &stats.of_app(&slug(catalog, app))).into())
            }
            (_, _) => Some(event.text(|event| text_of(event, at, catalog))),
        }
    }
}

/// What everybody gets who gets it at all.
fn text_of(event: &Event, at: (Id, u64), catalog: &Catalog) -> String {
    match &event.what {
        What::Row(moved) => frame(kind::OUTBOX, Some(at), &outbox_event(moved, event.at, catalog)),
        What::Ran(run) => frame(kind::EXECUTION, Some(at), &execution_item(run, catalog)),
        What::Log(run, line) => match run.log.get(*line) {
            Some(line) => frame(kind::LOG, Some(at), &log_item(run, line, catalog)),
            None => String::new(),
        },
        What::Stats(stats) => frame(kind::STATS, Some(at), &**stats),
    }
}

fn outbox_event(moved: &Moved, at: Timestamp, catalog: &Catalog) -> OutboxEvent {
    let ran = moved.ran.as_ref();
    OutboxEvent {
        state: moved.to.as_str().to_owned(),
        at: at.0,
        id: moved.id.to_string(),
        app: slug(catalog, moved.app),
        script: moved.script.to_string(),
        source: moved.source.as_str().to_owned(),
        origin: origin(catalog, moved.app, moved.origin),
        attempt: moved.attempt,
        max_attempts: moved.max_attempts,
        key: moved.key.as_ref().map(ToString::to_string),
        depth: moved.depth,
        root_id: moved.root.to_string(),
        cause_id: moved.cause.map(|id| id.to_string()),
        available_at: moved.available_at.map(|at| at.0),
        took_us: ran.map(|run| i64::try_from(run.took_us).unwrap_or(i64::MAX)),
        error: ran.and_then(|run| run.failure.as_ref()).map(failure_item),
        reason: match moved.to {
            Move::Abandoned(reason) => Some(reason.as_str().to_owned()),
            Move::Due
            | Move::Later
            | Move::Behind
            | Move::Run
            | Move::Retry
            | Move::Done
            | Move::Dead
            | Move::TakenBack
            | Move::Lost => None,
        },
    }
}

/// One event as it is sent. JSON has no line breaks of its own, so the data is one line.
fn frame(kind: &str, at: Option<(Id, u64)>, data: &impl Serialize) -> String {
    let id = at.map_or(String::new(), |(instance, number)| format!("id: {instance}-{number}\n"));
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    format!("{id}event: {kind}\ndata: {data}\n\n")
}

/// A stream as the body of an answer. It is asked for more only when the caller has taken what came before.
struct Sent {
    next: Pin<Box<Next>>,
}

/// The next piece and what comes after it.
type Next = dyn Future<Output = Option<(Bytes, Stream)>> + Send;

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match ready!(self.next.as_mut().poll(context)) {
            Some((piece, rest)) => {
                self.next = Box::pin(rest.next());
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            None => {
                self.next = Box::pin(std::future::ready(None));
                Poll::Ready(None)
            }
        }
    }
}

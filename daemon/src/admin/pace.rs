//! How long a connection may take for a request's head, and wait for its next request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::timer::Timer;
use crate::limits::AdminLimits;

/// What a connection is doing: even, waiting for a request; odd, answering one. It only ever grows.
#[derive(Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    fn turn(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// A request's head has come whole. From now on its time is the answer's business.
    pub(super) fn answer(&self) {
        self.0.fetch_or(1, Ordering::AcqRel);
    }
}

/// The response, which counts as being answered until its body has been sent or given up.
pub(super) fn until_sent(pace: &Arc<Pace>, response: Response) -> Response {
    let answering = Answering(Arc::clone(pace));
    response.map(|body| Body::new(Sent { body, _answering: answering }))
}

struct Answering(Arc<Pace>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::AcqRel);
    }
}

struct Sent {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose reads fail when the other side is too slow.
pub(super) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
    timer: Timer,
    /// The turn that the timer is set for.
    armed: Option<u64>,
    /// Whether the head that is waited for has begun.
    has_begun: bool,
    head_ms: u64,
    idle_ms: u64,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Arc<Pace>, limits: &AdminLimits) -> Paced<S> {
        Paced {
            stream,
            pace,
            timer: Timer::default(),
            armed: None,
            has_begun: false,
            head_ms: limits.head_ms,
            idle_ms: limits.idle_ms,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let turn = this.pace.turn();
        if turn % 2 == 1 {
            return read;
        }
        if this.armed != Some(turn) {
            this.armed = Some(turn);
            this.has_begun = false;
            // Who connects has something to say.
            this.timer.set(if turn == 0 { this.head_ms } else { this.idle_ms });
        }
        if read.is_pending() {
            if this.timer.poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        } else if buffer.filled().len() > before && !std::mem::replace(&mut this.has_begun, true) {
            this.timer.set(this.head_ms);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

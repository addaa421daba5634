//! One connection's bytes: between the socket and the HTTP parser.
//!
//! The parser is given one request at a time, and only when `framing` has found its head in order; a head that is refused is replaced by
//! a harmless one, whose answer is the refusal. In between the socket is still read, up to the size of one head, so that a caller
//! who goes away is noticed while its script runs. All waiting for a caller has a limit: for a head, between requests, and for a
//! response to be taken.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::http::framing::{Body, HeadScan, Version};
use crate::http::problem::{Code, Problem};
use crate::http::timer::Timer;
use crate::limits::HttpLimits;

/// A connection, shared by the parser, which reads and writes it, and by who answers its requests.
pub(super) struct Wire {
    stream: Arc<TcpStream>,
    pub(super) peer: IpAddr,
    pub(super) limits: Arc<HttpLimits>,
    state: Mutex<State>,
}

/// The parser's end.
pub(super) struct WireIo(pub(super) Arc<Wire>);

struct State {
    reading: Reading,
    sending: Sending,
}

struct Reading {
    /// Bytes from the socket; those before `start` have been given to the parser.
    bytes: Vec<u8>,
    start: usize,
    /// Bytes from `start` on that the parser may have.
    ready: usize,
    phase: Phase,
    scan: HeadScan,
    /// The caller will send nothing more.
    ended: bool,
    version: Version,
    /// Why the request that the parser is given now is none.
    refusal: Option<Problem>,
    /// Of the task of the connection.
    waker: Option<Waker>,
    timer: Timer,
    waiting: Waiting,
    gone: Option<Gone>,
    /// Bytes that were read, and dropped, since our side was closed.
    lingered: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before the end of a head.
    Head,
    Body(Body),
    /// The parser has the whole request; it is being answered.
    Whole,
    /// The parser has the harmless request; nothing is read any more.
    Refused,
}

/// What the timer runs for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nothing,
    Idle,
    Head,
}

/// Whether a caller that has closed its side still reads: the protocol does not tell, but a connection that is closed on
/// both sides answers the next packet with a reset.
struct Gone {
    asked: bool,
    error: Pin<Box<dyn Future<Output = ()> + Send>>,
}

#[derive(Default)]
struct Sending {
    /// Bytes were given out that have not all left.
    open: bool,
    timer: Timer,
}

/// What the parser is given in place of a refused head.
const HARMLESS: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Asks a caller that may be gone for a sign. Every HTTP/1.1 client skips it.
const ARE_YOU_THERE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Bytes read at once of a head. Most heads are smaller, and every idle connection keeps a buffer of this size.
const HEAD_READ_BYTES: usize = 2 << 10;

/// Bytes read at once of a body.
const BODY_READ_BYTES: usize = 16 << 10;

/// A buffer that has grown beyond this is let go when it is empty.
const KEPT_BYTES_MAX: usize = 4 << 10;

/// Bytes that are read from a refused caller so that it reads the refusal.
const LINGER_BYTES_MAX: usize = 4 << 20;

impl Wire {
    pub(super) fn new(stream: TcpStream, peer: IpAddr, limits: Arc<HttpLimits>) -> Wire {
        let reading = Reading {
            bytes: Vec::new(),
            start: 0,
            ready: 0,
            phase: Phase::Head,
            scan: HeadScan::default(),
            ended: false,
            version: Version::Http11,
            refusal: None,
            waker: None,
            timer: Timer::default(),
            waiting: Waiting::Nothing,
            gone: None,
            lingered: None,
        };
        let mut wire = Wire {
            stream: Arc::new(stream),
            peer,
            limits,
            state: Mutex::new(State { reading, sending: Sending::default() }),
        };
        let head_ms = wire.limits.head_ms;
        let state = wire.state.get_mut().expect("not shared yet");
        state.reading.wait(Waiting::Head, head_ms);
        wire
    }

    /// Taken by who answers: the request that has just come is none, and this is why.
    pub(super) fn take_refusal(&self) -> Option<Problem> {
        self.lock().reading.refusal.take()
    }

    /// The answer to the present request is known. Returns whether the connection can go on after it.
    pub(super) fn answered(&self) -> Onward {
        let mut state = self.lock();
        let reading = &mut state.reading;
        if reading.phase != Phase::Whole {
            return Onward::Close;
        }
        reading.phase = Phase::Head;
        reading.scan = HeadScan::default();
        reading.gone = None;
        reading.wait(Waiting::Idle, self.limits.idle_ms);
        // The parser reads on when the socket has something for it. It must be told of what was read before, and has to come
        // by when no timer is running.
        let must_read =
            !reading.unread().is_empty() || reading.ended || !reading.timer.is_running();
        if must_read && let Some(waker) = &reading.waker {
            waker.wake_by_ref();
        }
        Onward::KeepAlive
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding it")
    }

    /// Reads what the socket has. `Ok(0)` means that the caller has closed its side.
    fn fill(&self, reading: &mut Reading, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let is_body = matches!(reading.phase, Phase::Body(_));
        let bytes = &mut reading.bytes;
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            bytes.reserve(if is_body { BODY_READ_BYTES } else { HEAD_READ_BYTES });
            let room = bytes.capacity() - bytes.len();
            let mut taken = None;
            // A read that leaves room has emptied the socket. Saying so at once, as if it had been asked again and had
            // nothing, spares the system call that would find that out.
            let asked = self.stream.try_io(Interest::READABLE, || {
                let (count, _) = recv(&self.stream, spare_capacity(bytes), RecvFlags::empty())?;
                taken = Some(count);
                if (1..room).contains(&count) {
                    Err(io::ErrorKind::WouldBlock.into())
                } else {
                    Ok(())
                }
            });
            match (taken, asked) {
                (Some(taken), _) => return Poll::Ready(Ok(taken)),
                (None, Err(error)) if !is_again(&error) => return Poll::Ready(Err(error)),
                (None, _) => {}
            }
        }
    }
}

fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether a connection can carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onward {
    KeepAlive,
    Close,
}

impl Reading {
    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Decides how many of the bytes the parser may have.
    fn release(&mut self, limits: &HttpLimits) {
        match &mut self.phase {
            Phase::Head => {
                // Empty lines before a request are skipped, as the standard asks.
                while self.unread().starts_with(b"\r\n") {
                    self.start += 2;
                    self.scan = HeadScan::default();
                }
                if self.unread().is_empty() {
                    self.bytes.clear();
                    self.start = 0;
                }
                match self.scan.advance(&self.bytes[self.start..], limits) {
                    Ok(None) => {}
                    Ok(Some(head)) => {
                        self.waiting = Waiting::Nothing;
                        self.version = head.version;
                        self.ready = head.len;
                        self.phase = if head.body == Body::End {
                            Phase::Whole
                        } else {
                            Phase::Body(head.body)
                        };
                    }
                    Err(problem) => self.refuse(problem),
                }
            }
            Phase::Body(body) => {
                self.ready = body.advance(&self.bytes[self.start..]);
                if *body == Body::End {
                    self.phase = Phase::Whole;
                }
            }
            Phase::Whole | Phase::Refused => {}
        }
    }

    fn refuse(&mut self, problem: Problem) {
        self.refusal = Some(problem);
        self.waiting = Waiting::Nothing;
        self.phase = Phase::Refused;
        self.bytes.clear();
        self.bytes.extend_from_slice(HARMLESS);
        self.start = 0;
        self.ready = HARMLESS.len();
    }

    fn deliver(&mut self, mut cursor: ReadBufCursor<'_>) {
        let taken = self.ready.min(cursor.remaining());
        cursor.put_slice(&self.bytes[self.start..self.start + taken]);
        self.start += taken;
        self.ready -= taken;
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_BYTES_MAX {
                self.bytes = Vec::new();
            }
        } else if self.start > KEPT_BYTES_MAX {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    fn wait(&mut self, waiting: Waiting, ms: u64) {
        if self.waiting != waiting {
            self.waiting = waiting;
            self.timer.set(ms);
        }
    }

    /// The socket has nothing more for now. Sees to it that the caller does not take for ever.
    fn await_more(&mut self, limits: &HttpLimits, cx: &mut Context<'_>) -> Poll<()> {
        match self.phase {
            Phase::Head => {
                let is_first = self.waiting == Waiting::Head;
                if self.unread().is_empty() && !is_first {
                    self.wait(Waiting::Idle, limits.idle_ms);
                } else {
                    self.wait(Waiting::Head, limits.head_ms);
                }
                ready!(self.timer.poll(cx));
                if self.unread().is_empty() {
                    self.ended = true;
                } else {
                    let detail = format!("the headers did not come within {} ms", limits.head_ms);
                    self.refuse(Problem::new(Code::RequestTimeout, detail));
                }
                Poll::Ready(())
            }
            // Who reads the body has a clock of its own, and so has a run.
            Phase::Body(_) | Phase::Whole | Phase::Refused => Poll::Pending,
        }
    }
}

impl Wire {
    fn poll_read(&self, cx: &mut Context<'_>, cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        let State { reading, sending } = &mut *state;
        if !reading.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            reading.waker = Some(cx.waker().clone());
        }
        loop {
            if reading.ready == 0 && !reading.unread().is_empty() {
                reading.release(&self.limits);
            }
            if reading.ready > 0 {
                reading.deliver(cursor);
                return Poll::Ready(Ok(()));
            }
            if reading.phase == Phase::Refused {
                return Poll::Pending;
            }
            if reading.ended {
                if reading.phase != Phase::Whole {
                    return Poll::Ready(Ok(()));
                }
                ready!(self.poll_gone(reading, sending, cx));
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if reading.phase == Phase::Whole && reading.unread().len() >= self.limits.head_bytes_max
            {
                return Poll::Pending;
            }
            match self.fill(reading, cx)? {
                Poll::Ready(0) => {
                    reading.ended = true;
                }
                Poll::Ready(_) => {}
                Poll::Pending => ready!(reading.await_more(&self.limits, cx)),
            }
        }
    }

    /// Ready when the caller is gone. Pending for ever, but for the waker of the answer, when it is not.
    fn poll_gone(
        &self,
        reading: &mut Reading,
        sending: &Sending,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let gone = reading.gone.get_or_insert_with(|| {
            reading.timer.set(self.limits.half_close_ms);
            Gone { asked: false, error: Box::pin(self.error_of_socket()) }
        });
        if gone.error.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !gone.asked {
            ready!(reading.timer.poll(cx));
            gone.asked = true;
            if reading.version == Version::Http11 && !sending.open {
                // When the socket takes nothing now, its caller is found out when the answer is written.
                let sent = self.stream.try_write(ARE_YOU_THERE);
                if sent.is_ok_and(|sent| sent < ARE_YOU_THERE.len()) {
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }

    /// Ends when the connection has been reset.
    fn error_of_socket(&self) -> impl Future<Output = ()> + Send + use<> {
        let stream = Arc::clone(&self.stream);
        async move { drop(stream.ready(Interest::ERROR).await) }
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let sending = &mut state.sending;
        if !std::mem::replace(&mut sending.open, true) {
            sending.timer.clear();
        }
        loop {
            match self.stream.try_write_vectored(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            if self.stream.poll_write_ready(cx)?.is_pending() {
                sending.timer.set_once(self.limits.write_ms);
                ready!(sending.timer.poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
    }

    /// Closes our side, and if the caller may still be sending reads on for a moment: closing at once would
    /// reset the connection, and the caller would lose the answer that it has not read yet.
    fn poll_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        let reading = &mut state.reading;
        if reading.gone.take().is_some() || reading.ended {
            return Poll::Ready(Ok(()));
        }
        if !matches!(reading.phase, Phase::Body(_) | Phase::Refused) && reading.unread().is_empty()
        {
            return Poll::Ready(Ok(()));
        }
        if reading.lingered.is_none() {
            rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write)?;
            reading.lingered = Some(0);
            reading.timer.set(self.limits.linger_ms);
        }
        loop {
            reading.bytes.clear();
            let taken = match self.fill(reading, cx) {
                Poll::Ready(Ok(taken @ 1..)) => taken,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => return reading.timer.poll(cx).map(Ok),
            };
            let lingered = reading.lingered.get_or_insert(0);
            *lingered += taken;
            if *lingered > LINGER_BYTES_MAX {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Read for WireIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, cursor)
    }
}

impl Write for WireIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The parser calls this when it has given out all that it has.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        state.sending.open = false;
        state.sending.timer.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }
}

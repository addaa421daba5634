//! Callers that take nothing of their answer: a write that waits for too long ends the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::timer::Timer;

/// A stream whose writes fail once the other side has taken nothing for `write_ms`.
pub struct Stalling<S> {
    stream: S,
    timer: Timer,
    write_ms: u64,
}

impl<S> Stalling<S> {
    pub fn new(stream: S, write_ms: u64) -> Stalling<S> {
        Stalling { stream, timer: Timer::default(), write_ms }
    }

    /// What came of a write: it went on, or it has waited for too long.
    fn judge<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer.clear();
            return written;
        }
        self.timer.set_once(self.write_ms);
        match self.timer.poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.judge(written, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_caller_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(1_000);
        let mut ours = Stalling::new(ours, 50);
        ours.write_all(&[0; 1_000]).await.expect("there is room");
        let more = async { ours.write_all(&[0; 1_500]).await };
        let reads = async { theirs.read_exact(&mut [0; 1_600]).await };
        let (more, reads) = tokio::join!(more, reads);
        more.expect("somebody reads");
        reads.expect("somebody writes");
        let stalled = ours.write_all(&[0; 1_500]).await;
        assert_eq!(stalled.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
    }
}

//! Deadlines of connections.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A deadline that is cheap to move: the runtime's timer is only touched when it is waited for, and not when it would fire too
/// early anyway.
#[derive(Default)]
pub(crate) struct Timer {
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    #[allow(
        clippy::disallowed_methods,
        reason = "deadlines of sockets follow the runtime's own timer"
    )]
    pub(crate) fn set(&mut self, ms: u64) {
        self.deadline = Some(Instant::now() + Duration::from_millis(ms));
    }

    /// Keeps the deadline that is set already.
    pub(crate) fn set_once(&mut self, ms: u64) {
        if self.deadline.is_none() {
            self.set(ms);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.deadline = None;
    }

    /// Whether it will fire at its deadline or before without being polled first.
    pub(crate) fn is_running(&mut self) -> bool {
        let (Some(deadline), Some(sleep)) = (self.deadline, &mut self.sleep) else { return false };
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        !sleep.is_elapsed()
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

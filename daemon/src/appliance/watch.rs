//! The watchdog: systemd is told that the daemon lives only when its dispatcher has just shown it.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::appliance::notify::Manager;
use crate::dispatcher::Dispatcher;
use crate::dispatcher::pulse::Pulse;
use crate::log::{field, message};

/// What systemd is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Lives,
    /// Systemd gets no sign, and starts the daemon anew when its time is over.
    Dead(&'static str),
}

/// `pulse` is what the dispatcher answered in time, if it did.
fn judge(pulse: Option<Pulse>) -> Verdict {
    match pulse {
        None => Verdict::Dead("the dispatcher does not answer"),
        Some(pulse) if pulse.stuck >= pulse.permits => {
            Verdict::Dead("no script can run: those that run do not come back")
        }
        Some(_) => Verdict::Lives,
    }
}

/// Gives signs of life: twice in each `interval`, within which systemd wants one. Ends with the task that it runs in.
pub async fn keep(dispatcher: Arc<Dispatcher>, manager: Manager, interval: Duration) {
    let mut was = Verdict::Lives;
    loop {
        tokio::time::sleep(interval / 2).await;
        let verdict = look(&dispatcher, interval / 4).await;
        match verdict {
            Verdict::Lives => manager.say(&[NotifyState::Watchdog]).await,
            Verdict::Dead(why) if verdict != was => tracing::error!(
                { field::MESSAGE_ID } = message::WATCHDOG_NOT_TOLD.0,
                { field::ERROR } = why,
                "the watchdog is not told that the daemon lives"
            ),
            Verdict::Dead(_) => {}
        }
        was = verdict;
    }
}

/// What to tell, after at most `patience`.
async fn look(dispatcher: &Dispatcher, patience: Duration) -> Verdict {
    judge(tokio::time::timeout(patience, dispatcher.pulse()).await.ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{self, tests::setup};

    #[test]
    fn only_a_dispatcher_that_answers_and_can_run_something_lives() {
        let pulse = |permits, stuck| Some(Pulse { permits, stuck, ..Pulse::default() });
        for (pulse, lives) in
            [(pulse(8, 0), true), (pulse(8, 7), true), (pulse(8, 8), false), (None, false)]
        {
            assert_eq!(judge(pulse) == Verdict::Lives, lives, "{pulse:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dispatcher_that_is_stuck_is_not_told_to_live() {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let engine = engine::start(setup(&folder)).await.expect("nothing is in its way");
        let dispatcher = &engine.dispatcher;
        let short = Duration::from_millis(50);
        assert_ne!(look(dispatcher, short).await, Verdict::Lives, "nobody keeps its time");

        let timer = tokio::task::JoinSet::from_iter([Arc::clone(dispatcher).keep_time()]);
        let patience = Duration::from_secs(60);
        assert_eq!(look(dispatcher, patience).await, Verdict::Lives);

        let (seized, release) = (Arc::clone(dispatcher), std::sync::mpsc::channel::<()>());
        let (is_seized, wait) = (std::sync::mpsc::channel(), release.1);
        let thread = std::thread::spawn(move || {
            let _lock = seized.seize();
            is_seized.0.send(()).expect("somebody waits for it");
            let _released = wait.recv();
        });
        is_seized.1.recv().expect("the lock is free");
        assert_ne!(look(dispatcher, short).await, Verdict::Lives, "its lock is not to be had");

        drop(release.0);
        thread.join().expect("it only waited");
        assert_eq!(look(dispatcher, patience).await, Verdict::Lives);
        drop(timer);
        engine.stop(Duration::from_secs(1)).await.expect("it stops in order");
    }
}

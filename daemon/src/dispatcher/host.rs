//! What a script may ask of the daemon, for one run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use picloud_scripts_runtime::effect::{Key, Stored};
use picloud_scripts_runtime::host::{Host, HostError, Interrupt, LogLine, Need, Page};

use crate::dispatcher::executor::Mode;
use crate::entry::EntryKey;
use crate::groups::Groups;
use crate::ids::{AppId, Id};
use crate::log::{self, field};
use crate::principal::{Capability, Principal};
use crate::store::read::Reader;
use crate::time::Clock;

/// The host of one run.
pub struct RunHost {
    pub app: AppId,
    pub app_slug: Arc<str>,
    pub execution: Id,
    pub script: Arc<str>,
    pub principal: Arc<Principal>,
    /// What the principal's user may do by its groups, as they are at this moment.
    pub groups: Arc<Groups>,
    pub reader: Reader,
    pub tokio: tokio::runtime::Handle,
    pub clock: Arc<dyn Clock>,
    pub deadline: Duration,
    pub cancelled: Arc<AtomicBool>,
    /// Whether the run handles a dead letter: only then may it resolve any.
    pub handles_letter: bool,
    /// What leaves the daemon for real has to ask this first.
    pub mode: Mode,
    pub log: Mutex<Vec<LogLine>>,
}

impl Host for RunHost {
    fn read(&self, key: &Key) -> Result<Option<Stored>, HostError> {
        let key = EntryKey { app: self.app, key: key.clone() };
        let entry = self.tokio.block_on(self.reader.entry(&key, self.clock.now()));
        let entry = entry.map_err(|error| HostError(error.to_string()))?;
        Ok(entry.map(|entry| Stored { version: entry.version, value: entry.value }))
    }

    fn list(&self, page: &Page) -> Result<Vec<(Arc<str>, Stored)>, HostError> {
        let entries = self.tokio.block_on(self.reader.entries(self.app, page, self.clock.now()));
        let entries = entries.map_err(|error| HostError(error.to_string()))?;
        let stored = |(key, entry): (Arc<str>, crate::entry::Entry)| {
            (key, Stored { version: entry.version, value: entry.value })
        };
        Ok(entries.into_iter().map(stored).collect())
    }

    fn permits(&self, need: Need) -> bool {
        let capability = match need {
            Need::Data => Capability::AppData,
            Need::Invoke => Capability::AppInvoke,
            Need::ResolveDeadLetters if !self.handles_letter => return false,
            Need::ResolveDeadLetters => Capability::DeadLettersResolve,
        };
        self.principal.may(capability, Some(self.app))
            || self.principal.uid.is_some_and(|uid| self.groups.gives(uid, capability))
    }

    fn log(&self, line: LogLine) {
        if self.mode == Mode::ForReal {
            log::script_line(&self.app_slug, &self.script, &self.execution.to_string(), &line);
        }
        self.log.lock().expect("no panic while held").push(line);
    }

    fn panicked(&self, place: &str) {
        tracing::error!(
            { field::APP } = &*self.app_slug,
            { field::SCRIPT } = &*self.script,
            { field::EXECUTION } = %self.execution,
            { field::PLACE } = place,
            "a built-in function panicked: please report it"
        );
    }

    fn interrupted(&self) -> Option<Interrupt> {
        if self.cancelled.load(Ordering::Relaxed) {
            Some(Interrupt::Cancelled)
        } else if self.clock.monotonic() >= self.deadline {
            Some(Interrupt::Deadline)
        } else {
            None
        }
    }
}

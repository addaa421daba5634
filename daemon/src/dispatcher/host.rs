//! What a script may ask of the daemon, for one run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use picloud_scripts_runtime::effect::{Key, Stored};
use picloud_scripts_runtime::host::{Host, HostError, Interrupt, LogLine, Need, NoSecret, Page};
use picloud_scripts_runtime::outside::{OutsideAnswer, OutsideCall, OutsideError};

use crate::catalog::App;
use crate::dispatcher::executor::Mode;
use crate::entry::EntryKey;
use crate::groups::Groups;
use crate::log::{self, field};
use crate::outbox::row::OutboxRow;
use crate::outgoing::{Caller, Outgoing};
use crate::principal::{Capability, Principal};
use crate::store::read::Reader;
use crate::time::Clock;
use crate::vault::Vault;

/// The host of one run.
pub struct RunHost {
    pub app: Arc<App>,
    pub row: Arc<OutboxRow>,
    pub script: Arc<str>,
    pub principal: Arc<Principal>,
    /// What the principal's user may do by its groups, as they are at this moment.
    pub groups: Arc<Groups>,
    pub reader: Reader,
    pub vault: Arc<Vault>,
    pub outgoing: Arc<Outgoing>,
    pub tokio: tokio::runtime::Handle,
    pub clock: Arc<dyn Clock>,
    pub deadline: Duration,
    pub cancelled: Arc<AtomicBool>,
    /// Lines of a dry run's log are for who asked for it alone.
    pub mode: Mode,
    pub log: Mutex<Vec<LogLine>>,
}

impl Host for RunHost {
    fn read(&self, key: &Key) -> Result<Option<Stored>, HostError> {
        let key = EntryKey { app: self.app.id, key: key.clone() };
        let entry = self.tokio.block_on(self.reader.entry(&key, self.clock.now()));
        let entry = entry.map_err(|error| HostError(error.to_string()))?;
        Ok(entry.map(|entry| Stored { version: entry.version, value: entry.value }))
    }

    fn list(&self, page: &Page) -> Result<Vec<(Arc<str>, Stored)>, HostError> {
        let entries = self.tokio.block_on(self.reader.entries(self.app.id, page, self.clock.now()));
        let entries = entries.map_err(|error| HostError(error.to_string()))?;
        let stored = |(key, entry): (Arc<str>, crate::entry::Entry)| {
            (key, Stored { version: entry.version, value: entry.value })
        };
        Ok(entries.into_iter().map(stored).collect())
    }

    fn secret(&self, name: &str) -> Result<Result<Arc<str>, NoSecret>, HostError> {
        let found = self.tokio.block_on(self.reader.secret(self.app.id, name));
        let found = found.map_err(|error| HostError(error.to_string()))?;
        Ok(self.vault.secret_of(&self.app, name, found.as_deref()).map_err(NoSecret))
    }

    fn call_outside(&self, call: &OutsideCall) -> Result<OutsideAnswer, OutsideError> {
        let caller = Caller {
            allow_hosts: &self.app.allow_hosts,
            key: self.row.call_key(call.number),
            deadline: self.deadline,
        };
        self.outgoing.call(call, &caller)
    }

    fn permits(&self, need: Need) -> bool {
        let capability = match need {
            Need::Data => Capability::AppData,
            Need::Secrets => Capability::AppSecrets,
            Need::Invoke => Capability::AppInvoke,
            // Only who handles one may resolve any.
            Need::ResolveDeadLetters if self.row.letter.is_none() => return false,
            Need::ResolveDeadLetters => Capability::DeadLettersResolve,
        };
        self.principal.may(capability, Some(self.app.id))
            || self.principal.uid.is_some_and(|uid| self.groups.gives(uid, capability))
    }

    fn log(&self, line: LogLine) {
        if self.mode == Mode::ForReal {
            let place = log::Place {
                app: &self.app.slug,
                script: &self.script,
                execution: &self.row.id.to_string(),
                trigger: self.row.source.trigger(self.row.origin),
            };
            log::script_line(&place, &line);
        }
        self.log.lock().expect("no panic while held").push(line);
    }

    fn panicked(&self, place: &str) {
        tracing::error!(
            { field::APP } = &*self.app.slug,
            { field::SCRIPT } = &*self.script,
            { field::EXECUTION } = %self.row.id,
            { field::OUTBOX } = %self.row.id,
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

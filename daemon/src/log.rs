//! The log: the fixed list of field names, the messages that have an id, the lines that scripts write, and how a
//! terminal shows all that.

pub mod message;

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;

use jiff::tz::TimeZone;
use picloud_api::text;
use picloud_scripts_runtime::host::{Level as ScriptLevel, LogLine};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

use crate::config::LogLevel;
use crate::time::{Clock, Timestamp};

/// Every name that a field of a log line may have. Used as `{ field::APP } = ...`.
pub mod field {
    /// Slug of the app.
    pub const APP: &str = "app";
    pub const SCRIPT: &str = "script";
    /// Number of the route, trigger or script whose rows wait there.
    pub const QUEUE: &str = "queue";
    /// Id of the run.
    pub const EXECUTION: &str = "execution";
    /// Id of the run's row, which is the same.
    pub const OUTBOX: &str = "outbox";
    /// Id of the dead letter that was made of it.
    pub const LETTER: &str = "letter";
    /// Number of the trigger that the run is of.
    pub const TRIGGER: &str = "trigger";
    pub const ATTEMPT: &str = "attempt";
    pub const OUTCOME: &str = "outcome";
    pub const SOURCE: &str = "source";
    pub const EFFECTS: &str = "effects";
    /// Microseconds from the moment at which it could have started.
    pub const QUEUED_US: &str = "queued_us";
    pub const TOOK_US: &str = "took_us";
    pub const ERROR: &str = "error";
    /// Where in the daemon's source.
    pub const PLACE: &str = "place";
    /// Fields that a script gave, as JSON text.
    pub const FIELDS: &str = "fields";
    pub const UID: &str = "uid";
    /// Who stands at the admin API's door: a uid or an address.
    pub const CALLER: &str = "caller";
    pub const ACTION: &str = "action";
    /// By how many milliseconds the clock was set.
    pub const STEP_MS: &str = "step_ms";
    /// Version of the store's schema.
    pub const SCHEMA: &str = "schema";
    /// The name of a backup.
    pub const BACKUP: &str = "backup";
    pub const BYTES: &str = "bytes";
    pub const TOOK_MS: &str = "took_ms";
    /// Rows of the outbox.
    pub const ROWS: &str = "rows";
    /// KV entries and documents.
    pub const ENTRIES: &str = "entries";
    /// Id of the message, for who looks it up: one of [`super::message`].
    pub const MESSAGE_ID: &str = "message_id";
    /// The name that systemd knows a socket by.
    pub const SOCKET: &str = "socket";
    /// Where routes are served.
    pub const LISTEN: &str = "listen";
    pub const VERSION: &str = "version";
    /// Lines of the log.
    pub const LINES: &str = "lines";
}

/// Target of the lines that scripts write, by which the terminal knows them.
const SCRIPT_TARGET: &str = "script";

/// The run that a line of a script belongs to.
pub struct Place<'a> {
    pub app: &'a str,
    pub script: &'a str,
    pub execution: &'a str,
    pub trigger: Option<i64>,
}

/// Logs one line of a script.
pub fn script_line(place: &Place<'_>, line: &LogLine) {
    let Place { app, script, execution, trigger } = *place;
    macro_rules! at {
        ($level:ident) => {
            tracing::event!(
                target: SCRIPT_TARGET,
                Level::$level,
                { field::APP } = app,
                { field::SCRIPT } = script,
                { field::EXECUTION } = execution,
                { field::OUTBOX } = execution,
                { field::TRIGGER } = trigger,
                { field::FIELDS } = line.fields.as_deref(),
                "{}",
                line.message
            )
        };
    }
    match line.level {
        ScriptLevel::Debug => at!(DEBUG),
        ScriptLevel::Info => at!(INFO),
        ScriptLevel::Warn => at!(WARN),
        ScriptLevel::Error => at!(ERROR),
    }
}

/// Whether lines carry colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Coloured,
    Plain,
}

/// Sends the log to standard error from now on, readable for people.
pub fn to_terminal(look: Look, level: LogLevel, clock: Arc<dyn Clock>) -> Result<(), TryInitError> {
    let terminal = Terminal { look, level, clock, zone: TimeZone::system() };
    tracing_subscriber::registry().with(terminal).try_init()
}

/// Whether an event is logged where this is the least that is.
pub fn is_wanted(level: LogLevel, metadata: &tracing::Metadata<'_>) -> bool {
    let least = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    // Libraries speak only when something is wrong; `debug` is about this daemon.
    let ours = metadata.target().starts_with("picloud") || metadata.target() == SCRIPT_TARGET;
    *metadata.level() <= if ours { least } else { least.min(Level::WARN) }
}

struct Terminal {
    look: Look,
    level: LogLevel,
    clock: Arc<dyn Clock>,
    zone: TimeZone,
}

impl<S: Subscriber> Layer<S> for Terminal {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _context: Context<'_, S>) -> bool {
        is_wanted(self.level, metadata)
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = self.line(*event.metadata().level(), &fields, self.clock.now());
        line.push('\n');
        // A terminal that is gone is no reason to stop.
        let _closed = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// The fields of an event as texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    pub message: String,
    pub app: String,
    pub script: String,
    pub others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            field::APP => value.clone_into(&mut self.app),
            field::SCRIPT => value.clone_into(&mut self.script),
            name => self.others.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl Fields {
    /// `greenhouse/record  the text  attempt=2 execution=01J9…`; nothing in it moves the cursor.
    pub fn text(&self, look: Look) -> String {
        let [dim, bold, off] = match look {
            Look::Coloured => ["\x1b[2m", "\x1b[1m", "\x1b[0m"],
            Look::Plain => [""; 3],
        };
        let mut line = match (self.app.as_str(), self.script.as_str()) {
            ("", "") => String::new(),
            ("", place) | (place, "") => format!("{bold}{}{off}  ", text::visible(place)),
            (app, script) => {
                format!("{bold}{}/{}{off}  ", text::visible(app), text::visible(script))
            }
        };
        line.push_str(&text::visible(&self.message));
        // No person reads the id of a message, and that of a row is the run's.
        let shown = |name| !matches!(name, field::MESSAGE_ID | field::OUTBOX);
        for (name, value) in self.others.iter().filter(|(name, _)| shown(*name)) {
            let _infallible = write!(line, "  {dim}{name}={off}{}", text::visible(value));
        }
        line
    }
}

impl Terminal {
    /// `14:02:31 warn  greenhouse/record  the text  attempt=2 execution=01J9…`
    fn line(&self, level: Level, fields: &Fields, now: Timestamp) -> String {
        let (word, colour) = match level {
            Level::ERROR => ("error", "\x1b[1;31m"),
            Level::WARN => ("warn ", "\x1b[35m"),
            Level::INFO => ("info ", "\x1b[32m"),
            _ => ("debug", "\x1b[2m"),
        };
        let [dim, colour, off] = match self.look {
            Look::Coloured => ["\x1b[2m", colour, "\x1b[0m"],
            Look::Plain => [""; 3],
        };
        let time = jiff::Timestamp::from_millisecond(now.0)
            .map(|time| time.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string())
            .unwrap_or_default();
        format!("{dim}{time}{off} {colour}{word}{off} {}", fields.text(self.look))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    fn terminal(look: Look) -> Terminal {
        let clock = Arc::new(SystemClock::start());
        Terminal { look, level: LogLevel::Info, clock, zone: TimeZone::UTC }
    }

    fn fields(message: &str) -> Fields {
        Fields {
            message: message.to_owned(),
            app: "greenhouse".to_owned(),
            script: "record".to_owned(),
            others: vec![(field::ATTEMPT, "2".to_owned())],
        }
    }

    #[test]
    fn a_line_says_when_where_and_what() {
        let line = terminal(Look::Plain).line(Level::WARN, &fields("dry"), Timestamp(3_661_000));
        assert_eq!(line, "01:01:01 warn  greenhouse/record  dry  attempt=2");
    }

    #[test]
    fn what_a_script_writes_cannot_command_the_terminal() {
        let line =
            terminal(Look::Coloured).line(Level::INFO, &fields("a\x1b[2Jb\nc"), Timestamp(0));
        assert!(line.contains("a␛[2Jb⏎c"), "{line:?}");
    }

    #[test]
    fn plain_lines_have_no_escapes_and_coloured_ones_end_theirs() {
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG] {
            let plain = terminal(Look::Plain).line(level, &fields("x"), Timestamp(0));
            assert!(!plain.contains('\x1b'));
            let coloured = terminal(Look::Coloured).line(level, &fields("x"), Timestamp(0));
            assert!(coloured.matches("\x1b[").count() == 2 * coloured.matches("\x1b[0m").count());
        }
    }
}

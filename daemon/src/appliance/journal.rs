//! The log in the journal of systemd, with a field for each value.
//!
//! What logs never waits for the journal, which may be stopped or slow: lines go through a bounded queue to one thread,
//! and what finds no room is dropped, counted, and told when the journal takes lines again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use systemd_journal_logger::JournalLog;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogLevel;
use crate::log::{Fields, Look, field, is_wanted, message};

/// Lines that wait for the journal, and what they may weigh.
const LINES_MAX: usize = 4_096;
const BYTES_MAX: usize = 1 << 20;
/// What a line weighs beside its texts.
const LINE_BYTES: usize = 256;
/// Between two tries, when there is no journal.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the end of the daemon waits for lines to be written.
const FLUSH_MAX: Duration = Duration::from_secs(1);

const IDENTIFIER: &str = "picloud";
/// What the names of fields begin with, so that none is one of the journal's own.
const PREFIX: &str = "PICLOUD_";

/// The way to the journal, for who waits at the end until everything is written.
#[derive(Clone)]
pub struct Journal {
    queue: Queue,
}

impl Journal {
    /// Sends the log to the journal from now on. `None` when the log of this process goes somewhere already.
    pub fn start(level: LogLevel) -> std::io::Result<Option<Journal>> {
        let (queue, lines) = Queue::new();
        let to_journal = ToJournal { level, queue: queue.clone() };
        if tracing_subscriber::registry().with(to_journal).try_init().is_err() {
            return Ok(None);
        }
        let counts = Arc::clone(&queue.counts);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write(&lines, &counts, connect))?;
        Ok(Some(Journal { queue }))
    }

    /// Waits until what was logged is written, but not for long.
    pub fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.queue.lines.try_send(Next::Flush(done)).is_ok() {
            let _too_slow_or_done = is_done.recv_timeout(FLUSH_MAX);
        }
    }
}

/// What waits for the journal.
#[derive(Clone)]
struct Queue {
    lines: SyncSender<Next>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Of the lines that wait.
    bytes: AtomicUsize,
    /// Lines, since it was told last.
    dropped: AtomicU64,
}

enum Next {
    Line(Line),
    /// Whoever is told here waits until everything before it is written.
    Flush(SyncSender<()>),
}

impl Queue {
    fn new() -> (Queue, Receiver<Next>) {
        let (lines, receiver) = sync_channel(LINES_MAX);
        (Queue { lines, counts: Arc::default() }, receiver)
    }

    /// Puts a line in, or counts it as dropped.
    fn put(&self, line: Line) {
        let bytes = line.bytes();
        let before = self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > BYTES_MAX || self.lines.try_send(Next::Line(line)).is_err() {
            self.counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    level: log::Level,
    target: &'static str,
    file: Option<&'static str>,
    line: Option<u32>,
    module: Option<&'static str>,
    fields: Fields,
}

impl Line {
    fn of(metadata: &'static Metadata<'static>) -> Line {
        Line {
            level: level(*metadata.level()),
            target: metadata.target(),
            file: metadata.file(),
            line: metadata.line(),
            module: metadata.module_path(),
            fields: Fields::default(),
        }
    }

    fn bytes(&self) -> usize {
        let Fields { message, app, script, others } = &self.fields;
        let others = others.iter().map(|(name, value)| name.len() + value.len());
        LINE_BYTES + message.len() + app.len() + script.len() + others.sum::<usize>()
    }

    /// By the names that the fields have in the journal.
    fn fields(&self) -> Vec<(String, &str)> {
        let Fields { app, script, others, .. } = &self.fields;
        let place = [(field::APP, app), (field::SCRIPT, script)];
        let place = place.into_iter().filter(|(_, value)| !value.is_empty());
        let others = others.iter().map(|(name, value)| (*name, value));
        place.chain(others).map(|(of, value)| (name(of), value.as_str())).collect()
    }
}

/// The level that becomes the right priority: this library begins one higher, so that `Info` would be a notice.
fn level(level: Level) -> log::Level {
    match level {
        Level::ERROR => log::Level::Error,
        Level::WARN => log::Level::Warn,
        Level::INFO => log::Level::Debug,
        _ => log::Level::Trace,
    }
}

/// What a field is called in the journal. Nothing that is logged can pass for a field of the journal's own: names that
/// scripts choose are inside the text of [`field::FIELDS`].
fn name(of: &str) -> String {
    match of {
        field::MESSAGE_ID => "MESSAGE_ID".to_owned(),
        field::EXECUTION | field::OUTBOX | field::TRIGGER | field::LETTER => {
            format!("{PREFIX}{}_ID", of.to_ascii_uppercase())
        }
        of => format!("{PREFIX}{}", of.to_ascii_uppercase()),
    }
}

struct ToJournal {
    level: LogLevel,
    queue: Queue,
}

impl<S: Subscriber> Layer<S> for ToJournal {
    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        is_wanted(self.level, metadata)
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line::of(event.metadata());
        event.record(&mut line.fields);
        self.queue.put(line);
    }
}

/// Where lines go in the end. Each may wait for as long as it likes.
type Write = Box<dyn FnMut(&Line) -> std::io::Result<()>>;

/// Connects to the journal. Already this waits while the journal is stopped, and so does the thread that calls it.
fn connect() -> std::io::Result<Write> {
    let journal = JournalLog::empty()?.with_syslog_identifier(IDENTIFIER.to_owned());
    Ok(Box::new(move |line| send(&journal, line)))
}

fn send(journal: &JournalLog, line: &Line) -> std::io::Result<()> {
    let fields = line.fields();
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    journal.journal_send(
        &log::Record::builder()
            .level(line.level)
            .target(line.target)
            .file(line.file)
            .line(line.line)
            .module_path(line.module)
            .key_values(&fields.as_slice())
            // What `journalctl` shows when it is not asked for more.
            .args(format_args!("{}", line.fields.text(Look::Plain)))
            .build(),
    )
}

/// The life of the thread: ends with the process.
fn write(lines: &Receiver<Next>, counts: &Counts, connect: impl Fn() -> std::io::Result<Write>) {
    let mut journal: Option<Write> = None;
    loop {
        let next = match &journal {
            Some(_) => lines.recv().map_err(|_ended| RecvTimeoutError::Disconnected),
            None => lines.recv_timeout(AGAIN),
        };
        if journal.is_none() {
            journal = connect().ok();
        }
        match next {
            Ok(Next::Line(line)) => {
                let sent = journal.as_mut().is_some_and(|write| tell(write, &line, counts).is_ok());
                counts.bytes.fetch_sub(line.bytes(), Ordering::Relaxed);
                if !sent {
                    counts.dropped.fetch_add(1, Ordering::Relaxed);
                    journal = None;
                }
            }
            Ok(Next::Flush(done)) => drop(done.send(())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Writes a line, after the one that says how many are missing, if some are.
fn tell(write: &mut Write, line: &Line, counts: &Counts) -> std::io::Result<()> {
    let count = counts.dropped.swap(0, Ordering::Relaxed);
    if count > 0
        && let Err(error) = write(&dropped(count))
    {
        counts.dropped.fetch_add(count, Ordering::Relaxed);
        return Err(error);
    }
    write(line)
}

fn dropped(count: u64) -> Line {
    let message = format!("{count} lines were dropped: the journal did not take them in time");
    Line {
        level: log::Level::Warn,
        target: module_path!(),
        file: None,
        line: None,
        module: None,
        fields: Fields {
            message,
            others: vec![(field::MESSAGE_ID, message::LINES_DROPPED.0.to_owned())],
            ..Fields::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A line with a field whose name a script has chosen, as all such come.
    fn line(message: &str) -> Line {
        let fields = Fields {
            message: message.to_owned(),
            app: "greenhouse".to_owned(),
            script: "warn".to_owned(),
            others: vec![
                (field::MESSAGE_ID, "5a3b".to_owned()),
                (field::EXECUTION, "01".to_owned()),
                (field::OUTBOX, "01".to_owned()),
                (field::TRIGGER, "7".to_owned()),
                (field::FIELDS, r#"{"PRIORITY":0,"message":"x"}"#.to_owned()),
            ],
        };
        let level = level(Level::INFO);
        Line { level, target: "script", file: None, line: None, module: None, fields }
    }

    #[test]
    fn each_value_is_a_field_and_none_can_pass_for_the_journals_own() {
        let line = line("dry");
        let fields = line.fields();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let expected = [
            ("PICLOUD_APP", "greenhouse"),
            ("PICLOUD_SCRIPT", "warn"),
            ("MESSAGE_ID", "5a3b"),
            ("PICLOUD_EXECUTION_ID", "01"),
            ("PICLOUD_OUTBOX_ID", "01"),
            ("PICLOUD_TRIGGER_ID", "7"),
            ("PICLOUD_FIELDS", r#"{"PRIORITY":0,"message":"x"}"#),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn levels_get_the_priorities_of_their_names() {
        // The library has 3, 4, 5, 6, 7 for these levels of its own.
        let priorities =
            [log::Level::Error, log::Level::Warn, log::Level::Debug, log::Level::Trace];
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG];
        assert_eq!(levels.map(level), priorities);
    }

    #[test]
    fn a_journal_that_stands_still_stalls_nobody_and_what_was_dropped_is_told() {
        let (queue, lines) = Queue::new();
        let written: Arc<Mutex<Vec<String>>> = Arc::default();
        // It goes on once this is to be had.
        let gate = Arc::new(Mutex::new(()));
        let stands_still = gate.lock().expect("it is new");
        let (into, through, of_thread) =
            (Arc::clone(&written), Arc::clone(&gate), Arc::clone(&queue.counts));
        let thread = thread::spawn(move || {
            write(&lines, &of_thread, || {
                let (into, through) = (Arc::clone(&into), Arc::clone(&through));
                Ok(Box::new(move |line: &Line| {
                    drop(through.lock());
                    into.lock().expect("nobody panics").push(line.fields.message.clone());
                    Ok(())
                }))
            });
        });
        for number in 0..10_000 {
            queue.put(line(&number.to_string()));
        }
        drop(stands_still);
        let journal = Journal { queue };
        while journal.queue.counts.bytes.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
        journal.queue.put(line("last"));
        journal.flush();
        drop(journal);
        thread.join().expect("it ends with the queue");
        let written = written.lock().expect("nobody panics");
        let (told, kept): (Vec<&String>, Vec<&String>) =
            written.iter().partition(|line| line.contains("dropped"));
        let count = |line: &String| line.split(' ').next()?.parse::<usize>().ok();
        let dropped: usize = told.into_iter().filter_map(count).sum();
        assert!(dropped > 5_000, "{dropped}");
        assert_eq!(kept.len() + dropped, 10_001);
        assert_eq!(kept.last().map(|line| line.as_str()), Some("last"));
    }

    #[test]
    fn lines_without_a_journal_are_counted_and_told_when_there_is_one() {
        let (queue, lines) = Queue::new();
        let tries = AtomicU64::new(0);
        let written: Arc<Mutex<Vec<String>>> = Arc::default();
        for number in 0..3 {
            queue.put(line(&number.to_string()));
        }
        let (into, of_thread) = (Arc::clone(&written), Arc::clone(&queue.counts));
        let thread = thread::spawn(move || {
            write(&lines, &of_thread, || {
                if tries.fetch_add(1, Ordering::Relaxed) < 2 {
                    return Err(std::io::ErrorKind::NotFound.into());
                }
                let into = Arc::clone(&into);
                Ok(Box::new(move |line: &Line| {
                    into.lock().expect("nobody panics").push(line.fields.message.clone());
                    Ok(())
                }))
            });
        });
        let journal = Journal { queue };
        journal.flush();
        drop(journal);
        thread.join().expect("it ends with the queue");
        let told = "2 lines were dropped: the journal did not take them in time";
        assert_eq!(*written.lock().expect("nobody panics"), [told, "2"]);
    }
}

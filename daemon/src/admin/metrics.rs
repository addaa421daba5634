//! `/metrics`: what is counted, in the text format of Prometheus, version 0.0.4.
//!
//! Written by hand: the counts exist already, and a library would want to hold them itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use picloud_api::stats::{AllStats, AppStats, Counts, Stats, Times};

use crate::dispatcher::tally::Counted;

/// The media type.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4";

/// Stands for apps and scripts that are not counted one by one. No slug begins like that.
const OTHERS: &str = "_other";

#[derive(Clone, Copy)]
enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// The page under construction.
#[derive(Default)]
struct Page(String);

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// The head of a metric; all of its samples follow.
    fn metric(&mut self, name: &str, is: Type, help: &str) {
        let is = match is {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _infallible = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {is}\n");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let before = if at == 0 { '{' } else { ',' };
            let _infallible = write!(self.0, "{before}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _infallible = writeln!(self.0, " {value}");
    }

    /// A metric of one sample.
    fn one(&mut self, name: &str, is: Type, help: &str, value: f64) {
        self.metric(name, is, help);
        self.sample(name, &[], value);
    }

    /// The same, if there is a value.
    fn maybe(&mut self, name: &str, is: Type, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.one(name, is, help, value);
        }
    }

    fn times(&mut self, name: &str, help: &str, times: &Times) {
        self.metric(name, Type::Histogram, help);
        let bucket = format!("{name}_bucket");
        for (bound_us, count) in &times.buckets {
            let bound = (*bound_us as f64 / 1e6).to_string();
            self.sample(&bucket, &[("le", &bound)], *count as f64);
        }
        self.sample(&bucket, &[("le", "+Inf")], times.count as f64);
        self.sample(&format!("{name}_sum"), &[], times.sum_us as f64 / 1e6);
        self.sample(&format!("{name}_count"), &[], times.count as f64);
    }
}

/// A metric with a sample for each of many: its name, its help, and where its values are.
type Metric<T> = (&'static str, &'static str, fn(&T) -> u64);

/// The whole page.
pub fn page(stats: &Stats, counted: &Counted) -> String {
    let mut page = Page::default();
    instance(&mut page, stats);
    if let Some(all) = &stats.all {
        work(&mut page, all, counted);
        state(&mut page, all);
        machine(&mut page, all);
    }
    apps(&mut page, stats, counted);
    scripts(&mut page, stats);
    page.0
}

fn instance(page: &mut Page, stats: &Stats) {
    let instance = &stats.instance;
    let labels = [
        ("version", instance.version.as_str()),
        ("instance_id", instance.id.as_str()),
        ("why", instance.why.as_str()),
    ];
    page.metric("picloud_instance", Type::Gauge, "This start of the daemon; always 1.");
    page.sample("picloud_instance", &labels, 1.0);
    let started = instance.started_at as f64 / 1e3;
    page.one("picloud_start_time_seconds", Type::Gauge, "When the daemon started.", started);
}

fn work(page: &mut Page, all: &AllStats, counted: &Counted) {
    let name = "picloud_requests_total";
    page.one(name, Type::Counter, "Requests that found their route.", all.total.requests as f64);
    let name = "picloud_replies_total";
    page.metric(name, Type::Counter, "Replies to requests, by what they were.");
    // Two of them share a word: the disk is full in both.
    let mut replies: BTreeMap<&str, u64> = BTreeMap::new();
    for (replied, count) in counted.replies() {
        *replies.entry(replied.as_str()).or_default() += count;
    }
    for (reply, count) in replies {
        page.sample(name, &[("reply", reply)], count as f64);
    }
    let name = "picloud_runs_total";
    page.one(name, Type::Counter, "Runs that have ended.", all.total.runs as f64);
    let name = "picloud_run_failures_total";
    page.one(name, Type::Counter, "Runs that have failed.", all.total.failures as f64);
    let name = "picloud_ends_total";
    page.metric(name, Type::Counter, "Ends of attempts, also of those that did not start.");
    for (end, count) in counted.ends() {
        page.sample(name, &[("end", end.as_str())], count as f64);
    }
    let name = "picloud_abandoned_total";
    page.metric(name, Type::Counter, "Rows that were abandoned, by why.");
    for (reason, count) in counted.abandoned() {
        page.sample(name, &[("reason", reason.as_str())], count as f64);
    }
    page.times("picloud_answer_seconds", "From a request to its reply.", &all.answer);
    page.times("picloud_queued_seconds", "From when a run could start to its start.", &all.queued);
    page.times("picloud_run_seconds", "What runs take.", &all.run);
    page.times(
        "picloud_commit_seconds",
        "What commits take, with what they write.",
        &all.store.commit,
    );
}

fn state(page: &mut Page, all: &AllStats) {
    use Type::Gauge;
    let (gate, queue) = (&all.gate, &all.queue);
    page.one("picloud_gate_running", Gauge, "Runs that hold a permit.", gate.running as f64);
    page.one("picloud_gate_permits", Gauge, "Permits for runs.", gate.permits as f64);
    let help = "Permits that only requests which wait for an answer get.";
    page.one("picloud_gate_reserved", Gauge, help, gate.reserved as f64);
    page.one("picloud_gate_in_line", Gauge, "Runs that wait for a permit.", gate.in_line as f64);
    page.one("picloud_outbox_rows", Gauge, "Rows in the outbox.", queue.rows as f64);
    page.one("picloud_outbox_bytes", Gauge, "Bytes of these rows.", queue.bytes as f64);
    let name = "picloud_outbox_state_rows";
    page.metric(name, Gauge, "Rows in the outbox by state, counted up to a limit a queue.");
    for (state, rows) in [
        ("running", queue.running),
        ("due", queue.due),
        ("later", queue.later),
        ("retry", queue.retry),
        ("behind", queue.behind),
        ("paused", queue.paused),
    ] {
        page.sample(name, &[("state", state)], rows as f64);
    }
    let oldest = queue.oldest_due_ms.unwrap_or(0) as f64 / 1e3;
    let help = "For how long the oldest row has been due.";
    page.one("picloud_outbox_oldest_due_seconds", Gauge, help, oldest);
    let help = "Dead letters that are open.";
    page.one("picloud_dead_letters_open", Gauge, help, all.dead_letters as f64);
    page.one("picloud_paused", Gauge, "What is paused.", all.pauses.len() as f64);
    let help = "Readers of live events.";
    page.one("picloud_event_readers", Gauge, help, all.event_readers as f64);
}

fn machine(page: &mut Page, all: &AllStats) {
    use Type::{Counter, Gauge};
    let (store, process) = (&all.store, &all.process);
    let number = |value: Option<u64>| value.map(|value| value as f64);
    let help = "Bytes of the store's file.";
    page.maybe("picloud_store_file_bytes", Gauge, help, number(store.file_bytes));
    let help = "Bytes of its write-ahead log.";
    page.maybe("picloud_store_log_bytes", Gauge, help, number(store.log_bytes));
    let help = "Bytes left on its file system.";
    page.maybe("picloud_store_free_bytes", Gauge, help, number(store.free_bytes));
    let low = if store.storage_low { 1.0 } else { 0.0 };
    page.one(
        "picloud_storage_low",
        Gauge,
        "1: nothing new is taken in, the disk is nearly full.",
        low,
    );
    let last = store.last_commit_at.map(|at| at as f64 / 1e3);
    page.maybe("picloud_last_commit_time_seconds", Gauge, "When the last commit was.", last);
    let help = "Memory of the daemon.";
    page.maybe("process_resident_memory_bytes", Gauge, help, number(process.memory_bytes));
    let help = "Processor time of the daemon.";
    let cpu = process.cpu_ms.map(|ms| ms as f64 / 1e3);
    page.maybe("process_cpu_seconds_total", Counter, help, cpu);
    let help = "Bytes that the daemon caused to be written to devices.";
    page.maybe("picloud_written_bytes_total", Counter, help, number(process.written_bytes));
}

fn apps(page: &mut Page, stats: &Stats, counted: &Counted) {
    let others = counted.other_apps.total;
    let others = Counts { requests: others.requests, runs: others.runs, failures: others.failures };
    let totals: [Metric<Counts>; 3] = [
        ("picloud_app_requests_total", "Requests of an app.", |total| total.requests),
        ("picloud_app_runs_total", "Runs of an app.", |total| total.runs),
        ("picloud_app_run_failures_total", "Its runs that have failed.", |total| total.failures),
    ];
    for (name, help, get) in totals {
        page.metric(name, Type::Counter, help);
        for app in &stats.apps {
            page.sample(name, &[("app", &app.app)], get(&app.total) as f64);
        }
        if get(&others) > 0 {
            page.sample(name, &[("app", OTHERS)], get(&others) as f64);
        }
    }
    let now: [Metric<AppStats>; 2] = [
        ("picloud_app_waiting_rows", "Rows of an app in the outbox.", |app| count(app.waiting)),
        ("picloud_app_dead_letters_open", "Its open dead letters.", |app| count(app.dead_letters)),
    ];
    for (name, help, get) in now {
        page.metric(name, Type::Gauge, help);
        for app in &stats.apps {
            page.sample(name, &[("app", &app.app)], get(app) as f64);
        }
    }
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn scripts(page: &mut Page, stats: &Stats) {
    let totals: [Metric<Counts>; 2] = [
        ("picloud_script_runs_total", "Runs of a script.", |total| total.runs),
        ("picloud_script_failures_total", "Its runs that have failed.", |total| total.failures),
    ];
    for (name, help, get) in totals {
        page.metric(name, Type::Counter, help);
        for one in &stats.scripts {
            let app = one.app.as_deref().unwrap_or(OTHERS);
            let script = one.script.as_deref().unwrap_or(OTHERS);
            page.sample(name, &[("app", app), ("script", script)], get(&one.total) as f64);
        }
    }
}

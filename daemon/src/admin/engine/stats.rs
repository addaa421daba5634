//! How everything is, gathered from what is counted already.

use std::path::{Path, PathBuf};

use picloud_api::problem::{Code, Problem};
use picloud_api::stats::{
    AllStats, AppStats, Counts, Gate, InstanceStats, ProcessStats, Queue, ScriptStats, Stats,
    StoreStats, Times, Trouble,
};

use crate::admin::engine::{Engine, slug};
use crate::catalog::Catalog;
use crate::dispatcher::Load;
use crate::dispatcher::tally::{self, Counted, OfScript};
use crate::flow::configure::pause::shown;
use crate::histogram::Histogram;
use crate::machine::{self, Process};
use crate::store::open::free_bytes;
use crate::store::standing::{COUNTED_MAX, QueueStanding};
use crate::time::Timestamp;

/// Scripts that are shown; they are counted all the same.
const SCRIPTS_SHOWN_MAX: usize = 100;

/// Whether the last minutes are wanted second by second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    WithSeries,
    Brief,
}

/// What only the kernel knows. Asked where blocking does no harm.
struct Kernel {
    process: Process,
    file_bytes: Option<u64>,
    log_bytes: Option<u64>,
    free_bytes: Option<u64>,
}

impl Engine {
    /// What is counted of requests and runs.
    pub fn counted(&self) -> Counted {
        self.dispatcher.tally.now()
    }

    pub fn load(&self) -> Load {
        self.dispatcher.load()
    }

    pub async fn stats(&self, detail: Detail) -> Result<Stats, Problem> {
        let (now, second) = (self.clock.now(), self.clock.monotonic().as_secs());
        let catalog = self.catalog();
        let store = self.places.store.clone();
        // Its path may lie on a card that hangs.
        let kernel = tokio::task::spawn_blocking(move || Kernel::ask(&store)).await;
        let kernel = kernel.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let standing = self.reader.standing(now).await;
        let standing = standing.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let counted = self.counted();
        let counts = self.counts();
        Ok(Stats {
            now: now.0,
            instance: InstanceStats {
                id: self.instance.to_string(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: self.started_at.0,
                why: self.began.why.as_str().to_owned(),
                taken_up: whole(self.began.taken_up),
            },
            all: Some(AllStats {
                total: shown_counts(counted.total),
                second: counted
                    .series
                    .until(second)
                    .last()
                    .copied()
                    .map(shown_counts)
                    .unwrap_or_default(),
                minute: minute(&counted, second),
                series: (detail == Detail::WithSeries).then(|| series(&counted, second)),
                answer: times(&counted.answer),
                queued: times(&counted.queued),
                run: times(&counted.run),
                gate: self.gate(),
                queue: self.queue(&standing, &catalog, now),
                store: self.store(&kernel),
                process: process(kernel.process),
                dead_letters: counts.dead_letters,
                pauses: self.pauses(&catalog),
                event_readers: whole(self.dispatcher.live.readers()),
            }),
            apps: self.apps(&counted, &catalog, second),
            scripts: scripts(&counted, &catalog, second),
        })
    }

    pub fn gate(&self) -> Gate {
        let (load, permits) = (self.load(), self.dispatcher.permits());
        Gate {
            running: whole(load.running),
            permits: whole(permits.all),
            reserved: whole(permits.all.saturating_sub(permits.async_max)),
            running_async: whole(load.running_async),
            in_line: whole(load.in_line),
        }
    }

    fn queue(&self, standing: &[QueueStanding], catalog: &Catalog, now: Timestamp) -> Queue {
        let load = self.load();
        let waiting = self.seen.now();
        let mut queue = Queue {
            rows: waiting.usage.values().map(|usage| usage.rows).sum(),
            bytes: waiting.usage.values().map(|usage| usage.bytes).sum(),
            running: whole(load.running),
            due: whole(load.in_line),
            ..Queue::default()
        };
        for one in standing {
            queue.capped |= [one.due, one.later, one.behind].contains(&COUNTED_MAX);
            if catalog.pause(one.app, one.queue).is_some() {
                queue.paused += one.due + one.later + one.behind;
                continue;
            }
            queue.due += one.due;
            queue.later += one.later - one.retry;
            queue.retry += one.retry;
            queue.behind += one.behind;
            let due_for = one.first.map(|first| now.ms_since(first)).filter(|ms| *ms >= 0);
            queue.oldest_due_ms = queue.oldest_due_ms.max(due_for);
        }
        queue
    }

    fn store(&self, kernel: &Kernel) -> StoreStats {
        let commits = self.seen.commits.now();
        StoreStats {
            file_bytes: kernel.file_bytes,
            log_bytes: kernel.log_bytes,
            free_bytes: kernel.free_bytes,
            free_bytes_min: self.free_bytes_min,
            storage_low: self.is_storage_low(),
            commits: commits.took.count(),
            last_commit_at: commits.last_at.map(|at| at.0),
            commit: times(&commits.took),
        }
    }

    /// Everything that is paused, the instance itself first.
    pub fn pauses(&self, catalog: &Catalog) -> Vec<picloud_api::instance::Paused> {
        let mut numbers: Vec<i64> = catalog.pauses.keys().copied().collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|number| shown(catalog, number, &catalog.pauses[&number])).collect()
    }

    fn apps(&self, counted: &Counted, catalog: &Catalog, second: u64) -> Vec<AppStats> {
        let counts = self.counts_by_app(catalog);
        let mut apps: Vec<AppStats> = catalog
            .apps
            .values()
            .map(|app| {
                let waiting = counts.get(&app.id).copied().unwrap_or_default();
                let of = counted.apps.get(&app.id);
                let pause = catalog.pauses.get(&app.id.0);
                AppStats {
                    app: app.slug.to_string(),
                    total: of.map(|of| shown_counts(of.total)).unwrap_or_default(),
                    minute: of.map(|of| shown_counts(of.minute.until(second))).unwrap_or_default(),
                    waiting: waiting.waiting,
                    dead_letters: waiting.dead_letters,
                    answer_p50_us: of.and_then(|of| of.answer.percentile_us(50)),
                    answer_p99_us: of.and_then(|of| of.answer.percentile_us(99)),
                    paused: pause.map(|pause| shown(catalog, app.id.0, pause)),
                    trouble: of.and_then(|of| of.trouble.as_ref()).map(trouble),
                }
            })
            .collect();
        apps.sort_by(|a, b| a.app.cmp(&b.app));
        apps
    }
}

impl Kernel {
    fn ask(store: &Path) -> Kernel {
        Kernel {
            process: Process::now(),
            file_bytes: machine::file_bytes(store),
            log_bytes: machine::file_bytes(&beside(store, "-wal")),
            free_bytes: free_bytes(store),
        }
    }
}

fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn whole(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn shown_counts(counts: tally::Counts) -> Counts {
    let tally::Counts { requests, runs, failures } = counts;
    Counts { requests, runs, failures }
}

fn series(counted: &Counted, second: u64) -> Vec<Counts> {
    counted.series.until(second).into_iter().map(shown_counts).collect()
}

fn minute(counted: &Counted, second: u64) -> Counts {
    let seconds = counted.series.until(second);
    seconds.iter().rev().take(60).fold(Counts::default(), |sum, one| Counts {
        requests: sum.requests + one.requests,
        runs: sum.runs + one.runs,
        failures: sum.failures + one.failures,
    })
}

fn times(histogram: &Histogram) -> Times {
    Times {
        count: histogram.count(),
        sum_us: histogram.sum_us,
        p50_us: histogram.percentile_us(50),
        p99_us: histogram.percentile_us(99),
        buckets: histogram.cumulated().collect(),
    }
}

fn process(process: Process) -> ProcessStats {
    let Process { memory_bytes, memory_bytes_max, written_bytes, cpu_ms } = process;
    ProcessStats { memory_bytes, memory_bytes_max, written_bytes, cpu_ms }
}

fn trouble(trouble: &tally::Trouble) -> Trouble {
    Trouble {
        at: trouble.at.0,
        script: trouble.script.to_string(),
        message: trouble.message.clone(),
    }
}

fn scripts(counted: &Counted, catalog: &Catalog, second: u64) -> Vec<ScriptStats> {
    let one = |app: Option<String>, script: Option<String>, of: &OfScript| ScriptStats {
        app,
        script,
        total: shown_counts(of.total),
        minute: shown_counts(of.minute.until(second)),
        p50_us: of.run.percentile_us(50),
        p99_us: of.run.percentile_us(99),
    };
    let mut scripts = Vec::new();
    for (app, of_app) in counted.apps.iter().filter(|(app, _)| catalog.apps.contains_key(app)) {
        let app = slug(catalog, *app);
        let of = of_app.scripts.iter();
        scripts.extend(of.map(|(name, of)| one(Some(app.clone()), Some(name.to_string()), of)));
    }
    scripts.sort_by(|a, b| {
        let name = |one: &ScriptStats| (one.app.clone(), one.script.clone());
        b.total.runs.cmp(&a.total.runs).then_with(|| name(a).cmp(&name(b)))
    });
    scripts.truncate(SCRIPTS_SHOWN_MAX);
    if counted.other_scripts.total.runs > 0 {
        scripts.push(one(None, None, &counted.other_scripts));
    }
    scripts
}

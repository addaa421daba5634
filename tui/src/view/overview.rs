//! The overview: is everything all right, also after the power cut?

use picloud_api::stats::{AllStats, Counts, Stats};

use crate::columns::{self, Writing};
use crate::layout::{self, Kind, Layout};
use crate::model::{Model, Plots, SERIES_SECONDS};
use crate::plot;
use crate::symbols::Symbol;
use crate::text::{Line, Role};
use crate::view::{Page, list};
use crate::when;

/// Where two plots stand beside each other.
const TWO_PLOTS_COLUMNS: usize = 96;
/// From so many rows of the screen on there is room for titles of their own.
const TWO_PLOTS_ROWS: u16 = 28;
const GAUGE_COLUMNS: usize = 8;

pub(super) fn draw(model: &Model, layout: &Layout, page: &mut Page) {
    page.extend(head(model, layout.columns));
    list::rows(model, layout, page);
    page.fill(layout.list_top + layout.list_rows);
    recent(model, layout, page);
}

/// What stands above the apps.
pub fn head(model: &Model, columns: usize) -> Vec<Line> {
    let kind = layout::kind(model.size);
    let Some(stats) = &model.stats else { return vec![Line::of(Role::Dim, "Overview")] };
    let mut lines = vec![dead(model, stats, columns)];
    let Some(all) = &stats.all else { return lines };
    lines.push(checks(model, stats, all));
    if kind == Kind::Wide {
        lines.push(Line::new());
    }
    match model.fixed.plots {
        Plots::Drawn if kind == Kind::Wide => lines.extend(plots(model, all, columns)),
        Plots::Drawn | Plots::Left => lines.push(figures(model, all)),
    }
    lines.push(gate(model, all, kind));
    if kind == Kind::Wide {
        lines.push(Line::new());
    }
    lines
}

fn dead(model: &Model, stats: &Stats, columns: usize) -> Line {
    let count: i64 = stats.apps.iter().map(|app| app.dead_letters).sum();
    let trouble = stats.apps.iter().filter_map(|app| Some((app, app.trouble.as_ref()?)));
    let newest =
        trouble.filter(|(app, _)| app.dead_letters > 0).max_by_key(|(_, trouble)| trouble.at);
    let charset = model.fixed.charset;
    if count == 0 {
        let says = match stats.apps.len() {
            0 => "no apps yet: `picloud deploy DIR`",
            _ => "nothing waits for you",
        };
        return Line::of(Role::Ok, Symbol::Ok.text(charset)).and(Role::Text, format!(" {says}"));
    }
    let letters = if count == 1 { "dead letter waits" } else { "dead letters wait" };
    let shown = when::count(u64::try_from(count).unwrap_or_default());
    let line =
        Line::of(Role::Bad, format!("{} {shown} {letters} for you", Symbol::Dead.text(charset)));
    let line = match newest {
        Some((app, trouble)) => {
            let at = when::day_clock(trouble.at, &model.fixed.zone, model.now);
            let says = format!(", newest {at} {}/{}: {}", app.app, trouble.script, trouble.message);
            line.and(Role::Text, says)
        }
        None => line,
    };
    // However long the message is, the key to it is in sight.
    let key = Line::of(Role::Text, "   press ").and(Role::Accent, "3");
    line.cut(columns.saturating_sub(key.width())).then(key)
}

/// What is checked all the time, in a few words.
fn checks(model: &Model, stats: &Stats, all: &AllStats) -> Line {
    let charset = model.fixed.charset;
    let check = |line: Line, role: Role, says: String| {
        let symbol = if role == Role::Ok { Symbol::Ok } else { Symbol::Dead };
        let gap = if line.spans.is_empty() { "" } else { "  " };
        line.and(Role::Text, gap)
            .and(role, symbol.text(charset))
            .and(Role::Text, format!(" {says}"))
    };
    let store = &all.store;
    let line = match store.storage_low {
        true => check(Line::new(), Role::Bad, "disk nearly full".to_owned()),
        false => check(Line::new(), Role::Ok, "store".to_owned()),
    };
    let free = store.free_bytes.map(|free| format!("{} free", when::bytes(free)));
    let written = all.process.written_bytes.map(|bytes| format!("{} written", when::bytes(bytes)));
    let card: Vec<String> = free.into_iter().chain(written).collect();
    let line = check(line, Role::Ok, format!("card {}", card.join(", ")));
    let started = when::day_clock(stats.instance.started_at, &model.fixed.zone, model.now);
    let taken_up = match stats.instance.taken_up {
        0 => String::new(),
        1 => ": 1 run taken up".to_owned(),
        runs => format!(": {runs} runs taken up"),
    };
    check(line, Role::Ok, format!("since {} {started}{taken_up}", why(&stats.instance.why)))
}

/// Why the daemon was started, as people say it.
pub(super) fn why(why: &str) -> String {
    match why {
        "first_start" => "the first start".to_owned(),
        "stopped_in_order" => "a stop in order".to_owned(),
        "daemon_died" => "the daemon's death".to_owned(),
        "power_cut" => "a power cut".to_owned(),
        "" => "a stop".to_owned(),
        other => other.to_owned(),
    }
}

fn series(model: &Model, one: fn(&Counts) -> u64) -> Vec<u64> {
    model.series.iter().map(one).collect()
}

/// Failures of each minute that ended at each second.
fn failures(model: &Model) -> Vec<u64> {
    let counts = series(model, |counts| counts.failures);
    (0..counts.len()).map(|at| counts[at.saturating_sub(59)..=at].iter().sum()).collect()
}

fn plots(model: &Model, all: &AllStats, columns: usize) -> Vec<Line> {
    let now = |series: &[u64]| series.last().copied().unwrap_or_default();
    let requests = series(model, |counts| counts.requests);
    let runs = series(model, |counts| counts.runs);
    let (failures, waiting) = (failures(model), Vec::from(model.waiting.clone()));
    let waits = u64::try_from(all.queue.rows).unwrap_or_default();
    let four = [
        ("Requests/s", now(&requests), requests),
        ("Runs/s", now(&runs), runs),
        ("Failures/min", all.minute.failures, failures),
        ("Waiting", waits, waiting),
    ];
    if columns < TWO_PLOTS_COLUMNS || model.size.1 < TWO_PLOTS_ROWS {
        let width = columns.saturating_sub(40).max(10);
        return four
            .iter()
            .map(|(name, now, values)| {
                let most = values.iter().max().copied().unwrap_or_default().max(*now);
                Line::of(Role::Text, format!("{name:<13}"))
                    .and(Role::Accent, plot::spark(values, width, model.fixed.charset))
                    .and(
                        Role::Text,
                        format!("  {:>6} now  {:>6} max", when::count(*now), when::count(most)),
                    )
            })
            .collect();
    }
    let width = (columns - 4) / 2;
    let half = |(name, now, values): &(&str, u64, Vec<u64>)| {
        let most = values.iter().max().copied().unwrap_or_default().max(*now);
        let figures = format!("{} now {:>5} max", when::count(*now), when::count(most));
        let gap = width.saturating_sub(name.len() + figures.len());
        let title = format!("{name}{}{figures}", " ".repeat(gap));
        let drawn = plot::spark(values, width.min(SERIES_SECONDS), model.fixed.charset);
        (title, drawn)
    };
    let mut lines = Vec::new();
    for pair in four.chunks(2) {
        let (left, right) = (half(&pair[0]), half(&pair[1]));
        lines.push(Line::of(Role::Text, left.0).and(Role::Text, "    ").and(Role::Text, right.0));
        lines.push(
            Line::of(Role::Accent, left.1).and(Role::Text, "    ").and(Role::Accent, right.1),
        );
    }
    lines
}

/// Instead of plots.
fn figures(model: &Model, all: &AllStats) -> Line {
    let second = model.series.back().copied().unwrap_or(all.second);
    let says = format!(
        "{} requests/s  {} runs/s  {} failed/min  {} waiting",
        when::count(second.requests),
        when::count(second.runs),
        when::count(all.minute.failures),
        when::count(u64::try_from(all.queue.rows).unwrap_or_default())
    );
    Line::of(Role::Text, says)
}

fn gate(model: &Model, all: &AllStats, kind: Kind) -> Line {
    let gate = &all.gate;
    let count = |count: i64| u64::try_from(count).unwrap_or_default();
    let mut line = Line::of(Role::Text, "Gate ");
    if model.fixed.plots == Plots::Drawn && kind == Kind::Wide {
        let drawn = plot::gauge(
            count(gate.running),
            count(gate.permits),
            GAUGE_COLUMNS,
            model.fixed.charset,
        );
        line = line.and(Role::Accent, drawn).and(Role::Text, " ");
    }
    let time = |us: Option<u64>| {
        us.map_or("-".to_owned(), |us| when::micros(i64::try_from(us).unwrap_or(i64::MAX)))
    };
    let mut says = format!("{}/{}", gate.running, gate.permits);
    if let Some(oldest) = all.queue.oldest_due_ms {
        says = format!("{says}   oldest due {}", when::span(oldest));
    }
    says =
        format!("{says}   answer p50 {} p99 {}", time(all.answer.p50_us), time(all.answer.p99_us));
    if let Some(memory) = all.process.memory_bytes {
        let most = all.process.memory_bytes_max.map(|most| format!("/{}", when::bytes(most)));
        says = format!("{says}   memory {}{}", when::bytes(memory), most.unwrap_or_default());
    }
    line.and(Role::Text, says)
}

/// The runs that ended last, below the apps.
fn recent(model: &Model, layout: &Layout, page: &mut Page) {
    let rows = layout.detail_rows.saturating_sub(1);
    if rows == 0 {
        return;
    }
    page.push(Line::new());
    let writing = Writing { now: model.now, zone: &model.fixed.zone, charset: model.fixed.charset };
    for run in model.recent.iter().take(rows) {
        let (symbol, role) = crate::symbols::state(&run.outcome);
        let cells = columns::run(run, writing);
        let script = Line::of(Role::Text, format!("{}/{}", run.app, run.script));
        let line = Line::of(Role::Dim, format!("  {} ", cells[1].text()))
            .and(role, symbol.text(writing.charset))
            .and(Role::Text, format!(" {}", script.cut(26).padded(26).text()))
            .and(Role::Text, format!("  {}", cells[3].cut(24).padded(24).text()))
            .and(Role::Text, format!("  {:>7}", cells[5].text()));
        let line = match &run.error {
            Some(error) => line.and(Role::Bad, format!("  {}", &columns::error(error))),
            None => line,
        };
        page.push(line);
    }
}

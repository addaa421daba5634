//! Header, tabs and rule above; banner below them; status line and key line at the bottom.

use crate::keys::{Command, key_of};
use crate::layout::{Kind, Layout};
use crate::listing::Listing;
use crate::message::Failure;
use crate::model::{Flow, Focus, Link, Lost, May, Model, Overlay, Plots};
use crate::screen::Screen;
use crate::symbols::{Charset, Symbol};
use crate::text::{self, Line, Role};
use crate::view::{Page, overlay};
use crate::when;

pub(super) fn draw(model: &Model, layout: &Layout, page: &mut Page) {
    match layout.kind {
        Kind::Wide => {
            page.push(identity(model, layout.columns));
            page.push(tabs(model, layout.columns));
            page.push(rule(model, layout.columns));
        }
        Kind::Narrow => page.push(narrow(model, layout.columns)),
        Kind::TooSmall => {}
    }
}

/// A line from edge to edge.
pub(super) fn rule(model: &Model, columns: usize) -> Line {
    match model.fixed.plots {
        Plots::Drawn => Line::of(Role::Dim, Symbol::Rule.text(model.fixed.charset).repeat(columns)),
        Plots::Left => Line::new(),
    }
}

fn identity(model: &Model, columns: usize) -> Line {
    let scope = model.scope.as_deref().unwrap_or("all apps");
    let left = Line::of(Role::Strong, "picloud")
        .and(Role::Text, format!("  {}   ", &model.fixed.host))
        .and(if model.scope.is_some() { Role::Accent } else { Role::Text }, scope);
    let clock = when::clock(model.now, &model.fixed.zone);
    let right = Line::of(Role::Dim, format!("{}   ", who(model)));
    let right = link(model, right).and(Role::Text, format!("  {clock}"));
    let daemon = model.stats.as_ref().map_or(Line::new(), |stats| {
        let up = when::minutes_since(stats.instance.started_at, model.now);
        Line::of(Role::Dim, format!("{}  up {up}  ", &stats.instance.version))
    });
    // Where there is not room for all, the version goes first.
    let fits = left.width() + daemon.width() + right.width() <= columns;
    let right = if fits { daemon.then(right) } else { right };
    let gap = columns.saturating_sub(left.width() + right.width());
    left.and(Role::Text, " ".repeat(gap)).then(right)
}

/// What whoever sits here is to the daemon.
fn who(model: &Model) -> &'static str {
    let Some(instance) = &model.instance else { return "" };
    let capabilities = &instance.caller.capabilities;
    let only_reads = !capabilities.is_empty() && capabilities.iter().all(|one| one == "AppRead");
    if only_reads {
        "read only"
    } else if model.may("InstanceAdmin") == May::Yes {
        "admin"
    } else {
        "some rights"
    }
}

fn link(model: &Model, line: Line) -> Line {
    let charset = model.fixed.charset;
    match (&model.link, model.flow) {
        (Link::Live, Flow::Live) => {
            line.and(Role::Ok, Symbol::Live.text(charset)).and(Role::Text, " live")
        }
        (Link::Live, Flow::Paused { .. }) => line.and(Role::Warn, "paused"),
        (Link::Connecting(_), _) => line.and(Role::Dim, "connecting"),
        (Link::Lost(_) | Link::Refused(_), _) => {
            line.and(Role::Bad, Symbol::Broken.text(charset)).and(Role::Bad, " not connected")
        }
    }
}

/// How much of it waits, behind the name of a screen.
fn count(model: &Model, screen: Screen) -> Option<(Role, String)> {
    let stats = model.stats.as_ref()?;
    let sum = |one: fn(&picloud_api::stats::AppStats) -> i64| stats.apps.iter().map(one).sum();
    let shown = |count: i64| when::count(u64::try_from(count).unwrap_or_default());
    match screen {
        Screen::Outbox => {
            let waiting: i64 =
                stats.all.as_ref().map_or_else(|| sum(|app| app.waiting), |all| all.queue.rows);
            (waiting > 0).then(|| (Role::Text, shown(waiting)))
        }
        Screen::Dead => {
            let dead: i64 = stats
                .all
                .as_ref()
                .map_or_else(|| sum(|app| app.dead_letters), |all| all.dead_letters);
            (dead > 0).then(|| (Role::Bad, format!("{}!", shown(dead))))
        }
        _ => None,
    }
}

fn tabs(model: &Model, columns: usize) -> Line {
    let with = |name: fn(Screen) -> &'static str, gap: &'static str| {
        Screen::ALL.iter().enumerate().fold(Line::new(), |line, (n, screen)| {
            let line = if n > 0 { line.and(Role::Text, gap) } else { line };
            tab(model, *screen, name(*screen), line)
        })
    };
    let mut ways = [(Screen::name as fn(Screen) -> &'static str, "  "), (Screen::short_name, "  ")]
        .into_iter()
        .map(|(name, gap)| with(name, gap));
    ways.find(|line| line.width() <= columns).unwrap_or_else(|| with(Screen::short_name, " "))
}

fn tab(model: &Model, screen: Screen, name: &str, line: Line) -> Line {
    let role = if screen == model.screen { Role::Accent } else { Role::Dim };
    let line = line.and(role, format!("{} {name}", screen.digit()));
    match count(model, screen) {
        Some((role, count)) => line.and(Role::Text, " ").and(role, count),
        None => line,
    }
}

/// Header and tabs in one line.
fn narrow(model: &Model, columns: usize) -> Line {
    let left = tab(model, model.screen, model.screen.name(), Line::new());
    let mut left = left.and(Role::Text, "  ");
    if model.screen != Screen::Dead && count(model, Screen::Dead).is_some() {
        left = tab(model, Screen::Dead, Screen::Dead.name(), left).and(Role::Text, "  ");
    }
    if let Some(scope) = &model.scope {
        left = left.and(Role::Accent, scope);
    }
    let right = link(model, Line::new())
        .and(Role::Text, format!("  {}", when::clock(model.now, &model.fixed.zone)));
    let gap = columns.saturating_sub(left.width() + right.width());
    left.and(Role::Text, " ".repeat(gap)).then(right)
}

/// What everybody has to know first, on every screen.
pub fn banner(model: &Model) -> Vec<Line> {
    let mut lines = Vec::new();
    match &model.link {
        Link::Lost(lost) => lines.extend(away(model, lost)),
        Link::Refused(why) => lines.extend(refused(model, why)),
        Link::Connecting(since) if model.now >= since + 300 => {
            lines.push(Line::of(Role::Dim, "asking the daemon…"));
        }
        Link::Connecting(_) | Link::Live => {}
    }
    if let Some(at) = model.restarted_at {
        let at = when::clock_seconds(at, &model.fixed.zone);
        let why = why_started(model).map(|why| format!(" (after {why})")).unwrap_or_default();
        lines.push(Line::of(Role::Warn, format!("restarted {at}{why}")));
    }
    let pauses = model.stats.iter().filter_map(|stats| stats.all.as_ref());
    for paused in pauses.flat_map(|all| &all.pauses).take(2) {
        let (what, way_out) = match paused.target.as_str() {
            "" => ("everything is paused".to_owned(), "picloud resume".to_owned()),
            target => (format!("{target} is paused"), format!("picloud resume '{target}'")),
        };
        let since = when::day_clock(paused.since, &model.fixed.zone, model.now);
        let says = format!("{what} since {since}: {}", paused.reason);
        // However long the reason is, the way out is in sight.
        let way_out = Line::of(Role::Warn, format!("  ({way_out})"));
        let room = usize::from(model.size.0).saturating_sub(way_out.width());
        lines.push(Line::of(Role::Warn, says).cut(room).then(way_out));
    }
    let low = model.stats.as_ref().and_then(|stats| stats.all.as_ref());
    if low.is_some_and(|all| all.store.storage_low) {
        let says = "the disk is nearly full: nothing new is taken in; what runs goes on";
        lines.push(Line::of(Role::Bad, says));
    }
    lines
}

/// Since when nothing comes, when it is tried again, and why.
fn away(model: &Model, lost: &Lost) -> Vec<Line> {
    // Before the first answer there is nothing of any time.
    let as_of = match &model.stats {
        Some(_) => format!("as of {}, ", when::clock_seconds(lost.since, &model.fixed.zone)),
        None => String::new(),
    };
    let again = match lost.again_at {
        i64::MAX => "trying now".to_owned(),
        at => format!("next try {}", when::until(at, model.now)),
    };
    let mut says = lost.why.text().to_owned();
    if let Some(hint) = lost.why.hint() {
        says = format!("{says}  ({hint})");
    }
    let mut lines = vec![Line::of(Role::Bad, format!("{as_of}{again}, R now"))];
    lines.extend(told(model, Role::Bad, &says));
    lines
}

/// Why the daemon was started, as soon as its own figures are here: those that are may be of the one before.
fn why_started(model: &Model) -> Option<String> {
    let own = &model.instance.as_ref()?.instance_id;
    let stats = model.stats.as_ref().filter(|stats| stats.instance.id == *own)?;
    Some(super::overview::why(&stats.instance.why))
}

/// What has to be read whole.
fn told(model: &Model, role: Role, says: &str) -> Vec<Line> {
    let lines = text::wrap(&text::harmless(says), usize::from(model.size.0));
    lines.into_iter().map(|line| Line::of(role, line)).collect()
}

fn refused(model: &Model, why: &Failure) -> Vec<Line> {
    let user = &model.fixed.user;
    let may_not = match why {
        Failure::Closed { .. } => true,
        Failure::Problem(problem) => problem.code == "not_allowed" || problem.code == "not_known",
        Failure::NoDaemon { .. } | Failure::Odd(_) | Failure::OtherVersion { .. } => false,
    };
    let mut lines = told(model, Role::Bad, why.text());
    let way_out = match why {
        _ if may_not => Some(format!(
            "{user} is in neither picloud nor picloud-admin: `sudo adduser {user} picloud-admin`, log in again"
        )),
        Failure::OtherVersion { remedy, .. } => Some(format!("{remedy}; q quits")),
        Failure::NoDaemon { .. }
        | Failure::Closed { .. }
        | Failure::Odd(_)
        | Failure::Problem(_) => why.hint().map(str::to_owned),
    };
    lines.extend(way_out.iter().flat_map(|says| told(model, Role::Text, says)));
    lines
}

/// The last lines: what was done, and what can be.
pub(super) fn footer(model: &Model, layout: &Layout, page: &mut Page) {
    let row = page.rows.len();
    let status = overlay::entry(model, layout.columns, row, page).unwrap_or_else(|| status(model));
    match layout.kind {
        Kind::Wide => {
            page.push(status);
            page.push(keys(model, layout.columns));
        }
        Kind::Narrow if status.width() > 0 => page.push(status),
        Kind::Narrow if model.overlay.is_some() || model.level().draft.is_some() => {
            page.push(keys(model, layout.columns));
        }
        Kind::Narrow => page.push(Line::of(Role::Dim, "? help  : go to  esc back  q quit")),
        Kind::TooSmall => {}
    }
}

fn status(model: &Model) -> Line {
    if let Some(note) = &model.note {
        let line = Line::of(note.role, &note.text);
        return match &model.undo {
            Some(undo) => {
                let left = when::span(undo.until - model.now);
                line.and(Role::Dim, format!("  ({left} left)"))
            }
            None => line,
        };
    }
    if let Some(undo) = &model.undo {
        let left = when::span(undo.until - model.now);
        return Line::of(Role::Text, format!("u {} ({left} left)", undo.label));
    }
    if let Flow::Paused { since, runs } = model.flow {
        let at = when::clock_seconds(since, &model.fixed.zone);
        let missed = when::count(model.runs_so_far().saturating_sub(runs));
        return Line::of(Role::Warn, format!("paused {at}, {missed} runs since: space goes on"));
    }
    let level = model.level();
    match level.missed {
        Some(0) => Line::of(Role::Warn, "events were missed; the list was fetched anew"),
        Some(missed) => Line::of(
            Role::Warn,
            format!("{} events missed; the list was fetched anew", when::count(missed)),
        ),
        None => Line::new(),
    }
}

/// The keys that do something here, as many as there is room for; help and the way out always.
fn keys(model: &Model, columns: usize) -> Line {
    const GAP: &str = "  ";
    let written = |(role, key, label): (Role, String, &'static str)| {
        let key_role = if role == Role::Dim { Role::Dim } else { Role::Accent };
        let line = Line::of(key_role, key).and(Role::Text, " ").and(role, label);
        match model.fixed.charset {
            Charset::Unicode => line,
            Charset::Ascii => text::ascii(&line),
        }
    };
    let offered: Vec<Line> = offered(model).into_iter().map(written).collect();
    let (first, last) = offered.split_at(offered.len().saturating_sub(2));
    let kept: usize = last.iter().map(|key| key.width() + GAP.len()).sum();
    let mut line = Line::new();
    for (n, key) in first.iter().chain(last).enumerate() {
        let gap = if line.spans.is_empty() { "" } else { GAP };
        if n < first.len() && line.width() + gap.len() + key.width() + kept > columns {
            continue;
        }
        line = line.and(Role::Text, gap).then(key.clone());
    }
    line
}

fn offered(model: &Model) -> Vec<(Role, String, &'static str)> {
    let level = model.level();
    let key =
        |command: Command, label: &'static str| (Role::Text, key_of(command).to_owned(), label);
    match &model.overlay {
        Some(Overlay::Confirm(confirm)) => return overlay::confirm_keys(confirm),
        Some(Overlay::Help { .. }) => {
            return vec![key(Command::Down, "more"), key(Command::Back, "back")];
        }
        Some(_) => return vec![key(Command::Open, "take"), key(Command::Back, "back")],
        None => {}
    }
    let mut keys = Vec::new();
    if let Some(draft) = &level.draft {
        keys.extend(overlay::draft_keys(draft));
    } else {
        if level.listing == Listing::Traffic || level.focus == Focus::List {
            keys.push(key(Command::Open, "open"));
        }
        for verb in crate::verbs::of(&level.listing) {
            let role = if model.may(verb.needs) == May::No { Role::Dim } else { Role::Text };
            keys.push((role, key_of(verb.command).to_owned(), verb.label));
        }
        if !level.listing.tabs().is_empty() {
            keys.push(key(Command::NextPane, "pane"));
        }
        if model.undo.is_some() {
            keys.push(key(Command::Undo, "undo"));
        }
        keys.push(key(Command::Filter, "filter"));
        keys.push(key(Command::Scope, "app"));
        keys.push(key(Command::Palette, "go to"));
        if level.listing.events().is_some() {
            keys.push(key(Command::Pause, "pause"));
        }
    }
    keys.push(key(Command::Help, "help"));
    if level.draft.as_ref().is_some_and(|draft| draft.theirs.is_some()) {
        // The way back takes theirs, and says so.
        return keys;
    }
    let at_top = model.place().depth == 0 && level.focus == Focus::List;
    let last = if at_top && level.draft.is_none() { Command::Quit } else { Command::Back };
    keys.push(key(last, if last == Command::Quit { "quit" } else { "back" }));
    keys
}

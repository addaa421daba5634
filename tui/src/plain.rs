//! What leaves the console as text: copied, written to a file, or printed for the mouse.

use crate::acts;
use crate::columns;
use crate::effect::Text;
use crate::item::Item;
use crate::keys::Command;
use crate::layout;
use crate::model::{Focus, Model, selected, shown};
use crate::part;
use crate::reply::Part;
use crate::source;
use crate::view::detail;

/// What `y` copies: in the list what the row is called, in the detail what is shown there.
pub fn copied(model: &Model) -> Option<String> {
    let level = model.level();
    match level.focus {
        Focus::List => selected(level).map(Item::name),
        Focus::Detail => payload(model).map(|text| text.text),
    }
}

/// The whole of what is shown of the row, with a name for a file.
pub fn payload(model: &Model) -> Option<Text> {
    let level = model.level();
    let item = selected(level)?;
    if let Some(draft) = &level.draft {
        return Some(Text { name: file_name(item, "edited"), text: draft.text.clone() });
    }
    let part = part::find(&level.parts, of_part);
    let own = || match item {
        Item::Entry(entry) => Some(("json", source::json(entry.value.get()))),
        _ => None,
    };
    let (ending, text) = part.or_else(own)?;
    Some(Text { name: file_name(item, ending), text })
}

fn of_part(part: &Part) -> Option<(&'static str, String)> {
    Some(match part {
        Part::Outbox(detail) => ("json", source::json(detail.event.get())),
        Part::Letter(detail) => ("json", source::json(detail.event.get())),
        Part::Abandoned(detail) => ("json", source::json(detail.event.as_ref()?.get())),
        Part::Script(script) => ("rhai", script.source.clone()),
        Part::Version(version) => ("rhai", version.source.clone()),
        Part::Manifest(bundle) => ("toml", toml::to_string(&bundle.manifest).ok()?),
        Part::Execution(_)
        | Part::Chain(_)
        | Part::Versions(_)
        | Part::Runs(_)
        | Part::Log(_)
        | Part::App(_)
        | Part::Entry(_) => return None,
    })
}

fn file_name(item: &Item, ending: &str) -> String {
    let name: String = item
        .name()
        .chars()
        .map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .take(80)
        .collect();
    format!("{}.{ending}", name.trim_matches(['.', '-']))
}

/// What the row can be copied as, with a key for each.
pub fn choices(model: &Model) -> Vec<(char, &'static str, String)> {
    let level = model.level();
    let Some(item) = selected(level) else { return Vec::new() };
    let mut choices = vec![('i', "id", item.name())];
    if let Some(command) = command(item) {
        choices.push(('c', "command", command));
    }
    if let Some(act) = acts::of(Command::Run, item, &level.listing) {
        choices.push(('r', "what r does", act.command));
    }
    if let Some(text) = payload(model) {
        choices.push(('p', "payload", text.text));
    }
    if let Some(error) = item.error() {
        choices.push(('e', "error", error.message.clone()));
    }
    if let Item::Route(route) = item {
        for url in route.urls.iter().filter(|url| !url.starts_with("//")).take(1) {
            let body = if route.method == "GET" { "" } else { " -d '{}'" };
            let host = &model.fixed.host;
            let curl = format!("curl -X {}{body} http://{host}:8080{url}", route.method);
            choices.push(('u', "curl", curl));
        }
    }
    choices
}

/// The command that shows it.
fn command(item: &Item) -> Option<String> {
    let name = item.name();
    Some(match item {
        Item::Outbox(_) => format!("picloud outbox show {name}"),
        Item::Letter(_) => format!("picloud dead-letters show {name}"),
        Item::Group(_) => {
            let filter = crate::listing::group_filter(item);
            format!("picloud dead-letters list --filter '{filter}'")
        }
        Item::Run(_) | Item::Log(_) => format!("picloud executions show {name}"),
        Item::Abandoned(_) => format!("picloud abandoned show {name}"),
        Item::App(_) | Item::Traffic(_) => format!("picloud apps show {name}"),
        Item::Script(_) => format!("picloud scripts show {name}"),
        Item::Trigger(_) => format!("picloud triggers show {name}"),
        Item::Route(_) => format!("picloud routes show '{name}'"),
        Item::Entry(entry) => {
            format!("picloud {} get {}/{} {name}", entry.space, entry.app, entry.collection)
        }
        Item::Principal(_) => format!("picloud principals show {name}"),
        Item::Backup(_) => "picloud backups list".to_owned(),
        Item::Check(_) => "picloud doctor".to_owned(),
        Item::Version(_)
        | Item::Secret(_)
        | Item::Collection(_)
        | Item::Door(_)
        | Item::Node(_)
        | Item::Token(_)
        | Item::Audit(_) => return None,
    })
}

/// The list and the detail, whole and uncut.
pub fn page(model: &Model) -> String {
    let level = model.level();
    let writing =
        columns::Writing { now: model.now, zone: &model.fixed.zone, charset: model.fixed.charset };
    let mut lines = vec![level.listing.title()];
    for item in shown(level) {
        let cells = columns::cells(item, writing);
        let cells: Vec<String> = cells.iter().map(crate::text::Line::text).collect();
        lines.push(cells.join("  ").trim_end().to_owned());
    }
    if layout::of(model).detail_rows > 0 {
        lines.push(String::new());
        lines.extend(detail::lines(model).iter().map(crate::text::Line::text));
    }
    lines.join("\n")
}

//! What a rig says: its steps while it works, and one line for the table of `docs/reliability.md` at the end.

use std::io::Write;

use crate::measure::machine;

/// Says on standard output where it stands, at once.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever listened may be gone; what counts is the exit status.
    let _gone = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A line for the table: what was run and what came of it.
pub fn row(command: &str, programs: &str, figures: &[(&str, String)]) -> String {
    let figures: Vec<String> =
        figures.iter().map(|(what, figure)| format!("{what} {figure}")).collect();
    format!("| `{command}` | {programs} | {} |", figures.join("; "))
}

/// The machine in one line.
pub fn machine() -> String {
    let wanted = ["processor", "cores", "memory", "kernel", "load average at the start"];
    let lines = machine::describe(std::path::Path::new("/"));
    let lines = lines.into_iter().filter(|(what, _)| wanted.contains(what));
    lines.map(|(what, how)| format!("{what} {how}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_command_its_programs_and_figures() {
        let figures = [("cuts", "20".to_owned()), ("lost", "0".to_owned())];
        assert_eq!(row("x 20", "debug", &figures), "| `x 20` | debug | cuts 20; lost 0 |");
    }
}

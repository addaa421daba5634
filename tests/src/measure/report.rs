//! The report: all that was measured, as one page of Markdown. Every character of it comes from here or from a
//! measurement.

use std::fmt::Write;

use crate::measure::figure::{
    Base, BaseSample, Measured, Summary, Target, Unit, Verdict, summarise,
};
use crate::measure::machine::Description;

/// A case that has run, or has failed to.
#[derive(Clone, Debug)]
pub struct CaseReport {
    pub name: &'static str,
    pub title: &'static str,
    pub measured: Vec<Measured>,
    /// Why it could not be measured to its end.
    pub failure: Option<String>,
    /// What else is worth knowing, one sentence each.
    pub notes: Vec<String>,
    /// Functions that take the processor's time: share in percent and name.
    pub profile: Vec<(f64, String)>,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub date: String,
    pub machine: Description,
    pub how: Vec<String>,
    /// All base lines that were taken in the run.
    pub bases: Vec<BaseSample>,
    pub cases: Vec<CaseReport>,
}

pub fn markdown(report: &Report) -> String {
    let mut page = String::from("# Performance\n\n");
    page += "Written by `cargo bench -p picloud-tests --bench performance`; nothing here is typed by hand.\n";
    let _ = writeln!(page, "Taken {}. {}\n", report.date, summary_line(&report.cases));
    page += "| machine | |\n|---|---|\n";
    for (what, how) in &report.machine {
        let _ = writeln!(page, "| {what} | {} |", cell(how));
    }
    page.push('\n');
    for sentence in &report.how {
        let _ = writeln!(page, "- {sentence}");
    }
    page += "\n## Base lines\n\n| | what | median | spread |\n|---|---|---|---|\n";
    for base in Base::ALL {
        let samples: Vec<f64> = report
            .bases
            .iter()
            .flatten()
            .filter(|(known, _)| *known == base)
            .map(|(_, value)| *value)
            .collect();
        if let Some(all) = summarise(&samples) {
            let (median, spread) = shown(all, base.unit());
            let _ =
                writeln!(page, "| {} | {} | {median} | {spread} |", base.symbol(), base.meaning());
        }
    }
    page += "\n## Figures\n\n";
    page +=
        "| case | figure | median | spread | judged | target | |\n|---|---|---|---|---|---|---|\n";
    for case in &report.cases {
        for measured in &case.measured {
            let _ = writeln!(page, "| {} | {} |", case.name, figure_cells(measured));
        }
    }
    page += "\n## Cases\n";
    for case in &report.cases {
        page += &case_section(case);
    }
    page
}

fn summary_line(cases: &[CaseReport]) -> String {
    let count = |verdict: Verdict| {
        cases.iter().flat_map(|case| &case.measured).filter(|one| one.verdict() == verdict).count()
    };
    format!(
        "Targets: {} met, {} missed, {} worse than half.",
        count(Verdict::Met),
        count(Verdict::Missed),
        count(Verdict::FarMissed)
    )
}

fn figure_cells(measured: &Measured) -> String {
    let line = measured.line;
    let (median, spread) = match summarise(&measured.values) {
        Some(values) => shown(values, line.unit),
        None => ("not measured".to_owned(), String::new()),
    };
    let unit = if line.per.is_some() { Unit::Plain } else { line.unit };
    let per = line.per.map(|base| format!(" {}", base.symbol())).unwrap_or_default();
    let judged = match (line.per, measured.judged()) {
        (Some(_), Some(ratio)) => {
            let (median, spread) = shown(ratio, unit);
            format!("{median}{per} [{spread}]")
        }
        (Some(_), None) | (None, _) => String::new(),
    };
    let target = match line.target {
        Target::AtLeast(target) => format!("≥ {}{per}", unit.show(target)),
        Target::AtMost(target) => format!("≤ {}{per}", unit.show(target)),
        Target::Open => String::new(),
    };
    let verdict = match measured.verdict() {
        Verdict::Met => "met",
        Verdict::Missed => "**missed**",
        Verdict::FarMissed => "**worse than half**",
        Verdict::Open => "",
    };
    format!("{} | {median} | {spread} | {judged} | {target} | {verdict}", line.title)
}

fn shown(summary: Summary, unit: Unit) -> (String, String) {
    let spread = format!("{} … {}", unit.show(summary.low), unit.show(summary.high));
    (unit.show(summary.median), spread)
}

fn case_section(case: &CaseReport) -> String {
    let mut text = format!("\n### {}\n\n{}\n", case.name, case.title);
    if let Some(failure) = &case.failure {
        let _ = writeln!(text, "\nNot measured to its end: {failure}");
    }
    for note in &case.notes {
        let _ = writeln!(text, "\n{note}");
    }
    if !case.profile.is_empty() {
        text += "\n| % of processor time | function |\n|---|---|\n";
        for (share, function) in &case.profile {
            let _ = writeln!(text, "| {share:.1} | `{}` |", cell(function));
        }
    }
    text
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::figure::Line;

    fn line(title: &'static str, per: Option<Base>, target: Target) -> Line {
        Line { value: "answers", title, unit: Unit::PerSecond, per, target }
    }

    #[test]
    fn the_page_shows_every_figure_with_base_line_target_and_verdict() {
        let before = vec![(Base::Fdatasync, 1_000.0)];
        let mut measured = [
            line("answers", Some(Base::Fdatasync), Target::AtLeast(3.0)),
            line("answers again", Some(Base::Fdatasync), Target::AtLeast(10.0)),
            line("shown only", None, Target::Open),
            Line { value: "absent", ..line("never came", None, Target::AtMost(1.0)) },
        ]
        .map(Measured::new);
        for answers in [4_000.0, 5_000.0, 12_000.0] {
            for one in &mut measured {
                one.take(&vec![("answers", answers)], &before, &before);
            }
        }
        let report = Report {
            date: "2026-01-02".to_owned(),
            machine: vec![("kernel", "6.1|x".to_owned())],
            how: vec!["Three rounds.".to_owned()],
            bases: vec![before.clone(), before],
            cases: vec![CaseReport {
                name: "async",
                title: "An async route.",
                measured: measured.to_vec(),
                failure: Some("the daemon died".to_owned()),
                notes: vec!["A note.".to_owned()],
                profile: vec![(12.34, "a|b".to_owned())],
            }],
        };
        insta::assert_snapshot!(markdown(&report));
    }
}

//! The report: all that was measured, as one page of Markdown. Every character of it comes from here or from a
//! measurement.

use std::fmt::Write;

use anyhow::Context;

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

/// The page of an earlier run, with the cases of this one in the place of what it has of them, and behind the others those
/// that it has not. Base lines and machine stay those of the run before: a case's own notes say what is different.
pub fn taken_again(page: &str, report: &Report) -> anyhow::Result<String> {
    let (head, rest) = page.split_once("\n## Figures\n").context("the page has no figures")?;
    let (table, sections) = rest.split_once("\n## Cases\n").context("the page has no cases")?;
    let mut rows: Vec<String> = table.lines().map(str::to_owned).collect();
    let mut sections: Vec<String> =
        sections.split("\n### ").skip(1).map(|section| format!("\n### {section}")).collect();
    for case in &report.cases {
        let own = |measured| format!("| {} | {} |", case.name, figure_cells(measured));
        let own_rows = case.measured.iter().map(own);
        let begin = format!("| {} |", case.name);
        let at = rows.iter().position(|row| row.starts_with(&begin));
        rows.retain(|row| !row.starts_with(&begin));
        let at = at.unwrap_or(rows.len());
        rows.splice(at..at, own_rows);
        let title = format!("\n### {}\n", case.name);
        let own = format!("{}\nTaken {}.\n", case_section(case), report.date);
        match sections.iter_mut().find(|section| section.starts_with(&title)) {
            Some(section) => *section = own,
            None => sections.push(own),
        }
    }
    let count = |verdict: &str| rows.iter().filter(|row| row.ends_with(verdict)).count();
    let counts = [count("| met |"), count("| **missed** |"), count("| **worse than half** |")];
    let head: Vec<String> = head
        .lines()
        .map(|line| match line.strip_prefix("Taken ").and_then(|line| line.split_once(". ")) {
            Some((date, _)) => format!("Taken {date}. {}", summary(counts)),
            None => line.to_owned(),
        })
        .collect();
    let (head, rows) = (head.join("\n"), rows.join("\n"));
    Ok(format!("{head}\n\n## Figures\n{rows}\n\n## Cases\n{}", sections.concat()))
}

fn summary_line(cases: &[CaseReport]) -> String {
    let count = |verdict: Verdict| {
        cases.iter().flat_map(|case| &case.measured).filter(|one| one.verdict() == verdict).count()
    };
    summary([count(Verdict::Met), count(Verdict::Missed), count(Verdict::FarMissed)])
}

fn summary([met, missed, far]: [usize; 3]) -> String {
    format!("Targets: {met} met, {missed} missed, {far} worse than half.")
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

    /// A run with one case, whose first figure is these answers a second.
    fn run(name: &'static str, answers: [f64; 3]) -> Report {
        let before = vec![(Base::Fdatasync, 1_000.0)];
        let mut measured = [
            line("answers", Some(Base::Fdatasync), Target::AtLeast(3.0)),
            line("answers again", Some(Base::Fdatasync), Target::AtLeast(10.0)),
            line("shown only", None, Target::Open),
            Line { value: "absent", ..line("never came", None, Target::AtMost(1.0)) },
        ]
        .map(Measured::new);
        for answers in answers {
            for one in &mut measured {
                one.take(&vec![("answers", answers)], &before, &before);
            }
        }
        Report {
            date: "2026-01-02".to_owned(),
            machine: vec![("kernel", "6.1|x".to_owned())],
            how: vec!["Three rounds.".to_owned()],
            bases: vec![before.clone(), before],
            cases: vec![CaseReport {
                name,
                title: "An async route.",
                measured: measured.to_vec(),
                failure: Some("the daemon died".to_owned()),
                notes: vec!["A note.".to_owned()],
                profile: vec![(12.34, "a|b".to_owned())],
            }],
        }
    }

    #[test]
    fn the_page_shows_every_figure_with_base_line_target_and_verdict() {
        insta::assert_snapshot!(markdown(&run("async", [4_000.0, 5_000.0, 12_000.0])));
    }

    #[test]
    fn a_case_that_is_taken_again_replaces_what_the_page_has_of_it_and_a_new_one_comes_last() {
        let first = markdown(&run("async", [4_000.0, 5_000.0, 12_000.0]));
        let mut again = run("async", [40_000.0; 3]);
        again.cases.extend(run("sync", [4_000.0; 3]).cases);
        again.date = "2026-01-03".to_owned();
        insta::assert_snapshot!(taken_again(&first, &again).expect("it is a page of ours"));
        assert!(taken_again("# Something else", &again).is_err());
    }
}

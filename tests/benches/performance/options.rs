//! What the benchmark can be asked to do.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cases::{Case, Rounds};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Full,
    /// Short rounds and small backlogs: to see that everything works.
    Quick,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub extent: Extent,
    rounds: u32,
    /// Of one round, and of each base line beside it.
    pub time: Duration,
    pub idle: Duration,
    /// Where stores are kept.
    pub folder: PathBuf,
    /// Instead of the binary that the workspace builds.
    pub picloudd: Option<PathBuf>,
    /// Control groups in which the daemon and the base lines run.
    pub groups: Vec<PathBuf>,
    pub names: Vec<String>,
    pub lists_only: bool,
    /// Whether what is chosen takes the place of what the page has of it.
    pub again: bool,
    page: Option<PathBuf>,
}

const OPTIONS: &str = "\
cargo bench -p picloud-tests --bench performance -- [OPTIONS] [CASE...]

  --quick          short rounds, small backlogs; fails if a case breaks or misses half its target three times
  --rounds N       rounds of each case (3)
  --seconds S      length of a round and of each base line beside it (3; quick: 0.5)
  --idle S         length of the idle window (60; quick: 5)
  --dir DIR        where stores are kept: the file system that is measured
  --picloudd FILE  measure this binary, and those beside it, instead of the workspace's own
  --group DIR      run the daemon and the base lines in this control group; may be given several times. No profiles then
  --out FILE       write the page there (a whole run: docs/performance.md; otherwise it is printed)
  --again          the cases that are named replace what docs/performance.md has of them
  --help           this, and the cases

Cases:
";

pub fn help(cases: &[Case]) -> String {
    let mut text = OPTIONS.to_owned();
    for case in cases {
        let _ = writeln!(text, "  {:<16} {}", case.name, case.title);
    }
    text
}

pub fn parse(arguments: &[String]) -> Result<Options> {
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let mut options = Options {
        extent: if quick { Extent::Quick } else { Extent::Full },
        rounds: 3,
        time: Duration::from_secs_f64(if quick { 0.5 } else { 3.0 }),
        idle: Duration::from_secs(if quick { 5 } else { 60 }),
        folder: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("performance"),
        picloudd: None,
        groups: Vec::new(),
        names: Vec::new(),
        lists_only: false,
        again: false,
        page: None,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            // cargo adds `--bench`.
            "--quick" | "--bench" => {}
            "--rounds" => options.rounds = value()?.parse().context("--rounds wants a number")?,
            "--seconds" => options.time = seconds(value()?)?,
            "--idle" => options.idle = seconds(value()?)?,
            "--dir" => options.folder = PathBuf::from(value()?),
            "--picloudd" => options.picloudd = Some(PathBuf::from(value()?)),
            "--group" => options.groups.push(PathBuf::from(value()?)),
            "--out" => options.page = Some(PathBuf::from(value()?)),
            "--again" => options.again = true,
            "--help" | "--list" => options.lists_only = true,
            _ if argument.starts_with('-') => bail!("unknown option {argument}; see --help"),
            _ => options.names.push(argument.clone()),
        }
    }
    if options.again && options.names.is_empty() {
        bail!("--again wants the names of cases; without any, all are taken");
    }
    Ok(options)
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 =
        text.parse().with_context(|| format!("\"{text}\" is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).with_context(|| format!("{seconds} s is out of range"))
}

impl Options {
    pub fn choose<'a>(&self, cases: &'a [Case]) -> Result<Vec<&'a Case>> {
        if self.names.is_empty() {
            return Ok(cases.iter().collect());
        }
        let find = |name: &String| {
            let case = cases.iter().find(|case| case.name == name);
            case.with_context(|| format!("no case \"{name}\"; see --help"))
        };
        self.names.iter().map(find).collect()
    }

    pub fn page(&self) -> Option<PathBuf> {
        let whole = self.extent == Extent::Full && self.names.is_empty();
        let docs = || PathBuf::from("docs/performance.md");
        self.page.clone().or_else(|| (whole || self.again).then(docs))
    }

    /// How the figures were taken, in sentences.
    pub fn how(&self) -> Vec<String> {
        let (rounds, seconds) = (self.rounds, self.time.as_secs_f64());
        let mut how = vec![
            format!(
                "{rounds} rounds of {seconds} s unless the case says otherwise; the base lines are taken before and \
                 after each round, for as long. A ratio is a round's figure by the mean of the two around it."
            ),
            "The daemon is the release build of `picloudd` as a process of its own, its log at the default level and \
             thrown away; the load comes from one thread on keep-alive connections (64 unless the case says \
             otherwise) on the same machine, without pipelining."
                .to_owned(),
            "Every request carries a number of its own, so that no write repeats the bytes that are stored.".to_owned(),
        ];
        if !self.groups.is_empty() {
            how.push(
                "The daemon and what the base lines are measured with run in a control group, the load does not."
                    .to_owned(),
            );
        }
        if self.extent == Extent::Quick {
            how.push(
                "A quick run: it shows that the figures can be taken, not what they are."
                    .to_owned(),
            );
        }
        how
    }

    pub fn rounds_of(&self, case: &Case) -> u32 {
        match (case.rounds, self.extent) {
            (Rounds::AsAsked, _) | (Rounds::OneIfQuick, Extent::Full) => self.rounds,
            (Rounds::OneIfQuick, Extent::Quick) | (Rounds::One, _) => 1,
        }
    }

    /// A size for a full run, or a smaller one for a quick run.
    pub fn size(&self, full: i64, quick: i64) -> i64 {
        match self.extent {
            Extent::Full => full,
            Extent::Quick => quick,
        }
    }
}

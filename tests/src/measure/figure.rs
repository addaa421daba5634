//! Figures: what rounds gave, as a median with its spread, and how that stands to a target.
//!
//! Machines differ and are noisy, so most figures are ratios to a base line that was taken just before and just
//! after the round.

/// A base line: a program that does the least that the case cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// Answers a second of bare axum.
    AxumAnswers,
    /// Processor time of one answer of bare axum, in microseconds.
    AxumCpu,
    /// Writes of 4 KiB with fdatasync, a second.
    Fdatasync,
    /// The same, each 10 ms slower.
    SlowFdatasync,
    /// Rows a second through inserts, claims and deletes in batches on SQLite alone.
    Sqlite,
}

impl Base {
    pub const ALL: [Base; 5] =
        [Self::AxumAnswers, Self::AxumCpu, Self::Fdatasync, Self::SlowFdatasync, Self::Sqlite];

    /// As in the tables.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::AxumAnswers => "A",
            Self::AxumCpu => "A's CPU",
            Self::Fdatasync => "F",
            Self::SlowFdatasync => "F+10ms",
            Self::Sqlite => "S",
        }
    }

    pub fn meaning(self) -> &'static str {
        match self {
            Self::AxumAnswers => "bare axum, one thread, a constant JSON: answers a second",
            Self::AxumCpu => "… and its processor time an answer",
            Self::Fdatasync => "append 4 KiB and fdatasync, a second",
            Self::SlowFdatasync => "the same with each fdatasync 10 ms slower",
            Self::Sqlite => {
                "rows a second inserted, claimed and deleted on SQLite alone, 1,000 a commit"
            }
        }
    }

    pub fn unit(self) -> Unit {
        match self {
            Self::AxumCpu => Unit::Micros,
            Self::AxumAnswers | Self::Fdatasync | Self::SlowFdatasync | Self::Sqlite => {
                Unit::PerSecond
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Micros,
    Millis,
    Bytes,
    /// A ratio or a count.
    Plain,
}

impl Unit {
    /// A value in this unit, with three digits that count.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", digits(value)),
            Self::Micros => format!("{} µs", digits(value)),
            Self::Millis => format!("{} ms", digits(value)),
            Self::Plain => digits(value),
            Self::Bytes if value.abs() < 10_000.0 => format!("{} B", digits(value)),
            Self::Bytes if value.abs() < 1e6 => format!("{} kB", digits(value / 1e3)),
            Self::Bytes => format!("{} MB", digits(value / 1e6)),
        }
    }
}

/// Three digits that count, thousands apart.
fn digits(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if size < 0.095 {
        return format!("{value:.4}");
    }
    if size < 9.95 {
        return format!("{value:.2}");
    }
    if size < 99.5 {
        return format!("{value:.1}");
    }
    let whole = format!("{size:.0}");
    let mut spaced = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            spaced.push(',');
        }
        spaced.push(digit);
    }
    if value < 0.0 { format!("-{spaced}") } else { spaced }
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Shown, not judged.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// Worse than half of the target: no noise explains that.
    FarMissed,
    Open,
}

impl Target {
    pub fn verdict(self, value: f64) -> Verdict {
        let (met, near) = match self {
            Self::AtLeast(target) => (value >= target, value >= target / 2.0),
            Self::AtMost(target) => (value <= target, value <= target * 2.0),
            Self::Open => return Verdict::Open,
        };
        match (met, near) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Missed,
            (false, false) => Verdict::FarMissed,
        }
    }
}

/// The middle of some samples, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

/// `None` without samples.
pub fn summarise(samples: &[f64]) -> Option<Summary> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    } else {
        sorted[middle]
    };
    Some(Summary { median, low, high })
}

/// Base lines taken at one moment. A case names those that it needs.
pub type BaseSample = Vec<(Base, f64)>;

/// The base line of a round: the mean of the one before it and the one after it.
pub fn between(before: &BaseSample, after: &BaseSample, base: Base) -> Option<f64> {
    let find = |sample: &BaseSample| {
        sample.iter().find(|(known, _)| *known == base).map(|(_, value)| *value)
    };
    Some((find(before)? + find(after)?) / 2.0)
}

/// One figure of a case: what it is, and how it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Names the value that a round returns; several lines may judge one value.
    pub value: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    /// Judged as a ratio to this.
    pub per: Option<Base>,
    pub target: Target,
}

/// What one round of a case gave: values by name.
pub type Round = Vec<(&'static str, f64)>;

/// A line with the samples of all rounds.
#[derive(Clone, Debug)]
pub struct Measured {
    pub line: Line,
    pub values: Vec<f64>,
    /// Empty for a line without base.
    pub ratios: Vec<f64>,
}

impl Measured {
    pub fn new(line: Line) -> Measured {
        Measured { line, values: Vec::new(), ratios: Vec::new() }
    }

    /// Takes this line's value from a round that lies between two base samples.
    pub fn take(&mut self, round: &Round, before: &BaseSample, after: &BaseSample) {
        let Some((_, value)) = round.iter().find(|(name, _)| *name == self.line.value) else {
            return;
        };
        self.values.push(*value);
        if let Some(base) = self.line.per.and_then(|per| between(before, after, per)) {
            self.ratios.push(value / base);
        }
    }

    /// What the target is about: the ratios, or the values of a line without base.
    pub fn judged(&self) -> Option<Summary> {
        summarise(if self.line.per.is_some() { &self.ratios } else { &self.values })
    }

    /// A line with a target that was not measured is missed.
    pub fn verdict(&self) -> Verdict {
        match (self.judged(), self.line.target) {
            (_, Target::Open) => Verdict::Open,
            (Some(summary), target) => target.verdict(summary.median),
            (None, Target::AtLeast(_) | Target::AtMost(_)) => Verdict::FarMissed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Line = Line {
        value: "answers",
        title: "answers",
        unit: Unit::PerSecond,
        per: Some(Base::Fdatasync),
        target: Target::AtLeast(3.0),
    };

    #[test]
    fn the_median_is_the_middle_and_the_spread_the_ends() {
        assert_eq!(summarise(&[]), None);
        let odd = summarise(&[9.0, 1.0, 2.0]).unwrap();
        assert_eq!(odd, Summary { median: 2.0, low: 1.0, high: 9.0 });
        assert_eq!(summarise(&[1.0, 2.0, 3.0, 40.0]).unwrap().median, 2.5);
    }

    #[test]
    fn a_round_is_compared_with_the_base_lines_on_both_sides_of_it() {
        let mut measured = Measured::new(LINE);
        let (before, after) = (vec![(Base::Fdatasync, 90.0)], vec![(Base::Fdatasync, 110.0)]);
        measured.take(&vec![("answers", 350.0), ("other", 1.0)], &before, &after);
        assert_eq!(
            (measured.values.as_slice(), measured.ratios.as_slice()),
            (&[350.0][..], &[3.5][..])
        );
        assert_eq!(measured.verdict(), Verdict::Met);
    }

    #[test]
    fn a_figure_worse_than_half_its_target_is_far_from_it() {
        for (target, value, verdict) in [
            (Target::AtLeast(4.0), 4.0, Verdict::Met),
            (Target::AtLeast(4.0), 2.0, Verdict::Missed),
            (Target::AtLeast(4.0), 1.9, Verdict::FarMissed),
            (Target::AtMost(4.0), 4.0, Verdict::Met),
            (Target::AtMost(4.0), 8.0, Verdict::Missed),
            (Target::AtMost(4.0), 8.1, Verdict::FarMissed),
            (Target::AtMost(0.0), 0.0, Verdict::Met),
            (Target::AtMost(0.0), 1.0, Verdict::FarMissed),
            (Target::Open, 1.0, Verdict::Open),
        ] {
            assert_eq!(target.verdict(value), verdict, "{target:?} {value}");
        }
    }

    #[test]
    fn a_figure_that_was_not_measured_has_not_reached_its_target() {
        assert_eq!(Measured::new(LINE).verdict(), Verdict::FarMissed);
        let mut measured = Measured::new(LINE);
        measured.take(&vec![("answers", 350.0)], &vec![], &vec![]);
        assert_eq!(measured.verdict(), Verdict::FarMissed, "no base line, no ratio");
    }

    #[test]
    fn values_are_shown_with_three_digits_that_count() {
        for (unit, value, text) in [
            (Unit::PerSecond, 138_204.4, "138,204/s"),
            (Unit::Micros, 9.5, "9.50 µs"),
            (Unit::Millis, 12.34, "12.3 ms"),
            (Unit::Plain, 0.0312, "0.0312"),
            (Unit::Bytes, 0.0, "0 B"),
            (Unit::Bytes, 2_913.0, "2,913 B"),
            (Unit::Bytes, 11_900_000.0, "11.9 MB"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }
}

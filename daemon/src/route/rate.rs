//! How often each caller may call: a bucket of calls that fills evenly, for each caller of each route.
//!
//! Pure: the time is a parameter. A bucket is one moment, the one at which it is full again, so one that is full need not be
//! kept at all.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{PrincipalId, RouteId};

/// Calls of a time: as many at once, and then as they come back, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Rate {
    Unlimited,
    Limited { count: u32, per: Per },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    Second,
    Minute,
    Hour,
}

/// Calls of one time.
pub const COUNT_MAX: u32 = 100_000;

impl Per {
    const ALL: [Per; 3] = [Self::Second, Self::Minute, Self::Hour];

    fn letter(self) -> char {
        match self {
            Self::Second => 's',
            Self::Minute => 'm',
            Self::Hour => 'h',
        }
    }

    fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        if text == "none" {
            return Ok(Rate::Unlimited);
        }
        let wrong =
            || format!("\"{text}\" is neither \"none\" nor like \"10/s\", \"100/m\" or \"1000/h\"");
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let per = Per::ALL.into_iter().find(|one| one.letter().to_string() == per);
        let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let per = per.filter(|_| is_number).ok_or_else(wrong)?;
        match count.parse() {
            Ok(count) if (1..=COUNT_MAX).contains(&count) => Ok(Rate::Limited { count, per }),
            Ok(_) | Err(_) => {
                Err(format!("\"{text}\" has {count} calls; 1 to {COUNT_MAX} are allowed"))
            }
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("none"),
            Self::Limited { count, per } => write!(f, "{count}/{}", per.letter()),
        }
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Rate, String> {
        text.parse()
    }
}

/// Whose calls are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    Principal(PrincipalId),
    /// An address, or what stands for all addresses of one host.
    Address(IpAddr),
}

/// The buckets of all callers that are not full.
///
/// When there are too many of them, those who are here keep theirs: callers that come then share one bucket for each route. So
/// a crowd can neither empty the table nor grow it.
#[derive(Debug)]
pub struct Meter {
    callers: HashMap<(RouteId, Counted), Full>,
    shared: HashMap<RouteId, Full>,
    callers_max: usize,
    /// When it is looked for full buckets again.
    swept_until: Duration,
}

/// When a bucket is full.
type Full = Duration;

/// Looking for full buckets costs a look at each, so it is not done more often.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);

impl Meter {
    pub fn new(callers_max: usize) -> Meter {
        Meter {
            callers: HashMap::new(),
            shared: HashMap::new(),
            callers_max,
            swept_until: Duration::ZERO,
        }
    }

    /// Counts a call, or says after which time one will be allowed. A call that is refused counts for nothing.
    pub fn take(
        &mut self,
        route: RouteId,
        who: Counted,
        rate: Rate,
        now: Duration,
    ) -> Result<(), Duration> {
        let Rate::Limited { count, per } = rate else { return Ok(()) };
        let each = Duration::from_secs(per.seconds()) / count;
        let whole = each * count;
        let full = self.bucket(route, who, now);
        // A bucket that was made under another rate may be further from full than one of this rate can be.
        *full = (*full).clamp(now, now + whole);
        let after = *full + each;
        let wait = after.saturating_sub(now + whole);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        *full = after;
        Ok(())
    }

    fn bucket(&mut self, route: RouteId, who: Counted, now: Duration) -> &mut Full {
        let key = (route, who);
        if !self.callers.contains_key(&key) && self.callers.len() >= self.callers_max {
            self.sweep(now);
            if self.callers.len() >= self.callers_max {
                return self.shared.entry(route).or_insert(now);
            }
        }
        self.callers.entry(key).or_insert(now)
    }

    fn sweep(&mut self, now: Duration) {
        if now < self.swept_until {
            return;
        }
        self.swept_until = now + SWEEP_PAUSE;
        self.callers.retain(|_, full| *full > now);
        self.shared.retain(|_, full| *full > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: RouteId = RouteId(1);

    fn rate(text: &str) -> Rate {
        text.parse().expect("a rate")
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn address(n: u32) -> Counted {
        Counted::Address(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn a_rate_reads_back_from_its_text() {
        for text in ["none", "1/s", "10/s", "100/m", "1000/h", "100000/h"] {
            assert_eq!(rate(text).to_string(), text);
        }
        for (text, expected) in [
            ("", "\"\" is neither \"none\" nor like \"10/s\""),
            ("10", "is neither"),
            ("/s", "is neither"),
            ("10/", "is neither"),
            ("10/d", "is neither"),
            ("10/second", "is neither"),
            ("+1/s", "is neither"),
            ("1.5/s", "is neither"),
            ("10 /s", "is neither"),
            ("0/s", "has 0 calls; 1 to 100000 are allowed"),
            ("100001/s", "has 100001 calls"),
            ("99999999999/s", "has 99999999999 calls"),
        ] {
            let error = text.parse::<Rate>().expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_caller_may_call_so_often_at_once_and_then_as_the_time_passes() {
        let mut meter = Meter::new(10);
        let mut call = |at| meter.take(ROUTE, address(1), rate("4/m"), at);
        for _ in 0..4 {
            assert_eq!(call(ms(5_000)), Ok(()));
        }
        assert_eq!(call(ms(5_000)), Err(ms(15_000)));
        assert_eq!(call(ms(12_000)), Err(ms(8_000)), "a refused call counts for nothing");
        assert_eq!(call(ms(20_000)), Ok(()));
        assert_eq!(call(ms(20_000)), Err(ms(15_000)));
        for _ in 0..4 {
            assert_eq!(call(ms(600_000)), Ok(()), "no more than a whole bucket is saved up");
        }
        assert_eq!(call(ms(600_000)), Err(ms(15_000)));
    }

    #[test]
    fn every_rate_allows_just_as_many_calls_at_once() {
        for text in ["1/s", "3/s", "7/m", "99999/s", "100000/h"] {
            let Rate::Limited { count, .. } = rate(text) else { panic!("it is one") };
            let mut meter = Meter::new(10);
            let mut call = || meter.take(ROUTE, address(1), rate(text), ms(7));
            assert!((0..count).all(|_| call().is_ok()) && call().is_err(), "{text}");
        }
    }

    #[test]
    fn callers_and_routes_are_counted_each_for_itself() {
        let mut meter = Meter::new(10);
        let mut call = |route, who| meter.take(RouteId(route), who, rate("1/h"), ms(1)).is_ok();
        assert!(call(1, address(1)) && !call(1, address(1)));
        assert!(call(1, address(2)) && call(2, address(1)));
        assert!(call(1, Counted::Principal(PrincipalId(1))));
        assert!(!call(1, address(2)));
        assert_eq!(meter.take(ROUTE, address(1), Rate::Unlimited, ms(1)), Ok(()));
    }

    #[test]
    fn p7_a_crowd_neither_grows_the_table_nor_takes_anybody_out_of_it() {
        let mut meter = Meter::new(100);
        let slow = rate("1/h");
        for n in 0..100 {
            assert_eq!(meter.take(ROUTE, address(n), slow, ms(1)), Ok(()));
        }
        let crowd = |meter: &mut Meter, at| {
            (1_000..3_000).filter(|n| meter.take(ROUTE, address(*n), slow, at).is_ok()).count()
        };
        assert_eq!(crowd(&mut meter, ms(2)), 1, "who comes now shares one bucket");
        assert_eq!((meter.callers.len(), meter.shared.len()), (100, 1));
        assert!((0..100).all(|n| meter.take(ROUTE, address(n), slow, ms(3)).is_err()));
        assert_eq!(meter.take(RouteId(2), address(1_000), slow, ms(3)), Ok(()), "another route");
        // Once those buckets are full, their places are free.
        assert_eq!(crowd(&mut meter, ms(3_600_002)), 101);
        assert_eq!(meter.callers.len(), 100);
    }

    #[test]
    fn a_caller_does_not_pay_for_a_rate_that_holds_no_longer() {
        let mut meter = Meter::new(10);
        assert_eq!(meter.take(ROUTE, address(1), rate("1/h"), ms(0)), Ok(()));
        assert_eq!(meter.take(ROUTE, address(1), rate("10/s"), ms(0)), Err(ms(100)));
        assert_eq!(meter.take(ROUTE, address(1), rate("10/s"), ms(100)), Ok(()));
    }
}

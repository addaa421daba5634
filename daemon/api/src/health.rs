//! Whether all is well: the answers to `GET /doctor`, `/healthz` and `/readyz`.

use serde::{Deserialize, Serialize};

/// The states of a check.
pub const OK: &str = "ok";
pub const WARN: &str = "warn";
pub const BAD: &str = "bad";

/// The answer to `GET /doctor`: all checks, whatever came of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Checks {
    pub checks: Vec<Check>,
    pub now: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Check {
    pub name: String,
    /// `ok`, `warn` or `bad`.
    pub state: String,
    pub text: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    /// 0: nothing is wrong.
    pub fn badness(&self) -> u8 {
        match self.state.as_str() {
            OK => 0,
            WARN => 1,
            _ => 2,
        }
    }

    /// How people are shown it: a line, and one with what to do.
    pub fn lines(&self) -> Vec<String> {
        let mark = ["✓", "▲", "✗"][usize::from(self.badness())];
        let mut lines = vec![format!("{mark} {:12} {}", self.name, self.text)];
        lines.extend(self.remedy.iter().map(|remedy| format!("  {:12} {remedy}", "")));
        lines
    }
}

/// The worst first; what is equally bad stays in its order.
pub fn worst_first(checks: &mut [Check]) {
    checks.sort_by_key(|check| std::cmp::Reverse(check.badness()));
}

/// The answer to `GET /healthz` and `GET /readyz`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Healthy {
    /// `ok` or `ready`.
    pub is: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_with_what_to_do() {
        let check = |name: &str, state: &str| Check {
            name: name.to_owned(),
            state: state.to_owned(),
            text: "text".to_owned(),
            remedy: (state != OK).then(|| "do".to_owned()),
        };
        let mut checks = [check("a", OK), check("b", WARN), check("c", BAD), check("d", WARN)];
        worst_first(&mut checks);
        let lines: Vec<String> = checks.iter().flat_map(Check::lines).collect();
        assert_eq!(
            lines,
            [
                "✗ c            text",
                "               do",
                "▲ b            text",
                "               do",
                "▲ d            text",
                "               do",
                "✓ a            text",
            ]
        );
    }
}

//! The load generator itself, against one that is known.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use picloud_tests::measure::figure::{Base, Round, Target, Unit};

use super::{Case, Profiled, Rounds, line, ratio};
use crate::base::{self, CONNECTIONS};

pub const GENERATOR: Case = Case {
    name: "load",
    title: "The base lines alone, and what wrk (one thread, 64 connections) gets out of bare axum where the built-in \
            load generator gets A.",
    bases: &Base::ALL,
    lines: &[
        ratio("wrk", "answers to wrk", Base::AxumAnswers, Target::Open),
        ratio(
            "wrk_cpu",
            "server's processor time an answer, under wrk",
            Base::AxumCpu,
            Target::Open,
        ),
        line("wrk_p50", "p50 as wrk sees it", Unit::Millis, Target::Open),
    ],
    rounds: Rounds::AsAsked,
    profiled: Profiled::No,
    round: |ground| {
        let wrk = base::with_axum(&ground.limits, |address, process| {
            let before = process.cpu()?;
            let (answers, rate, median) = wrk(address, ground.options.time)?;
            let spent = process.cpu()?.saturating_sub(before).as_secs_f64();
            Ok(vec![("wrk", rate), ("wrk_cpu", spent * 1e6 / answers), ("wrk_p50", median)])
        });
        Ok(wrk.unwrap_or_else(|error| {
            ground.note(format!("Not compared with wrk: {error:#}."));
            Round::new()
        }))
    },
};

/// Answers, answers a second, and the median in milliseconds.
fn wrk(address: SocketAddr, time: Duration) -> Result<(f64, f64, f64)> {
    let seconds = time.as_secs().max(1);
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), "--latency"])
        .arg(format!("http://{address}/hello"))
        .output()
        .context("wrk is not installed")?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).with_context(|| format!("wrk said {text:.200}"))
}

fn parse(text: &str) -> Option<(f64, f64, f64)> {
    let after =
        |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim);
    let answers = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0;
    let median = after("50%")?;
    let median = match median.strip_suffix("us") {
        Some(micros) => micros.parse::<f64>().ok()? / 1e3,
        None => median.strip_suffix("ms")?.parse().ok()?,
    };
    Some((answers.parse().ok()?, after("Requests/sec:")?.parse().ok()?, median))
}

//! Power cuts: whatever was acknowledged is there when the power is back, once, and the store is whole.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::appliance::card::{Card, Cut, Loss};
use crate::appliance::record::say;
use crate::appliance::stage::{self, READY_MAX};
use crate::chance::Chance;
use crate::daemon::{Daemon, Launch, Site};
use crate::ledger::{self, Ledger};
use crate::wait;

/// Cuts that one card goes through; damage adds up, as on a real one.
const CUTS_A_CARD: u64 = 10;
/// A card's size.
const MIB: u32 = 128;
/// For so long clients work at most before a cut, in milliseconds.
const LOAD_MS_MAX: u64 = 1_500;
/// Requests that the card still answers at most after the cut was wished for.
const LATER_MAX: u64 = 12;
/// Cuts within which a daemon that acknowledges too early must be caught.
const PROOF_CUTS_MAX: u64 = 12;

#[derive(Clone, Debug)]
pub struct Plan {
    pub card: PathBuf,
    pub card_script: PathBuf,
    pub cuts: u64,
    pub seed: u64,
    /// `PICLOUD_FAULT` of the daemon.
    pub fault: Option<String>,
    /// Whether the card answers flushes and keeps nothing.
    pub lies: Lies,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    Yes,
    No,
}

/// What a run of cuts came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub cuts: u64,
    pub answered: u64,
    pub loss: Loss,
    pub slowest_start: Duration,
}

/// One card, its site, and what its clients were told.
struct World {
    card: Card,
    site: Site,
    ledger: Ledger,
    lives: u64,
}

impl World {
    fn new(plan: &Plan) -> Result<World> {
        let card = Card::make(&plan.card, &plan.card_script, MIB)?;
        card.plug()?;
        // A row that is alone with the daemon when it dies is not to be charged for the power.
        let site = stage::site_on(&card, "[limits.store]\nfree_bytes_min = 1_000_000")?;
        let (daemon, _) = stage::start(&site, Launch::default())?;
        site.deploy(&ledger::app());
        daemon.stop();
        Ok(World { card, site, ledger: Ledger::default(), lives: 0 })
    }

    fn start(&self, plan: &Plan) -> Result<(Daemon, Duration)> {
        let launch = Launch { fault: plan.fault.as_deref(), ..Launch::default() };
        stage::start(&self.site, launch)
    }

    /// Load, a cut in the middle of it, and a look at what is there when the power is back.
    fn cut(&mut self, plan: &Plan, daemon: Daemon, chance: &mut Chance) -> Result<Cutting> {
        let load = Duration::from_millis(200 + chance.below(LOAD_MS_MAX - 200));
        let kind = kind(chance);
        let (later, seed) = (chance.below(LATER_MAX), chance.number());
        if plan.lies == Lies::Yes {
            self.card.lie()?;
        }
        // Half of the cuts meet a card that takes its time, so that they come while it flushes.
        self.card.slow(Duration::from_millis(chance.below(2) * 4), 0)?;
        self.lives += 1;
        let life = (Chance::new(chance.number(), 0), self.lives);
        let card = &self.card;
        let loss = stage::under_load(&self.ledger, daemon, life, |daemon| {
            wait::pass(load);
            let loss = card.cut(kind, later, seed);
            daemon.kill();
            loss
        })?;
        self.card.replug().context("the file system does not come back")?;
        let (daemon, took) = self.start(plan)?;
        ensure!(took <= READY_MAX, "ready only after {took:.1?}");
        stage::check(&self.site, &self.ledger, &daemon)?;
        Ok(Cutting { kind, load, loss, took, daemon })
    }
}

/// Mostly torn or gone; now and then everything is kept, for comparison.
fn kind(chance: &mut Chance) -> Cut {
    match chance.below(10) {
        0..=3 => Cut::Nothing,
        4..=7 => Cut::Random,
        8 => Cut::FirstFew,
        _ => Cut::Everything,
    }
}

struct Cutting {
    kind: Cut,
    load: Duration,
    loss: Loss,
    took: Duration,
    daemon: Daemon,
}

/// Cuts the power until it has been cut often enough or something acknowledged is lost.
pub fn run(plan: &Plan) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut chance = Chance::new(plan.seed, 20);
    while tally.cuts < plan.cuts {
        let mut world = World::new(plan)?;
        let done = on_one_card(plan, &mut world, &mut tally, &mut chance);
        tally.answered += world.ledger.answered();
        world.card.unplug()?;
        done?;
    }
    Ok(tally)
}

fn on_one_card(
    plan: &Plan,
    world: &mut World,
    tally: &mut Tally,
    chance: &mut Chance,
) -> Result<()> {
    let (mut daemon, _) = world.start(plan)?;
    for _ in 0..CUTS_A_CARD.min(plan.cuts - tally.cuts) {
        tally.cuts += 1;
        let before = world.ledger.answered();
        let cut = world.cut(plan, daemon, chance);
        let cut = cut.with_context(|| format!("cut {} of seed {}", tally.cuts, plan.seed))?;
        daemon = cut.daemon;
        tally.loss.writes += cut.loss.writes;
        tally.loss.bytes += cut.loss.bytes;
        tally.slowest_start = tally.slowest_start.max(cut.took);
        say(&format!(
            "cut {}: {:?} after {} ms, {} answers, {} un-flushed writes, {} bytes gone; ready after {} ms, all there once",
            tally.cuts,
            cut.kind,
            cut.load.as_millis(),
            world.ledger.answered() - before,
            cut.loss.writes,
            cut.loss.bytes,
            cut.took.as_millis(),
        ));
    }
    daemon.kill();
    Ok(())
}

/// Shows that a daemon which acknowledges before a flush is caught: at which cut each was.
pub fn prove(plan: &Plan) -> Result<Vec<(&'static str, u64)>> {
    let mut caught = Vec::new();
    for fault in ["synchronous:off", "synchronous:normal"] {
        let plan = Plan { fault: Some(fault.to_owned()), cuts: PROOF_CUTS_MAX, ..plan.clone() };
        match run(&plan) {
            Ok(tally) => bail!("{fault} was not caught by {} cuts", tally.cuts),
            Err(error) => {
                let why = format!("{error:#}");
                ensure!(is_loss(&why), "{fault} failed otherwise: {why}");
                say(&format!(
                    "{fault} was caught: {}",
                    why.lines().take(3).collect::<Vec<_>>().join(" ")
                ));
                caught.push((fault, cut_number(&why)));
            }
        }
    }
    Ok(caught)
}

/// Whether this is what was looked for, and not a rig that does not work.
fn is_loss(why: &str) -> bool {
    ["contradictions among", "the store is damaged", "the daemon does not come up"]
        .iter()
        .any(|loss| why.contains(loss))
}

fn cut_number(why: &str) -> u64 {
    let number = why.strip_prefix("cut ").and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

//! `appliance`, the driver of the scripts in `tests/appliance/`: they set up devices and limits, it does the rest.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use picloud_tests::appliance::power_cut::{self, Lies, Plan};
use picloud_tests::appliance::record::{machine, row, say};
use picloud_tests::appliance::{home_use, hostile_lan, slow_card, stage};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    rig: Rig,
}

#[derive(Subcommand)]
enum Rig {
    /// Cuts the power of the card under load.
    PowerCut(PowerCut),
    /// A card that is slow, fails, is full or is left alone.
    SlowCard(SlowCard),
    /// Strangers on the LAN who do their worst.
    HostileLan(HostileLan),
    /// A day in a home, in minutes.
    HomeUse(HomeUse),
}

/// Where the card is made, and by what.
#[derive(Args)]
struct OnCard {
    #[arg(long)]
    card: PathBuf,
    #[arg(long)]
    card_script: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints a line for the table of docs/reliability.md.
    #[arg(long)]
    record: bool,
}

#[derive(Args)]
struct PowerCut {
    #[command(flatten)]
    on: OnCard,
    #[arg(long, default_value_t = 20)]
    cuts: u64,
    /// Shows that daemons which acknowledge too early are caught.
    #[arg(long)]
    prove: bool,
    /// The card answers flushes and keeps nothing.
    #[arg(long)]
    lies: bool,
    /// `PICLOUD_FAULT` of the daemon.
    #[arg(long)]
    fault: Option<String>,
}

#[derive(Args)]
struct SlowCard {
    #[command(flatten)]
    on: OnCard,
    /// Seconds in which an idle daemon may write nothing.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// The name of the one case to play.
    #[arg(long)]
    only: Option<String>,
}

#[derive(Args)]
struct HostileLan {
    /// The control group to run the daemon in.
    #[arg(long)]
    group: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long)]
    record: bool,
}

#[derive(Args)]
struct HomeUse {
    #[command(flatten)]
    on: OnCard,
    /// The control group to run the daemon in.
    #[arg(long)]
    group: Option<PathBuf>,
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// How many times faster the daemon's clock runs.
    #[arg(long, default_value_t = 240)]
    speed: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.rig {
        Rig::PowerCut(rig) => power_cut(rig),
        Rig::SlowCard(rig) => slow_card(rig),
        Rig::HostileLan(rig) => hostile_lan(&rig),
        Rig::HomeUse(rig) => home_use(rig),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn power_cut(rig: PowerCut) -> anyhow::Result<()> {
    let PowerCut { on, cuts, prove, lies, fault } = rig;
    let lies = if lies { Lies::Yes } else { Lies::No };
    let seed = on.seed;
    let plan = Plan { card: on.card, card_script: on.card_script, cuts, seed, fault, lies };
    let (command, figures) = if prove {
        let caught = power_cut::prove(&plan)?;
        let caught = caught.iter().map(|(fault, cut)| (*fault, format!("caught at cut {cut}")));
        (format!("power-cut.sh --prove --seed {seed}"), caught.collect::<Vec<_>>())
    } else {
        let tally = power_cut::run(&plan)?;
        let figures = vec![
            ("cuts", tally.cuts.to_string()),
            ("answers before them", tally.answered.to_string()),
            ("un-flushed writes at the cuts", tally.loss.writes.to_string()),
            ("bytes of them gone", tally.loss.bytes.to_string()),
            ("acknowledged and lost", "0".to_owned()),
            ("applied twice", "0".to_owned()),
            ("slowest start", format!("{} ms", tally.slowest_start.as_millis())),
        ];
        (format!("power-cut.sh {cuts} --seed {seed}"), figures)
    };
    finish(on.record, &command, &figures);
    Ok(())
}

fn slow_card(rig: SlowCard) -> anyhow::Result<()> {
    let SlowCard { on, idle, only } = rig;
    let plan = slow_card::Plan {
        card: on.card,
        card_script: on.card_script,
        seed: on.seed,
        idle: Duration::from_secs(idle),
    };
    let figures = slow_card::run(&plan, only.as_deref())?;
    finish(on.record, &format!("slow-card.sh --idle {idle} --seed {}", on.seed), &figures);
    Ok(())
}

fn hostile_lan(rig: &HostileLan) -> anyhow::Result<()> {
    let plan =
        hostile_lan::Plan { group: hostile_lan::group(rig.group.as_deref()), seed: rig.seed };
    let figures = hostile_lan::run(&plan)?;
    finish(rig.record, &format!("hostile-lan.sh --seed {}", rig.seed), &figures);
    Ok(())
}

fn home_use(rig: HomeUse) -> anyhow::Result<()> {
    let HomeUse { on, group, hours, speed } = rig;
    let plan = home_use::Plan {
        card: on.card,
        card_script: on.card_script,
        group: hostile_lan::group(group.as_deref()),
        hours,
        speed,
        seed: on.seed,
    };
    let mut figures = home_use::run(&plan)?;
    if plan.group.is_none() {
        figures.push(("memory limit", "not tested: no control group".to_owned()));
    }
    let command = format!("home-use.sh --hours {hours} --speed {speed} --seed {}", on.seed);
    finish(on.record, &command, &figures);
    Ok(())
}

fn finish(record: bool, command: &str, figures: &[(&str, String)]) {
    for (what, figure) in figures {
        say(&format!("{what}: {figure}"));
    }
    if record {
        say(&machine());
        say(&row(command, &stage::programs(), figures));
    }
}

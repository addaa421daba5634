//! What happens in one simulation: a list of operations made from a seed.

use picloud_daemon::faults::CrashPoint;
use picloud_daemon::ids::AppId;

use super::apps::APPS;
use crate::chance::Chance;

/// One thing that happens. What it does in detail depends on the world that it meets, and on the seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// A request whose caller waits.
    Ask {
        app: AppId,
        key: Option<u64>,
    },
    /// A request that gets a 202.
    Post {
        app: AppId,
        key: Option<u64>,
    },
    /// An edit from the admin API.
    Edit {
        app: AppId,
    },
    /// So many waiting runs begin.
    Start {
        runs: u64,
    },
    /// Every run reads its next key.
    Proceed,
    /// So many runs end.
    Finish {
        runs: u64,
    },
    /// The writer makes a batch of what is waiting.
    Commit,
    /// Some runs begin, some end, the writer makes a batch.
    Round,
    /// Sync runs last so long that their rows are written.
    Linger,
    Advance {
        ms: i64,
    },
    /// The clock is set.
    Jump {
        ms: i64,
    },
    /// Time passes until the next row is due.
    UntilDue,
    /// The daemon is to die at this point, the `skip`-th time from now.
    Arm {
        point: CrashPoint,
        skip: u64,
    },
    /// The daemon dies between two batches.
    Kill,
    /// The same, and the runtime directory is lost with it.
    PowerCut,
    /// Another owner releases a row that runs here.
    Steal,
    /// A run of a daemon that died wants to end its row.
    LateSettle,
    HangUp,
    /// The disk is nearly full, or has room again.
    DiskFull,
    DiskFree,
    Pause,
    Resume,
    /// The configuration changes.
    Deploy,
    /// The daemon stops in order and starts again.
    Restart,
}

/// Operations of one seed.
pub const OPERATIONS: usize = 240;

pub fn list(seed: u64) -> Vec<Operation> {
    let mut chance = Chance::new(seed, 1);
    (0..OPERATIONS).map(|_| one(&mut chance)).collect()
}

fn one(chance: &mut Chance) -> Operation {
    let app = APPS[usize::from(chance.below(3) == 0)];
    match chance.below(1_000) {
        0..80 => Operation::Ask { app, key: (chance.below(4) == 0).then(|| chance.below(4)) },
        80..140 => Operation::Post { app, key: (chance.below(3) == 0).then(|| chance.below(4)) },
        140..190 => Operation::Edit { app },
        190..290 => Operation::Start { runs: 1 + chance.below(4) },
        290..320 => Operation::Proceed,
        320..420 => Operation::Finish { runs: 1 + chance.below(4) },
        420..580 => Operation::Commit,
        580..760 => Operation::Round,
        760..775 => Operation::Linger,
        775..800 => Operation::Advance { ms: number(chance.below(3_000)) },
        800..806 => Operation::Jump { ms: number(chance.below(7_200_000)) - 3_600_000 },
        806..809 => Operation::Jump { ms: number(chance.below(40)) * 3_600_000 },
        809..860 => Operation::UntilDue,
        860..885 => Operation::Arm {
            point: CrashPoint::ALL[usize::try_from(chance.below(6)).expect("below 6")],
            skip: chance.below(3),
        },
        885..891 => Operation::Kill,
        891..895 => Operation::PowerCut,
        895..905 => Operation::Steal,
        905..915 => Operation::LateSettle,
        915..922 => Operation::HangUp,
        922..926 => Operation::DiskFull,
        926..950 => Operation::DiskFree,
        950..954 => Operation::Pause,
        954..982 => Operation::Resume,
        982..997 => Operation::Deploy,
        _ => Operation::Restart,
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).expect("small")
}

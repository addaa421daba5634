//! Chance that can be had again: numbers from a seed.

/// Seed of a test run: `PICLOUD_SEED`, or always the same one.
pub fn seed() -> u64 {
    wish("PICLOUD_SEED").unwrap_or(20_261_123)
}

/// How often the crash test kills the daemon: `PICLOUD_KILLS`, or 200.
pub fn kills() -> u64 {
    wish("PICLOUD_KILLS").unwrap_or(200)
}

/// How many seeds the simulation plays: `PICLOUD_SEEDS`, or 1,000.
pub fn seeds() -> u64 {
    wish("PICLOUD_SEEDS").unwrap_or(1_000)
}

/// Where the simulation's seeds begin: `PICLOUD_FIRST_SEED`, or 0.
pub fn first_seed() -> u64 {
    wish("PICLOUD_FIRST_SEED").unwrap_or(0)
}

#[allow(clippy::disallowed_methods, reason = "the configuration of the tests")]
fn wish(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no whole number")))
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The `stream`-th sequence of a seed.
    pub fn new(seed: u64, stream: u64) -> Chance {
        let mut chance = Chance(seed ^ stream.wrapping_mul(0xD134_2543_DE82_EF95));
        chance.number();
        chance
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }
}

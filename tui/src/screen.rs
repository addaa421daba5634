//! The screens, in the order of their keys.

use crate::listing::Listing;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Screen {
    Overview,
    Outbox,
    Dead,
    Runs,
    Apps,
    Scripts,
    Triggers,
    Data,
    Log,
    System,
}

impl Screen {
    pub const ALL: [Screen; 10] = [
        Self::Overview,
        Self::Outbox,
        Self::Dead,
        Self::Runs,
        Self::Apps,
        Self::Scripts,
        Self::Triggers,
        Self::Data,
        Self::Log,
        Self::System,
    ];

    /// The digit that leads to it.
    pub fn digit(self) -> char {
        match self {
            Self::Overview => '1',
            Self::Outbox => '2',
            Self::Dead => '3',
            Self::Runs => '4',
            Self::Apps => '5',
            Self::Scripts => '6',
            Self::Triggers => '7',
            Self::Data => '8',
            Self::Log => '9',
            Self::System => '0',
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Outbox => "Outbox",
            Self::Dead => "Dead",
            Self::Runs => "Runs",
            Self::Apps => "Apps",
            Self::Scripts => "Scripts",
            Self::Triggers => "Triggers",
            Self::Data => "Data",
            Self::Log => "Log",
            Self::System => "System",
        }
    }

    /// Where there is little room.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Overview => "Over",
            Self::Outbox => "Out",
            Self::Dead => "Dead",
            Self::Runs => "Runs",
            Self::Apps => "Apps",
            Self::Scripts => "Scr",
            Self::Triggers => "Trg",
            Self::Data => "Data",
            Self::Log => "Log",
            Self::System => "Sys",
        }
    }

    /// What it begins with.
    pub fn listing(self) -> Listing {
        match self {
            Self::Overview => Listing::Traffic,
            Self::Outbox => Listing::Outbox,
            Self::Dead => Listing::Groups,
            Self::Runs => Listing::Runs,
            Self::Apps => Listing::Apps,
            Self::Scripts => Listing::Scripts,
            Self::Triggers => Listing::Triggers,
            Self::Data => Listing::Collections,
            Self::Log => Listing::Log,
            Self::System => Listing::System,
        }
    }

    /// The screen so many further on, round about.
    #[must_use]
    pub fn further(self, steps: usize) -> Screen {
        let at = Self::ALL.iter().position(|one| *one == self).unwrap_or_default();
        Self::ALL[(at + steps) % Self::ALL.len()]
    }
}

//! Ids: UUIDv7 values for what happens, numbers from the store's counter for what is configured.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use crate::time::Timestamp;

/// Crockford's base 32, which sorts as the bytes do and has no letters that look like digits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A UUIDv7, written as 26 characters of Crockford's base 32. Ids sort by the time at which they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u128);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; 26];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = ALPHABET[usize::from((rest & 31) as u8)];
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id has 26 characters of 0-9 and A-Z without I, L, O and U, and begins with 0 to 7")]
pub struct IdError;

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Id, IdError> {
        let bytes = text.as_bytes();
        if bytes.len() != 26 || bytes[0] > b'7' {
            return Err(IdError);
        }
        let mut value: u128 = 0;
        for byte in bytes {
            let upper = byte.to_ascii_uppercase();
            let digit = ALPHABET.iter().position(|known| *known == upper).ok_or(IdError)?;
            value = (value << 5) | digit as u128;
        }
        Ok(Id(value))
    }
}

/// Ids that one id leaves room for, itself included: see [`Id::derived`].
pub const DERIVED_MAX: u128 = 1 << 14;

impl Id {
    /// When it was made.
    pub fn time(self) -> Timestamp {
        Timestamp(i64::try_from(self.0 >> 80).expect("48 bits fit"))
    }

    /// The id `n` places after this one. Pure code that makes several things is given one id and derives the rest.
    pub fn derived(self, n: usize) -> Id {
        debug_assert!((n as u128) < DERIVED_MAX, "an id leaves room for {DERIVED_MAX}");
        Id(self.0 + n as u128)
    }
}

/// Makes ids. Each is greater than the one before and its derived ones, also when the clock steps back.
pub struct Ids {
    last: Mutex<(i64, u128)>,
    entropy: fn(&mut [u8]),
}

impl Ids {
    /// Ids from the system's random source.
    pub fn random() -> Ids {
        Ids::with_entropy(|bytes| getrandom::fill(bytes).expect("the system has a random source"))
    }

    /// Ids from another source, for tests that want the same ones each time.
    pub fn with_entropy(entropy: fn(&mut [u8])) -> Ids {
        Ids { last: Mutex::new((0, 0)), entropy }
    }

    /// A secret that nobody can guess: 256 random bits.
    pub fn secret(&self) -> [u8; 32] {
        let mut bytes = [0_u8; 32];
        (self.entropy)(&mut bytes);
        bytes
    }

    /// A new id, made at `now`.
    pub fn next(&self, now: Timestamp) -> Id {
        let mut last = self.last.lock().expect("no id is made while panicking");
        if now.0 > last.0 {
            let mut bytes = [0_u8; 10];
            (self.entropy)(&mut bytes);
            let mut random: u128 = 0;
            for byte in bytes {
                random = (random << 8) | u128::from(byte);
            }
            // The top bit of the 74 stays clear, so that a burst within a millisecond has room to count up.
            *last = (now.0, random & ((1 << 73) - 1) & !(DERIVED_MAX - 1));
        } else {
            last.1 += DERIVED_MAX;
        }
        let (time, random) = *last;
        let time = u128::from(time.unsigned_abs()) & 0xFFFF_FFFF_FFFF;
        let high = (random >> 62) & 0xFFF;
        let low = random & 0x3FFF_FFFF_FFFF_FFFF;
        Id((time << 80) | (7 << 76) | (high << 64) | (0b10 << 62) | low)
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

// All of these are drawn from the one counter of the store, so no number is ever used twice, by whatever kind.
numbers! {
    /// An app. Its slug may change, this does not.
    AppId
    ScriptId
    RouteId
    TriggerId
    PrincipalId
    TokenId
    /// Where rows wait: the number of what makes them, a route, a trigger, or (for tasks) the script that they run.
    QueueId
}

impl TriggerId {
    pub fn queue(self) -> QueueId {
        QueueId(self.0)
    }
}

impl RouteId {
    pub fn queue(self) -> QueueId {
        QueueId(self.0)
    }
}

impl ScriptId {
    pub fn queue(self) -> QueueId {
        QueueId(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros(bytes: &mut [u8]) {
        bytes.fill(0);
    }

    #[test]
    fn an_id_reads_back_from_its_text() {
        let ids = Ids::with_entropy(zeros);
        let id = ids.next(Timestamp(1_700_000_000_000));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 26);
        assert_eq!("not an id".parse::<Id>(), Err(IdError));
    }

    #[test]
    fn ids_grow_when_the_clock_stands_still_or_steps_back() {
        let ids = Ids::with_entropy(zeros);
        let first = ids.next(Timestamp(1_700_000_000_000));
        let second = ids.next(Timestamp(1_700_000_000_000));
        let third = ids.next(Timestamp(1_600_000_000_000));
        assert!(first < second && second < third);
        assert!(first.to_string() < second.to_string());
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7() {
        let id = Ids::with_entropy(|bytes| bytes.fill(0xFF)).next(Timestamp(1_700_000_000_000));
        assert_eq!((id.0 >> 76) & 0xF, 7);
        assert_eq!((id.0 >> 62) & 0b11, 0b10);
        assert_eq!(id.0 >> 80, 1_700_000_000_000);
    }
}

//! Random values that a seed decides.

/// Crockford's base 32, as all ids of PiCloud.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// SplitMix64. Not for secrets: whoever knows the seed knows all.
pub(crate) struct Random {
    state: u64,
    documents: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { state: seed, documents: 0 }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `below` - 1; every value as likely as the others.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        debug_assert!(below > 0, "there is a value below");
        let uneven = u64::MAX - (u64::MAX % below + 1) % below;
        loop {
            let bits = self.bits();
            if bits <= uneven {
                return bits % below;
            }
        }
    }

    /// From 0, included, to 1, excluded.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit in a float")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn uuid(&mut self) -> String {
        let (high, low) = (self.bits(), self.bits());
        let high = high & !0xF000 | 0x4000;
        let low = low & !(0b11 << 62) | (0b10 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xFFFF,
            high & 0xFFFF,
            low >> 48,
            low & 0xFFFF_FFFF_FFFF
        )
    }

    /// The id of a new document: a UUIDv7 as 26 characters; later ones of a run sort after earlier ones.
    pub(crate) fn document_id(&mut self, now_ms: i64) -> String {
        let time = u128::from(now_ms.unsigned_abs()) & 0xFFFF_FFFF_FFFF;
        let count = u128::from(self.documents & 0xFFF);
        self.documents += 1;
        let random = u128::from(self.bits() >> 2);
        let mut rest = (time << 80) | (7 << 76) | (count << 64) | (0b10 << 62) | random;
        let mut text = [0_u8; 26];
        for place in text.iter_mut().rev() {
            *place = ALPHABET[usize::try_from(rest & 31).expect("5 bits fit")];
            rest >>= 5;
        }
        text.iter().map(|byte| char::from(*byte)).collect()
    }
}

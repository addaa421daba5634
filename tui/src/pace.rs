//! How often frames are painted: keys at once, data seldom enough for a slow link.

use crate::screen::Screen;

/// Frames for keys, at most: with the four for data, twenty.
const KEY_FRAMES_A_SECOND: i64 = 16;
/// Bytes a second that a busy screen may take.
const BYTES_A_SECOND: usize = 1_300;
const OUTBOX_BYTES_A_SECOND: usize = 3_600;

/// When the next frame may come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    data_frame_ms: i64,
    key_at: i64,
    data_at: i64,
}

impl Pace {
    /// Data four times a second.
    pub fn usual() -> Pace {
        Pace { data_frame_ms: 250, key_at: 0, data_at: 0 }
    }

    /// Data twice a second: for serial lines.
    pub fn slow() -> Pace {
        Pace { data_frame_ms: 500, ..Pace::usual() }
    }

    pub fn next_key_frame(&self) -> i64 {
        self.key_at
    }

    pub fn next_data_frame(&self) -> i64 {
        self.data_at
    }

    pub fn key_frame(&mut self, now: i64) {
        self.key_at = now + 1_000 / KEY_FRAMES_A_SECOND;
    }

    /// A frame for data took so many bytes: the next one waits until these are paid for. A key need not wait for it.
    pub fn data_frame(&mut self, bytes: usize, screen: Screen, now: i64) {
        let bytes_a_second =
            if screen == Screen::Outbox { OUTBOX_BYTES_A_SECOND } else { BYTES_A_SECOND };
        let paid_ms = i64::try_from(bytes * 1_000 / bytes_a_second).unwrap_or(i64::MAX / 2);
        self.data_at = now + self.data_frame_ms.max(paid_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_many_bytes_keeps_the_next_one_waiting() {
        let mut pace = Pace::usual();
        pace.data_frame(0, Screen::Overview, 1_000);
        assert_eq!(pace.next_data_frame(), 1_250);
        pace.data_frame(1_300, Screen::Overview, 2_000);
        assert_eq!(pace.next_data_frame(), 3_000);
        pace.data_frame(1_800, Screen::Outbox, 4_000);
        assert_eq!(pace.next_data_frame(), 4_500);
    }

    #[test]
    fn a_key_waits_for_keys_alone() {
        let mut pace = Pace::usual();
        pace.data_frame(1_300, Screen::Overview, 1_000);
        assert!(pace.next_key_frame() <= 1_000);
        pace.key_frame(1_001);
        assert_eq!(pace.next_key_frame(), 1_063);
    }
}

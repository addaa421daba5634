//! The messages that an owner may want to look up: each has an id in the journal, under which `journalctl -x` finds
//! what it means and what to do in `systemd/picloud.catalog`.
//!
//! An id is never given to another message.

/// A message's id, as systemd writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId(pub &'static str);

macro_rules! messages {
    ($($NAME:ident = $id:literal;)*) => {
        $(pub const $NAME: MessageId = MessageId($id);)*

        /// All of them.
        pub const MESSAGES: &[MessageId] = &[$($NAME,)*];
    };
}

messages! {
    READY = "56b0e65557094a87bd6ada5efa3d078c";
    STOPPING = "e4e6661c8f00437fb15dd2e5647eb191";
    START_REFUSED = "d79f2f03226f43dab93677c7dbc6e9ec";
    CANNOT_GO_ON = "bdfe937dc3d444bd98e9137ca199e0d4";
    STORE_DAMAGED = "5a3bbc7c96034c5d8f850714812d27c1";
    STORAGE_LOW = "4be63894a01d4092adb0bbe3e30582b7";
    STORAGE_FREE = "81884dedb7c34429af42ed0099c8c169";
    DEAD_LETTER = "638d4d851f86490aa5688cf8cdeb5a4b";
    QUEUE_PAUSED = "3cd3084c53174c208d7feb5a31d66301";
    RAN_WHEN_DIED = "a7316e92d58a4903895831098ccdd002";
    WATCHDOG_NOT_TOLD = "4fd7b10efc624950a43a1951c14d3313";
    CLOCK_STEPPED = "52f19573a7744eb698498658f8564f7d";
    SECRETS_LOST = "ed5139f3f5534065aca72ce718dd6f1b";
    BACKUP_DONE = "0ff63d5c0a5a431e92dea66351799c51";
    BACKUP_FAILED = "bfe0756be7a84c298f416f7bc1ab00fa";
    MIGRATION_BEGUN = "59b62eef699646df86dbf79e009a0271";
    MIGRATION_DONE = "3aca8b76f0784e58af28f422a3968bfe";
    LINES_DROPPED = "c11bd2f29d634397a49ddcdfceb2df1b";
    ROWS_UNREADABLE = "0346efec33c0411eb726d3593008b892";
    CALLERS_UNCHECKED = "7f27d2a2adc040a0b7e149bb4f5269bc";
    SOCKET_UNUSED = "790b26d27df54a48a83af9872ef0e9f4";
    SYSTEMD_NOT_TOLD = "41d2b56bf04d4d8dab575fa9161567a4";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each entry's id, head and text.
    fn entries(catalogue: &str) -> Vec<(&str, &str, &str)> {
        catalogue
            .split("\n-- ")
            .skip(1)
            .filter_map(|entry| {
                let (head, text) = entry.split_once("\n\n")?;
                let (id, head) = head.split_once('\n')?;
                Some((id, head, text))
            })
            .collect()
    }

    #[test]
    fn every_message_can_be_looked_up_with_what_it_means_and_what_to_do() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/picloud.catalog");
        let catalogue = std::fs::read_to_string(path).expect("the catalogue is there");
        let entries = entries(&catalogue);
        let ids: Vec<&str> = entries.iter().map(|(id, ..)| *id).collect();
        let expected: Vec<&str> = MESSAGES.iter().map(|message| message.0).collect();
        assert_eq!(ids, expected, "one entry each, in the same order");
        for (id, head, text) in entries {
            let is_id =
                id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            assert!(is_id, "{id}");
            let subject = head.lines().find_map(|line| line.strip_prefix("Subject: "));
            assert!(subject.is_some_and(|subject| subject.len() > 10), "{id} has no subject");
            assert!(text.split_whitespace().count() > 15, "{id} does not say what to do");
            assert!(text.lines().all(|line| line.len() <= 80), "{id} has long lines");
        }
    }

    #[test]
    fn no_two_messages_have_the_same_id() {
        let ids: std::collections::HashSet<_> = MESSAGES.iter().map(|message| message.0).collect();
        assert_eq!(ids.len(), MESSAGES.len());
    }
}

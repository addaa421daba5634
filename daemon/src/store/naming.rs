//! The names of backups: they say when one was begun, and whether it is what a store was before an upgrade.

use std::fs;
use std::path::Path;

use crate::time::Timestamp;

/// Files of a folder that are looked at.
const FILES_MAX: usize = 10_000;

const PREFIX: &str = "picloud-";
const SUFFIX: &str = ".db";
const TIME: &str = "%Y%m%dT%H%M%S.%3fZ";
const BEFORE: &str = "-before-schema-";
/// What the name of a backup that is not done has behind it, and SQLite's files beside it have in it.
const PART: &str = ".part";

/// What a backup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ordinary,
    /// The store as it was before it was brought to this schema.
    BeforeSchema(i64),
}

/// What the name of a backup says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    pub begun_at: Timestamp,
    pub kind: Kind,
}

/// The name of a backup that was begun then. Names sort as the times do.
pub fn name_of(named: Named) -> String {
    let at = jiff::Timestamp::from_millisecond(named.begun_at.0).unwrap_or_default();
    let time = at.strftime(TIME);
    match named.kind {
        Kind::Ordinary => format!("{PREFIX}{time}{SUFFIX}"),
        Kind::BeforeSchema(schema) => format!("{PREFIX}{time}{BEFORE}{schema}{SUFFIX}"),
    }
}

/// `None`: it is not the name of a backup.
pub fn named(name: &str) -> Option<Named> {
    let told = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (time, kind) = match told.split_once(BEFORE) {
        Some((time, schema)) => (time, Kind::BeforeSchema(schema.parse().ok()?)),
        None => (told, Kind::Ordinary),
    };
    let time = time.strip_suffix('Z')?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S%.f", time).ok()?;
    let at = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    let named = Named { begun_at: Timestamp(at.as_millisecond()), kind };
    (name_of(named) == name).then_some(named)
}

/// The first name from that time on which `is_taken` does not know. The clock may have been set back since.
pub fn free_name(mut wanted: Named, is_taken: impl Fn(&str) -> bool) -> (String, Timestamp) {
    loop {
        let name = name_of(wanted);
        if !is_taken(&name) {
            return (name, wanted.begun_at);
        }
        wanted.begun_at = wanted.begun_at.plus_ms(1);
    }
}

pub fn part_of(name: &str) -> String {
    format!("{name}{PART}")
}

/// Whether a file is what is left of a backup that is not done.
fn is_rest(name: &str) -> bool {
    name.split_once(PART).is_some_and(|(name, _)| named(name).is_some())
}

pub fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names =
        entries.take(FILES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.collect()
}

/// Removes what is left of backups that were broken off; nobody may be making one. Returns what stays, and why.
pub fn remove_rests(folder: &Path) -> Vec<(String, std::io::Error)> {
    let rests = names_in(folder).into_iter().filter(|name| is_rest(name));
    rests
        .filter_map(|rest| Some((fs::remove_file(folder.join(&rest)).err()?, rest)))
        .map(|(error, rest)| (rest, error))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28T21:17:18.123Z.
    const AT: Timestamp = Timestamp(1_795_900_638_123);

    #[test]
    fn a_backup_is_named_after_the_time_and_nothing_else_has_such_a_name() {
        let ordinary = Named { begun_at: AT, kind: Kind::Ordinary };
        let before = Named { begun_at: AT, kind: Kind::BeforeSchema(8) };
        assert_eq!(name_of(ordinary), "picloud-20261128T211718.123Z.db");
        assert_eq!(name_of(before), "picloud-20261128T211718.123Z-before-schema-8.db");
        for one in [ordinary, before] {
            assert_eq!(named(&name_of(one)), Some(one));
        }
        for name in [
            "picloud.db",
            "picloud-20261128T211718Z.db",
            "picloud-20261128T211718.1234Z.db",
            "picloud-20261328T211718.123Z.db",
            "picloud-20261128T211718.123Z.db.part",
            "picloud-20261128T211718.123Z.db.bak",
            " picloud-20261128T211718.123Z.db",
            "../picloud-20261128T211718.123Z.db",
            "picloud-20261128T211718.123Z-before-schema-.db",
            "picloud-20261128T211718.123Z-before-schema-08.db",
            "picloud-20261128T211718.123Z-before-schema-8-.db",
            "picloud-before-schema-8.db",
        ] {
            assert_eq!(named(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_taken_moves_on() {
        let wanted = Named { begun_at: AT, kind: Kind::Ordinary };
        let taken = [name_of(wanted), name_of(Named { begun_at: AT.plus_ms(1), ..wanted })];
        let (name, at) = free_name(wanted, |name| taken.iter().any(|one| one == name));
        assert_eq!(
            (named(&name).map(|one| one.begun_at), at),
            (Some(AT.plus_ms(2)), AT.plus_ms(2))
        );
    }
}

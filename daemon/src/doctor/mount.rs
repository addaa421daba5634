//! How the file system of the store is mounted.

use std::fs;
use std::path::{Path, PathBuf};

use picloud_api::health::Check;

use crate::doctor::{Machine, State, check};

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// Those of this mount, and those of the file system.
    options: Vec<String>,
    kind: String,
}

/// `None`: the kernel does not say.
pub(super) fn look(folder: &Path, machine: &Machine) -> Option<Check> {
    let mounts = fs::read_to_string(machine.proc.join("self/mountinfo")).ok()?;
    let folder = fs::canonicalize(folder).ok()?;
    Some(judged(&mount_of(&folder, &mounts)?))
}

fn mount_of(folder: &Path, mountinfo: &str) -> Option<Mount> {
    let above = mountinfo.lines().filter_map(mount).filter(|it| folder.starts_with(&it.point));
    // Of two at one place the later one is seen.
    above.max_by_key(|mount| mount.point.as_os_str().len())
}

fn mount(line: &str) -> Option<Mount> {
    let (own, of_file_system) = line.split_once(" - ")?;
    let mut own = own.split(' ').skip(4);
    let (point, options) = (unescaped(own.next()?), own.next()?);
    let mut of_file_system = of_file_system.split(' ');
    let (kind, of_file_system) = (of_file_system.next()?, of_file_system.nth(1)?);
    let options = options.split(',').chain(of_file_system.split(',')).map(str::to_owned);
    Some(Mount { point: PathBuf::from(point), options: options.collect(), kind: kind.to_owned() })
}

/// The kernel writes what would end a field as a number.
fn unescaped(field: &str) -> String {
    let known = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    known.iter().fold(field.to_owned(), |field, (number, meant)| field.replace(number, meant))
}

fn judged(mount: &Mount) -> Check {
    let (point, kind) = (mount.point.display(), &mount.kind);
    let has = |option: &str| mount.options.iter().any(|one| one == option);
    if has("ro") {
        let text =
            format!("{point} ({kind}) is mounted read-only, perhaps after an error of the card");
        let remedy = format!("sudo dmesg | tail says why; sudo mount -o remount,rw {point}");
        return check("mount", State::Bad, text, Some(&remedy));
    }
    if matches!(kind.as_str(), "tmpfs" | "ramfs") {
        let text = format!("{point} lies in memory: the store is gone when the power is");
        let remedy = "name a place on the card in [store] url";
        return check("mount", State::Warn, text, Some(remedy));
    }
    let with_noatime = format!("sudo mount -o remount,noatime {point}, and the same in /etc/fstab");
    if has("noatime") {
        check("mount", State::Ok, format!("{point} ({kind}) is mounted noatime"), None)
    } else if has("relatime") {
        let text = format!("{point} ({kind}); noatime would save some writes: {with_noatime}");
        check("mount", State::Ok, text, None)
    } else {
        let text = format!("{point} ({kind}) is written to whenever a file is read");
        check("mount", State::Warn, text, Some(&with_noatime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "21 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n\
        30 21 0:24 / /var/lib rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro\n\
        31 30 0:25 / /var/lib rw - ext4 /dev/sdb1 rw\n\
        32 21 0:26 / /mnt/a\\040b rw,relatime shared:2 master:1 - ext4 /dev/sdc1 ro\n\
        33 21 0:27 / /run rw,nosuid - tmpfs tmpfs rw,size=1k\n\
        nonsense\n";

    fn state(folder: &str) -> (String, String) {
        let check = judged(&mount_of(Path::new(folder), MOUNTS).expect("all is below /"));
        (check.state, check.text)
    }

    #[test]
    fn the_mount_that_a_folder_is_seen_through_is_judged() {
        for (folder, wanted, part) in [
            ("/var/library", "ok", "/ (ext4) is mounted noatime"),
            ("/var/lib/picloud", "warn", "whenever a file is read"),
            ("/mnt/a b/c", "bad", "/mnt/a b (ext4) is mounted read-only"),
            ("/run/x", "warn", "lies in memory"),
        ] {
            let (state, text) = state(folder);
            assert!(state == wanted && text.contains(part), "{folder}: {state} {text}");
        }
        let relatime = mount(MOUNTS.lines().nth(1).expect("is there")).expect("is one");
        let check = judged(&relatime);
        assert!(check.state == "ok" && check.text.contains("noatime would save"), "{check:?}");
    }
}

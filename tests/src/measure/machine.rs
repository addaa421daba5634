//! The machine that figures were taken on, as it describes itself.

use std::fs;
use std::path::Path;
use std::process::Command;

/// One line each of the description: what, and how it is.
pub type Description = Vec<(&'static str, String)>;

/// Describes the machine and what the figures were built with. `store` is the folder that stores were kept in.
pub fn describe(store: &Path) -> Description {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let mut lines = vec![
        ("board", read_trimmed("/proc/device-tree/model")),
        ("processor", processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())),
        ("cores", Some(format!("{cores}"))),
        ("architecture", Some(std::env::consts::ARCH.to_owned())),
        (
            "memory",
            memory
                .lines()
                .next()
                .and_then(|line| line.split_once(':'))
                .map(|(_, size)| size.trim().to_owned()),
        ),
        ("governor", read_trimmed("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        ("kernel", read_trimmed("/proc/sys/kernel/osrelease")),
        ("load average at the start", read_trimmed("/proc/loadavg")),
    ];
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    lines.push(("file system of the stores", file_system(&mounts, store)));
    lines.push(("compiler", first_line("rustc", &["--version"])));
    lines.push(("version", Some(format!("picloud {}", env!("CARGO_PKG_VERSION")))));
    lines.push(("commit", first_line("git", &["describe", "--always", "--dirty", "--abbrev=12"])));
    lines.into_iter().filter_map(|(what, how)| Some((what, how?))).collect()
}

fn read_trimmed(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned)
}

/// The model as x86 and ARM kernels name it.
fn processor(cpuinfo: &str) -> Option<String> {
    let field = |label: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(label))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    field("model name")
        .or_else(|| field("Hardware"))
        .or_else(|| field("CPU part").map(|part| format!("ARM part {part}")))
}

/// Type and options of the file system that holds `folder`: the longest mount point that it begins with.
fn file_system(mountinfo: &str, folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let mut right = right.split(' ');
        let (point, options, kind) = (*left.get(4)?, *left.get(5)?, right.next()?);
        folder.starts_with(point).then(|| (point.len(), format!("{kind} ({options})")))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_point_holds_a_folder() {
        let mounts = "1 0 8:1 / / rw,noatime shared:1 - ext4 /dev/sda rw\n\
                      2 1 0:5 / /nowhere rw - tmpfs tmpfs rw\n\
                      3 1 8:2 / /nowhere/data rw,sync - f2fs /dev/mmcblk0p3 rw\n";
        let found = |folder: &str| file_system(mounts, Path::new(folder));
        assert_eq!(found("/nowhere/data/x").as_deref(), Some("f2fs (rw,sync)"));
        assert_eq!(found("/nowhere/database").as_deref(), Some("tmpfs (rw)"));
        assert_eq!(found("/elsewhere").as_deref(), Some("ext4 (rw,noatime)"));
    }

    #[test]
    fn processors_of_both_kinds_are_named() {
        let pi = "processor : 0\nCPU part : 0xd03\n\nHardware : BCM2835\nRevision : 902120\n";
        assert_eq!(
            processor("model name\t: Some CPU @ 2 GHz\n").as_deref(),
            Some("Some CPU @ 2 GHz")
        );
        assert_eq!(processor(pi).as_deref(), Some("BCM2835"));
        assert_eq!(processor("CPU part : 0xd03\n").as_deref(), Some("ARM part 0xd03"));
        assert_eq!(processor(""), None);
    }
}

//! What the kernel says of this process and of the memory that it may have. Linux only; what cannot be read is absent.

use std::fs;
use std::path::Path;

/// The daemon's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub memory_bytes: Option<u64>,
    /// What its service may have, or else what the machine has.
    pub memory_bytes_max: Option<u64>,
    /// What it caused to be written to devices; what goes to memory file systems does not count.
    pub written_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
}

impl Process {
    pub fn now() -> Process {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        let page = rustix::param::page_size() as u64;
        Process {
            memory_bytes: read("statm").and_then(|text| resident_pages(&text)).map(|n| n * page),
            memory_bytes_max: memory_bytes_max(),
            written_bytes: read("io").and_then(|text| written_bytes(&text)),
            cpu_ms: read("stat").and_then(|text| cpu_ms(&text)),
        }
    }
}

/// The name of this machine, without its domain.
pub fn name() -> Option<String> {
    let name = rustix::system::uname();
    let name = name.nodename().to_str().ok()?;
    name.split('.').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Bytes of a file, if it is there.
pub fn file_bytes(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.len())
}

/// The second field.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

fn written_bytes(io: &str) -> Option<u64> {
    let written = number_after(io, "write_bytes:")?;
    Some(written.saturating_sub(number_after(io, "cancelled_write_bytes:").unwrap_or(0)))
}

/// Fields 14 and 15, in clock ticks. The name in field 2 may hold spaces and brackets.
fn cpu_ms(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

/// The limit of the service's control group, if it has one that is less than the machine's memory.
fn memory_bytes_max() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| number_after(&text, "MemTotal:")).map(|kib| kib * 1024);
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let group =
        group.and_then(|text| text.lines().find_map(|l| l.strip_prefix("0::/").map(str::to_owned)));
    let limit = group.and_then(|group| {
        fs::read_to_string(Path::new("/sys/fs/cgroup").join(group).join("memory.max")).ok()
    });
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    [machine, limit].into_iter().flatten().min()
}

/// The number behind a label that begins a line.
fn number_after(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(resident_pages("100 25 7 1 0 30 0\n"), Some(25));
        let io = "wchar: 9\nwrite_bytes: 4096\ncancelled_write_bytes: 96\n";
        assert_eq!((written_bytes(io), written_bytes("wchar: 9")), (Some(4_000), None));
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_ms(stat), Some(200 * 1_000 / rustix::param::clock_ticks_per_second()));
        assert_eq!(
            (resident_pages(""), cpu_ms("42 (cut"), number_after("", "a")),
            (None, None, None)
        );
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let own = Process::now();
        assert!(own.memory_bytes.is_some_and(|bytes| bytes > 100_000), "{own:?}");
        assert!(own.memory_bytes_max > own.memory_bytes, "{own:?}");
    }
}

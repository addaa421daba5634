//! What the kernel knows of a process: processor time, memory, bytes written, wake-ups. Linux only.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// A running process, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// User and system time of all its threads, also of those that have ended.
    pub fn cpu(self) -> Result<Duration> {
        cpu_of_stat(&self.read("stat")?).context("/proc/PID/stat has another form")
    }

    /// Memory in bytes, shared pages counted by their share.
    pub fn pss_bytes(self) -> Result<u64> {
        let text = self.read("smaps_rollup")?;
        let kib = number_after(&text, "Pss:").context("smaps_rollup has no Pss")?;
        Ok(kib * 1024)
    }

    /// The part of it that is no file's: what the process itself has asked for.
    pub fn own_bytes(self) -> Result<u64> {
        let text = self.read("smaps_rollup")?;
        let kib = number_after(&text, "Pss_Anon:").context("smaps_rollup has no Pss_Anon")?;
        Ok(kib * 1024)
    }

    /// Bytes that it caused to be written to devices; what goes to memory file systems does not count.
    pub fn write_bytes(self) -> Result<u64> {
        let text = self.read("io")?;
        let written = number_after(&text, "write_bytes:").context("io has no write_bytes")?;
        let cancelled = number_after(&text, "cancelled_write_bytes:").unwrap_or(0);
        Ok(written.saturating_sub(cancelled))
    }

    /// How often a thread of it was put on a processor: context switches of all threads.
    pub fn switches(self) -> Result<u64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task?.path().join("status")) else { continue };
            sum += number_after(&text, "voluntary_ctxt_switches:").unwrap_or(0);
            sum += number_after(&text, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        }
        Ok(sum)
    }

    fn read(self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.0);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

/// The number behind a label that begins a line.
fn number_after(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15, in clock ticks. The name in field 2 may hold spaces and brackets.
fn cpu_of_stat(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks_a_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_secs(user + system) / u32::try_from(ticks_a_second).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_with_brackets() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 5 6 7";
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(cpu_of_stat(stat).unwrap().as_secs_f64(), 200.0 / ticks as f64);
        assert_eq!(cpu_of_stat("42 (cut"), None);
    }

    #[test]
    fn numbers_are_found_by_the_label_that_begins_the_line() {
        let text = "nonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t12\nPss:  34 kB\n";
        assert_eq!(number_after(text, "voluntary_ctxt_switches:"), Some(12));
        assert_eq!(number_after(text, "Pss:"), Some(34));
        assert_eq!(number_after(text, "Rss:"), None);
    }

    #[test]
    fn this_process_can_be_measured() {
        let own = Process(std::process::id());
        assert!(own.pss_bytes().unwrap() > 100_000);
        assert!(own.switches().unwrap() > 0);
        own.cpu().unwrap();
        own.write_bytes().unwrap();
    }
}

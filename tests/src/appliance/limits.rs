//! A control group whose memory is limited, made by a script: version 2 or 1, whichever the machine has.

use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct Limits {
    folder: PathBuf,
}

impl Limits {
    pub fn of(folder: &Path) -> Limits {
        Limits { folder: folder.to_owned() }
    }

    /// What to put before a command so that it runs in the group.
    pub fn enter(&self) -> Vec<String> {
        let join = "echo 0 >\"$0/cgroup.procs\" && exec \"$@\"";
        vec!["sh".to_owned(), "-c".to_owned(), join.to_owned(), self.folder.display().to_string()]
    }

    /// Processes that the kernel killed there because there was no memory.
    pub fn kills(&self) -> u64 {
        let texts = ["memory.events", "memory.oom_control"].map(|name| self.read(name));
        let lines = texts.iter().flat_map(|text| text.lines());
        let kills = lines.filter_map(|line| line.strip_prefix("oom_kill "));
        kills.filter_map(|kills| kills.trim().parse::<u64>().ok()).sum()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_read_in_both_versions() {
        for (name, text, kills) in [
            ("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n", 2),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), text).unwrap();
            assert_eq!(Limits::of(folder.path()).kills(), kills, "{name}");
        }
    }
}

//! Control groups whose memory or processor time is limited, made by a script: version 2 or 1, whichever the machine has. In
//! version 1 each kind has a group of its own.

use std::fs;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct Limits {
    folders: Vec<PathBuf>,
}

impl Limits {
    /// Without a folder there is no limit.
    pub fn of(folders: &[PathBuf]) -> Limits {
        Limits { folders: folders.to_vec() }
    }

    /// What to put before a command so that it runs in the groups.
    pub fn enter(&self) -> Vec<String> {
        if self.folders.is_empty() {
            return Vec::new();
        }
        let join = "until [ \"$1\" = -- ]; do echo 0 >\"$1/cgroup.procs\" || exit; shift; done; shift; exec \"$@\"";
        let folders = self.folders.iter().map(|folder| folder.display().to_string());
        let shell = ["sh", "-c", join, "sh"].map(str::to_owned);
        shell.into_iter().chain(folders).chain(["--".to_owned()]).collect()
    }

    /// Processes that the kernel killed there because there was no memory.
    pub fn kills(&self) -> u64 {
        let names = ["memory.events", "memory.oom_control"];
        let files = self.folders.iter().flat_map(|folder| names.map(|name| folder.join(name)));
        let texts: Vec<_> = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        let kills = lines.filter_map(|line| line.strip_prefix("oom_kill "));
        kills.filter_map(|kills| kills.trim().parse::<u64>().ok()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_command_begins_in_all_groups_and_with_its_own_words() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let limits = Limits::of(&folders.each_ref().map(|folder| folder.path().to_owned()));
        let words = limits.enter();
        let echo = Command::new(&words[0]).args(&words[1..]).args(["echo", "a b", "--"]).output();
        assert_eq!(echo.unwrap().stdout, b"a b --\n");
        for folder in folders {
            assert_eq!(fs::read(folder.path().join("cgroup.procs")).unwrap(), b"0\n");
        }
        assert!(Limits::of(&[]).enter().is_empty());
    }

    #[test]
    fn kills_are_read_in_both_versions() {
        for (name, text, kills) in [
            ("memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n", 2),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), text).unwrap();
            assert_eq!(Limits::of(&[folder.path().to_owned()]).kills(), kills, "{name}");
        }
    }
}

//! What systemd says of the service and its socket.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use picloud_api::health::Check;

use crate::doctor::{Machine, State, check};

/// How long systemd may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const SERVICE: &str = "picloud.service";
const SOCKET: &str = "picloud.socket";
const ASKED: [&str; 7] = [
    "show",
    SERVICE,
    SOCKET,
    "--property=Id,LoadState,ActiveState,SubState",
    "--property=UnitFileState,NRestarts",
    "--no-pager",
    "--all",
];

/// A machine that was started by something else has none of them, which is no fault.
pub(super) async fn checks(machine: &Machine) -> Vec<Check> {
    if !machine.systemd.is_dir() {
        return vec![check("service", State::Ok, "systemd has not started this machine", None)];
    }
    let asked = tokio::process::Command::new(&machine.systemctl)
        .args(ASKED)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let why = match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(Ok(output)) if output.status.success() => {
            return judged(&String::from_utf8_lossy(&output.stdout));
        }
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", ANSWER_MAX.as_secs()),
    };
    let text = format!("systemd cannot be asked: {why}");
    vec![check("service", State::Warn, text, Some("systemctl status picloud"))]
}

fn judged(shown: &str) -> Vec<Check> {
    let units: Vec<HashMap<&str, &str>> = shown
        .split("\n\n")
        .map(|unit| unit.lines().filter_map(|line| line.split_once('=')).collect())
        .collect();
    let unit = |id: &str| units.iter().find(|unit| unit.get("Id") == Some(&id));
    let is_there = |unit: &&HashMap<&str, &str>| unit.get("LoadState") != Some(&"not-found");
    let Some(own) = unit(SERVICE).filter(is_there) else {
        let text = "picloud.service is not installed: the daemon is started by other means";
        return vec![check("service", State::Ok, text, None)];
    };
    let mut checks = vec![service(own)];
    checks.push(match unit(SOCKET).filter(is_there) {
        Some(unit) => socket(unit),
        None => {
            let text = "picloud.socket is not installed";
            let remedy = "sudo apt install --reinstall picloud";
            check("socket", State::Warn, text, Some(remedy))
        }
    });
    checks
}

fn service(unit: &HashMap<&str, &str>) -> Check {
    if let Some(trouble) = not_as_installed("service", SERVICE, unit) {
        return trouble;
    }
    let restarts = unit.get("NRestarts").and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
    if restarts > 0 {
        let text = format!("runs, after systemd had to start it again {restarts} times");
        let remedy = "journalctl -u picloud -p err says why; sudo systemctl restart picloud begins to count anew";
        return check("service", State::Warn, text, Some(remedy));
    }
    check("service", State::Ok, "is enabled, and runs", None)
}

fn socket(unit: &HashMap<&str, &str>) -> Check {
    not_as_installed("socket", SOCKET, unit)
        .unwrap_or_else(|| check("socket", State::Ok, "is enabled, and listens", None))
}

/// What is wrong, if it neither runs nor begins to, or does not with the machine.
fn not_as_installed(name: &str, id: &str, unit: &HashMap<&str, &str>) -> Option<Check> {
    let of = |key: &str| unit.get(key).copied().unwrap_or_default();
    let start = format!("sudo systemctl start {id}");
    let (state, text, remedy) = match (of("LoadState"), of("ActiveState"), of("UnitFileState")) {
        ("masked", ..) => {
            (State::Warn, "is masked: it cannot be started", format!("sudo systemctl unmask {id}"))
        }
        (_, "failed", _) => {
            let remedy = format!("journalctl -u picloud -e says why; then {start}");
            (State::Bad, "has failed", remedy)
        }
        (_, "inactive" | "deactivating", _) => (State::Warn, "is stopped", start),
        (.., "disabled") => {
            let text = "is not enabled: it does not start with the machine";
            (State::Warn, text, format!("sudo systemctl enable {id}"))
        }
        _ => return None,
    };
    Some(check(name, state, text, Some(&remedy)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    fn shown(service: &str, socket: &str) -> String {
        let fields = |id: &str, states: &str| {
            let states: Vec<&str> = states.split(' ').collect();
            let [load, active, file, restarts] = states[..] else { panic!("four states") };
            format!(
                "Id={id}\nLoadState={load}\nActiveState={active}\nUnitFileState={file}\nNRestarts={restarts}\n"
            )
        };
        format!("{}\n{}", fields(SERVICE, service), fields(SOCKET, socket))
    }

    const WELL: &str = "loaded active enabled 0";

    #[test]
    fn each_state_of_a_unit_is_judged() {
        for (service, state, part) in [
            (WELL, "ok", "is enabled, and runs"),
            ("loaded activating enabled 0", "ok", "enabled"),
            ("loaded active enabled 3", "warn", "3 times"),
            ("loaded active disabled 0", "warn", "not enabled"),
            ("loaded inactive enabled 0", "warn", "is stopped"),
            ("loaded failed enabled 5", "bad", "has failed"),
            ("masked inactive masked 0", "warn", "masked"),
        ] {
            let checks = judged(&shown(service, WELL));
            let one = &checks[0];
            assert!(one.state == state && one.text.contains(part), "{service}: {one:?}");
            assert_eq!((checks[1].name.as_str(), checks[1].state.as_str()), ("socket", "ok"));
        }
        let checks = judged(&shown(WELL, "loaded failed enabled 0"));
        assert_eq!(checks[1].state, "bad");
        let checks = judged(&shown(WELL, "not-found inactive  0"));
        assert!(checks[1].text.contains("not installed"), "{checks:?}");
        let checks = judged(&shown("not-found inactive  0", WELL));
        assert!(checks.len() == 1 && checks[0].state == "ok", "{checks:?}");
    }

    fn machine(folder: &Path, script: &str) -> Machine {
        let systemctl = folder.join("systemctl");
        std::fs::write(&systemctl, script).expect("is written");
        let may_run = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&systemctl, may_run).expect("is ours");
        Machine { systemd: folder.to_owned(), systemctl, ..Machine::this() }
    }

    #[tokio::test]
    async fn systemd_is_asked_where_it_is_and_one_that_cannot_be_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let answer = shown(WELL, WELL);
        let machine = machine(folder.path(), &format!("#!/bin/sh\ncat <<'END'\n{answer}END\n"));
        let checks = checks(&machine).await;
        assert!(checks.len() == 2 && checks.iter().all(|one| one.state == "ok"), "{checks:?}");

        let machine = Machine { systemctl: folder.path().join("nowhere"), ..machine };
        let checks = super::checks(&machine).await;
        assert!(checks[0].state == "warn" && checks[0].remedy.is_some(), "{checks:?}");
        let machine = Machine { systemd: folder.path().join("nowhere"), ..machine };
        assert_eq!(super::checks(&machine).await[0].state, "ok");
    }
}

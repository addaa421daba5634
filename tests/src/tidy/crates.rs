//! Which crate may depend on which, read from `cargo metadata`.

use std::process::Command;

use serde::Deserialize;

use super::Complaint;
use crate::source;

/// What each crate of the workspace may depend on within the workspace.
pub const ARROWS: &[(&str, &[&str])] = &[
    ("picloud-api", &[]),
    ("picloud-scripts-runtime", &[]),
    ("picloud-daemon", &["picloud-api", "picloud-scripts-runtime"]),
    ("picloud-tui", &["picloud-api"]),
    (TESTS, &["picloud-api", "picloud-scripts-runtime", "picloud-daemon", "picloud-tui"]),
];

/// Crates that one crate alone names. The tests, which do not ship, measure against some of them.
pub const OWNERS: &[(&str, &str)] = &[
    ("rhai", "picloud-scripts-runtime"),
    ("sqlx", "picloud-daemon"),
    ("axum", "picloud-daemon"),
    ("ratatui", "picloud-tui"),
    ("crossterm", "picloud-tui"),
];

/// All that the crate of wire types needs.
pub const API_DEPENDENCIES: &[&str] = &["serde", "serde_json", "utoipa"];

const TESTS: &str = "picloud-tests";

/// The part of `cargo metadata` that the rules read.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
pub struct Package {
    pub name: String,
    pub license: Option<String>,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
pub struct Dependency {
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct Target {
    pub name: String,
    pub kind: Vec<String>,
}

/// The workspace as cargo sees it.
pub fn metadata() -> Metadata {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(source::root())
        .output()
        .expect("the cargo that built this test runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON of this shape")
}

impl Metadata {
    /// Names of the programs of the crates that ship.
    pub fn programs(&self) -> Vec<&str> {
        let shipped = self.packages.iter().filter(|package| package.name != TESTS);
        let targets = shipped.flat_map(|package| &package.targets);
        let programs = targets.filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        programs.map(|target| &*target.name).collect()
    }
}

/// Arrows that should not be there.
pub fn wrong_arrows(metadata: &Metadata) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for package in &metadata.packages {
        let mut complain = |reason: String| {
            complaints.push(Complaint::new(&format!("{}/Cargo.toml", package.name), 1, reason));
        };
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            complain("a crate that no arrow is drawn for".to_owned());
            continue;
        };
        for dependency in package.dependencies.iter().map(|dependency| &*dependency.name) {
            let is_own = ARROWS.iter().any(|(name, _)| *name == dependency);
            if is_own && !allowed.contains(&dependency) {
                complain(format!("may not depend on {dependency}"));
            }
            let owner =
                OWNERS.iter().find(|(name, _)| *name == dependency).map(|(_, owner)| *owner);
            if owner.is_some_and(|owner| owner != package.name && package.name != TESTS) {
                complain(format!("only {} names {dependency}", owner.unwrap_or_default()));
            }
            if package.name == "picloud-api" && !is_own && !API_DEPENDENCIES.contains(&dependency) {
                complain(format!("holds wire types only: no {dependency}"));
            }
        }
    }
    complaints
}

/// Crates that say nothing, or something else, about their licence.
pub fn wrong_licences(metadata: &Metadata) -> Vec<Complaint> {
    let wrong = metadata
        .packages
        .iter()
        .filter(|package| package.license.as_deref() != Some("MIT OR Apache-2.0"));
    wrong
        .map(|package| {
            let reason = "license is not `MIT OR Apache-2.0`";
            Complaint::new(&format!("{}/Cargo.toml", package.name), 1, reason)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(name: &str, dependencies: &[&str]) -> Vec<String> {
        let dependencies =
            dependencies.iter().map(|name| Dependency { name: (*name).to_owned() }).collect();
        let license = Some("MIT".to_owned());
        let package = Package { name: name.to_owned(), license, dependencies, targets: Vec::new() };
        let metadata = Metadata { packages: vec![package] };
        assert_eq!(wrong_licences(&metadata).len(), 1);
        wrong_arrows(&metadata).into_iter().map(|complaint| complaint.reason).collect()
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_found() {
        assert_eq!(
            reasons("picloud-tui", &["picloud-daemon", "clap"]),
            ["may not depend on picloud-daemon"]
        );
        assert_eq!(reasons("picloud-daemon", &["picloud-api", "sqlx"]), [""; 0]);
        assert_eq!(reasons("picloud-extra", &[]), ["a crate that no arrow is drawn for"]);
    }

    #[test]
    fn a_crate_that_belongs_to_another_is_found() {
        assert_eq!(
            reasons("picloud-daemon", &["rhai"]),
            ["only picloud-scripts-runtime names rhai"]
        );
        assert_eq!(reasons("picloud-tui", &["axum"]), ["only picloud-daemon names axum"]);
        assert_eq!(reasons("picloud-tests", &["axum", "picloud-tui"]), [""; 0]);
    }

    #[test]
    fn wire_types_that_need_more_than_serde_are_found() {
        assert_eq!(
            reasons("picloud-api", &["serde", "tokio"]),
            ["holds wire types only: no tokio"]
        );
    }
}

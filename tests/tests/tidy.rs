//! What a reviewer would otherwise have to remember: the shape of files, and which crate may know which.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file; most are 100 to 400 lines.
const FILE_LINES_MAX: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// Every source file that a person writes.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders =
        ["api", "scheduler", "agent", "balancer", "cli", "tests"].map(|name| root().join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_generated(&path) {
                found.push(path);
            }
        }
    }
    found
}

fn is_generated(path: &Path) -> bool {
    ["api/src/ecs", "api/src/elbv2"].iter().any(|folder| path.starts_with(root().join(folder)))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources().into_iter().filter(|path| !text(path).starts_with("//!")).collect();
    assert!(silent.is_empty(), "these open without a word: {silent:#?}");
}

#[test]
fn no_file_is_too_long_to_read() {
    let long = sources().into_iter().map(|path| (text(&path).lines().count(), path));
    let long: Vec<_> = long.filter(|(lines, _)| *lines > FILE_LINES_MAX).collect();
    assert!(long.is_empty(), "longer than {FILE_LINES_MAX} lines: {long:#?}");
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "HA".to_owned() + "CK"];
    let mentions = |path: &PathBuf| words.iter().any(|word| text(path).contains(word.as_str()));
    let found: Vec<_> = sources().into_iter().filter(mentions).collect();
    assert!(found.is_empty(), "these put something off: {found:#?}");
}

#[test]
fn the_walls_of_the_house_stand() {
    let check = |manifest: &str, forbidden: &[&str]| {
        let manifest = text(&root().join(manifest));
        let (_, dependencies) = manifest.split_once("[dependencies]").expect("a crate with dependencies");
        let dependencies = dependencies.split("[dev-dependencies]").next().unwrap_or_default();
        let names: Vec<&str> =
            dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).collect();
        for name in forbidden {
            assert!(!names.contains(name), "{name} has no place there");
        }
    };
    let io =
        ["tokio", "axum", "hyper", "redb", "bollard", "getrandom", "aws-sdk-ecs", "aws-config", "tracing"];
    check("api/Cargo.toml", &io);
    check("scheduler/core/Cargo.toml", &io);
    check("scheduler/core/Cargo.toml", &["ecsr-scheduler", "ecsr-agent"]);
    check("scheduler/Cargo.toml", &["ecsr-agent", "bollard"]);
    check("agent/Cargo.toml", &["ecsr-core", "ecsr-scheduler"]);
    check("balancer/Cargo.toml", &["ecsr-core", "ecsr-scheduler", "ecsr-agent", "bollard"]);
}

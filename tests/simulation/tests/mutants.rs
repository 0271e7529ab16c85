//! The mutants of `script/soak --mutants` are patches of the real code: they must apply to what it is today.

use std::path::Path;
use std::process::Command;

/// Fewer would not show that the simulation can fail.
const MUTANTS_MIN: usize = 10;

#[test]
fn every_mutant_still_applies() {
    let simulation = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = simulation.join("../..");
    let folder = simulation.join("mutants").read_dir().expect("the folder of mutants");
    let patches: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    assert!(patches.len() >= MUTANTS_MIN, "{} mutants", patches.len());
    for patch in patches {
        let checked = Command::new("git").arg("apply").arg("--check").arg(&patch).current_dir(&root).output();
        let output = checked.expect("git is installed");
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} does not apply any more: {problem}", patch.display());
    }
}

//! Which `ecsr` is under test: the one that `ECSR_BIN` names, else the one that the same build put beside the
//! running test. It is never searched for on the `PATH`: a test of some other installation proves nothing.

use std::env;
use std::path::{Path, PathBuf};

/// Names the binary under test.
const VARIABLE: &str = "ECSR_BIN";

/// The binary under test.
///
/// # Panics
/// When there is none; the message says how to get one.
pub fn ecsr() -> PathBuf {
    let path = match env::var_os(VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => beside(&env::current_exe().expect("a running test has a path")),
    };
    let path = std::path::absolute(&path).expect("the working directory exists");
    assert!(path.is_file(), "{} is missing: run `cargo build -p ecsr`, or set {VARIABLE}", path.display());
    path
}

/// The web server that runs behind load balancers under test.
///
/// # Panics
/// When the same build did not make it.
pub fn backend() -> PathBuf {
    let own = env::current_exe().expect("a running test has a path");
    let path = beside(&own).with_file_name("ecsr-backend");
    assert!(path.is_file(), "{} is missing: run `cargo build -p ecsr-tests`", path.display());
    path
}

/// The build's `ecsr`: a test lies in `<profile>/deps`, a tool in `<profile>`.
fn beside(executable: &Path) -> PathBuf {
    let dir = executable.parent().expect("an executable lies in a directory");
    let profile = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    profile.join("ecsr")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_of_the_same_build_is_meant() {
        let expected = Path::new("/t/debug/ecsr");
        assert_eq!(beside(Path::new("/t/debug/deps/docker-0123")), expected);
        assert_eq!(beside(Path::new("/t/debug/ecsr-bench")), expected);
    }
}

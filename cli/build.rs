//! Asks the linker of a release to fold functions with the same machine code into one. The SDKs' generic code repeats
//! itself by the megabyte, and what is touched of it is resident in every agent.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // Rust links with LLD by default on this target alone; other linkers do not know the option.
    if is("PROFILE", "release") && is("TARGET", "x86_64-unknown-linux-gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}

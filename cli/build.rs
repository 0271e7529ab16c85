//! Keeps the release small in memory, since one agent runs on every host.
//!
//! The linker folds functions with the same machine code into one: the SDKs' generic code repeats itself by the
//! megabyte. And it gives the binary a fixed address: at a random one, a megabyte of tables full of pointers would be
//! rewritten at every start and belong to each process alone. Heap and stacks stay at random ones.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // Rust links with LLD by default on this target alone; other linkers do not know the option.
    if is("PROFILE", "release") && is("TARGET", "x86_64-unknown-linux-gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
        // The second asks for the start code that goes with the first.
        println!("cargo::rustc-link-arg-bins=-no-pie");
        println!("cargo::rustc-link-arg-bins=-static");
    }
}

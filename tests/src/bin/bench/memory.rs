//! What the processes hold while they have nothing to do.

use std::fs;
use std::time::Duration;

/// Time for allocators and caches to come to rest.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Sizes in bytes. Memory is measured twice: of processes that have just joined and have done nothing, and of the same
/// when they have come to rest after all rounds.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub fresh: Resident,
    pub used: Resident,
    pub binary: u64,
}

/// What is resident of each process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    pub agent: u64,
    pub scheduler: u64,
}

/// Waits until nothing is under way any more.
pub async fn settle() {
    tokio::time::sleep(SETTLED_AFTER).await;
}

/// `VmRSS` of a process, in bytes; 0 when it is gone.
pub fn resident(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    parse(&status).unwrap_or_default()
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_line_is_read() {
        assert_eq!(parse("Name:\tecsr\nVmRSS:\t    9216 kB\n"), Some(9216 * 1024));
        assert_eq!(parse("Name:\tkthreadd\n"), None);
    }
}

//! CPU and memory as callers write them: units or `1 vCPU`, MiB or `1GB`.
//!
//! Task sizes are strings on the wire and may carry a unit; they are stored as whole numbers, again as strings.
//! Decimals are computed in integers, so `.1 vCPU` is the same 102 units everywhere.
//!
//! Invariant: a stored size is the decimal form of a `u32` within ECS's bounds.

use std::ops::RangeInclusive;

use ecsr_api::ecs;

use super::{bad_setting, containers};
use crate::refusal::{Refusal, client};

/// CPU units of a task outside of Fargate: an eighth of a core to 192 cores.
const TASK_CPU_UNITS: RangeInclusive<u32> = 128..=196_608;

/// Least memory of a container in MiB: Docker itself takes no less than 6.
const CONTAINER_MEMORY_MIB_MIN: i32 = 6;

/// Units in one vCPU, and MiB in one GB.
const PER_WHOLE: u64 = 1024;

/// Most digits after the point that are read; finer parts of a unit have no meaning.
const FRACTION_DIGITS_MAX: usize = 9;

/// The task's `cpu` as a number of units.
pub(super) fn task_cpu(cpu: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(cpu) = cpu else { return Ok(None) };
    let units = read(cpu, "vcpu").filter(|units| TASK_CPU_UNITS.contains(units));
    units.map(|units| Some(units.to_string())).ok_or_else(|| client("Invalid 'cpu' setting for task."))
}

/// The task's `memory` as a number of MiB.
pub(super) fn task_memory(memory: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(memory) = memory else { return Ok(None) };
    let least = CONTAINER_MEMORY_MIB_MIN.unsigned_abs();
    let mib = read(memory, "gb").filter(|mib| *mib >= least && i32::try_from(*mib).is_ok());
    mib.map(|mib| Some(mib.to_string())).ok_or_else(|| client("Invalid 'memory' setting for task."))
}

/// A stored size.
pub(super) fn stored(size: Option<&str>) -> Option<u32> {
    size?.parse().ok()
}

/// Checks the sizes of one container, given whether the task has a memory size of its own.
pub(super) fn check_container(
    container: &ecs::ContainerDefinition,
    task_memory: Option<&str>,
) -> Result<(), Refusal> {
    if container.cpu.is_some_and(i32::is_negative) {
        return Err(bad_setting("cpu", container));
    }
    check_memory_least("memory", container.memory, container)?;
    check_memory_least("memoryReservation", container.memory_reservation, container)?;
    match (container.memory, container.memory_reservation) {
        (None, None) if task_memory.is_none() => {
            Err(invalid_for(container, "At least one of 'memory' or 'memoryReservation' must be specified."))
        }
        (Some(memory), Some(reservation)) if memory < reservation => {
            Err(invalid_for(container, "'memory' must be greater than 'memoryReservation'."))
        }
        _ => Ok(()),
    }
}

/// Checks that the containers fit into the sizes of the task.
pub(super) fn check_sums(definition: &ecs::TaskDefinition) -> Result<(), Refusal> {
    let cpu: i64 = containers(definition).iter().map(|container| i64::from(container.cpu.unwrap_or(0))).sum();
    if stored(definition.cpu.as_deref()).is_some_and(|task| cpu > i64::from(task)) {
        return Err(sum_too_large("cpu"));
    }
    let reserved = |container: &ecs::ContainerDefinition| container.memory_reservation.or(container.memory);
    let memory: i64 = containers(definition).iter().filter_map(reserved).map(i64::from).sum();
    if stored(definition.memory.as_deref()).is_some_and(|task| memory > i64::from(task)) {
        return Err(sum_too_large("memory"));
    }
    Ok(())
}

/// Reads a whole number, or a decimal with `unit` after it in any case, as a multiple of 1/1024 of the unit.
fn read(text: &str, unit: &str) -> Option<u32> {
    let lower = text.trim().to_ascii_lowercase();
    match lower.strip_suffix(unit) {
        Some(amount) => read_decimal(amount.trim_end()),
        None if lower.bytes().all(|byte| byte.is_ascii_digit()) => lower.parse().ok(),
        None => None,
    }
}

fn read_decimal(amount: &str) -> Option<u32> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let scale = fraction.bytes().fold(1, |scale: u64, _| scale * 10);
    let parts: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let units = whole.checked_mul(PER_WHOLE)?.checked_add(parts * PER_WHOLE / scale)?;
    u32::try_from(units).ok()
}

fn check_memory_least(
    member: &str,
    mib: Option<i32>,
    container: &ecs::ContainerDefinition,
) -> Result<(), Refusal> {
    if mib.is_some_and(|mib| mib < CONTAINER_MEMORY_MIB_MIN) {
        return Err(invalid_for(container, &format!("'{member}' must be >= {CONTAINER_MEMORY_MIB_MIN}.")));
    }
    Ok(())
}

fn invalid_for(container: &ecs::ContainerDefinition, why: &str) -> Refusal {
    client(format!("Invalid setting for container '{}'. {why}", super::name_of(container)))
}

fn sum_too_large(member: &str) -> Refusal {
    client(format!(
        "The sum of all container '{member}' values cannot be greater than the value of the task '{member}'."
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{check_container_refusal, check_refusal, with_container};
    use super::super::testing::{register_json, with_task};
    use super::*;

    #[test]
    fn task_sizes_are_stored_as_whole_numbers() {
        let check = |cpu: &str, units: Option<&str>| {
            assert_eq!(task_cpu(Some(cpu)).ok().flatten().as_deref(), units, "{cpu}");
        };
        check("256", Some("256"));
        check("1 vCPU", Some("1024"));
        check("1vcpu", Some("1024"));
        check(".5 vCPU", Some("512"));
        check("0.125 VCPU", Some("128"));
        check("192 vCPU", Some("196608"));
        for bad in [
            "",
            " ",
            "127",
            "196609",
            "1.5",
            "-1",
            "vCPU",
            ". vCPU",
            "1,5 vCPU",
            "1 GB",
            "x",
            "9999999999999999999999 vCPU",
        ] {
            check(bad, None);
        }
        let check = |memory: &str, mib: Option<&str>| {
            assert_eq!(task_memory(Some(memory)).ok().flatten().as_deref(), mib, "{memory}");
        };
        check("512", Some("512"));
        check("1GB", Some("1024"));
        check("1.5 gb", Some("1536"));
        check("5", None);
        check("0", None);
        check("", None);
    }

    #[test]
    fn bad_sizes_are_refused_in_the_words_of_ecs() {
        check_refusal(json!({"cpu": ""}), "Invalid 'cpu' setting for task.");
        check_refusal(json!({"memory": "lots"}), "Invalid 'memory' setting for task.");
        check_refusal(
            json!({"memory": "32"}),
            "The sum of all container 'memory' values cannot be greater than the value of the task 'memory'.",
        );
        check_container_refusal(json!({"cpu": -1}), "Invalid 'cpu' setting for container 'app'.");
        check_container_refusal(
            json!({"memory": null}),
            "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be specified.",
        );
        check_container_refusal(
            json!({"memory": 5}),
            "Invalid setting for container 'app'. 'memory' must be >= 6.",
        );
        check_container_refusal(
            json!({"memory": -5}),
            "Invalid setting for container 'app'. 'memory' must be >= 6.",
        );
        check_container_refusal(
            json!({"memoryReservation": 128}),
            "Invalid setting for container 'app'. 'memory' must be greater than 'memoryReservation'.",
        );
        let mut request = with_container(json!({"cpu": 512}));
        request["cpu"] = json!("256");
        assert_eq!(
            register_json(request).expect_err("too much").to_string(),
            "The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'."
        );
    }

    #[test]
    fn a_task_size_replaces_the_container_size() {
        let mut request = with_task(json!({"memory": "0.5GB", "cpu": "1 vCPU"}));
        request["containerDefinitions"][0]["memory"] = json!(null);
        let definition = register_json(request).expect("valid");
        assert_eq!((definition.cpu.as_deref(), definition.memory.as_deref()), (Some("1024"), Some("512")));
    }

    #[test]
    fn a_reservation_alone_or_equal_is_enough() {
        register_json(with_container(json!({"memory": null, "memoryReservation": 6}))).expect("valid");
        register_json(with_container(json!({"memoryReservation": 64}))).expect("valid");
    }
}

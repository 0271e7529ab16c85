//! What is done to the cluster: one fault after the other, each undone after a while, until the storm is over.

use std::sync::Arc;
use std::time::Duration;

use ecsr_scheduler::journal::Failure;

use crate::engine::DockerEngine;
use crate::trace::Fault;
use crate::world::{Party, World};

/// How long storms last, and how far apart faults are.
const STORM: (Duration, Duration) = (Duration::from_mins(4), Duration::from_mins(16));
const LULL_MAX: Duration = Duration::from_secs(25);

/// How far the scheduler's clock may be wrong: less than what is over is remembered for.
const CLOCK_ERROR_MAX: Duration = Duration::from_mins(8);

/// One run's storm. Ends early if an invariant is broken.
pub(crate) async fn rage(world: &Arc<World>) {
    let end = world.elapsed() + world.chance.between(STORM.0, STORM.1);
    while world.elapsed() < end && world.is_lawful() {
        tokio::time::sleep(world.chance.between(Duration::ZERO, LULL_MAX)).await;
        strike(world);
    }
}

/// Undoes all that was done.
pub(crate) fn heal(world: &Arc<World>) {
    world.calm_down();
    world.control.journal.heal();
    world.control.start(world);
    for machine in &world.machines {
        machine.set_disk_full(false);
        {
            let mut inner = machine.lock();
            inner.is_engine_away = false;
            for container in inner.containers.values_mut() {
                container.is_immortal = false;
            }
        }
        power_on(world, machine.index);
        world.rejoin(machine.index);
        machine.start_agent(world);
    }
}

fn strike(world: &Arc<World>) {
    let host = world.chance.index(world.machines.len());
    match world.chance.below(20) {
        0..=3 => crash_scheduler(world),
        4 => fail_journal(world, Failure::Refused, Fault::AppendRefused, Duration::from_secs(5)),
        5 => fail_journal(world, Failure::AnswerLost, Fault::AppendAnswerLost, Duration::from_secs(3)),
        6 => fail_journal(world, Failure::Refused, Fault::DiskFull, Duration::from_mins(2)),
        7 => jump_clock(world),
        8..=10 => crash_agent(world, host),
        11 => fill_agent_disk(world, host),
        12 | 13 => power_off(world, host),
        14 | 15 => partition(world, host),
        16 => {
            world.trace.fault(Fault::LineCut, Party::Host(host));
            world.cut_lines(host);
        }
        17 => engine_away(world, host),
        18 => hurt_container(world, host),
        _ => {
            world.trace.fault(Fault::EventStreamBroken, Party::Host(host));
            world.machines[host].lock().subscribers.clear();
        }
    }
}

/// Does something later, unless the storm has ended by then, which undoes everything.
fn later(world: &Arc<World>, most: Duration, act: impl FnOnce(&Arc<World>) + Send + 'static) {
    let (after, world_then) = (world.chance.between(Duration::ZERO, most), world.clone());
    world.spawn(async move {
        tokio::time::sleep(after).await;
        if world_then.is_stormy() {
            act(&world_then);
        }
    });
}

fn crash_scheduler(world: &Arc<World>) {
    if world.chance.one_in(2) {
        world.control.crash_when_appending();
    } else {
        crash(world);
    }
}

/// Kills the scheduler; somebody starts it again after a while, or at once if the storm has ended meanwhile.
pub(crate) fn crash(world: &Arc<World>) {
    world.control.crash(world);
    if !world.is_stormy() {
        world.control.start(world);
        return;
    }
    let away = if world.chance.one_in(6) { Duration::from_mins(6) } else { Duration::from_secs(20) };
    later(world, away, |world| world.control.start(world));
}

fn fail_journal(world: &Arc<World>, failure: Failure, fault: Fault, most: Duration) {
    world.trace.fault(fault, "scheduler");
    world.control.journal.fail(failure);
    later(world, most, |world| {
        world.control.journal.heal();
        // It may have ended while it could not write.
        world.control.start(world);
    });
}

fn jump_clock(world: &Arc<World>) {
    let by = world.chance.between(Duration::ZERO, CLOCK_ERROR_MAX / 4);
    let millis = i64::try_from(by.as_millis()).expect("it is short");
    if world.chance.one_in(2) {
        world.trace.fault(Fault::ClockForward, "scheduler");
        world.control.jump_clock(millis);
    } else {
        world.trace.fault(Fault::ClockBackward, "scheduler");
        world.control.jump_clock(-millis);
    }
}

fn crash_agent(world: &Arc<World>, host: usize) {
    world.trace.fault(Fault::AgentCrashed, Party::Host(host));
    let machine = &world.machines[host];
    machine.kill_agent();
    if world.chance.one_in(3) {
        world.trace.fault(Fault::AgentLostItsDisk, Party::Host(host));
        machine.lose_disk(world);
    }
    let away = if world.chance.one_in(4) { Duration::from_mins(4) } else { Duration::from_secs(10) };
    later(world, away, move |world| world.machines[host].start_agent(world));
}

fn fill_agent_disk(world: &Arc<World>, host: usize) {
    world.trace.fault(Fault::AgentDiskFull, Party::Host(host));
    world.machines[host].set_disk_full(true);
    later(world, Duration::from_mins(1), move |world| world.machines[host].set_disk_full(false));
}

fn power_off(world: &Arc<World>, host: usize) {
    let machine = &world.machines[host];
    if !machine.lock().is_on {
        return;
    }
    world.trace.fault(Fault::HostPoweredOff, Party::Host(host));
    // Nobody is left to say goodbye.
    world.cut_off(host);
    machine.power_off(world);
    if world.chance.one_in(3) {
        world.trace.fault(Fault::HostWiped, Party::Host(host));
        machine.wipe();
    }
    later(world, Duration::from_mins(7), move |world| {
        power_on(world, host);
        world.machines[host].start_agent(world);
    });
}

fn power_on(world: &Arc<World>, host: usize) {
    let machine = &world.machines[host];
    if machine.lock().is_on {
        return;
    }
    world.trace.note(Party::Host(host), format_args!("is on again"));
    machine.power_on();
    world.cut_lines(host);
    world.rejoin(host);
}

fn partition(world: &Arc<World>, host: usize) {
    world.trace.fault(Fault::Partitioned, Party::Host(host));
    world.cut_off(host);
    let most = if world.chance.one_in(3) { Duration::from_mins(8) } else { Duration::from_secs(40) };
    later(world, most, move |world| {
        if world.machines[host].lock().is_on {
            world.trace.note(Party::Host(host), format_args!("can be reached again"));
            world.rejoin(host);
        }
    });
}

fn engine_away(world: &Arc<World>, host: usize) {
    world.trace.fault(Fault::EngineAway, Party::Host(host));
    {
        let mut inner = world.machines[host].lock();
        inner.is_engine_away = true;
        inner.subscribers.clear();
    }
    later(world, Duration::from_secs(40), move |world| world.machines[host].lock().is_engine_away = false);
}

fn hurt_container(world: &Arc<World>, host: usize) {
    let running: Vec<String> = {
        let inner = world.machines[host].lock();
        inner.containers.values().filter(|one| one.is_running()).map(|one| one.id.clone()).collect()
    };
    if running.is_empty() {
        return;
    }
    let id = world.chance.pick(&running).clone();
    if world.chance.one_in(2) {
        world.trace.fault(Fault::ContainerVanished, Party::Host(host));
        DockerEngine::new(world, host).vanish(&id);
        return;
    }
    if let Some(container) = world.machines[host].lock().containers.get_mut(&id) {
        container.is_immortal = true;
    }
    later(world, Duration::from_mins(3), move |world| {
        if let Some(container) = world.machines[host].lock().containers.get_mut(&id) {
            container.is_immortal = false;
        }
    });
}

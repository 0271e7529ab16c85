//! What tasks use and how they are, in the messages of TCS.
//!
//! Usage is one sample per container and interval, taken in one call each: no stream is kept open, so nothing grows
//! with the time that a container runs. A rate needs two samples; a container's first tells only its memory.

use std::collections::BTreeMap;

use ecsr_api::Timestamp;
use ecsr_api::tcs::{
    CWStatsSet, ContainerHealth, ContainerMetric, HealthMetadata, Message, MetricsMetadata, NetworkStatsSet,
    PublishHealthRequest, PublishMetricsRequest, RestartStatsSet, StorageStatsSet, TASKS_PER_MESSAGE_MAX,
    TaskHealth, TaskMetric, ULongStatsSet,
};
use futures_util::{StreamExt, stream};

use crate::clock::now;
use crate::engine::{ContainerView, Status, TaskView};
use crate::runtime::{NetworkUsage, Runtime, Usage};

/// Containers sampled at once: statistics cost the engine much, and nobody waits for them.
const SAMPLES_IN_FLIGHT: usize = 4;
const MIB: f64 = 1024.0 * 1024.0;

/// Who publishes.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    pub(crate) cluster: String,
    pub(crate) container_instance: String,
}

/// The last sample of each container, by id.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    last: BTreeMap<String, Usage>,
}

impl Sampler {
    /// Samples every running container and tells what it used since its last sample.
    pub(crate) async fn sample<R: Runtime>(&mut self, runtime: &R, tasks: &[TaskView]) -> Vec<TaskMetric> {
        let ids: Vec<String> = tasks.iter().flat_map(running).filter_map(|c| c.runtime_id.clone()).collect();
        let samples: BTreeMap<String, Usage> = stream::iter(ids)
            .map(|id| async move { runtime.stats(&id).await.ok().map(|usage| (id, usage)) })
            .buffer_unordered(SAMPLES_IN_FLIGHT)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let metrics = tasks.iter().filter_map(|task| self.task_metric(task, &samples)).collect();
        self.last = samples;
        metrics
    }

    fn task_metric(&self, task: &TaskView, samples: &BTreeMap<String, Usage>) -> Option<TaskMetric> {
        let containers: Vec<ContainerMetric> = running(task)
            .filter_map(|container| {
                let id = container.runtime_id.as_ref()?;
                Some(container_metric(container, samples.get(id)?, self.last.get(id)))
            })
            .collect();
        (!containers.is_empty()).then(|| TaskMetric {
            task_arn: Some(task.arn.clone()),
            task_definition_family: Some(task.family.clone()),
            task_definition_version: Some(task.version.clone()),
            container_metrics: Some(containers),
            ..TaskMetric::default()
        })
    }
}

fn running(task: &TaskView) -> impl Iterator<Item = &ContainerView> {
    task.containers.iter().filter(|container| container.status == Status::Running)
}

fn container_metric(container: &ContainerView, usage: &Usage, before: Option<&Usage>) -> ContainerMetric {
    ContainerMetric {
        container_name: Some(container.name.clone()),
        cpu_stats_set: before.map(|before| statistic(cpu_percent(usage, before))),
        memory_stats_set: Some(statistic(as_f64(usage.memory_bytes) / MIB)),
        network_stats_set: match (usage.network, before.and_then(|before| before.network)) {
            (Some(network), Some(earlier)) => {
                before.map(|before| network_metric(&network, &earlier, seconds(usage, before)))
            }
            (Some(_) | None, _) => None,
        },
        storage_stats_set: before.map(|before| StorageStatsSet {
            read_size_bytes: Some(counted(usage.read_bytes.saturating_sub(before.read_bytes))),
            write_size_bytes: Some(counted(usage.write_bytes.saturating_sub(before.write_bytes))),
        }),
        restart_stats_set: Some(RestartStatsSet { restart_count: Some(i64::from(container.restarts)) }),
    }
}

/// Percent of all cores.
fn cpu_percent(usage: &Usage, before: &Usage) -> f64 {
    let seconds = seconds(usage, before);
    if seconds <= 0.0 {
        return 0.0;
    }
    let used = as_f64(usage.cpu_nanos.saturating_sub(before.cpu_nanos)) / 1e9;
    100.0 * used / f64::from(usage.cores.max(1)) / seconds
}

fn seconds(usage: &Usage, before: &Usage) -> f64 {
    usage.at.since(before.at).as_secs_f64()
}

fn network_metric(network: &NetworkUsage, earlier: &NetworkUsage, seconds: f64) -> NetworkStatsSet {
    let grown = |now: &[u64; 4], then: &[u64; 4]| -> Vec<u64> {
        now.iter().zip(then).map(|(now, then)| now.saturating_sub(*then)).collect()
    };
    let (rx, tx) = (grown(&network.rx, &earlier.rx), grown(&network.tx, &earlier.tx));
    let rate = |bytes: u64| (seconds > 0.0).then(|| statistic(as_f64(bytes) / seconds));
    NetworkStatsSet {
        rx_bytes: Some(counted(rx[0])),
        rx_bytes_per_second: rate(rx[0]),
        rx_packets: Some(counted(rx[1])),
        rx_errors: Some(counted(rx[2])),
        rx_dropped: Some(counted(rx[3])),
        tx_bytes: Some(counted(tx[0])),
        tx_bytes_per_second: rate(tx[0]),
        tx_packets: Some(counted(tx[1])),
        tx_errors: Some(counted(tx[2])),
        tx_dropped: Some(counted(tx[3])),
    }
}

fn statistic(value: f64) -> CWStatsSet {
    CWStatsSet { min: Some(value), max: Some(value), sum: Some(value), sample_count: Some(1) }
}

fn counted(value: u64) -> ULongStatsSet {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ULongStatsSet {
        min: Some(value),
        max: Some(value),
        sum: Some(value),
        sample_count: Some(1),
        ..ULongStatsSet::default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counters are told as floating point by the protocol")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

/// The metrics in as many messages as the protocol wants, the last one marked.
pub(crate) fn metrics_messages(
    publisher: &Publisher,
    message_id: &str,
    metrics: Vec<TaskMetric>,
) -> Vec<Message> {
    let is_idle = metrics.is_empty();
    split(metrics)
        .into_iter()
        .map(|(tasks, fin)| {
            Message::PublishMetricsRequest(PublishMetricsRequest {
                metadata: Some(MetricsMetadata {
                    cluster: Some(publisher.cluster.clone()),
                    container_instance: Some(publisher.container_instance.clone()),
                    message_id: Some(message_id.to_owned()),
                    idle: Some(is_idle),
                    fin: Some(fin),
                }),
                task_metrics: Some(tasks).filter(|tasks| !tasks.is_empty()),
                instance_metrics: None,
                timestamp: Some(now()),
            })
        })
        .collect()
}

/// The health of every container that has a check; no message if there is none.
pub(crate) fn health_messages(publisher: &Publisher, message_id: &str, tasks: &[TaskView]) -> Vec<Message> {
    let checked: Vec<TaskHealth> = tasks.iter().filter_map(task_health).collect();
    if checked.is_empty() {
        return Vec::new();
    }
    split(checked)
        .into_iter()
        .map(|(tasks, fin)| {
            Message::PublishHealthRequest(PublishHealthRequest {
                metadata: Some(HealthMetadata {
                    cluster: Some(publisher.cluster.clone()),
                    container_instance: Some(publisher.container_instance.clone()),
                    message_id: Some(message_id.to_owned()),
                    fin: Some(fin),
                }),
                tasks: Some(tasks),
                timestamp: Some(now()),
            })
        })
        .collect()
}

fn task_health(task: &TaskView) -> Option<TaskHealth> {
    let checked = task.containers.iter().filter(|container| container.health_checked);
    let containers: Vec<ContainerHealth> = checked.map(container_health).collect();
    (!containers.is_empty() && task.known == Status::Running).then(|| TaskHealth {
        task_arn: Some(task.arn.clone()),
        task_definition_family: Some(task.family.clone()),
        task_definition_version: Some(task.version.clone()),
        containers: Some(containers),
        ..TaskHealth::default()
    })
}

fn container_health(container: &ContainerView) -> ContainerHealth {
    ContainerHealth {
        container_name: Some(container.name.clone()),
        health_status: Some(container.health.as_str().to_owned()),
        status_since: Some(container.health_since.unwrap_or_else(now))
            .filter(|at| *at != Timestamp::default()),
    }
}

/// Chunks of at most [`TASKS_PER_MESSAGE_MAX`], at least one, with the last one marked.
fn split<T>(mut items: Vec<T>) -> Vec<(Vec<T>, bool)> {
    let mut chunks = Vec::new();
    while items.len() > TASKS_PER_MESSAGE_MAX {
        let rest = items.split_off(TASKS_PER_MESSAGE_MAX);
        chunks.push((std::mem::replace(&mut items, rest), false));
    }
    chunks.push((items, true));
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_a_share_of_all_cores_over_time() {
        let at = |millis, cpu_nanos| Usage {
            at: Timestamp::from_millis(millis),
            cpu_nanos,
            cores: 2,
            ..Usage::default()
        };
        let cases = [(1000, 1_000_000_000, 50.0), (2000, 1_000_000_000, 25.0), (0, 5, 0.0)];
        for (millis, cpu_nanos, expected) in cases {
            let percent = cpu_percent(&at(millis, cpu_nanos), &at(0, 0));
            assert!((percent - expected).abs() < 1e-9, "{percent} {expected}");
        }
    }

    #[test]
    fn messages_hold_ten_tasks_and_the_last_is_marked() {
        let sizes = |count: usize| -> Vec<(usize, bool)> {
            split(vec![(); count]).into_iter().map(|(chunk, fin)| (chunk.len(), fin)).collect()
        };
        assert_eq!(sizes(0), [(0, true)]);
        assert_eq!(sizes(10), [(10, true)]);
        assert_eq!(sizes(21), [(10, false), (10, false), (1, true)]);
    }
}

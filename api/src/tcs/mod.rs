//! TCS, the telemetry service: metrics and container health on the agent's second WebSocket.
//!
//! Container health reaches the scheduler in no other way. The scheduler's frames are plain JSON envelopes;
//! the agent's are signed ([`frame`]). Moments are seconds since 1970.

mod connect;
pub mod frame;

use crate::timestamp::Timestamp;
use crate::wire::{messages, structures};

pub use connect::Connect;

/// The longest JSON of a frame: the agent splits its messages at 1 MiB.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// The most tasks that one message carries; the agent sends the rest in further messages.
pub const TASKS_PER_MESSAGE_MAX: usize = 10;

/// How often an agent publishes, in seconds.
pub const PUBLISH_INTERVAL_SECONDS: u64 = 20;

messages! {
    /// A message of either direction.
    pub enum Message within FRAME_BYTES_MAX {
        AckPublishHealth(AckPublishHealth),
        AckPublishInstanceStatus(AckPublishInstanceStatus),
        AckPublishMetric(AckPublishMetric),
        BadRequestException(Exception),
        HeartbeatMessage(HeartbeatMessage),
        InvalidParameterException(Exception),
        PublishHealthRequest(PublishHealthRequest),
        PublishInstanceStatusRequest(PublishInstanceStatusRequest),
        PublishMetricsRequest(PublishMetricsRequest),
        ResourceValidationException(Exception),
        ServerException(Exception),
        StopTelemetrySessionMessage(StopTelemetrySessionMessage),
    }
}

structures! {
    /// Scheduler to agent: metrics arrived.
    pub struct AckPublishMetric {
        message: String,
    }

    /// Scheduler to agent: health arrived.
    pub struct AckPublishHealth {
        message: String,
    }

    /// Scheduler to agent: the instance's status arrived.
    pub struct AckPublishInstanceStatus {
        message: String,
    }

    /// Scheduler to agent: the connection lives.
    pub struct HeartbeatMessage {
        healthy: bool,
    }

    /// Scheduler to agent: publish no more on this connection.
    pub struct StopTelemetrySessionMessage {
        message: String,
    }

    /// What every exception carries.
    pub struct Exception {
        message: String,
    }

    /// Agent to scheduler: what tasks and instance used.
    pub struct PublishMetricsRequest {
        metadata: MetricsMetadata,
        /// At most [`TASKS_PER_MESSAGE_MAX`].
        task_metrics: Vec<TaskMetric>,
        /// In the first message of a set only.
        instance_metrics: InstanceMetrics,
        timestamp: Timestamp,
    }

    /// Which set of messages a [`PublishMetricsRequest`] belongs to.
    pub struct MetricsMetadata {
        cluster: String,
        container_instance: String,
        message_id: String,
        /// No task runs here.
        idle: bool,
        /// The last message of the set.
        fin: bool,
    }

    /// What a task used.
    pub struct TaskMetric {
        task_arn: String,
        task_definition_family: String,
        task_definition_version: String,
        cluster_arn: String,
        container_metrics: Vec<ContainerMetric>,
        ephemeral_storage_metrics: EphemeralStorageMetrics,
    }

    /// What a container used since the last message.
    pub struct ContainerMetric {
        container_name: String,
        /// Percent of all cores.
        cpu_stats_set: CWStatsSet,
        /// MiB.
        memory_stats_set: CWStatsSet,
        network_stats_set: NetworkStatsSet,
        storage_stats_set: StorageStatsSet,
        restart_stats_set: RestartStatsSet,
    }

    /// A statistic of floating point samples.
    pub struct CWStatsSet {
        max: f64,
        min: f64,
        sample_count: i64,
        sum: f64,
    }

    /// A statistic of integer samples. A sum that does not fit continues in the `overflow` members.
    pub struct ULongStatsSet {
        max: i64,
        min: i64,
        overflow_max: i64,
        overflow_min: i64,
        overflow_sum: i64,
        sample_count: i64,
        sum: i64,
    }

    /// Network traffic of a container.
    pub struct NetworkStatsSet {
        rx_bytes: ULongStatsSet,
        rx_bytes_per_second: CWStatsSet,
        rx_dropped: ULongStatsSet,
        rx_errors: ULongStatsSet,
        rx_packets: ULongStatsSet,
        tx_bytes: ULongStatsSet,
        tx_bytes_per_second: CWStatsSet,
        tx_dropped: ULongStatsSet,
        tx_errors: ULongStatsSet,
        tx_packets: ULongStatsSet,
    }

    /// Disk traffic of a container.
    pub struct StorageStatsSet {
        read_size_bytes: ULongStatsSet,
        write_size_bytes: ULongStatsSet,
    }

    /// How often a container was started again in place.
    pub struct RestartStatsSet {
        restart_count: i64,
    }

    /// The task's ephemeral storage, in bytes.
    pub struct EphemeralStorageMetrics {
        bytes_reserved: i64,
        bytes_utilized: i64,
    }

    /// What the instance as a whole used.
    pub struct InstanceMetrics {
        storage: InstanceStorageMetrics,
    }

    /// Fill levels of the instance's file systems, in percent.
    pub struct InstanceStorageMetrics {
        data_filesystem: f64,
        os_filesystem: f64,
    }

    /// Agent to scheduler: the health of containers that have a check.
    pub struct PublishHealthRequest {
        metadata: HealthMetadata,
        /// At most [`TASKS_PER_MESSAGE_MAX`].
        tasks: Vec<TaskHealth>,
        timestamp: Timestamp,
    }

    /// Which set of messages a [`PublishHealthRequest`] belongs to.
    pub struct HealthMetadata {
        cluster: String,
        container_instance: String,
        message_id: String,
        /// The last message of the set.
        fin: bool,
    }

    /// The health of a task's containers.
    pub struct TaskHealth {
        task_arn: String,
        task_definition_family: String,
        task_definition_version: String,
        cluster_arn: String,
        containers: Vec<ContainerHealth>,
    }

    /// The health of a container.
    pub struct ContainerHealth {
        container_name: String,
        /// `HEALTHY`, `UNHEALTHY` or `UNKNOWN`.
        health_status: String,
        status_since: Timestamp,
    }

    /// Agent to scheduler: how the instance itself is. Sent when it changed.
    pub struct PublishInstanceStatusRequest {
        metadata: InstanceStatusMetadata,
        statuses: Vec<InstanceStatus>,
        timestamp: Timestamp,
    }

    /// What a [`PublishInstanceStatusRequest`] belongs to.
    pub struct InstanceStatusMetadata {
        cluster: String,
        container_instance: String,
        request_id: String,
    }

    /// One check of the instance.
    pub struct InstanceStatus {
        /// `ContainerRuntime`.
        r#type: String,
        /// `OK`, `IMPAIRED` or `INITIALIZING`.
        status: String,
        last_updated: Timestamp,
        last_status_change: Timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_read_as_the_agent_writes_it() {
        let text = r#"{"type":"PublishHealthRequest","message":{"metadata":{"cluster":"default",
            "containerInstance":"i","fin":true,"messageId":"m"},"tasks":[{"taskArn":"t","taskDefinitionFamily":"demo",
            "taskDefinitionVersion":"1","containers":[{"containerName":"web","healthStatus":"HEALTHY",
            "statusSince":1795376538.372}]}],"timestamp":1795376548.47}}"#;
        let message = Message::decode(text).unwrap();
        let sent: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&message.encode()).unwrap(), sent);
        let Message::PublishHealthRequest(health) = message else { panic!("{message:?}") };
        let tasks = health.tasks.unwrap();
        let container = &tasks[0].containers.as_ref().unwrap()[0];
        assert_eq!(container.status_since, Some(Timestamp::from_millis(1_795_376_538_372)));
    }

    #[test]
    fn acknowledgements_are_plain_envelopes() {
        let ack = Message::AckPublishMetric(AckPublishMetric::default());
        assert_eq!(ack.encode(), r#"{"type":"AckPublishMetric","message":{}}"#);
        assert_eq!(Message::decode(&ack.encode()).unwrap(), ack);
    }
}

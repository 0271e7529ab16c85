//! The payload: what tasks an instance should have, and what each container is made of.
//!
//! Much of a container travels as Docker's own JSON inside two strings ([`DockerConfig`]), which the agent
//! decodes on top of what it built from the other members. The scheduler merges environment, cpu and memory
//! overrides before it sends; a container's own `overrides` may hold nothing but `command`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::attachment::{Attachment, ElasticNetworkInterface};
use super::{IAMRoleCredentials, structures};

structures! {
    /// Scheduler to agent: tasks to start or stop. Repeating a known task is harmless; stops go first.
    ///
    /// An agent drops it silently unless `messageId`, `clusterArn` and `containerInstanceArn` are set.
    pub struct PayloadMessage {
        message_id: String,
        cluster_arn: String,
        container_instance_arn: String,
        generated_at: i64,
        /// Grows with every payload; compared with a manifest's `timeline`.
        seq_num: i64,
        timeline: i64,
        tasks: Vec<Task>,
    }

    /// A task as the agent is told of it.
    pub struct Task {
        arn: String,
        task_cluster_arn: String,
        family: String,
        /// The revision, as text.
        version: String,
        /// `RUNNING` or `STOPPED`.
        desired_status: String,
        task_definition_account_id: String,
        zone: String,
        /// vCPU.
        cpu: f64,
        /// MiB.
        memory: i64,
        containers: Vec<Container>,
        volumes: Vec<Volume>,
        /// Ignored by agents; Amazon's service sends `"{}"`.
        overrides: Value,
        role_credentials: IAMRoleCredentials,
        execution_role_credentials: IAMRoleCredentials,
        elastic_network_interfaces: Vec<ElasticNetworkInterface>,
        /// `bridge`, `host`, `none` or `awsvpc`; empty means `bridge`.
        network_mode: String,
        /// `EC2`, `EXTERNAL` or `FARGATE`.
        launch_type: String,
        service_name: String,
        group: String,
        pid_mode: String,
        ipc_mode: String,
        proxy_configuration: ProxyConfiguration,
        associations: Vec<Association>,
        attachments: Vec<Attachment>,
        agent_configuration: Value,
        enable_fault_injection: bool,
        trusted_execution_configuration: TrustedExecutionConfiguration,
        /// Not Amazon's, whose agents pass over it as over all that they do not know.
        local_restart: LocalRestart,
    }

    /// What an agent does by itself about an essential container that ends while no scheduler can be reached: it starts
    /// it again, after a pause that doubles with each end. With a scheduler the end of such a container is the end of
    /// its task, which the scheduler replaces.
    pub struct LocalRestart {
        /// Seconds before the first restart.
        delay_min: i64,
        /// Most seconds before a restart; a run that lasted this long counts as a success.
        delay_max: i64,
    }

    /// A container of a task.
    pub struct Container hide(environment) {
        name: String,
        image: String,
        container_arn: String,
        /// CPU shares: 1024 for a core.
        cpu: i64,
        /// The hard limit in MiB.
        memory: i64,
        /// Missing means false, unlike in a task definition.
        essential: bool,
        command: Vec<String>,
        entry_point: Vec<String>,
        environment: BTreeMap<String, String>,
        environment_files: Vec<EnvironmentFile>,
        secrets: Vec<Secret>,
        port_mappings: Vec<PortMapping>,
        mount_points: Vec<MountPoint>,
        volumes_from: Vec<VolumeFrom>,
        /// `name[:alias]`.
        links: Vec<String>,
        depends_on: Vec<ContainerDependency>,
        /// Seconds.
        start_timeout: i64,
        /// Seconds from SIGTERM to SIGKILL.
        stop_timeout: i64,
        /// `docker`: the check stands in [`DockerConfig::config`].
        health_check_type: String,
        restart_policy: RestartPolicy,
        linux_parameters: LinuxParameters,
        privileged: bool,
        network_interface_names: Vec<String>,
        registry_authentication: RegistryAuthentication,
        /// `ExecutionRole`, if the log driver is to use that role.
        logs_auth_strategy: String,
        managed_agents: Vec<ManagedAgent>,
        firelens_configuration: FirelensConfiguration,
        credential_specs: Vec<String>,
        /// JSON text or an object, holding `command` at most.
        overrides: Value,
        docker_config: DockerConfig,
    }

    /// Docker Engine API JSON, as text, laid over what the agent builds from the other members.
    pub struct DockerConfig hide(config) {
        /// The lowest Docker API version that understands the two.
        version: String,
        /// A `Config`: user, working directory, labels, health check (nanoseconds), …
        config: String,
        /// A `HostConfig`: log driver, ulimits, capabilities, network mode, …
        host_config: String,
    }

    /// A file of environment variables.
    pub struct EnvironmentFile {
        /// An S3 ARN.
        value: String,
        /// `s3`.
        r#type: String,
    }

    /// A value that the agent fetches before the container starts.
    pub struct Secret {
        name: String,
        value_from: String,
        region: String,
        /// `ssm` or `asm`.
        provider: String,
        /// `ENVIRONMENT_VARIABLE`, `MOUNT_POINT` or `BOOTSTRAP`.
        r#type: String,
        /// `CONTAINER` or `LOG_DRIVER`.
        target: String,
        container_path: String,
    }

    /// A port of the container, made reachable on the host.
    pub struct PortMapping {
        container_port: i32,
        /// Zero or missing: the agent picks one.
        host_port: i32,
        container_port_range: String,
        /// `tcp` or `udp`.
        protocol: String,
    }

    /// Where a volume appears in the container.
    pub struct MountPoint {
        source_volume: String,
        container_path: String,
        read_only: bool,
    }

    /// All volumes of another container.
    pub struct VolumeFrom {
        source_container: String,
        read_only: bool,
    }

    /// What must be so with another container before this one starts.
    pub struct ContainerDependency {
        container_name: String,
        /// `START`, `COMPLETE`, `SUCCESS` or `HEALTHY`.
        condition: String,
    }

    /// When an exited container is started again in place.
    pub struct RestartPolicy {
        enabled: bool,
        ignored_exit_codes: Vec<i32>,
        /// Seconds that it must have run for.
        restart_attempt_period: i64,
    }

    /// Settings of the Linux kernel for a container.
    pub struct LinuxParameters {
        capabilities: KernelCapabilities,
        devices: Vec<Device>,
        init_process_enabled: bool,
        /// MiB.
        shared_memory_size: i64,
    }

    /// Capabilities added to and taken from the engine's default.
    pub struct KernelCapabilities {
        add: Vec<String>,
        drop: Vec<String>,
    }

    /// A device of the host in the container.
    pub struct Device {
        host_path: String,
        container_path: String,
        /// `read`, `write`, `mknod`.
        permissions: Vec<String>,
    }

    /// How the agent authenticates to the image's registry.
    pub struct RegistryAuthentication {
        /// `ecr` or `asm`.
        r#type: String,
        ecr_auth_data: EcrAuthData,
        asm_auth_data: AsmAuthData,
    }

    /// Authentication to Amazon ECR.
    pub struct EcrAuthData {
        registry_id: String,
        region: String,
        endpoint_override: String,
        use_execution_role: bool,
    }

    /// Authentication by a secret that holds user name and password.
    pub struct AsmAuthData {
        credentials_parameter: String,
        region: String,
    }

    /// A process that the agent runs beside the container's own.
    pub struct ManagedAgent {
        /// `ExecuteCommandAgent`.
        name: String,
        properties: BTreeMap<String, String>,
    }

    /// The container is the task's log router.
    pub struct FirelensConfiguration {
        /// `fluentd` or `fluentbit`.
        r#type: String,
        options: BTreeMap<String, String>,
    }

    /// A volume of the task.
    pub struct Volume {
        name: String,
        /// `host` (the default), `docker`, `efs`, `fsxWindowsFileServer`, `ebs`, …
        r#type: String,
        /// Must be there for type `host`; without a path Docker manages the volume.
        host: HostVolumeProperties,
        docker_volume_configuration: DockerVolumeConfiguration,
        efs_volume_configuration: EFSVolumeConfiguration,
        ebs_volume_configuration: EBSVolumeConfiguration,
        log_driver_volume_configuration: LogDriverVolumeConfiguration,
    }

    /// A directory of the host.
    pub struct HostVolumeProperties {
        source_path: String,
    }

    /// A volume of the Docker engine.
    pub struct DockerVolumeConfiguration {
        /// `task` or `shared`.
        scope: String,
        autoprovision: bool,
        driver: String,
        driver_opts: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
    }

    /// An Amazon EFS file system.
    pub struct EFSVolumeConfiguration {
        file_system_id: String,
        root_directory: String,
        /// `ENABLED` or `DISABLED`.
        transit_encryption: String,
        transit_encryption_port: i32,
        authorization_config: EFSAuthorizationConfig,
    }

    /// Access to an EFS file system.
    pub struct EFSAuthorizationConfig {
        access_point_id: String,
        /// `ENABLED` or `DISABLED`.
        iam: String,
    }

    /// An Amazon EBS volume.
    pub struct EBSVolumeConfiguration {
        volume_id: String,
        device_name: String,
        filesystem_type: String,
        delete_on_termination: bool,
    }

    /// A volume that a log driver provides.
    pub struct LogDriverVolumeConfiguration {
        driver: String,
    }

    /// The proxy that the task's traffic goes through.
    pub struct ProxyConfiguration {
        /// `APPMESH`.
        r#type: String,
        container_name: String,
        properties: BTreeMap<String, String>,
    }

    /// A device or accelerator that containers of the task may use.
    pub struct Association {
        name: String,
        /// `gpu` or `elastic-inference`.
        r#type: String,
        content: AssociationContent,
        containers: Vec<String>,
    }

    /// What describes an [`Association`].
    pub struct AssociationContent {
        value: String,
        /// `identity` or `base64`.
        encoding: String,
    }

    /// How far the task is kept apart from others.
    pub struct TrustedExecutionConfiguration {
        /// `SHARED`, `EXCLUSIVE` or `ISOLATED_PARTITION`.
        isolation_mode: String,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Message;
    use super::*;

    /// A payload as Amazon's agent took it, trimmed.
    const PAYLOAD: &str = r#"{"type":"PayloadMessage","message":{"clusterArn":"arn:aws:ecs:us-east-1:123456789012:cluster/default",
        "containerInstanceArn":"arn:aws:ecs:us-east-1:123456789012:container-instance/default/0123","messageId":"payload-1",
        "generatedAt":1795376449483,"seqNum":1,"tasks":[{"arn":"arn:aws:ecs:us-east-1:123456789012:task/default/aaaa",
        "family":"demo","version":"1","desiredStatus":"RUNNING","launchType":"EXTERNAL","networkMode":"bridge","overrides":"{}",
        "volumes":[{"name":"v","type":"host","host":{}}],"containers":[{"name":"web","image":"busybox:latest","cpu":10,
        "memory":32,"essential":true,"command":["httpd","-f"],"environment":{"FOO":"bar"},
        "portMappings":[{"containerPort":8080,"hostPort":0,"protocol":"tcp"}],"overrides":"{}",
        "dockerConfig":{"config":"{}","hostConfig":"{\"NetworkMode\":\"bridge\",\"CapAdd\":[]}","version":"1.18"}}]}]}}"#;

    #[test]
    fn a_payload_keeps_every_member() {
        let message = Message::decode(PAYLOAD).unwrap();
        let sent: Value = serde_json::from_str(PAYLOAD).unwrap();
        let written: Value = serde_json::from_str(&message.encode()).unwrap();
        assert_eq!(written, sent);
        let Message::PayloadMessage(payload) = message else { panic!("{message:?}") };
        let task = &payload.tasks.unwrap()[0];
        assert_eq!(task.volumes.as_ref().unwrap()[0].host, Some(HostVolumeProperties::default()));
        let container = &task.containers.as_ref().unwrap()[0];
        assert_eq!(container.docker_config.as_ref().unwrap().version.as_deref(), Some("1.18"));
        assert!(!format!("{container:?}").contains("bar"), "environment values stay out of logs");
    }
}

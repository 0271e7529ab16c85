//! `requiresAttributes`: the abilities an instance's agent must have registered to run a task of a definition.
//!
//! Placement compares names only. So that every agent of Amazon's can be chosen, nothing is required that none of
//! them sends: of the Docker API versions only 1.17 to 1.25, 1.28 to 1.30 and 1.32 exist as attributes. A task-level
//! `cpu` or `memory` requires nothing: answers of ECS for such definitions show no attribute, and agents that run
//! without cgroup rights would be shut out.
//!
//! Source: the attributes an agent registers, and answers of DescribeTaskDefinition.

use std::collections::BTreeSet;

use ecsr_api::ecs;

use super::{NetworkMode, containers, logging};

/// Prefix of the older capabilities.
const AMAZON: &str = "com.amazonaws.ecs.capability.";
/// Prefix of the newer ones.
const ECS: &str = "ecs.capability.";

/// The attributes that a completed definition requires, each once, in the order of their names; `None` when there
/// are none.
pub(super) fn of(definition: &ecs::TaskDefinition, network: NetworkMode) -> Option<Vec<ecs::Attribute>> {
    let mut required = Required::default();
    required.by_task(definition, network);
    for volume in definition.volumes.as_deref().unwrap_or_default() {
        required.by_volume(volume);
    }
    let has_execution_role = definition.execution_role_arn.is_some();
    for container in containers(definition) {
        required.by_image(container, has_execution_role);
        required.by_settings(container);
        required.by_linux(container);
        required.by_environment(container);
        required.by_logging(container, has_execution_role);
    }
    let attribute = |name| ecs::Attribute { name: Some(name), ..ecs::Attribute::default() };
    let attributes: Vec<_> = required.names.into_iter().map(attribute).collect();
    (!attributes.is_empty()).then_some(attributes)
}

/// The names collected so far.
#[derive(Default)]
struct Required {
    names: BTreeSet<String>,
}

impl Required {
    fn amazon(&mut self, capability: &str) {
        self.names.insert(format!("{AMAZON}{capability}"));
    }

    fn ecs(&mut self, capability: &str) {
        self.names.insert(format!("{ECS}{capability}"));
    }

    fn docker_api(&mut self, version: &str) {
        self.names.insert(format!("{AMAZON}docker-remote-api.{version}"));
    }

    fn by_task(&mut self, definition: &ecs::TaskDefinition, network: NetworkMode) {
        if definition.task_role_arn.is_some() {
            self.docker_api("1.17");
            match network {
                NetworkMode::Host => self.amazon("task-iam-role-network-host"),
                NetworkMode::Bridge | NetworkMode::Awsvpc | NetworkMode::None => self.amazon("task-iam-role"),
            }
        }
        if network == NetworkMode::Awsvpc {
            self.docker_api("1.18");
            self.ecs("task-eni");
        }
        if definition.pid_mode.is_some() || definition.ipc_mode.is_some() {
            self.ecs("pid-ipc-namespace-sharing");
        }
        if definition.proxy_configuration.is_some() {
            self.ecs("aws-appmesh");
        }
        if definition.enable_fault_injection == Some(true) {
            self.ecs("fault-injection");
        }
        if definition.inference_accelerators.as_ref().is_some_and(|list| !list.is_empty()) {
            self.ecs("task-eia");
        }
    }

    fn by_volume(&mut self, volume: &ecs::Volume) {
        if let Some(docker) = &volume.docker_volume_configuration {
            self.docker_api("1.25");
            self.ecs(&format!("docker-plugin.{}", docker.driver.as_deref().unwrap_or("local")));
        }
        if let Some(efs) = &volume.efs_volume_configuration {
            self.docker_api("1.25");
            self.ecs("efs");
            let secured =
                efs.authorization_config.is_some() || efs.transit_encryption.as_deref() == Some("ENABLED");
            if secured {
                self.ecs("efsAuth");
            }
        }
        if volume.s3files_volume_configuration.is_some() {
            self.ecs("storage.s3-files");
        }
        if volume.fsx_windows_file_server_volume_configuration.is_some() {
            self.ecs("fsxWindowsFileServer");
        }
        if volume.configured_at_launch == Some(true) {
            self.ecs("storage.ebs-task-volume-attach");
        }
    }

    fn by_image(&mut self, container: &ecs::ContainerDefinition, has_execution_role: bool) {
        if container.image.as_deref().is_some_and(is_ecr_image) {
            self.amazon("ecr-auth");
            self.docker_api("1.19");
            if has_execution_role {
                self.ecs("execution-role-ecr-pull");
            }
        }
        if container.repository_credentials.is_some() {
            self.ecs("private-registry-authentication.secretsmanager");
        }
    }

    fn by_settings(&mut self, container: &ecs::ContainerDefinition) {
        if container.depends_on.as_ref().is_some_and(|list| !list.is_empty()) {
            self.ecs("container-ordering");
        }
        if container.health_check.is_some() {
            self.ecs("container-health-check");
        }
        if container.restart_policy.as_ref().is_some_and(|policy| policy.enabled == Some(true)) {
            self.ecs("container-restart-policy");
        }
        let mappings = container.port_mappings.as_deref().unwrap_or_default();
        if mappings.iter().any(|mapping| mapping.container_port_range.is_some()) {
            self.ecs("network.container-port-range");
        }
        if container.memory_reservation.is_some() {
            self.docker_api("1.21");
        }
        let has_labels = container.docker_labels.as_ref().is_some_and(|labels| !labels.is_empty());
        if has_labels || container.ulimits.as_ref().is_some_and(|list| !list.is_empty()) {
            self.docker_api("1.18");
        }
    }

    fn by_linux(&mut self, container: &ecs::ContainerDefinition) {
        if container.privileged == Some(true) {
            self.amazon("privileged-container");
        }
        for option in container.docker_security_options.as_deref().unwrap_or_default() {
            match option.split(':').next().unwrap_or_default() {
                "label" => self.amazon("selinux"),
                "apparmor" => self.amazon("apparmor"),
                "credentialspec" => self.ecs("gmsa"),
                "credentialspecdomainless" => self.ecs("gmsa-domainless"),
                _ => {}
            }
        }
        for spec in container.credential_specs.as_deref().unwrap_or_default() {
            let domainless = spec.starts_with("credentialspecdomainless:");
            self.ecs(if domainless { "gmsa-domainless" } else { "gmsa" });
        }
        let Some(linux) = &container.linux_parameters else { return };
        if linux.init_process_enabled == Some(true) {
            self.docker_api("1.25");
        }
        if linux.shared_memory_size.is_some() || linux.tmpfs.as_ref().is_some_and(|list| !list.is_empty()) {
            self.docker_api("1.22");
        }
    }

    fn by_environment(&mut self, container: &ecs::ContainerDefinition) {
        for secret in container.secrets.as_deref().unwrap_or_default() {
            self.ecs(&format!("secrets.{}.environment-variables", secret_provider(secret)));
        }
        if container.environment_files.as_ref().is_some_and(|list| !list.is_empty()) {
            self.ecs("env-files.s3");
        }
    }

    fn by_logging(&mut self, container: &ecs::ContainerDefinition, has_execution_role: bool) {
        if let Some(firelens) = &container.firelens_configuration {
            self.ecs(&format!("firelens.{}", firelens.r#type.as_deref().unwrap_or_default()));
            let options = firelens.options.as_ref();
            if let Some(kind) = options.and_then(|options| options.get("config-file-type")) {
                self.ecs(&format!("firelens.options.config.{kind}"));
            }
        }
        let Some(driver) = logging::driver(container) else { return };
        self.amazon(&format!("logging-driver.{driver}"));
        self.docker_api(if matches!(driver, "awslogs" | "fluentd") { "1.19" } else { "1.18" });
        if driver == "awslogs" && has_execution_role {
            self.ecs("execution-role-awslogs");
        }
        let log = container.log_configuration.as_ref();
        let options = log.and_then(|log| log.options.as_ref());
        if driver == "awsfirelens"
            && options.is_some_and(|options| options.contains_key("log-driver-buffer-limit"))
        {
            self.ecs("logging-driver.awsfirelens.log-driver-buffer-limit");
        }
        for secret in log.and_then(|log| log.secret_options.as_deref()).unwrap_or_default() {
            self.ecs(&format!("secrets.{}.bootstrap.log-driver", secret_provider(secret)));
        }
    }
}

/// Secrets Manager is named by its ARN; everything else is a parameter of Systems Manager.
fn secret_provider(secret: &ecs::Secret) -> &'static str {
    let value_from = secret.value_from.as_deref().unwrap_or_default();
    let service = value_from.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(1));
    if service == Some("secretsmanager") { "asm" } else { "ssm" }
}

/// `<account>.dkr.ecr[-fips].<region>.amazonaws.com[.cn]/…`, or the dual-stack `<account>.dkr-ecr.<region>.on.aws/…`.
fn is_ecr_image(image: &str) -> bool {
    let Some((host, _)) = image.split_once('/') else { return false };
    let Some((account, rest)) = host.split_once('.') else { return false };
    let of_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let registry = ["dkr.ecr.", "dkr.ecr-fips.", "dkr-ecr.", "dkr-ecr-fips."];
    let domain = [".amazonaws.com", ".amazonaws.com.cn", ".on.aws", ".on.amazonwebservices.com.cn"];
    of_account
        && registry.iter().any(|start| rest.starts_with(start))
        && domain.iter().any(|end| rest.ends_with(end))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{check_accepted, minimal};

    /// The attributes required, `A:` for the older prefix and `E:` for the newer.
    fn check(task: Value, container: Value, expected: &[&str]) {
        let mut request = minimal();
        let targets = [(task, ""), (container, "/containerDefinitions/0")];
        for (members, pointer) in targets {
            for (name, value) in members.as_object().expect("members") {
                request.pointer_mut(pointer).expect("a target")[name] = value.clone();
            }
        }
        let shown = request.to_string();
        let attributes = check_accepted(request).requires_attributes.unwrap_or_default();
        let names: Vec<String> =
            attributes.into_iter().map(|attribute| attribute.name.expect("a name")).collect();
        let full = |name: &&str| {
            name.replacen("A:", "com.amazonaws.ecs.capability.", 1).replacen("E:", "ecs.capability.", 1)
        };
        assert_eq!(names, expected.iter().map(full).collect::<Vec<_>>(), "{shown}");
    }

    #[test]
    fn of_the_task() {
        check(json!({}), json!({}), &[]);
        check(json!({"cpu": "256", "memory": "512"}), json!({}), &[]);
        check(json!({"taskRoleArn": "r"}), json!({}), &["A:docker-remote-api.1.17", "A:task-iam-role"]);
        check(
            json!({"taskRoleArn": "r", "networkMode": "host"}),
            json!({}),
            &["A:docker-remote-api.1.17", "A:task-iam-role-network-host"],
        );
        check(json!({"networkMode": "awsvpc"}), json!({}), &["A:docker-remote-api.1.18", "E:task-eni"]);
        check(json!({"pidMode": "host"}), json!({}), &["E:pid-ipc-namespace-sharing"]);
        check(
            json!({"volumes": [{"name": "v", "dockerVolumeConfiguration": {"driver": "rexray/ebs"}}]}),
            json!({}),
            &["A:docker-remote-api.1.25", "E:docker-plugin.rexray/ebs"],
        );
        check(
            json!({"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]}),
            json!({}),
            &["A:docker-remote-api.1.25", "E:efs"],
        );
        check(json!({"volumes": [{"name": "v", "host": {"sourcePath": "/srv"}}]}), json!({}), &[]);
    }

    #[test]
    fn of_images() {
        let ecr = "123456789012.dkr.ecr.us-east-1.amazonaws.com/web:1";
        let auth = ["A:docker-remote-api.1.19", "A:ecr-auth"];
        check(json!({}), json!({"image": ecr}), &auth);
        check(
            json!({"executionRoleArn": "r"}),
            json!({"image": ecr}),
            &["A:docker-remote-api.1.19", "A:ecr-auth", "E:execution-role-ecr-pull"],
        );
        check(json!({}), json!({"image": "123456789012.dkr-ecr.eu-west-1.on.aws/web"}), &auth);
        check(json!({}), json!({"image": "public.ecr.aws/docker/library/busybox"}), &[]);
        check(
            json!({}),
            json!({"repositoryCredentials": {"credentialsParameter": "arn"}}),
            &["E:private-registry-authentication.secretsmanager"],
        );
    }

    #[test]
    fn of_container_settings() {
        check(json!({}), json!({"memoryReservation": 32}), &["A:docker-remote-api.1.21"]);
        check(json!({}), json!({"dockerLabels": {"a": "b"}}), &["A:docker-remote-api.1.18"]);
        check(json!({}), json!({"privileged": true}), &["A:privileged-container"]);
        check(json!({}), json!({"dockerSecurityOptions": ["label:x", "no-new-privileges"]}), &["A:selinux"]);
        check(json!({}), json!({"healthCheck": {"command": ["NONE"]}}), &["E:container-health-check"]);
        check(json!({}), json!({"restartPolicy": {"enabled": true}}), &["E:container-restart-policy"]);
        check(json!({}), json!({"restartPolicy": {"enabled": false}}), &[]);
        check(
            json!({}),
            json!({"portMappings": [{"containerPortRange": "80-90"}]}),
            &["E:network.container-port-range"],
        );
        check(
            json!({}),
            json!({"linuxParameters": {"initProcessEnabled": true}}),
            &["A:docker-remote-api.1.25"],
        );
        check(json!({}), json!({"linuxParameters": {"sharedMemorySize": 8}}), &["A:docker-remote-api.1.22"]);
        check(
            json!({}),
            json!({"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/a.env"}]}),
            &["E:env-files.s3"],
        );
        let secrets = json!([
            {"name": "A", "valueFrom": "arn:aws:secretsmanager:us-east-1:1:secret:s"},
            {"name": "B", "valueFrom": "parameter"},
        ]);
        check(
            json!({"executionRoleArn": "r"}),
            json!({"secrets": secrets}),
            &["E:secrets.asm.environment-variables", "E:secrets.ssm.environment-variables"],
        );
    }

    #[test]
    fn of_logging() {
        let log = |driver: &str, options: Value| json!({"logConfiguration": {"logDriver": driver, "options": options}});
        check(
            json!({}),
            log("json-file", json!({})),
            &["A:docker-remote-api.1.18", "A:logging-driver.json-file"],
        );
        check(
            json!({"executionRoleArn": "r"}),
            log("awslogs", json!({"awslogs-region": "r", "awslogs-group": "g"})),
            &["A:docker-remote-api.1.19", "A:logging-driver.awslogs", "E:execution-role-awslogs"],
        );
        check(
            json!({}),
            json!({"firelensConfiguration": {"type": "fluentbit", "options": {"config-file-type": "file"}}}),
            &["E:firelens.fluentbit", "E:firelens.options.config.file"],
        );
    }
}

//! What a container asks of the Linux kernel: capabilities, devices, tmpfs, ulimits, sysctls, security options.

use ecsr_api::ecs;

use super::container::is_blank;
use super::{NetworkMode, bad_setting, check_enum};
use crate::refusal::{Refusal, client};

/// Names that `linuxParameters.capabilities` may add or drop.
const CAPABILITIES: [&str; 39] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

/// Options that a tmpfs mount may carry, here without the value that some of them take.
const TMPFS_OPTIONS: [&str; 40] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
    "size",
];

/// Kernel parameters of the IPC namespace; `fs.mqueue.*` is another.
const IPC_PARAMETERS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The value of a ulimit that means none.
const UNLIMITED: i32 = -1;

/// Checks one container's kernel settings.
pub(super) fn check(
    container: &ecs::ContainerDefinition,
    definition: &ecs::TaskDefinition,
    network: NetworkMode,
) -> Result<(), Refusal> {
    if let Some(parameters) = &container.linux_parameters {
        check_parameters(parameters, container)?;
    }
    check_ulimits(container)?;
    check_sysctls(container, definition.ipc_mode.as_deref(), network)?;
    let options = container.docker_security_options.as_deref().unwrap_or_default();
    if !options.iter().all(|option| is_security_option(option)) {
        return Err(bad_setting("dockerSecurityOptions", container));
    }
    if container.credential_specs.as_ref().is_some_and(|specs| specs.len() > 1) {
        return Err(bad_setting("credentialSpecs", container));
    }
    Ok(())
}

fn check_parameters(
    parameters: &ecs::LinuxParameters,
    container: &ecs::ContainerDefinition,
) -> Result<(), Refusal> {
    if let Some(capabilities) = &parameters.capabilities {
        let named = [&capabilities.add, &capabilities.drop].into_iter().flatten().flatten();
        let unknown = named.clone().find(|name| !CAPABILITIES.contains(&name.as_str()));
        if let Some(name) = unknown {
            return Err(client(format!("Linux capability '{name}' is not valid.")));
        }
    }
    let bad = |member: &str| Err(bad_setting(&format!("linuxParameters.{member}"), container));
    if parameters.shared_memory_size.is_some_and(|mib| mib < 1) {
        return bad("sharedMemorySize");
    }
    if parameters.max_swap.is_some_and(i32::is_negative) {
        return bad("maxSwap");
    }
    if parameters.swappiness.is_some_and(|percent| !(0..=100).contains(&percent)) {
        return bad("swappiness");
    }
    if !parameters.tmpfs.as_deref().unwrap_or_default().iter().all(is_tmpfs) {
        return bad("tmpfs");
    }
    for device in parameters.devices.as_deref().unwrap_or_default() {
        if is_blank(device.host_path.as_deref()) {
            return bad("devices");
        }
        for permission in device.permissions.as_deref().unwrap_or_default() {
            check_enum("devices.permissions", Some(permission), ecs::enums::DEVICE_CGROUP_PERMISSION)?;
        }
    }
    Ok(())
}

fn is_tmpfs(tmpfs: &ecs::Tmpfs) -> bool {
    let option_name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
    let options = tmpfs.mount_options.as_deref().unwrap_or_default();
    tmpfs.container_path.as_deref().is_some_and(|path| path.starts_with('/'))
        && tmpfs.size.is_some_and(|mib| mib > 0)
        && options.iter().all(|option| TMPFS_OPTIONS.contains(&option_name(option).as_str()))
}

fn check_ulimits(container: &ecs::ContainerDefinition) -> Result<(), Refusal> {
    for ulimit in container.ulimits.as_deref().unwrap_or_default() {
        let name = ulimit.name.as_deref().unwrap_or_default();
        check_enum("ulimits.name", Some(name), ecs::enums::ULIMIT_NAME)?;
        let (Some(soft), Some(hard)) = (ulimit.soft_limit, ulimit.hard_limit) else {
            return Err(bad_setting("ulimits", container));
        };
        let above = hard != UNLIMITED && (soft == UNLIMITED || soft > hard);
        if soft < UNLIMITED || hard < UNLIMITED || above {
            return Err(bad_setting("ulimits", container));
        }
    }
    Ok(())
}

/// A namespaced kernel parameter can only be set where the container does not share the namespace with the host.
fn check_sysctls(
    container: &ecs::ContainerDefinition,
    ipc_mode: Option<&str>,
    network: NetworkMode,
) -> Result<(), Refusal> {
    for control in container.system_controls.as_deref().unwrap_or_default() {
        let name = control.namespace.as_deref().unwrap_or_default();
        if is_blank(control.value.as_deref()) {
            return Err(bad_setting("systemControls", container));
        }
        let of_network = name.strip_prefix("net.").is_some_and(|parameter| !parameter.is_empty());
        let of_ipc = IPC_PARAMETERS.contains(&name) || name.starts_with("fs.mqueue.");
        if !of_network && !of_ipc {
            return Err(bad_setting("systemControls", container));
        }
        if of_network && network == NetworkMode::Host {
            return Err(client("Network systemControls are not supported when networkMode=host."));
        }
        if of_ipc && ipc_mode == Some("host") {
            return Err(client("IPC namespace systemControls are not supported when ipcMode=host."));
        }
    }
    Ok(())
}

fn is_security_option(option: &str) -> bool {
    let labelled = ["apparmor:", "label:", "credentialspec:", "credentialspecdomainless:"];
    option == "no-new-privileges"
        || labelled.iter().any(|label| option.strip_prefix(label).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{
        check_accepted, check_container_accepted, check_container_refusal, check_refusal,
    };

    #[test]
    fn linux_parameters() {
        let parameters = |members: Value| json!({"linuxParameters": members});
        check_container_accepted(parameters(json!({
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            "tmpfs": [{"containerPath": "/run", "size": 16, "mountOptions": ["rw", "mode=755"]}],
            "devices": [{"hostPath": "/dev/fuse", "permissions": ["read", "write"]}],
            "sharedMemorySize": 64, "maxSwap": 0, "swappiness": 100, "initProcessEnabled": true
        })));
        check_container_refusal(
            parameters(json!({"capabilities": {"add": ["FLY"]}})),
            "Linux capability 'FLY' is not valid.",
        );
        let bad = |member: &str, value: Value| {
            let mut members = json!({});
            members[member] = value;
            let message = format!("Invalid 'linuxParameters.{member}' setting for container 'app'.");
            check_container_refusal(parameters(members), &message);
        };
        bad("sharedMemorySize", json!(0));
        bad("maxSwap", json!(-1));
        bad("swappiness", json!(101));
        bad("tmpfs", json!([{"containerPath": "/run"}]));
        bad("tmpfs", json!([{"containerPath": "run", "size": 1}]));
        bad("tmpfs", json!([{"containerPath": "/run", "size": 1, "mountOptions": ["fast"]}]));
        bad("devices", json!([{"containerPath": "/dev/x"}]));
    }

    #[test]
    fn ulimits() {
        let ulimit = |soft: i32, hard: i32| json!({"ulimits": [{"name": "nofile", "softLimit": soft, "hardLimit": hard}]});
        check_container_accepted(ulimit(1024, 4096));
        check_container_accepted(ulimit(1024, -1));
        check_container_accepted(ulimit(-1, -1));
        for (soft, hard) in [(4096, 1024), (-1, 5), (-2, 5), (5, -2)] {
            check_container_refusal(ulimit(soft, hard), "Invalid 'ulimits' setting for container 'app'.");
        }
        check_container_refusal(
            json!({"ulimits": [{"name": "nofile", "softLimit": 1}]}),
            "Invalid 'ulimits' setting for container 'app'.",
        );
    }

    #[test]
    fn kernel_parameters_and_security_options() {
        let control = |namespace: &str| json!({"systemControls": [{"namespace": namespace, "value": "1"}]});
        check_container_accepted(control("net.core.somaxconn"));
        check_container_accepted(control("fs.mqueue.msg_max"));
        check_container_refusal(
            control("vm.swappiness"),
            "Invalid 'systemControls' setting for container 'app'.",
        );
        let app = |namespace: &str| {
            json!([{"name": "app", "image": "i", "memory": 8,
                "systemControls": [{"namespace": namespace, "value": "1"}]}])
        };
        check_refusal(
            json!({"networkMode": "host", "containerDefinitions": app("net.core.somaxconn")}),
            "Network systemControls are not supported when networkMode=host.",
        );
        check_refusal(
            json!({"ipcMode": "host", "containerDefinitions": app("kernel.shmmax")}),
            "IPC namespace systemControls are not supported when ipcMode=host.",
        );
        check_accepted(json!({"ipcMode": "task", "containerDefinitions": app("kernel.shmmax")}));
        check_container_accepted(json!({"dockerSecurityOptions": ["no-new-privileges", "apparmor:web"]}));
        check_container_refusal(
            json!({"dockerSecurityOptions": ["label:"]}),
            "Invalid 'dockerSecurityOptions' setting for container 'app'.",
        );
    }
}

"""What Amazon's agent, version 1.105, says of itself when it registers outside EC2 (ECS_EXTERNAL=true)."""

AGENT_VERSION = "1.105.1"
AGENT_HASH = "8dfceca0"
DOCKER_VERSION = "20.10.24"
USER_AGENT = f"Amazon ECS Agent - v{AGENT_VERSION} (*{AGENT_HASH}) (linux; LINUX) (+http://aws.amazon.com/ecs/)"

# The ports that the agent never lets a task have: ssh, Docker's two, and its own two.
RESERVED_PORTS = ["22", "2375", "2376", "51678", "51679"]

# Docker's remote API versions. 1.26, 1.27, 1.31 and everything from 1.33 on are never sent.
REMOTE_API = ("1.17", "1.18", "1.19", "1.20", "1.21", "1.22", "1.23", "1.24", "1.25", "1.28", "1.29", "1.30", "1.32")

LEGACY = (
    "privileged-container",
    *(f"docker-remote-api.{version}" for version in REMOTE_API),
    "logging-driver.json-file",
    "logging-driver.none",
    "logging-driver.awsfirelens",
    "task-iam-role",
    "ecr-auth",
)

CAPABILITIES = (
    "private-registry-authentication.secretsmanager",
    "secrets.ssm.environment-variables",
    "secrets.ssm.bootstrap.log-driver",
    "secrets.asm.environment-variables",
    "secrets.asm.bootstrap.log-driver",
    "ecr-endpoint",
    "container-ordering",
    "full-sync",
    "env-files.s3",
    "network.container-port-range",
    "container-restart-policy",
    "execution-role-ecr-pull",
    "container-health-check",
    "docker-plugin.local",
    "firelens.fluentd",
    "firelens.fluentbit",
    "logging-driver.awsfirelens.log-driver-buffer-limit",
    "firelens.options.config.file",
    "firelens.options.config.s3",
    "firelens.non-root-user",
    "efs",
    "storage.s3-files",
    "external",
    "ipv6-only",
)

VALUED = {
    "ecs.os-type": "linux",
    "ecs.os-family": "LINUX",
    "ecs.os-type-detailed": "linux",
    "ecs.cpu-architecture": "x86_64",
}


def attributes(custom):
    """The `attributes` of RegisterContainerInstance: the user's own first, then the capabilities."""
    named = [{"name": name, "value": value} for name, value in custom.items()]
    named += [{"name": f"com.amazonaws.ecs.capability.{name}"} for name in LEGACY]
    named += [{"name": f"ecs.capability.{name}"} for name in CAPABILITIES]
    named += [{"name": name, "value": value} for name, value in VALUED.items()]
    return named


def resources(cpu, memory):
    """The `totalResources` of RegisterContainerInstance: CPU units, MiB, and the ports that are taken."""
    return [
        {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": RESERVED_PORTS},
        {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
    ]

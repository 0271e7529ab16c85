"""What Amazon's agent accepts as a task, and what it refuses.

The agent decodes into typed Go structures and then validates: a number where it expects text, or a member that it
does not know in the wrong place, makes the whole task invalid and leaves the payload unacknowledged. The same rules
here, so that what passes this suite would have been taken by the real agent.
"""

import json

TEXT, INTEGER, NUMBER, FLAG = (str,), (int,), (int, float), (bool,)

CONTAINER = {
    "name": TEXT,
    "image": TEXT,
    "containerArn": TEXT,
    "cpu": INTEGER,
    "memory": INTEGER,
    "essential": FLAG,
    "command": list,
    "entryPoint": list,
    "environment": dict,
    "portMappings": list,
    "mountPoints": list,
    "volumesFrom": list,
    "links": list,
    "dependsOn": list,
    "startTimeout": INTEGER,
    "stopTimeout": INTEGER,
    "healthCheckType": TEXT,
    "linuxParameters": dict,
    "privileged": FLAG,
    "dockerConfig": dict,
    "restartPolicy": dict,
    "secrets": list,
    "environmentFiles": list,
}
TASK = {
    "arn": TEXT,
    "taskClusterArn": TEXT,
    "family": TEXT,
    "version": TEXT,
    "desiredStatus": TEXT,
    "cpu": NUMBER,
    "memory": INTEGER,
    "containers": list,
    "volumes": list,
    "networkMode": TEXT,
    "launchType": TEXT,
    "serviceName": TEXT,
    "group": TEXT,
    "pidMode": TEXT,
    "ipcMode": TEXT,
}
PORT = {"containerPort": INTEGER, "hostPort": INTEGER, "protocol": TEXT, "containerPortRange": TEXT}
REQUIRED_OF_TASK = ("arn", "taskClusterArn", "family", "version", "desiredStatus", "containers")
REQUIRED_OF_CONTAINER = ("name", "image", "overrides", "dockerConfig")
REQUIRED_OF_MESSAGE = ("messageId", "clusterArn", "containerInstanceArn")
VOLUME_TYPES = ("", "host", "docker", "efs")
STATUSES = ("RUNNING", "STOPPED")


class InvalidTask(Exception):
    """The agent would report `UnrecogniedTaskError` and not acknowledge the payload."""


def require(truth, what):
    if not truth:
        raise InvalidTask(what)


def check_types(thing, types, where):
    for name, kinds in types.items():
        if thing.get(name) is None:
            continue
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        # In Python a bool is an int; on the wire it is not.
        fits = isinstance(thing[name], kinds) and (bool in kinds or not isinstance(thing[name], bool))
        require(fits, f"{where}.{name} is {thing[name]!r}")


def check_overrides(container):
    """A JSON object, or text that holds one, with `command` and nothing else."""
    overrides = container["overrides"]
    overrides = json.loads(overrides) if isinstance(overrides, str) else overrides
    require(set(overrides) <= {"command"}, f"overrides hold {sorted(overrides)}")


def check_docker_config(container):
    """`config` and `hostConfig` are text that holds JSON of Docker's API."""
    config = container["dockerConfig"]
    for name in ("config", "hostConfig"):
        if config.get(name) is not None:
            require(isinstance(config[name], str), f"dockerConfig.{name} is not text")
            require(isinstance(json.loads(config[name]), dict), f"dockerConfig.{name} is no object")
    if container.get("healthCheckType") == "docker":
        require("Healthcheck" in json.loads(config.get("config") or "{}"), "healthCheckType without a Healthcheck")


def check_container(container):
    for name in REQUIRED_OF_CONTAINER:
        require(container.get(name) is not None, f"a container without {name}")
    check_types(container, CONTAINER, container["name"])
    for name, value in (container.get("environment") or {}).items():
        require(isinstance(value, str), f"environment {name} is {value!r}")
    for port in container.get("portMappings") or []:
        check_types(port, PORT, "portMapping")
        require(port.get("protocol", "tcp") in ("tcp", "udp"), f"protocol {port.get('protocol')}")
    check_overrides(container)
    check_docker_config(container)


def check_volume(volume):
    require(volume.get("name"), "a volume without a name")
    kind = volume.get("type") or "host"
    require(kind in VOLUME_TYPES, f"volume type {kind}")
    if kind == "host":
        require(isinstance(volume.get("host"), dict), "a host volume without a host object")


def check_task(task):
    """Raises InvalidTask when the agent would not take it."""
    for name in REQUIRED_OF_TASK:
        require(task.get(name), f"a task without {name}")
    check_types(task, TASK, "task")
    require(task["desiredStatus"] in STATUSES, f"desiredStatus {task['desiredStatus']}")
    for container in task["containers"]:
        check_container(container)
    for volume in task.get("volumes") or []:
        check_volume(volume)
    names = [container["name"] for container in task["containers"]]
    for container in task["containers"]:
        for dependency in container.get("dependsOn") or []:
            require(dependency["containerName"] in names, f"dependsOn {dependency['containerName']}")


def is_addressed(message):
    """A payload without these is dropped without a word."""
    return all(message.get(name) for name in REQUIRED_OF_MESSAGE)

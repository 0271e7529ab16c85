"""Task definitions: what registration echoes, revisions, and their life cycle."""

import datetime

import pytest

import shapes
from ecsr_process import ACCOUNT, IMAGE, REGION

SMALLEST = {"name": "web", "image": IMAGE, "memory": 32}
PREFIX = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/"


@pytest.fixture
def registered(ecs, name):
    """Registers containers under the test's family and returns the `taskDefinition` of the answer."""

    def registered(*containers, **members):
        answer = ecs.register_task_definition(
            family=name, containerDefinitions=list(containers) or [SMALLEST], **members
        )
        return answer["taskDefinition"]

    return registered


def test_the_smallest_definition_is_completed(registered, name):
    definition = registered()
    shapes.check(definition, shapes.TASK_DEFINITION)
    assert definition["taskDefinitionArn"] == f"{PREFIX}{name}:1"
    assert (definition["family"], definition["revision"], definition["status"]) == (name, 1, "ACTIVE")
    assert (definition["volumes"], definition["placementConstraints"]) == ([], [])
    assert definition["compatibilities"] == ["EXTERNAL", "EC2"]
    assert isinstance(definition["registeredAt"], datetime.datetime)
    assert definition["registeredBy"].startswith(f"arn:aws:iam::{ACCOUNT}:")
    for left_out in ("networkMode", "cpu", "memory", "taskRoleArn", "requiresCompatibilities"):
        assert left_out not in definition


def test_container_defaults_are_echoed(registered):
    container = registered()["containerDefinitions"][0]
    assert container == SMALLEST | {
        "cpu": 0,
        "portMappings": [],
        "essential": True,
        "environment": [],
        "mountPoints": [],
        "volumesFrom": [],
        "systemControls": [],
    }


@pytest.mark.parametrize(
    ("mode", "given", "echoed"),
    [
        (None, {"containerPort": 80}, {"containerPort": 80, "hostPort": 0, "protocol": "tcp"}),
        ("bridge", {"containerPort": 80}, {"containerPort": 80, "hostPort": 0, "protocol": "tcp"}),
        ("host", {"containerPort": 80}, {"containerPort": 80, "hostPort": 80, "protocol": "tcp"}),
        ("awsvpc", {"containerPort": 80}, {"containerPort": 80, "hostPort": 80, "protocol": "tcp"}),
        (
            "bridge",
            {"containerPort": 53, "hostPort": 5353, "protocol": "udp"},
            {"containerPort": 53, "hostPort": 5353, "protocol": "udp"},
        ),
    ],
)
def test_port_mappings_are_completed(registered, mode, given, echoed):
    members = {"networkMode": mode} if mode else {}
    container = registered(SMALLEST | {"portMappings": [given]}, **members)["containerDefinitions"][0]
    assert container["portMappings"] == [echoed]


@pytest.mark.parametrize(
    ("given", "echoed"),
    [
        ({"cpu": "256", "memory": "512"}, ("256", "512")),
        ({"cpu": "1 vCPU", "memory": "2 GB"}, ("1024", "2048")),
        ({"cpu": ".5 vcpu", "memory": "1GB"}, ("512", "1024")),
    ],
)
def test_task_sizes_are_stored_as_units_and_mib(registered, given, echoed):
    definition = registered({"name": "web", "image": IMAGE}, **given)
    assert (definition["cpu"], definition["memory"]) == echoed


def test_everything_given_comes_back(registered):
    container = {
        "name": "web",
        "image": IMAGE,
        "cpu": 10,
        "memory": 64,
        "memoryReservation": 32,
        "essential": True,
        "command": ["httpd", "-f"],
        "entryPoint": ["/bin/busybox"],
        "environment": [{"name": "A", "value": "1"}],
        "portMappings": [],
        "mountPoints": [{"sourceVolume": "data", "containerPath": "/data", "readOnly": True}],
        "volumesFrom": [],
        "systemControls": [],
        "user": "nobody",
        "workingDirectory": "/www",
        "hostname": "web",
        "readonlyRootFilesystem": True,
        "dnsServers": ["10.0.0.2"],
        "extraHosts": [{"hostname": "db", "ipAddress": "10.0.0.3"}],
        "dockerLabels": {"team": "web"},
        "ulimits": [{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
        "logConfiguration": {"logDriver": "json-file", "options": {"max-size": "1m"}},
        "stopTimeout": 5,
        "healthCheck": {"command": ["CMD-SHELL", "true"], "interval": 5, "timeout": 2, "retries": 3},
        "linuxParameters": {"capabilities": {"add": ["NET_ADMIN"]}, "initProcessEnabled": True},
    }
    definition = registered(container, volumes=[{"name": "data", "host": {"sourcePath": "/srv"}}])
    assert definition["containerDefinitions"] == [container]
    assert definition["volumes"] == [{"name": "data", "host": {"sourcePath": "/srv"}}]


def test_health_check_defaults_are_echoed(registered):
    container = registered(SMALLEST | {"healthCheck": {"command": ["CMD", "true"]}})["containerDefinitions"][0]
    assert container["healthCheck"] == {"command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 3}


@pytest.mark.parametrize(
    ("container", "attribute"),
    [
        ({"logConfiguration": {"logDriver": "fluentd"}}, "com.amazonaws.ecs.capability.logging-driver.fluentd"),
        ({"logConfiguration": {"logDriver": "fluentd"}}, "com.amazonaws.ecs.capability.docker-remote-api.1.19"),
        ({"privileged": True}, "com.amazonaws.ecs.capability.privileged-container"),
        ({"healthCheck": {"command": ["CMD", "true"]}}, "ecs.capability.container-health-check"),
    ],
)
def test_features_become_required_attributes(registered, container, attribute):
    definition = registered(SMALLEST | container)
    assert attribute in [required["name"] for required in definition["requiresAttributes"]]


def test_revisions_count_up_and_are_never_used_again(ecs, registered, name):
    assert [registered()["revision"] for _ in range(3)] == [1, 2, 3]
    ecs.deregister_task_definition(taskDefinition=f"{name}:3")
    ecs.delete_task_definitions(taskDefinitions=[f"{name}:3"])
    assert registered()["revision"] == 4


def test_tags_are_kept_beside_the_definition(ecs, name):
    tags = [{"key": "team", "value": "web"}]
    ecs.register_task_definition(family=name, containerDefinitions=[SMALLEST], tags=tags)
    assert ecs.describe_task_definition(taskDefinition=name, include=["TAGS"])["tags"] == tags
    assert "tags" not in ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]


@pytest.mark.parametrize("form", ["{family}", "{family}:2", PREFIX + "{family}:2"])
def test_a_definition_is_found_by_family_revision_and_arn(ecs, registered, name, form):
    for _ in range(2):
        registered()
    found = ecs.describe_task_definition(taskDefinition=form.format(family=name))["taskDefinition"]
    assert found["revision"] == 2


def test_the_family_alone_means_the_newest_active_revision(ecs, registered, name):
    for _ in range(2):
        registered()
    ecs.deregister_task_definition(taskDefinition=f"{name}:2")
    assert ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]["revision"] == 1


def test_a_deregistered_definition_is_inactive_but_described(ecs, registered, name):
    registered()
    answer = ecs.deregister_task_definition(taskDefinition=f"{name}:1")["taskDefinition"]
    assert answer["status"] == "INACTIVE"
    described = ecs.describe_task_definition(taskDefinition=f"{name}:1")["taskDefinition"]
    assert described["status"] == "INACTIVE"
    assert isinstance(described["deregisteredAt"], datetime.datetime)


def test_only_inactive_definitions_are_deleted(ecs, registered, name):
    for _ in range(2):
        registered()
    ecs.deregister_task_definition(taskDefinition=f"{name}:1")
    answer = ecs.delete_task_definitions(taskDefinitions=[f"{name}:1", f"{name}:2"])
    assert [deleted["status"] for deleted in answer["taskDefinitions"]] == ["DELETE_IN_PROGRESS"]
    assert [failure["arn"] for failure in answer["failures"]] == [f"{PREFIX}{name}:2"]


@pytest.mark.parametrize("unknown", ["{family}-x", "{family}:9", PREFIX + "{family}:9"])
def test_an_unknown_definition_is_refused(registered, refused, name, unknown):
    registered()
    answer = refused("describe_task_definition", taskDefinition=unknown.format(family=name))
    assert answer == ("ClientException", "Unable to describe task definition.")


def listed(ecs, operation, member, **filters):
    pages = ecs.get_paginator(operation).paginate(**filters)
    return [entry.removeprefix(PREFIX) for page in pages for entry in page[member]]


def test_revisions_are_sorted_by_number(ecs, registered, name):
    for _ in range(11):
        registered()
    ascending = [f"{name}:{revision}" for revision in range(1, 12)]
    assert listed(ecs, "list_task_definitions", "taskDefinitionArns", familyPrefix=name) == ascending
    descending = listed(ecs, "list_task_definitions", "taskDefinitionArns", familyPrefix=name, sort="DESC")
    assert descending == ascending[::-1]


def test_family_prefix_is_a_whole_family_for_revisions_and_a_prefix_for_families(ecs, registered, name):
    registered()
    ecs.register_task_definition(family=f"{name}-b", containerDefinitions=[SMALLEST])
    assert listed(ecs, "list_task_definitions", "taskDefinitionArns", familyPrefix=name) == [f"{name}:1"]
    assert listed(ecs, "list_task_definition_families", "families", familyPrefix=name) == [name, f"{name}-b"]


def test_lists_follow_the_status(ecs, registered, name):
    for _ in range(2):
        registered()
    ecs.deregister_task_definition(taskDefinition=f"{name}:1")
    for status, revisions in (("ACTIVE", [2]), ("INACTIVE", [1])):
        found = listed(ecs, "list_task_definitions", "taskDefinitionArns", familyPrefix=name, status=status)
        assert found == [f"{name}:{revision}" for revision in revisions]
    ecs.deregister_task_definition(taskDefinition=f"{name}:2")
    for status, families in (("ACTIVE", []), ("INACTIVE", [name]), ("ALL", [name])):
        assert listed(ecs, "list_task_definition_families", "families", familyPrefix=name, status=status) == families

"""Bad task definitions: each refused in ECS's words, and none of them registered."""

import pytest

from ecsr_process import IMAGE
from wire import call

WEB = {"name": "web", "image": IMAGE, "memory": 32}


def case(case_id, message, *containers, **members):
    return pytest.param(list(containers), members, message, id=case_id)


# Texts that are known word for word.
WORD_FOR_WORD = [
    case("no containers", "Container list cannot be empty."),
    case("too many", "Too many containers.", *({**WEB, "name": f"c{number}"} for number in range(11))),
    case("empty name", "Container.name should not be null or empty.", {**WEB, "name": ""}),
    case("no name", "Container.name should not be null or empty.", {"image": IMAGE, "memory": 32}),
    case("odd name", "Container.name contains invalid characters.", {**WEB, "name": "we b"}),
    case("empty image", "Container.image should not be null or empty.", {**WEB, "image": ""}),
    case("no image", "Container.image should not be null or empty.", {"name": "web", "memory": 32}),
    case(
        "no memory",
        "Invalid setting for container 'web'. At least one of 'memory' or 'memoryReservation' must be specified.",
        {"name": "web", "image": IMAGE},
    ),
    case(
        "port zero",
        "Invalid 'containerPort' setting for container 'web'.",
        {**WEB, "portMappings": [{"containerPort": 0}]},
    ),
    case(
        "port too high",
        "Invalid 'containerPort' setting for container 'web'.",
        {**WEB, "portMappings": [{"containerPort": 65536}]},
    ),
    case(
        "awsvpc ports",
        "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
        {**WEB, "portMappings": [{"containerPort": 80, "hostPort": 8080}]},
        networkMode="awsvpc",
    ),
    case(
        "cpu over the task's",
        "The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'.",
        {**WEB, "cpu": 512},
        cpu="256",
        memory="512",
    ),
    case(
        "awslogs options",
        "Log driver awslogs requires options: awslogs-region, awslogs-group",
        {**WEB, "logConfiguration": {"logDriver": "awslogs"}},
    ),
    case(
        "essential dependency",
        "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
        {**WEB, "dependsOn": [{"containerName": "init", "condition": "SUCCESS"}]},
        {**WEB, "name": "init", "essential": True},
    ),
    case(
        "distinctInstance",
        "constraint.type 'distinctInstance' is not supported.",
        WEB,
        placementConstraints=[{"type": "distinctInstance"}],
    ),
    case("bad task cpu", "Invalid 'cpu' setting for task.", WEB, cpu="lots", memory="512"),
    case("empty task cpu", "Invalid 'cpu' setting for task.", WEB, cpu="", memory="512"),
    case(
        "fargate without cpu",
        "Fargate requires that 'cpu' be defined at the task level.",
        WEB,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
    ),
    case(
        "fargate sizes",
        "No Fargate configuration exists for given values.",
        WEB,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="64",
    ),
]

# Rules that are known, texts that are not: any ClientException will do.
RULES = [
    case("none essential", None, {**WEB, "essential": False}),
    case("twice the name", None, WEB, WEB),
    case("limit under reservation", None, {**WEB, "memoryReservation": 64}),
    case("memory too small", None, {**WEB, "memory": 1}),
    case("negative cpu", None, {**WEB, "cpu": -1}),
    case("negative memory", None, {**WEB, "memory": -5}),
    case("links with host", None, {**WEB, "links": ["db"]}, {**WEB, "name": "db"}, networkMode="host"),
    case("ports with none", None, {**WEB, "portMappings": [{"containerPort": 80}]}, networkMode="none"),
    case(
        "host ports differ",
        None,
        {**WEB, "portMappings": [{"containerPort": 80, "hostPort": 81}]},
        networkMode="host",
    ),
    case("unknown volume", None, {**WEB, "mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}),
    case("unknown volumesFrom", None, {**WEB, "volumesFrom": [{"sourceContainer": "db"}]}),
    case("unknown dependency", None, {**WEB, "dependsOn": [{"containerName": "db", "condition": "START"}]}),
    case("itself", None, {**WEB, "dependsOn": [{"containerName": "web", "condition": "START"}]}),
    case(
        "a cycle",
        None,
        {**WEB, "dependsOn": [{"containerName": "db", "condition": "START"}]},
        {**WEB, "name": "db", "dependsOn": [{"containerName": "web", "condition": "START"}]},
    ),
    case(
        "healthy without a check",
        None,
        {**WEB, "dependsOn": [{"containerName": "db", "condition": "HEALTHY"}]},
        {**WEB, "name": "db"},
    ),
    case("memory over the task's", None, {**WEB, "memory": 1024}, cpu="256", memory="512"),
    case(
        "one host port twice", None, {**WEB, "portMappings": [{"containerPort": p, "hostPort": 80} for p in (1, 2)]}
    ),
    case("interval", None, {**WEB, "healthCheck": {"command": ["CMD", "true"], "interval": 1}}),
    case("timeout", None, {**WEB, "healthCheck": {"command": ["CMD", "true"], "timeout": 61}}),
    case("retries", None, {**WEB, "healthCheck": {"command": ["CMD", "true"], "retries": 11}}),
    case("startPeriod", None, {**WEB, "healthCheck": {"command": ["CMD", "true"], "startPeriod": 301}}),
    case("health command", None, {**WEB, "healthCheck": {"command": ["true"]}}),
    case("unknown network mode", None, WEB, networkMode="overlay"),
    case("unknown condition", None, {**WEB, "dependsOn": [{"containerName": "web", "condition": "LATER"}]}),
    case("tag prefix", None, WEB, tags=[{"key": "aws:mine", "value": "x"}]),
]


def register_badly(ecsr, name, containers, members):
    # Below boto3, which would refuse a missing required member itself.
    body = {"family": name, "containerDefinitions": containers, **members}
    return call(ecsr, "RegisterTaskDefinition", body)


def assert_unknown(ecs, name):
    assert ecs.list_task_definition_families(familyPrefix=name)["families"] == []


@pytest.mark.parametrize(("containers", "members", "message"), WORD_FOR_WORD)
def test_refused_word_for_word(ecsr, ecs, name, containers, members, message):
    answer = register_badly(ecsr, name, containers, members)
    assert (answer.status, answer.error) == (400, ("ClientException", message))
    assert_unknown(ecs, name)


@pytest.mark.parametrize(("containers", "members", "message"), RULES)
def test_refused(ecsr, ecs, name, containers, members, message):
    answer = register_badly(ecsr, name, containers, members)
    code, text = answer.error
    assert (answer.status, code) in {(400, "ClientException"), (400, "InvalidParameterException")}
    assert text
    assert_unknown(ecs, name)


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("", "Family can not be blank."),
        (None, "Family can not be blank."),
        ("a b", "Family contains invalid characters."),
    ],
)
def test_bad_families(ecsr, family, message):
    body = {"containerDefinitions": [WEB]} | ({} if family is None else {"family": family})
    answer = call(ecsr, "RegisterTaskDefinition", body)
    assert (answer.status, answer.error) == (400, ("ClientException", message))

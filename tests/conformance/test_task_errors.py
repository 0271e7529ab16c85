"""Calls on tasks that ECS refuses: the exact words, and nothing started."""

import pytest


@pytest.fixture
def nothing_started(ecs, cluster):
    yield
    assert ecs.list_tasks(cluster=cluster)["taskArns"] == []


@pytest.mark.parametrize("operation", ["run_task", "create_service"])
def test_an_unknown_cluster(register, refused, operation):
    extra = {"serviceName": "web", "desiredCount": 1} if operation == "create_service" else {}
    answer = refused(operation, cluster="nowhere", taskDefinition=register(), **extra)
    assert answer == ("ClusterNotFoundException", "Cluster not found.")


@pytest.mark.parametrize("definition", ["unknown-family", "unknown-family:3"])
def test_an_unknown_task_definition(cluster, agent, refused, nothing_started, definition):
    code, message = refused("run_task", cluster=cluster, taskDefinition=definition)
    assert (code, message) == ("ClientException", "TaskDefinition not found.")


def test_an_inactive_task_definition(ecs, cluster, agent, register, refused, nothing_started):
    definition = register()
    ecs.deregister_task_definition(taskDefinition=definition)
    answer = refused("run_task", cluster=cluster, taskDefinition=definition)
    assert answer == ("InvalidParameterException", "TaskDefinition is inactive")


def test_a_cluster_without_instances(cluster, register, refused, nothing_started):
    answer = refused("run_task", cluster=cluster, taskDefinition=register())
    assert answer == ("InvalidParameterException", "No Container Instances were found in your cluster.")


def test_a_launch_type_that_the_definition_does_not_support(cluster, agent, register, refused, nothing_started):
    answer = refused("run_task", cluster=cluster, taskDefinition=register(), launchType="FARGATE")
    assert answer == ("InvalidParameterException", "Task definition does not support launch_type FARGATE.")


def test_network_configuration_where_there_is_none(cluster, agent, register, refused, nothing_started):
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    answer = refused("run_task", cluster=cluster, taskDefinition=register(), networkConfiguration=network)
    assert answer == (
        "InvalidParameterException",
        "Network Configuration is not valid for the given networkMode of this task definition.",
    )


def test_an_override_of_a_container_that_is_not_there(cluster, agent, register, refused, nothing_started):
    overrides = {"containerOverrides": [{"name": "db"}]}
    answer = refused("run_task", cluster=cluster, taskDefinition=register(), overrides=overrides)
    assert answer == (
        "InvalidParameterException",
        "Override for container named db is not a container in the TaskDefinition.",
    )


@pytest.mark.parametrize("count", [-1, 0, 11, 2**31 - 1])
def test_counts_out_of_range(cluster, agent, register, refused, nothing_started, count):
    code, message = refused("run_task", cluster=cluster, taskDefinition=register(), count=count)
    assert code == "InvalidParameterException"
    assert "ount" in message


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"placementConstraints": [{"type": "memberOf", "expression": "attribute:a =="}]}, ""),
        ({"placementConstraints": [{"type": "memberOf", "expression": "(("}]}, ""),
        (
            {"placementConstraints": [{"type": "distinctInstance", "expression": "attribute:a == b"}]},
            "distinctInstance",
        ),
        ({"placementConstraints": [{"type": "memberOf", "expression": "x" * 2001}]}, ""),
        ({"placementConstraints": [{"type": "distinctInstance"}] * 11}, ""),
        ({"placementStrategy": [{"type": "spread", "field": "instanceId"}] * 6}, ""),
        ({"placementStrategy": [{"type": "binpack", "field": "colour"}]}, ""),
        ({"startedBy": "x" * 129}, ""),
        ({"startedBy": "a b"}, ""),
        ({"clientToken": "x" * 65}, ""),
        ({"group": "service:web"}, ""),
        ({"launchType": "MOON"}, ""),
        ({"tags": [{"key": "aws:x", "value": "y"}]}, ""),
        ({"propagateTags": "SERVICE"}, ""),
    ],
)
def test_bad_members(cluster, agent, register, refused, nothing_started, members, word):
    code, message = refused("run_task", cluster=cluster, taskDefinition=register(), **members)
    assert code in {"InvalidParameterException", "ClientException"}
    assert word in message


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("0123456789abcdef0123456789abcdef", "The referenced task was not found"),
        ("not/a/task/at/all", "Task Identifier is invalid"),
        ("arn:aws:ecs:nonsense", "Task Identifier is invalid"),
    ],
)
def test_stopping_what_is_not_there(cluster, refused, task, message):
    code, said = refused("stop_task", cluster=cluster, task=task)
    assert (code, said.rstrip(".")) == ("InvalidParameterException", message)


def test_a_stop_reason_that_is_too_long(ecs, cluster, agent, register, refused):
    arn = ecs.run_task(cluster=cluster, taskDefinition=register())["tasks"][0]["taskArn"]
    code, _ = refused("stop_task", cluster=cluster, task=arn, reason="x" * 4096)
    assert code == "InvalidParameterException"
    assert ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"][0]["desiredStatus"] == "RUNNING"


def test_describing_nothing_and_too_many(cluster, refused):
    assert refused("describe_tasks", cluster=cluster, tasks=[]) == (
        "InvalidParameterException",
        "Tasks cannot be empty.",
    )
    code, _ = refused("describe_tasks", cluster=cluster, tasks=["0" * 32] * 101)
    assert code == "InvalidParameterException"


def test_a_task_of_another_cluster(ecs, cluster, agent, register, refused):
    arn = ecs.run_task(cluster=cluster, taskDefinition=register())["tasks"][0]["taskArn"]
    ecs.create_cluster(clusterName=f"{cluster}-b")
    code, message = refused("describe_tasks", cluster=f"{cluster}-b", tasks=[arn])
    assert code == "InvalidParameterException"
    assert cluster in message


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"serviceName": "unknown"}, ("ServiceNotFoundException", "Service not found.")),
        ({"startedBy": "me", "family": "web"}, ("InvalidParameterException", None)),
        ({"maxResults": 101}, ("InvalidParameterException", None)),
        ({"maxResults": 0}, ("InvalidParameterException", None)),
        ({"nextToken": "made-up"}, ("InvalidParameterException", None)),
        ({"desiredStatus": "GONE"}, ("InvalidParameterException", None)),
    ],
)
def test_bad_list_filters(cluster, refused, filters, expected):
    code, message = refused("list_tasks", cluster=cluster, **filters)
    assert code == expected[0]
    assert expected[1] is None or message == expected[1]

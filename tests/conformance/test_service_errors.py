"""Bad calls on services: refused in ECS's words, and nothing changed."""

import pytest

from wire import call


@pytest.fixture
def unchanged(ecs, cluster):
    """No service was made in the cluster."""
    yield
    assert ecs.list_services(cluster=cluster)["serviceArns"] == []


DAEMON = {"schedulingStrategy": "DAEMON"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {**DAEMON, "desiredCount": 1},
            "The daemon scheduling strategy does not support a desired count for services. "
            "Remove the desired count value and try again",
        ),
        ({**DAEMON, "placementStrategy": [{"type": "random"}]}, None),
        ({"desiredCount": -1}, None),
        ({"serviceName": "we b"}, None),
        ({"serviceName": ""}, None),
        ({"serviceName": "x" * 256}, None),
        ({"clientToken": "x" * 37}, None),
        ({"deploymentConfiguration": {"minimumHealthyPercent": -1}}, None),
        ({"deploymentConfiguration": {"minimumHealthyPercent": 150, "maximumPercent": 100}}, None),
        ({"placementStrategy": [{"type": "spread", "field": "instanceId"}] * 6}, None),
        ({"placementConstraints": [{"type": "distinctInstance"}] * 11}, None),
        ({"placementConstraints": [{"type": "memberOf", "expression": "a b c"}]}, None),
        ({"schedulingStrategy": "SOMETIMES"}, None),
        ({"launchType": "MOON"}, None),
        ({"propagateTags": "EVERYWHERE"}, None),
        ({"tags": [{"key": "AWS:x", "value": "y"}]}, None),
        ({"tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}, None),
        ({"launchType": "FARGATE"}, "Task definition does not support launch_type FARGATE."),
        (
            {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}},
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ),
    ],
)
def test_bad_services(cluster, register, refused, unchanged, members, message):
    request = {"serviceName": "web", "taskDefinition": register()} | members
    if "schedulingStrategy" not in members:
        request.setdefault("desiredCount", 1)
    code, said = refused("create_service", cluster=cluster, **request)
    assert code in {"InvalidParameterException", "ClientException"}
    assert said if message is None else (code, said) == ("InvalidParameterException", message)


@pytest.mark.parametrize("missing", ["serviceName", "taskDefinition", "desiredCount"])
def test_missing_members(ecsr, cluster, register, unchanged, missing):
    request = {"cluster": cluster, "serviceName": "web", "taskDefinition": register(), "desiredCount": 1}
    del request[missing]
    answer = call(ecsr, "CreateService", request)
    assert answer.status == 400
    assert answer.error[0] in {"InvalidParameterException", "ClientException"}
    assert answer.error[1]


def test_an_unknown_and_an_inactive_task_definition(ecs, cluster, register, refused, unchanged):
    members = {"cluster": cluster, "serviceName": "web", "desiredCount": 1}
    assert refused("create_service", taskDefinition="unknown:1", **members) == (
        "ClientException",
        "TaskDefinition not found.",
    )
    definition = register()
    ecs.deregister_task_definition(taskDefinition=definition)
    _, message = refused("create_service", taskDefinition=definition, **members)
    assert message == "TaskDefinition is inactive"


def test_an_unknown_service(cluster, refused):
    for operation in ("update_service", "delete_service"):
        assert refused(operation, cluster=cluster, service="nothing") == (
            "ServiceNotFoundException",
            "Service not found.",
        )


@pytest.mark.parametrize(
    "members",
    [
        {"desiredCount": -1},
        {"taskDefinition": "unknown:1"},
        {"deploymentConfiguration": {"minimumHealthyPercent": 150, "maximumPercent": 100}},
        {"placementStrategy": [{"type": "binpack", "field": "colour"}]},
    ],
)
def test_a_bad_update_changes_nothing(ecs, cluster, register, refused, members):
    ecs.create_service(cluster=cluster, serviceName="web", taskDefinition=register(), desiredCount=0)
    before = ecs.describe_services(cluster=cluster, services=["web"])["services"]
    code, message = refused("update_service", cluster=cluster, service="web", **members)
    assert code in {"InvalidParameterException", "ClientException"} and message
    assert ecs.describe_services(cluster=cluster, services=["web"])["services"] == before


@pytest.mark.parametrize("services", [[], ["web"] * 11])
def test_describing_nothing_and_too_many(cluster, refused, services):
    code, message = refused("describe_services", cluster=cluster, services=services)
    assert code == "InvalidParameterException"
    assert services or message == "Services cannot be empty."


def test_a_service_that_still_drains_cannot_be_made_again(ecs, cluster, agent, register, refused):
    definition = register()
    agent.engine.hold_stops()
    members = {"cluster": cluster, "serviceName": "web", "taskDefinition": definition}
    ecs.create_service(desiredCount=1, **members)
    ecs.get_waiter("services_stable").wait(cluster=cluster, services=["web"], WaiterConfig={"Delay": 1})
    ecs.delete_service(cluster=cluster, service="web", force=True)
    assert refused("create_service", desiredCount=1, **members) == (
        "InvalidParameterException",
        "Unable to Start a service that is still Draining.",
    )
    agent.engine.release_stops()

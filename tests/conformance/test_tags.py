"""Tags: on everything that can carry them, by ARN, and propagated to tasks."""

import pytest

from ecsr_process import ACCOUNT, REGION
from wire import call

WEB = [{"key": "team", "value": "web"}]


def cluster_arn(ecs, cluster, agent, register):
    return ecs.describe_clusters(clusters=[cluster])["clusters"][0]["clusterArn"]


def definition_arn(ecs, cluster, agent, register):
    return register()


def service_arn(ecs, cluster, agent, register):
    members = {"cluster": cluster, "serviceName": "web", "taskDefinition": register(), "desiredCount": 0}
    return ecs.create_service(**members)["service"]["serviceArn"]


def task_arn(ecs, cluster, agent, register):
    return ecs.run_task(cluster=cluster, taskDefinition=register())["tasks"][0]["taskArn"]


def instance_arn(ecs, cluster, agent, register):
    return agent.arn


TAGGED = [cluster_arn, definition_arn, service_arn, task_arn, instance_arn]


def tags_of(ecs, arn):
    return {tag["key"]: tag["value"] for tag in ecs.list_tags_for_resource(resourceArn=arn)["tags"]}


@pytest.mark.parametrize("make", TAGGED)
def test_tags_come_and_go(ecs, cluster, agent, register, make):
    arn = make(ecs, cluster, agent, register)
    assert ecs.list_tags_for_resource(resourceArn=arn)["tags"] == []
    ecs.tag_resource(resourceArn=arn, tags=[*WEB, {"key": "stage", "value": ""}])
    assert tags_of(ecs, arn) == {"team": "web", "stage": ""}
    ecs.tag_resource(resourceArn=arn, tags=[{"key": "team", "value": "db"}])
    assert tags_of(ecs, arn) == {"team": "db", "stage": ""}
    ecs.untag_resource(resourceArn=arn, tagKeys=["team", "never-there"])
    assert tags_of(ecs, arn) == {"stage": ""}


@pytest.mark.parametrize(
    "tags",
    [
        [{"key": "aws:mine", "value": "x"}],
        [{"key": "AwS:mine", "value": "x"}],
        [{"key": "", "value": "x"}],
        [{"key": "k" * 129, "value": "x"}],
        [{"key": "k", "value": "v" * 257}],
        [{"key": "k!", "value": "x"}],
        [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}],
        [{"key": f"k{number}", "value": "x"} for number in range(51)],
    ],
)
def test_bad_tags_change_nothing(ecsr, ecs, cluster, tags):
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{cluster}"
    ecs.tag_resource(resourceArn=arn, tags=WEB)
    # Below boto3, which refuses some of these itself.
    answer = call(ecsr, "TagResource", {"resourceArn": arn, "tags": tags})
    code, message = answer.error
    assert (answer.status, code in {"InvalidParameterException", "LimitExceededException"}) == (400, True)
    assert message
    assert ecs.list_tags_for_resource(resourceArn=arn)["tags"] == WEB


def test_fifty_tags_fit(ecs, cluster):
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{cluster}"
    ecs.tag_resource(resourceArn=arn, tags=[{"key": f"k{number}", "value": "x"} for number in range(50)])
    assert len(tags_of(ecs, arn)) == 50


def test_a_short_service_arn_is_refused(refused):
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/web"
    code, message = refused("tag_resource", resourceArn=arn, tags=WEB)
    assert (code, message) == ("InvalidParameterException", "Long arn format must be used for tagging operations")


@pytest.mark.parametrize(
    "resource",
    [
        "cluster/nowhere",
        "task-definition/nothing:1",
        "service/default/nothing",
        "task/default/" + "0" * 32,
        "container-instance/default/" + "0" * 32,
    ],
)
@pytest.mark.parametrize("operation", ["tag_resource", "untag_resource", "list_tags_for_resource"])
def test_unknown_resources_are_refused(refused, operation, resource):
    members = {"tag_resource": {"tags": WEB}, "untag_resource": {"tagKeys": ["team"]}}.get(operation, {})
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:{resource}"
    code, message = refused(operation, resourceArn=arn, **members)
    assert code in {"InvalidParameterException", "ResourceNotFoundException", "ClusterNotFoundException"}
    assert message


@pytest.mark.parametrize("arn", ["", "nonsense", "arn:aws:s3:::bucket", "arn:aws:ecs:us-east-1:123456789012:moon/x"])
def test_arns_that_are_none(refused, arn):
    code, _ = refused("list_tags_for_resource", resourceArn=arn)
    assert code == "InvalidParameterException"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, {}),
        ({"tags": WEB}, {"team": "web"}),
        ({"propagateTags": "TASK_DEFINITION"}, {"team": "definition", "of": "definition"}),
        ({"propagateTags": "TASK_DEFINITION", "tags": WEB}, {"team": "web", "of": "definition"}),
    ],
)
def test_tags_of_a_task_that_is_run(ecs, cluster, agent, name, members, expected):
    container = {"name": "web", "image": "busybox", "memory": 32}
    tags = [{"key": "team", "value": "definition"}, {"key": "of", "value": "definition"}]
    ecs.register_task_definition(family=name, containerDefinitions=[container], tags=tags)
    (task,) = ecs.run_task(cluster=cluster, taskDefinition=name, **members)["tasks"]
    assert {tag["key"]: tag["value"] for tag in task["tags"]} == expected
    assert tags_of(ecs, task["taskArn"]) == expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, {}),
        ({"propagateTags": "SERVICE", "tags": WEB}, {"team": "web"}),
        ({"propagateTags": "NONE", "tags": WEB}, {}),
        ({"enableECSManagedTags": True}, {"aws:ecs:clusterName": "{cluster}", "aws:ecs:serviceName": "web"}),
    ],
)
def test_tags_of_a_services_tasks(ecs, cluster, agent, register, members, expected):
    ecs.create_service(cluster=cluster, serviceName="web", taskDefinition=register(), desiredCount=1, **members)
    (arn,) = ecs.list_tasks(cluster=cluster, serviceName="web")["taskArns"]
    assert tags_of(ecs, arn) == {key: value.format(cluster=cluster) for key, value in expected.items()}

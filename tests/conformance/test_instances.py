"""Container instances: registration, description, draining and their end."""

import pytest

import agent_capabilities
import shapes
from ecsr_process import ACCOUNT, REGION
from seen import tasks_of
from waiting import until


def resources(instance, kind):
    """`registeredResources` or `remainingResources` as a mapping of what each holds."""
    value = {"INTEGER": "integerValue", "STRINGSET": "stringSetValue"}
    return {resource["name"]: resource[value[resource["type"]]] for resource in instance[kind]}


def test_a_registered_instance(cluster, agent):
    instance = agent.described()
    shapes.check(instance, shapes.INSTANCE)
    instance_id = agent.arn.rpartition("/")[2]
    assert agent.arn == f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/{cluster}/{instance_id}"
    assert (instance["status"], instance["agentConnected"]) == ("ACTIVE", True)
    assert (instance["runningTasksCount"], instance["pendingTasksCount"]) == (0, 0)
    assert (instance["attachments"], instance["tags"]) == ([], [])
    assert instance["versionInfo"]["agentVersion"] == agent_capabilities.AGENT_VERSION
    assert resources(instance, "registeredResources")["CPU"] == 2048
    assert resources(instance, "remainingResources")["MEMORY"] == 4096


def test_resources_carry_every_numeric_member(agent):
    registered = {resource["name"]: resource for resource in agent.described()["registeredResources"]}
    assert registered["CPU"] == {
        "name": "CPU",
        "type": "INTEGER",
        "doubleValue": 0.0,
        "longValue": 0,
        "integerValue": 2048,
    }
    assert sorted(registered["PORTS"]["stringSetValue"]) == sorted(agent_capabilities.RESERVED_PORTS)


def test_what_tasks_take_is_missing_from_what_remains(ecs, cluster, agent, register):
    definition = register(cpu=100, memory=200, portMappings=[{"containerPort": 80, "hostPort": 8080}])
    (task,) = ecs.run_task(cluster=cluster, taskDefinition=definition)["tasks"]
    until("it runs", lambda: agent.described()["runningTasksCount"] == 1)
    remaining = resources(agent.described(), "remainingResources")
    assert (remaining["CPU"], remaining["MEMORY"]) == (2048 - 100, 4096 - 200)
    # PORTS lists what is in use, not what is free.
    assert "8080" in remaining["PORTS"]
    ecs.stop_task(cluster=cluster, task=task["taskArn"])
    until("all is free again", lambda: resources(agent.described(), "remainingResources")["CPU"] == 2048)


def test_registering_again_keeps_the_instance(ecs, cluster, agent):
    agent.disconnect()
    before = agent.arn
    assert agent.register()["containerInstanceArn"] == before
    agent.connect()
    until("it is connected again", lambda: agent.described()["agentConnected"])
    assert ecs.list_container_instances(cluster=cluster)["containerInstanceArns"] == [before]


def test_custom_attributes_and_tags_are_kept(cluster, join, ecs):
    agent = join(attributes={"rack": "a1"}, tags=[{"key": "team", "value": "web"}])
    assert {"name": "rack", "value": "a1"} in agent.described()["attributes"]
    members = {"cluster": cluster, "containerInstances": [agent.arn], "include": ["TAGS"]}
    (instance,) = ecs.describe_container_instances(**members)["containerInstances"]
    assert instance["tags"] == [{"key": "team", "value": "web"}]


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("attribute:rack == a", 1),
        ("attribute:rack != a", 1),
        ("attribute:rack in [a, b]", 2),
        ("attribute:rack =~ [ab]", 2),
        ("agentConnected == false", 0),
        ("runningTasksCount == 0", 2),
        ("runningTasksCount > 0", 0),
        ("attribute:rack == a || attribute:rack == b", 2),
        ("attribute:nothing exists", 0),
        ("!(attribute:rack == a)", 1),
    ],
)
def test_instances_are_found_by_expression(ecs, cluster, join, expression, matches):
    join(attributes={"rack": "a"}), join(attributes={"rack": "b"})
    assert len(ecs.list_container_instances(cluster=cluster, filter=expression)["containerInstanceArns"]) == matches


def test_draining_moves_service_tasks_away(ecs, cluster, join, create, stable):
    leaving, staying = join(), join()
    create(4)
    stable()
    answer = ecs.update_container_instances_state(
        cluster=cluster, containerInstances=[leaving.arn], status="DRAINING"
    )
    assert [instance["status"] for instance in answer["containerInstances"]] == ["DRAINING"]
    until("nothing runs there", lambda: leaving.described()["runningTasksCount"] == 0)
    stable()
    assert {task["containerInstanceArn"] for task in tasks_of(ecs, cluster)} == {staying.arn}


def test_draining_leaves_standalone_tasks_alone_and_takes_no_new_ones(ecs, cluster, agent, register):
    definition = register()
    (task,) = ecs.run_task(cluster=cluster, taskDefinition=definition)["tasks"]
    until("it runs", lambda: agent.engine.known(task["taskArn"]) == "RUNNING")
    ecs.update_container_instances_state(cluster=cluster, containerInstances=[agent.arn], status="DRAINING")
    (found,) = ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"]
    assert found["desiredStatus"] == "RUNNING"
    with pytest.raises(ecs.exceptions.InvalidParameterException):
        ecs.run_task(cluster=cluster, taskDefinition=definition)
    ecs.update_container_instances_state(cluster=cluster, containerInstances=[agent.arn], status="ACTIVE")
    assert ecs.run_task(cluster=cluster, taskDefinition=definition)["failures"] == []


@pytest.mark.parametrize(("status", "found"), [(None, 1), ("ACTIVE", 0), ("DRAINING", 1), ("DEREGISTERING", 0)])
def test_lists_follow_the_status(ecs, cluster, agent, status, found):
    ecs.update_container_instances_state(cluster=cluster, containerInstances=[agent.arn], status="DRAINING")
    filters = {"status": status} if status else {}
    assert len(ecs.list_container_instances(cluster=cluster, **filters)["containerInstanceArns"]) == found


def test_an_instance_with_tasks_is_deregistered_by_force_alone(ecs, cluster, agent, register, refused):
    (task,) = ecs.run_task(cluster=cluster, taskDefinition=register())["tasks"]
    until("it runs", lambda: agent.engine.known(task["taskArn"]) == "RUNNING")
    code, _ = refused("deregister_container_instance", cluster=cluster, containerInstance=agent.arn)
    assert code == "InvalidParameterException"
    assert agent.described()["status"] == "ACTIVE"
    members = {"cluster": cluster, "containerInstance": agent.arn, "force": True}
    assert ecs.deregister_container_instance(**members)["containerInstance"]["status"] == "INACTIVE"

    def stopped():
        (found,) = ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"]
        return found if found["lastStatus"] == "STOPPED" else None

    reason = until("the orphan is stopped", stopped)["stoppedReason"]
    assert reason == "Container instance deregistration forced by user"
    assert ecs.list_container_instances(cluster=cluster)["containerInstanceArns"] == []


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("describe_container_instances", {}),
        ("update_container_instances_state", {"status": "DRAINING"}),
    ],
)
def test_unknown_instances_are_failures(ecs, cluster, agent, operation, members):
    unknown = agent.arn[:-4] + "ffff"
    answer = getattr(ecs, operation)(cluster=cluster, containerInstances=[unknown], **members)
    assert answer["failures"] == [{"arn": unknown, "reason": "MISSING"}]
    assert answer["containerInstances"] == []


@pytest.mark.parametrize("status", ["INACTIVE", "SLEEPING"])
def test_only_active_and_draining_can_be_asked_for(cluster, agent, refused, status):
    members = {"cluster": cluster, "containerInstances": [agent.arn], "status": status}
    code, _ = refused("update_container_instances_state", **members)
    assert code == "InvalidParameterException"
    assert agent.described()["status"] == "ACTIVE"


def test_describing_no_instance(cluster, refused):
    code, message = refused("describe_container_instances", cluster=cluster, containerInstances=[])
    assert (code, message) == ("InvalidParameterException", "Container instances cannot be empty.")

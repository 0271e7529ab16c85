"""Tasks: RunTask, StartTask, StopTask, and what is seen of a task from placement to its end."""

import pytest

import shapes
from ecsr_process import ACCOUNT, IMAGE, REGION
from waiting import until


@pytest.fixture
def described_task(ecs, cluster):
    def described(arn):
        return ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"][0]

    return described


@pytest.fixture
def reach(described_task):
    """Waits for a task's lastStatus and returns the task."""

    def reach(arn, status):
        def look():
            task = described_task(arn)
            return task if task["lastStatus"] == status else None

        return until(f"{arn} is {status}", look)

    return reach


@pytest.fixture
def run(ecs, cluster):
    """Runs one task and returns its ARN."""

    def run(definition, **members):
        answer = ecs.run_task(cluster=cluster, taskDefinition=definition, **members)
        assert answer["failures"] == []
        return answer["tasks"][0]["taskArn"]

    return run


def reasons(answer):
    """The failures without their `detail`, which is for people."""
    return [(failure["arn"], failure["reason"]) for failure in answer["failures"]]


def test_a_task_as_it_is_right_after_placement(ecs, cluster, agent, register, name):
    definition = register(image="pretend/stuck")
    answer = ecs.run_task(cluster=cluster, taskDefinition=definition)
    assert answer["failures"] == []
    (task,) = answer["tasks"]
    shapes.check(task, shapes.TASK_PLACED)
    (container,) = task["containers"]
    shapes.check(container, shapes.CONTAINER_PLACED)
    task_id = task["taskArn"].rpartition("/")[2]
    assert task["taskArn"] == f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{cluster}/{task_id}"
    assert (len(task_id), container["taskArn"]) == (32, task["taskArn"])
    expected = {
        "attachments": [],
        "containerInstanceArn": agent.arn,
        "cpu": "10",
        "memory": "32",
        "desiredStatus": "RUNNING",
        "lastStatus": "PENDING",
        "enableExecuteCommand": False,
        "group": f"family:{name}",
        "overrides": {"containerOverrides": [{"name": "web"}], "inferenceAcceleratorOverrides": []},
        "tags": [],
        "taskDefinitionArn": definition,
        "version": 1,
    }
    assert {member: task[member] for member in expected} == expected
    assert {"name": "ecs.cpu-architecture", "value": "x86_64"} in task["attributes"]
    expected = {"name": "web", "lastStatus": "PENDING", "networkInterfaces": [], "cpu": "10", "memory": "32"}
    assert {member: container[member] for member in expected} == expected


def test_a_running_task(agent, register, run, reach):
    task = reach(run(register(portMappings=[{"containerPort": 8080}])), "RUNNING")
    shapes.check(task, shapes.TASK_RUNNING)
    shapes.check(task["containers"][0], shapes.CONTAINER_RUNNING)
    assert (task["connectivity"], task["healthStatus"]) == ("CONNECTED", "UNKNOWN")
    (binding,) = task["containers"][0]["networkBindings"]
    assert binding == {"bindIP": "0.0.0.0", "containerPort": 8080, "hostPort": binding["hostPort"], "protocol": "tcp"}
    assert task["version"] > 1
    assert task["createdAt"] <= task["startedAt"]


@pytest.mark.parametrize(
    ("given", "reason"), [({"reason": "going home"}, "going home"), ({}, "Task stopped by user")]
)
def test_stopping_a_task(ecs, cluster, agent, register, run, reach, given, reason):
    arn = run(register())
    reach(arn, "RUNNING")
    stopped = ecs.stop_task(cluster=cluster, task=arn.rpartition("/")[2], **given)["task"]
    assert (stopped["desiredStatus"], stopped["lastStatus"]) == ("STOPPED", "RUNNING")
    task = reach(arn, "STOPPED")
    shapes.check(task, shapes.TASK_STOPPED)
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", reason)
    assert task["containers"][0]["exitCode"] == 0
    again = ecs.stop_task(cluster=cluster, task=arn)["task"]
    assert (again["stoppedReason"], again["stoppedAt"]) == (task["stoppedReason"], task["stoppedAt"])


def test_an_essential_container_ends_its_task(agent, register, run, reach):
    task = reach(run(register(image="pretend/exit:7")), "STOPPED")
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert (task["desiredStatus"], task["containers"][0]["exitCode"]) == ("STOPPED", 7)


def test_an_image_that_does_not_exist(agent, register, run, reach):
    task = reach(run(register(image="pretend/missing")), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["containers"][0]["reason"].startswith("CannotPullContainerError: ")
    assert "startedAt" not in task and "exitCode" not in task["containers"][0]


def test_count_starts_that_many(ecs, cluster, agent, register):
    answer = ecs.run_task(cluster=cluster, taskDefinition=register(), count=10, startedBy="me", group="batch")
    assert len({task["taskArn"] for task in answer["tasks"]}) == 10
    assert {(task["startedBy"], task["group"]) for task in answer["tasks"]} == {("me", "batch")}


def test_what_does_not_fit_is_a_failure_per_instance(ecs, cluster, agent, register):
    answer = ecs.run_task(cluster=cluster, taskDefinition=register(memory=3000), count=2)
    assert len(answer["tasks"]) == 1
    assert reasons(answer) == [(agent.arn, "RESOURCE:MEMORY")]


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({"cpu": 4096}, "RESOURCE:CPU"),
        ({"memory": 8192}, "RESOURCE:MEMORY"),
        ({"portMappings": [{"containerPort": 80, "hostPort": 22}]}, "RESOURCE:PORTS"),
        ({"logConfiguration": {"logDriver": "fluentd"}}, "ATTRIBUTE"),
    ],
)
def test_why_a_task_is_not_placed(ecs, cluster, agent, register, container, reason):
    answer = ecs.run_task(cluster=cluster, taskDefinition=register(**container))
    assert (answer["tasks"], reasons(answer)) == ([], [(agent.arn, reason)])
    assert ecs.list_tasks(cluster=cluster)["taskArns"] == []


def test_a_host_port_is_given_once(ecs, cluster, agent, register, run, reach):
    definition = register(portMappings=[{"containerPort": 80, "hostPort": 8080}])
    first = run(definition)
    again = ecs.run_task(cluster=cluster, taskDefinition=definition)
    assert reasons(again) == [(agent.arn, "RESOURCE:PORTS")]
    ecs.stop_task(cluster=cluster, task=first)
    reach(first, "STOPPED")
    assert ecs.run_task(cluster=cluster, taskDefinition=definition)["failures"] == []


def test_a_disconnected_agent_gets_no_task(ecs, cluster, agent, register):
    agent.disconnect()
    until("the disconnection is seen", lambda: not agent.described()["agentConnected"])
    answer = ecs.run_task(cluster=cluster, taskDefinition=register())
    assert reasons(answer) == [(agent.arn, "AGENT")]


@pytest.mark.parametrize(
    ("expression", "failures"),
    [
        ("attribute:rack == a", []),
        ("attribute:rack == b", ["MemberOf placement constraint unsatisfied."]),
        ("attribute:rack in [a, b] and agentConnected == true", []),
        ("not(attribute:rack exists)", ["MemberOf placement constraint unsatisfied."]),
    ],
)
def test_member_of_constraints(ecs, cluster, join, register, expression, failures):
    join(attributes={"rack": "a"})
    constraints = [{"type": "memberOf", "expression": expression}]
    answer = ecs.run_task(cluster=cluster, taskDefinition=register(), placementConstraints=constraints)
    assert [failure["reason"] for failure in answer["failures"]] == failures


def test_overrides_reach_the_agent_and_are_echoed(ecs, cluster, agent, register):
    definition = register(command=["httpd"], environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    override = {
        "name": "web",
        "command": ["sh"],
        "environment": [{"name": "A", "value": "9"}],
        "cpu": 20,
        "memory": 64,
    }
    answer = ecs.run_task(cluster=cluster, taskDefinition=definition, overrides={"containerOverrides": [override]})
    (task,) = answer["tasks"]
    assert task["overrides"]["containerOverrides"] == [override]
    assert (task["cpu"], task["memory"]) == ("20", "64")
    (payload,) = until("the payload arrives", lambda: agent.payloads_of(task["taskArn"]))
    (container,) = payload["containers"]
    assert (container["command"], container["cpu"], container["memory"]) == (["sh"], 20, 64)
    assert container["environment"].items() >= {"A": "9", "B": "2"}.items()


def test_start_task_starts_on_the_instances_named(ecs, cluster, join, register):
    agents = [join(), join()]
    unknown = agents[0].arn[:-4] + "ffff"
    named = [agents[1].arn, unknown]
    answer = ecs.start_task(cluster=cluster, taskDefinition=register(), containerInstances=named)
    assert [task["containerInstanceArn"] for task in answer["tasks"]] == [agents[1].arn]
    assert answer["failures"] == [{"arn": unknown, "reason": "MISSING"}]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, 3),
        ({"family": "{name}"}, 3),
        ({"family": "other"}, 0),
        ({"startedBy": "me"}, 1),
        ({"desiredStatus": "RUNNING"}, 3),
        ({"desiredStatus": "STOPPED"}, 0),
        ({"desiredStatus": "PENDING"}, 0),
        ({"launchType": "FARGATE"}, 0),
    ],
)
def test_lists_are_filtered(ecs, cluster, agent, register, run, name, filters, found):
    definition = register()
    for members in ({"startedBy": "me"}, {}, {}):
        run(definition, **members)
    filters = {key: value.format(name=name) for key, value in filters.items()}
    assert len(ecs.list_tasks(cluster=cluster, **filters)["taskArns"]) == found


def test_missing_tasks_are_failures(ecs, cluster, agent, register, run):
    arn = run(register())
    unknown = arn[:-4] + "ffff"
    answer = ecs.describe_tasks(cluster=cluster, tasks=[unknown, arn])
    assert [task["taskArn"] for task in answer["tasks"]] == [arn]
    assert answer["failures"] == [{"arn": unknown, "reason": "MISSING"}]


def test_dependent_containers_are_all_reported(ecs, cluster, agent, name, reach):
    containers = [
        {"name": "web", "image": IMAGE, "memory": 16},
        {"name": "init", "image": "pretend/exit:0", "memory": 16, "essential": False},
    ]
    ecs.register_task_definition(family=name, containerDefinitions=containers)
    arn = ecs.run_task(cluster=cluster, taskDefinition=name)["tasks"][0]["taskArn"]

    def init_ended():
        task = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"][0]
        statuses = {container["name"]: container["lastStatus"] for container in task["containers"]}
        return task["lastStatus"] == "RUNNING" and statuses == {"web": "RUNNING", "init": "STOPPED"}

    until("the task runs on without its init container", init_ended)

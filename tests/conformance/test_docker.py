"""The whole of it on a real Docker engine: `ecsr up`, the AWS CLI and boto3, real containers, real pages."""

import concurrent.futures
import json
import subprocess
import urllib.request

import pytest

import ecsr_process
from ecsr_process import IMAGE
from seen import tasks_of
from waiting import SECONDS_MAX, WAITER, until

pytestmark = pytest.mark.docker
COUNT = 14
HTTPD = ["httpd", "-f", "-p", "8080", "-h", "/www"]


def docker(*arguments):
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def here():
    """An ecsr whose one instance is this machine, in a cluster that no other run uses."""
    cluster = f"conformance-{ecsr_process.free_port()}"
    with ecsr_process.running("--cluster", cluster) as started:
        yield started


@pytest.fixture(scope="module")
def ecs(here):
    return here.client()


@pytest.fixture(scope="module")
def cluster(here):
    return here.environment["ECS_CLUSTER"]


def containers(cluster, state="running"):
    filters = ("--filter", f"label=com.amazonaws.ecs.cluster={cluster}", "--filter", f"status={state}")
    return set(docker("ps", "-aq", "--no-trunc", *filters))


def settled(ecs, cluster, service):
    ecs.get_waiter("services_stable").wait(cluster=cluster, services=[service], WaiterConfig=WAITER)
    return ecs.describe_services(cluster=cluster, services=[service])["services"][0]


def page(task):
    port = task["containers"][0]["networkBindings"][0]["hostPort"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=SECONDS_MAX) as answer:
        return answer.read().decode().strip()


@pytest.fixture
def web(ecs, name):
    """Registers the web task, one more revision at each call."""

    def web(**members):
        container = {
            "name": "web",
            "image": IMAGE,
            "cpu": 10,
            "memory": 16,
            "command": HTTPD,
            "stopTimeout": 2,
            "portMappings": [{"containerPort": 8080}],
            **members,
        }
        answer = ecs.register_task_definition(family=name, containerDefinitions=[container])
        return answer["taskDefinition"]["taskDefinitionArn"]

    return web


@pytest.fixture
def service(ecs, cluster, name):
    """The test's service; gone, with its containers, when the test ends."""
    yield name
    ecs.delete_service(cluster=cluster, service=name, force=True)
    ecs.get_waiter("services_inactive").wait(cluster=cluster, services=[name], WaiterConfig=WAITER)
    until("no container is left", lambda: not containers(cluster))


def test_this_machine_is_the_instance(ecs, cluster):
    (arn,) = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    (instance,) = ecs.describe_container_instances(cluster=cluster, containerInstances=[arn])["containerInstances"]
    assert (instance["status"], instance["agentConnected"]) == ("ACTIVE", True)
    attributes = {attribute["name"] for attribute in instance["attributes"]}
    assert {
        "com.amazonaws.ecs.capability.docker-remote-api.1.21",
        "ecs.capability.container-health-check",
    } <= attributes


def test_fourteen_pages_by_aws_cli(here, ecs, cluster, service, web):
    named = ("--cluster", cluster, "--service-name", service, "--task-definition", web())
    here.aws("ecs", "create-service", *named, "--desired-count", str(COUNT))
    here.aws("ecs", "wait", "services-stable", "--cluster", cluster, "--services", service)
    tasks = tasks_of(ecs, cluster, service)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert list(pool.map(page, tasks)) == ["served by ecsr"] * COUNT
    runtime_ids = {container["runtimeId"] for task in tasks for container in task["containers"]}
    assert runtime_ids == containers(cluster)


def test_killed_containers_are_replaced_and_only_they(ecs, cluster, service, web):
    ecs.create_service(cluster=cluster, serviceName=service, taskDefinition=web(), desiredCount=4)
    settled(ecs, cluster, service)
    before = containers(cluster)
    killed = set(sorted(before)[:2])
    docker("kill", *killed)
    until("four run again", lambda: len(containers(cluster)) == 4 and not killed & containers(cluster))
    assert before - killed < containers(cluster)
    assert settled(ecs, cluster, service)["runningCount"] == 4


def test_an_update_never_serves_less_than_the_minimum(ecs, cluster, service, web):
    ecs.create_service(cluster=cluster, serviceName=service, taskDefinition=web(), desiredCount=4)
    settled(ecs, cluster, service)
    definition = web(environment=[{"name": "REVISION", "value": "2"}])
    ecs.update_service(cluster=cluster, service=service, taskDefinition=definition)
    least = COUNT

    def replaced():
        nonlocal least
        least = min(least, len(containers(cluster)))
        tasks = tasks_of(ecs, cluster, service)
        return {task["taskDefinitionArn"] for task in tasks} == {definition} and len(tasks) == 4

    until("all tasks are of the new revision", replaced)
    assert least >= 4
    settled(ecs, cluster, service)


@pytest.mark.parametrize(
    ("container", "code", "exit_code", "reason"),
    [
        ({"command": ["sh", "-c", "exit 7"]}, "EssentialContainerExited", 7, None),
        ({"image": "ecsr-test/not-there:1"}, "TaskFailedToStart", None, "CannotPullContainerError"),
        ({"command": ["/not/there"]}, "TaskFailedToStart", None, "CannotStartContainerError"),
    ],
)
def test_why_a_task_ended(ecs, cluster, web, container, code, exit_code, reason):
    (task,) = ecs.run_task(cluster=cluster, taskDefinition=web(**container))["tasks"]
    named = {"cluster": cluster, "tasks": [task["taskArn"]]}
    ecs.get_waiter("tasks_stopped").wait(**named, WaiterConfig=WAITER)
    (ended,) = ecs.describe_tasks(**named)["tasks"]
    assert ended["stopCode"] == code
    if exit_code is not None:
        assert ended["containers"][0]["exitCode"] == exit_code
    if reason is not None:
        assert ended["containers"][0]["reason"].startswith(reason)


def test_health_and_dependencies(ecs, cluster, name):
    definitions = [
        {
            "name": "web",
            "image": IMAGE,
            "memory": 16,
            "command": HTTPD,
            "stopTimeout": 2,
            "healthCheck": {"command": ["CMD-SHELL", "wget -q -O- http://127.0.0.1:8080/"], "interval": 5},
            "dependsOn": [{"containerName": "init", "condition": "SUCCESS"}],
        },
        {"name": "init", "image": IMAGE, "memory": 16, "essential": False, "command": ["true"]},
    ]
    ecs.register_task_definition(family=name, containerDefinitions=definitions)
    (task,) = ecs.run_task(cluster=cluster, taskDefinition=name)["tasks"]

    def described():
        return ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"][0]

    until("the web container is healthy", lambda: described().get("healthStatus") == "HEALTHY")
    exits = {container["name"]: container.get("exitCode") for container in described()["containers"]}
    assert exits == {"web": None, "init": 0}
    ecs.stop_task(cluster=cluster, task=task["taskArn"])
    until("it is stopped", lambda: described()["lastStatus"] == "STOPPED")


def test_the_command_line_says_the_same(here, cluster, service, web):
    family = web().rpartition("/")[2]
    created = here.run("service", "create", "--task-definition", family, "--name", service, "--count", "3", "--wait")
    assert "3" in created.stdout + created.stderr
    (shown,) = [row for row in here.json("service", "list")["services"] if row["serviceName"] == service]
    assert (shown["runningCount"], shown["desiredCount"]) == (3, 3)
    listed = json.loads(here.aws("ecs", "list-services", "--cluster", cluster).stdout)["serviceArns"]
    assert shown["serviceArn"] in listed

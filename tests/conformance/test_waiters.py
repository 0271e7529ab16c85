"""Botocore's waiters, which is how scripts and Terraform learn that something is done."""

import botocore.exceptions
import pytest

from waiting import WAITER


@pytest.fixture
def service(ecs, cluster, register):
    """Makes the service `web` and returns the arguments that name it."""

    def service(count, **container):
        definition = register(**container)
        ecs.create_service(cluster=cluster, serviceName="web", taskDefinition=definition, desiredCount=count)
        return {"cluster": cluster, "services": ["web"]}

    return service


@pytest.fixture
def task(ecs, cluster, register):
    def task(**container):
        (started,) = ecs.run_task(cluster=cluster, taskDefinition=register(**container))["tasks"]
        return {"cluster": cluster, "tasks": [started["taskArn"]]}

    return task


def wait(ecs, waiter, named):
    ecs.get_waiter(waiter).wait(**named, WaiterConfig=WAITER)


def test_services_stable(ecs, agent, service):
    named = service(3)
    wait(ecs, "services_stable", named)
    (found,) = ecs.describe_services(**named)["services"]
    assert (found["runningCount"], len(found["deployments"])) == (3, 1)


def test_services_stable_after_an_update(ecs, cluster, agent, register, service):
    named = service(3)
    wait(ecs, "services_stable", named)
    definition = register(cpu=11)
    ecs.update_service(cluster=cluster, service="web", taskDefinition=definition)
    wait(ecs, "services_stable", named)
    tasks = ecs.list_tasks(cluster=cluster, serviceName="web")["taskArns"]
    described = ecs.describe_tasks(cluster=cluster, tasks=tasks)["tasks"]
    assert {task["taskDefinitionArn"] for task in described} == {definition}


def test_services_inactive(ecs, cluster, agent, service):
    named = service(2)
    wait(ecs, "services_stable", named)
    ecs.delete_service(cluster=cluster, service="web", force=True)
    wait(ecs, "services_inactive", named)


def test_tasks_running_and_stopped(ecs, cluster, agent, task):
    named = task()
    wait(ecs, "tasks_running", named)
    ecs.stop_task(cluster=cluster, task=named["tasks"][0])
    wait(ecs, "tasks_stopped", named)


@pytest.mark.parametrize(
    ("waiter", "named"),
    [
        ("services_stable", {"services": ["nothing"]}),
        ("services_inactive", {"services": ["nothing"]}),
        ("tasks_running", {"tasks": ["0" * 32]}),
    ],
)
def test_what_is_missing_ends_the_wait(ecs, cluster, waiter, named):
    with pytest.raises(botocore.exceptions.WaiterError, match="terminal failure"):
        wait(ecs, waiter, {"cluster": cluster, **named})


def test_a_task_that_fails_ends_the_wait_for_running(ecs, agent, task):
    named = task(image="pretend/missing")
    wait(ecs, "tasks_stopped", named)
    with pytest.raises(botocore.exceptions.WaiterError, match="terminal failure"):
        wait(ecs, "tasks_running", named)


def test_a_deleted_service_ends_the_wait_for_stable(ecs, cluster, agent, service):
    agent.engine.hold_stops()
    named = service(1)
    wait(ecs, "services_stable", named)
    ecs.delete_service(cluster=cluster, service="web", force=True)
    with pytest.raises(botocore.exceptions.WaiterError, match="terminal failure"):
        wait(ecs, "services_stable", named)
    agent.engine.release_stops()

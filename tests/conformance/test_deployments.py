"""Rolling replacement: within its bounds, and with what DescribeServices says meanwhile."""

import threading

import pytest

from seen import tasks_of
from waiting import until


class Sampler:
    """Looks at a service's tasks without pause and keeps the extremes."""

    def __init__(self, ecs, cluster):
        self.look = lambda: tasks_of(ecs, cluster)
        self.running, self.active = [], []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)

    def sample(self):
        while not self.ended.is_set():
            statuses = [task["lastStatus"] for task in self.look()]
            self.running.append(statuses.count("RUNNING"))
            self.active.append(len(statuses))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def replaced(ecs, cluster, definition):
    """Every task of the service is RUNNING and of that definition."""

    def look():
        tasks = tasks_of(ecs, cluster)
        return tasks and all((t["taskDefinitionArn"], t["lastStatus"]) == (definition, "RUNNING") for t in tasks)

    until(f"all tasks are of {definition}", look)


@pytest.mark.parametrize(
    ("minimum", "maximum", "running_least", "active_most"),
    [(100, 200, 4, 8), (50, 100, 2, 4), (100, 150, 4, 6), (0, 100, 0, 4)],
)
def test_an_update_stays_within_its_bounds(
    ecs, cluster, agent, register, create, stable, minimum, maximum, running_least, active_most
):
    bounds = {"minimumHealthyPercent": minimum, "maximumPercent": maximum}
    create(4, deploymentConfiguration=bounds)
    stable()
    definition = register(environment=[{"name": "REVISION", "value": "2"}])
    with Sampler(ecs, cluster) as sampler:
        ecs.update_service(cluster=cluster, service="web", taskDefinition=definition)
        replaced(ecs, cluster, definition)
        stable()
    assert min(sampler.running) >= running_least
    assert max(sampler.active) <= active_most


def test_the_old_deployment_stays_until_it_has_no_tasks(ecs, cluster, agent, register, create, stable, described):
    create(2)
    old = stable()["deployments"][0]
    agent.engine.hold_stops()
    definition = register(cpu=11)
    updated = ecs.update_service(cluster=cluster, service="web", taskDefinition=definition)["service"]
    primary, active = updated["deployments"]
    assert (primary["status"], primary["taskDefinition"], active["status"]) == ("PRIMARY", definition, "ACTIVE")
    assert (active["id"], active["taskDefinition"]) == (old["id"], old["taskDefinition"])
    until("the new tasks run", lambda: described()["deployments"][0]["runningCount"] == 2)
    agent.engine.release_stops()
    (left,) = stable()["deployments"]
    assert left["id"] == primary["id"]
    assert left["status"] == "PRIMARY"


def test_the_same_definition_again_is_no_new_deployment(ecs, cluster, agent, register, create, stable):
    definition = register()
    create(1, definition=definition)
    before = stable()["deployments"][0]["id"]
    updated = ecs.update_service(cluster=cluster, service="web", taskDefinition=definition)["service"]
    assert [deployment["id"] for deployment in updated["deployments"]] == [before]


def test_force_replaces_every_task(ecs, cluster, agent, create, stable):
    create(2)
    before = stable()["deployments"][0]["id"]
    old = {task["taskArn"] for task in tasks_of(ecs, cluster)}
    ecs.update_service(cluster=cluster, service="web", forceNewDeployment=True)
    until("none of the old tasks is left", lambda: not old & {task["taskArn"] for task in tasks_of(ecs, cluster)})
    assert stable()["deployments"][0]["id"] != before


def test_the_circuit_breaker_gives_up(ecs, cluster, agent, register, create, described):
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    create(2, definition=register(image="pretend/missing"), deploymentConfiguration=breaker)

    def failed():
        deployment = described()["deployments"][0]
        return deployment if deployment["rolloutState"] == "FAILED" else None

    deployment = until("the rollout failed", failed)
    assert deployment["rolloutStateReason"] == "ECS deployment circuit breaker: tasks failed to start."
    assert deployment["failedTasks"] >= 3


def test_the_circuit_breaker_rolls_back(ecs, cluster, agent, register, create, stable, described):
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    good = register()
    create(2, definition=good, deploymentConfiguration=breaker)
    stable()
    bad = register(image="pretend/missing")
    with Sampler(ecs, cluster) as sampler:
        ecs.update_service(cluster=cluster, service="web", taskDefinition=bad)
        until("it is back", lambda: described()["taskDefinition"] == good and len(described()["deployments"]) == 1)
    assert min(sampler.running) >= 2
    assert {task["taskDefinitionArn"] for task in tasks_of(ecs, cluster)} == {good}


def test_a_crash_loop_is_slowed_down(ecs, cluster, agent, register, create, described):
    create(1, definition=register(image="pretend/missing"))
    message = "(service web) is unable to consistently start tasks successfully."

    def complained():
        return any(event["message"].startswith(message) for event in described()["events"])

    until("the event is there", complained)
    assert described()["deployments"][0]["failedTasks"] >= 1


def test_a_new_definition_ends_a_crash_loop(ecs, cluster, agent, register, create, stable, described):
    create(1, definition=register(image="pretend/missing"))
    until("starts failed", lambda: described()["deployments"][0]["failedTasks"] >= 2)
    ecs.update_service(cluster=cluster, service="web", taskDefinition=register())
    assert stable()["deployments"][0]["failedTasks"] == 0


def test_deployment_settings_alone_start_no_deployment(ecs, cluster, agent, create, stable):
    create(1)
    before = stable()["deployments"][0]["id"]
    changed = {"minimumHealthyPercent": 50, "maximumPercent": 150}
    updated = ecs.update_service(
        cluster=cluster, service="web", deploymentConfiguration=changed, placementConstraints=[], placementStrategy=[]
    )["service"]
    assert [deployment["id"] for deployment in updated["deployments"]] == [before]
    assert updated["deploymentConfiguration"].items() >= changed.items()

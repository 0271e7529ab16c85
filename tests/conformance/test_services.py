"""Services: what is answered, desired count kept, and the end of a service."""

import re

import pytest

import shapes
from ecsr_process import ACCOUNT, REGION
from seen import tasks_of
from waiting import until


def test_a_new_service(cluster, register, create):
    definition = register()
    service = create(0, definition=definition)
    shapes.check(service, shapes.SERVICE)
    assert service["serviceArn"] == f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/{cluster}/web"
    configuration = service["deploymentConfiguration"]
    assert (configuration["maximumPercent"], configuration["minimumHealthyPercent"]) == (200, 100)
    assert configuration["deploymentCircuitBreaker"]["enable"] is False
    expected = {
        "status": "ACTIVE",
        "launchType": "EC2",
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": "ECS"},
        "taskDefinition": definition,
        "loadBalancers": [],
        "serviceRegistries": [],
        "placementConstraints": [],
        "placementStrategy": [],
        "propagateTags": "NONE",
        "enableECSManagedTags": False,
        "enableExecuteCommand": False,
        "desiredCount": 0,
        "runningCount": 0,
        "pendingCount": 0,
    }
    assert {member: service[member] for member in expected} == expected


def test_a_new_service_has_one_primary_deployment(create):
    (deployment,) = create(1)["deployments"]
    shapes.check(deployment, shapes.DEPLOYMENT)
    assert re.fullmatch(r"ecs-svc/\d{19}", deployment["id"])
    assert (deployment["status"], deployment["desiredCount"], deployment["rolloutState"]) == (
        "PRIMARY",
        1,
        "IN_PROGRESS",
    )
    assert deployment["rolloutStateReason"] == f"ECS deployment {deployment['id']} in progress."


def test_the_desired_count_runs(ecs, cluster, agent, create, stable):
    create(4)
    (deployment,) = stable()["deployments"]
    tasks = tasks_of(ecs, cluster)
    assert len(tasks) == 4
    assert {(task["group"], task["startedBy"]) for task in tasks} == {("service:web", deployment["id"])}
    assert {task["launchType"] for task in tasks} == {"EC2"}


def test_a_finished_deployment_says_so(agent, create, described):
    create(2)

    def completed():
        (deployment,) = described()["deployments"]
        return deployment if deployment["rolloutState"] == "COMPLETED" else None

    deployment = until("the rollout is completed", completed)
    assert deployment["rolloutStateReason"] == f"ECS deployment {deployment['id']} completed."
    messages = [event["message"] for event in described()["events"]]
    started = [re.fullmatch(r"\(service web\) has started (\d+) tasks: .*\.", message) for message in messages]
    assert sum(int(match[1]) for match in started if match) == 2
    assert f"(service web) (deployment {deployment['id']}) deployment completed." in messages
    assert messages[0] == "(service web) has reached a steady state."


def test_events_are_unique_and_newest_first(agent, create, stable, described):
    create(3)
    stable()
    events = described()["events"]
    assert len({event["id"] for event in events}) == len(events)
    assert [e["createdAt"] for e in events] == sorted((e["createdAt"] for e in events), reverse=True)


def test_a_lost_task_is_replaced(ecs, cluster, agent, create, stable):
    create(3)
    stable()
    victim = tasks_of(ecs, cluster)[0]
    agent.engine.exit(victim["taskArn"], "web", 137)

    def replaced():
        running = {task["taskArn"] for task in tasks_of(ecs, cluster) if task["lastStatus"] == "RUNNING"}
        return len(running) == 3 and victim["taskArn"] not in running

    until("another task took its place", replaced)
    (lost,) = tasks_of(ecs, cluster, desiredStatus="STOPPED")
    assert (lost["taskArn"], lost["stopCode"]) == (victim["taskArn"], "EssentialContainerExited")


def test_scaling_out_keeps_what_runs(ecs, cluster, agent, create, stable):
    create(2)
    deployment = stable()["deployments"][0]["id"]
    before = {task["taskArn"] for task in tasks_of(ecs, cluster)}
    ecs.update_service(cluster=cluster, service="web", desiredCount=5)
    assert stable()["deployments"][0]["id"] == deployment
    assert before < {task["taskArn"] for task in tasks_of(ecs, cluster)}


def test_scaling_in_says_why(ecs, cluster, agent, create, stable):
    create(4)
    deployment = stable()["deployments"][0]["id"]
    ecs.update_service(cluster=cluster, service="web", desiredCount=1)
    until("three tasks ended", lambda: len(tasks_of(ecs, cluster, desiredStatus="STOPPED")) == 3)
    stopped = tasks_of(ecs, cluster, desiredStatus="STOPPED")
    assert {(task["stopCode"], task["stoppedReason"]) for task in stopped} == {
        ("ServiceSchedulerInitiated", f"Scaling activity initiated by (deployment {deployment})")
    }
    assert stable()["runningCount"] == 1


def test_tasks_are_spread_over_instances(ecs, cluster, join, create, stable):
    agents = [join() for _ in range(3)]
    create(6)
    stable()
    instances = [task["containerInstanceArn"] for task in tasks_of(ecs, cluster)]
    assert sorted(instances.count(agent.arn) for agent in agents) == [2, 2, 2]


def test_binpack_fills_one_instance_first(ecs, cluster, join, create, stable):
    join(), join()
    create(4, placementStrategy=[{"type": "binpack", "field": "memory"}])
    assert stable()["placementStrategy"] == [{"type": "binpack", "field": "MEMORY"}]
    assert len({task["containerInstanceArn"] for task in tasks_of(ecs, cluster)}) == 1


def test_distinct_instance_leaves_the_rest_unplaced(ecs, cluster, join, create, described):
    join(), join()
    create(3, placementConstraints=[{"type": "distinctInstance"}])
    until("two tasks run", lambda: described()["runningCount"] == 2)
    assert len({task["containerInstanceArn"] for task in tasks_of(ecs, cluster)}) == 2


def test_a_daemon_runs_once_on_every_instance(ecs, cluster, join, create, described):
    agents = [join(), join()]
    service = create(None, schedulingStrategy="DAEMON")
    assert (service["schedulingStrategy"], service["deploymentConfiguration"]["minimumHealthyPercent"]) == (
        "DAEMON",
        0,
    )
    until("two tasks run", lambda: described()["runningCount"] == 2)
    agents.append(join())
    until("the third instance runs it too", lambda: described()["runningCount"] == 3)
    instances = sorted(task["containerInstanceArn"] for task in tasks_of(ecs, cluster))
    assert instances == sorted(agent.arn for agent in agents)
    assert described()["desiredCount"] == 3


TROUBLE = "(service web) was unable to place a task because no container instance met all of its requirements."


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({"cpu": 4096}, "has insufficient CPU units available."),
        ({"memory": 8192}, "has insufficient memory available."),
        (
            {"portMappings": [{"containerPort": 80, "hostPort": 22}]},
            "is already using a port required by your task.",
        ),
        ({"logConfiguration": {"logDriver": "fluentd"}}, "is missing an attribute required by your task."),
    ],
)
def test_why_a_service_cannot_place(agent, register, create, described, container, reason):
    create(1, definition=register(**container))
    (event,) = until("the event is there", lambda: described()["events"])
    instance = agent.arn.rpartition("/")[2]
    assert event["message"] == (
        f"{TROUBLE} The closest matching (container-instance {instance}) {reason} "
        "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
    )


def test_a_service_without_instances_starts_when_one_joins(join, create, described, stable):
    create(2)
    (event,) = until("the event is there", lambda: described()["events"])
    assert event["message"].startswith(f"{TROUBLE} Reason: No Container Instances were found in your cluster.")
    join()
    assert stable()["runningCount"] == 2


def test_deleting_a_service_that_runs_needs_force(ecs, cluster, agent, create, stable, refused):
    create(2)
    stable()
    code, message = refused("delete_service", cluster=cluster, service="web")
    assert code == "InvalidParameterException"
    assert message.startswith("The service cannot be stopped while")
    assert stable()["status"] == "ACTIVE"


def test_a_deleted_service_drains_and_becomes_inactive(ecs, cluster, agent, create, stable, described, refused):
    agent.engine.hold_stops()
    create(2)
    stable()
    deleted = ecs.delete_service(cluster=cluster, service="web", force=True)["service"]
    assert (deleted["status"], deleted["desiredCount"]) == ("DRAINING", 0)
    answer = refused("update_service", cluster=cluster, service="web", desiredCount=1)
    assert answer == ("ServiceNotActiveException", "Service was not ACTIVE.")
    assert ecs.list_services(cluster=cluster)["serviceArns"] == []
    agent.engine.release_stops()
    until("it is inactive", lambda: described()["status"] == "INACTIVE")
    assert tasks_of(ecs, cluster) == []


def test_an_inactive_name_can_be_used_again(ecs, cluster, create, described):
    create(0)
    assert ecs.delete_service(cluster=cluster, service="web")["service"]["status"] in {"DRAINING", "INACTIVE"}
    until("it is inactive", lambda: described()["status"] == "INACTIVE")
    assert create(0)["status"] == "ACTIVE"


def test_unknown_services_are_failures_without_the_cluster(ecs, cluster, create):
    create(0)
    answer = ecs.describe_services(cluster=cluster, services=["nothing", "web"])
    assert [service["serviceName"] for service in answer["services"]] == ["web"]
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/nothing"
    assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]


def test_tags_only_when_asked_for(ecs, cluster, create, described):
    create(0, tags=[{"key": "team", "value": "web"}])
    assert "tags" not in described()
    included = ecs.describe_services(cluster=cluster, services=["web"], include=["TAGS"])["services"][0]
    assert included["tags"] == [{"key": "team", "value": "web"}]


@pytest.mark.parametrize("form", ["web", "arn:aws:ecs:{r}:{a}:service/{c}/web"])
def test_names_and_arns(cluster, create, described, form):
    create(0)
    assert described(form.format(r=REGION, a=ACCOUNT, c=cluster))["serviceName"] == "web"

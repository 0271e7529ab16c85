"""Clusters: what is answered, what is left out, and what keeps a cluster from being deleted."""

import pytest

import shapes
from ecsr_process import ACCOUNT, REGION
from waiting import until


def arn(name):
    return f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{name}"


def test_a_new_cluster_is_active_and_empty(ecs, name):
    created = ecs.create_cluster(clusterName=name)["cluster"]
    shapes.check(created, shapes.CLUSTER)
    assert created == {
        "clusterArn": arn(name),
        "clusterName": name,
        "status": "ACTIVE",
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": 0,
        "pendingTasksCount": 0,
        "activeServicesCount": 0,
        "statistics": [],
        "tags": [],
        "settings": created["settings"],
        "capacityProviders": [],
        "defaultCapacityProviderStrategy": [],
    }


def test_a_cluster_without_a_name_is_default(ecs):
    assert ecs.create_cluster()["cluster"]["clusterName"] == "default"
    assert ecs.describe_clusters()["clusters"][0]["clusterName"] == "default"


def test_creating_it_again_answers_the_cluster_unchanged(ecs, name):
    tags = [{"key": "team", "value": "web"}]
    ecs.create_cluster(clusterName=name, tags=tags)
    ecs.create_cluster(clusterName=name, tags=[{"key": "team", "value": "other"}])
    described = ecs.describe_clusters(clusters=[name], include=["TAGS"])["clusters"]
    assert [cluster["tags"] for cluster in described] == [tags]


def test_describe_gives_empty_lists_unless_asked_for_more(ecs, name):
    ecs.create_cluster(clusterName=name, tags=[{"key": "a", "value": "b"}])
    described = ecs.describe_clusters(clusters=[name])["clusters"][0]
    shapes.check(described, shapes.CLUSTER)
    assert (described["statistics"], described["tags"], described["settings"]) == ([], [], [])


def test_describe_includes_what_was_asked_for(ecs, name):
    settings = [{"name": "containerInsights", "value": "enabled"}]
    ecs.create_cluster(clusterName=name, tags=[{"key": "a", "value": "b"}], settings=settings)
    included = ["TAGS", "SETTINGS", "STATISTICS"]
    described = ecs.describe_clusters(clusters=[arn(name)], include=included)["clusters"][0]
    assert described["tags"] == [{"key": "a", "value": "b"}]
    assert described["settings"] == settings
    statistics = {entry["name"]: entry["value"] for entry in described["statistics"]}
    for counted in (
        "runningEC2TasksCount",
        "pendingEC2TasksCount",
        "activeEC2ServiceCount",
        "drainingEC2ServiceCount",
    ):
        assert statistics[counted] == "0"


def test_unknown_clusters_are_failures(ecs, cluster):
    answer = ecs.describe_clusters(clusters=["nowhere", cluster])
    assert [found["clusterName"] for found in answer["clusters"]] == [cluster]
    assert answer["failures"] == [{"arn": arn("nowhere"), "reason": "MISSING"}]


def test_settings_are_updated(ecs, cluster):
    settings = [{"name": "containerInsights", "value": "enhanced"}]
    assert ecs.update_cluster_settings(cluster=cluster, settings=settings)["cluster"]["settings"] == settings
    settings[0]["value"] = "disabled"
    assert ecs.update_cluster(cluster=cluster, settings=settings)["cluster"]["settings"] == settings
    described = ecs.describe_clusters(clusters=[cluster], include=["SETTINGS"])["clusters"][0]
    assert described["settings"] == settings


def test_a_deleted_cluster_is_inactive_and_not_listed(ecs, cluster, refused):
    assert ecs.delete_cluster(cluster=cluster)["cluster"]["status"] == "INACTIVE"
    listed = [a for page in ecs.get_paginator("list_clusters").paginate() for a in page["clusterArns"]]
    assert arn(cluster) not in listed
    assert ecs.describe_clusters(clusters=[cluster])["clusters"][0]["status"] == "INACTIVE"
    assert refused("list_services", cluster=cluster) == ("ClusterNotFoundException", "Cluster not found.")


def test_a_deleted_name_can_be_used_again(ecs, cluster):
    ecs.delete_cluster(cluster=cluster)
    assert ecs.create_cluster(clusterName=cluster)["cluster"]["status"] == "ACTIVE"


def test_instances_tasks_and_services_keep_a_cluster(ecs, cluster, agent, register, refused):
    definition = register()
    ecs.create_service(cluster=cluster, serviceName="web", taskDefinition=definition, desiredCount=1)
    code, message = refused("delete_cluster", cluster=cluster)
    assert (code, message) in {
        (
            "ClusterContainsContainerInstancesException",
            "The Cluster cannot be deleted while Container Instances are active or draining.",
        ),
        ("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active."),
    }
    assert ecs.describe_clusters(clusters=[cluster])["clusters"][0]["status"] == "ACTIVE"


def test_a_service_alone_keeps_a_cluster(ecs, cluster, register, refused):
    ecs.create_service(cluster=cluster, serviceName="web", taskDefinition=register(), desiredCount=0)
    assert refused("delete_cluster", cluster=cluster) == (
        "ClusterContainsServicesException",
        "The Cluster cannot be deleted while Services are active.",
    )


def test_counters_follow_the_cluster(ecs, cluster, agent, register):
    ecs.create_service(cluster=cluster, serviceName="web", taskDefinition=register(), desiredCount=2)
    counts = ("registeredContainerInstancesCount", "runningTasksCount", "pendingTasksCount", "activeServicesCount")

    def counted():
        described = ecs.describe_clusters(clusters=[cluster])["clusters"][0]
        return tuple(described[count] for count in counts)

    until("two tasks are counted", lambda: counted() == (1, 2, 0, 1))


@pytest.mark.parametrize(
    "operation",
    [
        "list_services",
        "list_tasks",
        "list_container_instances",
        "delete_cluster",
    ],
)
def test_an_unknown_cluster_is_refused(operation, refused):
    assert refused(operation, cluster="nowhere") == ("ClusterNotFoundException", "Cluster not found.")

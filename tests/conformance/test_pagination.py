"""Pagination with botocore's own paginators, and tokens that are none of ours."""

import pytest

PAGED = {
    "list_clusters": "clusterArns",
    "list_task_definitions": "taskDefinitionArns",
    "list_task_definition_families": "families",
    "list_services": "serviceArns",
    "list_tasks": "taskArns",
    "list_container_instances": "containerInstanceArns",
}


@pytest.fixture
def filled(ecs, cluster, join, register, name):
    """A cluster with seven of everything, and the filters that find just those."""
    for _ in range(7):
        join()
    definitions = [register() for _ in range(7)]
    for number in range(7):
        ecs.create_service(
            cluster=cluster, serviceName=f"web-{number}", taskDefinition=definitions[0], desiredCount=0
        )
        ecs.register_task_definition(
            family=f"{name}-{number}", containerDefinitions=[{"name": "web", "image": "busybox", "memory": 32}]
        )
        ecs.create_cluster(clusterName=f"{name}-{number}")
    ecs.run_task(cluster=cluster, taskDefinition=definitions[0], count=7)
    return {
        "list_clusters": {},
        "list_task_definitions": {"familyPrefix": name},
        "list_task_definition_families": {"familyPrefix": f"{name}-"},
        "list_services": {"cluster": cluster},
        "list_tasks": {"cluster": cluster},
        "list_container_instances": {"cluster": cluster},
    }


def pages_of(ecs, operation, filters, size):
    return list(ecs.get_paginator(operation).paginate(PaginationConfig={"PageSize": size}, **filters))


def test_pages_of_every_size_hold_the_same(ecs, filled):
    for operation, member in PAGED.items():
        filters = filled[operation]
        whole = [entry for page in pages_of(ecs, operation, filters, 100) for entry in page[member]]
        assert len(set(whole)) == len(whole) >= 7, operation
        for size in (1, 2, 3, 7):
            pages = pages_of(ecs, operation, filters, size)
            assert all(len(page[member]) <= size for page in pages), operation
            assert [entry for page in pages for entry in page[member]] == whole, operation


def test_services_come_by_ten_unless_asked_otherwise(ecs, cluster, register):
    definition = register()
    for number in range(11):
        ecs.create_service(cluster=cluster, serviceName=f"web-{number}", taskDefinition=definition, desiredCount=0)
    page = ecs.list_services(cluster=cluster)
    assert len(page["serviceArns"]) == 10
    assert len(ecs.list_services(cluster=cluster, nextToken=page["nextToken"])["serviceArns"]) == 1


def test_a_page_survives_what_is_deleted_meanwhile(ecs, cluster, register):
    definition = register()
    for number in range(4):
        ecs.create_service(cluster=cluster, serviceName=f"web-{number}", taskDefinition=definition, desiredCount=0)
    first = ecs.list_services(cluster=cluster, maxResults=2)
    ecs.delete_service(cluster=cluster, service=first["serviceArns"][1])
    second = ecs.list_services(cluster=cluster, maxResults=2, nextToken=first["nextToken"])
    found = [arn.rpartition("/")[2] for arn in first["serviceArns"] + second["serviceArns"]]
    assert sorted(found) == [f"web-{number}" for number in range(4)]


@pytest.mark.parametrize("operation", PAGED)
@pytest.mark.parametrize("token", ["made up", "AAAA", "0" * 5000])
def test_foreign_tokens_are_refused(cluster, refused, operation, token):
    members = {} if operation in {"list_clusters"} or "definition" in operation else {"cluster": cluster}
    code, _ = refused(operation, nextToken=token, **members)
    assert code in {"InvalidParameterException", "ClientException"}


@pytest.mark.parametrize("operation", PAGED)
@pytest.mark.parametrize("size", [-1, 0, 101])
def test_page_sizes_out_of_range_are_refused(cluster, refused, operation, size):
    members = {} if operation in {"list_clusters"} or "definition" in operation else {"cluster": cluster}
    code, _ = refused(operation, maxResults=size, **members)
    assert code in {"InvalidParameterException", "ClientException"}


def test_a_token_belongs_to_its_operation(ecs, cluster, register, refused):
    for _ in range(2):
        register()
    token = ecs.list_task_definitions(maxResults=1)["nextToken"]
    code, _ = refused("list_services", cluster=cluster, nextToken=token)
    assert code == "InvalidParameterException"

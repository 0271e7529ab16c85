"""Client tokens, and what happens when the same call comes twice."""

import concurrent.futures

import pytest


@pytest.fixture
def run(ecs, cluster, agent, register):
    definition = register()

    def run(**members):
        return ecs.run_task(cluster=cluster, taskDefinition=definition, **members)

    return run


def arns(answer):
    return [task["taskArn"] for task in answer["tasks"]]


def test_a_token_gives_the_same_tasks_again(ecs, cluster, run):
    first = run(count=2, clientToken="once")
    again = run(count=2, clientToken="once")
    assert arns(again) == arns(first)
    assert len(ecs.list_tasks(cluster=cluster)["taskArns"]) == 2


def test_no_token_gives_new_tasks(ecs, cluster, run):
    assert arns(run()) != arns(run())
    assert len(ecs.list_tasks(cluster=cluster)["taskArns"]) == 2


def test_a_token_with_other_parameters_conflicts(ecs, cluster, run):
    first = run(count=1, clientToken="once")
    with pytest.raises(ecs.exceptions.ConflictException) as caught:
        run(count=2, clientToken="once")
    assert caught.value.response["resourceIds"] == arns(first)
    assert len(ecs.list_tasks(cluster=cluster)["taskArns"]) == 1


def test_a_token_belongs_to_its_cluster(ecs, cluster, join, run, register):
    first = run(clientToken="once")
    other = f"{cluster}-b"
    ecs.create_cluster(clusterName=other)
    join(cluster=other)
    second = ecs.run_task(cluster=other, taskDefinition=register(), clientToken="once")
    assert arns(second) != arns(first)


def test_a_token_used_at_the_same_moment(ecs, cluster, run):
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda _: arns(run(count=3, clientToken="race")), range(8)))
    assert len({tuple(answer) for answer in answers}) == 1
    assert len(ecs.list_tasks(cluster=cluster)["taskArns"]) == 3


@pytest.fixture
def service(ecs, cluster, register):
    definition = register()

    def service(**members):
        request = {
            "cluster": cluster,
            "serviceName": "web",
            "taskDefinition": definition,
            "desiredCount": 0,
        } | members
        return ecs.create_service(**request)["service"]

    return service


def test_the_same_service_again_is_the_same_service(service):
    first = service(clientToken="once")
    again = service(clientToken="once")
    assert (again["serviceArn"], again["createdAt"]) == (first["serviceArn"], first["createdAt"])


def test_another_service_of_that_name_is_refused(ecs, cluster, service, refused, register):
    service()
    members = {"cluster": cluster, "serviceName": "web", "taskDefinition": register(), "desiredCount": 5}
    answer = refused("create_service", **members)
    assert answer == ("InvalidParameterException", "Creation of service was not idempotent.")
    (found,) = ecs.describe_services(cluster=cluster, services=["web"])["services"]
    assert found["desiredCount"] == 0


def test_concurrent_registrations_get_different_revisions(register):
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        registered = list(pool.map(lambda _: register(), range(16)))
    assert sorted(int(arn.rpartition(":")[2]) for arn in registered) == list(range(1, 17))


def test_concurrent_clusters_of_one_name_are_one(ecs, name):
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        created = list(pool.map(lambda _: ecs.create_cluster(clusterName=name)["cluster"]["clusterArn"], range(8)))
    assert len(set(created)) == 1

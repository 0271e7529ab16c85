"""The stock AWS CLI, pointed at ecsr by `ecsr env` and nothing else: the main path of a user."""

import json

import pytest

from ecsr_process import IMAGE

# What the AWS CLI ends with when the service refused: version 1, version 2.
CLIENT_ERROR = (255, 254)


@pytest.fixture
def aws(ecsr):
    """`aws ecs ARGUMENTS...`, its JSON output parsed."""

    def aws(*arguments):
        printed = ecsr.aws("ecs", *arguments).stdout
        return json.loads(printed) if printed.strip() else None

    return aws


def test_the_exports_are_all_that_is_needed(aws):
    assert "clusterArns" in aws("list-clusters")


def test_from_a_cluster_to_a_stable_service_and_back(aws, name, join):
    aws("create-cluster", "--cluster-name", name)
    join(cluster=name)
    container = {"name": "web", "image": IMAGE, "memory": 32, "portMappings": [{"containerPort": 8080}]}
    registered = aws("register-task-definition", "--family", name, "--container-definitions", json.dumps([container]))
    assert registered["taskDefinition"]["revision"] == 1

    where = ("--cluster", name)
    aws("create-service", *where, "--service-name", "web", "--task-definition", name, "--desired-count", "3")
    aws("wait", "services-stable", *where, "--services", "web")
    (service,) = aws("describe-services", *where, "--services", "web")["services"]
    assert (service["runningCount"], service["deployments"][0]["rolloutState"]) == (3, "COMPLETED")

    listed = aws("list-tasks", *where, "--service-name", "web")["taskArns"]
    described = aws("describe-tasks", *where, "--tasks", *listed)["tasks"]
    assert {task["lastStatus"] for task in described} == {"RUNNING"}

    aws("update-service", *where, "--service", "web", "--desired-count", "0")
    aws("wait", "services-stable", *where, "--services", "web")
    aws("delete-service", *where, "--service", "web")
    aws("wait", "services-inactive", *where, "--services", "web")


def test_one_task(aws, name, join, cluster):
    join()
    container = {"name": "once", "image": "pretend/exit:3", "memory": 32}
    aws("register-task-definition", "--family", name, "--container-definitions", json.dumps([container]))
    (task,) = aws("run-task", "--cluster", cluster, "--task-definition", name)["tasks"]
    aws("wait", "tasks-stopped", "--cluster", cluster, "--tasks", task["taskArn"])
    (ended,) = aws("describe-tasks", "--cluster", cluster, "--tasks", task["taskArn"])["tasks"]
    assert (ended["stopCode"], ended["containers"][0]["exitCode"]) == ("EssentialContainerExited", 3)


def test_pages_and_queries(aws, name):
    container = json.dumps([{"name": "web", "image": IMAGE, "memory": 32}])
    for _ in range(3):
        aws("register-task-definition", "--family", name, "--container-definitions", container)
    listed = aws(
        "list-task-definitions", "--family-prefix", name, "--page-size", "1", "--query", "taskDefinitionArns"
    )
    assert len(listed) == 3
    limited = aws("list-task-definitions", "--family-prefix", name, "--max-items", "2")
    assert (len(limited["taskDefinitionArns"]), "NextToken" in limited) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ("list-services", "--cluster", "nowhere"),
            "An error occurred (ClusterNotFoundException) when calling the ListServices operation: Cluster not found.",
        ),
        (
            ("delete-service", "--service", "nothing"),
            "An error occurred (ServiceNotFoundException) when calling the DeleteService operation: Service not found.",
        ),
        (("describe-task-definition", "--task-definition", "nothing"), "Unable to describe task definition."),
    ],
)
def test_errors_read_like_those_of_ecs(ecsr, arguments, error):
    done = ecsr.aws("ecs", *arguments, check=False)
    assert done.returncode in CLIENT_ERROR
    assert error in done.stderr


def test_a_wrong_secret_is_refused(ecsr):
    given = dict(ecsr.environment)
    ecsr.environment = given | {"AWS_SECRET_ACCESS_KEY": "x" * 40}
    try:
        done = ecsr.aws("ecs", "list-clusters", check=False)
    finally:
        ecsr.environment = given
    assert done.returncode in CLIENT_ERROR
    assert "InvalidSignatureException" in done.stderr

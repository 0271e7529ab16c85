"""Requests that no client would send: answered with an AWS error, and nothing changed. It never panics, never hangs."""

import json

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from ecsr_process import REGION
from wire import CONTENT_TYPE, TARGET, call, send

# What the endpoint takes; the largest legal call is a task definition of 64 KiB.
BODY_BYTES_MAX = 1024 * 1024


@pytest.fixture(autouse=True)
def still_serving(ecsr, ecs):
    """After whatever was sent, the scheduler answers the next caller."""
    yield
    assert ecs.list_clusters()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"not json",
        b"[]",
        b'"text"',
        b"1",
        b"\xff\xfe\x00",
        b'{"clusterName":1}',
        b'{"clusterName":{}}',
        b'{"clusterName":["a"]}',
        b'{"tags":{}}',
        b'{"tags":[1]}',
        b'{"tags":[{"key":5}]}',
        b'{"clusterName":"a"} trailing',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_malformed_bodies(ecsr, body):
    answer = call(ecsr, "CreateCluster", body)
    assert (answer.status, answer.error[0]) == (400, "SerializationException")


def test_unknown_members_and_nulls_are_ignored(ecsr, name):
    body = {"clusterName": name, "tags": None, "neverHeardOf": {"a": [1]}}
    assert call(ecsr, "CreateCluster", body).json["cluster"]["clusterName"] == name


def test_an_empty_body_is_an_empty_request(ecsr):
    assert call(ecsr, "ListClusters", b"").status == 200


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("RunTask", {"taskDefinition": "a", "count": "2"}),
        ("RunTask", {"taskDefinition": "a", "count": 1.5}),
        ("RunTask", {"taskDefinition": "a", "count": 2**63}),
        ("CreateService", {"serviceName": "a", "desiredCount": True}),
        ("UpdateService", {"service": "a", "forceNewDeployment": "yes"}),
        ("RegisterTaskDefinition", {"family": "a", "containerDefinitions": {"name": "web"}}),
        ("RegisterTaskDefinition", {"family": "a", "containerDefinitions": [{"name": "web", "memory": "32"}]}),
        ("DescribeTasks", {"tasks": "all"}),
    ],
)
def test_wrong_types(ecsr, operation, body):
    answer = call(ecsr, operation, body)
    assert (answer.status, answer.error[0]) == (400, "SerializationException")


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("RegisterTaskDefinition", "blank"),
        ("RunTask", "blank"),
        ("StopTask", "blank"),
        ("UpdateService", "blank"),
        ("DeleteService", "blank"),
        ("DescribeTasks", "cannot be empty"),
        ("DescribeServices", "cannot be empty"),
        ("DescribeContainerInstances", "cannot be empty"),
        ("DescribeTaskDefinition", "blank"),
        ("DeleteCluster", "blank"),
        ("TagResource", "blank"),
    ],
)
def test_missing_members(ecsr, operation, words):
    answer = call(ecsr, operation, {})
    code, message = answer.error
    assert answer.status == 400
    assert code in {"InvalidParameterException", "ClientException"}
    assert words in message


@pytest.mark.parametrize("length", [256, 1000, 100_000])
@pytest.mark.parametrize(
    ("operation", "member"),
    [("CreateCluster", "clusterName"), ("CreateService", "serviceName"), ("StopTask", "task")],
)
def test_members_that_are_too_long(ecsr, operation, member, length):
    answer = call(ecsr, operation, {member: "x" * length})
    assert (answer.status, answer.error[0]) == (400, "InvalidParameterException")


@pytest.mark.parametrize("cluster_name", ["", "a b", "a/b", "ä", "a\u0000b", "x" * 256, "a;b"])
def test_bad_cluster_names(ecsr, ecs, cluster_name):
    before = ecs.list_clusters()["clusterArns"]
    answer = call(ecsr, "CreateCluster", {"clusterName": cluster_name})
    # An empty name counts as none given.
    if cluster_name:
        assert (answer.status, answer.error[0]) == (400, "InvalidParameterException")
        assert ecs.list_clusters()["clusterArns"] == before


def test_a_task_definition_over_64_kib(ecsr, ecs, name):
    environment = [{"name": f"N{number}", "value": "x" * 1000} for number in range(80)]
    container = {"name": "web", "image": "busybox", "memory": 32, "environment": environment}
    answer = call(ecsr, "RegisterTaskDefinition", {"family": name, "containerDefinitions": [container]})
    assert (answer.status, answer.error[0]) == (400, "ClientException")
    assert ecs.list_task_definition_families(familyPrefix=name)["families"] == []


def test_a_body_over_the_limit(ecsr, ecs, name):
    body = json.dumps({"clusterName": name, "padding": "x" * BODY_BYTES_MAX})
    answer = call(ecsr, "CreateCluster", body)
    assert answer.status == 413
    assert answer.error[1]
    assert ecs.describe_clusters(clusters=[name])["clusters"] == []


@pytest.mark.parametrize(
    "target",
    ["", "RunTask", f"{TARGET}.", f"{TARGET}.NoSuchOperation", "Other_20200101.RunTask", f"{TARGET}.RunTask.x"],
)
def test_unknown_operations(ecsr, target):
    answer = retarget(ecsr, target)
    assert answer.status == 400
    assert answer.json == {"__type": "UnknownOperationException"}


def retarget(ecsr, target):
    """A well-signed request with any target at all."""
    headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": target}
    request = AWSRequest("POST", ecsr.endpoint + "/", headers=headers, data=b"{}")
    SigV4Auth(Credentials(*ecsr.key), "ecs", REGION).add_auth(request)
    return send(ecsr, b"{}", dict(request.headers))


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("PUT", "/"), ("GET", "/nothing"), ("POST", "/nothing")])
def test_other_methods_and_paths(ecsr, method, path):
    answer = send(ecsr, b"", {}, method=method, path=path)
    assert 400 <= answer.status < 500


def test_errors_have_two_keys_and_a_request_id(ecsr):
    answer = call(ecsr, "DeleteCluster", {"cluster": "nowhere"})
    assert answer.json == {"__type": "ClusterNotFoundException", "message": "Cluster not found."}
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert len(answer.headers["x-amzn-requestid"]) == 36

"""Keys with a scope: what one is not for is refused as IAM refuses it, and changes nothing."""

import boto3
import pytest
from botocore.config import Config

from ecsr_process import ACCOUNT, REGION, IMAGE


@pytest.fixture
def key(ecsr):
    """Makes keys by the command line; a boto3 client and the key's id."""
    made = []

    def key(*flags):
        created = ecsr.json("key", "create", *flags)
        made.append(created["accessKeyId"])
        client = boto3.session.Session().client(
            "ecs",
            endpoint_url=ecsr.endpoint,
            region_name=REGION,
            aws_access_key_id=created["accessKeyId"],
            aws_secret_access_key=created["secretAccessKey"],
            config=Config(retries={"total_max_attempts": 1}),
        )
        return client, created["accessKeyId"]

    yield key
    for key_id in made:
        ecsr.run("key", "delete", key_id, check=False)


def denied(client, operation, **parameters):
    """The message of a refusal, whose class botocore has to know for the operation's own."""
    with pytest.raises(client.exceptions.AccessDeniedException) as caught:
        getattr(client, operation)(**parameters)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["Error"]["Code"] == "AccessDeniedException"
    return response["Error"]["Message"]


def test_the_words_of_a_refusal(key, cluster):
    client, key_id = key("--cluster", "elsewhere")
    assert denied(client, "list_tasks", cluster=cluster) == (
        f"User: arn:aws:iam::{ACCOUNT}:user/{key_id} is not authorized to perform: ecs:ListTasks on resource: "
        f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{cluster} because no identity-based policy allows the ecs:ListTasks "
        "action"
    )


def test_a_key_of_one_cluster(ecs, key, cluster, name, register):
    other = f"{name}-other"
    ecs.create_cluster(clusterName=other)
    client, _ = key("--cluster", cluster)
    assert client.describe_clusters(clusters=[cluster])["clusters"][0]["clusterName"] == cluster
    definition = register()
    client.create_service(cluster=cluster, serviceName="web", taskDefinition=definition, desiredCount=0)
    for operation, parameters in [
        ("describe_clusters", {"clusters": [cluster, other]}),
        ("create_service", {"cluster": other, "serviceName": "web", "taskDefinition": definition}),
        ("run_task", {"cluster": other, "taskDefinition": definition}),
        ("delete_cluster", {"cluster": other}),
        ("list_clusters", {}),
        ("deregister_task_definition", {"taskDefinition": definition}),
        ("tag_resource", {"resourceArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{other}", "tags": []}),
    ]:
        denied(client, operation, **parameters)
    assert ecs.describe_clusters(clusters=[other])["clusters"][0]["status"] == "ACTIVE"
    assert ecs.list_services(cluster=other)["serviceArns"] == []


def test_an_agents_key(ecs, key, cluster, name):
    (client, _), (stranger, _) = key("--cluster", cluster, "--agent"), key("--cluster", cluster, "--agent")
    resources = [
        {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 1024},
    ]
    instance = client.register_container_instance(cluster=cluster, totalResources=resources)
    arn = instance["containerInstance"]["containerInstanceArn"]
    client.discover_poll_endpoint(cluster=cluster, containerInstance=arn)
    denied(client, "run_task", cluster=cluster, taskDefinition="web")
    denied(client, "describe_container_instances", cluster=cluster, containerInstances=[arn])
    definition = {"family": name, "containerDefinitions": [{"name": "web", "image": IMAGE, "memory": 8}]}
    denied(client, "register_task_definition", **definition)
    again = {"cluster": cluster, "totalResources": resources, "containerInstanceArn": arn}
    assert client.register_container_instance(**again)["containerInstance"]["containerInstanceArn"] == arn
    denied(stranger, "register_container_instance", **again)
    denied(stranger, "deregister_container_instance", cluster=cluster, containerInstance=arn)
    drain = {"cluster": cluster, "containerInstances": [arn]}
    denied(stranger, "update_container_instances_state", status="DRAINING", **drain)
    client.update_container_instances_state(status="DRAINING", **drain)
    denied(client, "update_container_instances_state", status="ACTIVE", **drain)
    client.deregister_container_instance(cluster=cluster, containerInstance=arn)
    described = ecs.describe_container_instances(cluster=cluster, containerInstances=[arn])
    assert described["containerInstances"][0]["status"] == "INACTIVE"


def test_what_keys_are_for_is_listed(ecsr, key):
    _, limited = key("--cluster", "b", "--cluster", "a", "--agent")
    _, unlimited = key()
    listed = {row["accessKeyId"]: row for row in ecsr.json("key", "list")["accessKeys"]}
    assert (listed[limited]["clusters"], listed[limited]["actions"]) == (["a", "b"], "agent")
    assert (listed[unlimited]["clusters"], listed[unlimited]["actions"]) == ([], "all")


def test_a_cluster_that_cannot_be(ecsr):
    refused = ecsr.run("key", "create", "--cluster", "a/b", check=False)
    assert refused.returncode != 0
    assert "names no cluster" in refused.stderr

"""Fixtures: one ecsr for the session, a cluster of its own for every test."""

import itertools
import re

import botocore.exceptions
import pytest

import ecsr_process
from amazon_agent import AmazonAgent
from ecsr_process import IMAGE
from waiting import until

NUMBERS = itertools.count(1)
# Container instances and clusters outlive their test; the name says whose they were.
NAME_LENGTH_MAX = 60
RUNNING = pytest.StashKey()


def pytest_addoption(parser):
    parser.addoption("--endpoint", help="test this implementation of ECS instead of starting an ecsr")


@pytest.fixture(scope="session")
def ecsr(request):
    """A scheduler without an agent on this machine: instances are pretended (amazon_agent)."""
    if endpoint := request.config.getoption("--endpoint"):
        yield ecsr_process.elsewhere(endpoint)
        return
    with ecsr_process.running("--no-agent") as started:
        request.config.stash[RUNNING] = started
        yield started


@pytest.fixture(scope="session")
def ecs(ecsr):
    """The boto3 client."""
    return ecsr.client()


@pytest.fixture
def name(request):
    """A name that no other test uses, for clusters, families and services."""
    test = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")
    return f"{test[:NAME_LENGTH_MAX]}-{next(NUMBERS)}"


@pytest.fixture
def cluster(ecs, name):
    """A cluster of the test's own; its name."""
    ecs.create_cluster(clusterName=name)
    return name


@pytest.fixture
def join(ecsr, cluster):
    """Makes agents that join the test's cluster, and ends them with it."""
    agents = []

    def join(**settings):
        agent = AmazonAgent(ecsr, settings.pop("cluster", cluster), **settings)
        agents.append(agent)
        return agent.join()

    yield join
    for agent in agents:
        agent.leave()
    assert [agent.invalid for agent in agents if agent.invalid] == [], "payloads that Amazon's agent would refuse"


@pytest.fixture
def agent(join):
    """One connected container instance: 2048 CPU units, 4096 MiB."""
    return join()


@pytest.fixture
def register(ecs, name):
    """Registers a one-container task definition of the test's family; returns its ARN."""

    def register(family=None, **container):
        memory = {} if "memoryReservation" in container else {"memory": 32}
        definition = {"name": "web", "image": IMAGE, "cpu": 10, **memory, **container}
        answer = ecs.register_task_definition(family=family or name, containerDefinitions=[definition])
        return answer["taskDefinition"]["taskDefinitionArn"]

    return register


@pytest.fixture
def described(ecs, cluster):
    """The service, as DescribeServices shows it."""

    def described(service="web"):
        return ecs.describe_services(cluster=cluster, services=[service])["services"][0]

    return described


@pytest.fixture
def stable(described):
    """Waits until the service runs what it wants to run, and returns it."""

    def stable(service="web"):
        def look():
            found = described(service)
            settled = len(found["deployments"]) == 1 and found["runningCount"] == found["desiredCount"]
            return found if settled and found["pendingCount"] == 0 else None

        return until(f"{service} is stable", look)

    return stable


@pytest.fixture
def create(ecs, cluster, register):
    """Creates a service in the test's cluster and returns the answer."""

    def create(count, service="web", definition=None, **members):
        members |= {} if count is None else {"desiredCount": count}
        definition = definition or register()
        return ecs.create_service(cluster=cluster, serviceName=service, taskDefinition=definition, **members)[
            "service"
        ]

    return create


@pytest.fixture
def refused(ecs):
    """Calls an operation that must be refused; returns (code, message)."""

    def refused(operation, **parameters):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            getattr(ecs, operation)(**parameters)
        response = caught.value.response
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 400, response
        return response["Error"]["Code"], response["Error"]["Message"]

    return refused


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failure shows the end of the scheduler's log."""
    outcome = yield
    report = outcome.get_result()
    started = item.config.stash.get(RUNNING, None)
    if report.when == "call" and report.failed and started is not None:
        report.sections.append(("ecsr log", started.log()))

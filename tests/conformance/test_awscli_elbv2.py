"""The stock AWS CLI against `ecsr balancer`: from nothing to an answer through a load balancer, and back to nothing."""

import json
import os
import shlex
import subprocess
import urllib.request

import pytest

from balancer_process import Backend, Balancer
from ecsr_process import COMMAND_SECONDS_MAX, REGION, REPO, clean_environment, free_port
from waiting import until


@pytest.fixture(scope="module")
def aws():
    """`aws elbv2 ARGUMENTS...`, its JSON output parsed."""
    balancer = Balancer()
    balancer.start()
    key_id, secret = balancer.key
    environment = clean_environment() | {
        "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2": balancer.endpoint,
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_PAGER": "",
        "HOME": str(balancer.data_dir),
        "PATH": os.environ["PATH"],
    }

    def aws(*arguments):
        command = [str(REPO / "target" / "venv-awscli" / "bin" / "aws"), "elbv2", *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False
        )
        assert done.returncode == 0, f"{shlex.join(command)}: exit {done.returncode}\n{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    yield aws
    balancer.end()


@pytest.fixture
def backend():
    started = Backend("one")
    yield started
    started.end()


def test_from_nothing_to_an_answer_and_back(aws, backend):
    (balancer,) = aws("create-load-balancer", "--name", "web")["LoadBalancers"]
    arn = balancer["LoadBalancerArn"]
    aws("wait", "load-balancer-available", "--load-balancer-arns", arn)
    made = aws("create-target-group", "--name", "web", "--protocol", "HTTP", "--port", "80", "--target-type", "ip")
    group = made["TargetGroups"][0]["TargetGroupArn"]
    attribute = "Key=ecsr.health_check.interval_milliseconds,Value=100"
    aws("modify-target-group-attributes", "--target-group-arn", group, "--attributes", attribute)
    port = free_port()
    action = f"Type=forward,TargetGroupArn={group}"
    listen = ("--protocol", "HTTP", "--port", str(port), "--default-actions", action)
    aws("create-listener", "--load-balancer-arn", arn, *listen)
    target = f"Id={backend.target['Id']},Port={backend.target['Port']}"
    aws("register-targets", "--target-group-arn", group, "--targets", target)

    def healthy():
        (seen,) = aws("describe-target-health", "--target-group-arn", group)["TargetHealthDescriptions"]
        return seen["TargetHealth"]["State"] == "healthy"

    # The CLI's waiter asks every 15 s; it is to find what is there already.
    until("the target is healthy", healthy)
    aws("wait", "target-in-service", "--target-group-arn", group)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=COMMAND_SECONDS_MAX) as answer:
        assert (answer.status, answer.read()) == (200, b"one")

    aws("delete-load-balancer", "--load-balancer-arn", arn)
    aws("wait", "load-balancers-deleted", "--load-balancer-arns", arn)
    aws("delete-target-group", "--target-group-arn", group)
    assert aws("describe-target-groups")["TargetGroups"] == []

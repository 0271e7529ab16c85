"""The ELBv2 API of `ecsr balancer` by boto3, waiters included, and what its load balancers then do."""

import ssl
import threading
import urllib.request

import botocore.exceptions
import pytest

from balancer_process import SELF_SIGNED, Backend, Balancer
from ecsr_process import free_port
from waiting import WAITER, until


@pytest.fixture(scope="module")
def balancer():
    started = Balancer()
    try:
        started.start()
        yield started
    finally:
        started.end()


@pytest.fixture
def elb(balancer):
    return balancer.client()


@pytest.fixture
def backend():
    """Starts targets, and ends them with the test."""
    started = []

    def backend(name="backend"):
        started.append(Backend(name))
        return started[-1]

    yield backend
    for one in started:
        one.end()


@pytest.fixture
def short(name):
    """A name that no other test uses, as long as ELBv2 allows."""
    return f"t{name[-12:]}".replace("_", "-").strip("-")


@pytest.fixture
def load_balancer(elb, short):
    return elb.create_load_balancer(Name=short)["LoadBalancers"][0]["LoadBalancerArn"]


@pytest.fixture
def group(elb, short):
    """A target group that is checked every 100 ms."""
    made = elb.create_target_group(Name=short, Protocol="HTTP", Port=80, TargetType="ip")
    arn = made["TargetGroups"][0]["TargetGroupArn"]
    attributes = [{"Key": "ecsr.health_check.interval_milliseconds", "Value": "100"}]
    elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=attributes)
    return arn


@pytest.fixture
def refused(elb):
    """Calls an operation that must be refused; returns (code, message)."""

    def refused(operation, **parameters):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            getattr(elb, operation)(**parameters)
        return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]

    return refused


def forward(group):
    return [{"Type": "forward", "TargetGroupArn": group}]


def listen(elb, load_balancer, group, **members):
    """A listener on a free port; its ARN and its URL."""
    port = free_port()
    members = {"Protocol": "HTTP", "DefaultActions": forward(group), **members}
    made = elb.create_listener(LoadBalancerArn=load_balancer, Port=port, **members)["Listeners"][0]
    return made["ListenerArn"], f"{members['Protocol'].lower()}://localhost:{port}"


def get(url, **options):
    with urllib.request.urlopen(url, timeout=60, **options) as answer:
        return answer.status, answer.read().decode()


def wait(elb, waiter, **named):
    elb.get_waiter(waiter).wait(**named, WaiterConfig=WAITER)


def states(elb, group):
    found = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return [one["TargetHealth"]["State"] for one in found]


def test_a_request_reaches_a_target_and_drains_with_it(elb, load_balancer, group, backend):
    target = backend("one")
    wait(elb, "load_balancer_available", LoadBalancerArns=[load_balancer])
    _, url = listen(elb, load_balancer, group)
    elb.register_targets(TargetGroupArn=group, Targets=[target.target])
    wait(elb, "target_in_service", TargetGroupArn=group)
    assert get(url) == (200, "one")
    elb.deregister_targets(TargetGroupArn=group, Targets=[target.target])
    wait(elb, "target_deregistered", TargetGroupArn=group, Targets=[target.target])
    assert states(elb, group) == []
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(url)
    assert caught.value.code == 503


def test_a_target_drains_until_its_last_request_is_answered(elb, load_balancer, group, backend):
    target = backend("slow")
    _, url = listen(elb, load_balancer, group)
    elb.register_targets(TargetGroupArn=group, Targets=[target.target])
    wait(elb, "target_in_service", TargetGroupArn=group)
    target.held.clear()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(get(f"{url}/slow")))
    asking.start()
    assert target.entered.wait(60)
    elb.deregister_targets(TargetGroupArn=group, Targets=[target.target])
    assert states(elb, group) == ["draining"]
    target.held.set()
    asking.join()
    assert answers == [(200, "slow")]
    until("the target is gone", lambda: states(elb, group) == [])


def test_a_target_that_fails_its_checks_says_why(elb, load_balancer, group, backend):
    target = backend()
    listen(elb, load_balancer, group)
    elb.register_targets(TargetGroupArn=group, Targets=[target.target])
    wait(elb, "target_in_service", TargetGroupArn=group)
    target.status = 500

    def health():
        (found,) = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return found["TargetHealth"] if found["TargetHealth"]["State"] == "unhealthy" else None

    found = until("the target is unhealthy", health)
    assert found["Reason"] == "Target.ResponseCodeMismatch"
    assert found["Description"] == "Health checks failed with these codes: [500]"


def test_rules_choose_and_are_shown_in_both_forms(elb, load_balancer, group):
    listener, url = listen(elb, load_balancer, group)
    answer = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": "fixed"}
    (rule,) = elb.create_rule(
        ListenerArn=listener,
        Priority=5,
        Conditions=[{"Field": "path-pattern", "Values": ["/fixed/*"]}],
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": answer}],
    )["Rules"]
    assert rule["Conditions"][0]["PathPatternConfig"] == {"Values": ["/fixed/*"]}
    assert get(f"{url}/fixed/1") == (200, "fixed")
    rules = elb.describe_rules(ListenerArn=listener)["Rules"]
    assert [(one["Priority"], one["IsDefault"]) for one in rules] == [("5", False), ("default", True)]
    config = rules[1]["Actions"][0]["ForwardConfig"]
    assert config["TargetGroups"] == [{"TargetGroupArn": group, "Weight": 1}]
    elb.set_rule_priorities(RulePriorities=[{"RuleArn": rule["RuleArn"], "Priority": 7}])
    elb.modify_rule(RuleArn=rule["RuleArn"], Conditions=[{"Field": "path-pattern", "Values": ["/other"]}])
    assert get(f"{url}/other") == (200, "fixed")
    elb.delete_rule(RuleArn=rule["RuleArn"])
    assert len(elb.describe_rules(ListenerArn=listener)["Rules"]) == 1


def test_https_with_a_certificate_made_on_the_spot(elb, balancer, load_balancer, group, backend):
    _, url = listen(elb, load_balancer, group, Protocol="HTTPS", Certificates=[{"CertificateArn": SELF_SIGNED}])
    elb.register_targets(TargetGroupArn=group, Targets=[backend("tls").target])
    wait(elb, "target_in_service", TargetGroupArn=group)
    (made,) = balancer.data_dir.rglob("self-signed.pem")
    assert get(url, context=ssl.create_default_context(cafile=made)) == (200, "tls")


def test_a_network_load_balancer_passes_on_connections(elb, short, backend):
    arn = elb.create_load_balancer(Name=short, Type="network")["LoadBalancers"][0]["LoadBalancerArn"]
    made = elb.create_target_group(Name=short, Protocol="TCP", Port=80, TargetType="ip")
    group = made["TargetGroups"][0]["TargetGroupArn"]
    attributes = [{"Key": "ecsr.health_check.interval_milliseconds", "Value": "100"}]
    elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=attributes)
    _, url = listen(elb, arn, group, Protocol="TCP")
    elb.register_targets(TargetGroupArn=group, Targets=[backend("raw").target])
    wait(elb, "target_in_service", TargetGroupArn=group)
    assert get(url.replace("tcp:", "http:")) == (200, "raw")


def test_an_instance_is_a_target_at_its_address(elb, load_balancer, short, backend):
    target = backend("instance")
    made = elb.create_target_group(Name=short, Protocol="HTTP", Port=target.target["Port"])
    group = made["TargetGroups"][0]["TargetGroupArn"]
    _, url = listen(elb, load_balancer, group)
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "i-0a1b2c3d"}])
    wait(elb, "target_in_service", TargetGroupArn=group)
    assert get(url) == (200, "instance")


def test_everything_is_there_after_a_kill(balancer, elb, load_balancer, group, backend):
    target = backend("kept")
    listener, url = listen(elb, load_balancer, group)
    elb.register_targets(TargetGroupArn=group, Targets=[target.target])
    elb.add_tags(ResourceArns=[group], Tags=[{"Key": "last", "Value": "written"}])
    before = elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"]
    balancer.kill()
    balancer.start()
    assert elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"] == before
    assert elb.describe_listeners(LoadBalancerArn=load_balancer)["Listeners"][0]["ListenerArn"] == listener
    (tags,) = elb.describe_tags(ResourceArns=[group])["TagDescriptions"]
    assert tags["Tags"] == [{"Key": "last", "Value": "written"}]
    wait(elb, "target_in_service", TargetGroupArn=group)
    assert get(url) == (200, "kept")


def test_a_port_that_is_taken_is_said(elb, refused, load_balancer, group, backend):
    port = backend().target["Port"]
    code, message = refused(
        "create_listener",
        **{"LoadBalancerArn": load_balancer, "Protocol": "HTTP", "Port": port, "DefaultActions": forward(group)},
    )
    assert code == "InvalidConfigurationRequest"
    assert message.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert elb.describe_listeners(LoadBalancerArn=load_balancer)["Listeners"] == []


def test_deleting_in_order(elb, refused, load_balancer, group):
    listener, _ = listen(elb, load_balancer, group)
    assert elb.describe_target_groups(LoadBalancerArn=load_balancer)["TargetGroups"][0]["TargetGroupArn"] == group
    code, message = refused("delete_target_group", TargetGroupArn=group)
    assert (code, message) == (
        "ResourceInUse",
        f"Target group '{group}' is currently in use by a listener or a rule",
    )
    elb.delete_listener(ListenerArn=listener)
    elb.delete_target_group(TargetGroupArn=group)
    elb.delete_load_balancer(LoadBalancerArn=load_balancer)
    wait(elb, "load_balancers_deleted", LoadBalancerArns=[load_balancer])


def test_creating_again_finds_what_is_there(elb, refused, short, load_balancer):
    assert elb.create_load_balancer(Name=short)["LoadBalancers"][0]["LoadBalancerArn"] == load_balancer
    code, _ = refused("create_load_balancer", Name=short, Scheme="internal")
    assert code == "DuplicateLoadBalancerName"


def test_lists_come_in_pages(elb, short):
    names = [f"{short}-{number}" for number in range(5)]
    for name in names:
        elb.create_target_group(Name=name, Protocol="HTTP", Port=80, TargetType="ip")
    pages = elb.get_paginator("describe_target_groups").paginate(PaginationConfig={"PageSize": 2})
    found = [one["TargetGroupName"] for page in pages for one in page["TargetGroups"]]
    assert len(found) == len(set(found))
    assert set(names) <= set(found)


def test_nobody_gets_in_without_a_key_that_is_known(balancer):
    for key, code in [
        (("AKIANOBODY", balancer.key[1]), "InvalidClientTokenId"),
        ((balancer.key[0], "wrong"), "SignatureDoesNotMatch"),
    ]:
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            balancer.client(key).describe_load_balancers()
        response = caught.value.response
        assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, 403)


def test_errors_are_those_that_boto3_knows(elb, load_balancer):
    missing = load_balancer[:-1] + ("0" if load_balancer[-1] != "0" else "1")
    with pytest.raises(elb.exceptions.LoadBalancerNotFoundException):
        elb.describe_load_balancers(LoadBalancerArns=[missing])
    with pytest.raises(elb.exceptions.OperationNotPermittedException):
        elb.describe_trust_stores()
    with pytest.raises(elb.exceptions.CertificateNotFoundException):
        elb.create_listener(
            LoadBalancerArn=load_balancer,
            Protocol="HTTPS",
            Port=free_port(),
            Certificates=[{"CertificateArn": SELF_SIGNED.replace("self-signed", "none")}],
            DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}],
        )

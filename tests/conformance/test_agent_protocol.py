"""An unmodified Amazon agent joins, runs tasks, reports, is drained and comes back: ACS and TCS as it speaks them."""

import json
import uuid

import pytest
import websockets.exceptions

import amazon_agent
import wire
from amazon_agent import AmazonAgent
from ecsr_process import ACCOUNT, REGION
from seen import tasks_of
from waiting import until


@pytest.fixture
def run(ecs, cluster):
    def run(definition):
        (task,) = ecs.run_task(cluster=cluster, taskDefinition=definition)["tasks"]
        return task["taskArn"]

    return run


def status_of(ecs, cluster, arn):
    return ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"][0]["lastStatus"]


def messages(agent, kind):
    return [envelope["message"] for envelope in agent.received if envelope["type"] == kind]


def test_discovery_names_two_http_endpoints(agent):
    found = agent.discover()
    assert found["endpoint"].startswith("http")
    assert found["telemetryEndpoint"].startswith("http")
    assert found["endpoint"] != found["telemetryEndpoint"]


def test_every_attribute_comes_back_as_it_was_sent(ecsr, cluster):
    # `register` raises what makes the real agent exit for good.
    agent = AmazonAgent(ecsr, cluster, attributes={"rack": "a1", "empty": ""})
    registered = agent.register()
    assert registered["containerInstanceArn"].startswith(
        f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/{cluster}/"
    )
    agent.leave()


def test_the_first_messages_are_payload_before_manifest(ecs, cluster, agent, register, run):
    arn = run(register())
    until("it runs", lambda: status_of(ecs, cluster, arn) == "RUNNING")
    agent.disconnect()
    seen = len(agent.received)
    agent.connect()
    until("a manifest arrives", lambda: [m for m in agent.received[seen:] if m["type"] == "TaskManifestMessage"])
    manifest = messages(agent, "TaskManifestMessage")[-1]
    assert [task["taskArn"] for task in manifest["tasks"]] == [arn]
    assert manifest["timeline"] > max((m["seqNum"] for m in messages(agent, "PayloadMessage")), default=-1)


def test_a_payload_says_everything_that_starts_the_task(cluster, agent, name, register, run):
    definition = register(
        command=["httpd", "-f"],
        entryPoint=["/bin/busybox"],
        environment=[{"name": "A", "value": "1"}],
        portMappings=[{"containerPort": 8080}],
        user="nobody",
        workingDirectory="/www",
        dockerLabels={"team": "web"},
        ulimits=[{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
        stopTimeout=5,
        healthCheck={"command": ["CMD-SHELL", "true"], "interval": 5},
        linuxParameters={"tmpfs": [{"containerPath": "/tmp", "size": 16}]},
        dnsServers=["10.0.0.2"],
    )
    arn = run(definition)
    (task,) = until("the payload arrives", lambda: agent.payloads_of(arn))
    expected = {"family": name, "version": "1", "desiredStatus": "RUNNING", "taskClusterArn": task["taskClusterArn"]}
    assert {member: task[member] for member in expected} == expected
    (container,) = task["containers"]
    expected = {
        "name": "web",
        "command": ["httpd", "-f"],
        "entryPoint": ["/bin/busybox"],
        "cpu": 10,
        "memory": 32,
        "essential": True,
        "stopTimeout": 5,
        "healthCheckType": "docker",
        "portMappings": [{"containerPort": 8080, "hostPort": 0, "protocol": "tcp"}],
    }
    assert {member: container[member] for member in expected} == expected
    assert container["environment"] == {"A": "1", "AWS_EXECUTION_ENV": "AWS_ECS_EC2"}
    config = json.loads(container["dockerConfig"]["config"])
    host = json.loads(container["dockerConfig"]["hostConfig"])
    assert (config["User"], config["WorkingDir"], config["Labels"]) == ("nobody", "/www", {"team": "web"})
    assert config["Healthcheck"]["Interval"] == 5_000_000_000
    assert (host["Dns"], "/tmp" in host["Tmpfs"]) == (["10.0.0.2"], True)
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]


def test_a_task_is_sent_once_and_acknowledged(ecs, cluster, agent, register, run):
    arn = run(register())
    until("it runs", lambda: status_of(ecs, cluster, arn) == "RUNNING")
    second = run(register())
    until("another runs", lambda: status_of(ecs, cluster, second) == "RUNNING")
    assert len(agent.payloads_of(arn)) == 1


def test_a_stop_is_sent(ecs, cluster, agent, register, run):
    arn = run(register())
    until("it runs", lambda: status_of(ecs, cluster, arn) == "RUNNING")
    ecs.stop_task(cluster=cluster, task=arn)
    until("it stopped", lambda: status_of(ecs, cluster, arn) == "STOPPED")
    assert [task["desiredStatus"] for task in agent.payloads_of(arn)] == ["RUNNING", "STOPPED"]


def test_many_tasks_arrive_together(ecs, cluster, agent, create, stable):
    create(14)
    stable()
    payloads = messages(agent, "PayloadMessage")
    assert sum(len(message["tasks"]) for message in payloads) == 14
    numbers = [message["seqNum"] for message in payloads]
    assert numbers == sorted(set(numbers))


def test_what_was_wanted_while_it_was_away_is_caught_up(ecs, cluster, agent, register, run):
    keep, stop = run(register()), run(register())
    until("both run", lambda: {status_of(ecs, cluster, arn) for arn in (keep, stop)} == {"RUNNING"})
    agent.disconnect()
    until("the disconnection is seen", lambda: not agent.described()["agentConnected"])
    ecs.stop_task(cluster=cluster, task=stop)
    agent.connect()
    until("it stopped", lambda: status_of(ecs, cluster, stop) == "STOPPED")
    assert status_of(ecs, cluster, keep) == "RUNNING"
    assert len([task for task in agent.payloads_of(keep)]) == 1


def test_a_service_is_not_touched_when_its_agent_reconnects(ecs, cluster, agent, create, stable):
    create(3)
    stable()
    before = {task["taskArn"] for task in tasks_of(ecs, cluster)}
    agent.disconnect()
    until("the disconnection is seen", lambda: not agent.described()["agentConnected"])
    agent.register()
    agent.connect()
    until("it is connected", lambda: agent.described()["agentConnected"])
    stable()
    assert {task["taskArn"] for task in tasks_of(ecs, cluster)} == before


def test_a_task_that_nobody_wants_is_stopped_by_the_manifest_round(ecs, cluster, agent, register, run):
    arn = run(register())
    until("it runs", lambda: status_of(ecs, cluster, arn) == "RUNNING")
    orphan = arn[:-8] + "0badf00d"
    agent.engine.tasks[orphan] = {**agent.engine.tasks[arn], "known": "RUNNING", "containers": {}}
    agent.disconnect()
    agent.connect()
    until("the orphan was stopped", lambda: agent.engine.known(orphan) == "STOPPED")
    assert status_of(ecs, cluster, arn) == "RUNNING"
    (verdict,) = messages(agent, "TaskStopVerificationAck")
    assert [task["taskArn"] for task in verdict["stopTasks"]] == [orphan]


def test_a_task_of_another_instance_cannot_be_stopped_by_asking(ecs, cluster, join, register):
    one, other = join(), join()
    definition = register()
    started = ecs.start_task(cluster=cluster, taskDefinition=definition, containerInstances=[one.arn])["tasks"]
    arn = started[0]["taskArn"]
    until("it runs", lambda: status_of(ecs, cluster, arn) == "RUNNING")
    # Neither instance's manifest round may end a task that is wanted.
    other.disconnect(), one.disconnect()
    other.connect(), one.connect()
    until("both are back", lambda: one.described()["agentConnected"] and other.described()["agentConnected"])
    assert status_of(ecs, cluster, arn) == "RUNNING"


def test_a_new_session_takes_the_place_of_the_old_one(ecs, cluster, agent, register, run):
    first = agent.acs
    agent.connect()
    until("the old session is closed", lambda: first.close_code)
    arn = run(register())
    until("the new session gets the task", lambda: status_of(ecs, cluster, arn) == "RUNNING")
    assert agent.described()["agentConnected"]


def test_draining_empties_the_instance(ecs, cluster, join, create, stable):
    leaving = join()
    create(3)
    stable()
    staying = join()
    ecs.update_container_instances_state(cluster=cluster, containerInstances=[leaving.arn], status="DRAINING")
    until("its tasks are gone", lambda: leaving.described()["runningTasksCount"] == 0)
    assert {staying.engine.known(task["taskArn"]) for task in tasks_of(ecs, cluster)} == {"RUNNING"}


# --- handshakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [
        ({"containerInstanceArn": "unknown"}, "InvalidInstanceException"),
        ({"clusterArn": "nowhere"}, "InvalidClusterException"),
    ],
)
def test_a_handshake_of_nobody_known_is_refused(ecsr, cluster, agent, parameters, kind):
    given = {"clusterArn": cluster, "containerInstanceArn": agent.arn, "protocolVersion": "2", **parameters}
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        amazon_agent.dial(ecsr, agent.discover()["endpoint"], given)
    response = caught.value.response
    assert 400 <= response.status_code < 500
    assert kind in response.body.decode()


def test_a_deregistered_instance_is_told_so(ecs, ecsr, cluster, agent):
    endpoint = agent.discover()["endpoint"]
    ecs.deregister_container_instance(cluster=cluster, containerInstance=agent.arn)
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        amazon_agent.dial(ecsr, endpoint, {"clusterArn": cluster, "containerInstanceArn": agent.arn})
    assert "InactiveInstanceException" in caught.value.response.body.decode()


def test_an_unsigned_handshake_is_refused(ecsr, cluster, agent, monkeypatch):
    monkeypatch.setattr(amazon_agent, "sign", lambda *arguments: {})
    endpoint = agent.discover()["endpoint"]
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        amazon_agent.dial(ecsr, endpoint, {"clusterArn": cluster, "containerInstanceArn": agent.arn})
    assert 400 <= caught.value.response.status_code < 500


@pytest.mark.parametrize(
    "frame", ["not json", "{}", '{"type":"Unheard"}', '{"type":"AckRequest","message":[]}', b"\x00"]
)
def test_odd_frames_do_not_end_the_service(ecs, cluster, agent, register, run, frame):
    agent.acs.send(frame)
    if isinstance(frame, bytes) or not agent.described()["agentConnected"]:
        agent.disconnect()
        agent.connect()
    arn = run(register())
    until("it still runs tasks", lambda: status_of(ecs, cluster, arn) == "RUNNING")


# --- reports ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report",
    [
        {"task": "0" * 32, "status": "RUNNING"},
        {"task": "not/a/task", "status": "RUNNING"},
        {"status": "RUNNING"},
    ],
)
def test_reports_of_unknown_tasks_are_refused(ecsr, cluster, agent, report):
    answer = wire.call(ecsr, "SubmitTaskStateChange", {"cluster": cluster, "reason": "", **report})
    assert (answer.status, answer.error[0]) in {(400, "InvalidParameterException"), (400, "ClientException")}


def test_a_late_report_does_not_raise_the_dead(ecs, cluster, agent, register, run):
    arn = run(register())
    until("it runs", lambda: status_of(ecs, cluster, arn) == "RUNNING")
    ecs.stop_task(cluster=cluster, task=arn)
    until("it stopped", lambda: status_of(ecs, cluster, arn) == "STOPPED")
    containers = [{"containerName": "web", "status": "RUNNING", "runtimeId": uuid.uuid4().hex * 2}]
    agent.report(task=arn, status="RUNNING", reason="", containers=containers)
    assert status_of(ecs, cluster, arn) == "STOPPED"


def test_running_with_an_exit_code_is_accepted(ecs, cluster, agent, register, run):
    arn = run(register(image="pretend/stuck"))
    until("the agent has it", lambda: agent.engine.known(arn))
    containers = [{"containerName": "web", "status": "STOPPED", "exitCode": 3, "runtimeId": "a" * 64}]
    agent.report(task=arn, status="RUNNING", reason="", containers=containers)
    agent.report(task=arn, status="STOPPED", reason="", containers=containers, executionStoppedAt=1795376455.872)
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
    assert (task["lastStatus"], task["containers"][0]["exitCode"]) == ("STOPPED", 3)


# --- telemetry -------------------------------------------------------------------------------------------------


def health_of(ecs, cluster, arn):
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
    return task["healthStatus"], task["containers"][0]["healthStatus"]


@pytest.mark.parametrize("status", ["HEALTHY", "UNHEALTHY"])
def test_health_travels_over_tcs(ecs, cluster, agent, register, run, status):
    arn = run(register(healthCheck={"command": ["CMD", "true"]}))
    until("it runs", lambda: status_of(ecs, cluster, arn) == "RUNNING")
    assert health_of(ecs, cluster, arn) == ("UNKNOWN", "UNKNOWN")
    assert agent.publish_health(arn, web=status) == "AckPublishHealth"
    until("the health is seen", lambda: health_of(ecs, cluster, arn) == (status, status))


def test_metrics_and_instance_status_are_acknowledged(agent):
    socket, url = agent.open_telemetry()
    with socket:
        idle = agent.publish(socket, url, "PublishMetricsRequest", taskMetrics=[])
        status = {"type": "ContainerRuntime", "status": "OK", "lastUpdated": 1.5, "lastStatusChange": 1.5}
        instance = agent.publish(socket, url, "PublishInstanceStatusRequest", statuses=[status])
    assert (idle, instance) == ("AckPublishMetric", "AckPublishInstanceStatus")


def test_a_frame_with_a_wrong_signature_ends_the_telemetry(agent):
    socket, url = agent.open_telemetry()
    with socket, pytest.raises(websockets.exceptions.ConnectionClosed):
        agent.publish(
            socket, url.replace("agentVersion=1", "agentVersion=2"), "PublishMetricsRequest", taskMetrics=[]
        )


def test_an_unhealthy_service_task_is_replaced(ecs, cluster, agent, register, create, stable):
    create(1, definition=register(healthCheck={"command": ["CMD", "true"]}))
    (task,) = until("it runs", lambda: [t for t in tasks_of(ecs, cluster) if t["lastStatus"] == "RUNNING"])
    agent.publish_health(task["taskArn"], web="HEALTHY")
    agent.publish_health(task["taskArn"], web="UNHEALTHY")
    fresh = until(
        "a replacement runs",
        lambda: [
            t for t in tasks_of(ecs, cluster) if t["lastStatus"] == "RUNNING" and t["taskArn"] != task["taskArn"]
        ],
    )
    agent.publish_health(fresh[0]["taskArn"], web="HEALTHY")

    def stopped():
        (found,) = ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"]
        return found if found["lastStatus"] == "STOPPED" else None

    ended = until("the unhealthy one is stopped", stopped)
    assert (ended["stopCode"], ended["stoppedReason"]) == (
        "ServiceSchedulerInitiated",
        "Task failed container health checks",
    )


def test_the_connection_is_kept_alive(agent):
    """Amazon's agent hangs up 60 s after the last message; both channels must say something well before."""
    socket, _ = agent.open_telemetry()
    with socket:
        assert json.loads(socket.recv(timeout=55))["type"] == "HeartbeatMessage"
    until("a heartbeat arrives", lambda: messages(agent, "HeartbeatMessage"), seconds=55)
    assert agent.described()["agentConnected"]

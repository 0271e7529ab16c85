"""Amazon's agent, as far as the wire can tell: registration, ACS, TCS and reports.

Written from what the unmodified agent 1.105 sends and accepts, so that a scheduler that satisfies it would satisfy the
real one: attributes must come back as they were sent, `ws` is made of `http`, stops go before starts, a payload is
acknowledged only when every task of it was accepted, an older manifest is dropped, and container health travels over
TCS in signed frames. Only the containers are pretended (see pretend_engine).
"""

import json
import queue
import threading
import time
import urllib.parse
import uuid

import websockets.exceptions
import websockets.sync.client
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import agent_capabilities as capabilities
import payload_rules
import wire
from ecsr_process import REGION
from pretend_engine import PretendEngine
from waiting import until


class TerminalError(Exception):
    """What makes Amazon's agent exit with code 5, not to be restarted."""


class Refused(Exception):
    """An API call that was answered with an error."""

    def __init__(self, operation, code, message):
        super().__init__(f"{operation}: {code}: {message}")
        self.code = code


def sign(ecsr, url, body=b""):
    """SigV4 of a GET as the agent makes it: `host` and `x-amz-date`, nothing else."""
    request = AWSRequest("GET", url, data=body)
    SigV4Auth(Credentials(*ecsr.key), "ecs", REGION).add_auth(request)
    return {name: request.headers[name] for name in ("Authorization", "X-Amz-Date")}


def dial(ecsr, endpoint, parameters):
    """Opens `<endpoint>/ws?...` like Go: blanks are `+` in the URL and `%20` in what is signed."""
    if not endpoint.startswith(("http://", "https://")):
        raise TerminalError(f"the endpoint {endpoint} has a scheme that the agent does not know")
    query = urllib.parse.urlencode(sorted(parameters.items()))
    headers = sign(ecsr, f"{endpoint}/ws?{query.replace('+', '%20')}")
    url = f"ws{endpoint.removeprefix('http')}/ws?{query}"
    return websockets.sync.client.connect(
        url, additional_headers=headers, user_agent_header="Go-http-client/1.1", compression=None, max_size=None
    )


class AmazonAgent:
    """One container instance of a cluster."""

    def __init__(self, ecsr, cluster, *, cpu=2048, memory=4096, attributes=None, tags=None):
        self.ecsr, self.cluster = ecsr, cluster
        self.api = ecsr.client()
        self.registration = {
            "cluster": cluster,
            "totalResources": capabilities.resources(cpu, memory),
            "attributes": capabilities.attributes(attributes or {}),
            "instanceIdentityDocument": "",
            "instanceIdentityDocumentSignature": "",
        }
        if tags:
            self.registration["tags"] = tags
        self.engine = PretendEngine(self.report)
        self.arn = None
        self.acs = None
        self.sequence_highest = -1
        self.manifest_message_id = None
        self.received = []
        self.invalid = []
        self.work = queue.Queue()
        self.connected_before = False
        threading.Thread(target=self.worker, daemon=True).start()

    # --- joining -----------------------------------------------------------------------------------------------

    def join(self):
        """Registers and connects; returns when the scheduler calls the instance connected."""
        self.register()
        self.connect()
        until(f"{self.arn} is connected", lambda: self.described()["agentConnected"])
        return self

    def register(self):
        """RegisterContainerInstance; a known ARN is sent along, as after a restart."""
        again = {"containerInstanceArn": self.arn} if self.arn else {}
        request = self.registration | again | {"clientToken": str(uuid.uuid4())}
        registered = self.call("RegisterContainerInstance", request)["containerInstance"]
        # To the agent, an empty value and none are the same.
        echoed = {attribute["name"]: attribute.get("value", "") for attribute in registered["attributes"]}
        for attribute in self.registration["attributes"]:
            if echoed.get(attribute["name"]) != attribute.get("value", ""):
                raise TerminalError(f"attribute {attribute} was not echoed")
        self.arn = registered["containerInstanceArn"]
        return registered

    def call(self, operation, body):
        """An API call as the agent's own model of ECS writes it, which has members that the public one lacks."""
        answer = wire.call(self.ecsr, operation, body, headers={"User-Agent": capabilities.USER_AGENT})
        if answer.status != 200:
            raise Refused(operation, *answer.error)
        return answer.json

    def described(self):
        found = self.api.describe_container_instances(cluster=self.cluster, containerInstances=[self.arn])
        return found["containerInstances"][0]

    def discover(self):
        return self.call(
            "DiscoverPollEndpoint", {"cluster": self.cluster, "containerInstance": self.arn, "zoneId": ""}
        )

    def connect(self):
        parameters = {
            "agentHash": capabilities.AGENT_HASH,
            "agentVersion": capabilities.AGENT_VERSION,
            # Whatever ECS_CLUSTER holds, which is a name more often than an ARN.
            "clusterArn": self.cluster,
            "containerInstanceArn": self.arn,
            "dockerVersion": f"DockerVersion: {capabilities.DOCKER_VERSION}",
            "protocolVersion": "2",
            "sendCredentials": "false" if self.connected_before else "true",
            "seqNum": "1",
        }
        self.acs = dial(self.ecsr, self.discover()["endpoint"], parameters)
        self.connected_before = True
        threading.Thread(target=self.listen, args=(self.acs,), daemon=True).start()

    def disconnect(self):
        """The connection is gone; what runs, runs on."""
        if self.acs is not None:
            self.acs.close()
            self.acs = None

    def leave(self):
        """Ends the agent for good."""
        self.disconnect()
        self.engine.release_stops()
        self.work.put(None)

    # --- ACS ---------------------------------------------------------------------------------------------------

    def listen(self, acs):
        try:
            for frame in acs:
                envelope = json.loads(frame)
                self.received.append(envelope)
                handler = getattr(self, f"on_{envelope['type']}", None)
                if handler is not None:
                    handler(acs, envelope["message"])
        except websockets.exceptions.ConnectionClosed:
            pass

    def send(self, acs, kind, **message):
        acs.send(json.dumps({"type": kind, "message": message}))

    def acknowledge(self, acs, message):
        self.send(
            acs,
            "AckRequest",
            cluster=message["clusterArn"],
            containerInstance=message["containerInstanceArn"],
            messageId=message["messageId"],
        )

    def on_HeartbeatMessage(self, acs, message):
        self.send(acs, "HeartbeatAckRequest", messageId=message["messageId"])

    def on_PayloadMessage(self, acs, message):
        if not payload_rules.is_addressed(message):
            self.invalid.append(f"a payload without address: {sorted(message)}")
            return
        self.sequence_highest = max(self.sequence_highest, message.get("seqNum") or 0)
        accepted = [task for task in message["tasks"] if self.accepts(task)]
        for task in sorted(accepted, key=lambda task: task["desiredStatus"] != "STOPPED"):
            self.take(task)
        if len(accepted) == len(message["tasks"]):
            self.acknowledge(acs, message)

    def accepts(self, task):
        try:
            payload_rules.check_task(task)
        except payload_rules.InvalidTask as reason:
            self.invalid.append(str(reason))
            return False
        return True

    def take(self, task):
        """Starts what is new, stops what is to be stopped; a known task sent again changes nothing."""
        if task["desiredStatus"] == "STOPPED":
            self.work.put((self.engine.stop, task["arn"]))
        elif self.engine.known(task["arn"]) is None:
            self.engine.tasks[task["arn"]] = {"payload": task, "containers": {}, "known": "PENDING"}
            self.work.put((self.engine.start, task))

    def on_TaskManifestMessage(self, acs, message):
        if message["timeline"] <= self.sequence_highest:
            return
        self.sequence_highest = message["timeline"]
        self.manifest_message_id = message["messageId"]
        wanted = {task["taskArn"] for task in message["tasks"] if task["desiredStatus"] == "RUNNING"}
        running = [arn for arn, task in self.engine.tasks.items() if task["known"] != "STOPPED"]
        candidates = [
            {"taskArn": arn, "taskClusterArn": message["clusterArn"], "desiredStatus": "STOPPED"}
            for arn in running
            if arn not in wanted
        ]
        self.acknowledge(acs, message)
        if candidates:
            self.send(acs, "TaskStopVerificationMessage", messageId=message["messageId"], stopCandidates=candidates)

    def on_TaskStopVerificationAck(self, _acs, message):
        if message["messageId"] != self.manifest_message_id:
            return
        self.manifest_message_id = None
        for task in message["stopTasks"]:
            self.work.put((self.engine.stop, task["taskArn"]))

    # --- reports -----------------------------------------------------------------------------------------------

    def worker(self):
        """Engine work one by one, beside the connection: a slow stop must not keep heartbeats from being answered."""
        while (item := self.work.get()) is not None:
            action, argument = item
            action(argument)

    def report(self, **change):
        """SubmitTaskStateChange; what is refused as invalid is dropped, for it would be refused again."""
        try:
            self.call("SubmitTaskStateChange", {"cluster": self.cluster, **change})
        except Refused as refusal:
            if refusal.code != "InvalidParameterException":
                raise

    def payloads_of(self, task_arn):
        """Every payload that named the task, oldest first."""
        messages = [envelope["message"] for envelope in self.received if envelope["type"] == "PayloadMessage"]
        return [task for message in messages for task in message["tasks"] if task["arn"] == task_arn]

    # --- TCS ---------------------------------------------------------------------------------------------------

    def open_telemetry(self):
        """A TCS connection: (socket, URL that frames are signed for)."""
        parameters = {
            "agentHash": capabilities.AGENT_HASH,
            "agentVersion": capabilities.AGENT_VERSION,
            "cluster": self.cluster,
            "containerInstance": self.arn,
            "dockerVersion": capabilities.DOCKER_VERSION,
        }
        endpoint = self.discover()["telemetryEndpoint"]
        return dial(self.ecsr, endpoint, parameters), f"{endpoint}/ws?{urllib.parse.urlencode(parameters)}"

    def publish(self, socket, url, kind, **members):
        """One frame: a header block signed over the JSON, a blank line, the JSON. Returns the type of the answer."""
        metadata = {
            "cluster": self.cluster,
            "containerInstance": self.arn,
            "messageId": str(uuid.uuid4()),
            "fin": True,
        }
        envelope = {"type": kind, "message": {"metadata": metadata, "timestamp": round(time.time(), 3), **members}}
        body = json.dumps(envelope).encode()
        signed = sign(self.ecsr, url, body) | {"Host": urllib.parse.urlsplit(url).netloc}
        block = "".join(f"{name}: {signed[name]}\r\n" for name in sorted(signed))
        socket.send(block + "\r\n" + body.decode())
        return self.next_answer(socket)

    @staticmethod
    def next_answer(socket):
        """The type of the next frame that is not a heartbeat."""
        while True:
            kind = json.loads(socket.recv(timeout=60))["type"]
            if kind != "HeartbeatMessage":
                return kind

    def publish_health(self, task_arn, **statuses):
        """PublishHealthRequest for the containers of one task; returns the type of the answer."""
        task = self.engine.tasks[task_arn]["payload"]
        socket, url = self.open_telemetry()
        containers = [
            {"containerName": name, "healthStatus": status, "statusSince": round(time.time(), 3)}
            for name, status in statuses.items()
        ]
        published = {
            "taskArn": task_arn,
            "taskDefinitionFamily": task["family"],
            "taskDefinitionVersion": task["version"],
            "containers": containers,
        }
        with socket:
            return self.publish(socket, url, "PublishHealthRequest", tasks=[published])

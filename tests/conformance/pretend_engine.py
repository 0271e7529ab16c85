"""Containers that only pretend: what an image does is in its name.

| image                | behaviour                                                              |
|----------------------|------------------------------------------------------------------------|
| pretend/exit:N       | runs, then ends by itself with exit code N                              |
| pretend/missing      | cannot be pulled                                                        |
| pretend/stuck        | never gets past PENDING                                                 |
| anything else        | runs until it is stopped, then exits with 0                             |

Held stops (`hold_stops`) model a container that takes its whole grace period.
"""

import itertools
import threading
import time
import uuid

# Amazon's agent walks the ephemeral range for dynamic ports, from its lower end.
DYNAMIC_PORT_FIRST = 32768
PULL_ERROR = "CannotPullContainerError: Error response from daemon: manifest unknown"


class PretendEngine:
    """Tasks by ARN and their reports, in the words of SubmitTaskStateChange."""

    def __init__(self, report):
        self.report = report
        self.tasks = {}
        self.ports = itertools.count(DYNAMIC_PORT_FIRST)
        self.stops_allowed = threading.Event()
        self.stops_allowed.set()

    def hold_stops(self):
        self.stops_allowed.clear()

    def release_stops(self):
        self.stops_allowed.set()

    def start(self, payload):
        arn = payload["arn"]
        containers = {container["name"]: self.create(container) for container in payload["containers"]}
        task = self.tasks[arn] = {"payload": payload, "containers": containers, "known": "PENDING"}
        images = [container["image"] for container in payload["containers"]]
        if "pretend/stuck" in images:
            return
        if any(image.startswith("pretend/missing") for image in images):
            self.fail(arn, task)
            return
        self.submit(arn, task, "RUNNING", pullStartedAt=time.time(), pullStoppedAt=time.time())
        for container in payload["containers"]:
            if container["image"].startswith("pretend/exit:"):
                self.exit(arn, container["name"], int(container["image"].rpartition(":")[2]))

    def create(self, container):
        bindings = [
            {
                "bindIP": "0.0.0.0",
                "containerPort": port["containerPort"],
                "hostPort": port.get("hostPort") or next(self.ports),
                "protocol": port.get("protocol", "tcp"),
            }
            for port in container.get("portMappings") or []
        ]
        seen = {"containerName": container["name"], "runtimeId": uuid.uuid4().hex * 2, "status": "RUNNING"}
        return seen | ({"networkBindings": bindings} if bindings else {})

    def exit(self, arn, container_name, code):
        """A container ended by itself. The task ends with it if it was essential, or was the last."""
        task = self.tasks[arn]
        task["containers"][container_name] |= {"status": "STOPPED", "exitCode": code}
        essential = {c["name"] for c in task["payload"]["containers"] if c.get("essential")}
        running = [c for c in task["containers"].values() if c["status"] == "RUNNING"]
        if container_name in essential or not running:
            self.end(arn)
        else:
            self.submit(arn, task, "RUNNING")

    def end(self, arn):
        """Everything of the task is stopped now."""
        task = self.tasks.get(arn)
        if task is None or task["known"] == "STOPPED":
            return
        for container in task["containers"].values():
            if container["status"] != "STOPPED":
                container |= {"status": "STOPPED", "exitCode": 0}
        self.submit(arn, task, "STOPPED", executionStoppedAt=time.time())

    def stop(self, arn):
        """The scheduler wants it stopped; a held stop waits for its release, beside everything else."""
        if self.stops_allowed.is_set():
            self.end(arn)
        else:
            threading.Thread(target=self.stop_later, args=(arn,), daemon=True).start()

    def stop_later(self, arn):
        self.stops_allowed.wait()
        self.end(arn)

    def fail(self, arn, task):
        for container in task["containers"].values():
            container.clear()
        names = [container["name"] for container in task["payload"]["containers"]]
        for name in names:
            task["containers"][name] |= {"containerName": name, "status": "STOPPED", "reason": PULL_ERROR}
        now = time.time()
        self.submit(arn, task, "STOPPED", pullStartedAt=now, pullStoppedAt=now, executionStoppedAt=now)

    def submit(self, arn, task, status, **times):
        task["known"] = status
        self.report(task=arn, status=status, reason="", containers=list(task["containers"].values()), **times)

    def known(self, arn):
        """PENDING, RUNNING or STOPPED; None for a task that was never sent."""
        return self.tasks[arn]["known"] if arn in self.tasks else None

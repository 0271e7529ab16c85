"""A real ecsr for one test session: its processes, its keys, and clients that talk to it.

Everything goes through the `ecsr` binary and the exports of `ecsr env`, which is what a user has too. A temporary
data directory and a free port keep it apart from any ecsr that the machine runs already.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
import tempfile

import boto3
from botocore.config import Config

REPO = pathlib.Path(__file__).resolve().parents[2]
IMAGE = "ecsr-test/busybox:latest"
ACCOUNT = "123456789012"
REGION = "us-east-1"

# Starting includes building the agent's image out of a debug binary; a loaded machine takes long for that.
COMMAND_SECONDS_MAX = 300
# The prefix of variables that would point a tool somewhere else than at the ecsr under test.
FOREIGN_VARIABLES = ("AWS_", "ECS_", "ECSR_")


def binary():
    """The binary under test: $ECSR_BIN, else the newest that cargo built here."""
    if named := os.environ.get("ECSR_BIN"):
        return pathlib.Path(named)
    built = sorted(REPO.glob("target/*-linux-gnu/debug/ecsr"), key=lambda path: path.stat().st_mtime)
    if not built:
        raise FileNotFoundError("no ecsr binary: run `cargo build -p ecsr`, or set ECSR_BIN")
    return built[-1]


def free_port():
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment():
    """This process's environment without anything that steers AWS tools or ecsr."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)}


class Ecsr:
    """One running ecsr and the ways to talk to it."""

    def __init__(self, data_dir, port):
        self.data_dir = pathlib.Path(data_dir)
        self.port = port
        self.environment = clean_environment()

    # --- the ecsr binary ---------------------------------------------------------------------------------------

    def run(self, *arguments, check=True, stdin=None):
        """`ecsr ARGUMENTS...` against this data directory."""
        command = [str(binary()), *arguments, "--data-dir", str(self.data_dir)]
        done = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{shlex.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *arguments):
        """The JSON that `ecsr ARGUMENTS... -o json` prints."""
        return json.loads(self.run(*arguments, "-o", "json").stdout)

    def up(self, *flags):
        """`ecsr up --detach`, and from then on the environment that `ecsr env` exports."""
        self.run("up", "--detach", "--port", str(self.port), *flags)
        self.environment |= self.exports()

    def exports(self):
        """What `ecsr env` prints, as a mapping."""
        lines = self.run("env").stdout.splitlines()
        pairs = [re.fullmatch(r"export (\w+)=(.*)", line).groups() for line in lines if line.startswith("export")]
        return {name: "".join(shlex.split(value)) for name, value in pairs}

    def log(self):
        """The newest lines that ecsr logged of trouble, for the report of a failed test."""
        lines = [
            line for path in self.data_dir.glob("*.log") for line in path.read_text(errors="replace").splitlines()
        ]
        return "\n".join([line for line in lines if " INFO " not in line][-20:])

    # --- clients -----------------------------------------------------------------------------------------------

    @property
    def endpoint(self):
        return self.environment["AWS_ENDPOINT_URL_ECS"]

    @property
    def key(self):
        """The access key: (id, secret)."""
        return self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"]

    def client(self, **config):
        """A boto3 client. Errors show at once: nothing is retried unless a test asks for it."""
        settings = {"retries": {"total_max_attempts": 1}, "max_pool_connections": 32, **config}
        key_id, secret = self.key
        return boto3.session.Session().client(
            "ecs",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=Config(**settings),
        )

    def aws(self, *arguments, check=True):
        """`aws ARGUMENTS...` with the environment of `ecsr env` and nothing else."""
        command = [str(REPO / "target" / "venv-awscli" / "bin" / "aws"), *arguments]
        environment = self.environment | {"HOME": str(self.data_dir), "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{shlex.join(command)}: exit {done.returncode}\n{done.stderr}")
        return done


def elsewhere(endpoint):
    """Another implementation of ECS, with the keys of this environment: to test the tests."""
    other = Ecsr(tempfile.gettempdir(), None)
    keys = {name: os.environ.get(name, "testing") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    other.environment |= keys | {"AWS_ENDPOINT_URL_ECS": endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
    return other


@contextlib.contextmanager
def running(*flags):
    """An ecsr from `ecsr up --detach FLAGS...` to `ecsr down --purge`."""
    data_dir = tempfile.mkdtemp(prefix="ecsr-conformance-")
    ecsr = Ecsr(data_dir, free_port())
    try:
        ecsr.up(*flags)
        yield ecsr
    finally:
        ecsr.run("down", "--purge", check=False)
        shutil.rmtree(data_dir, ignore_errors=True)

"""A real `ecsr balancer` for one test session, and the backends that its load balancers send requests to.

It is the process itself, without Docker, so that a test can kill it and start it again on the same data directory.
"""

import contextlib
import http.server
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading

import boto3
from botocore.config import Config

from ecsr_process import ACCOUNT, COMMAND_SECONDS_MAX, REGION, binary, clean_environment, free_port
from waiting import until

# The reserved name of the certificate that the balancer makes itself.
SELF_SIGNED = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/self-signed"


class Balancer:
    """One `ecsr balancer` on the loopback address."""

    def __init__(self):
        self.data_dir = pathlib.Path(tempfile.mkdtemp(prefix="ecsr-conformance-"))
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self.process = None
        created = subprocess.run(
            [str(binary()), "key", "create", "--data-dir", str(self.data_dir), "-o", "json"],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=True,
        )
        key = json.loads(created.stdout)
        self.key = key["accessKeyId"], key["secretAccessKey"]

    def start(self):
        """Starts it and waits until it answers."""
        listen = self.endpoint.removeprefix("http://")
        log = (self.data_dir / "balancer.log").open("ab")
        self.process = subprocess.Popen(
            [
                *(str(binary()), "balancer", "--data-dir", str(self.data_dir), "--listen", listen),
                *("--bind", "127.0.0.1", "--dns-name", "localhost", "--instance", "i-0a1b2c3d=127.0.0.1"),
            ],
            env=clean_environment(),
            stdout=log,
            stderr=log,
        )
        log.close()

        def answers():
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(Exception):
                return self.client().describe_account_limits()

        until("the balancer answers", answers)

    def kill(self):
        """SIGKILL: it has no chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def log(self):
        return (self.data_dir / "balancer.log").read_text(errors="replace")

    def end(self):
        self.kill()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def client(self, key=None):
        """A boto3 client. Errors show at once: nothing is retried."""
        key_id, secret = key or self.key
        return boto3.session.Session().client(
            "elbv2",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}),
        )


class Backend:
    """A target: answers with its own name, or with whatever status it is told."""

    def __init__(self, name):
        self.status = 200
        self.held = threading.Event()
        self.held.set()
        self.entered = threading.Event()
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path == "/slow":
                    backend.entered.set()
                    backend.held.wait()
                body = name.encode()
                self.send_response(backend.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Nobody reads it."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def target(self):
        return {"Id": "127.0.0.1", "Port": self.server.server_port}

    def end(self):
        self.held.set()
        self.server.shutdown()
        self.server.server_close()



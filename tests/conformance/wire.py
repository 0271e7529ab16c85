"""Requests below the SDKs: signed by hand, so that a test can send what no client would send."""

import dataclasses
import datetime
import http.client
import json
import urllib.parse

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

TARGET = "AmazonEC2ContainerServiceV20141113"
CONTENT_TYPE = "application/x-amz-json-1.1"


@dataclasses.dataclass
class Answer:
    """What came back over the wire."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """(code, message) of an AWS error body."""
        return self.json["__type"], self.json.get("message")


class DatedSigV4(SigV4Auth):
    """Botocore's signer with a clock that a test can set."""

    def __init__(self, *arguments, clock_offset_seconds=0):
        super().__init__(*arguments)
        self.clock_offset = datetime.timedelta(seconds=clock_offset_seconds)

    def _modify_request_before_signing(self, request):
        moment = datetime.datetime.now(datetime.UTC) + self.clock_offset
        request.context["timestamp"] = moment.strftime("%Y%m%dT%H%M%SZ")
        super()._modify_request_before_signing(request)


def signed_headers(ecsr, body, operation, *, key=None, region="us-east-1", service="ecs", clock_offset_seconds=0):
    """The headers of a well-signed call; every keyword makes it wrong in one way."""
    headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": f"{TARGET}.{operation}"}
    request = AWSRequest("POST", ecsr.endpoint + "/", headers=headers, data=body)
    signer = DatedSigV4(Credentials(*(key or ecsr.key)), service, region, clock_offset_seconds=clock_offset_seconds)
    signer.add_auth(request)
    return dict(request.headers)


def send(ecsr, body, headers, method="POST", path="/"):
    """Sends bytes and headers as they are."""
    url = urllib.parse.urlsplit(ecsr.endpoint)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        )
    finally:
        connection.close()


def call(ecsr, operation, body, headers=None, **signing):
    """One call: `body` is text or bytes sent as they are, or anything else as JSON."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return send(ecsr, raw, signed_headers(ecsr, raw, operation, **signing) | (headers or {}))

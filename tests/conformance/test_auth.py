"""Nobody unauthenticated reads or writes anything, and each refusal is the one that AWS would answer."""

import json

import botocore.auth
import botocore.awsrequest
import pytest
from botocore.credentials import Credentials

from ecsr_process import REGION
from wire import CONTENT_TYPE, TARGET, call, send, signed_headers

MISMATCH = (
    "InvalidSignatureException",
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details.",
)
UNKNOWN_KEY = ("UnrecognizedClientException", "The security token included in the request is invalid.")
UNSIGNED = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": f"{TARGET}.CreateCluster"}
# Within the 15 minutes that clocks may differ, and well outside of it.
SKEW_ALLOWED, SKEW_REFUSED = 14 * 60, 16 * 60


@pytest.fixture
def body(name, ecs):
    """A call that would be noticed: it makes a cluster. At the end there must be none."""
    yield json.dumps({"clusterName": name}).encode()
    assert ecs.describe_clusters(clusters=[name])["clusters"] == []


def test_a_good_signature_is_let_in(ecsr, name):
    assert call(ecsr, "CreateCluster", {"clusterName": name}).status == 200


def test_unsigned(ecsr, body):
    answer = send(ecsr, body, UNSIGNED)
    assert (answer.status, answer.error) == (
        400,
        ("MissingAuthenticationTokenException", "Missing Authentication Token"),
    )


@pytest.mark.parametrize("operation", ["DescribeClusters", "ListTasks", "NoSuchOperation", "SubmitTaskStateChange"])
def test_nothing_is_said_without_a_signature(ecsr, operation):
    answer = send(ecsr, b"{}", UNSIGNED | {"X-Amz-Target": f"{TARGET}.{operation}"})
    assert answer.error[0] == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    ("signing", "code", "message"),
    [
        ({"key": ("AKIAUNKNOWNUNKNOWN00", "x" * 40)}, *UNKNOWN_KEY),
        ({"region": "eu-west-1"}, "InvalidSignatureException", "Credential should be scoped to a valid region."),
        ({"service": "s3"}, "InvalidSignatureException", "Credential should be scoped to correct service: 'ecs'."),
        ({"clock_offset_seconds": -SKEW_REFUSED}, "InvalidSignatureException", "Signature expired: "),
        ({"clock_offset_seconds": SKEW_REFUSED}, "InvalidSignatureException", "Signature not yet current: "),
    ],
)
def test_wrongly_signed(ecsr, body, signing, code, message):
    answer = call(ecsr, "CreateCluster", body, **signing)
    assert answer.status == 400
    assert answer.error[0] == code
    assert answer.error[1].startswith(message)


def test_a_wrong_secret(ecsr, body):
    answer = call(ecsr, "CreateCluster", body, key=(ecsr.key[0], "x" * 40))
    assert (answer.status, answer.error) == (400, MISMATCH)


@pytest.mark.parametrize("offset", [-SKEW_ALLOWED, SKEW_ALLOWED])
def test_a_clock_that_is_a_little_off(ecsr, offset):
    assert call(ecsr, "ListClusters", {}, clock_offset_seconds=offset).status == 200


def test_a_tampered_body(ecsr, body):
    headers = signed_headers(ecsr, b'{"clusterName":"harmless"}', "CreateCluster")
    answer = send(ecsr, body, headers | {"Content-Length": str(len(body))})
    assert (answer.status, answer.error) == (400, MISMATCH)


@pytest.mark.parametrize("header", ["X-Amz-Target", "X-Amz-Date", "Host"])
def test_a_tampered_header(ecsr, body, header):
    headers = signed_headers(ecsr, body, "DescribeClusters")
    tampered = {"X-Amz-Target": f"{TARGET}.CreateCluster", "X-Amz-Date": "20200101T000000Z", "Host": "example.com"}
    answer = send(ecsr, body, headers | {header: tampered[header]})
    assert answer.status == 400
    assert answer.error[0] == "InvalidSignatureException"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer abc",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature=",
        "AWS4-HMAC-SHA256 " + "x" * 6000,
        "AWS4-ECDSA-P256-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=0",
    ],
)
def test_malformed_headers(ecsr, body, authorization):
    answer = send(ecsr, body, UNSIGNED | {"Authorization": authorization, "X-Amz-Date": "20260101T000000Z"})
    assert 400 <= answer.status < 500
    assert answer.error[0] in {
        "IncompleteSignatureException",
        "MissingAuthenticationTokenException",
        "InvalidSignatureException",
        "UnrecognizedClientException",
    }


def test_a_replayed_request_with_a_session_token_it_never_had(ecsr, body):
    headers = signed_headers(ecsr, body, "CreateCluster") | {"X-Amz-Security-Token": "made-up"}
    answer = send(ecsr, body, headers)
    assert answer.status == 400
    assert answer.error[0] in {"UnrecognizedClientException", "InvalidSignatureException"}


def presigned(ecsr, seconds, operation="ListClusters"):
    """A presigned URL, as a client gives it away: it is for a call without a body."""
    headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": f"{TARGET}.{operation}"}
    request = botocore.awsrequest.AWSRequest("POST", ecsr.endpoint + "/", headers=headers)
    botocore.auth.SigV4QueryAuth(Credentials(*ecsr.key), "ecs", REGION, expires=seconds).add_auth(request)
    return request.url.removeprefix(ecsr.endpoint), headers


def test_a_presigned_url(ecsr):
    path, headers = presigned(ecsr, 60)
    assert send(ecsr, b"", headers, path=path).status == 200


def test_a_presigned_url_for_another_operation(ecsr, body):
    path, headers = presigned(ecsr, 60)
    answer = send(ecsr, body, headers | {"X-Amz-Target": f"{TARGET}.CreateCluster"}, path=path)
    assert answer.status == 400
    assert answer.error[0] == "InvalidSignatureException"


def test_keys_are_made_and_taken_back_while_it_runs(ecsr):
    made = ecsr.json("key", "create", "--description", "robot")
    key = (made["accessKeyId"], made["secretAccessKey"])
    assert call(ecsr, "ListClusters", {}, key=key).status == 200
    listed = ecsr.run("key", "list", "-o", "json").stdout
    assert key[0] in listed and key[1] not in listed
    ecsr.run("key", "delete", key[0])
    assert call(ecsr, "ListClusters", {}, key=key).error == UNKNOWN_KEY


def test_secrets_are_readable_by_their_owner_alone(ecsr):
    secret = ecsr.key[1].encode()
    holders = [path for path in ecsr.data_dir.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert holders, "the key is kept somewhere"
    assert [path for path in holders if path.stat().st_mode & 0o077] == []

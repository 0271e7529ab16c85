"""Every one of the 88 operations of the API answers like AWS: with its result, or with an error that names it."""

import botocore.session
import pytest

from ecsr_process import ACCOUNT, REGION
from wire import call

MODEL = botocore.session.get_session().get_service_model("ecs")
# What AWS's front door may answer to any operation, beside the errors that its model lists.
COMMON = {"InvalidParameterException", "ClientException", "UnsupportedFeatureException", "AccessDeniedException"}
# Served whole: calling them with nothing but their required members must not answer "not supported".
SERVED = {
    "CreateCluster",
    "DeleteCluster",
    "DescribeClusters",
    "ListClusters",
    "UpdateCluster",
    "UpdateClusterSettings",
    "DeleteTaskDefinitions",
    "DeregisterTaskDefinition",
    "DescribeTaskDefinition",
    "ListTaskDefinitionFamilies",
    "ListTaskDefinitions",
    "RegisterTaskDefinition",
    "DescribeTasks",
    "ListTasks",
    "RunTask",
    "StartTask",
    "StopTask",
    "CreateService",
    "DeleteService",
    "DescribeServices",
    "ListServices",
    "UpdateService",
    "DeregisterContainerInstance",
    "DescribeContainerInstances",
    "ListContainerInstances",
    "RegisterContainerInstance",
    "UpdateContainerInstancesState",
    "DiscoverPollEndpoint",
    "SubmitAttachmentStateChanges",
    "SubmitContainerStateChange",
    "SubmitTaskStateChange",
    "ListTagsForResource",
    "TagResource",
    "UntagResource",
}


def sample(shape, depth=0):
    """A value of the shape with its required members, as small as can be."""
    if shape.type_name == "structure":
        return {member: sample(shape.members[member], depth + 1) for member in shape.required_members}
    if shape.type_name == "list":
        return [sample(shape.member, depth + 1)] if depth < 4 else []
    if shape.type_name == "string":
        return shape.enum[0] if getattr(shape, "enum", None) else "sample"
    return {"map": {}, "boolean": False, "timestamp": 0, "double": 0.0}.get(shape.type_name, 1)


def assert_shaped_like_aws(operation, answer):
    """A JSON object of the operation's output members, or an AWS error that this operation may answer."""
    assert answer.status < 500, answer.body
    if answer.status == 200:
        output = MODEL.operation_model(operation).output_shape
        assert set(answer.json) <= set(output.members if output else ()), answer.json
        return
    code, message = answer.error
    modelled = {error.name for error in MODEL.operation_model(operation).error_shapes}
    assert (answer.status, code in modelled | COMMON) == (400, True), answer.json
    assert message
    if code == "UnsupportedFeatureException" and operation not in SERVED:
        assert operation in message


@pytest.mark.parametrize("operation", MODEL.operation_names)
def test_with_its_required_members(ecsr, operation):
    answer = call(ecsr, operation, sample(MODEL.operation_model(operation).input_shape))
    assert_shaped_like_aws(operation, answer)
    if operation in SERVED and answer.status != 200:
        assert "not supported by this endpoint" not in answer.error[1]


@pytest.mark.parametrize("operation", MODEL.operation_names)
def test_with_nothing(ecsr, operation):
    assert_shaped_like_aws(operation, call(ecsr, operation, {}))


def every_string(shape, text, depth=0):
    """A value with every member set, every string of it `text`: what a confused caller might send."""
    if shape.type_name == "structure":
        if depth > 6:
            return {}
        return {name: every_string(member, text, depth + 1) for name, member in shape.members.items()}
    if shape.type_name == "list":
        return [every_string(shape.member, text, depth + 1)]
    if shape.type_name == "map":
        return {text: text}
    if shape.type_name == "string":
        return text
    return {"boolean": True, "timestamp": -1, "double": -1.5}.get(shape.type_name, -1)


HOSTILE = ["", "\u0000", "'; drop", "../../etc", f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/", "\U0001f600" * 300]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_with_everything_wrong(ecsr, text):
    for operation in MODEL.operation_names:
        body = every_string(MODEL.operation_model(operation).input_shape, text)
        answer = call(ecsr, operation, body)
        assert answer.status < 500, (operation, answer.body)
        assert answer.status == 200 or answer.error[0], operation


def test_there_are_88():
    assert len(MODEL.operation_names) == 88
    assert set(MODEL.operation_names) >= SERVED

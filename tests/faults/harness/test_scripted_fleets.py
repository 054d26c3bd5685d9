"""Scripted fleets: their responses, the requests that they refuse, and planned failures of deployments."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.faults.harness.client import Faults
from tests.faults.harness.sagemaker_user import SageMakerUser


def respond(user: SageMakerUser, **request: Any) -> dict[str, Any]:
    """Return the decoded response to a request."""
    response: dict[str, Any] = json.loads(user.invoke(**request))
    return response


def test_the_same_request_gives_the_same_text_of_the_served_model(user: SageMakerUser) -> None:
    user.create_endpoint(user.create_config("model-a"))
    request = {"seed": 1, "words": 20}
    response = respond(user, **request)
    assert response.keys() == {"text", "words", "seed", "temperature", "model"}
    assert (response["model"], response["words"], response["seed"]) == ("model-a", 20, 1)
    assert set(response["text"].split()) <= {"the", "cat", "sat", "mat"}
    assert respond(user, **request) == response
    for other in ({"seed": 2}, {"temperature": 2.0}, {"prompt": "the"}):
        assert respond(user, **{**request, **other})["text"] != response["text"]
    user.update_endpoint(user.create_config("model-b"))
    assert respond(user, **request)["model"] == "model-b"
    assert respond(user, **request)["text"] != response["text"]


@pytest.mark.parametrize("request_", [{"sead": 1}, {"words": 0}, {"temperature": "hot"}])
def test_an_invalid_request_is_a_model_error(user: SageMakerUser, request_: dict[str, Any]) -> None:
    user.create_endpoint(user.create_config("model"))
    with pytest.raises(ClientError, match=rf"Received client error \(400\).*{next(iter(request_))}"):
        user.invoke(**request_)


def test_a_deployment_without_its_artifact_fails(user: SageMakerUser) -> None:
    user.create_config("model")
    user.s3.delete_object(Bucket=user.bucket, Key="models/model/model.tar.gz")
    described = user.create_endpoint("model")
    assert described["EndpointStatus"] == "Failed"
    assert "Failed to download model data" in described["FailureReason"]


def test_a_creation_fails_with_the_planned_reason(faults: Faults, user: SageMakerUser) -> None:
    faults.create_fails("The primary container did not pass the ping health check.")
    described = user.create_endpoint(user.create_config("model"))
    assert described["EndpointStatus"] == "Failed"
    assert described["FailureReason"] == "The primary container did not pass the ping health check."


def test_an_update_is_rolled_back_with_or_without_a_reason(faults: Faults, user: SageMakerUser) -> None:
    user.create_endpoint(user.create_config("model-a"))
    user.create_config("model-b")
    for reason in ("No capacity for this instance type.", ""):
        faults.update_reverts(reason)
        described = user.update_endpoint("model-b")
        assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "model-a")
        assert described.get("FailureReason", "") == reason
        assert ("FailureReason" in described) == bool(reason)
    assert respond(user)["model"] == "model-a"
    assert user.update_endpoint("model-b")["EndpointConfigName"] == "model-b"
    assert faults.unused() == []


def test_responses_are_bad_as_planned(faults: Faults, user: SageMakerUser) -> None:
    user.create_endpoint(user.create_config("model"))
    faults.respond("empty", times=1)
    assert respond(user)["text"] == ""
    faults.respond("unknown", times=1)
    assert set(respond(user)["text"].split()) == {"<unk>"}
    faults.respond("another model", times=1)
    assert respond(user)["model"] != "model"
    faults.respond("garbage", times=1)
    with pytest.raises(ValueError, match="Expecting value"):
        respond(user)
    faults.respond("failing", times=1)
    with pytest.raises(ClientError, match=r"Received server error \(500\)"):
        respond(user)
    faults.respond("another text", name="model")
    assert user.invoke(seed=1) != user.invoke(seed=1)
    faults.clear()
    assert user.invoke(seed=1) == user.invoke(seed=1)

"""Scripted fleets: what they answer, what they refuse, and how deployments fail as planned."""

import json

import pytest
from botocore.exceptions import ClientError

import inference
from tests.faults import fleets
from tests.faults.byhand import ByHand
from tests.faults.plan import Faults

REQUESTS = [
    {},
    {"seed": 111, "temperature": 0.8, "words": 100, "prompt": "My fellow", "top_k": 40, "top_p": 0.9},
    {"sead": 1},
    {"seed": -1},
    {"seed": 2**32},
    {"seed": 1.5},
    {"seed": True},
    {"seed": None},
    {"temperature": 0},
    {"temperature": 1},
    {"temperature": "hot"},
    {"temperature": 100.1},
    {"words": 0},
    {"words": 1001},
    {"prompt": 1},
    {"prompt": "a" * 10_001},
    {"top_k": None, "top_p": None},
    {"top_k": 0},
    {"top_k": 1.0},
    {"top_p": 0},
    {"top_p": 1},
    {"top_p": 1.1},
    ["seed"],
    None,
]


@pytest.mark.parametrize("body", [*map(json.dumps, REQUESTS), "{", "\xff"])
def test_a_scripted_model_refuses_what_a_real_one_refuses(body: str) -> None:
    def refused(parse: object, error: type[Exception]) -> bool:
        try:
            parse(body.encode(), "application/json")  # type: ignore[operator]
        except error:
            return True
        return False

    assert refused(fleets.parsed, fleets.InvalidRequest) == refused(inference.parse, inference.InvalidRequest)


def test_the_same_request_gives_the_same_text_of_the_model_that_is_served(byhand: ByHand) -> None:
    byhand.served("endpoint", byhand.config("model-a"))
    answer = json.loads(byhand.ask("endpoint", seed=1, words=20))
    assert answer.keys() == {"text", "words", "seed", "temperature", "model"}
    assert (answer["model"], answer["words"], answer["seed"]) == ("model-a", 20, 1)
    assert set(answer["text"].split()) <= {"the", "cat", "sat", "mat"}
    assert json.loads(byhand.ask("endpoint", seed=1, words=20)) == answer
    for other in ({"seed": 2}, {"temperature": 2.0}, {"prompt": "the"}):
        assert (
            json.loads(byhand.ask("endpoint", **{"seed": 1, "words": 20, **other}))["text"] != answer["text"]
        )
    byhand.updated("endpoint", byhand.config("model-b"))
    other = json.loads(byhand.ask("endpoint", seed=1, words=20))
    assert other["model"] == "model-b"
    assert other["text"] != answer["text"]


def test_a_bad_request_is_a_model_error(byhand: ByHand) -> None:
    byhand.served("endpoint", byhand.config("model"))
    with pytest.raises(ClientError, match=r"Received client error \(400\).*Unknown field 'sead'"):
        byhand.ask("endpoint", sead=1)


def test_a_deployment_without_its_model_fails(byhand: ByHand) -> None:
    byhand.config("model")
    byhand.s3.delete_object(Bucket=byhand.bucket, Key="models/model/model.tar.gz")
    described = byhand.served("endpoint", "model")
    assert described["EndpointStatus"] == "Failed"
    assert "Failed to download model data" in described["FailureReason"]


def test_a_creation_fails_with_the_planned_reason(faults: Faults, byhand: ByHand) -> None:
    faults.create_fails("The primary container did not pass the ping health check.")
    described = byhand.served("endpoint", byhand.config("model"))
    assert described["EndpointStatus"] == "Failed"
    assert described["FailureReason"] == "The primary container did not pass the ping health check."


def test_an_update_is_taken_back_with_a_reason_or_in_silence(faults: Faults, byhand: ByHand) -> None:
    byhand.served("endpoint", byhand.config("model-a"))
    byhand.config("model-b")
    faults.update_reverts("No capacity for this instance type.")
    described = byhand.updated("endpoint", "model-b")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "model-a")
    assert described["FailureReason"] == "No capacity for this instance type."
    faults.update_reverts()
    described = byhand.updated("endpoint", "model-b")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "model-a")
    assert "FailureReason" not in described
    assert json.loads(byhand.ask("endpoint"))["model"] == "model-a"
    assert byhand.updated("endpoint", "model-b")["EndpointConfigName"] == "model-b"
    assert faults.unused() == []


def test_answers_go_wrong_as_planned(faults: Faults, byhand: ByHand) -> None:
    byhand.served("endpoint", byhand.config("model"))

    faults.answer("empty", times=1)
    assert json.loads(byhand.ask("endpoint"))["text"] == ""
    faults.answer("unknown", times=1)
    assert set(json.loads(byhand.ask("endpoint"))["text"].split()) == {"<unk>"}
    faults.answer("another model", times=1)
    assert json.loads(byhand.ask("endpoint"))["model"] != "model"
    faults.answer("garbage", times=1)
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(byhand.ask("endpoint"))
    faults.answer("failing", times=1)
    with pytest.raises(ClientError, match=r"Received server error \(500\)"):
        byhand.ask("endpoint")
    faults.answer("another text", name="model")
    assert byhand.ask("endpoint", seed=1) != byhand.ask("endpoint", seed=1)
    faults.clear()
    assert byhand.ask("endpoint", seed=1) == byhand.ask("endpoint", seed=1)

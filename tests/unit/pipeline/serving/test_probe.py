"""probe: one request to the endpoint, whose response must be generated text."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from core.errors import SmokeTestFailed
from serving import probe
from serving.probe import Generated
from tests.unit.pipeline.stubbed_aws import ExpectedCalls, StubbedAws


def generate() -> Generated:
    return probe.generate("lexline", seed=111, temperature=1.0, prompt="")


@pytest.mark.parametrize("body", [b"<html>", {"generated": "text"}, b"", b"\xff\xfe"])
def test_another_response_is_an_error(expect: ExpectedCalls, body: Any) -> None:
    expect.invoke_endpoint(body)
    with pytest.raises(SmokeTestFailed, match="not a generated text: "):
        generate()


def test_the_models_own_error_is_quoted_in_part(stubbed: StubbedAws) -> None:
    message = 'Received server error (500) from primary with message "KeyError: vocabulary"'
    stubbed.refuses("sagemaker-runtime", "invoke_endpoint", "ModelError", message + "x" * 9000, 424)
    with pytest.raises(SmokeTestFailed, match="KeyError: vocabulary") as raised:
        generate()
    assert len(str(raised.value)) < 2100


@pytest.mark.parametrize("code", ["ThrottlingException", "ModelNotReadyException", "InternalFailure"])
def test_errors_that_are_not_the_models_are_raised_unchanged(stubbed: StubbedAws, code: str) -> None:
    stubbed.refuses("sagemaker-runtime", "invoke_endpoint", code)
    with pytest.raises(ClientError, match=code):
        generate()

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from lexline import lease, serving
from lexline.target import Stack, Target
from serving import endpoint

Stub = Callable[[Any], Stubber]
WHEN = datetime(2026, 11, 23, tzinfo=UTC)
ACCOUNT = "arn:aws:sagemaker:us-east-1:123456789012:"
CONFIG = "lexline-deploy-333333333333"


def live(sagemaker: Stubber, tags: dict[str, str], status: str = "InService") -> None:
    """An endpoint with one variant, and its config's tags."""
    sagemaker.add_response(
        "describe_endpoint",
        {
            "EndpointName": "lexline",
            "EndpointArn": f"{ACCOUNT}endpoint/lexline",
            "EndpointConfigName": CONFIG,
            "EndpointStatus": status,
            "CreationTime": WHEN,
            "LastModifiedTime": WHEN,
            "ProductionVariants": [{"VariantName": "AllTraffic", "CurrentInstanceCount": 3}],
        },
        {"EndpointName": "lexline"},
    )
    sagemaker.add_response(
        "list_tags",
        {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]},
        {"ResourceArn": f"{ACCOUNT}endpoint-config/{CONFIG}"},
    )


def test_the_tags_are_those_that_the_pipeline_writes() -> None:
    assert (serving.MODEL, serving.PREVIOUS_MODEL, serving.TAKE_DOWN_AT, serving.TAKE_DOWN_WHEN_IDLE) == (
        endpoint.MODEL,
        endpoint.PREVIOUS_MODEL,
        endpoint.TAKE_DOWN_AT,
        endpoint.TAKE_DOWN_WHEN_IDLE,
    )


def test_what_serves_and_what_served_before_is_read_from_the_configs_tags(
    target: Target, stack: Stack, stub: Stub
) -> None:
    tags = {"lexline:model": "lexline-a-1", "lexline:previous-model": "lexline-a-0", "project": "lexline"}
    live(stub(target.sagemaker), {**tags, "lexline:take-down-at": WHEN.isoformat()})
    found = serving.read(target, stack)
    assert found is not None
    assert (found.config, found.model, found.previous) == (CONFIG, "lexline-a-1", "lexline-a-0")
    assert (found.instances, found.take_down_at, found.take_down_when_idle) == (3, WHEN, "")
    assert found.answers


def test_a_first_model_has_none_before_it(target: Target, stack: Stack, stub: Stub) -> None:
    live(stub(target.sagemaker), {"lexline:model": "lexline-a-1", "lexline:previous-model": ""}, "Failed")
    found = serving.read(target, stack)
    assert found is not None
    assert (found.previous, found.take_down_at, found.answers) == ("", None, False)


def test_without_an_endpoint_nothing_serves(target: Target, stack: Stack, stub: Stub) -> None:
    stub(target.sagemaker).add_client_error("describe_endpoint", "ValidationException", "Could not find it")
    assert serving.read(target, stack) is None


def test_a_denial_is_not_taken_for_a_missing_endpoint(target: Target, stack: Stack, stub: Stub) -> None:
    stub(target.sagemaker).add_client_error("describe_endpoint", "AccessDeniedException", "no")
    with pytest.raises(ClientError):
        serving.read(target, stack)


def test_those_in_line_are_told_in_the_order_they_came(target: Target, stack: Stack, stub: Stub) -> None:
    line = {
        run: {"M": {"since": {"N": since}}} for run, since in (("b", "9.5"), ("c", "10.25"), ("a", "9.75"))
    }
    item = {"owner": {"S": "lexline-a-1"}, "waiting": {"M": line}}
    stub(target.dynamodb).add_response("get_item", {"Item": item})
    assert lease.read(target, stack) == lease.Lease("lexline-a-1", ["b", "a", "c"])


def test_before_the_first_run_nobody_has_the_lease(target: Target, stack: Stack, stub: Stub) -> None:
    stub(target.dynamodb).add_response("get_item", {})
    assert lease.read(target, stack) == lease.Lease("", [])

"""scaling: the number of instances follows the traffic, within two limits that the config's tag keeps."""

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.request import HostingResources
from serving import scaling
from serving.scaling import Scale
from tests.unit.pipeline.stubbed_aws import AUTOSCALING, ExpectedCalls, StubbedAws


@pytest.mark.parametrize("scales", [True, False])
def test_stopping_is_no_error_if_the_endpoint_does_not_scale(expect: ExpectedCalls, scales: bool) -> None:
    expect.stop_scaling(scales=scales)
    scaling.stop("lexline")


def test_other_errors_are_raised(stubbed: StubbedAws) -> None:
    stubbed.refuses(AUTOSCALING, "deregister_scalable_target", "ConcurrentUpdateException", "Try again.", 500)
    with pytest.raises(ClientError, match="Try again"):
        scaling.stop("lexline")


@pytest.mark.parametrize(
    ("hosting", "scale"),
    [
        ({"max_instance_count": 6, "invocations_per_instance": 90}, Scale(2, 6, 90)),
        ({"max_instance_count": 0}, None),
        ({"max_instance_count": 2}, None),
        ({"max_instance_count": 6, "endpoint_type": "serverless"}, None),
    ],
)
def test_only_a_real_time_endpoint_with_a_higher_maximum_scales(hosting: Any, scale: Scale | None) -> None:
    resources = HostingResources(instance_count=2, **hosting)
    assert Scale.of(resources) == scale
    assert resources.scales is (scale is not None)


def test_a_scale_can_be_read_from_its_tag() -> None:
    scale = Scale(1, 1000, 1_000_000)
    assert Scale.read(scale.tag) == scale
    # The characters of a tag's value, by AddTags' reference.
    assert re.fullmatch(r"[\w .:/=+\-@]{1,256}", scale.tag)


@pytest.mark.parametrize("tag", ["", "2-6", "2-6@", "two-six@300", "2-6@300 "])
def test_another_text_is_no_scale(tag: str) -> None:
    assert Scale.read(tag) is None

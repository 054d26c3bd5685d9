import pytest
from botocore.exceptions import ClientError

from lexline.aws import endpoint as endpoints
from lexline.aws.stack import Stack
from tests.unit.lexline import pipeline
from tests.unit.lexline.conftest import Stubs
from tests.unit.lexline.samples import ACCOUNT, ONE, TWO, WHEN

ARN = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:"
CONFIG = "lexline--deploy-333333333333"


def serves(stubs: Stubs, tags: dict[str, str], status: str = "InService") -> None:
    described = {
        "EndpointConfigName": CONFIG,
        "EndpointStatus": status,
        "EndpointArn": f"{ARN}endpoint/lexline",
    }
    variants = [{"VariantName": "AllTraffic", "CurrentInstanceCount": 3}]
    name = {"EndpointName": "lexline"}
    described |= {"EndpointStatus": status}
    stubs.returns("sagemaker", "describe_endpoint", name, ProductionVariants=variants, **described)
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    config = {"ResourceArn": f"{ARN}endpoint-config/{CONFIG}"}
    stubs.returns("sagemaker", "list_tags", config, Tags=listed)


@pytest.mark.parametrize("tag", ["MODEL", "PREVIOUS_MODEL", "TEARDOWN_AT", "TEARDOWN_WHEN_IDLE"])
def test_the_tags_are_those_that_the_pipeline_writes(tag: str) -> None:
    assert getattr(endpoints, tag) == getattr(pipeline.tags, tag)


def test_the_current_and_the_previous_model_are_read_from_the_configs_tags(
    stack: Stack, stubs: Stubs
) -> None:
    tags = {"lexline:model": TWO, "lexline:previous-model": ONE, "project": "lexline"}
    serves(stubs, {**tags, "lexline:teardown-at": WHEN.isoformat(), "lexline:teardown-when-idle": "PT1H"})
    found = endpoints.read(stack)
    assert found == endpoints.Endpoint("InService", CONFIG, TWO, ONE, 3, WHEN, "PT1H")
    assert found.serves


def test_a_first_model_has_none_before_it(stack: Stack, stubs: Stubs) -> None:
    serves(stubs, {"lexline:model": TWO, "lexline:previous-model": ""}, "Failed")
    found = endpoints.read(stack)
    assert found is not None
    assert (found.previous, found.teardown_at, found.serves) == ("", None, False)


def test_an_endpoint_may_not_exist(stack: Stack, stubs: Stubs) -> None:
    stubs.sagemaker.add_client_error("describe_endpoint", "ValidationException", "Could not find it")
    assert endpoints.read(stack) is None


def test_denied_access_does_not_mean_a_missing_endpoint(stack: Stack, stubs: Stubs) -> None:
    stubs.sagemaker.add_client_error("describe_endpoint", "AccessDeniedException", "no")
    with pytest.raises(ClientError):
        endpoints.read(stack)

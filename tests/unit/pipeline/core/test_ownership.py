"""ownership: only what has this stack's tag is this stack's; an error names the owner of anything else."""

import pytest

from core import ownership
from core.errors import NotOwned
from tests.unit.pipeline.documents import ENDPOINT_ARN, NAME, OTHER_STACK_ID, SAGEMAKER, STACK_ID
from tests.unit.pipeline.stubbed_aws import NO_ENDPOINT, Described, StubbedAws, config_arn


@pytest.fixture
def owners() -> None:
    """Read the tags from the stubbed SageMaker here."""


def has_tags(stubbed: StubbedAws, arn: str, **tags: str) -> None:
    stubbed.answers("sagemaker", "list_tags", Described().tags(**tags), ResourceArn=arn)


@pytest.mark.parametrize("refusal", [NO_ENDPOINT, ("ValidationException", "")])
def test_a_resource_with_the_stacks_tag_and_one_that_does_not_exist_may_be_changed(
    stubbed: StubbedAws, refusal: tuple[str, str]
) -> None:
    """AWS does not document ListTags's message about a resource that does not exist."""
    has_tags(stubbed, ENDPOINT_ARN)
    assert ownership.check("endpoint", "lexline") is True
    stubbed.refuses("sagemaker", "list_tags", *refusal, ResourceArn=ENDPOINT_ARN)
    assert ownership.check("endpoint", "lexline") is False


def test_another_stacks_resource_is_refused_with_its_owner(stubbed: StubbedAws) -> None:
    has_tags(stubbed, ENDPOINT_ARN, stack=OTHER_STACK_ID)
    expected = (
        rf"^endpoint/lexline belongs to the stack lexline-two \({OTHER_STACK_ID}\)\. Deploy this stack with "
        r"another EndpointName\.$"
    )
    with pytest.raises(NotOwned, match=expected):
        ownership.check("endpoint", "lexline")


def test_what_a_deleted_stack_of_the_same_name_left_is_refused_with_advice_to_delete_it(
    stubbed: StubbedAws,
) -> None:
    """Its config has a generation of the deleted stack's table, so a new tag alone would not help."""
    deleted = STACK_ID.rpartition("/")[0] + "/0a0b0c0d"
    has_tags(stubbed, ENDPOINT_ARN, stack=deleted)
    expected = (
        rf"^endpoint/lexline belongs to an earlier stack of this name \({deleted}\), which was deleted\. "
    )
    with pytest.raises(NotOwned, match=f"{expected}Delete endpoint/lexline"):
        ownership.check("endpoint", "lexline")


def test_the_refusal_of_a_resource_without_an_owner_has_the_command_that_makes_it_ones_own(
    stubbed: StubbedAws,
) -> None:
    arn = f"{SAGEMAKER}:model-package-group/lexline"
    stubbed.answers("sagemaker", "list_tags", {"Tags": []}, ResourceArn=arn)
    with pytest.raises(NotOwned) as refused:
        ownership.check("model-package-group", "lexline")
    message = str(refused.value)
    assert message.startswith("model-package-group/lexline belongs to no stack: it has no tag lexline:stack.")
    command = f"aws sagemaker add-tags --resource-arn {arn} --tags Key=lexline:stack,Value={STACK_ID}"
    assert f"`{command}`" in message
    assert "another EndpointName" in message


def test_one_error_names_every_resource_that_is_not_the_stacks(stubbed: StubbedAws) -> None:
    for arn in (ENDPOINT_ARN, config_arn(NAME)):
        has_tags(stubbed, arn, stack=OTHER_STACK_ID)
    with pytest.raises(NotOwned, match=rf"endpoint/lexline belongs.* endpoint-config/{NAME} belongs"):
        ownership.check_all(ownership.read(ENDPOINT_ARN, config_arn(NAME)))

"""tags: what is served, as the endpoint config says."""

import pytest
from botocore.exceptions import ClientError

from serving import tags
from tests.unit.pipeline.documents import FORMER, NAME, Documents
from tests.unit.pipeline.stubbed_aws import NO_CONFIG, Described, StubbedAws, config_arn


def test_tags_are_read_in_the_partition_region_and_account_of_another_arn(
    stubbed: StubbedAws, described: Described
) -> None:
    arn = f"arn:aws-cn:sagemaker:cn-north-1:444455556666:endpoint-config/{NAME}"
    stubbed.answers("sagemaker", "list_tags", described.tags(previous_model=FORMER), ResourceArn=arn)
    sibling = "arn:aws-cn:states:cn-north-1:444455556666:execution:lexline-pipeline:first"
    assert tags.of_config(sibling, NAME)[tags.PREVIOUS_MODEL] == FORMER


def test_a_config_that_does_not_exist_has_no_tags(stubbed: StubbedAws, documents: Documents) -> None:
    stubbed.refuses("sagemaker", "list_tags", *NO_CONFIG, ResourceArn=config_arn(NAME))
    assert tags.of_config(documents.execution["id"], NAME) == {}


def test_other_errors_are_raised(stubbed: StubbedAws, documents: Documents) -> None:
    stubbed.refuses("sagemaker", "list_tags", "AccessDeniedException", "Not allowed.")
    with pytest.raises(ClientError, match="Not allowed"):
        tags.of_config(documents.execution["id"], NAME)


def test_a_config_has_few_enough_tags_for_one_page() -> None:
    """ListTags returns at least 50 tags at once, which is also the most that a resource may have."""
    keys = [value for value in vars(tags).values() if str(value).startswith("lexline:")]
    assert 10 < len(set(keys)) == len(keys) <= 50

"""resources: listing and deleting what the runs of an endpoint created."""

import pytest
from botocore.exceptions import ClientError

from cleanup import resources
from core.errors import EndpointBusy, NotOwned
from tests.unit.pipeline.documents import NAME, OTHER_STACK_ID
from tests.unit.pipeline.stubbed_aws import IN_PROGRESS, NO_ENDPOINT, ExpectedCalls, Owners, StubbedAws


def test_a_list_has_the_resources_of_the_endpoints_own_runs(expect: ExpectedCalls) -> None:
    """NameContains also finds the prefix in the middle of a name."""
    others = ("my-lexline--sotu-1", "lexline-2--sotu-1")
    expect.list_training_jobs(NAME, *others)
    expect.list_endpoint_configs(others[0], NAME)
    expect.list_models(NAME, *others)
    kinds = ("training-job", "endpoint-config", "model")
    assert resources.list_resources("lexline") == [(kind, NAME) for kind in kinds]


@pytest.mark.parametrize(
    ("config", "model", "removed"),
    [
        (True, True, [f"endpoint-config/{NAME}", f"model/{NAME}"]),
        (False, True, [f"model/{NAME}"]),
        (False, False, []),
    ],
)
def test_only_resources_that_existed_count_as_removed(
    expect: ExpectedCalls, config: bool, model: bool, removed: list[str]
) -> None:
    expect.delete_config_and_model(config=config, model=model)
    assert resources.delete_config_and_model(NAME) == removed


@pytest.mark.parametrize("stack", [OTHER_STACK_ID, None])
def test_nothing_that_is_not_the_stacks_is_deleted(
    stubbed: StubbedAws, owners: Owners, stack: str | None
) -> None:
    kinds: list[resources.Kind] = ["training-job", "endpoint-config", "model"]
    for kind in kinds:
        owners.belongs_to(f"{kind}/{NAME}", stack)
        with pytest.raises(NotOwned, match=f"^{kind}/{NAME} belongs to"):
            resources.delete(kind, NAME)
    owners.belongs_to("endpoint/lexline", stack)
    with pytest.raises(NotOwned, match="endpoint/lexline belongs to"):
        resources.delete_endpoint("lexline")
    assert stubbed.calls == []


def test_what_does_not_exist_is_not_deleted(stubbed: StubbedAws, owners: Owners) -> None:
    """It has no tag, so the roles would not allow the call."""
    for resource in (f"training-job/{NAME}", f"endpoint-config/{NAME}", f"model/{NAME}", "endpoint/lexline"):
        owners.lack(resource)
    resources.delete("training-job", NAME)
    resources.delete_endpoint("lexline")
    assert resources.delete_config_and_model(NAME) == []
    assert stubbed.calls == []


@pytest.mark.parametrize("refusal", [None, NO_ENDPOINT, IN_PROGRESS])
def test_an_endpoint_that_is_deleted_already_is_still_waited_for(
    stubbed: StubbedAws, expect: ExpectedCalls, refusal: tuple[str, str] | None
) -> None:
    if refusal:
        stubbed.refuses("sagemaker", "delete_endpoint", *refusal)
    else:
        expect.delete_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        resources.delete_endpoint_and_retry("lexline")


def test_other_errors_are_raised(stubbed: StubbedAws) -> None:
    for operation in ("delete_endpoint", "delete_endpoint_config", "delete_model"):
        stubbed.refuses("sagemaker", operation, "AccessDeniedException", "Not allowed.")
    for delete in (resources.delete_endpoint, resources.delete_config, resources.delete_model):
        with pytest.raises(ClientError, match="Not allowed"):
            delete("lexline")

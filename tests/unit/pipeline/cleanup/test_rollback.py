"""rollback: the endpoint goes back to the model that served before a failed run."""

from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from cleanup import rollback
from contracts.run import Run
from core.errors import EndpointBusy, EndpointFailed, SmokeTestFailed
from serving import tags
from tests.unit.pipeline.documents import FORMER, NAME, OTHER, Documents
from tests.unit.pipeline.stubbed_aws import EXISTS, IN_PROGRESS, SERVERLESS, Described, ExpectedCalls

REAL_TIME = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
SERVERLESS_VARIANT = {"ServerlessConfig": SERVERLESS}
REPLACED = {tags.PREVIOUS: FORMER, tags.PREVIOUS_MODEL: FORMER}
RollsBack = Callable[..., NoReturn]


@pytest.fixture
def run(documents: Documents) -> Run:
    return Run.model_validate(documents.run)


@pytest.fixture
def rolls_back(run: Run, described: Described) -> RollsBack:
    """rolls_back(status, config, ...): roll back an endpoint in this state."""

    def roll_back(
        status: str = "InService",
        config: str = NAME,
        *,
        failed: Any = REAL_TIME,
        failed_tags: dict[str, str] = REPLACED,
        **more: Any,
    ) -> NoReturn:
        live: Any = described.endpoint(status, config, serverless=failed is SERVERLESS_VARIANT, **more)
        rollback.roll_back(live, run, failed, failed_tags)

    return roll_back


@pytest.mark.parametrize(
    ("former", "failed", "retained"),
    [
        # Scaling may have changed the count that both asked for.
        (REAL_TIME, REAL_TIME, True),
        # The failed run changed the count, so the rollback changes it back.
        ({**REAL_TIME, "InitialInstanceCount": 4}, REAL_TIME, False),
        (SERVERLESS_VARIANT, SERVERLESS_VARIANT, False),
        (REAL_TIME, SERVERLESS_VARIANT, False),
    ],
)
def test_the_endpoint_is_updated_to_its_former_config(
    expect: ExpectedCalls, rolls_back: RollsBack, former: Any, failed: Any, retained: bool
) -> None:
    expect.describe_endpoint_config(FORMER, **former)
    expect.update_endpoint(FORMER, RetainAllVariantProperties=retained)
    with pytest.raises(EndpointBusy, match=f"being put back to {FORMER}"):
        rolls_back(failed=failed)


def test_an_update_that_has_begun_is_waited_for(expect: ExpectedCalls, rolls_back: RollsBack) -> None:
    expect.describe_endpoint_config(FORMER, **REAL_TIME)
    expect.stubbed.refuses("sagemaker", "update_endpoint", *IN_PROGRESS)
    with pytest.raises(EndpointBusy):
        rolls_back()


@pytest.mark.parametrize("status", ["InService", "Failed"])
@pytest.mark.parametrize("previous", ["", FORMER])
def test_an_endpoint_without_a_former_config_is_deleted(
    expect: ExpectedCalls, rolls_back: RollsBack, status: str, previous: str
) -> None:
    """None served before, or its config was deleted since."""
    if previous:
        expect.no_endpoint_config(FORMER)
    expect.delete_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        rolls_back(status, failed_tags={tags.PREVIOUS: previous})


@pytest.mark.parametrize(
    ("status", "config", "former", "more"),
    [
        # A real-time endpoint cannot become serverless.
        ("InService", NAME, SERVERLESS_VARIANT, {}),
        # An earlier attempt has marked the config, but not deleted the endpoint.
        ("InService", NAME, SERVERLESS_VARIANT, {tags.RESTORING: FORMER}),
        # A failed endpoint can only be deleted, whichever config it has.
        ("Failed", NAME, REAL_TIME, {}),
        ("Failed", FORMER, REAL_TIME, {}),
        ("UpdateRollbackFailed", FORMER, REAL_TIME, {}),
    ],
)
def test_an_endpoint_that_cannot_be_updated_is_deleted_first(
    expect: ExpectedCalls, rolls_back: RollsBack, status: str, config: str, former: Any, more: dict[str, str]
) -> None:
    expect.describe_endpoint_config(FORMER, **former)
    expect.add_tags(restoring=FORMER)
    expect.delete_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        rolls_back(status, config, failed_tags=REPLACED | more)


@pytest.mark.parametrize("exists", [False, True])
def test_the_deleted_endpoint_is_created_again_with_its_former_config(
    expect: ExpectedCalls, run: Run, exists: bool
) -> None:
    if exists:
        expect.stubbed.refuses("sagemaker", "create_endpoint", *EXISTS)
    else:
        expect.create_endpoint(FORMER)
    with pytest.raises(EndpointBusy, match=f"created again with {FORMER}"):
        rollback.create_again(run, FORMER)


def test_a_former_model_that_fails_too_is_an_error(expect: ExpectedCalls, rolls_back: RollsBack) -> None:
    expect.describe_endpoint_config(FORMER, **REAL_TIME)
    restoring = {**REPLACED, tags.RESTORING: FORMER}
    with pytest.raises(EndpointFailed, match=f"could not be put back to {FORMER}: it is Failed. No cap"):
        rolls_back("Failed", FORMER, failed_tags=restoring, FailureReason="No capacity.")


@pytest.mark.parametrize(("expected", "responds"), [(FORMER, FORMER), (None, OTHER), ("", OTHER)])
def test_the_former_model_must_respond_with_its_name_if_that_is_known(
    expect: ExpectedCalls, expected: str | None, responds: str
) -> None:
    expect.invoke_endpoint({"text": "We the people.", "words": 3, "model": responds})
    rollback.check_responds("lexline", expected)


def test_another_model_in_its_place_is_an_error(expect: ExpectedCalls) -> None:
    expect.invoke_endpoint({"text": "We the people.", "words": 3, "model": NAME})
    with pytest.raises(SmokeTestFailed, match=f"put back to {FORMER}, but responds with model {NAME}"):
        rollback.check_responds("lexline", FORMER)


def test_the_endpoint_scales_as_the_former_configs_tag_says(expect: ExpectedCalls, run: Run) -> None:
    """The scaling was stopped to change the instance type."""
    expect.list_tags(FORMER, scales="2-6@300")
    expect.start_scaling(2, 6, 300.0)
    rollback.restore_scaling(run, FORMER)
    expect.list_tags(FORMER)
    rollback.restore_scaling(run, FORMER)


@pytest.mark.parametrize(
    ("status", "config", "previous", "used"),
    [
        ("Updating", FORMER, None, True),
        ("InService", NAME, FORMER, True),
        ("InService", OTHER, NAME, True),
        ("InService", OTHER, FORMER, False),
        ("Failed", OTHER, FORMER, False),
    ],
)
def test_a_config_may_be_used_by_an_endpoint_that_has_it_or_may_get_it(
    expect: ExpectedCalls, described: Described, run: Run, status: str, config: str, previous: str, used: bool
) -> None:
    if previous:
        expect.list_tags(config, previous=previous)
    live: Any = described.endpoint(status, config)
    assert rollback.may_be_used(live, run) is used

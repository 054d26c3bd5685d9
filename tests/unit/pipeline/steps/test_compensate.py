"""compensate: after a failure nothing is half-made, and the endpoint is as it was before the run."""

from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from core.errors import EndpointBusy, EndpointFailed, SmokeTestFailed, Throttled
from steps import compensate
from tests.unit.pipeline.documents import FORMER, NAME, OTHER, SAGEMAKER, Document, Documents
from tests.unit.pipeline.dynamodb_in_memory import TableInMemory
from tests.unit.pipeline.stubbed_aws import Described, ExpectedCalls, StubbedAws

CLEANUP = "lexline--cleanup-bbbbbbbbbbbb"
REAL_TIME: dict[str, Any] = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
UNDONE = [f"endpoint-config/{NAME}", f"model/{NAME}"]
Compensates = Callable[[], Document]


@pytest.fixture
def event(documents: Documents, lease_held: TableInMemory) -> Document:
    """The input after a new model has failed its smoke test."""
    caught = [{"Error": "SmokeTestFailed", "Cause": "No text.", "Step": "SmokeTest"}]
    return documents.input("run", "lease", "registered") | {"at_work": False, "caught": caught}


@pytest.fixture
def compensates(event: Document, context: LambdaContext) -> Compensates:
    return lambda: compensate.handler(event, context)


class Remains(ExpectedCalls):
    """Announces what the failed run has left, in the order in which the step looks for it."""

    def deployment(self, *endpoint: str, **more: Any) -> None:
        """Announce a completed job, the run's config, and an endpoint in this state."""
        self.describe_training_job("Completed")
        self.describe_endpoint_config(**REAL_TIME)
        self.describe_endpoint(*endpoint, **more)

    def deployment_without_endpoint(self) -> None:
        self.describe_training_job("Completed")
        self.describe_endpoint_config(**REAL_TIME)
        self.no_endpoint()

    def replaced(self, previous: str = FORMER, model: str = FORMER, **more: str) -> None:
        """Announce the tags of the run's config."""
        self.list_tags(run=NAME, previous=previous, previous_model=model, **more)

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
def remains(stubbed: StubbedAws, described: Described) -> Remains:
    return Remains(stubbed, described)


def compensated(job: str | None, serving: str | None, *removed: str, restored: bool = False) -> Document:
    return {"training_job": job, "serving": serving, "restored": restored, "removed": list(removed)}


# --- a run that has not reached the endpoint


def test_a_run_that_created_nothing_leaves_nothing(remains: Remains, compensates: Compensates) -> None:
    remains.no_training_job()
    remains.no_config_and_no_model()
    assert compensates() == compensated(None, None)


@pytest.mark.parametrize("status", ["InProgress", "Stopping", "Stopped", "Completed", "Failed"])
def test_a_training_job_in_progress_is_stopped(
    remains: Remains, compensates: Compensates, status: str
) -> None:
    remains.describe_training_job(status, "Training" if status == "InProgress" else "")
    if status == "InProgress":
        remains.stop_training_job()
    remains.no_config_and_no_model()
    assert compensates() == compensated("Stopping" if status == "InProgress" else status, None)


@pytest.mark.parametrize("status", ["InProgress", "Completed"])
def test_only_the_job_is_stopped_while_a_function_of_the_run_may_be_running(
    remains: Remains, compensates: Compensates, event: Document, status: str
) -> None:
    event["at_work"] = True
    remains.describe_training_job(status, "Training")
    if status == "InProgress":
        remains.stop_training_job()
    assert compensates() == compensated("Stopping" if status == "InProgress" else status, None)


def test_a_model_without_an_endpoint_config_is_deleted(remains: Remains, compensates: Compensates) -> None:
    remains.describe_training_job("Completed")
    remains.no_endpoint_config()
    remains.delete_config_and_model(config=False)
    assert compensates() == compensated("Completed", None, f"model/{NAME}")


# --- back to the former model


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting"])
def test_an_endpoint_that_changes_is_waited_for(
    remains: Remains, compensates: Compensates, status: str
) -> None:
    remains.deployment(status, FORMER)
    with pytest.raises(EndpointBusy, match=status):
        compensates()


@pytest.mark.parametrize("teardown", ["never", "always", "on_failure"])
@pytest.mark.parametrize("work", ["train", "cleanup"])
def test_an_updated_endpoint_goes_back_whatever_the_teardown_policy(
    remains: Remains, compensates: Compensates, event: Document, teardown: str, work: str
) -> None:
    """The policy is about this run's model. The former model is not this run's to tear down."""
    event["run"].update(teardown=teardown, work=work)
    remains.deployment()
    remains.replaced()
    remains.describe_endpoint_config(FORMER, **REAL_TIME)
    remains.update_endpoint(FORMER, RetainAllVariantProperties=True)
    with pytest.raises(EndpointBusy, match=f"being put back to {FORMER}"):
        compensates()


@pytest.mark.parametrize("more", [{}, {"restoring": FORMER}])
def test_config_and_model_are_deleted_when_the_former_model_responds(
    remains: Remains, compensates: Compensates, more: dict[str, str]
) -> None:
    remains.restored(**more)
    remains.reject_model()
    remains.delete_config_and_model()
    assert compensates() == compensated("Completed", FORMER, *UNDONE, restored=True)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [("ModelError", 424, SmokeTestFailed), ("ModelNotReadyException", 429, Throttled)],
)
def test_nothing_is_deleted_while_the_former_model_does_not_respond(
    remains: Remains, compensates: Compensates, code: str, status: int, error: type[Exception]
) -> None:
    remains.deployment("InService", FORMER)
    remains.replaced()
    remains.stubbed.refuses("sagemaker-runtime", "invoke_endpoint", code, "It crashed.", status)
    with pytest.raises(error, match="It crashed"):
        compensates()


def test_an_endpoint_that_was_deleted_to_be_restored_is_created_again(
    remains: Remains, compensates: Compensates
) -> None:
    remains.deployment_without_endpoint()
    remains.replaced(restoring=FORMER)
    remains.describe_endpoint_config(FORMER, **REAL_TIME)
    remains.create_endpoint(FORMER)
    with pytest.raises(EndpointBusy, match=f"created again with {FORMER}"):
        compensates()


def test_an_endpoint_that_failed_with_its_former_config_is_not_left_like_this(
    remains: Remains, compensates: Compensates
) -> None:
    remains.deployment("Failed", FORMER, FailureReason="No capacity.")
    remains.replaced(restoring=FORMER)
    remains.describe_endpoint_config(FORMER, **REAL_TIME)
    with pytest.raises(EndpointFailed, match="No capacity"):
        compensates()


# --- an endpoint that had no former model


@pytest.mark.parametrize("teardown", ["never", "always", "on_failure"])
@pytest.mark.parametrize(("status", "more"), [("InService", {}), ("Failed", {"verified": "2026-03-01"})])
def test_a_first_endpoint_is_deleted(
    remains: Remains,
    compensates: Compensates,
    event: Document,
    teardown: str,
    status: str,
    more: dict[str, str],
) -> None:
    """Even that of a verified model, if the endpoint has failed since."""
    event["run"]["teardown"] = teardown
    remains.deployment(status)
    remains.replaced("", "", **more)
    remains.delete_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        compensates()


@pytest.mark.parametrize(
    "previous",
    # There was none; or a person deleted the endpoint in the meantime; or the run's own teardown did.
    [{"previous": "", "model": ""}, {}, {"verified": "2026-03-01T12:30:00+00:00"}],
)
def test_config_and_model_are_deleted_when_the_endpoint_is(
    remains: Remains, compensates: Compensates, previous: dict[str, str]
) -> None:
    remains.deployment_without_endpoint()
    remains.replaced(**previous)
    remains.reject_model()
    remains.delete_config_and_model()
    assert compensates() == compensated("Completed", None, "endpoint/lexline", *UNDONE)


# --- an endpoint that stays


def test_a_verified_model_keeps_serving(remains: Remains, compensates: Compensates, event: Document) -> None:
    event["caught"][0].update(Error="AccessDenied", Step="Finish")
    remains.deployment()
    remains.replaced(verified="2026-03-01T12:30:00+00:00")
    assert compensates() == compensated("Completed", NAME)


def test_an_endpoint_that_serves_a_third_run_stays(remains: Remains, compensates: Compensates) -> None:
    remains.deployment("InService", OTHER)
    remains.replaced()
    remains.reject_model()
    remains.delete_config_and_model()
    assert compensates() == compensated("Completed", OTHER, *UNDONE)


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
    remains: Remains,
    compensates: Compensates,
    event: Document,
    step: str,
    error: str,
    change: Any,
    rejected: bool,
) -> None:
    event["run"]["work"] = change.get("work", "train")
    event["registered"]["approved"] = change.get("approved", True)
    event["caught"] = [{"Error": error, "Cause": "Thus.", "Step": step}]
    if event["run"]["work"] == "cleanup":
        event.update(registered=None, caught=[])
    remains.restored()
    if rejected:
        remains.reject_model(f"{step} failed with {error}.")
    remains.delete_config_and_model()
    assert compensates()["restored"] is True


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
    remains: Remains,
    compensates: Compensates,
    event: Document,
    status: str,
    config: str,
    previous: str | None,
    removed: list[str],
) -> None:
    event["lease"]["generation"] = 6
    remains.deployment(status, config)
    if previous:
        remains.list_tags(config, previous=previous)
    if removed:
        remains.delete_config_and_model()
    assert compensates() == compensated("Completed", config, *removed)


def test_without_the_lease_and_without_an_endpoint_config_and_model_are_deleted(
    remains: Remains, compensates: Compensates, event: Document
) -> None:
    event["lease"]["generation"] = 6
    remains.deployment_without_endpoint()
    remains.delete_config_and_model()
    assert compensates() == compensated("Completed", None, *UNDONE)


# --- the cleanup after an aborted run


def test_a_cleanup_undoes_its_subject_with_its_own_lease(
    remains: Remains, compensates: Compensates, event: Document, lease_held: TableInMemory
) -> None:
    item = lease_held.get("endpoint/lexline")
    lease_held.put("endpoint/lexline", **{**item, "owner": CLEANUP, "generation": 8})
    cleanup_of = {"run": NAME, "execution": "arn", "status": "ABORTED"}
    event["run"].update(name=CLEANUP, work="cleanup", dataset=None, cleanup_of=cleanup_of)
    event.update(lease={"owner": CLEANUP, "generation": 8}, registered=None, caught=[])
    remains.restored()
    remains.delete_config_and_model()
    assert compensates() == compensated("Completed", FORMER, *UNDONE, restored=True)

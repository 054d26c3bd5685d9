"""compensate: after a failure nothing is half-made, and the endpoint is as it was before the run."""

import io
import json
from typing import Any

import pytest
from botocore.response import StreamingBody

from core.errors import EndpointBusy, EndpointFailed, SmokeTestFailed, Throttled
from steps import compensate

NAME = "lexline--sotu-0123456789ab"
FORMER = "lexline--sotu-aaaaaaaaaaaa"
OTHER = "lexline--sotu-ffffffffffff"
CLEANER = "lexline--cleanup-bbbbbbbbbbbb"
ARN = "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/lexline"
PACKAGE = "arn:aws:sagemaker:eu-west-1:111122223333:model-package/lexline/3"
AUTOSCALING = "application-autoscaling"
NO_JOB = ("ValidationException", "Requested resource not found.")
NO_CONFIG = ("ValidationException", "Could not find endpoint configuration")
NO_ENDPOINT = ("ValidationException", "Could not find endpoint")
NO_MODEL = ("ValidationException", "Could not find model")
REAL_TIME = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
SERVERLESS = {"ServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 5}}
UNDONE = [f"endpoint-config/{NAME}", f"model/{NAME}"]


def config_arn(name: str) -> str:
    return f"arn:aws:sagemaker:eu-west-1:111122223333:endpoint-config/{name}"


@pytest.fixture
def event(documents: Any, lease_held: Any) -> dict[str, Any]:
    """A run whose new model has failed its smoke test."""
    return {
        "run": documents.run,
        "lease": documents.lease,
        "at_work": False,
        "registered": documents.registered,
        "caught": [{"Error": "SmokeTestFailed", "Cause": "No text.", "Step": "SmokeTest"}],
    }


@pytest.fixture
def cleanup(event: Any) -> dict[str, Any]:
    """The event of an execution that cleans up after NAME, which was aborted."""
    event["run"].update(
        name=CLEANER,
        work="cleanup",
        dataset=None,
        cleanup_of={"run": NAME, "execution": "arn", "status": "ABORTED"},
    )
    event.update(registered=None, caught=[])
    return dict(event)


class Remains:
    """Announces, in the order of the step, what the run has left behind."""

    def __init__(self, stubbed: Any, described: Any) -> None:
        self.stubbed, self.described = stubbed, described

    def no_job(self) -> None:
        self.stubbed.refuses("sagemaker", "describe_training_job", *NO_JOB, TrainingJobName=NAME)

    def job(self, status: str, secondary: str) -> None:
        job = self.described.training_job(status, secondary)
        self.stubbed.answers("sagemaker", "describe_training_job", job, TrainingJobName=NAME)

    def config(self, name: str = NAME, variant: Any = REAL_TIME) -> None:
        config = self.described.config(name)
        config["ProductionVariants"][0] |= {"ModelName": name, **variant}
        self.stubbed.answers("sagemaker", "describe_endpoint_config", config, EndpointConfigName=name)

    def no_config(self, name: str = NAME) -> None:
        self.stubbed.refuses("sagemaker", "describe_endpoint_config", *NO_CONFIG, EndpointConfigName=name)

    def endpoint(self, *args: Any, serverless: bool = False, **more: Any) -> None:
        if serverless:
            more["ProductionVariants"] = [
                {"VariantName": "AllTraffic", "CurrentServerlessConfig": SERVERLESS["ServerlessConfig"]}
            ]
        answer = self.described.endpoint(*args, **more)
        self.stubbed.answers("sagemaker", "describe_endpoint", answer, EndpointName="lexline")

    def no_endpoint(self) -> None:
        self.stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT)

    def tags(self, of: str = NAME, **tags: str) -> None:
        answer = self.described.tags(run=of, **tags)
        self.stubbed.answers("sagemaker", "list_tags", answer, ResourceArn=config_arn(of))

    def replaced(self, previous: str = FORMER, model: str = FORMER, **more: str) -> None:
        """What the run's config says that it took the place of."""
        self.tags(previous=previous, previous_model=model, **more)

    def a_failed_deployment(self, *args: Any, **more: Any) -> None:
        """A trained model, its config, and an endpoint that is as told."""
        self.job("Completed", "Completed")
        self.config()
        self.endpoint(*args, **more)

    def goes_back(self, *, with_its_instances: bool) -> None:
        self.stubbed.answers(
            "sagemaker",
            "update_endpoint",
            {"EndpointArn": ARN},
            EndpointName="lexline",
            EndpointConfigName=FORMER,
            RetainAllVariantProperties=with_its_instances,
        )

    def is_marked_as_restoring(self) -> None:
        self.stubbed.answers(
            "sagemaker",
            "add_tags",
            {},
            ResourceArn=config_arn(NAME),
            Tags=[{"Key": "lexline:restoring", "Value": FORMER}],
        )

    def deletes_endpoint(self) -> None:
        self.stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")

    def creates_endpoint(self) -> None:
        self.stubbed.answers(
            "sagemaker",
            "create_endpoint",
            {"EndpointArn": ARN},
            EndpointName="lexline",
            EndpointConfigName=FORMER,
        )

    def answers_with(self, model: str) -> None:
        raw = json.dumps({"text": "We the people.", "words": 3, "model": model}).encode()
        self.stubbed.answers(
            "sagemaker-runtime", "invoke_endpoint", {"Body": StreamingBody(io.BytesIO(raw), len(raw))}
        )

    def rejects_the_model(self, why: str = "SmokeTest failed with SmokeTestFailed.") -> None:
        self.stubbed.answers(
            "sagemaker",
            "update_model_package",
            {"ModelPackageArn": PACKAGE},
            ModelPackageArn=PACKAGE,
            ModelApprovalStatus="Rejected",
            ApprovalDescription=why,
        )

    def deletes_config_and_model(self) -> None:
        self.stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName=NAME)
        self.stubbed.answers("sagemaker", "delete_model", {}, ModelName=NAME)

    def has_neither_config_nor_model(self) -> None:
        self.stubbed.refuses("sagemaker", "delete_endpoint_config", *NO_CONFIG)
        self.stubbed.refuses("sagemaker", "delete_model", *NO_MODEL)


@pytest.fixture
def there_is(stubbed: Any, described: Any) -> Remains:
    return Remains(stubbed, described)


def compensated(
    job: str | None, serving: str | None, *removed: str, restored: bool = False
) -> dict[str, Any]:
    return {"training_job": job, "serving": serving, "restored": restored, "removed": list(removed)}


# --- before the endpoint -------------------------------------------------------------------------


def test_a_run_that_made_nothing_leaves_nothing(there_is: Remains, event: Any, context: Any) -> None:
    there_is.no_job()
    there_is.no_config()
    there_is.has_neither_config_nor_model()
    assert compensate.handler(event, context) == compensated(None, None)


def test_a_running_job_is_stopped(there_is: Remains, event: Any, context: Any) -> None:
    there_is.job("InProgress", "Training")
    there_is.stubbed.answers("sagemaker", "stop_training_job", {}, TrainingJobName=NAME)
    there_is.no_config()
    there_is.has_neither_config_nor_model()
    assert compensate.handler(event, context) == compensated("Stopping", None)


def test_a_job_that_ended_a_moment_ago_need_not_be_stopped(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.job("InProgress", "Uploading")
    message = "The request was rejected because the training job is in status Completed."
    there_is.stubbed.refuses("sagemaker", "stop_training_job", "ValidationException", message)
    there_is.no_config()
    there_is.has_neither_config_nor_model()
    compensate.handler(event, context)


def test_a_model_without_an_endpoint_config_is_removed(there_is: Remains, event: Any, context: Any) -> None:
    there_is.job("Completed", "Completed")
    there_is.no_config()
    there_is.stubbed.refuses("sagemaker", "delete_endpoint_config", *NO_CONFIG)
    there_is.stubbed.answers("sagemaker", "delete_model", {}, ModelName=NAME)
    assert compensate.handler(event, context) == compensated("Completed", None, f"model/{NAME}")


# --- back to what served -------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting"])
def test_a_changing_endpoint_is_waited_for(there_is: Remains, event: Any, context: Any, status: str) -> None:
    there_is.a_failed_deployment(status, config=FORMER)
    with pytest.raises(EndpointBusy, match=status):
        compensate.handler(event, context)


@pytest.mark.parametrize("teardown", ["never", "always", "on_failure"])
def test_an_updated_endpoint_goes_back_to_what_it_served(
    there_is: Remains, event: Any, context: Any, teardown: str
) -> None:
    """Whatever is to become of what this run serves: what served before is not this run's to take away."""
    event["run"]["teardown"] = teardown
    there_is.a_failed_deployment()
    there_is.replaced()
    there_is.config(FORMER)
    there_is.goes_back(with_its_instances=True)
    with pytest.raises(EndpointBusy, match=f"going back to {FORMER}"):
        compensate.handler(event, context)


def test_an_update_that_somebody_else_has_just_begun_is_waited_for(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment()
    there_is.replaced()
    there_is.config(FORMER)
    message = f'Cannot update in-progress endpoint "{ARN}".'
    there_is.stubbed.refuses("sagemaker", "update_endpoint", "ValidationException", message)
    with pytest.raises(EndpointBusy):
        compensate.handler(event, context)


@pytest.mark.parametrize(
    ("former", "mine", "kept"),
    [
        # Scaling may have brought both to more than that.
        (REAL_TIME, REAL_TIME, True),
        # The run has changed the count, so going back means changing it back.
        ({**REAL_TIME, "InitialInstanceCount": 4}, REAL_TIME, False),
        (SERVERLESS, SERVERLESS, False),
    ],
)
def test_the_number_of_instances_is_kept_where_the_run_has_kept_it(
    there_is: Remains, event: Any, context: Any, former: Any, mine: Any, kept: bool
) -> None:
    there_is.job("Completed", "Completed")
    there_is.config(variant=mine)
    there_is.endpoint(serverless=mine is SERVERLESS)
    there_is.replaced()
    there_is.config(FORMER, former)
    there_is.goes_back(with_its_instances=kept)
    with pytest.raises(EndpointBusy):
        compensate.handler(event, context)


def test_config_and_model_go_once_the_former_model_answers_again(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment(config=FORMER)
    there_is.replaced()
    there_is.answers_with(FORMER)
    there_is.tags(FORMER)
    there_is.rejects_the_model()
    there_is.deletes_config_and_model()
    assert compensate.handler(event, context) == compensated("Completed", FORMER, *UNDONE, restored=True)


def test_an_endpoint_that_was_put_back_scales_as_it_did(there_is: Remains, event: Any, context: Any) -> None:
    """To change the instance type, its scaling had to stop."""
    there_is.a_failed_deployment(config=FORMER)
    there_is.replaced()
    there_is.answers_with(FORMER)
    there_is.tags(FORMER, scales="2-6@300")
    there_is.stubbed.answers(AUTOSCALING, "register_scalable_target", {})
    there_is.stubbed.answers(AUTOSCALING, "put_scaling_policy", {"PolicyARN": "arn"})
    there_is.rejects_the_model()
    there_is.deletes_config_and_model()
    compensate.handler(event, context)
    asked = there_is.stubbed.parameters["RegisterScalableTarget"]
    assert (asked["MinCapacity"], asked["MaxCapacity"]) == (2, 6)


def test_an_endpoint_put_back_that_does_not_answer_is_no_success(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment(config=FORMER)
    there_is.replaced()
    there_is.stubbed.refuses("sagemaker-runtime", "invoke_endpoint", "ModelError", "It has crashed.", 424)
    with pytest.raises(SmokeTestFailed, match="It has crashed"):
        compensate.handler(event, context)


def test_an_endpoint_put_back_that_answers_with_another_model_is_no_success(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment(config=FORMER)
    there_is.replaced()
    there_is.answers_with(NAME)
    with pytest.raises(SmokeTestFailed, match=f"put back to {FORMER}, but answers with model {NAME}"):
        compensate.handler(event, context)


def test_an_endpoint_whose_former_model_is_not_known_by_name_need_only_answer(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment(config=FORMER)
    there_is.replaced(model="")
    there_is.answers_with("whoever")
    there_is.tags(FORMER)
    there_is.rejects_the_model()
    there_is.deletes_config_and_model()
    assert compensate.handler(event, context)["restored"] is True


def test_an_endpoint_put_back_that_is_not_awake_yet_is_asked_again(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment(config=FORMER)
    there_is.replaced()
    there_is.stubbed.refuses("sagemaker-runtime", "invoke_endpoint", "ModelNotReadyException", status=429)
    with pytest.raises(Throttled):
        compensate.handler(event, context)


# --- to nothing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["InService", "Failed"])
def test_a_first_endpoint_is_deleted(there_is: Remains, event: Any, context: Any, status: str) -> None:
    there_is.a_failed_deployment(status)
    there_is.replaced("", "")
    there_is.deletes_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        compensate.handler(event, context)


def test_when_the_first_endpoint_is_gone_the_rest_follows(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.no_endpoint()
    there_is.replaced("", "")
    there_is.rejects_the_model()
    there_is.deletes_config_and_model()
    assert compensate.handler(event, context) == compensated("Completed", None, "endpoint/lexline", *UNDONE)


def test_an_endpoint_whose_former_config_is_gone_is_deleted(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment()
    there_is.replaced()
    there_is.no_config(FORMER)
    there_is.deletes_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        compensate.handler(event, context)


def test_an_endpoint_that_somebody_deleted_meanwhile_stays_deleted(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.no_endpoint()
    there_is.replaced()
    there_is.rejects_the_model()
    there_is.deletes_config_and_model()
    assert compensate.handler(event, context)["serving"] is None


# --- back by way of nothing, where SageMaker takes no update -------------------------------------


@pytest.mark.parametrize(
    ("status", "config", "former"),
    [
        # A real-time endpoint does not become serverless again.
        ("InService", NAME, SERVERLESS),
        # Nothing but its deletion may be asked of an endpoint that has failed, whatever config it has.
        ("Failed", NAME, REAL_TIME),
        ("Failed", FORMER, REAL_TIME),
        ("UpdateRollbackFailed", FORMER, REAL_TIME),
    ],
)
def test_what_takes_no_update_is_deleted_to_be_created_again(
    there_is: Remains, event: Any, context: Any, status: str, config: str, former: Any
) -> None:
    there_is.a_failed_deployment(status, config=config)
    there_is.replaced()
    there_is.config(FORMER, former)
    there_is.is_marked_as_restoring()
    there_is.deletes_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        compensate.handler(event, context)


def test_a_deletion_that_did_not_come_to_it_is_asked_for_again(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment()
    there_is.replaced(restoring=FORMER)
    there_is.config(FORMER, SERVERLESS)
    there_is.is_marked_as_restoring()
    there_is.deletes_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        compensate.handler(event, context)


@pytest.mark.parametrize("twice", [False, True])
def test_when_it_is_gone_it_is_created_with_its_former_config(
    there_is: Remains, event: Any, context: Any, twice: bool
) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.no_endpoint()
    there_is.replaced(restoring=FORMER)
    there_is.config(FORMER, SERVERLESS)
    if twice:
        message = f'Cannot create already existing endpoint "{ARN}".'
        there_is.stubbed.refuses("sagemaker", "create_endpoint", "ValidationException", message)
    else:
        there_is.creates_endpoint()
    with pytest.raises(EndpointBusy, match=f"created again with {FORMER}"):
        compensate.handler(event, context)


def test_created_again_it_has_to_answer_like_any_other(there_is: Remains, event: Any, context: Any) -> None:
    there_is.a_failed_deployment(config=FORMER)
    there_is.replaced(restoring=FORMER)
    there_is.answers_with(FORMER)
    there_is.tags(FORMER)
    there_is.rejects_the_model()
    there_is.deletes_config_and_model()
    assert compensate.handler(event, context)["restored"] is True


def test_a_former_model_that_does_not_come_up_again_is_no_success(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment("Failed", config=FORMER, FailureReason="No capacity.")
    there_is.replaced(restoring=FORMER)
    there_is.config(FORMER)
    with pytest.raises(EndpointFailed, match=f"could not be put back to {FORMER}: it is Failed. No cap"):
        compensate.handler(event, context)


# --- what stays ----------------------------------------------------------------------------------


def test_a_model_that_has_passed_its_smoke_test_stays(there_is: Remains, event: Any, context: Any) -> None:
    event["caught"][0].update(Error="AccessDenied", Step="Finish")
    there_is.a_failed_deployment()
    there_is.replaced(verified="2026-03-01T12:30:00+00:00")
    assert compensate.handler(event, context) == compensated("Completed", NAME)


def test_a_model_that_passed_goes_if_its_endpoint_has_failed_since(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment("Failed")
    there_is.replaced("", "", verified="2026-03-01T12:30:00+00:00")
    there_is.deletes_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        compensate.handler(event, context)


def test_an_endpoint_that_serves_a_third_run_stays_as_it_is(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.a_failed_deployment(config=OTHER)
    there_is.replaced()
    there_is.rejects_the_model()
    there_is.deletes_config_and_model()
    assert compensate.handler(event, context) == compensated("Completed", OTHER, *UNDONE)


# --- the model's standing in the registry --------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "error", "work", "rejected"),
    [
        ("SmokeTest", "SmokeTestFailed", "train", True),
        ("Deploy", "UpdateReverted", "train", True),
        # Neither a quota nor a permission is the model's fault: it may be deployed when they are mended.
        ("Deploy", "CapacityUnavailable", "train", False),
        ("Deploy", "EndpointFailed", "train", False),
        ("Finish", "AccessDenied", "train", False),
        # It was accepted and has served before.
        ("SmokeTest", "SmokeTestFailed", "deploy", False),
    ],
)
def test_only_a_model_that_was_tried_and_failed_is_rejected(
    there_is: Remains, event: Any, context: Any, step: str, error: str, work: str, rejected: bool
) -> None:
    event["run"]["work"] = work
    event["caught"] = [{"Error": error, "Cause": "So it is.", "Step": step}]
    there_is.a_failed_deployment(config=FORMER)
    there_is.replaced()
    there_is.answers_with(FORMER)
    there_is.tags(FORMER)
    if rejected:
        there_is.rejects_the_model(f"{step} failed with {error}.")
    there_is.deletes_config_and_model()
    compensate.handler(event, context)
    assert ("UpdateModelPackage" in there_is.stubbed.calls) is rejected


def test_a_model_that_is_rejected_already_is_left_so(there_is: Remains, event: Any, context: Any) -> None:
    event["registered"]["approved"] = False
    there_is.a_failed_deployment(config=FORMER)
    there_is.replaced()
    there_is.answers_with(FORMER)
    there_is.tags(FORMER)
    there_is.deletes_config_and_model()
    compensate.handler(event, context)


# --- a run that has lost its lease ---------------------------------------------------------------


@pytest.fixture
def too_late(event: Any) -> Any:
    event["lease"]["generation"] = 6
    return event


def test_without_the_lease_the_endpoint_is_another_runs(
    there_is: Remains, too_late: Any, context: Any
) -> None:
    there_is.a_failed_deployment(config=OTHER)
    there_is.tags(OTHER, previous=FORMER)
    there_is.deletes_config_and_model()
    assert compensate.handler(too_late, context) == compensated("Completed", OTHER, *UNDONE)


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack", "Deleting"])
def test_without_the_lease_nothing_is_removed_that_the_endpoint_may_be_coming_to(
    there_is: Remains, too_late: Any, context: Any, status: str
) -> None:
    there_is.a_failed_deployment(status, config=FORMER)
    assert compensate.handler(too_late, context) == compensated("Completed", FORMER)


def test_without_the_lease_a_config_that_serves_stays(there_is: Remains, too_late: Any, context: Any) -> None:
    there_is.a_failed_deployment()
    there_is.tags(NAME, previous=FORMER)
    assert compensate.handler(too_late, context) == compensated("Completed", NAME)


def test_without_the_lease_a_config_that_another_run_would_go_back_to_stays(
    there_is: Remains, too_late: Any, context: Any
) -> None:
    there_is.a_failed_deployment(config=OTHER)
    there_is.tags(OTHER, previous=NAME)
    assert compensate.handler(too_late, context) == compensated("Completed", OTHER)


def test_without_the_lease_and_without_an_endpoint_the_leftovers_go(
    there_is: Remains, too_late: Any, context: Any
) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.no_endpoint()
    there_is.deletes_config_and_model()
    assert compensate.handler(too_late, context) == compensated("Completed", None, *UNDONE)


# --- after an abort, in each phase of the run ----------------------------------------------------


@pytest.fixture
def cleaning(cleanup: Any, lease_held: Any) -> dict[str, Any]:
    """The cleaner holds the lease that the aborted run had."""
    item = lease_held.get("endpoint/lexline")
    lease_held.put("endpoint/lexline", **{**item, "owner": CLEANER, "generation": 8})
    cleanup["lease"] = {"owner": CLEANER, "generation": 8}
    return cleanup


@pytest.mark.parametrize("status", ["InProgress", "Stopping", "Stopped", "Completed", "Failed"])
def test_aborted_while_it_trained(there_is: Remains, cleaning: Any, context: Any, status: str) -> None:
    there_is.job(status, "Training" if status == "InProgress" else status)
    if status == "InProgress":
        there_is.stubbed.answers("sagemaker", "stop_training_job", {}, TrainingJobName=NAME)
    there_is.no_config()
    there_is.has_neither_config_nor_model()
    expected = "Stopping" if status == "InProgress" else status
    assert compensate.handler(cleaning, context) == compensated(expected, None)


@pytest.mark.parametrize(("status", "expected"), [("InProgress", "Stopping"), ("Completed", "Completed")])
def test_while_a_function_may_be_at_work_only_the_job_is_stopped(
    there_is: Remains, cleaning: Any, context: Any, status: str, expected: str
) -> None:
    cleaning["at_work"] = True
    there_is.job(status, "Training" if status == "InProgress" else status)
    if status == "InProgress":
        there_is.stubbed.answers("sagemaker", "stop_training_job", {}, TrainingJobName=NAME)
    assert compensate.handler(cleaning, context) == compensated(expected, None)


def test_aborted_before_its_config_was_put_on_the_endpoint(
    there_is: Remains, cleaning: Any, context: Any
) -> None:
    there_is.a_failed_deployment(config=FORMER)
    there_is.replaced()
    there_is.answers_with(FORMER)
    there_is.tags(FORMER)
    there_is.deletes_config_and_model()
    assert compensate.handler(cleaning, context) == compensated("Completed", FORMER, *UNDONE, restored=True)


def test_aborted_while_the_endpoint_was_updated(there_is: Remains, cleaning: Any, context: Any) -> None:
    there_is.a_failed_deployment("Updating", config=FORMER)
    with pytest.raises(EndpointBusy, match="Updating"):
        compensate.handler(cleaning, context)


@pytest.mark.parametrize("teardown", ["never", "always", "on_failure"])
def test_aborted_before_its_smoke_test_had_passed(
    there_is: Remains, cleaning: Any, context: Any, teardown: str
) -> None:
    """The deployment's default for tear-downs is not the clean-up's: no tear-down comes after it."""
    cleaning["run"]["teardown"] = teardown
    there_is.a_failed_deployment()
    there_is.replaced()
    there_is.config(FORMER)
    there_is.goes_back(with_its_instances=True)
    with pytest.raises(EndpointBusy, match=f"going back to {FORMER}"):
        compensate.handler(cleaning, context)


@pytest.mark.parametrize("teardown", ["never", "always", "on_failure"])
def test_aborted_with_a_first_endpoint(there_is: Remains, cleaning: Any, context: Any, teardown: str) -> None:
    cleaning["run"]["teardown"] = teardown
    there_is.a_failed_deployment()
    there_is.replaced("", "")
    there_is.deletes_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        compensate.handler(cleaning, context)


def test_aborted_after_its_smoke_test_had_passed(there_is: Remains, cleaning: Any, context: Any) -> None:
    there_is.a_failed_deployment()
    there_is.replaced(verified="2026-03-01T12:30:00+00:00")
    assert compensate.handler(cleaning, context) == compensated("Completed", NAME)


def test_aborted_while_it_was_torn_down(there_is: Remains, cleaning: Any, context: Any) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.no_endpoint()
    there_is.replaced(verified="2026-03-01T12:30:00+00:00")
    there_is.deletes_config_and_model()
    assert compensate.handler(cleaning, context) == compensated(
        "Completed", None, "endpoint/lexline", *UNDONE
    )


def test_aborted_while_it_put_the_endpoint_back(there_is: Remains, cleaning: Any, context: Any) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.no_endpoint()
    there_is.replaced(restoring=FORMER)
    there_is.config(FORMER, SERVERLESS)
    there_is.creates_endpoint()
    with pytest.raises(EndpointBusy, match="created again"):
        compensate.handler(cleaning, context)


def test_a_second_look_finds_nothing_more(there_is: Remains, cleaning: Any, context: Any) -> None:
    there_is.job("Stopped", "Stopped")
    there_is.no_config()
    there_is.has_neither_config_nor_model()
    assert compensate.handler(cleaning, context) == compensated("Stopped", None)

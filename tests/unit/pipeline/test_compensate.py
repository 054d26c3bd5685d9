"""compensate: after a failure nothing is half-made, and the endpoint is as it was before the run."""

from typing import Any

import compensate
import pytest
from errors import EndpointBusy

NAME = "lexline-sotu-0123456789ab"
OTHER = "lexline-sotu-ffffffffffff"
NO_JOB = ("ValidationException", "Requested resource not found.")
NO_CONFIG = ("ValidationException", "Could not find endpoint configuration")
NO_ENDPOINT = ("ValidationException", "Could not find endpoint")
NO_MODEL = ("ValidationException", "Could not find model")


@pytest.fixture
def event(documents: Any) -> dict[str, Any]:
    return {"run": documents.run}


class Remains:
    """Announces, in the order of the step, what the run has left behind."""

    def __init__(self, stubbed: Any, described: Any) -> None:
        self.stubbed, self.described = stubbed, described

    def no_job(self) -> None:
        self.stubbed.refuses("sagemaker", "describe_training_job", *NO_JOB)

    def job(self, status: str, secondary: str) -> None:
        self.stubbed.answers(
            "sagemaker", "describe_training_job", self.described.training_job(status, secondary)
        )

    def config(self, name: str = NAME) -> None:
        self.stubbed.answers(
            "sagemaker", "describe_endpoint_config", self.described.config(name), EndpointConfigName=name
        )

    def no_config(self) -> None:
        self.stubbed.refuses("sagemaker", "describe_endpoint_config", *NO_CONFIG)

    def endpoint(self, *args: Any, **more: Any) -> None:
        self.stubbed.answers("sagemaker", "describe_endpoint", self.described.endpoint(*args, **more))

    def replaced(self, previous: str) -> None:
        self.stubbed.answers("sagemaker", "list_tags", self.described.tags(run=NAME, previous=previous))

    def deletes_config_and_model(self) -> None:
        self.stubbed.answers("sagemaker", "delete_endpoint_config", {}, EndpointConfigName=NAME)
        self.stubbed.answers("sagemaker", "delete_model", {}, ModelName=NAME)

    def deletes_endpoint(self) -> None:
        self.stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")


@pytest.fixture
def there_is(stubbed: Any, described: Any) -> Remains:
    return Remains(stubbed, described)


def test_a_run_that_made_nothing_leaves_nothing(there_is: Remains, event: Any, context: Any) -> None:
    there_is.no_job()
    there_is.no_config()
    there_is.stubbed.refuses("sagemaker", "delete_endpoint_config", *NO_CONFIG)
    there_is.stubbed.refuses("sagemaker", "delete_model", *NO_MODEL)
    assert compensate.handler(event, context) == {"training_job": None, "serving": None, "removed": []}


def test_a_running_job_is_stopped(there_is: Remains, event: Any, context: Any) -> None:
    there_is.job("InProgress", "Training")
    there_is.stubbed.answers("sagemaker", "stop_training_job", {}, TrainingJobName=NAME)
    there_is.no_config()
    there_is.stubbed.refuses("sagemaker", "delete_endpoint_config", *NO_CONFIG)
    there_is.stubbed.refuses("sagemaker", "delete_model", *NO_MODEL)
    assert compensate.handler(event, context)["training_job"] == "Stopping"


def test_a_job_that_ended_a_moment_ago_need_not_be_stopped(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.job("InProgress", "Uploading")
    message = "The request was rejected because the training job is in status Completed."
    there_is.stubbed.refuses("sagemaker", "stop_training_job", "ValidationException", message)
    there_is.no_config()
    there_is.deletes_config_and_model()
    compensate.handler(event, context)


def test_a_model_without_an_endpoint_config_is_removed(there_is: Remains, event: Any, context: Any) -> None:
    there_is.job("Completed", "Completed")
    there_is.no_config()
    there_is.stubbed.refuses("sagemaker", "delete_endpoint_config", *NO_CONFIG)
    there_is.stubbed.answers("sagemaker", "delete_model", {}, ModelName=NAME)
    assert compensate.handler(event, context) == {
        "training_job": "Completed",
        "serving": None,
        "removed": [f"model/{NAME}"],
    }


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting"])
def test_a_changing_endpoint_is_waited_for(there_is: Remains, event: Any, context: Any, status: str) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.endpoint(status, config=OTHER)
    with pytest.raises(EndpointBusy, match=status):
        compensate.handler(event, context)


def test_an_updated_endpoint_goes_back_to_what_it_served(there_is: Remains, event: Any, context: Any) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.endpoint()
    there_is.replaced(OTHER)
    there_is.config(OTHER)
    there_is.stubbed.answers(
        "sagemaker",
        "update_endpoint",
        {"EndpointArn": "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/lexline"},
        EndpointName="lexline",
        EndpointConfigName=OTHER,
    )
    with pytest.raises(EndpointBusy, match=f"going back to {OTHER}"):
        compensate.handler(event, context)


def test_config_and_model_go_once_the_endpoint_has_gone_back(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.endpoint(config=OTHER)
    there_is.deletes_config_and_model()
    assert compensate.handler(event, context) == {
        "training_job": "Completed",
        "serving": OTHER,
        "removed": [f"endpoint-config/{NAME}", f"model/{NAME}"],
    }


def test_a_first_endpoint_is_deleted(there_is: Remains, event: Any, context: Any) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.endpoint()
    there_is.replaced("")
    there_is.deletes_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        compensate.handler(event, context)


def test_a_failed_endpoint_is_deleted_for_it_takes_no_update(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.endpoint("Failed")
    there_is.replaced(OTHER)
    there_is.deletes_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        compensate.handler(event, context)


def test_an_endpoint_whose_former_config_is_gone_is_deleted(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.endpoint()
    there_is.replaced(OTHER)
    there_is.no_config()
    there_is.deletes_endpoint()
    with pytest.raises(EndpointBusy, match="being deleted"):
        compensate.handler(event, context)


def test_when_the_first_endpoint_is_gone_the_rest_follows(
    there_is: Remains, event: Any, context: Any
) -> None:
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT)
    there_is.deletes_config_and_model()
    assert compensate.handler(event, context) == {
        "training_job": "Completed",
        "serving": None,
        "removed": ["endpoint/lexline", f"endpoint-config/{NAME}", f"model/{NAME}"],
    }


@pytest.mark.parametrize("teardown", ["always", "on_failure"])
def test_what_the_tear_down_will_take_is_left_to_it(
    there_is: Remains, event: Any, context: Any, teardown: str
) -> None:
    event["run"]["teardown"] = teardown
    there_is.job("Completed", "Completed")
    there_is.config()
    there_is.endpoint()
    assert compensate.handler(event, context) == {
        "training_job": "Completed",
        "serving": NAME,
        "removed": [],
    }

"""deploy: one endpoint for all runs, changed by one run at a time, and never to an older run's model."""

from typing import Any

import deploy
import pytest
from botocore.stub import ANY
from errors import CapacityUnavailable, EndpointBusy, NothingToDo, RequestRefused, ServiceUnavailable

NAME = "lexline-sotu-0123456789ab"
OTHER = "lexline-sotu-ffffffffffff"
ARN = "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/lexline"
CONFIG_ARN = f"arn:aws:sagemaker:eu-west-1:111122223333:endpoint-config/{NAME}"
NO_ENDPOINT = ("ValidationException", f'Could not find endpoint "{ARN}".')
IN_PROGRESS = ("ValidationException", f'Cannot update in-progress endpoint "{ARN}".')


class Deployment:
    """Announces, in the order of the step, what AWS is to be asked."""

    def __init__(self, stubbed: Any, described: Any) -> None:
        self.stubbed, self.described = stubbed, described

    def nobody_waits(self) -> None:
        self.stubbed.answers(
            "dynamodb", "get_item", {}, TableName="tokens", Key={"resource": {"S": ARN}}, ConsistentRead=True
        )

    def waits(self, run: str, config: str) -> None:
        item = self.described.item("token-0", ARN, run=run, config=config)
        self.stubbed.answers("dynamodb", "get_item", {"Item": item})

    def endpoint(self, *args: Any, **more: Any) -> None:
        answer = self.described.endpoint(*args, **more)
        self.stubbed.answers("sagemaker", "describe_endpoint", answer, EndpointName="lexline")

    def no_endpoint(self) -> None:
        self.stubbed.refuses("sagemaker", "describe_endpoint", *NO_ENDPOINT)

    def served_by_a_run_started(self, started: str) -> None:
        arn = CONFIG_ARN.replace(NAME, OTHER)
        tags = self.described.tags(run=OTHER, started=started)
        self.stubbed.answers("sagemaker", "list_tags", tags, ResourceArn=arn)

    def creates_config(self, previous: str) -> None:
        self.stubbed.answers(
            "sagemaker",
            "create_endpoint_config",
            {"EndpointConfigArn": CONFIG_ARN},
            EndpointConfigName=NAME,
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": NAME,
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 1,
                }
            ],
            Tags=[
                {"Key": "lexline:run", "Value": NAME},
                {"Key": "lexline:dataset", "Value": "sotu"},
                {"Key": "lexline:test-perplexity", "Value": "208.3000"},
                {"Key": "lexline:started", "Value": "2026-03-01T12:00:00+00:00"},
                {"Key": "lexline:previous", "Value": previous},
            ],
        )

    def stores_token(self, config: str = "") -> None:
        self.stubbed.answers(
            "dynamodb",
            "update_item",
            {"Attributes": self.described.item("token-1", ARN, config=config)},
            TableName="tokens",
            Key={"resource": {"S": ARN}},
            UpdateExpression=ANY,
            ExpressionAttributeNames=ANY,
            ExpressionAttributeValues={":token": {"S": "token-1"}, ":run": {"S": NAME}, ":expires": ANY},
            ReturnValues="ALL_NEW",
        )

    def changes(self, operation: str) -> None:
        self.stubbed.answers(
            "sagemaker", operation, {"EndpointArn": ARN}, EndpointName="lexline", EndpointConfigName=NAME
        )

    def marks(self) -> None:
        self.stubbed.answers(
            "dynamodb",
            "update_item",
            {},
            TableName="tokens",
            Key={"resource": {"S": ARN}},
            UpdateExpression="SET #config = :run",
            ExpressionAttributeNames={"#config": "config"},
            ExpressionAttributeValues={":run": {"S": NAME}},
        )

    def answers_success(self, documents: Any) -> None:
        output = deploy.endpoint.Deployed.model_validate(documents.deployed).model_dump_json()
        self.stubbed.answers("stepfunctions", "send_task_success", {}, taskToken="token-1", output=output)
        self.stubbed.answers("dynamodb", "delete_item", {})

    def answers_failure(self, error: str) -> None:
        self.stubbed.answers(
            "stepfunctions", "send_task_failure", {}, taskToken="token-1", error=error, cause=ANY
        )
        self.stubbed.answers("dynamodb", "delete_item", {})


@pytest.fixture
def aws_is(stubbed: Any, described: Any) -> Deployment:
    return Deployment(stubbed, described)


@pytest.fixture
def event(documents: Any) -> dict[str, Any]:
    return {"token": "token-1", "run": documents.run, "evaluated": documents.evaluated}


def test_the_first_run_creates_the_endpoint_with_its_token_stored_before(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.nobody_waits()
    aws_is.no_endpoint()
    aws_is.creates_config(previous="")
    aws_is.stores_token()
    aws_is.changes("create_endpoint")
    aws_is.marks()
    aws_is.endpoint("Creating")
    deploy.handler(event, context)
    calls = aws_is.stubbed.calls
    assert calls.index("UpdateItem") < calls.index("CreateEndpoint")


def test_a_later_run_updates_the_endpoint_and_remembers_what_it_replaces(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.nobody_waits()
    aws_is.endpoint(config=OTHER)
    aws_is.served_by_a_run_started("2026-03-01T11:00:00+00:00")
    aws_is.creates_config(previous=OTHER)
    aws_is.stores_token()
    aws_is.changes("update_endpoint")
    aws_is.marks()
    aws_is.endpoint("Updating", config=OTHER)
    deploy.handler(event, context)


def test_an_update_just_accepted_is_not_taken_for_one_that_was_reverted(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.nobody_waits()
    aws_is.endpoint(config="by-hand")
    aws_is.creates_config(previous="by-hand")
    aws_is.stores_token()
    aws_is.changes("update_endpoint")
    aws_is.marks()
    aws_is.endpoint("InService", config="by-hand")
    deploy.handler(event, context)


def test_an_endpoint_just_created_and_not_yet_to_be_seen_is_not_taken_for_one_that_was_deleted(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.nobody_waits()
    aws_is.no_endpoint()
    aws_is.creates_config(previous="")
    aws_is.stores_token()
    aws_is.changes("create_endpoint")
    aws_is.marks()
    aws_is.no_endpoint()
    deploy.handler(event, context)


def test_a_wait_that_timed_out_only_looks_again(aws_is: Deployment, event: Any, context: Any) -> None:
    aws_is.waits(NAME, config=NAME)
    aws_is.endpoint("Updating", config=OTHER)
    aws_is.stores_token(config=NAME)
    aws_is.endpoint("Updating", config=OTHER)
    deploy.handler(event, context)
    assert "UpdateEndpoint" not in aws_is.stubbed.calls


def test_an_endpoint_found_in_service_is_answered_at_once(
    aws_is: Deployment, event: Any, context: Any, documents: Any
) -> None:
    aws_is.waits(NAME, config=NAME)
    aws_is.endpoint("InService")
    aws_is.stores_token(config=NAME)
    aws_is.endpoint("InService")
    aws_is.answers_success(documents)
    deploy.handler(event, context)


@pytest.mark.parametrize(
    ("status", "config", "error"),
    [("InService", OTHER, "UpdateReverted"), ("Failed", NAME, "EndpointFailed")],
)
def test_a_change_that_came_to_nothing_is_answered_at_once(
    aws_is: Deployment, event: Any, context: Any, status: str, config: str, error: str
) -> None:
    aws_is.waits(NAME, config=NAME)
    aws_is.endpoint(status, config=config, FailureReason="The primary container did not pass the ping.")
    aws_is.stores_token(config=NAME)
    aws_is.endpoint(status, config=config, FailureReason="The primary container did not pass the ping.")
    aws_is.answers_failure(error)
    deploy.handler(event, context)


def test_an_attempt_that_died_right_after_its_change_is_carried_on(
    aws_is: Deployment, event: Any, context: Any, documents: Any
) -> None:
    aws_is.waits(NAME, config="")
    aws_is.endpoint("InService")
    aws_is.stores_token()
    aws_is.marks()
    aws_is.endpoint("InService")
    aws_is.answers_success(documents)
    deploy.handler(event, context)


def test_the_config_of_an_earlier_attempt_learns_what_it_replaces_now(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.nobody_waits()
    aws_is.endpoint(config="by-hand")
    message = f'Cannot create already existing endpoint configuration "{CONFIG_ARN}".'
    aws_is.stubbed.refuses("sagemaker", "create_endpoint_config", "ValidationException", message)
    aws_is.stubbed.answers(
        "sagemaker",
        "add_tags",
        {},
        ResourceArn=CONFIG_ARN,
        Tags=[{"Key": "lexline:previous", "Value": "by-hand"}],
    )
    aws_is.stores_token()
    aws_is.changes("update_endpoint")
    aws_is.marks()
    aws_is.endpoint("Updating", config="by-hand")
    deploy.handler(event, context)


@pytest.mark.parametrize("status", ["Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"])
def test_another_runs_change_is_waited_for_without_taking_its_token(
    aws_is: Deployment, event: Any, context: Any, status: str
) -> None:
    aws_is.waits(OTHER, config=OTHER)
    aws_is.endpoint(status, config=OTHER)
    with pytest.raises(EndpointBusy, match=status):
        deploy.handler(event, context)


@pytest.mark.parametrize("status", ["Failed", "UpdateRollbackFailed", "OutOfService"])
def test_a_broken_endpoint_is_deleted_to_be_created_anew(
    aws_is: Deployment, event: Any, context: Any, status: str
) -> None:
    aws_is.nobody_waits()
    aws_is.endpoint(status, config=OTHER)
    aws_is.stubbed.answers("sagemaker", "delete_endpoint", {}, EndpointName="lexline")
    with pytest.raises(EndpointBusy, match="being deleted"):
        deploy.handler(event, context)


def test_losing_the_race_for_the_endpoint_is_waiting_for_it(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.nobody_waits()
    aws_is.endpoint(config="by-hand")
    aws_is.creates_config(previous="by-hand")
    aws_is.stores_token()
    aws_is.stubbed.refuses("sagemaker", "update_endpoint", *IN_PROGRESS)
    with pytest.raises(EndpointBusy):
        deploy.handler(event, context)


def test_losing_the_race_to_create_the_endpoint_is_waiting_for_it(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    aws_is.nobody_waits()
    aws_is.no_endpoint()
    aws_is.creates_config(previous="")
    aws_is.stores_token()
    message = f'Cannot create already existing endpoint "{ARN}".'
    aws_is.stubbed.refuses("sagemaker", "create_endpoint", "ValidationException", message)
    with pytest.raises(EndpointBusy):
        deploy.handler(event, context)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("ResourceLimitExceeded", CapacityUnavailable), ("ValidationException", RequestRefused)],
)
def test_a_refused_change_is_passed_on(
    aws_is: Deployment, event: Any, context: Any, code: str, expected: type[Exception]
) -> None:
    aws_is.nobody_waits()
    aws_is.no_endpoint()
    aws_is.creates_config(previous="")
    aws_is.stores_token()
    aws_is.stubbed.refuses("sagemaker", "create_endpoint", code, "said AWS")
    with pytest.raises(expected, match="said AWS"):
        deploy.handler(event, context)


def test_a_model_that_sagemaker_does_not_see_yet_is_asked_for_again(
    aws_is: Deployment, event: Any, context: Any
) -> None:
    """SageMaker reads what it has just stored with a delay, and says so at CreateEndpoint."""
    aws_is.nobody_waits()
    aws_is.no_endpoint()
    message = f'Could not find model "arn:aws:sagemaker:eu-west-1:111122223333:model/{NAME}".'
    aws_is.stubbed.refuses("sagemaker", "create_endpoint_config", "ValidationException", message)
    with pytest.raises(ServiceUnavailable, match="Could not find model"):
        deploy.handler(event, context)


@pytest.mark.parametrize("operation", ["create_endpoint", "update_endpoint"])
def test_a_config_that_sagemaker_does_not_see_yet_is_asked_for_again(
    aws_is: Deployment, event: Any, context: Any, operation: str
) -> None:
    aws_is.nobody_waits()
    if operation == "create_endpoint":
        aws_is.no_endpoint()
    else:
        aws_is.endpoint(config="by-hand")
    aws_is.creates_config(previous="" if operation == "create_endpoint" else "by-hand")
    aws_is.stores_token()
    message = f'Could not find endpoint configuration "{CONFIG_ARN}".'
    aws_is.stubbed.refuses("sagemaker", operation, "ValidationException", message)
    with pytest.raises(ServiceUnavailable, match="Could not find endpoint configuration"):
        deploy.handler(event, context)


def test_a_newer_runs_model_is_not_replaced(aws_is: Deployment, event: Any, context: Any) -> None:
    aws_is.nobody_waits()
    aws_is.endpoint(config=OTHER)
    aws_is.served_by_a_run_started("2026-03-01T12:00:01+00:00")
    with pytest.raises(NothingToDo, match=f"already serves {OTHER}"):
        deploy.handler(event, context)

"""The SageMaker endpoint behind the API: generate text with it, and describe the model that it serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from chalicelib import errors
from chalicelib.request_body import Request

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

# API Gateway times out after 29 s. One attempt of 25 s leaves time to respond. A slow model gets no second
# request.
_READ_SECONDS = 25
_INVOKE = Config(connect_timeout=2, read_timeout=_READ_SECONDS, retries={"total_max_attempts": 1})
_DESCRIBE = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})

_THROTTLING = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
_DENIED = {"AccessDeniedException", "AccessDenied"}
_LONGEST_MODEL_MESSAGE = 500  # characters
# The statuses of the model's container after which a retry may succeed. SageMaker reports 0 if the container
# did not respond, because it restarts or needed more than a minute.
_TEMPORARY = {0, 408, 429, 502, 503, 504}


@dataclass(frozen=True)
class Generated:
    """Generated text. The same `model` with the same `seed` and fields generates the same text.

    `unknown_words` are the words of the prompt that the model does not know.
    """

    text: str
    words: int
    seed: int
    model: str
    unknown_words: list[str]


@dataclass(frozen=True)
class ServedModel:
    """The model that an endpoint serves.

    `since` (ISO 8601) is the creation time of the endpoint config, minutes before it served. Unlike the
    endpoint's LastModifiedTime, it does not change when the endpoint scales. `perplexity` is that of the test
    split, and `unknown_share` the share of its words that the model does not know. These and `dataset` are
    None if the pipeline did not create the config.
    """

    endpoint: str
    status: str
    model: str
    dataset: str | None
    perplexity: float | None
    unknown_share: float | None
    since: str


@dataclass(frozen=True)
class Endpoint:
    """A SageMaker endpoint. Nothing is cached: every request calls SageMaker."""

    name: str
    runtime: SageMakerRuntimeClient
    sagemaker: SageMakerClient

    @classmethod
    def connect(cls, name: str) -> Endpoint:
        """Return the endpoint in the account and region of this function."""
        runtime = boto3.client("sagemaker-runtime", config=_INVOKE)
        return cls(name, runtime, boto3.client("sagemaker", config=_DESCRIBE))

    def generate(self, request: Request) -> Generated:
        """Return text from the model that serves; during an update that is the old model.

        Raises:
            ApiError: InvalidRequest, NoEndpoint, Deploying, ModelFailed, ModelUnavailable, ModelUnreachable,
                Throttled or NotPermitted.
        """
        # Absent fields are left out, so that models without top_k and top_p accept the request, too.
        body = {key: value for key, value in asdict(request).items() if value not in ("", None)}
        with _translated():
            try:
                response = self.runtime.invoke_endpoint(
                    EndpointName=self.name,
                    ContentType="application/json",
                    Accept="application/json",
                    Body=json.dumps(body),
                )
                content = response["Body"].read()
            except ClientError as error:
                if _code(error) != "ValidationError":
                    raise
                # InvokeEndpoint returns ValidationError for an endpoint that does not exist or is not ready.
                # If it serves now, it has become ready since.
                self._live()
                raise errors.ModelUnavailable("The endpoint has just started. Try again.", retry=1) from error
        try:
            answer = json.loads(content)
            return Generated(
                str(answer["text"]),
                int(answer["words"]),
                int(answer["seed"]),
                str(answer["model"]),
                # Models of earlier versions do not list them.
                [str(word) for word in answer.get("unknown_words", ())],
            )
        except (ValueError, TypeError, KeyError) as error:
            raise errors.ModelUnreachable(
                "The endpoint returned a response that is not the model's."
            ) from error

    def served(self) -> ServedModel:
        """Return the model that serves, from the endpoint's config and its tags.

        Raises:
            ApiError: NoEndpoint, Deploying, ModelUnavailable, ModelUnreachable, Throttled or NotPermitted.
        """
        with _translated():
            endpoint = self._live()
            try:
                config = self.sagemaker.describe_endpoint_config(
                    EndpointConfigName=endpoint["EndpointConfigName"]
                )
                pages = self.sagemaker.get_paginator("list_tags").paginate(
                    ResourceArn=config["EndpointConfigArn"]
                )
                tags = {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
            except ClientError as error:
                if _code(error) != "ValidationException":
                    raise
                # The config was deleted between the two calls: an update has just ended.
                raise errors.Deploying(
                    "The endpoint is changing to another model. Try again.", retry=1
                ) from error
        perplexity, unknown = tags.get("lexline:test-perplexity"), tags.get("lexline:test-unknown-share")
        return ServedModel(
            endpoint=self.name,
            status=endpoint["EndpointStatus"],
            model=tags.get("lexline:model") or config["ProductionVariants"][0]["ModelName"],
            dataset=tags.get("lexline:dataset"),
            perplexity=float(perplexity) if perplexity else None,
            unknown_share=float(unknown) if unknown else None,
            since=config["CreationTime"].isoformat(),
        )

    def _live(self) -> DescribeEndpointOutputTypeDef:
        """Return the endpoint's description, or raise an ApiError if the endpoint does not serve."""
        try:
            endpoint = self.sagemaker.describe_endpoint(EndpointName=self.name)
        except ClientError as error:
            if _code(error) != "ValidationException":
                raise
            raise errors.NoEndpoint(
                "There is no model yet. Upload a corpus, and wait for its run."
            ) from error
        status = endpoint["EndpointStatus"]
        if status == "Creating":
            raise errors.Deploying("The first model is being deployed. Try again in a few minutes.", retry=30)
        if status == "Deleting":
            raise errors.NoEndpoint("The endpoint is being deleted.")
        if status in ("Failed", "OutOfService"):
            raise errors.ModelUnreachable("The endpoint failed and serves nothing. Run the pipeline again.")
        return endpoint


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def _translated() -> Iterator[None]:
    """Raise the API's errors instead of SageMaker's, whose messages go only to the log."""
    try:
        yield
    except ReadTimeoutError as error:
        # A serverless endpoint that starts takes this long, and so does an instance with too many requests.
        message = f"The model did not respond within {_READ_SECONDS} seconds. It may be starting: try again."
        raise errors.ModelUnavailable(message, retry=5) from error
    except BotoCoreError as error:
        raise errors.ModelUnavailable("SageMaker did not respond. Try again.", retry=5) from error
    except ClientError as error:
        raise _api_error(error) from error


def _api_error(error: ClientError) -> errors.ApiError:
    code = _code(error)
    original = int(str(error.response.get("OriginalStatusCode", 500)))
    if code == "ModelError" and original in _TEMPORARY:
        return errors.ModelUnavailable("The model is restarting or overloaded. Try again.", retry=2)
    if code == "ModelError" and original < 500:
        # Only the model knows, for example, its vocabulary. Its message is the first line; AWS's PyTorch
        # image adds a stack trace.
        message = str(error.response.get("OriginalMessage", "")).partition("\n")[0]
        return errors.InvalidRequest(message[:_LONGEST_MODEL_MESSAGE] or "The model cannot use this request.")
    if code == "ModelError":
        return errors.ModelFailed("The model failed on this request.")
    if code == "ModelNotReadyException":
        return errors.ModelUnavailable("The model is starting. Try again.", retry=5)
    if code in _THROTTLING:
        return errors.Throttled("SageMaker refuses so many requests. Try again in a second.", retry=1)
    if code in _DENIED:
        return errors.NotPermitted(f"The API's role lacks the permission sagemaker:{error.operation_name}.")
    if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
        return errors.ModelUnavailable("SageMaker cannot serve for the moment. Try again.", retry=5)
    return errors.ModelUnreachable("SageMaker refused the request.")

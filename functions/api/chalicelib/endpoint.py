"""The SageMaker endpoint behind the API: generate text with it, and describe the model that it serves."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from chalicelib import errors
from chalicelib.request_body import Request, ScoreRequest

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

# API Gateway times out after 29 s. 25 s for the wait and the response leave time to return it. A slow model
# gets no second request.
_READ_SECONDS = 25
# Between two attempts. They are random, because callers that were refused together must not return together.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 2.0
_DESCRIBE = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})

_THROTTLING = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
_DENIED = {"AccessDeniedException", "AccessDenied"}
_LONGEST_MODEL_MESSAGE = 500  # characters
_UNKNOWN_FIELD = "is not a field of this request"
# The statuses of the model's container after which a retry may succeed. SageMaker reports 0 if the container
# did not respond, because it restarts or needed more than a minute.
_TEMPORARY = {0, 408, 429, 502, 503, 504}
_REFUSED = {502, 503}
"""Those that come at once, from what stands before a model that does not run."""


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
    """A SageMaker endpoint. Nothing is cached: every request calls SageMaker.

    `late_runtime` is `runtime` with less time for the response, for requests that have waited. `wait_until`
    is the time (time.monotonic) until which requests wait while no instance of the endpoint takes them.
    """

    name: str
    runtime: SageMakerRuntimeClient
    late_runtime: SageMakerRuntimeClient
    sagemaker: SageMakerClient
    wait_until: float = 0.0

    @classmethod
    def connect(cls, name: str, longest_wait: int) -> Endpoint:
        """Return the endpoint in the account and region of this function."""
        return cls(
            name,
            _runtime(_READ_SECONDS),
            _runtime(_READ_SECONDS - longest_wait),
            boto3.client("sagemaker", config=_DESCRIBE),
        )

    def waiting(self, seconds: float) -> Endpoint:
        """Return this endpoint for one HTTP request, all of whose invocations together wait this long."""
        return replace(self, wait_until=time.monotonic() + seconds)

    def generate(self, request: Request) -> dict[str, Any]:
        """Return the response of the model that serves; during an update that is the old model.

        Raises:
            ApiError: InvalidRequest, NoEndpoint, Deploying, ModelFailed, ModelUnavailable, ModelUnreachable,
                Throttled or NotPermitted.
        """
        response = self._invoke(_body(request))
        needed = {"text": str, "words": int, "seed": int, "model": str}
        if not _has(response, needed) or (
            request.n is not None and not isinstance(response.get("texts"), list)
        ):
            raise _not_the_models()
        # Models of earlier versions do not list unknown words.
        return {"unknown_words": [], **response}

    def score(self, request: ScoreRequest) -> dict[str, Any]:
        """Return the scores of a text by the model that serves. Raises what `generate` raises."""
        response = self._invoke({key: value for key, value in asdict(request).items() if value})
        if not _has(response, {"perplexity": float, "log_probabilities": list, "model": str}):
            raise _not_the_models()
        return response

    def _invoke(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the model's response. Wait while no instance takes requests, because one restarts."""
        runtime, longest = self.runtime, _FIRST_PAUSE
        while True:
            try:
                return self._attempt(runtime, body)
            except errors.ModelUnavailable as error:
                pause = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
                if not error.refused or time.monotonic() + pause > self.wait_until:
                    raise
            time.sleep(pause)
            runtime, longest = self.late_runtime, min(2 * longest, _LONGEST_PAUSE)

    def _attempt(self, runtime: SageMakerRuntimeClient, body: dict[str, Any]) -> dict[str, Any]:
        with _translated():
            try:
                response = runtime.invoke_endpoint(
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
                message = "The endpoint has just started. Try again."
                raise errors.ModelUnavailable(message, retry=1, refused=True) from error
        try:
            found = json.loads(content)
        except ValueError as error:
            raise _not_the_models() from error
        if not isinstance(found, dict):
            raise _not_the_models()
        return found

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


def _runtime(read_seconds: int) -> SageMakerRuntimeClient:
    config = Config(connect_timeout=2, read_timeout=read_seconds, retries={"total_max_attempts": 1})
    return boto3.client("sagemaker-runtime", config=config)


def _body(request: Request) -> dict[str, Any]:
    """Return the body of a request for text.

    Fields with their default value are left out, so that models of earlier versions, which lack some fields,
    accept the request. They refuse any other field that they lack.
    """
    always = {"seed", "temperature", "words" if request.tokens is None else "tokens"}
    never = {"words"} - always
    return {
        field.name: value
        for field in fields(request)
        if field.name not in never
        if (value := getattr(request, field.name)) != field.default or field.name in always
    }


def _has(response: dict[str, Any], needed: dict[str, type]) -> bool:
    """Return whether a response has fields of these types."""
    return all(isinstance(response.get(name), kind) for name, kind in needed.items())


def _not_the_models() -> errors.ApiError:
    return errors.ModelUnreachable("The endpoint returned a response that is not the model's.")


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def _translated() -> Iterator[None]:
    """Raise the API's errors instead of SageMaker's, whose messages go only to the log."""
    try:
        yield
    except ReadTimeoutError as error:
        # A serverless endpoint that starts takes this long, and so does an instance with too many requests.
        message = "The model did not respond in time. It may be starting: try again."
        raise errors.ModelUnavailable(message, retry=5) from error
    except BotoCoreError as error:
        raise errors.ModelUnavailable("SageMaker did not respond. Try again.", retry=5) from error
    except ClientError as error:
        raise _api_error(error) from error


def _api_error(error: ClientError) -> errors.ApiError:
    code = _code(error)
    original = int(str(error.response.get("OriginalStatusCode", 500)))
    if code == "ModelError" and original in _TEMPORARY:
        message = "The model is restarting or overloaded. Try again."
        return errors.ModelUnavailable(message, retry=2, refused=original in _REFUSED)
    if code == "ModelError" and original < 500:
        # Only the model knows, for example, its vocabulary. Its message is the first line; AWS's PyTorch
        # image adds a stack trace.
        message = str(error.response.get("OriginalMessage", "")).partition("\n")[0]
        message = message[:_LONGEST_MODEL_MESSAGE] or "The model cannot use this request."
        if _UNKNOWN_FIELD in message:
            # The API has checked the request, so the model's version has fewer fields.
            message = f"The model that serves is older than this API and cannot do this. It says: {message}"
        return errors.InvalidRequest(message)
    if code == "ModelError":
        return errors.ModelFailed("The model failed on this request.")
    if code == "ModelNotReadyException":
        return errors.ModelUnavailable("The model is starting. Try again.", retry=5, refused=True)
    if code in _THROTTLING:
        return errors.Throttled("SageMaker refuses so many requests. Try again in a second.", retry=1)
    if code in _DENIED:
        return errors.NotPermitted(f"The API's role lacks the permission sagemaker:{error.operation_name}.")
    if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
        message = "SageMaker cannot serve for the moment. Try again."
        return errors.ModelUnavailable(message, retry=5, refused=True)
    return errors.ModelUnreachable("SageMaker refused the request.")

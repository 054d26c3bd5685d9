"""The model behind the API: asks its endpoint for text, and SageMaker what is being served."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from chalicelib.errors import (
    ApiError,
    Deploying,
    InvalidRequest,
    ModelFailed,
    ModelUnreachable,
    NoEndpoint,
    NotPermitted,
    Throttled,
)
from chalicelib.validation import GenerateRequest

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

# API Gateway gives up after 29 s. One attempt of 25 s leaves time to answer; a slow model is not asked twice.
_INVOKE = Config(connect_timeout=2, read_timeout=25, retries={"total_max_attempts": 1})
_DESCRIBE = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 2})

_THROTTLING = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
_DENIED = {"AccessDeniedException", "AccessDenied"}
_DEPLOY_RETRY_SECONDS = 30

BAD_REQUEST = 400
LONGEST_SENTENCE = 500
"""Of what the model says is wrong with a request, in characters."""


@dataclass(frozen=True)
class Generated:
    """Text and what made it: asking `model` again with `seed` and the same fields gives the same text."""

    text: str
    words: int
    seed: int
    model: str


@dataclass(frozen=True)
class ServedModel:
    """What an endpoint serves.

    `since` (ISO 8601) is when the endpoint config in use was made, minutes before it began to serve. It does
    not move when the endpoint scales, as the endpoint's own LastModifiedTime does. `perplexity` is that of
    the test split. `dataset` and `perplexity` are None for a config that the pipeline did not make.
    """

    endpoint: str
    status: str
    model: str
    dataset: str | None
    perplexity: float | None
    since: str


class Endpoint:
    """One SageMaker endpoint, by name. Nothing is kept between requests; SageMaker is asked each time."""

    def __init__(self, name: str, runtime: SageMakerRuntimeClient, sagemaker: SageMakerClient) -> None:
        self.name = name
        self._runtime = runtime
        self._sagemaker = sagemaker

    @classmethod
    def connect(cls, name: str) -> Endpoint:
        """The endpoint of the account and region this function runs in."""
        return cls(
            name,
            boto3.client("sagemaker-runtime", config=_INVOKE),
            boto3.client("sagemaker", config=_DESCRIBE),
        )

    def generate(self, request: GenerateRequest) -> Generated:
        """Text from the model that serves now; during an update that is the old one.

        Raises an ApiError: InvalidRequest, NoEndpoint, Deploying, ModelFailed, ModelUnreachable, Throttled or
        NotPermitted.
        """
        # What was not asked for is left out; so models of before top_k and top_p still answer.
        body = {key: value for key, value in asdict(request).items() if value not in ("", None)}
        try:
            answer = self._runtime.invoke_endpoint(
                EndpointName=self.name,
                ContentType="application/json",
                Accept="application/json",
                Body=json.dumps(body),
            )
            content = answer["Body"].read()
        except ReadTimeoutError as error:
            raise ModelUnreachable("The model took too long to answer; ask for fewer words.") from error
        except ClientError as error:
            if _code(error) == "ValidationError":
                self._raise_by_status(error)
            raise _translated(error) from error
        except BotoCoreError as error:
            raise ModelUnreachable("The endpoint cannot be reached.") from error
        return _generated(content)

    def served(self) -> ServedModel:
        """What the endpoint serves, since when and how good it is, from Describe and tags.

        Raises an ApiError: NoEndpoint, Deploying, ModelUnreachable, Throttled or NotPermitted.
        """
        endpoint = self._describe()
        self._refuse_unless_live(endpoint)
        try:
            config = self._sagemaker.describe_endpoint_config(
                EndpointConfigName=endpoint["EndpointConfigName"]
            )
            pages = self._sagemaker.get_paginator("list_tags").paginate(
                ResourceArn=config["EndpointConfigArn"]
            )
            tags = {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
        except ClientError as error:
            if _code(error) == "ValidationException":
                # The config went between the two questions: an update has just ended.
                raise Deploying(
                    "The endpoint is changing to another model; ask again.", headers={"Retry-After": "1"}
                ) from error
            raise _translated(error) from error
        except BotoCoreError as error:
            raise ModelUnreachable("SageMaker cannot be reached.") from error
        perplexity = tags.get("lexline:test-perplexity")
        return ServedModel(
            endpoint=self.name,
            status=endpoint["EndpointStatus"],
            model=tags.get("lexline:model") or config["ProductionVariants"][0]["ModelName"],
            dataset=tags.get("lexline:dataset"),
            perplexity=float(perplexity) if perplexity else None,
            since=config["CreationTime"].isoformat(),
        )

    def _describe(self) -> DescribeEndpointOutputTypeDef:
        try:
            return self._sagemaker.describe_endpoint(EndpointName=self.name)
        except ClientError as error:
            if _code(error) == "ValidationException":
                raise NoEndpoint("There is no model yet: upload a corpus and let its run finish.") from error
            raise _translated(error) from error
        except BotoCoreError as error:
            raise ModelUnreachable("SageMaker cannot be reached.") from error

    def _refuse_unless_live(self, endpoint: DescribeEndpointOutputTypeDef) -> None:
        status = endpoint["EndpointStatus"]
        if status == "Creating":
            raise Deploying(
                "The first model is being deployed; ask again in a few minutes.",
                headers={"Retry-After": str(_DEPLOY_RETRY_SECONDS)},
            )
        if status == "Deleting":
            raise NoEndpoint("The model is being removed.")
        if status in ("Failed", "OutOfService"):
            raise ModelUnreachable("The endpoint failed and serves nothing; run the pipeline again.")

    def _raise_by_status(self, error: ClientError) -> NoReturn:
        # InvokeEndpoint says ValidationError both for no endpoint at all and for one that is not ready yet.
        self._refuse_unless_live(self._describe())
        raise ModelUnreachable("The endpoint refused the request.") from error


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _translated(error: ClientError) -> ApiError:
    """What a SageMaker error means to the caller. The text of AWS's message stays in the log."""
    code = _code(error)
    if code == "ModelError" and error.response.get("OriginalStatusCode") == BAD_REQUEST:
        # The model knows what the API does not, such as which words are in its vocabulary. Its sentence is
        # the first line; AWS's PyTorch image adds a stack trace.
        said = str(error.response.get("OriginalMessage", "")).partition("\n")[0][:LONGEST_SENTENCE]
        return InvalidRequest(said or "The model cannot use this request.")
    if code == "ModelError":
        return ModelFailed("The model failed on this request.")
    if code == "ModelNotReadyException":
        return Deploying("The model is starting; ask again in a moment.", headers={"Retry-After": "5"})
    if code in _THROTTLING:
        return Throttled("Too many requests at once; wait a moment.", headers={"Retry-After": "1"})
    if code in _DENIED:
        return NotPermitted(f"The API's role may not do sagemaker:{error.operation_name}.")
    return ModelUnreachable("The endpoint cannot be reached.")


def _generated(content: bytes) -> Generated:
    try:
        answer: Any = json.loads(content)
        return Generated(
            text=str(answer["text"]),
            words=int(answer["words"]),
            seed=int(answer["seed"]),
            model=str(answer["model"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ModelUnreachable("The endpoint gave an answer that is not the model's.") from error

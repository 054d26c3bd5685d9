"""The decorator for the handlers of steps and events: parsing, logs, traces, metrics and named errors."""

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar, cast

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ValidationError

from contracts.run import LeasedInput
from coordination import lease
from core.errors import InvalidInput, PipelineError, translated
from core.logging import logger, metrics, tracer
from core.text import sentence

# Where to find the correlation id: in a step's input, in the input of Plan and Report, or in an EventBridge
# event about an execution.
_CORRELATION = "run.name || execution.id || detail.executionArn"

Given = TypeVar("Given", bound=BaseModel)
Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


def step(contract: type[Given]) -> Callable[[Callable[[Given], BaseModel | None]], Handler]:
    """Return a decorator that makes a Lambda handler of a function from a contract to a document or None.

    Log lines carry the run's name as correlation id; if the name is not known, the execution's ARN, else the
    invocation's request id. If the contract is a LeasedInput, the lease is renewed before the function is
    called: a run that has lost its lease goes no further.

    Args:
        contract: what the event is parsed as.

    Raises:
        PipelineError: only errors of `core.errors`, which the state machine matches by class name.
    """

    def decorate(function: Callable[[Given], BaseModel | None]) -> Handler:
        name = function.__module__.rpartition(".")[2]

        @logger.inject_lambda_context(correlation_id_path=_CORRELATION, clear_state=True)
        @tracer.capture_lambda_handler(capture_response=False)
        @metrics.log_metrics
        @functools.wraps(function)
        def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
            if logger.get_correlation_id() is None:
                logger.set_correlation_id(context.aws_request_id)
            metrics.add_dimension(name="step", value=name)
            try:
                with translated():
                    given = parsed(event, contract)
                    if isinstance(given, LeasedInput):
                        lease.renew(given.run, given.lease)
                    result = function(given)
            except PipelineError as error:
                metrics.add_metric(name="Errors", unit=MetricUnit.Count, value=1)
                logger.warning(str(error), error=type(error).__name__)
                raise
            finally:
                metrics.add_metadata(key="correlation_id", value=logger.get_correlation_id())
            metrics.add_metric(name="Answers", unit=MetricUnit.Count, value=1)
            # Through JSON text, because only there infinity and NaN become strings (contracts.base).
            return json.loads(result.model_dump_json()) if result else {}

        return cast(Handler, handler)

    return decorate


def parsed(event: dict[str, Any], contract: type[Given]) -> Given:
    """Return the event as the contract.

    Raises:
        InvalidInput: fields are wrong; the message names each.
    """
    try:
        return parse(event=event, model=contract)
    except ValidationError as error:
        raise InvalidInput(sentence(error, contract)) from error

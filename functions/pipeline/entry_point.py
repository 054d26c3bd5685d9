"""What every step's handler shares: parsing, structured logs, traces, metrics, and errors with names."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar, cast

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ValidationError

from coordination import lease
from core.errors import InvalidInput, PipelineError, translated
from core.logging import logger, metrics, tracer
from core.text import sentence

# Of what the state machine passes: a step's, or Plan's and Report's. Then EventBridge's, of an execution.
_CORRELATION = "run.name || execution.id || detail.executionArn"

Given = TypeVar("Given", bound=BaseModel)
Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


def step(
    contract: type[Given], *, fenced: bool = True
) -> Callable[[Callable[[Given], BaseModel | None]], Handler]:
    """Make a Lambda handler of a function from a parsed `contract` to a document (or nothing).

    A contract with a lease has it renewed before the function is called, so a run that has lost it goes no
    further; `fenced` False leaves that to the function. Log lines carry the run's name as correlation id;
    where it is not known, the execution's ARN, or else the invocation's request id.
    Raises only errors of `errors.py`; the state machine matches them by class name.
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
                    if fenced and hasattr(given, "lease"):
                        lease.renew(given.run, given.lease)  # type: ignore[attr-defined]
                    answer = function(given)
            except PipelineError as error:
                metrics.add_metric(name="Errors", unit=MetricUnit.Count, value=1)
                logger.warning(str(error), error=type(error).__name__)
                raise
            finally:
                metrics.add_metadata(key="correlation_id", value=logger.get_correlation_id())
            metrics.add_metric(name="Answers", unit=MetricUnit.Count, value=1)
            # By way of JSON text, because only there infinity and NaN become strings (contracts.py).
            return json.loads(answer.model_dump_json()) if answer else {}

        return cast(Handler, handler)

    return decorate


def parsed(event: dict[str, Any], contract: type[Given]) -> Given:
    """`event` as `contract`; InvalidInput names each wrong field."""
    try:
        return parse(event=event, model=contract)
    except ValidationError as error:
        raise InvalidInput(sentence(error)) from error

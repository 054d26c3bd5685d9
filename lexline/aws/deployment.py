"""Deploy a model that was trained before: check it, and start the run that deploys it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lexline.aws import endpoint as endpoints
from lexline.aws import models, runs
from lexline.aws.models import Model
from lexline.aws.runs import Run, id_in
from lexline.aws.stack import Stack
from lexline.core.errors import UserError

PREVIOUS = "previous"
"""The model that served before the current one, in a request."""
_OTHER_MODELS = "`lexline models` lists the models. To deploy one of them: `lexline deploy MODEL`."


def check_approval(model: Model, *, force: bool) -> None:
    """Raise a UserError if a model is not approved and the user does not insist."""
    if not model.approved and not force:
        raise UserError(
            f"Version {model.version} ({model.name}) is {model.approval_word}: {model.reason}",
            "To deploy it anyway, add --force.",
        )


def rollback(stack: Stack) -> tuple[str, Model]:
    """Return the name of the model that serves, and the model that a rollback deploys.

    Raises:
        UserError: No model serves, or none served before it.
    """
    endpoint = endpoints.read(stack)
    if endpoint is None or not endpoint.serves:
        raise UserError(f"The endpoint {stack.endpoint} does not serve a model.", _OTHER_MODELS)
    current = endpoint.model or endpoint.config
    if not endpoint.previous:
        raise UserError(f"The endpoint {stack.endpoint} served no model before {current}.", _OTHER_MODELS)
    return current, models.find(stack, endpoint.previous)


def start(stack: Stack, model: str, fields: Mapping[str, Any]) -> Run:
    """Start a run that deploys a model.

    Args:
        stack: The stack whose endpoint gets the model.
        model: The model's name, or PREVIOUS.
        fields: Other fields of the request.
    """
    subject = "rollback" if model == PREVIOUS else f"deploy-{id_in(model)}"
    return runs.start(stack, subject, {"model": model, **fields})

"""Serve generated text: the four functions that SageMaker's PyTorch inference toolkit calls, one request at a
time. What requests and answers hold, inference.py says."""

import json
from typing import Any

from inference import JSON, InvalidRequest, Request, ServedModel, load, parse


def model_fn(model_dir: str) -> ServedModel:
    """Load an artifact."""
    return load(model_dir)


def input_fn(body: str | bytes, content_type: str | None) -> Request:
    """Check a request. What is wrong with it is answered with status 400."""
    try:
        return parse(body, content_type)
    except InvalidRequest as error:
        raise _with_status_400(error) from error


def predict_fn(request: Request, served: ServedModel) -> dict[str, Any]:
    """The answer. A prompt the model knows no word of is answered with status 400."""
    try:
        return served.generate(request)
    except InvalidRequest as error:
        raise _with_status_400(error) from error


def output_fn(prediction: dict[str, Any], accept: str) -> tuple[str, str]:
    """The answer is JSON, whatever was asked for."""
    return json.dumps(prediction, ensure_ascii=False), JSON


def _with_status_400(error: InvalidRequest) -> Exception:
    """The error in the form in which the inference toolkit carries a status; as it is where that is not
    installed."""
    try:
        from sagemaker_inference.errors import GenericInferenceToolkitError
    except ImportError:
        return error
    toolkit_error: Exception = GenericInferenceToolkitError(400, str(error))
    return toolkit_error

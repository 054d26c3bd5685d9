"""Serve texts in SageMaker's PyTorch image: the four functions that its inference toolkit calls.

The toolkit handles one request at a time. request_body.py documents requests, and inference.py
responses.
"""

import json
from typing import Any

from inference import JSON, ServedModel, load, parse
from request_body import InvalidRequest, Request, ScoreRequest


def model_fn(model_dir: str) -> ServedModel:
    """Load the artifact in a folder."""
    return load(model_dir)


def input_fn(body: str | bytes, content_type: str | None) -> Request | ScoreRequest:
    """Parse a request. An invalid one gets status 400."""
    try:
        return parse(body, content_type)
    except InvalidRequest as error:
        raise _with_status_400(error) from error


def predict_fn(request: Request | ScoreRequest, served: ServedModel) -> dict[str, Any]:
    """Generate or score the text. A prompt without a known word gets status 400."""
    try:
        return served.generate(request)
    except InvalidRequest as error:
        raise _with_status_400(error) from error


def output_fn(prediction: dict[str, Any], accept: str) -> tuple[str, str]:
    """Return the response as JSON, whatever the request accepts."""
    return json.dumps(prediction, ensure_ascii=False), JSON


def _with_status_400(error: InvalidRequest) -> Exception:
    """Return the error as the toolkit's class that carries a status; unchanged without the toolkit."""
    try:
        from sagemaker_inference.errors import GenericInferenceToolkitError
    except ImportError:
        return error
    toolkit_error: Exception = GenericInferenceToolkitError(400, str(error))
    return toolkit_error

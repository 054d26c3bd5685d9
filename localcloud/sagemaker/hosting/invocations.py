"""The runtime API, InvokeEndpoint. Unlike the control plane, it is REST and has its own error names.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

import re
import time
from collections.abc import Mapping

from localcloud.sagemaker.api.protocol import Response, response
from localcloud.sagemaker.core.context import Context
from localcloud.sagemaker.core.errors import (
    ModelError,
    PayloadTooLargeError,
    RuntimeValidationError,
    ServiceUnavailableError,
)
from localcloud.sagemaker.hosting.cloudwatch_metrics import Invocation
from localcloud.sagemaker.hosting.endpoints import Endpoints
from localcloud.sagemaker.hosting.launch import LOG_GROUP
from localcloud.sagemaker.processes.instance import InvocationResult

MAX_BODY = 6_291_456
"""Bytes of a request's body."""
_PATH = re.compile(r"^/endpoints/(?P<name>[^/]+)/invocations$")
_UNAVAILABLE = {
    "x-amzn-sagemaker-target-model": "Multi-model endpoints",
    "x-amzn-sagemaker-target-container-hostname": "Multi-container endpoints",
    "x-amzn-sagemaker-inference-component": "Inference components",
    "x-amzn-sagemaker-session-id": "Stateful sessions",
}


def endpoint_name(method: str, path: str) -> str | None:
    """Return the endpoint of an InvokeEndpoint request, or None for any other request."""
    match = _PATH.match(path)
    return match["name"] if match and method == "POST" else None


class Invocations:
    """Sends invocations to the fleets. Calls block until the model responds, for up to a minute."""

    def __init__(self, context: Context, endpoints: Endpoints) -> None:
        self._context = context
        self._endpoints = endpoints

    def invoke(self, name: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Handle InvokeEndpoint; the response has the model's body.

        Args:
            name: The endpoint's name.
            headers: The request's headers by lower-case name.
            body: The request's body.

        Raises:
            RuntimeValidationError: No variant can serve the request.
            PayloadTooLargeError: The body is too large.
            ServiceUnavailableError: /ping of no instance returns 200.
            ModelError: The model did not return 200.
        """
        began = time.perf_counter()
        if len(body) > MAX_BODY:
            raise PayloadTooLargeError(f"HTTP content length exceeded {MAX_BODY} bytes.")
        for header, feature in _UNAVAILABLE.items():
            if header in headers:
                raise RuntimeValidationError(f"{feature} are not available in the local cloud.")
        deployment = self._endpoints.hold_next(name)
        if deployment is None:
            raise RuntimeValidationError(
                f"Endpoint {name} of account {self._context.host.account} not found."
            )
        target = headers.get("x-amzn-sagemaker-target-variant")
        with deployment.released():
            variant = deployment.variant(target)
            if variant is None:
                raise RuntimeValidationError(
                    f"Variant {target} not found for endpoint {name}."
                    if target
                    else f"No variant of endpoint {name} has a weight above zero."
                )
            sent = time.perf_counter()
            result = variant.fleet.invoke(
                body,
                headers.get("content-type", "application/octet-stream"),
                headers.get("accept", "*/*"),
            )
            status = 503 if result is None else result.status
            self._endpoints.metrics.add(
                Invocation(
                    endpoint=deployment.endpoint,
                    config=deployment.config_name,
                    variant=variant.name,
                    instances=None if variant.serverless else variant.size.instance_count,
                    status=status,
                    model_latency=time.perf_counter() - sent,
                    overhead_latency=sent - began,
                )
            )
        if result is None:
            raise ServiceUnavailableError("No instance passes the health check. Try your call again.")
        if result.status != 200:
            raise self._model_error(name, result)
        return response(
            200, result.body, result.content_type, {"x-Amzn-Invoked-Production-Variant": variant.name}
        )

    def _model_error(self, name: str, result: InvocationResult) -> ModelError:
        host = self._context.host
        group = LOG_GROUP.format(name)
        text = result.body.decode(errors="replace")
        where = (
            f"See https://{host.region}.console.aws.amazon.com/cloudwatch/home?region={host.region}"
            f"#logEventViewer:group={group} in account {host.account} for more information."
        )
        if result.status == 0:
            what = "Received server error (0) from primary and could not load the entire response body."
        else:
            side = "client" if 400 <= result.status < 500 else "server"
            what = f'Received {side} error ({result.status}) from primary with message "{text}".'
        return ModelError(
            f"{what} {where}",
            original_status=result.status,
            original_message=text,
            log_stream=f"arn:aws:logs:{host.region}:{host.account}:log-group:{group}",
        )

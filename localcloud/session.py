"""A boto3 session that works on the local cloud, for programs that choose AWS's addresses themselves.

    from localcloud.session import Session
    sagemaker_session = sagemaker.Session(boto_session=Session())

The SageMaker SDK (2 and 3) creates its client of STS with AWS's own URL, to use the endpoint of the region. A
URL in the code wins over AWS_ENDPOINT_URL in the environment, so `get_execution_role()` and the name of the
default bucket would need AWS itself. The clients of this session go where the environment says, whatever the
code says. On AWS, where AWS_ENDPOINT_URL is not set, it is an ordinary session.

This module imports nothing but boto3, so it works in any environment.
"""

import os
from typing import Any

import boto3

_VARIABLE = "AWS_ENDPOINT_URL"


class Session(boto3.Session):
    """A boto3 session. If AWS_ENDPOINT_URL is set, all its clients and resources use that address."""

    def client(self, service_name: str, *arguments: Any, **options: Any) -> Any:
        """Return a client, as boto3 does."""
        return super().client(service_name, *arguments, **_here(options))  # type: ignore[call-overload]

    def resource(self, service_name: str, *arguments: Any, **options: Any) -> Any:
        """Return a resource, as boto3 does."""
        return super().resource(service_name, *arguments, **_here(options))  # type: ignore[call-overload]


def _here(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the environment's address instead of another one."""
    address = os.environ.get(_VARIABLE)
    return {**options, "endpoint_url": address} if address else options

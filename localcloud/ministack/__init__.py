"""MiniStack with AWS's behaviour where the pipeline needs it.

MiniStack has no plug-in interface. The modules here therefore replace functions of MiniStack's modules, and
no other package knows these functions. Each AWS service has a folder:

api_gateway, cloudformation, cloudwatch, eventbridge, iam, lambda_functions, s3, scheduler, step_functions

In each folder, `__init__.py` lists the modules, and its `patch()` applies them. The docstring of each module
says what AWS does, what MiniStack does, and what the module changes. Beside the folders:

core       options, regions, credentials, and the types of requests and responses
host       MiniStack's services, for the services that the local cloud adds
internals  a list of everything of MiniStack's that the modules use; another MiniStack is refused

MiniStack reads its options while it is imported: put `options()` into os.environ before you create a
`MiniStack`. No module imports MiniStack before that.
"""

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from localcloud.ministack import (
    api_gateway,
    cloudformation,
    cloudwatch,
    eventbridge,
    iam,
    lambda_functions,
    s3,
    scheduler,
    step_functions,
)
from localcloud.ministack.core import regions
from localcloud.ministack.core.asgi import AsgiApp, Handler, Receive, Scope, Send
from localcloud.ministack.core.credentials import new_credentials
from localcloud.ministack.core.options import options
from localcloud.ministack.host import MiniStackHost
from localcloud.ministack.iam.signatures import RequireSignature
from localcloud.ministack.internals import MiniStackMoved, raise_if_moved

Tags = Iterable[tuple[str, list[dict[str, str]]]]
"""ARNs, each with the tags of the resource as the API lists them."""

__all__ = ["AsgiApp", "MiniStack", "MiniStackMoved", "Receive", "Scope", "Send", "new_credentials", "options"]

_SERVICES = (
    api_gateway, cloudformation, cloudwatch, eventbridge, iam, lambda_functions, s3, scheduler,
    step_functions,
)  # fmt: skip
# The X-Ray SDK creates this file when a function imports it. It tells Lambda's daemon that the SDK is in use.
_TRACING_MARK = Path("/tmp/.aws-xray/initialized")  # noqa: S108 - the SDK's own choice


class MiniStack:
    """MiniStack in this process, with every patch applied. It refuses unsigned requests.

    Create at most one in a process, because MiniStack is a set of modules and not an object.

    Attributes:
        app: The ASGI application to serve.
    """

    def __init__(self, port: int) -> None:
        """Apply the patches.

        Args:
            port: The port on 127.0.0.1 at which `app` will be served.

        Raises:
            MiniStackMoved: The installed MiniStack is not the pinned release.
        """
        raise_if_moved()
        from ministack import app
        from ministack.core import lambda_runtime, router
        from ministack.services import iam as users
        from ministack.services import tagging

        self._app = app
        self._router = router
        self._runtime = lambda_runtime
        self._users = users
        self._tagging = tagging
        self._host = functools.cache(functools.partial(MiniStackHost, f"http://127.0.0.1:{port}"))
        for service in _SERVICES:
            service.patch()
        self._added: set[str] = set()
        app.fix_error_content_type = self._unless_added(app.fix_error_content_type)
        app.fix_success_content_type = self._unless_added(app.fix_success_content_type)
        self.app: AsgiApp = RequireSignature()

    def current_host(self) -> MiniStackHost:
        """Return MiniStack's services in the current request's region, for services added with `serve`."""
        return self._host(regions.current())

    async def add_administrator(self, name: str, access_key_id: str, secret_access_key: str) -> None:
        """Create an IAM user with these credentials who may do everything.

        A user differs from the root: MiniStack verifies a user's signatures and applies bucket policies to
        users.
        """
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        policy = {"Version": "2012-10-17", "Statement": [everything]}
        await self._call_iam("CreateUser", UserName=name)
        await self._call_iam(
            "PutUserPolicy", UserName=name, PolicyName="everything", PolicyDocument=json.dumps(policy)
        )
        self._users._access_keys[access_key_id] = {
            "UserName": name,
            "AccessKeyId": access_key_id,
            "SecretAccessKey": secret_access_key,
            "Status": "Active",
            "CreateDate": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def serve(
        self, service: str, target_prefix: str, handler: Handler, tags: Callable[[], Tags] | None = None
    ) -> None:
        """Add a service.

        MiniStack verifies the signatures of its requests. The handler itself authorizes them (see
        `MiniStackHost.authorize`), because only the handler knows the resources that a request names.

        Args:
            service: The service's name in the credential scope of signatures. It identifies REST calls, e.g.
                POST /endpoints/NAME/invocations.
            target_prefix: The start of the service's x-amz-target headers.
            handler: Returns the response to each request.
            tags: Returns the tags of every resource, which IAM compares with aws:ResourceTag in policies.
        """
        if tags:
            self._tagging._RESOURCE_TAG_COLLECTORS[service] = tags
        self._added.add(service)
        self._app.SERVICE_HANDLERS[service] = handler
        self._router.SERVICE_PATTERNS[service] = {
            "target_prefixes": [f"{target_prefix}."],
            "host_patterns": [rf"{service}\."],
            "credential_scope": service,
        }

    def close(self) -> None:
        """End every Lambda worker."""
        self._runtime.reset()
        remove_tracing_mark()

    def _unless_added(self, change: Callable[[str, int, dict[str, str]], None]) -> Any:
        """Return a function that leaves the Content-Type of the added services as it is."""

        def change_unless_added(service: str, status: int, headers: dict[str, str]) -> None:
            if service not in self._added:
                change(service, status, headers)

        return change_unless_added

    async def _call_iam(self, action: str, **parameters: str) -> None:
        form = urlencode({"Action": action, "Version": "2010-05-08", **parameters}).encode()
        content_type = {"content-type": "application/x-www-form-urlencoded"}
        status, _, body = await self._users.handle_request("POST", "/", content_type, form, {})
        if status != 200:
            raise RuntimeError(f"{action}: {body!r}")


def remove_tracing_mark(mark: Path = _TRACING_MARK) -> None:
    """Remove the X-Ray SDK's file, which is outside the state directory, and its folder."""
    with contextlib.suppress(OSError):
        mark.unlink()
        mark.parent.rmdir()

"""MiniStack as Lexline needs it, and the only package that knows its insides.

MiniStack has no plug-in interface, so what the local cloud adds is set into its modules here. A caller may
rely on:

- Nothing is served without a verified signature (`gate`), and a function's credentials are secret
  (`lambda_credentials`).
- A service may be added to it (`MiniStack.serve`), and has MiniStack's events, logs and permissions (`host`).
- Where MiniStack differs from AWS in something the pipeline depends on, it is mended: `lambda_failures`,
  `lambda_forks`, `lambda_layers`, `events`, `alarm_events`, `scheduler`, `step_functions`,
  `custom_resources`, `stack_deletion`, `alarms`, `embedded_metrics`, `leading_keys`, `api_gateway`,
  `transport`. Each says what AWS does and what MiniStack does.
- Another MiniStack than the pinned one is refused by the name of what has moved (`internals`).

MiniStack reads its settings while it is imported: put `settings()` into os.environ before making a
MiniStack. No module here imports one of MiniStack's before that.
"""

import contextlib
import json
import time
from pathlib import Path
from urllib.parse import urlencode

from localcloud.ministack import (
    alarm_events,
    alarms,
    api_gateway,
    custom_resources,
    embedded_metrics,
    events,
    lambda_credentials,
    lambda_failures,
    lambda_forks,
    lambda_layers,
    leading_keys,
    scheduler,
    stack_deletion,
    step_functions,
    transport,
)
from localcloud.ministack.asgi import AsgiApp, Handler, Receive, Scope, Send
from localcloud.ministack.credentials import new_credentials
from localcloud.ministack.gate import Gate
from localcloud.ministack.host import MiniStackHost
from localcloud.ministack.internals import MiniStackMoved, refuse_moved
from localcloud.ministack.settings import settings

__all__ = [
    "AsgiApp",
    "MiniStack",
    "MiniStackMoved",
    "Receive",
    "Scope",
    "Send",
    "new_credentials",
    "settings",
]

# The X-Ray SDK makes it where it is imported in a function, for Lambda's daemon to see that it is there.
_TRACING_MARK = Path("/tmp/.aws-xray/initialized")  # noqa: S108 - the SDK's own choice


class MiniStack:
    """MiniStack in this process, mended, with a gate before it.

    `app` is what to serve, `host` what an added service finds around it. At most one per process: MiniStack
    is a set of modules, not an object. Raises MiniStackMoved on any other release than the pinned one.
    """

    def __init__(self, port: int) -> None:
        refuse_moved()
        from ministack import app
        from ministack.core import lambda_runtime, router
        from ministack.services import iam

        self._app = app
        self._router = router
        self._runtime = lambda_runtime
        self._iam = iam
        self.host = MiniStackHost(f"http://127.0.0.1:{port}")
        transport.mend()
        lambda_failures.mend()
        lambda_credentials.mend()
        lambda_layers.mend()
        lambda_forks.mend()
        events.mend()
        alarm_events.mend()
        api_gateway.mend()
        step_functions.mend(self.host.log)
        scheduler.mend()
        custom_resources.mend()
        stack_deletion.mend()
        embedded_metrics.mend()
        alarms.mend()
        leading_keys.mend()
        self.app: AsgiApp = Gate()

    async def add_administrator(self, name: str, access_key_id: str, secret_access_key: str) -> None:
        """An IAM user who may do everything, with these credentials.

        A user and not the root: MiniStack verifies a user's signatures, and bucket policies hold for a user.
        """
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        }
        await self._iam_call("CreateUser", UserName=name)
        await self._iam_call(
            "PutUserPolicy", UserName=name, PolicyName="everything", PolicyDocument=json.dumps(policy)
        )
        self._iam._access_keys[access_key_id] = {
            "UserName": name,
            "AccessKeyId": access_key_id,
            "SecretAccessKey": secret_access_key,
            "Status": "Active",
            "CreateDate": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def serve(self, service: str, target_prefix: str, handler: Handler) -> None:
        """Let `handler` answer the service's requests.

        They are recognised by x-amz-target and by the credential scope, which covers REST calls such as
        POST /endpoints/NAME/invocations. MiniStack verifies the signature; what the caller may do is for the
        handler to ask (`host.authorize`), for it alone knows the resources a request names.
        """
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

    async def _iam_call(self, action: str, **parameters: str) -> None:
        form = urlencode({"Action": action, "Version": "2010-05-08", **parameters}).encode()
        content_type = {"content-type": "application/x-www-form-urlencoded"}
        status, _, body = await self._iam.handle_request("POST", "/", content_type, form, {})
        if status != 200:
            raise RuntimeError(f"{action}: {body!r}")


def remove_tracing_mark(mark: Path = _TRACING_MARK) -> None:
    """Remove what functions leave outside the state directory, and the folder it is in."""
    with contextlib.suppress(OSError):
        mark.unlink()
        mark.parent.rmdir()

"""The only module that knows MiniStack's insides.

MiniStack has no plug-in interface, so what Lexline's local cloud adds to it is set into its modules here: the
SageMaker service, a gate that lets no unsigned request through, and mends where it differs from AWS in
something the pipeline depends on. `INTERNALS` lists every function that is called or replaced, with its
parameters; a MiniStack whose list differs is refused at start, and by a test, instead of failing in stranger
ways later.

MiniStack reads its settings while it is imported: put `settings()` into os.environ before making a MiniStack.
"""

import contextvars
import functools
import hashlib
import hmac
import importlib
import importlib.metadata
import inspect
import json
import logging
import secrets
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from localcloud.sagemaker.host import AccessDenied

logger = logging.getLogger("localcloud")

VERSION = "1.5.33"
REGION = "us-east-1"
ACCOUNT = "000000000000"

SERVICES = (
    "apigateway", "cloudformation", "dynamodb", "events", "iam", "kms", "lambda", "logs", "monitoring", "s3",
    "secretsmanager", "sns", "sqs", "ssm", "states", "sts", "tagging",
)  # fmt: skip
"""MiniStack's services that answer. None of these opens a port of its own."""

INTERNALS = {
    "ministack.app:app": "(scope, receive, send)",
    "ministack.app:_credential_failure": "(service, iam_action, request_id, denied, headers)",
    "ministack.app:pin_request_origin": "(source_ip, secure_transport)",
    "ministack.app:_parse_execute_api_url": "(host, path)",
    "ministack.core.iam_actions:extract_resource_arn": (
        "(service, method, path, headers, body, query_params, region, account_id)"
    ),
    "ministack.core.iam_actions:identity_denial_message": "(action, principal_arn, resource, explicit_deny)",
    "ministack.core.iam_evaluator:_gather_role_policies": "(role_name, account_id)",
    "ministack.core.iam_evaluator:_permissions_boundary": "(store, name, account_id)",
    "ministack.core.iam_evaluator:_service_principal_matches": "(principal, service)",
    "ministack.core.iam_evaluator:enforce": (
        "(access_key_id, iam_action, service, region, resource_arn, service_context)"
    ),
    "ministack.core.iam_evaluator:evaluate": "(ctx, policies, limits)",
    "ministack.core.iam_evaluator:evaluate_resource_policy": "(doc, ctx, service, named_only, direct_only)",
    "ministack.core.iam_evaluator:is_root_access_key": "(access_key_id)",
    "ministack.core.lambda_runtime:Worker.invoke": (
        "(self, event, request_id, trace_id, depth, durable, invoked_function_arn)"
    ),
    "ministack.core.lambda_runtime:execution_credentials": "(config)",
    "ministack.core.lambda_runtime:reset": "()",
    "ministack.core.router:detect_service": "(method, path, headers, query_params)",
    "ministack.core.router:extract_access_key_id": "(headers, query_params)",
    "ministack.services.apigateway_v1:_import_rest_api": "(spec, base_data)",
    "ministack.services.apigateway_v1:_put_gateway_response": "(api_id, response_type, data)",
    "ministack.services.cloudwatch_logs:_create_log_group": "(data)",
    "ministack.services.cloudwatch_logs:_create_log_stream": "(data)",
    "ministack.services.cloudwatch_logs:_put_log_events": "(data)",
    "ministack.services.eventbridge:_dispatch_event": "(event, view)",
    "ministack.services.eventbridge:_dispatch_to_lambda": "(arn, payload)",
    "ministack.services.eventbridge:_invoke_target": "(target, event, rule, view)",
    "ministack.services.eventbridge:_put_events": "(data, allow_aws_source)",
    "ministack.services.iam:handle_request": "(method, path, headers, body, query_params)",
    "ministack.services.lambda_svc:_execute_function_warm": "(func, event, request_id)",
    "ministack.services.lambda_svc:_execution_record_for_config": "(func, config)",
    "ministack.services.lambda_svc:_get_func_record_for_ref": "(function_ref)",
    "ministack.services.lambda_svc:execution_credentials": "(config)",
    "ministack.services.lambda_svc:function_policy_for_arn": "(resource_arn)",
    "ministack.services.lambda_svc:invoke_async_with_retry": "(func, event)",
    "ministack.services.s3:_fire_s3_event": (
        "(bucket_name, key, event_name, size, etag, deletion_type, restore_event_data, version_id, "
        "sequencer, object_extra, record_extra)"
    ),
    "ministack.services.stepfunctions:_add_event": "(execution, event_type, details)",
    "ministack.services.stepfunctions:_apply_jsonata_arguments": "(state_def, raw_input, ctx)",
    "ministack.services.stepfunctions:_apply_jsonata_template": (
        "(value, raw_input, ctx, result, error_output)"
    ),
    "ministack.services.stepfunctions:_apply_state_assign": (
        "(state_def, raw_input, ctx, result, error_output)"
    ),
    "ministack.services.stepfunctions:_apply_catcher": (
        "(catcher, raw_input, ctx, query_language, error_output)"
    ),
    "ministack.services.stepfunctions:_apply_jsonata_output": (
        "(state_def, raw_input, ctx, result, error_output, default)"
    ),
    "ministack.services.stepfunctions:_call_lambda": "(func_ref, event)",
    "ministack.services.stepfunctions:_emit_execution_status_event": "(execution)",
    "ministack.services.stepfunctions:_fail_execution": "(execution, error, cause)",
    "ministack.services.stepfunctions:_find_matching_catcher": "(catchers, error)",
    "ministack.services.stepfunctions:_find_matching_retrier": "(retriers, error, retry_counts)",
    "ministack.services.stepfunctions:_invoke_resource": "(resource, input_data)",
    "ministack.services.stepfunctions:_invoke_resource_with_timeout": "(resource, input_data, timeout)",
    "ministack.services.stepfunctions:_invoke_with_callback": "(resource, input_data, token, state_def)",
    "ministack.services.stepfunctions:_resolve_lambda_function_ref": "(value, optimized)",
    "ministack.services.stepfunctions:_run_execution": "(exec_arn)",
    "ministack.services.stepfunctions:_scaled_sleep": "(seconds)",
    "ministack.services.stepfunctions:_send_task_failure": "(data)",
    "ministack.services.stepfunctions:_send_task_heartbeat": "(data)",
    "ministack.services.stepfunctions:_send_task_success": "(data)",
    "ministack.services.stepfunctions:_state_query_language": "(state_def, ctx)",
    "ministack.services.stepfunctions:_stop_execution": "(data)",
    "ministack.services.stepfunctions:_test_state": "(data)",
    "ministack.services.sts:register_session": "(access_key, session)",
}
"""Everything of MiniStack's that is called or replaced here, as module:name, with its parameters' names."""

STORES = (
    "ministack.app:SERVICE_HANDLERS",
    "ministack.core.iam_evaluator:AuthError",
    "ministack.core.iam_evaluator:EvalContext",
    "ministack.core.lambda_runtime:_PYTHON_WORKER_SCRIPT",
    "ministack.core.router:SERVICE_PATTERNS",
    "ministack.services.iam:_access_keys",
    "ministack.services.iam:_roles",
    "ministack.services.stepfunctions:_ExecutionError",
    "ministack.services.stepfunctions:_executions",
    "ministack.services.stepfunctions:_state_machines",
    "ministack.services.stepfunctions:_task_tokens",
    "ministack.services.sts:_sessions",
)
"""The tables, classes and texts of MiniStack's that are read or written here."""

Answer = tuple[int, dict[str, str], bytes]
Handler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Answer]]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class MiniStackMoved(RuntimeError):
    """The installed MiniStack is not the one this module was written for."""


def settings(state: Path, port: int) -> dict[str, str]:
    """The environment MiniStack is to be imported in, and its Lambda functions run in.

    Everything it stores lies below `state`. The root credentials are made up and told to nobody: MiniStack
    does not verify the signatures of a root key, so nobody is to have one (see `add_administrator`).
    """
    endpoint = f"http://127.0.0.1:{port}"
    return {
        "AUTH": "true",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "SERVICES": ",".join(SERVICES),
        "LAMBDA_EXECUTOR": "local",
        # Listeners that would start by themselves, and on every interface.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # At its start MiniStack removes the containers of other MiniStacks from a Docker it can reach.
        "DOCKER_HOST": f"unix://{state / 'no-docker.sock'}",
        "PERSIST_STATE": "0",
        "STATE_DIR": str(state / "ministack"),
        # Objects go to disk instead of staying in memory; a corpus may be a GiB.
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        # Lambda functions are unpacked and run below the temporary directory.
        "TMPDIR": str(state / "tmp"),
        "AWS_ACCESS_KEY_ID": _access_key("AKIA"),
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        # There is no X-Ray daemon here; Powertools' tracer then does nothing instead of complaining.
        "POWERTOOLS_TRACE_DISABLED": "true",
        "AWS_XRAY_SDK_ENABLED": "false",
        "AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR",
    }


def new_credentials() -> tuple[str, str]:
    """A random access key id and secret of AWS's shape, for an IAM user."""
    return _access_key("AKIA"), secrets.token_urlsafe(30)


def moved() -> list[str]:
    """What differs between the installed MiniStack and the one this module was written for."""
    found = []
    installed = importlib.metadata.version("ministack")
    if installed != VERSION:
        found.append(f"version is {installed}, not {VERSION}")
    for name, parameters in INTERNALS.items():
        target = _internal(name)
        if target is None:
            found.append(f"{name} is gone")
        elif (actual := f"({', '.join(inspect.signature(target).parameters)})") != parameters:
            found.append(f"{name} takes {actual}, not {parameters}")
    found += [f"{name} is gone" for name in STORES if _internal(name) is None]
    script = str(_internal("ministack.core.lambda_runtime:_PYTHON_WORKER_SCRIPT"))
    found += [
        f"the Lambda worker's script lacks {old.strip()!r}"
        for old, _ in _WORKER_MENDS
        if script.count(old) != 1
    ]
    return found


class MiniStack:
    """MiniStack in this process, mended, with a gate before it. It is the SageMaker service's `Host`.

    At most one per process: MiniStack is a set of modules, not an object. Raises MiniStackMoved on any other
    release than the pinned one.
    """

    def __init__(self, port: int) -> None:
        if differences := moved():
            raise MiniStackMoved(
                f"Lexline's local cloud is written for MiniStack {VERSION}: " + "; ".join(differences)
            )
        self.region = REGION
        self.account = ACCOUNT
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self._app = importlib.import_module("ministack.app")
        self._actions = importlib.import_module("ministack.core.iam_actions")
        self._evaluator = importlib.import_module("ministack.core.iam_evaluator")
        self._router = importlib.import_module("ministack.core.router")
        self._runtime = importlib.import_module("ministack.core.lambda_runtime")
        self._events = importlib.import_module("ministack.services.eventbridge")
        self._iam = importlib.import_module("ministack.services.iam")
        self._logs = importlib.import_module("ministack.services.cloudwatch_logs")
        self._sts = importlib.import_module("ministack.services.sts")
        self._logs_lock = threading.Lock()
        _mend_transport(self._app)
        _mend_lambda(self._runtime, importlib.import_module("ministack.services.lambda_svc"), self._sts)
        _mend_events(self._events, importlib.import_module("ministack.services.s3"))
        _mend_api_import(importlib.import_module("ministack.services.apigateway_v1"))
        states = importlib.import_module("ministack.services.stepfunctions")
        step_functions = _StepFunctions(states, self.log)
        step_functions.mend()
        step_functions.mend_authorization(self._actions)
        self.app: AsgiApp = self._gate

    # --- what the server does with it ---

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
        handler to ask (`authorize`), for it alone knows the resources a request names.
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

    # --- Host ---

    def emit(self, detail_type: str, detail: Mapping[str, Any], resources: list[str]) -> None:
        """See `localcloud.sagemaker.host.Host`."""
        entry = {
            "Source": "aws.sagemaker",
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Resources": resources,
        }
        self._events._put_events({"Entries": [entry]}, allow_aws_source=True)

    def log(self, group: str, stream: str, lines: list[tuple[int, str]]) -> None:
        """See `localcloud.sagemaker.host.Host`."""
        name = {"logGroupName": group}
        with self._logs_lock:
            # Both answer ResourceAlreadyExistsException when it is there, which is as good.
            self._logs._create_log_group(dict(name))
            self._logs._create_log_stream({**name, "logStreamName": stream})
            events = [{"timestamp": timestamp, "message": message} for timestamp, message in lines]
            self._logs._put_log_events({**name, "logStreamName": stream, "logEvents": events})

    def role_environment(self, role_arn: str, session: str) -> dict[str, str]:
        """See `localcloud.sagemaker.host.Host`."""
        name = role_arn.rsplit("/", 1)[-1]
        role = self._iam._roles.get(name)
        if role is None or role.get("Arn") != role_arn:
            raise LookupError(f"There is no role {role_arn}")
        if not self._trusts(role, "sagemaker.amazonaws.com"):
            raise LookupError(f"The role {role_arn} does not trust sagemaker.amazonaws.com")
        key, secret = _access_key("ASIA"), secrets.token_urlsafe(30)
        token = secrets.token_urlsafe(96)
        self._sts.register_session(
            key,
            {
                "Arn": f"arn:aws:sts::{self.account}:assumed-role/{name}/{session[:64]}",
                "UserId": f"{role.get('RoleId', name)}:{session[:64]}",
                "SecretAccessKey": secret,
                "SessionToken": token,
            },
        )
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def authorize(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, Any],
        action: str,
        resource: str,
    ) -> None:
        """See `localcloud.sagemaker.host.Host`."""
        self._enforce(headers, query, action, resource, {})

    def authorize_pass_role(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, Any],
        role_arn: str,
    ) -> None:
        """See `localcloud.sagemaker.host.Host`."""
        passed_to = {"iam:PassedToService": "sagemaker.amazonaws.com"}
        self._enforce(headers, query, "iam:PassRole", role_arn, passed_to)

    def _enforce(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Any],
        action: str,
        resource: str,
        context: dict[str, str],
    ) -> None:
        key = self._router.extract_access_key_id(dict(headers), dict(query))
        # An empty key is the root's to MiniStack; here it only means that nobody signed.
        if not key:
            raise AccessDenied(f"Nobody signed the request for {action} on {resource}")
        denied = self._evaluator.enforce(
            key, action, action.split(":")[0], self.region, resource_arn=resource, service_context=context
        )
        if denied is None:
            return
        if not hasattr(denied, "principal_arn"):
            raise AccessDenied(denied.message)
        raise AccessDenied(
            self._actions.identity_denial_message(
                action, denied.principal_arn, resource, denied.decision == "Deny"
            )
        )

    def _trusts(self, role: Mapping[str, Any], service: str) -> bool:
        document = role.get("AssumeRolePolicyDocument") or {}
        if isinstance(document, str):
            document = json.loads(document)
        statements = document.get("Statement", [])
        return any(
            statement.get("Effect") == "Allow"
            and "sts:AssumeRole" in _listed(statement.get("Action"))
            and self._evaluator._service_principal_matches(statement.get("Principal"), service)
            for statement in _listed(statements)
        )

    async def _iam_call(self, action: str, **parameters: str) -> None:
        form = urlencode({"Action": action, "Version": "2010-05-08", **parameters}).encode()
        content_type = {"content-type": "application/x-www-form-urlencoded"}
        status, _, body = await self._iam.handle_request("POST", "/", content_type, form, {})
        if status != 200:
            raise RuntimeError(f"{action}: {body!r}")

    # --- the gate ---

    async def _gate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what MiniStack would serve without a verified signature, hand it everything else.

        MiniStack treats a missing key, "test" and any 12 digits as the root, takes the root's word for it,
        and has unauthenticated helpers of its own (under /_ministack/ and /_aws/). AWS has none of these.
        """
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            headers = {
                key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]
            }
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
            refusal = self._refusal(scope["method"], scope["path"], headers, query)
            if refusal is not None:
                status, answer_headers, body = refusal
                while (await receive()).get("more_body"):
                    pass
                raw = [(key.encode(), value.encode()) for key, value in answer_headers.items()]
                raw.append((b"content-length", str(len(body)).encode()))
                await send({"type": "http.response.start", "status": status, "headers": raw})
                await send({"type": "http.response.body", "body": body})
                return
        await self._app.app(scope, receive, send)

    def _refusal(
        self, method: str, path: str, headers: dict[str, str], query: dict[str, list[str]]
    ) -> Answer | None:
        if path in ("/_ministack/health", "/_ministack/ready"):
            return None
        # Authorized by the API itself: key, IAM or none, as its template says.
        if self._app._parse_execute_api_url(headers.get("host", ""), path) is not None:
            return None
        # CloudFormation's callbacks, whose path is the secret, as a pre-signed URL is on AWS.
        if path.startswith(("/_ministack/cfn-response/", "/_ministack/cfn-signal/")):
            return None
        if path.startswith(("/_", "/health")):
            return _refuse_json(403, "AccessDeniedException", "There is nothing here.")
        authorization = headers.get("authorization", "")
        if not authorization.startswith("AWS4-HMAC-SHA256 ") and "X-Amz-Signature" not in query:
            code, message = "MissingAuthenticationToken", "Missing Authentication Token"
        elif self._evaluator.is_root_access_key(self._router.extract_access_key_id(headers, query)):
            code, message = "InvalidClientTokenId", "The security token included in the request is invalid."
        else:
            return None
        service = self._router.detect_service(method, path, headers, query)
        if service == "unknown_query":
            service = "iam"
        failure = self._evaluator.AuthError(code, message)
        # It knows the protocol, and the name of the error in it, of every service.
        answer: Answer = self._app._credential_failure(service, "", str(uuid.uuid4()), failure, headers)
        return answer


# --- mends: transport ---


def _mend_transport(app: Any) -> None:
    """Count the loopback as secure transport.

    A bucket policy that denies what does not come over TLS is right on AWS, where requests cross networks.
    Here they never leave the machine.
    """
    original = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, secure_transport: original(source_ip, True)


# --- mends: API Gateway ---


def _mend_api_import(apigateway: Any) -> None:
    """An API imported from OpenAPI also gets the gateway responses that its document defines."""
    original = apigateway._import_rest_api

    @functools.wraps(original)
    def importing(spec: dict[str, Any], base_data: dict[str, Any] | None = None) -> str:
        api_id: str = original(spec, base_data)
        for response_type, response in spec.get("x-amazon-apigateway-gateway-responses", {}).items():
            status, _, body = apigateway._put_gateway_response(api_id, response_type, response)
            if status >= 400:
                raise ValueError(f"Gateway response {response_type}: {body!r}")
        return api_id

    apigateway._import_rest_api = importing


# --- mends: Lambda ---

_WORKER_MENDS = (
    # A worker may be in its handler when the server dies, and reads nothing then: a thread watches standard
    # input for the hang-up. Asking poll(2) for no event leaves the data alone; a hang-up is always reported.
    (
        "import sys, json, importlib, traceback, os, time\n",
        """import sys, json, importlib, traceback, os, time, select, threading

def _end_with_server():
    server = select.poll()
    server.register(0, 0)
    server.poll()
    os._exit(1)

threading.Thread(target=_end_with_server, daemon=True).start()
""",
    ),
    # What AWS's runtime reports: the class's name and the frames from the handler on.
    (
        """        except Exception as e:
            _real_stdout.write(json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()})""",  # noqa: E501
        """        except Exception as e:
            _ms_frames = traceback.format_list(traceback.extract_tb(e.__traceback__)[1:])
            _ms_trace = traceback.format_exc()
            _real_stdout.write(json.dumps({"status": "error", "error": str(e), "trace": _ms_trace,
                "failure": {"errorMessage": str(e), "errorType": type(e).__name__,
                            "requestId": context.aws_request_id, "stackTrace": _ms_frames}})""",
    ),
    # The same for a module that cannot be imported.
    (
        """    except Exception as e:
        _real_stdout.write(json.dumps({"status": "error", "error": str(e)})""",
        """    except Exception as e:
        _real_stdout.write(json.dumps({"status": "error", "error": json.dumps(
            {"class": type(e).__name__, "import": isinstance(e, ImportError), "message": str(e),
             "module": module_name, "trace": traceback.format_exc()})})""",
    ),
)
_INIT_FAILED = "Worker init failed: "


def _mend_lambda(runtime: Any, service: Any, sts: Any) -> None:
    """A failed function says what it does on AWS; workers die with the server; credentials are secret."""
    for old, new in _WORKER_MENDS:
        runtime._PYTHON_WORKER_SCRIPT = runtime._PYTHON_WORKER_SCRIPT.replace(old, new)

    invocation = threading.local()
    invoke = runtime.Worker.invoke
    execute = service._execute_function_warm

    @functools.wraps(invoke)
    def remembering(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = invoke(self, *args, **kwargs)
        invocation.failure = response.get("failure")
        return response

    @functools.wraps(execute)
    def reporting(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        invocation.failure = None
        result: dict[str, Any] = execute(func, event, request_id)
        body = result.get("body")
        if result.get("error") and isinstance(body, dict):
            body, log = _lambda_failure(body, invocation.failure)
            result = {**result, "body": body, "log": log or result.get("log", "")}
        return result

    runtime.Worker.invoke = remembering
    service._execute_function_warm = reporting

    credentials = runtime.execution_credentials
    salt = secrets.token_bytes(32)

    @functools.wraps(credentials)
    def secret_credentials(config: dict[str, Any]) -> dict[str, str]:
        # MiniStack derives them from the function's ARN alone, so anyone could; a salt makes them secret.
        derived: dict[str, str] = credentials(config)
        session = sts._sessions.pop(derived["AWS_ACCESS_KEY_ID"])

        def salted(name: str) -> str:
            return hmac.new(salt, f"{name}{derived[name]}".encode(), hashlib.sha256).hexdigest()

        key = f"ASIA{salted('AWS_ACCESS_KEY_ID')[:16].upper()}"
        secret, token = salted("AWS_SECRET_ACCESS_KEY"), salted("AWS_SESSION_TOKEN")
        sts.register_session(key, {**session, "SecretAccessKey": secret, "SessionToken": token})
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}

    runtime.execution_credentials = secret_credentials
    service.execution_credentials = secret_credentials


def _lambda_failure(body: dict[str, Any], failure: dict[str, Any] | None) -> tuple[dict[str, Any], str]:
    """The payload AWS gives for a failed invocation, and what else belongs in its log.

    `body` is MiniStack's own account of it, `failure` what the worker said of its handler's exception.
    """
    if failure is not None:
        return failure, ""
    message = str(body.get("errorMessage", ""))
    if message == "Worker process died":
        # sys.exit, a signal, the out-of-memory killer.
        return {"errorType": "Runtime.ExitError", "errorMessage": "Error: Runtime exited"}, ""
    if message.startswith(_INIT_FAILED):
        try:
            init = json.loads(message.removeprefix(_INIT_FAILED))
        except json.JSONDecodeError:
            return body, ""
        if init["import"]:
            said = f"Unable to import module '{init['module']}': {init['message']}"
            return {"errorType": "Runtime.ImportModuleError", "errorMessage": said, "stackTrace": []}, init[
                "trace"
            ]
        return {"errorType": init["class"], "errorMessage": init["message"], "stackTrace": []}, init["trace"]
    return body, ""


# --- mends: events ---

_uploaded_version: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "uploaded_version", default=None
)


def _mend_events(events: Any, s3: Any) -> None:
    """S3's events carry the version id; targets are called as AWS calls them, and only if that is allowed."""
    fire = s3._fire_s3_event
    dispatch = events._dispatch_event
    invoke_target = events._invoke_target

    @functools.wraps(fire)
    def firing(*args: Any, **kwargs: Any) -> None:
        version = inspect.signature(fire).bind(*args, **kwargs).arguments.get("version_id")
        previous = _uploaded_version.set(version)
        try:
            fire(*args, **kwargs)
        finally:
            _uploaded_version.reset(previous)

    @functools.wraps(dispatch)
    def dispatching(event: dict[str, Any], view: Any = None) -> None:
        version = _uploaded_version.get()
        if view is None and event.get("Source") == "aws.s3" and version:
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        dispatch(event, view)

    @functools.wraps(invoke_target)
    def invoking(
        target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None
    ) -> None:
        if refusal := _target_refusal(target, rule):
            # On AWS this is a FailedInvocations metric and nothing else.
            logger.warning("EventBridge rule %s: %s", rule.get("Name"), refusal)
            return
        invoke_target(target, event, rule, view)

    def invoking_lambda(arn: str, payload: str) -> None:
        service = importlib.import_module("ministack.services.lambda_svc")
        function, config, name = service._get_func_record_for_ref(arn)
        if not function or not config:
            logger.warning("EventBridge: there is no function %s", name)
            return
        # Asynchronous invocation: AWS tries twice more when the function fails.
        service.invoke_async_with_retry(
            service._execution_record_for_config(function, config), json.loads(payload)
        )

    s3._fire_s3_event = firing
    events._dispatch_event = dispatching
    events._invoke_target = invoking
    events._dispatch_to_lambda = invoking_lambda


def _target_refusal(target: Mapping[str, Any], rule: Mapping[str, Any]) -> str | None:
    """Why EventBridge may not call this target: by the target's role, or by the function's own policy."""
    arn = str(target.get("Arn", ""))
    if ":states:" in arn:
        role = str(target.get("RoleArn", ""))
        if not role:
            return f"the target {arn} has no RoleArn"
        return _role_denial(role, "events", "states:StartExecution", arn)
    if ":lambda:" in arn:
        evaluator = importlib.import_module("ministack.core.iam_evaluator")
        service = importlib.import_module("ministack.services.lambda_svc")
        found = service.function_policy_for_arn(arn)
        context = evaluator.EvalContext(
            principal_arn="events.amazonaws.com",
            principal_type="Service",
            principal_account=ACCOUNT,
            action="lambda:InvokeFunction",
            resource_arn=arn,
            region=REGION,
            service_context={"aws:sourcearn": rule.get("Arn", ""), "aws:sourceaccount": ACCOUNT},
        )
        policy = found[0] if found else None
        decision = evaluator.evaluate_resource_policy(
            policy, context, service="events.amazonaws.com"
        ).decision
        if decision != "Allow":
            return f"the policy of {arn} does not let events.amazonaws.com invoke it"
    return None


def _role_denial(role_arn: str, session: str, action: str, resource: str) -> str | None:
    """AWS's message when a session of the role may not do this, or None when it may."""
    evaluator = importlib.import_module("ministack.core.iam_evaluator")
    actions = importlib.import_module("ministack.core.iam_actions")
    iam = importlib.import_module("ministack.services.iam")
    name = role_arn.rsplit("/", 1)[-1]
    principal = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}"
    context = evaluator.EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=action,
        resource_arn=resource,
        region=REGION,
    )
    policies = evaluator._gather_role_policies(name, ACCOUNT)
    limits = evaluator._permissions_boundary(iam._roles, name, ACCOUNT)
    result = evaluator.evaluate(context, policies, *limits)
    if result.decision == "Allow":
        return None
    return str(actions.identity_denial_message(action, principal, resource, result.decision == "Deny"))


# --- mends: Step Functions ---

_current_execution: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "current_execution", default=None
)
_time_limit: contextvars.ContextVar[float | None] = contextvars.ContextVar("time_limit", default=None)


class _Ended(BaseException):
    """Unwinds an execution that was stopped or timed out, past any Retry and Catch."""


_FATAL = ("ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut")
_LOGGED = {"FATAL": _FATAL, "ERROR": (*_FATAL, "TaskFailed", "TaskTimedOut", "FailStateEntered")}
"""The history's events that a machine's log gets at each level; at ALL it gets every one."""


class _StepFunctions:
    """Step Functions as AWS runs it, where MiniStack's differs in something the pipeline depends on.

    - A function called with .waitForTaskToken that fails, fails its task, at once.
    - A token is good for one attempt of one task and for one answer: later answers are TaskTimedOut.
    - An execution that was stopped stays ABORTED, and no retry or state of it runs any more.
    - The machine's TimeoutSeconds ends an execution as TIMED_OUT.
    - The machine's role must allow lambda:InvokeFunction on the function.
    - One Assign's expressions all see the variables as they were before it.
    - TimeoutSeconds may be an expression.
    - TestState evaluates a JSONata task's Arguments, Output, Assign, Retry and Catch, and takes variables.
    - The history goes to the log group the machine names, at the level it names.
    """

    def __init__(self, service: Any, log: Callable[[str, str, list[tuple[int, str]]], None]) -> None:
        self._service = service
        self._log = log
        self._lock = threading.Lock()
        self._answered: set[str] = set()
        self._machine_of_token: dict[str, str] = {}
        self._run = service._run_execution
        self._fail = service._fail_execution
        self._stop = service._stop_execution
        self._call = service._call_lambda
        self._sleep = service._scaled_sleep
        self._with_callback = service._invoke_with_callback
        self._with_timeout = service._invoke_resource_with_timeout
        self._add_event = service._add_event
        self._test = service._test_state
        self._arguments = service._apply_jsonata_arguments

    def mend(self) -> None:
        service = self._service
        service._run_execution = self.run_execution
        service._fail_execution = self.fail_execution
        service._stop_execution = self.stop_execution
        service._call_lambda = self.call_lambda
        service._scaled_sleep = self.scaled_sleep
        service._invoke_with_callback = self.invoke_with_callback
        service._invoke_resource_with_timeout = self.invoke_with_timeout
        service._add_event = self.add_event
        service._test_state = self.test_state
        service._apply_jsonata_arguments = self.apply_arguments
        service._apply_state_assign = self.apply_assign
        service._send_task_success = self.answering(service._send_task_success)
        service._send_task_failure = self.answering(service._send_task_failure)
        service._send_task_heartbeat = self.answering(service._send_task_heartbeat)

    def mend_authorization(self, actions: Any) -> None:
        """SendTask* is authorized on the state machine that gave out the token, as on AWS; not on `*`."""
        original = actions.extract_resource_arn

        @functools.wraps(original)
        def resource(
            service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any
        ) -> str:
            if service == "states" and ".SendTask" in headers.get("x-amz-target", ""):
                token = json.loads(body or b"{}").get("taskToken")
                return self._machine_of_token.get(token, "*")
            arn: str = original(service, method, path, headers, body, *rest)
            return arn

        actions.extract_resource_arn = resource

    # An execution's life

    def run_execution(self, exec_arn: str) -> None:
        execution = self._service._executions.get(exec_arn)
        if execution is None:
            return
        _current_execution.set(execution)
        with self._time_limit(execution):
            try:
                self._run(exec_arn)
            except _Ended:
                return

    @contextmanager
    def _time_limit(self, execution: dict[str, Any]) -> Iterator[None]:
        machine = self._service._state_machines.get(execution["stateMachineArn"]) or {}
        try:
            seconds = json.loads(machine.get("definition", "{}")).get("TimeoutSeconds")
        except json.JSONDecodeError:
            seconds = None
        if seconds is None:
            yield
            return
        # A timer thread starts without this thread's account and region.
        context = contextvars.copy_context()
        timer = threading.Timer(seconds, lambda: context.run(self._time_out, execution))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _time_out(self, execution: dict[str, Any]) -> None:
        if execution["status"] != "RUNNING":
            return
        execution["status"] = "TIMED_OUT"
        execution["stopDate"] = _now()
        execution["error"] = "States.Timeout"
        self._service._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
        self._service._emit_execution_status_event(execution)
        self._wake(execution["executionArn"])

    def stop_execution(self, data: dict[str, Any]) -> Any:
        answer = self._stop(data)
        self._wake(data.get("executionArn"))
        return answer

    def fail_execution(self, execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            self._fail(execution, error, cause)

    def _wake(self, exec_arn: str | None) -> None:
        """Let the tasks of an execution that has ended wait no longer."""
        with self._lock:
            for token in list(self._service._task_tokens):
                waiting = self._service._task_tokens.get(token) or {}
                execution = waiting.get("execution") or {}
                if execution.get("executionArn") == exec_arn and execution["status"] != "RUNNING":
                    waiting["event"].set()

    def _still_running(self) -> None:
        execution = _current_execution.get()
        if execution is not None and execution["status"] != "RUNNING":
            raise _Ended

    def add_event(self, execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
        """Add to the history, and to the machine's log; nobody's permission to write it is asked for here."""
        event = self._add_event(execution, event_type, details)
        self._log_event(execution, event)
        return event

    def _log_event(self, execution: dict[str, Any], event: dict[str, Any]) -> None:
        # TestState runs a state of no machine.
        machine = self._service._state_machines.get(execution.get("stateMachineArn")) or {}
        logging_configuration = machine.get("loggingConfiguration") or {}
        level = logging_configuration.get("level", "OFF")
        if level != "ALL" and event["type"] not in _LOGGED.get(level, ()):
            return
        told: dict[str, Any] = next(
            (value for key, value in event.items() if key.endswith("EventDetails")), {}
        )
        if not logging_configuration.get("includeExecutionData"):
            told = {key: value for key, value in told.items() if key not in ("input", "output")}
        now = int(time.time() * 1000)
        line = json.dumps(
            {
                "id": str(event["id"]),
                "type": event["type"],
                "details": told,
                "previous_event_id": str(event.get("previousEventId", 0)),
                "event_timestamp": str(now),
                "execution_arn": execution["executionArn"],
                "redrive_count": "0",
            }
        )
        stream = f"states/{machine['name']}/{time.strftime('%Y-%m-%d-%H-%M', time.gmtime(now / 1000))}"
        for destination in logging_configuration.get("destinations", []):
            arn = destination["cloudWatchLogsLogGroup"]["logGroupArn"]
            self._log(arn.split(":log-group:")[1].removesuffix(":*"), stream, [(now, line)])

    # Tasks

    def scaled_sleep(self, seconds: float) -> None:
        self._sleep(seconds)
        self._still_running()

    def call_lambda(self, func_ref: str, event: Any) -> Any:
        self._still_running()
        execution = _current_execution.get()
        if execution is not None:
            self._authorize(execution, func_ref)
        return self._call(func_ref, event)

    def _authorize(self, execution: dict[str, Any], func_ref: str) -> None:
        machine = self._service._state_machines.get(execution["stateMachineArn"]) or {}
        arn = (
            func_ref
            if func_ref.startswith("arn:")
            else f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{func_ref}"
        )
        denial = _role_denial(
            machine.get("roleArn", ""), execution["name"][:64], "lambda:InvokeFunction", arn
        )
        if denial is not None:
            raise self._service._ExecutionError(
                "Lambda.AWSLambdaException",
                f"{denial} (Service: Lambda, Status Code: 403, Error Code: AccessDeniedException)",
            )

    def apply_arguments(
        self, state_def: dict[str, Any], raw_input: Any, ctx: dict[str, Any] | None = None
    ) -> Any:
        """Evaluate Arguments, and TimeoutSeconds where it is an expression as well.

        Every attempt of a task that waits has a token of its own.
        """
        if ctx and "Task" in ctx and (ctx.get("State") or {}).get("RetryCount"):
            ctx["Task"] = {"Token": secrets.token_urlsafe(96)}
        _time_limit.set(
            self._service._apply_jsonata_template(state_def.get("TimeoutSeconds"), raw_input, ctx)
        )
        return self._arguments(state_def, raw_input, ctx)

    def apply_assign(
        self,
        state_def: dict[str, Any],
        raw_input: Any,
        ctx: dict[str, Any] | None,
        result: Any = None,
        error_output: Any = None,
    ) -> None:
        """Evaluate a JSONata state's Assign, every expression before any variable changes."""
        assign = state_def.get("Assign")
        if ctx is None or not isinstance(assign, dict):
            return
        if self._service._state_query_language(state_def, ctx) != "JSONata":
            return
        assigned = {
            name: self._service._apply_jsonata_template(
                template, raw_input, ctx, result=result, error_output=error_output
            )
            for name, template in assign.items()
        }
        ctx.setdefault("variables", {}).update(assigned)

    def invoke_with_timeout(self, resource: str, input_data: Any, timeout: Any) -> Any:
        return self._with_timeout(resource, input_data, _limit(timeout))

    def invoke_with_callback(
        self, resource: str, input_data: Any, token: str, state_def: dict[str, Any]
    ) -> Any:
        """Run a .waitForTaskToken task: the answer to its token, or the error that ends it first."""
        if "states:::lambda:invoke" not in resource:
            return self._with_callback(resource, input_data, token, state_def)
        function = self._service._resolve_lambda_function_ref(input_data.get("FunctionName", ""), True)
        waiting: dict[str, Any] = {
            "event": threading.Event(),
            "result": None,
            "error": None,
            "heartbeat": None,
            "execution": _current_execution.get(),
        }
        self._service._task_tokens[token] = waiting
        if waiting["execution"]:
            self._machine_of_token[token] = waiting["execution"]["stateMachineArn"]

        def call() -> None:
            try:
                self._service._call_lambda(function, input_data.get("Payload", input_data))
            except _Ended:
                return
            except self._service._ExecutionError as error:
                failure = {"Error": error.error, "Cause": error.cause}
            except Exception as error:
                logger.exception("Invoking %s failed", function)
                failure = {"Error": "States.Runtime", "Cause": str(error)}
            else:
                return
            with self._lock:
                if not waiting["event"].is_set():
                    waiting["error"] = failure
                    waiting["event"].set()

        # A thread of its own: the token may be answered, or time out, while the function still runs.
        threading.Thread(target=contextvars.copy_context().run, args=(call,), daemon=True).start()
        waiting["event"].wait(_limit(state_def.get("TimeoutSeconds")))
        with self._lock:
            answered = waiting["event"].is_set()
            self._service._task_tokens.pop(token, None)
            self._answered.add(token)
        self._still_running()
        if not answered:
            raise self._service._ExecutionError("States.Timeout", "")
        if waiting["error"]:
            raise self._service._ExecutionError(waiting["error"]["Error"], waiting["error"]["Cause"])
        return json.loads(waiting["result"])

    # TestState

    def test_state(self, data: dict[str, Any]) -> Any:
        """Run one state by itself: https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html."""
        context = json.loads(data.get("context") or "{}")
        context["variables"] = json.loads(data.get("variables") or "{}")
        try:
            definition = json.loads(data["definition"])
            state = definition
            if "States" in definition:
                state = definition["States"][data.get("stateName") or definition["StartAt"]]
            language = state.get("QueryLanguage") or definition.get("QueryLanguage")
        except (KeyError, ValueError):
            return self._test(data)
        if state.get("Type") != "Task" or language != "JSONata":
            return self._test({**data, "context": json.dumps(context)})
        retries = data.get("stateConfiguration", {}).get("retrierRetryCount", 0)
        context["State"] = {"Name": data.get("stateName"), "EnteredTime": _now(), "RetryCount": retries}
        context.setdefault("Execution", {"Id": "test", "Name": "test", "StartTime": _now(), "Input": {}})
        context.setdefault("QueryLanguage", "JSONata")
        shown: dict[str, Any] = {}
        answer = self._test_task(state, json.loads(data.get("input") or "{}"), context, data, shown)
        if data.get("inspectionLevel", "INFO") != "INFO":
            answer["inspectionData"] = {
                name: json.dumps(value)
                for name, value in {**shown, "variables": context["variables"]}.items()
            }
        return self._service.json_response(answer)

    def _test_task(
        self,
        state: dict[str, Any],
        given: Any,
        context: dict[str, Any],
        data: dict[str, Any],
        shown: dict[str, Any],
    ) -> dict[str, Any]:
        service, mock = self._service, data.get("mock") or {}
        try:
            shown["afterArguments"] = arguments = self.apply_arguments(state, given, context)
            if "errorOutput" in mock:
                failed = mock["errorOutput"]
                raise service._ExecutionError(failed.get("error", ""), failed.get("cause", ""))
            result = (
                json.loads(mock["result"])
                if "result" in mock
                else service._invoke_resource(state["Resource"], arguments)
            )
            shown["result"] = result
            output = service._apply_jsonata_output(state, given, context, result=result, default=result)
            self.apply_assign(state, given, context, result=result)
        except service._ExecutionError as error:
            failure = {"error": error.error, "cause": error.cause}
            retrier, _ = service._find_matching_retrier(state.get("Retry", []), error.error, {})
            if retrier is not None and context["State"]["RetryCount"] < retrier.get("MaxAttempts", 3):
                return {"status": "RETRIABLE", **failure}
            catcher = service._find_matching_catcher(state.get("Catch", []), error.error)
            if catcher is None:
                return {"status": "FAILED", **failure}
            said = {"Error": error.error, "Cause": error.cause}
            output = service._apply_catcher(catcher, given, context, "JSONata", said)
            caught = {"status": "CAUGHT_ERROR", "output": json.dumps(output), "nextState": catcher["Next"]}
            return {**caught, **failure}
        following = {} if state.get("End") else {"nextState": state["Next"]}
        return {"status": "SUCCEEDED", "output": json.dumps(output), **following}

    def answering(self, send: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        """SendTaskSuccess, -Failure, -Heartbeat: refused once the token was answered or its task ended."""

        @functools.wraps(send)
        def refusing(data: dict[str, Any]) -> Any:
            token = str(data.get("taskToken"))
            with self._lock:
                waiting = self._service._task_tokens.get(token)
                over = token in self._answered or (waiting is not None and waiting["event"].is_set())
                if over:
                    message = "Task Timed Out: 'Provided task does not exist anymore'"
                    return _refuse_json(400, "TaskTimedOut", message)
                if "output" in data and not _is_json(data["output"]):
                    return _refuse_json(400, "InvalidOutput", "Invalid Output: the task's output is not JSON")
                return send(data)

        return refusing


def _limit(seconds: Any) -> float | None:
    """A task's TimeoutSeconds: the number, or what its expression gave."""
    return _time_limit.get() if isinstance(seconds, str) else seconds


# --- small things ---


def _internal(name: str) -> Any:
    module, _, path = name.partition(":")
    try:
        target: Any = importlib.import_module(module)
    except ImportError:
        return None
    for part in path.split("."):
        target = getattr(target, part, None)
    return target


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


def _access_key(prefix: str) -> str:
    return prefix + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_json(text: Any) -> bool:
    try:
        json.loads(text)
    except (TypeError, ValueError):
        return False
    return True


def _refuse_json(status: int, code: str, message: str) -> Answer:
    body = json.dumps({"__type": code, "message": message}).encode()
    return status, {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": code}, body

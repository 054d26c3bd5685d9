"""Lambda in the local cloud: what a function sees, and what a failure looks like to its caller."""

import functools
import io
import json
import os
import signal
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

RAISES = """
    class InvalidDataset(Exception):
        pass

    def handler(event, context):
        check(event)

    def check(event):
        raise InvalidDataset("no corpus in the archive")
"""


@pytest.fixture(scope="module")
def layer(lab: Any) -> str:
    """The ARN of a layer with one module, `shared`."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("python/shared.py", "WORD = 'from the layer'")
    published = lab.functions.publish_layer_version(
        LayerName=f"layer-{uuid.uuid4().hex[:12]}", Content={"ZipFile": archive.getvalue()}
    )
    return str(published["LayerVersionArn"])


@pytest.fixture(params=[False, True], ids=["alone", "with a layer"])
def make(request: pytest.FixtureRequest, lab: Any, layer: str) -> Callable[..., str]:
    """make(source, ...): lab.function; one with a layer starts in another way."""
    return functools.partial(lab.function, Layers=[layer] if request.param else [])


def invoke(lab: Any, function: str, event: Any = None) -> tuple[dict[str, Any], Any]:
    answer = lab.functions.invoke(FunctionName=function, Payload=json.dumps(event or {}))
    return answer, json.loads(answer["Payload"].read())


def test_a_failed_invocation_names_the_exceptions_class_and_where_it_was_raised(
    lab: Any, make: Callable[..., str]
) -> None:
    answer, payload = invoke(lab, make(RAISES))
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "InvalidDataset"
    assert payload["errorMessage"] == "no corpus in the archive"
    frames = "".join(payload["stackTrace"])
    assert "in handler" in frames
    assert "in check" in frames
    assert "_worker.py" not in frames


@pytest.mark.parametrize(
    ("source", "error_type"),
    [
        ("import no_such_package\ndef handler(event, context): pass", "Runtime.ImportModuleError"),
        ("import os\ndef handler(event, context): os._exit(3)", "Runtime.ExitError"),
        ("import time\ndef handler(event, context): time.sleep(30)", "Sandbox.Timedout"),
    ],
)
def test_a_function_that_cannot_run_fails_as_on_aws(
    lab: Any, make: Callable[..., str], source: str, error_type: str
) -> None:
    answer, payload = invoke(lab, make(source, Timeout=1))
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == error_type


COUNTS = """
    import os
    calls = 0

    def handler(event, context):
        global calls
        calls += 1
        if event.get("exit"):
            os._exit(1)
        if event.get("raise"):
            raise ValueError(calls)
        return calls
"""


def test_a_function_that_raised_is_still_warm(lab: Any, make: Callable[..., str]) -> None:
    function = make(COUNTS)
    assert invoke(lab, function)[1] == 1
    _, payload = invoke(lab, function, {"raise": True})
    assert (payload["errorType"], payload["errorMessage"]) == ("ValueError", "2")
    assert invoke(lab, function)[1] == 3


def test_a_function_whose_process_ended_starts_anew(lab: Any, make: Callable[..., str]) -> None:
    function = make(COUNTS)
    assert invoke(lab, function)[1] == 1
    assert invoke(lab, function, {"exit": True})[1]["errorType"] == "Runtime.ExitError"
    assert invoke(lab, function)[1] == 1


def test_what_an_exception_says_is_in_the_functions_log(
    lab: Any, make: Callable[..., str], client: Callable[..., Any]
) -> None:
    function = make(RAISES)
    invoke(lab, function)
    group = f"/aws/lambda/{function.rsplit(':', 1)[1]}"
    events = client("logs").filter_log_events(logGroupName=group)["events"]
    assert "InvalidDataset: no corpus in the archive" in "".join(event["message"] for event in events)


def test_the_artifacts_own_packages_win_over_the_environments(lab: Any, make: Callable[..., str]) -> None:
    function = make(
        "import pydantic\ndef handler(event, context): return pydantic.ORIGIN",
        files={"pydantic/__init__.py": "ORIGIN = 'artifact'"},
    )
    assert invoke(lab, function)[1] == "artifact"


def test_a_function_runs_as_its_role_with_lambdas_environment(
    lab: Any, make: Callable[..., str], cloud: Any
) -> None:
    role = lab.role("lambda.amazonaws.com")
    function = make(
        """
        import os, boto3
        def handler(event, context):
            names = [name for name in os.environ if name.startswith("AWS_")]
            return {
                "environment": {name: os.environ[name] for name in names},
                "identity": boto3.client("sts").get_caller_identity()["Arn"],
                "memory": context.memory_limit_in_mb,
            }
        """,
        role=role,
        MemorySize=512,
    )
    _, said = invoke(lab, function)
    environment = said["environment"]
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == function.rsplit(":", 1)[1]
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert environment["AWS_REGION"] == "us-east-1"
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint_url
    assert environment["AWS_SESSION_TOKEN"]
    assert cloud.secret_access_key not in environment.values()
    assert f":assumed-role/{role.rsplit('/', 1)[1]}/" in said["identity"]
    assert said["memory"] == 512


def test_a_function_may_do_only_what_its_role_allows(
    lab: Any, make: Callable[..., str], client: Callable[..., Any]
) -> None:
    function = make(
        """
        import boto3
        def handler(event, context):
            boto3.client("dynamodb").get_item(TableName="tokens", Key={"resource": {"S": "x"}})
        """
    )
    _, payload = invoke(lab, function)
    assert payload["errorType"] == "ClientError"
    assert "AccessDeniedException" in payload["errorMessage"]
    assert "dynamodb:GetItem" in payload["errorMessage"]


def test_powertools_is_quiet_and_its_lines_reach_cloudwatch_logs(
    lab: Any, make: Callable[..., str], client: Callable[..., Any]
) -> None:
    function = make(
        """
        from aws_lambda_powertools import Logger, Metrics, Tracer
        logger, tracer, metrics = Logger(), Tracer(), Metrics()

        @metrics.log_metrics
        @tracer.capture_lambda_handler
        @logger.inject_lambda_context
        def handler(event, context):
            metrics.add_metric(name="Runs", unit="Count", value=1)
            logger.info("prepared")
        """,
        Environment={
            "Variables": {"POWERTOOLS_SERVICE_NAME": "lexline", "POWERTOOLS_METRICS_NAMESPACE": "Lexline"}
        },
    )
    answer, _ = invoke(lab, function)
    assert "FunctionError" not in answer
    group = f"/aws/lambda/{function.rsplit(':', 1)[1]}"
    events = client("logs").filter_log_events(logGroupName=group)["events"]
    messages = [event["message"] for event in events]
    assert messages[0].startswith("START RequestId: ")
    assert messages[-1].startswith("REPORT RequestId: ")
    lines = [json.loads(message) for message in messages[1:-2]]
    assert [line["message"] for line in lines if "message" in line] == ["prepared"]
    assert [line["Runs"] for line in lines if "Runs" in line] == [[1.0]]
    assert len(lines) == 2


def test_functions_share_the_files_of_a_layer_and_nothing_else(lab: Any, layer: str) -> None:
    source = """
        import os
        import shared

        def handler(event, context):
            shared.calls = getattr(shared, "calls", 0) + 1
            seen = [shared.WORD, shared.__file__, os.getppid()]
            return {"seen": seen, "calls": shared.calls, "ours": os.environ.get("OURS")}
        """
    first = lab.function(source, Layers=[layer], Environment={"Variables": {"OURS": "first"}})
    second = lab.function(source, Layers=[layer])
    said = [invoke(lab, function)[1] for function in (first, second)]
    assert said[0]["seen"] == said[1]["seen"]
    assert said[0]["seen"][0] == "from the layer"
    assert [(each["calls"], each["ours"]) for each in said] == [(1, "first"), (1, None)]


PARENT = """
    import os

    def handler(event, context):
        return os.getppid()
    """


def test_functions_start_though_the_process_they_fork_of_was_killed(lab: Any, layer: str) -> None:
    warm = lab.function(PARENT, Layers=[layer])
    killed = invoke(lab, warm)[1]
    os.kill(killed, signal.SIGKILL)
    started = [invoke(lab, lab.function(PARENT, Layers=[layer]))[1] for _ in range(3)]
    assert killed not in started
    # The first made do without; there is another such process for those after it.
    assert started[1] == started[2] != started[0]
    assert "FunctionError" not in invoke(lab, warm)[0]


def test_nobody_but_the_server_has_the_roots_key(lab: Any, make: Callable[..., str]) -> None:
    """Its requests are not verified. A fork keeps the environment that its parent was started with."""
    function = make(
        """
        import pathlib

        def handler(event, context):
            return pathlib.Path("/proc/self/environ").read_text()
        """
    )
    _, environment = invoke(lab, function)
    assert "PATH=" in environment
    assert "AWS_ACCESS_KEY_ID=AKIA" not in environment


def test_a_function_may_bring_along_what_lambdas_runtime_lacks(lab: Any, make: Callable[..., str]) -> None:
    source = "import OpenSSL\ndef handler(event, context): return OpenSSL.ORIGIN"
    function = make(source, files={"OpenSSL/__init__.py": "ORIGIN = 'artifact'"})
    assert invoke(lab, function)[1] == "artifact"

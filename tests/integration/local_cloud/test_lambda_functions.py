"""Lambda: what a function sees, and how its caller sees a failure."""

import datetime
import functools
import io
import json
import zipfile
from collections.abc import Callable

import psutil
import pytest
from botocore.config import Config

from localcloud import control
from localcloud.control import LocalCloud
from tests.integration.lab import Lab, unique
from tests.waiting import wait_until

Make = Callable[..., str]

RAISES = """
    class InvalidDataset(Exception):
        pass

    def handler(event, context):
        check(event)

    def check(event):
        raise InvalidDataset("no corpus in the archive")
"""


@pytest.fixture(scope="module")
def layer(lab: Lab) -> str:
    """The ARN of a layer with one module, `shared`."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("python/shared.py", "WORD = 'from the layer'")
    published = lab.functions.publish_layer_version(
        LayerName=unique("layer"), Content={"ZipFile": archive.getvalue()}
    )
    return str(published["LayerVersionArn"])


@pytest.fixture(params=[False, True], ids=["alone", "with a layer"])
def make(request: pytest.FixtureRequest, lab: Lab, layer: str) -> Make:
    """make(source, ...): lab.function. A function with a layer starts as a fork."""
    return functools.partial(lab.function, Layers=[layer] if request.param else [])


def log_of(lab: Lab, function: str) -> list[str]:
    return lab.log(f"/aws/lambda/{function.rsplit(':', 1)[1]}")


def test_a_failed_invocation_names_the_exceptions_class_and_its_origin(lab: Lab, make: Make) -> None:
    function = make(RAISES)
    response, payload = lab.invoke(function)
    assert response["FunctionError"] == "Unhandled"
    assert (payload["errorType"], payload["errorMessage"]) == ("InvalidDataset", "no corpus in the archive")
    frames = "".join(payload["stackTrace"])
    assert "in handler" in frames
    assert "in check" in frames
    assert "_worker.py" not in frames
    assert "InvalidDataset: no corpus in the archive" in "".join(log_of(lab, function))


@pytest.mark.parametrize(
    ("source", "error_type", "timeout"),
    [
        ("import no_such_package\ndef handler(event, context): pass", "Runtime.ImportModuleError", 60),
        ("import os\ndef handler(event, context): os._exit(3)", "Runtime.ExitError", 60),
        ("import time\ndef handler(event, context): time.sleep(600)", "Sandbox.Timedout", 1),
    ],
)
def test_a_function_that_cannot_run_fails_as_on_aws(
    lab: Lab, make: Make, source: str, error_type: str, timeout: int
) -> None:
    response, payload = lab.invoke(make(source, Timeout=timeout))
    assert response["FunctionError"] == "Unhandled"
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


def test_a_function_that_raised_is_still_warm(lab: Lab, make: Make) -> None:
    function = make(COUNTS)
    assert lab.invoke(function)[1] == 1
    _, payload = lab.invoke(function, {"raise": True})
    assert (payload["errorType"], payload["errorMessage"]) == ("ValueError", "2")
    assert lab.invoke(function)[1] == 3


def test_a_function_whose_process_ended_starts_again(lab: Lab, make: Make) -> None:
    function = make(COUNTS)
    assert lab.invoke(function)[1] == 1
    assert lab.invoke(function, {"exit": True})[1]["errorType"] == "Runtime.ExitError"
    assert lab.invoke(function)[1] == 1


# OpenSSL is installed here, but not in Lambda's runtime.
@pytest.mark.parametrize("package", ["pydantic", "OpenSSL"])
def test_the_artifacts_packages_take_precedence_over_the_environments(
    lab: Lab, make: Make, package: str
) -> None:
    function = make(
        f"import {package}\ndef handler(event, context): return {package}.ORIGIN",
        files={f"{package}/__init__.py": "ORIGIN = 'artifact'"},
    )
    assert lab.invoke(function)[1] == "artifact"


def test_a_function_runs_as_its_role_with_lambdas_environment(
    lab: Lab, make: Make, cloud: LocalCloud
) -> None:
    role = lab.role("lambda.amazonaws.com")
    function = make(
        """
        import os, pathlib, boto3
        def handler(event, context):
            names = [name for name in os.environ if name.startswith("AWS_")]
            return {
                "environment": {name: os.environ[name] for name in names},
                "identity": boto3.client("sts").get_caller_identity()["Arn"],
                "memory": context.memory_limit_in_mb,
                "started with": pathlib.Path("/proc/self/environ").read_text(),
            }
        """,
        role=role,
        MemorySize=512,
    )
    _, payload = lab.invoke(function)
    environment = payload["environment"]
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == function.rsplit(":", 1)[1]
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert environment["AWS_REGION"] == "us-east-1"
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint_url
    assert environment["AWS_SESSION_TOKEN"]
    assert cloud.secret_access_key not in environment.values()
    assert f":assumed-role/{role.rsplit('/', 1)[1]}/" in payload["identity"]
    assert payload["memory"] == 512
    # The root's signatures are not verified, so functions must not know its key. A fork can read the
    # environment with which its parent was started.
    assert "PATH=" in payload["started with"]
    assert "AWS_ACCESS_KEY_ID=AKIA" not in payload["started with"]


def test_a_function_may_do_only_what_its_role_allows(lab: Lab, make: Make) -> None:
    function = make(
        """
        import boto3
        def handler(event, context):
            boto3.client("dynamodb").get_item(TableName="tokens", Key={"resource": {"S": "x"}})
        """
    )
    _, payload = lab.invoke(function)
    assert payload["errorType"] == "ClientError"
    assert "AccessDeniedException" in payload["errorMessage"]
    assert "dynamodb:GetItem" in payload["errorMessage"]


def test_every_line_of_an_invocation_is_in_its_log_and_powertools_adds_none(lab: Lab, make: Make) -> None:
    function = make(
        """
        from aws_lambda_powertools import Logger, Metrics, Tracer
        logger, tracer, metrics = Logger(), Tracer(), Metrics()

        @metrics.log_metrics
        @tracer.capture_lambda_handler
        @logger.inject_lambda_context
        def log(event, context):
            metrics.add_metric(name="Runs", unit="Count", value=1)
            for number in range(1000):
                logger.info(f"line {number}")

        def handler(event, context):
            log(event, context)
            print('{"message": "a last line without an end"}', end="")
        """,
        Environment={
            "Variables": {"POWERTOOLS_SERVICE_NAME": "lexline", "POWERTOOLS_METRICS_NAMESPACE": "Lexline"}
        },
    )
    response, _ = lab.invoke(function)
    assert "FunctionError" not in response
    messages = log_of(lab, function)
    assert messages[0].startswith("START RequestId: ")
    assert messages[-1].startswith("REPORT RequestId: ")
    # The X-Ray SDK warns if another user's folder is in its place.
    texts = [text for text in messages[1:-2] if "Failed to signal SDK initialization" not in text]
    *lines, metrics, last = [json.loads(text) for text in texts]
    assert [line["message"] for line in lines] == [f"line {number}" for number in range(1000)]
    assert metrics["Runs"] == [1.0]
    assert last == {"message": "a last line without an end"}


def test_the_report_has_the_memory_of_the_functions_own_process(lab: Lab, make: Make) -> None:
    megabytes = []
    # The second function is invoked after the first, which has used much more.
    for size in (400, 1):
        function = make(f"def handler(event, context): len(b'x' * {size} * 1024 * 1024)")
        lab.invoke(function)
        report = log_of(lab, function)[-1]
        megabytes.append(int(report.split("Max Memory Used: ")[1].removesuffix(" MB")))
    assert megabytes[0] > 400
    assert 0 < megabytes[1] < 400


def test_functions_share_the_files_of_a_layer_and_nothing_else(lab: Lab, layer: str) -> None:
    source = """
        import os
        import shared

        def handler(event, context):
            shared.calls = getattr(shared, "calls", 0) + 1
            seen = [shared.WORD, shared.__file__, os.getppid()]
            return {"seen": seen, "calls": shared.calls, "own": os.environ.get("OWN")}
        """
    first = lab.function(source, Layers=[layer], Environment={"Variables": {"OWN": "first"}})
    second = lab.function(source, Layers=[layer])
    payloads = [lab.invoke(function)[1] for function in (first, second)]
    assert payloads[0]["seen"] == payloads[1]["seen"]
    assert payloads[0]["seen"][0] == "from the layer"
    assert [(payload["calls"], payload["own"]) for payload in payloads] == [(1, "first"), (1, None)]


def test_functions_start_after_their_fork_server_was_killed(lab: Lab, layer: str) -> None:
    source = "import os\ndef handler(event, context): return os.getppid()"
    warm = lab.function(source, Layers=[layer])
    killed = lab.invoke(warm)[1]
    process = psutil.Process(killed)
    process.kill()
    wait_until(lambda: not control.alive(process), "the fork server to end")
    parents = [lab.invoke(lab.function(source, Layers=[layer]))[1] for _ in range(3)]
    assert killed not in parents
    # The first function starts without a fork. The next ones have a new fork server.
    assert parents[1] == parents[2] != parents[0]
    assert "FunctionError" not in lab.invoke(warm)[0]


# --- concurrency ---


def throttles(lab: Lab, function: str) -> float:
    """How often the function was throttled, as CloudWatch counts it."""
    now, hour = datetime.datetime.now(datetime.UTC), datetime.timedelta(hours=1)
    name = function.rsplit(":", 1)[1]
    found = lab.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Throttles",
        Dimensions=[{"Name": "FunctionName", "Value": name}],
        StartTime=now - hour,
        EndTime=now + hour,
        Period=3600,
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in found["Datapoints"])


def test_a_caller_of_a_throttled_function_gets_an_error_and_an_event_waits(lab: Lab) -> None:
    queue, function = lab.recorder()
    # A function with a limit of 0 is always throttled.
    lab.functions.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    once = lab.client("lambda", config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(once.exceptions.TooManyRequestsException) as refused:
        once.invoke(FunctionName=function)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429

    call = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True}
    task = {**call, "Arguments": {"FunctionName": function, "Payload": {}}}
    failed = lab.run(lab.machine({"StartAt": "Call", "States": {"Call": task}}))
    assert (failed["status"], failed["error"]) == ("FAILED", "Lambda.TooManyRequestsException")

    lab.functions.invoke(FunctionName=function, InvocationType="Event", Payload=b'{"patient": true}')
    # An event on which a function fails would be gone after the third attempt.
    wait_until(lambda: throttles(lab, function) > 6, "several attempts")
    assert lab.count(queue) == 0
    lab.functions.delete_function_concurrency(FunctionName=function)
    assert lab.receive(queue) == {"patient": True}

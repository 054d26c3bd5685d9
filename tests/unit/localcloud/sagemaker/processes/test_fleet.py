"""A fleet serves a model with AWS's handler, restarts dead processes, and leaves nothing behind."""

import http.client
import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest

from localcloud.sagemaker.processes.fleet import Fleet, FleetFailed, FleetLaunch
from tests.unit.localcloud.sagemaker.processes.helpers import (
    AWS,
    DEADLINE,
    DirectoryStore,
    archive,
    processes_naming,
    server_to_kill,
    wait_for,
)

ECR = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
IMAGE = f"{ECR}/pytorch-inference:2.6.0-cpu-py312-sagemaker"
RAY = f"{ECR}/ray:serve-ml-sagemaker-cpu-v1"
GENERATE = """
import json, os, time
from words import greeting

def model_fn(model_dir):
    print("loading", model_dir)
    with open(os.path.join(model_dir, "weights")) as file:
        return file.read()

def input_fn(body, content_type):
    if content_type != "application/json":
        raise ValueError(f"send JSON, not {content_type}")
    return json.loads(body)

def predict_fn(data, model):
    print(data.get("say", "asked"))
    time.sleep(data.get("seconds", 0))
    if "exit" in data:
        os._exit(data["exit"])
    return {"weights": model, "greeting": greeting, "pid": os.getpid(),
            "key": os.environ["AWS_ACCESS_KEY_ID"], "here": sorted(os.listdir()),
            "code": os.environ["SAGEMAKER_SUBMIT_DIRECTORY"]}

def output_fn(prediction, accept):
    return json.dumps(prediction)
"""
MODEL = {"weights": "w", "code/generate.py": GENERATE, "code/words.py": "greeting = 'hello'"}
OUT_OF_SERVICE = -1
"""Stands for the status if no instance is in service."""
WITHOUT_TORCH = {"code/torch.py": ""}
"""Hides the installed torch, whose import takes AWS's handler a second."""


def container(**changes: Any) -> dict[str, Any]:
    """A model's PrimaryContainer."""
    return {
        "Image": IMAGE,
        "ModelDataUrl": "s3://bucket/model.tar.gz",
        "Environment": {
            "SAGEMAKER_PROGRAM": "generate.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
        },
        **changes,
    }


class Served:
    """A fleet and what it logged."""

    def __init__(self, fleet: Fleet, lines: list[tuple[str, str]]) -> None:
        self.fleet = fleet
        self.lines = lines

    def ready(self) -> "Served":
        self.fleet.wait_ready(DEADLINE)
        return self

    def logged(self, text: str) -> None:
        """Wait until a line of the log contains the text."""
        wait_for(lambda: any(text in line for _, line in self.lines), f"{text!r} in the log")

    def invoke(self, content_type: str = "application/json", **data: Any) -> tuple[int, str]:
        result = self.fleet.invoke(json.dumps(data).encode(), content_type, "application/json")
        return (result.status, result.body.decode()) if result else (OUT_OF_SERVICE, "")

    def response(self) -> dict[str, Any]:
        status, body = self.invoke()
        assert status == 200, body
        response: dict[str, Any] = json.loads(body)
        return response


Serve = Callable[..., Served]


@contextmanager
def serving(directory: Path) -> Iterator[Serve]:
    """Starts a fleet for the files given; afterwards, nothing of any fleet may be left."""
    fleets: list[Fleet] = []

    def start(
        files: dict[str, str] = MODEL,
        extra: dict[str, str] = WITHOUT_TORCH,
        denied: frozenset[str] = frozenset(),
        instances: int = 1,
        options: Mapping[str, Any] = MappingProxyType({}),
        **changes: Any,
    ) -> Served:
        number = len(fleets)
        archive(directory / f"s3-{number}" / "bucket" / "model.tar.gz", {**extra, **files})
        lines: list[tuple[str, str]] = []
        launch = FleetLaunch(
            f"endpoint-{number}",
            "AllTraffic",
            "model",
            container(**changes),
            instances,
            directory / f"fleet-{number}",
            AWS,
            lambda stream, _, line: lines.append((stream, line)),
            **options,
        )
        fleet = Fleet(launch, store=DirectoryStore(directory / f"s3-{number}", denied))
        fleets.append(fleet)
        fleet.start()
        return Served(fleet, lines)

    yield start
    for fleet in fleets:
        fleet.stop()
    assert list(directory.glob("fleet-*")) == []
    assert processes_naming(str(directory)) == []


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with serving(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One fleet for all tests that do not change it."""
    with serving(tmp_path_factory.mktemp("shared")) as start:
        yield start(extra={}).ready()


def failure(served: Served) -> str:
    with pytest.raises(FleetFailed) as raised:
        served.fleet.wait_ready(DEADLINE)
    return str(raised.value)


def test_a_model_has_its_own_code_role_and_paths(served: Served) -> None:
    response = served.response()
    assert response["weights"] == "w"
    assert response["greeting"] == "hello"
    assert response["key"] == "test"
    assert {"weights", "code"} <= set(response["here"])
    assert response["code"].endswith("/fleet-0/ml/model/code")
    served.logged("loading ")
    streams = {stream for stream, _ in served.lines}
    assert len(streams) == 1
    assert re.fullmatch(r"AllTraffic/i-[0-9a-f]{17}", streams.pop())


def test_an_exception_of_user_code_is_a_response_with_its_message(served: Served) -> None:
    status, body = served.invoke(content_type="text/csv")
    assert status == 500
    assert body.startswith("send JSON, not text/csv\nTraceback")
    assert served.response()["weights"] == "w"


def test_only_the_fleet_may_call_its_server(served: Served) -> None:
    (pid,) = served.fleet.pids
    (listening,) = [c for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening.laddr.ip == "127.0.0.1"
    connection = http.client.HTTPConnection("127.0.0.1", listening.laddr.port)
    connection.request("POST", "/invocations", b"{}", {"Authorization": "Bearer guessed"})
    assert connection.getresponse().status == 403
    connection.close()
    # Others on the machine do not get it to wait for a body, nor to hold one in memory.
    connection = http.client.HTTPConnection("127.0.0.1", listening.laddr.port, timeout=DEADLINE)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    assert connection.getresponse().status == 403
    connection.close()


def test_models_serve_side_by_side_and_instances_take_turns(serve: Serve) -> None:
    first = serve(instances=2).ready()
    second = serve({**MODEL, "weights": "other", "code/words.py": "greeting = 'good day'"}).ready()
    responses = [first.response() for _ in range(4)]
    assert {response["weights"] for response in responses} == {"w"}
    assert {response["pid"] for response in responses} == set(first.fleet.pids)
    assert len(first.fleet.pids) == 2
    assert (second.response()["weights"], second.response()["greeting"]) == ("other", "good day")


def test_a_killed_server_is_restarted(serve: Serve) -> None:
    served = serve().ready()
    (pid,) = served.fleet.pids
    os.kill(pid, signal.SIGKILL)
    served.logged("signal 9 (SIGKILL). It is started again at once.")
    wait_for(lambda: served.invoke()[0] == 200, "the recovery")
    assert served.response()["pid"] != pid


def test_a_server_that_dies_during_a_request_is_an_error_not_a_hang(serve: Serve) -> None:
    served = serve().ready()
    assert served.invoke(exit=3) == (500, "The container ended before it responded.")


def test_a_model_that_never_responds_is_restarted(serve: Serve) -> None:
    environment = {**container()["Environment"], "SAGEMAKER_MODEL_SERVER_TIMEOUT": "1"}
    served = serve(Environment=environment).ready()
    assert served.invoke(seconds=600)[0] == 500
    served.logged("did not respond within 1 s")
    wait_for(lambda: served.invoke()[0] == 200, "the recovery")


def test_a_request_in_flight_is_answered_before_the_fleet_stops(serve: Serve) -> None:
    served = serve().ready()
    with ThreadPoolExecutor(1) as threads:
        response = threads.submit(served.invoke, say="begun", seconds=0.5)
        served.logged("begun")
        served.fleet.stop(drain=DEADLINE)
        assert response.result()[0] == 200
    assert served.invoke()[0] == OUT_OF_SERVICE


def test_an_instance_gets_requests_while_its_ping_returns_200(serve: Serve, tmp_path: Path) -> None:
    """The model's code may change what /ping says at any time."""
    healthy, asked = tmp_path / "healthy", "code/generate.py"
    ping = f"""
from pathlib import Path
from http.server import BaseHTTPRequestHandler
send = BaseHTTPRequestHandler.send_response
def send_response(self, code):
    send(self, code if self.command == "POST" or Path({str(healthy)!r}).exists() else 503)
BaseHTTPRequestHandler.send_response = send_response
"""
    served = serve({**MODEL, asked: ping + GENERATE}, instances=2)
    served.logged("loading ")
    with pytest.raises(FleetFailed, match="did not respond within"):
        served.fleet.wait_ready(1.0)
    healthy.touch()
    assert served.ready().response()["weights"] == "w"
    healthy.unlink()
    wait_for(lambda: served.invoke()[0] == OUT_OF_SERVICE, "the instances to get no more requests")
    healthy.touch()
    wait_for(lambda: served.invoke()[0] == 200, "the recovery")


def test_a_dead_instance_gets_no_requests_while_another_serves(serve: Serve) -> None:
    served = serve(instances=2).ready()
    killed, lives = served.fleet.pids
    os.kill(killed, signal.SIGKILL)
    served.logged("signal 9 (SIGKILL)")
    responses = {served.invoke()[0] for _ in range(50)}
    assert responses == {200}
    assert lives in served.fleet.pids


SERVERLESS = {"serverless": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}


def test_a_serverless_container_starts_for_a_request_and_lacks_shared_memory(serve: Serve) -> None:
    looks = "import os\ntry:\n    os.open('/dev/shm', 0)\nexcept OSError as error:\n    print(error)\n"
    served = serve({**MODEL, "code/generate.py": looks + GENERATE}, options=SERVERLESS).ready()
    served.logged("No such file or directory: '/dev/shm'")
    wait_for(lambda: served.fleet.pids == [], "the container to end")
    with ThreadPoolExecutor(5) as threads:
        statuses = list(threads.map(lambda _: served.invoke()[0], range(5)))
    assert statuses == [200] * 5
    assert len(served.fleet.pids) == 1


@pytest.mark.usefixtures("only_ray")
def test_ray_does_not_start_on_a_serverless_endpoint(serve: Serve) -> None:
    config = "applications: [{name: texts, import_path: 'app:app'}]"
    environment = dict.fromkeys(("RAY_USAGE_STATS_ENABLED", "RAY_SERVE_THROUGHPUT_OPTIMIZED"), "0")
    served = serve({"config.yaml": config}, Image=RAY, Environment=environment, options=SERVERLESS)
    assert "No such file or directory: '/dev/shm'" in failure(served)


@pytest.mark.parametrize(
    ("image", "files", "cause"),
    [
        (
            IMAGE,
            {"code/generate.py": "def model_fn(model_dir):\n    raise ValueError('3 words, 4 weights')"},
            "loading the model raised ValueError: 3 words, 4 weights",
        ),
        (IMAGE, {"code/generate.py": "import os\nos.kill(os.getpid(), 9)"}, "killed by signal 9 (SIGKILL)"),
        (RAY, {}, "the model archive has no config.yaml at its root, which Ray Serve needs"),
    ],
    ids=["model_fn raises", "killed", "no config.yaml"],
)
def test_a_model_that_does_not_load_fails_the_fleet_with_the_cause(
    serve: Serve, image: str, files: dict[str, str], cause: str
) -> None:
    assert failure(serve(files, Image=image)) == (
        "The primary container for production variant AllTraffic did not pass the ping health check:"
        f" {cause}. Please check CloudWatch logs for this endpoint."
    )


def test_a_server_that_never_passes_its_ping_fails_the_fleet(serve: Serve) -> None:
    served = serve({"code/generate.py": "import time\ntime.sleep(600)"}, options={"startup": 0.2})
    assert "it did not respond to /ping with 200 within 0.2 s" in failure(served)


def test_a_server_that_ends_at_its_start_fails_the_fleet_with_its_last_line(serve: Serve) -> None:
    served = serve({"code/generate.py": "print('no licence')\nimport os\nos._exit(3)"})
    assert "health check: exit code 3. Its log ends with: no licence. Please" in failure(served)


def test_a_fleet_that_is_stopped_while_it_starts_fails(serve: Serve) -> None:
    served = serve({"code/generate.py": "import time\ntime.sleep(600)"})
    served.fleet.stop()
    assert failure(served) == "The endpoint was deleted before it was in service."


def test_a_role_that_may_not_read_the_model_fails_the_fleet(serve: Serve) -> None:
    reason = failure(serve(denied=frozenset({"s3:GetObject"})))
    assert reason.startswith(
        'Failed to download model data for container "container_1" from URL: "s3://bucket/'
    )
    assert "s3:GetObject" in reason


def test_an_invalid_model_archive_fails_the_fleet(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "s3-0" / "bucket").mkdir(parents=True)
    (tmp_path / "s3-0" / "bucket" / "text").write_text("no archive")
    assert "is a valid tar.gz archive" in failure(serve(ModelDataUrl="s3://bucket/text"))


def test_an_unknown_image_fails_the_fleet(serve: Serve) -> None:
    assert "Either the image does not exist or its permissions are incorrect" in failure(
        serve(Image="nobody/knows")
    )


def test_a_fleet_dies_with_the_server_that_runs_it(tmp_path: Path) -> None:
    archive(tmp_path / "s3" / "bucket" / "model.tar.gz", {**WITHOUT_TORCH, **MODEL})
    with server_to_kill("hosting", tmp_path, container()) as server:
        assert server.stdout
        assert "ready\n" in server.stdout
        server.kill()
    wait_for(lambda: processes_naming(str(tmp_path)) == [], "the fleet to end")

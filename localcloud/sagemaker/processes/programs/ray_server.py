"""One model under Ray Serve, as AWS's image ray:serve-ml-sagemaker-* runs it.

    python -P ray_server.py

config.yaml at the model's root says what to serve. AWS's image runs `ray start --head`, `serve start` and
`serve run config.yaml`, with an adapter before them that maps /invocations to / and /ping to /-/healthz. This
program does the same for one of several instances on a machine. It starts its own Ray, with its own ports,
folder and secret, on the loopback interface only. It ends when any of Ray's own processes ends. Ray itself
restarts the serving processes: controller, proxy and replicas. The adapter runs inside Serve's proxy
(ray_adapter.py), so /ping says what Serve's health check says, and nothing waits for the model.

A requirements.txt of the model is not installed, because instances share this environment.

Ray starts with less than `ray start` brings. Without dashboard, autoscaler and log monitor it needs 170 MiB
and 3 seconds of processor time less (of 850 MiB and 20 s). No public option does that, so this program
subclasses Ray's Node. Check this module when you upgrade Ray; the tests of Ray fleets cover it.

Environment
    SAGEMAKER_BASE_DIR  stands for /opt/ml; the model is in its folder "model"
    TMPDIR              Ray's files and sockets; a short path, because a socket's path holds 107 bytes
    LOCALCLOUD_READY    the file to write: {"port": N} when the proxy listens, or {"error": "..."} at the end
    LOCALCLOUD_TOKEN    the token that callers must send as "Authorization: Bearer ..."
"""

import hashlib
import json
import os
import secrets
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OBJECT_STORE = 80 * 2**20
"""Bytes of shared memory: Ray's minimum. Requests and responses are far smaller."""
_WORKERS = 4
"""The number of CPUs that Ray gets. It starts as many processes in advance: controller, proxy, application
builder, one replica."""
_PACKAGE = "localcloud.sagemaker.processes.programs"
_ROOT = Path(__file__).resolve().parents[4]
_WATCH = 0.1
"""Seconds between two looks at Ray's own processes."""
_BUILD_WATCH = 0.5
"""Seconds between two looks at the application's build. Each is a call of Serve's controller."""
_LONGEST_START = 240.0
"""Seconds that Ray has to start its first worker processes. It would try for ever."""
_KEEP_ALIVE = 7 * 24 * 3600
"""Seconds that a connection may be idle. If Serve closed idle connections, a request could fail on one."""


def _environment(token: str) -> dict[str, str]:
    """Return variables for every process of this Ray, in addition to the model's own Environment."""
    return {
        # All node addresses are then 127.0.0.1, and servers listen only there.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Replicas print to this process's output (_start_head); Ray itself prints only errors.
        "RAY_BACKEND_LOG_LEVEL": "error",
        "RAY_preload_python_modules": f"{_PACKAGE}.ray_worker",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{_PACKAGE}.ray_adapter:middlewares",
        "LOCALCLOUD_TOKEN_SHA256": hashlib.sha256(token.encode()).hexdigest(),
        # Other programs use this machine's memory, so Ray must not kill replicas when it is full.
        "RAY_memory_monitor_refresh_ms": "0",
        # Processes start slowly on a busy machine.
        "RAY_worker_register_timeout_seconds": "180",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        # Process titles must not overwrite /proc/PID/environ: orphans are found by their environment.
        "SPT_NOENV": "1",
    }


def _reserved_port() -> tuple[int, socket.socket]:
    """Return a free port and a socket that keeps it reserved; Serve shares the port (SO_REUSEPORT)."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", 0))
    return held.getsockname()[1], held


def interpreter_without_spaces(directory: Path) -> str:
    """Return a path of this interpreter without a space.

    Ray (2.57, `runtime_env/context.py`) puts the interpreter's path into a shell command without quotes.

    Args:
        directory: a directory whose path has no space, for a link to the environment.
    """
    if " " not in sys.executable:
        return sys.executable
    # Link the whole environment: Python looks for pyvenv.cfg in the directory above the interpreter's.
    environment = directory / "environment"
    environment.symlink_to(Path(sys.executable).parent.parent)
    return str(environment / "bin" / Path(sys.executable).name)


def _start_head(directory: Path) -> Any:
    """Start Ray's own processes as children of this one that die with it."""
    import ray
    from ray._private import utils
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    class Head(Node):
        def start_api_server(self, **_: Any) -> None:
            self._webui_url = ""

        def get_log_file_names(self, name: str, *arguments: Any, **options: Any) -> Any:
            # The raylet's children, including workers, write to the raylet's output: this process's.
            if name == "raylet":
                return None, None
            return super().get_log_file_names(name, *arguments, **options)

    # Ray's agent skips the dashboard if its dependencies are not installed.
    utils.get_dashboard_dependency_error = lambda: ImportError("there is no dashboard here")
    head = Head(
        RayParams(
            num_cpus=_WORKERS,
            num_gpus=0,
            object_store_memory=_OBJECT_STORE,
            temp_dir=str(directory / "ray"),  # Ray lets everybody write to this folder.
            gcs_server_port=0,
            dashboard_agent_listen_port=0,
            include_dashboard=False,
            include_log_monitor=False,  # type: ignore[arg-type]  # Ray's annotation is wrong
            no_monitor=True,
            env_vars={"RAY_LOG_TO_STDERR": "1"},
        ),
        head=True,
        shutdown_at_exit=False,
        spawn_reaper=True,
    )
    ray.init(address=head.gcs_address, namespace="serve", log_to_driver=False)
    return head


def refusal(environment: Mapping[str, str]) -> str | None:
    """Return why a model with these variables cannot run here; None if it can.

    In these modes, replicas listen on ports of their own (Ray 2.57, `serve/_private/constants.py`), and Ray
    sends statistics. AWS's image obeys the model's variables, so a mode must not differ from the model's.
    """
    optimized = environment.get("RAY_SERVE_THROUGHPUT_OPTIMIZED", "0")
    defaults = {
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": optimized,
        "RAY_SERVE_USE_GRPC_BY_DEFAULT": optimized,
        "RAY_USAGE_STATS_ENABLED": "1",
    }
    for name, default in defaults.items():
        if environment.get(name, default) != "0":
            return f"the local cloud runs Ray only with {name}=0: set it in the model's Environment"
    return None


def _deploy(config: Path, port: int) -> Any:
    """Run `serve start` and `serve run config.yaml`; return Serve's client when the proxy listens."""
    import yaml
    from ray.serve._private.api import serve_start
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(yaml.safe_load(config.read_text()))
    giving_up = threading.Timer(_LONGEST_START, _give_up)
    giving_up.start()
    client = serve_start(
        http_options={"host": "127.0.0.1", "port": port, "keep_alive_timeout_s": _KEEP_ALIVE}
    )
    giving_up.cancel()
    client.deploy_apps(schema)
    return client


def _give_up() -> None:
    print(f"Ray has started none of its worker processes within {_LONGEST_START:g} s", flush=True)
    os._exit(1)


def _build_failure(client: Any) -> str | None:
    """Wait until Serve has built every application; return the message of one that it cannot build.

    Serve is then never healthy. If only replicas fail, it is healthy, and the endpoint comes into service.
    """
    from ray.serve.schema import ApplicationStatus

    while unbuilt := [each for each in client.list_serve_statuses() if not each.deployment_statuses]:
        for application in unbuilt:
            if application.app_status.status == ApplicationStatus.DEPLOY_FAILED:
                return str(application.app_status.message)
        time.sleep(_BUILD_WATCH)
    return None


def cause(message: str) -> str:
    """Return the exception that ends Ray Serve's message about a failed deployment, else its last line."""
    lines = [line for line in message.splitlines() if line.strip()]
    raised = [line for line in lines if line[:1].isalpha() and ": " in line]
    return f"loading the model raised {raised[-1]}" if "Traceback" in message and raised else lines[-1]


def _announce(ready: Path, message: dict[str, Any]) -> None:
    written = ready.with_suffix(".new")
    written.write_text(json.dumps(message))
    written.replace(ready)


def main() -> None:
    """Start Ray and the model, announce the port, and end when Ray does."""
    ready = Path(os.environ.pop("LOCALCLOUD_READY"))
    token = os.environ.pop("LOCALCLOUD_TOKEN")
    config = Path(os.environ["SAGEMAKER_BASE_DIR"]) / "model" / "config.yaml"
    failure = refusal(os.environ)
    if not config.is_file():
        failure = "the model archive has no config.yaml at its root, which Ray Serve needs"
    if failure:
        _announce(ready, {"error": failure})
        sys.exit(1)
    os.environ.update(_environment(token))
    # Ray imports localcloud by name. The root comes last, so no file in it hides a module of the user.
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(_ROOT)])
    os.environ.setdefault("RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT", "1")
    port, held = _reserved_port()
    try:
        directory = Path(os.environ["TMPDIR"])
        sys.executable = interpreter_without_spaces(directory)
        head = _start_head(directory)
        client = _deploy(config, port)
        _announce(ready, {"port": port})
        failure = _build_failure(client)
    except Exception as error:
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
    if failure:
        _announce(ready, {"error": cause(failure)})
        os._exit(1)  # Ray needs no clean end: its processes and files are removed with this process
    with held:
        while not head.dead_processes():
            time.sleep(_WATCH)
    print("One of Ray's own processes has ended; ending the others", flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()

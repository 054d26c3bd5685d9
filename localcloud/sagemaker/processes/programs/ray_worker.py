"""What every worker process of a Ray instance loads before it works (ray_server.py).

Serve, while other processes start: a second less to wait for in each of them later. And a closed door: each
replica of Serve listens for other deployments' requests, on every interface, and unpickles what it is sent.
Nothing calls it here (RAY_SERVE_USE_GRPC_BY_DEFAULT), and nobody on this machine or beyond is to.
"""

from typing import Any

import grpc.aio._server  # type: ignore[import-untyped]
import ray.serve._private.replica  # noqa: F401 - loads most of Serve


def _do_not_listen(server: Any, address: str) -> int:
    return 0


grpc.aio._server.Server.add_insecure_port = _do_not_listen

"""A module that every worker process of a Ray instance loads first (ray_server.py).

It imports Serve while other processes still start, which saves each worker a second later. It also closes a
port: each replica of Serve listens for requests of other deployments, on every interface, and unpickles them.
No deployment uses that port here (RAY_SERVE_USE_GRPC_BY_DEFAULT), so nobody must be able to reach it.
"""

from typing import Any

import grpc.aio._server  # type: ignore[import-untyped]
import ray.serve._private.replica  # noqa: F401 - loads most of Serve


def _do_not_listen(server: Any, address: str) -> int:
    return 0


grpc.aio._server.Server.add_insecure_port = _do_not_listen

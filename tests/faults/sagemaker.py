"""The real control plane of the local SageMaker, over jobs and fleets that follow the plan.

Its door, POST, GET and DELETE /faults with credential scope `sagemaker`, is open to the administrator alone:
plan.Faults is its client.
"""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud.sagemaker.api.protocol import Response
from localcloud.sagemaker.core.host import AccessDenied, Host
from localcloud.sagemaker.hosting.scaling import ServedVariant, Targets
from localcloud.sagemaker.processes.fleet import FleetLaunch
from localcloud.sagemaker.service import SageMaker
from tests.faults import calls, events, reset, timing, workers
from tests.faults.events import FaultyAnnouncer, Post, Veils
from tests.faults.fleets import ScriptedFleet
from tests.faults.invocations import Invocations
from tests.faults.jobs import Jobs
from tests.faults.matching import Plan
from tests.faults.plan import DOOR

_DESCRIBED = {"DescribeTrainingJob": "TrainingJobArn", "DescribeEndpoint": "EndpointArn"}
"""Operations whose answers may be old, and where these name the resource."""
_CHANGES = {"CreateEndpoint": "create", "UpdateEndpoint": "update"}

Run = Callable[[dict[str, Any]], dict[str, Any] | None]


class FaultySageMaker:
    """What `localcloud.server` serves as SageMaker. It also sets the plan into the rest of the cloud."""

    def __init__(self, host: Host, directory: Path, targets: Targets) -> None:
        self._host = host
        self._targets = targets
        self._directory = directory
        self._plan = Plan()
        self._veils = Veils()
        self._post = Post(self._plan, self._veils)
        self._changes: dict[str, str] = {}
        workers.hurry()
        timing.start_at_once()
        timing.wait_longer()
        self._waits = timing.TokenWaits()
        calls.mend(self._plan, self._veils)
        events.mend(self._post)
        self._invocations = Invocations(self._plan)
        self._service = self._made()

    async def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Response:
        """One request: the door's, or SageMaker's."""
        if path != DOOR and not path.startswith(f"{DOOR}/"):
            return await self._service.handle(method, path, headers, body, query)
        try:
            self._host.authorize(headers, query, "faults:Plan", "*")
            # A reset waits for functions, whose requests this thread answers.
            told = await asyncio.to_thread(self._at_the_door, method, path.removeprefix(DOOR), body)
            return _answer(200, told)
        except AccessDenied as error:
            return _answer(403, {"message": str(error)})
        except (ValueError, KeyError) as error:
            return _answer(400, {"message": repr(error)})

    def variant(self, endpoint: str, name: str) -> ServedVariant | None:
        """What an endpoint serves as the variant of this name; None when it serves none."""
        return self._service.variant(endpoint, name)

    def close(self) -> None:
        """End every job and fleet."""
        self._service.close()

    def _at_the_door(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        asked = json.loads(body or b"{}")
        match method, path:
            case "POST", "":
                return {"number": self._plan.add(asked)}
            case "GET", "":
                return {"faults": self._plan.listing()}
            case "DELETE", "":
                self._forget()
            case "GET", "/functions":
                return {"at_work": self._invocations.at_work()}
            case "POST", "/waits":
                self._waits.seconds = asked["seconds"]
            case "POST", "/catch-up":
                self._plan.catch_up()
                self._veils.clear()
            case "POST", "/time-out":
                reset.time_out(asked["execution"])
            case "POST", "/reset":
                self._reset(asked["keep"])
            case _:
                raise ValueError(f"There is no {method} {DOOR}{path}.")
        return {}

    def _forget(self) -> None:
        self._plan.clear()
        self._veils.clear()
        self._waits.seconds = None

    def _reset(self, keep: list[str]) -> None:
        """See plan.Faults.reset. A new SageMaker has no resources."""
        with self._post:
            self._forget()
            former, self._service = self._service, self._made()
            former.close()
            reset.end_executions()
            self._invocations.end()
            reset.empty(keep)
            self._forget()

    def _made(self) -> SageMaker:
        """A SageMaker without resources."""
        service = SageMaker(
            self._host,
            self._directory,
            self._targets,
            training_run=Jobs(self._plan),
            fleet=self._fleet,
        )
        service._context.announcer.close()
        service._context.announcer = FaultyAnnouncer(self._host, self._post)
        for name, operation in service._api._operations.items():
            run = operation.run
            if name in _DESCRIBED:
                run = self._veiled(run, _DESCRIBED[name])
            if name in _CHANGES:
                run = self._noted(run, _CHANGES[name])
            service._api._operations[name] = dataclasses.replace(operation, run=run)
        return service

    def _fleet(self, launch: FleetLaunch) -> ScriptedFleet:
        return ScriptedFleet(launch, self._changes.get(launch.endpoint_name, "create"), self._plan)

    def _veiled(self, describe: Run, arn: str) -> Run:
        def describing(request: dict[str, Any]) -> dict[str, Any] | None:
            description = describe(request) or {}
            shown = self._veils.over(description[arn]) or description
            # What reverted in silence has given an empty reason.
            return {name: value for name, value in shown.items() if (name, value) != ("FailureReason", "")}

        return describing

    def _noted(self, change: Run, kind: str) -> Run:
        """Note what the fleet that comes of it is for."""

        def changing(request: dict[str, Any]) -> dict[str, Any] | None:
            self._changes[request["EndpointName"]] = kind
            return change(request)

        return changing


def _answer(status: int, document: dict[str, Any]) -> Response:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()

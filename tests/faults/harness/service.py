"""The local SageMaker with scripted jobs and fleets, and the HTTP API of the fault plan.

The API has the path /faults and the credential scope `sagemaker`. Only the administrator may use it;
client.Faults does.
"""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud.ministack.host import MiniStackHost
from localcloud.sagemaker.api.protocol import Response
from localcloud.sagemaker.core.host import AccessDenied, Host
from localcloud.sagemaker.hosting.scaling import ServedVariant, Targets
from localcloud.sagemaker.processes.fleet import FleetLaunch
from localcloud.sagemaker.service import SageMaker
from tests.faults.harness import api_calls, event_delivery, lambda_processes, reset, wait_times
from tests.faults.harness.client import PATH
from tests.faults.harness.event_delivery import EventDelivery, FaultyAnnouncer, FormerStates
from tests.faults.harness.fault_plan import FaultPlan
from tests.faults.harness.lambda_invocations import Invocations
from tests.faults.harness.scripted_fleets import ScriptedFleet
from tests.faults.harness.scripted_jobs import ScriptedJobs

_DESCRIBED = {"DescribeTrainingJob": "TrainingJobArn", "DescribeEndpoint": "EndpointArn"}
"""Operations that may return a former state, and the member with the resource's ARN."""
_CHANGES = {"CreateEndpoint": "create", "UpdateEndpoint": "update"}

Run = Callable[[dict[str, Any]], dict[str, Any] | None]


class FaultySageMaker:
    """The SageMaker of `localcloud.server`. Creating it also patches the rest of the cloud."""

    def __init__(self, host: Host, directory: Path, targets: Targets) -> None:
        assert isinstance(host, MiniStackHost)
        self._host = host
        self._measurements = host._measurements
        self._targets = targets
        self._directory = directory
        self._plan = FaultPlan()
        self._former_states = FormerStates()
        self._delivery = EventDelivery(self._plan, self._former_states)
        self._changes: dict[str, str] = {}
        self._token_waits = wait_times.TokenWaits()
        self._invocations = Invocations(self._plan)
        wait_times.patch(self._invocations.wait_for_running)
        lambda_processes.shorten_sdk_pauses()
        api_calls.patch(self._plan, self._former_states)
        event_delivery.patch(self._delivery)
        self._service = self._new_service()

    async def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Response:
        """Handle one HTTP request, to SageMaker or to the fault plan; return status, headers and body."""
        if path != PATH and not path.startswith(f"{PATH}/"):
            return await self._service.handle(method, path, headers, body, query)
        try:
            self._host.authorize(headers, query, "faults:Plan", "*", {})
            # A reset waits for functions, and this thread serves their requests.
            return _json(200, await asyncio.to_thread(self._change, method, path.removeprefix(PATH), body))
        except AccessDenied as error:
            return _json(403, {"message": str(error)})
        except (ValueError, KeyError) as error:
            return _json(400, {"message": repr(error)})

    def variant(self, endpoint: str, name: str) -> ServedVariant | None:
        """Return the variant that an endpoint serves under this name, or None."""
        return self._service.variant(endpoint, name)

    def tags(self) -> list[tuple[str, list[dict[str, str]]]]:
        """Return the ARN of each resource that has tags, with its tags."""
        return self._service.tags()

    def close(self) -> None:
        """End every job and fleet."""
        self._service.close()

    def _change(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        document = json.loads(body or b"{}")
        match method, path:
            case "POST", "":
                return {"number": self._add(document)}
            case "GET", "":
                return {"faults": self._plan.listing()}
            case "DELETE", "":
                self._clear()
            case "GET", "/invocations":
                return {"in_flight": self._invocations.in_flight()}
            case "POST", "/token-waits":
                self._token_waits.limit = document["seconds"]
            case "POST", "/metric-delay":
                self._measurements.delay = document["seconds"]
            case "POST", "/quotas":
                self._service._context.quotas.limits.update(document)
            case "POST", "/end-delays":
                self._plan.end_delays()
                self._former_states.clear()
            case "POST", "/time-out":
                reset.time_out(document["execution"])
            case "POST", "/reset":
                self._reset(document["keep"])
            case _:
                raise ValueError(f"There is no {method} {PATH}{path}.")
        return {}

    def _add(self, document: dict[str, Any]) -> int:
        for function in (document.get("by"), document.get("kind") == "invocation" and document["on"]):
            if function and not lambda_processes.exists(function):
                raise ValueError(f"There is no function {function}.")
        return self._plan.add(document)

    def _clear(self) -> None:
        self._plan.clear()
        self._former_states.clear()
        self._token_waits.limit = None
        self._measurements.delay = 0.0

    def _reset(self, keep: list[str]) -> None:
        with self._delivery:
            self._clear()
            former, self._service = self._service, self._new_service()
            former.close()
            reset.end_executions()
            self._invocations.end_all()
            reset.empty(keep)
            self._clear()

    def _new_service(self) -> SageMaker:
        """Create a SageMaker without resources."""
        service = SageMaker(
            self._host,
            self._directory,
            self._targets,
            training_run=ScriptedJobs(self._plan),
            fleet=self._fleet,
        )
        service._context.announcer.close()
        service._context.announcer = FaultyAnnouncer(self._host, self._delivery)
        operations: dict[str, Any] = dict(service._api._operations)
        for name, operation in operations.items():
            run = operation.run
            if name in _DESCRIBED:
                run = self._showing_former_state(run, _DESCRIBED[name])
            if name in _CHANGES:
                run = self._noting_change(run, _CHANGES[name])
            operations[name] = dataclasses.replace(operation, run=run)
        service._api._operations = operations
        return service

    def _fleet(self, launch: FleetLaunch) -> ScriptedFleet:
        return ScriptedFleet(launch, self._changes.get(launch.endpoint_name, "create"), self._plan)

    def _showing_former_state(self, describe: Run, arn: str) -> Run:
        def describe_former_state(request: dict[str, Any]) -> dict[str, Any] | None:
            description = describe(request) or {}
            shown = self._former_states.get(description[arn]) or description
            return event_delivery.without_empty_reason(shown)

        return describe_former_state

    def _noting_change(self, change: Run, kind: str) -> Run:
        """Note for the fleet whether it starts for a new endpoint or for an update."""

        def note_and_change(request: dict[str, Any]) -> dict[str, Any] | None:
            self._changes[request["EndpointName"]] = kind
            return change(request)

        return note_and_change


def _json(status: int, document: dict[str, Any]) -> Response:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()

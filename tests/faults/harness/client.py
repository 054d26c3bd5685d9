"""The client of the fault plan: a test says what goes wrong.

    faults.throttle("CreateTrainingJob", times=3)
    faults.job("Failed", reason="ClientError: no such file")
    faults.event("endpoint", "lost")
    faults.kill("train", "CreateTrainingJob", when="after")
    ...
    assert faults.unused() == []

Each call adds a fault to the plan of the running cloud (tests.faults.harness), which counts its strikes. A
fault strikes `times` times (None: always), after `after` matches that pass. `name` limits it to resources
whose names start with this text, `by` to the calls of one function: its name, or its handler's module, for
example "deploy".

Strikes are counted by request, and the SDK of a function sends several for one call:
`functions/pipeline/core/aws.py` allows four attempts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.httpsession

from localcloud.control import LocalCloud
from localcloud.sagemaker.core import quotas

PATH = "/faults"
"""The path of the fault plan's HTTP API."""

Resource = Literal["training-job", "endpoint", "upload", "execution"]
Delivery = Literal["lost", "doubled", "late", "early"]
Outcome = Literal[
    "Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded", "Interrupted", "InProgress"
]
BadResponse = Literal["empty", "unknown", "another model", "another text", "slow", "failing", "garbage"]
When = Literal["before", "after"]


class Where(TypedDict, total=False):
    """Which matches a fault strikes."""

    name: str
    by: str
    after: int
    times: int | None


@dataclass(frozen=True)
class Fault:
    """One fault of the plan."""

    number: int
    summary: str


class Faults:
    """The fault plan of a running cloud."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud
        self._session = botocore.httpsession.URLLib3Session()

    # --- calls of any service. `operation` is "CreateTrainingJob", or "sagemaker:AddTags" if several services
    # have it. Operations of S3 are named as their IAM action, for example "ListBucket".

    def throttle(self, operation: str, **where: Unpack[Where]) -> Fault:
        """Refuse the call because of too many calls, with the service's own error code."""
        return self._call(operation, {"error": "throttled"}, **where)

    def limit(self, operation: str, **where: Unpack[Where]) -> Fault:
        """Refuse the call with ResourceLimitExceeded: other jobs use the account's quota of one instance."""
        said = quotas.refusal("ml.m5.large for spot training job usage", limit=1, used=1, delta=1)
        return self.refuse(operation, "ResourceLimitExceeded", message=said, **where)

    def internal_error(self, operation: str, **where: Unpack[Where]) -> Fault:
        """Return status 500, and do nothing."""
        return self.refuse(operation, "InternalFailure", status=500, **where)

    def deny(self, operation: str, **where: Unpack[Where]) -> Fault:
        """Refuse the call as IAM does."""
        return self._call(operation, {"error": "denied"}, **where)

    def refuse(
        self,
        operation: str,
        code: str,
        *,
        status: int = 400,
        message: str = "As planned by a test.",
        **where: Unpack[Where],
    ) -> Fault:
        """Refuse the call with this error code."""
        return self._call(operation, {"error": code, "status": status, "message": message}, **where)

    def lose_response(self, operation: str, **where: Unpack[Where]) -> Fault:
        """Perform the call, but return an internal error."""
        return self._call(operation, {"error": "lost"}, **where)

    def slow(self, operation: str, seconds: float, **where: Unpack[Where]) -> Fault:
        """Delay the call, until `end_delays` at the longest."""
        return self._call(operation, {"seconds": seconds}, **where)

    def kill(
        self, function: str, operation: str, *, call: int = 1, times: int = 1, when: When = "before"
    ) -> Fault:
        """Kill the function's process at its call number `call` of the operation, and at the next ones.

        "before" the call arrives, or "after" it took effect, so that nobody receives the response.
        """
        return self._call(operation, {"kill": when}, by=function, after=call - 1, times=times)

    def unavailable(self, function: str, error: str) -> Fault:
        """Fail the function's next invocation before it runs. A state machine sees an error of this name."""
        return self._add("invocation", function, {"error": error})

    # --- SageMaker

    def job(
        self,
        outcome: Outcome,
        *,
        reason: str = "AlgorithmError: ExecuteUserScriptError: ExitCode 1",
        seconds: float = 0.0,
        **where: Unpack[Where],
    ) -> Fault:
        """Set how the next training job ends, `seconds` after the start of its training.

        A Failed job has the reason. A MaxWaitTimeExceeded job gets no spot instance. An Interrupted job loses
        its instance once and then completes. An InProgress job trains until it is stopped.
        """
        do = {"outcome": outcome, "reason": reason, "seconds": seconds}
        return self._add("job", "training-job", do, **where)

    def metrics(self, **values: float | None) -> Fault:
        """Set metrics of the next training job (see scripted_jobs). None leaves a metric out."""
        return self._add("metrics", "training-job", values)

    def create_fails(self, reason: str) -> Fault:
        """Let the next endpoint that is created end as Failed."""
        return self._add("deployment", "create", {"reason": reason})

    def update_reverts(self, reason: str = "") -> Fault:
        """Roll the next update of an endpoint back. Without a reason there is no FailureReason either."""
        return self._add("deployment", "update", {"reason": reason})

    def respond(self, how: BadResponse, *, seconds: float = 0.0, **where: Unpack[Where]) -> Fault:
        """Set how endpoints respond from now on. `name` starts the name of the endpoint or the model.

        "unknown" is only <unk>, "another text" a new text each time, "failing" status 500, "garbage" no JSON.
        """
        where.setdefault("times", None)
        return self._add("response", "fleet", {"how": how, "seconds": seconds}, **where)

    def set_quota(self, name: str, limit: int) -> None:
        """Set one of the account's quotas, by its name in Service Quotas, until the next reset."""
        self._request("POST", "/quotas", {name: limit})

    def delay_metrics(self, seconds: float) -> None:
        """Let the metrics of endpoints come so late, until the next reset. Otherwise they come at once."""
        self._request("POST", "/metric-delay", {"seconds": seconds})

    # --- events

    def event(
        self,
        resource: Resource,
        how: Delivery,
        *,
        seconds: float = 1.0,
        status: str = "",
        **where: Unpack[Where],
    ) -> Fault:
        """Set how the next event of a resource is delivered: of its end, or of this status (as in Describe).

        A "late" event comes `seconds` after the change. After an "early" event, Describe shows the former
        state for `seconds`. An upload's event cannot be early, because S3 shows an object before its event.
        """
        if resource == "upload" and how == "early":
            raise ValueError("The event of an upload cannot be early.")
        on = f"{resource}:{status}" if status else resource
        return self._add("event", on, {"how": how, "seconds": seconds}, **where)

    # --- the plan and its cloud

    def fired(self, fault: Fault) -> int:
        """Return how often the fault has struck."""
        return int(next(planned["fired"] for planned in self.planned() if planned["number"] == fault.number))

    def unused(self) -> list[str]:
        """Return the faults that struck less often than planned, or never if they strike always."""
        return [
            _summary(fault)
            for fault in self.planned()
            if fault["fired"] < (1 if fault["times"] is None else fault["times"])
        ]

    def planned(self) -> list[dict[str, Any]]:
        """Return every fault (see fault_plan) with its number and how often it has struck."""
        listing: list[dict[str, Any]] = self._request("GET", "")["faults"]
        return listing

    def clear(self) -> None:
        """Remove all faults."""
        self._request("DELETE", "")

    def invocations_in_flight(self) -> int:
        """Return how many functions run. A function may outlive the execution that invoked it."""
        in_flight: int = self._request("GET", "/invocations")["in_flight"]
        return in_flight

    def limit_token_waits(self, seconds: float) -> None:
        """Limit how long tasks wait for their token from now on. The wait ends as after a lost event."""
        self._request("POST", "/token-waits", {"seconds": seconds})

    def end_delays(self) -> None:
        """End the delays of calls, events and jobs, and show changes whose events came early."""
        self._request("POST", "/end-delays")

    def time_out(self, execution: str) -> None:
        """End the execution as the TimeoutSeconds of its state machine does."""
        self._request("POST", "/time-out", {"execution": execution})

    def reset(self, keep: Sequence[str]) -> None:
        """Remove all faults and everything that tests created. Deployed resources and logs stay.

        Removed are SageMaker's resources, executions, the items of all tables, and objects of all buckets. No
        event is sent, and no function continues.

        Args:
            keep: Objects stay if their keys start with one of these.
        """
        self._request("POST", "/reset", {"keep": list(keep)})

    def _call(self, operation: str, do: dict[str, Any], **where: Unpack[Where]) -> Fault:
        return self._add("call", operation, do, **where)

    def _add(self, kind: str, on: str, do: dict[str, Any], **where: Unpack[Where]) -> Fault:
        document = {"kind": kind, "on": on, "name": "", "by": "", "after": 0, "times": 1, **where, "do": do}
        return Fault(self._request("POST", "", document)["number"], _summary(document))

    def _request(self, method: str, path: str, document: dict[str, Any] | None = None) -> Any:
        """Send a request that the administrator signs. Raise AssertionError if it is refused."""
        cloud = self._cloud
        body = b"" if document is None else json.dumps(document).encode()
        request = botocore.awsrequest.AWSRequest(
            method, f"{cloud.endpoint_url}{PATH}{path}", {"Content-Type": "application/json"}, body
        )
        keys = botocore.credentials.Credentials(cloud.access_key_id, cloud.secret_access_key)
        botocore.auth.SigV4Auth(keys, "sagemaker", cloud.region).add_auth(request)
        response = self._session.send(request.prepare())
        assert response.status_code == 200, f"{method} {PATH}{path}: {response.status_code} {response.text}"
        return json.loads(response.text)


def _summary(document: dict[str, Any]) -> str:
    where = "".join(f" {key}={document[key]!r}" for key in ("name", "by", "after") if document[key])
    return f"{document['kind']} {document['on']}{where} x{document['times']}: {document['do']}"

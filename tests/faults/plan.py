"""What is to go wrong, said by a test.

    faults.throttle("CreateTrainingJob", times=3)
    faults.job("Failed", reason="ClientError: no such file")
    faults.event("endpoint", "lost")
    faults.kill("training", "CreateTrainingJob", when="after")
    ...
    assert faults.unused() == []

Each call adds a fault to the plan of the running test cloud (tests.faults.cloud), which records when it has
struck. A fault strikes `times` times (None: always), after `after` matches that pass. `name` narrows it to
resources whose names begin so, `by` to the calls of one function: its name, or its handler's module, as
"deploy".

Times are of requests, and a function's SDK makes several for one call: `functions/pipeline/aws.py` has four
attempts.
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

DOOR = "/faults"

Resource = Literal["training-job", "endpoint", "upload", "execution"]
Delivery = Literal["lost", "doubled", "late", "early"]
Outcome = Literal[
    "Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded", "Interrupted", "InProgress"
]
Answer = Literal["empty", "unknown", "another model", "another text", "slow", "failing", "garbage"]


class Where(TypedDict, total=False):
    """Which calls a fault strikes: see above."""

    name: str
    by: str
    after: int
    times: int | None


@dataclass(frozen=True)
class Fault:
    """One fault of the plan: its number there, and what was asked for."""

    number: int
    says: str


class Faults:
    """The plan of a running test cloud."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud
        self._session = botocore.httpsession.URLLib3Session()

    # --- calls of any service: "CreateTrainingJob", or with its service where the name has several --------

    def throttle(self, operation: str, **where: Unpack[Where]) -> Fault:
        """Refused by too many calls, under the service's own name for it."""
        return self._call(operation, {"error": "throttled"}, **where)

    def limit(self, operation: str, **where: Unpack[Where]) -> Fault:
        """Refused because the account's quota is used up: ResourceLimitExceeded."""
        return self.refuse(operation, "ResourceLimitExceeded", **where)

    def internal_error(self, operation: str, **where: Unpack[Where]) -> Fault:
        """Answered with status 500, nothing done."""
        return self.refuse(operation, "InternalFailure", status=500, **where)

    def deny(self, operation: str, **where: Unpack[Where]) -> Fault:
        """Refused as by IAM."""
        return self._call(operation, {"error": "denied"}, **where)

    def refuse(
        self,
        operation: str,
        code: str,
        *,
        message: str = "As planned by a test.",
        status: int = 400,
        **where: Unpack[Where],
    ) -> Fault:
        """Refused with an error of this code."""
        return self._call(operation, {"error": code, "message": message, "status": status}, **where)

    def lose_answer(self, operation: str, **where: Unpack[Where]) -> Fault:
        """It takes effect, and the caller gets an internal error instead of the answer."""
        return self._call(operation, {"error": "lost"}, **where)

    def slow(self, operation: str, seconds: float, **where: Unpack[Where]) -> Fault:
        """The call takes so much longer."""
        return self._call(operation, {"seconds": seconds}, **where)

    def kill(
        self,
        function: str,
        operation: str,
        *,
        call: int = 1,
        when: Literal["before", "after"] = "before",
        name: str = "",
        times: int | None = 1,
    ) -> Fault:
        """The function's process is killed at its call number `call` of the operation.

        before: the call never arrives. after: it takes effect, and nobody is there to hear the answer.
        """
        return self._call(operation, {"kill": when}, by=function, after=call - 1, name=name, times=times)

    def unavailable(
        self, function: str, *, error: str = "Lambda.ServiceException", after: int = 0, times: int | None = 1
    ) -> Fault:
        """The function is asked for and does not run; a state machine sees the error by this name."""
        return self._add("invocation", function, {"error": error}, after=after, times=times)

    # --- what SageMaker does ------------------------------------------------------------------------------

    def job(
        self,
        outcome: Outcome,
        *,
        reason: str = "AlgorithmError: ExecuteUserScriptError: ExitCode 1",
        seconds: float = 0.0,
        name: str = "",
        times: int | None = 1,
    ) -> Fault:
        """How the next training job ends, `seconds` after its training began.

        Failed has the reason; MaxWaitTimeExceeded never gets a spot instance; Interrupted loses it once and
        then completes; InProgress ends when it is stopped.
        """
        return self._add("job", "training-job", {"outcome": outcome, "reason": reason, "seconds": seconds},
                         name=name, times=times)  # fmt: skip

    def metrics(self, *, name: str = "", times: int | None = 1, **values: float | None) -> Fault:
        """What the next training job prints: jobs.METRICS, None for what it does not print at all."""
        return self._add("metrics", "training-job", values, name=name, times=times)

    def create_fails(self, reason: str, *, name: str = "", times: int | None = 1) -> Fault:
        """The next endpoint that is created ends as Failed."""
        return self._add("endpoint", "create", {"reason": reason}, name=name, times=times)

    def update_reverts(self, reason: str = "", *, name: str = "", times: int | None = 1) -> Fault:
        """The next update of an endpoint is taken back; without a reason, in silence: InService as before,
        and no FailureReason.
        """
        return self._add("endpoint", "update", {"reason": reason}, name=name, times=times)

    def answer(
        self, how: Answer, *, seconds: float = 0.0, name: str = "", after: int = 0, times: int | None = None
    ) -> Fault:
        """What an endpoint answers from now on; `name` begins the endpoint's name or the model's.

        unknown: <unk> alone. another text: a new one each time. failing: status 500. garbage: no JSON.
        """
        do = {"how": how, "seconds": seconds}
        return self._add("answer", "fleet", do, name=name, after=after, times=times)

    # --- events -------------------------------------------------------------------------------------------

    def event(
        self,
        resource: Resource,
        how: Delivery,
        *,
        seconds: float = 1.0,
        status: str = "",
        name: str = "",
        after: int = 0,
        times: int | None = 1,
    ) -> Fault:
        """How the resource's next event travels: of its end, or of the status given (Describe's spelling).

        late: `seconds` after the change. early: the change is to be seen, in Describe's answers, `seconds`
        after the event. An upload's event cannot be early: S3 shows an object before it tells of it.
        """
        if resource == "upload" and how == "early":
            raise ValueError("S3 shows an object before it tells of it.")
        on = f"{resource}:{status}" if status else resource
        return self._add("event", on, {"how": how, "seconds": seconds}, name=name, after=after, times=times)

    # --- the plan and its cloud ---------------------------------------------------------------------------

    def fired(self, fault: Fault) -> int:
        """How often the fault has struck."""
        return int(next(found["fired"] for found in self.planned() if found["number"] == fault.number))

    def unused(self) -> list[str]:
        """The faults that have struck less often than planned, or never if they strike always."""
        return [
            _says(found)
            for found in self.planned()
            if found["fired"] < (1 if found["times"] is None else found["times"])
        ]

    def planned(self) -> list[dict[str, Any]]:
        """Every fault's document (tests.faults.matching), with its number and how often it has struck."""
        listing: list[dict[str, Any]] = self._request("GET", "")["faults"]
        return listing

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._request("DELETE", "")

    def functions_at_work(self) -> int:
        """How many invocations of functions run. One may outlive the execution that asked for it."""
        at_work: int = self._request("GET", "/functions")["at_work"]
        return at_work

    def wait_at_most(self, seconds: float) -> None:
        """Tasks that wait for their token from now on wait no longer, as after a lost event."""
        self._request("POST", "/waits", {"seconds": seconds})

    def catch_up(self) -> None:
        """What is late comes now, what was announced early is to be seen, and jobs have trained enough."""
        self._request("POST", "/catch-up")

    def time_out(self, execution: str) -> None:
        """The execution ends as if its machine's TimeoutSeconds were over."""
        self._request("POST", "/time-out", {"execution": execution})

    def reset(self, keep: Sequence[str]) -> None:
        """Clear the plan, and leave of what tests have made only what is deployed, logs, and kept objects.

        Gone are SageMaker's resources, executions, the items of all tables, and the objects of all buckets
        but for those whose keys begin with one of `keep`. Nobody is told by events, and no function goes on.
        """
        self._request("POST", "/reset", {"keep": list(keep)})

    def _call(self, operation: str, do: dict[str, Any], **where: Unpack[Where]) -> Fault:
        return self._add("call", operation, do, **where)

    def _add(
        self,
        kind: str,
        on: str,
        do: dict[str, Any],
        *,
        name: str = "",
        by: str = "",
        after: int = 0,
        times: int | None = 1,
    ) -> Fault:
        document = {"kind": kind, "on": on, "name": name, "by": by, "after": after, "times": times, "do": do}
        return Fault(self._request("POST", "", document)["number"], _says(document))

    def _request(self, method: str, path: str, document: dict[str, Any] | None = None) -> Any:
        """One request at the door, signed by the administrator. Raises AssertionError with its refusal."""
        cloud = self._cloud
        body = b"" if document is None else json.dumps(document).encode()
        request = botocore.awsrequest.AWSRequest(
            method, f"{cloud.endpoint_url}{DOOR}{path}", {"Content-Type": "application/json"}, body
        )
        keys = botocore.credentials.Credentials(cloud.access_key_id, cloud.secret_access_key)
        botocore.auth.SigV4Auth(keys, "sagemaker", cloud.region).add_auth(request)
        answer = self._session.send(request.prepare())
        assert answer.status_code == 200, f"{method} {path}: {answer.text}"
        return json.loads(answer.text)


def _says(document: dict[str, Any]) -> str:
    """A fault in a line, for a failing test."""
    where = "".join(f" {key}={document[key]!r}" for key in ("name", "by", "after") if document[key])
    return f"{document['kind']} {document['on']}{where} x{document['times']}: {document['do']}"

"""Runs, models and reports for tests of the command."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from lexline.aws.endpoint import Endpoint
from lexline.aws.models import Model
from lexline.aws.runs import Run, run_id
from tests.unit.pipeline.documents import Documents

ACCOUNT = "123456789012"
MACHINE = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:lexline-pipeline"
EXECUTION = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:lexline-pipeline:"
WHEN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RUN = Run(EXECUTION + "one", "RUNNING", WHEN, None)
JOB = f"lexline--sotu-{run_id(RUN.arn)}"
"""The name that the pipeline gives the run, its training job and its model."""
ONE, TWO, THREE = (f"lexline--sotu-{digit * 12}" for digit in "123")


def endpoint(
    model: str = TWO, previous: str = ONE, *, status: str = "InService", instances: int = 1, **teardown: Any
) -> Endpoint:
    """Return an endpoint, without teardown unless given."""
    due = {"teardown_at": None, "teardown_when_idle": "", **teardown}
    return Endpoint(status, model, model, previous, instances, **due)


def visited(*visits: tuple[str, Any]) -> dict[str, Any]:
    """Return the history of an execution that visited these Lambda states, each with its output or None."""
    events: list[dict[str, Any]] = []
    for second, (name, output) in enumerate(visits):
        event = {"id": 1, "timestamp": WHEN + timedelta(seconds=second)}
        events.append({**event, "type": "TaskStateEntered", "stateEnteredEventDetails": {"name": name}})
        if output is not None:
            result = {"StatusCode": 200, "Payload": output}
            details = {"resource": "invoke", "resourceType": "lambda", "output": json.dumps(result)}
            events.append({**event, "type": "TaskSucceeded", "taskSucceededEventDetails": details})
            events.append({**event, "type": "TaskStateExited", "stateExitedEventDetails": {"name": name}})
    return {"events": events}


MODELS = [
    Model(3, THREE, "sotu", WHEN, 99.0, 0.021, TWO, 88.0, 99.0, "Rejected", "It is worse.", "", ""),
    Model(
        2, TWO, "sotu", WHEN, 88.0, 0.021, ONE, 120.0, 90.5, "Approved", "Good.", "https://g/r", "abcdef0123"
    ),
    Model(1, ONE, "[/so]", WHEN, 120.0, None, "", None, None, "Approved", "Good.", "", ""),
]
"""The first model, a better one, and one that was rejected. One dataset is named like Rich's markup."""

_DOCUMENTS = Documents()
PREPARED, TRAINED, ENDPOINT = _DOCUMENTS.prepared, _DOCUMENTS.trained, _DOCUMENTS.deployed
REGISTERED = {**_DOCUMENTS.registered, "model": JOB}
METRICS = _DOCUMENTS.evaluated["metrics"]
COMPARISON: dict[str, Any] = {**_DOCUMENTS.evaluated["comparison"], "champion": ONE, "notes": []}
ESTIMATE = {"prices_date": "2026-09-22", "prices_region": "us-east-1", "notes": []}
COST: dict[str, Any] = {
    **ESTIMATE,
    **{"instance_type": "ml.m5.xlarge", "instance_count": 1, "price_per_hour": 0.23},
    **{"training_seconds": 185, "billable_seconds": 74, "training": 0.00473, "total": 0.00473},
    **{"spot": True, "spot_saving": 0.6, "spot_saved": 0.0071},
}
STANDING_COST: dict[str, Any] = {
    **ESTIMATE,
    **{"kind": "real-time", "instance_type": "ml.m5.large", "instance_count": 1},
    **{"per_hour": 0.115, "per_day": 2.76, "per_month": 83.95},
}
SUCCEEDED: dict[str, Any] = {
    **{"status": "Succeeded", "event": "deployed", "reason": "Test perplexity 208.3 beats guessing."},
    **{"run": JOB, "joined": None, "work": "train", "execution": RUN.arn},
    **{"dataset": PREPARED, "job": TRAINED, "metrics": METRICS, "comparison": COMPARISON},
    **{"registered": REGISTERED, "endpoint": ENDPOINT, "cost": COST, "standing_cost": STANDING_COST},
    **{name: getattr(_DOCUMENTS, name) for name in ("source", "model", "smoke_test", "finished")},
    "durations": {"read_uploads": 2.0, "create_model": 0.4, "total": 200.0},
    **{"removed": [], "error": None, "page": f"s3://b/reports/{JOB}.html"},
}
"""The report of a run that trained and deployed a model."""
NOTHING_DONE: dict[str, Any] = dict.fromkeys(
    ("job", "metrics", "comparison", "registered", "model", "endpoint", "smoke_test", "finished", "cost",
     "standing_cost", "page")
)  # fmt: skip
"""The fields of a report that are null if the run did nothing."""

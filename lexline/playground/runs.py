"""What the page shows of runs and models, and what it starts: deployments and rollbacks.

The page asks again every few seconds. `Runs` keeps what cannot change any more: runs that have ended, and
reports. The histories of runs in progress are read at most once in `_INTERVAL`, however many pages ask.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from lexline.aws import deployment, lease, models, reports, runs
from lexline.aws import endpoint as endpoints
from lexline.aws.endpoint import Endpoint
from lexline.aws.history import TRAIN
from lexline.aws.models import Model
from lexline.aws.reports import UNREADABLE
from lexline.aws.runs import Run, id_in
from lexline.aws.stack import Stack
from lexline.aws.watcher import Snapshot, Watcher
from lexline.core.errors import UserError
from lexline.display import cost, formatting, result, run_progress, terminal
from lexline.display import models as display
from lexline.display import status as overview
from lexline.playground import guard

_MODELS = 50
"""How many models the history has: the newest."""
_INTERVAL = {True: 0.5, False: 3.0}
"""Seconds between two looks at a run, on the local cloud and on AWS, as for `lexline status --follow`."""


class Runs:
    """The operations of the view Runs. Thread-safe.

    Args:
        stack: The stack.
        token: The server's secret, which signs the addresses of reports.
    """

    def __init__(self, stack: Stack, token: str) -> None:
        self._stack = stack
        self._token = token
        self._lock = threading.Lock()
        self._watchers: dict[str, Watcher] = {}
        self._snapshots: dict[str, tuple[float, Snapshot]] = {}
        self._listed: dict[str, Run] = {}
        self._documents: dict[str, dict[str, Any] | None] = {}

    def overview(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """Return what serves and what it costs, and the main runs, newest first."""
        endpoint = endpoints.read(self._stack)
        estimate = cost.current(self._stack, endpoint)
        serving = overview.serving_runs(endpoint)
        main = overview.main_runs(self._stack, endpoint)
        self._listed |= {run.id: run for run in main}
        reported = {id_in(report.run) for report in reports.newest_first(self._stack)}
        return {
            "endpoint": self._stack.endpoint,
            "serves": bool(endpoint and endpoint.serves),
            "status": endpoint.status if endpoint else "",
            "model": (endpoint.model or endpoint.config) if endpoint else "",
            "previous": endpoint.previous if endpoint else "",
            "teardown": overview.teardown_time(endpoint),
            "cost": cost.of_endpoint(estimate) if estimate else "",
            "local": self._stack.target.local,
            "lease": overview.describe_lease(lease.read(self._stack)),
            "bucket": self._stack.bucket,
            "runs": [self._summary(run, serving, reported) for run in main],
        }

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return one run: its steps, the training with its curve, and the result.

        Args:
            request: `run`, the run's id or name.
        """
        wanted = str(request.get("run"))
        snapshot = self._look(self._listed.get(wanted) or runs.find(self._stack, wanted))
        training = snapshot.training
        return {
            "id": snapshot.run.id,
            "work": overview.work(snapshot.request),
            "ended": snapshot.ended,
            "outcome": overview.outcome(snapshot),
            "steps": [
                {
                    "label": run_progress.label(step),
                    "state": step.state,
                    "duration": formatting.duration(step.elapsed(snapshot.now)),
                    "remarks": run_progress.remarks(snapshot, step),
                }
                for step in snapshot.steps
            ],
            "trains": snapshot.in_progress(TRAIN),
            "epochs": training.epochs,
            "fraction": training.fraction,
            "training": run_progress.training(training, snapshot.job_status),
            "left": run_progress.time_left(snapshot),
            "curve": {"training": training.train_curve, "unseen": training.valid_curve},
            "result": _result(snapshot),
        }

    def models(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the registered models, newest first."""
        endpoint = endpoints.read(self._stack)
        return [self._model(model, endpoint) for model in models.newest(self._stack, _MODELS)]

    def history(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the registered models, newest first, each with what its training cost, and its report."""
        listed = self.models(request)
        for model in listed:
            document = self._document(model["name"])
            model["cost"] = _cost(document)
            model["report"] = self._address(id_in(model["name"])) if document else None
        return listed

    def report(self, run: str) -> bytes:
        """Return a run's report as a web page.

        Raises:
            UserError: The run has no report.
        """
        return reports.page(self._stack, reports.find(self._stack, run))

    def rollback_plan(self, _: Mapping[str, Any]) -> dict[str, Any]:
        """Return which model serves, and which one a rollback deploys."""
        current, previous = deployment.rollback(self._stack)
        return {"current": current, **self._model(previous, None)}

    def rollback(self, request: Mapping[str, Any]) -> dict[str, str]:
        """Start a run that deploys the model that served before.

        Args:
            request: `expected`, the model that the user confirmed; and `force`, whether also a model that
                is not approved.

        Raises:
            UserError: Another model would be deployed, or it is not approved.
        """
        _, previous = deployment.rollback(self._stack)
        if previous.name != request.get("expected"):
            raise UserError(
                "Another model has been deployed in the meantime, so a rollback would do something else.",
                "Look at what serves now, and decide again.",
            )
        return self._start(previous, deployment.PREVIOUS, request)

    def deploy(self, request: Mapping[str, Any]) -> dict[str, str]:
        """Start a run that deploys a registered model.

        Args:
            request: `model`, the model's name; and `force`, whether also one that is not approved.

        Raises:
            UserError: The model does not exist, or is not approved.
        """
        model = models.find(self._stack, str(request.get("model")))
        return self._start(model, model.name, request)

    def _start(self, model: Model, wanted: str, request: Mapping[str, Any]) -> dict[str, str]:
        force = request.get("force") is True
        deployment.check_approval(model, force=force)
        run = deployment.start(self._stack, wanted, {"force": True} if force else {})
        return {"run": run.id}

    def _summary(self, run: Run, serving: set[str], reported: set[str]) -> dict[str, Any]:
        snapshot = self._look(run)
        duration = (run.stopped or snapshot.now) - run.started
        return {
            "id": run.id,
            "work": terminal.plain(overview.work(snapshot.request)),
            "started": run.started.isoformat(),
            "duration": formatting.duration(duration.total_seconds()),
            "outcome": terminal.plain(overview.outcome(snapshot)),
            "ended": snapshot.ended,
            "succeeded": snapshot.succeeded,
            "serves": run.id in serving,
            "report": self._address(run.id) if run.id in reported else None,
        }

    def _model(self, model: Model, endpoint: Endpoint | None) -> dict[str, Any]:
        return {
            "version": model.version,
            "name": model.name,
            "run": id_in(model.name),
            "dataset": model.dataset,
            "trained": model.trained.isoformat(),
            "perplexity": model.test_perplexity,
            "unknown_share": model.test_unknown_share,
            "approved": model.approved,
            "approval": model.approval_word,
            "reason": model.reason,
            "serves": display.serves(model, endpoint),
            "description": display.describe(model),
        }

    def _look(self, run: Run) -> Snapshot:
        with self._lock:
            watcher = self._watchers.setdefault(run.arn, Watcher(self._stack, run))
            looked, snapshot = self._snapshots.get(run.arn, (0.0, None))
            fresh = time.monotonic() - looked < _INTERVAL[self._stack.target.local]
            if snapshot is None or not (snapshot.ended or fresh):
                snapshot = watcher.look()
                self._snapshots[run.arn] = (time.monotonic(), snapshot)
            return snapshot

    def _document(self, run: str) -> dict[str, Any] | None:
        if self._documents.get(run) is None:
            self._documents[run] = reports.document(self._stack, run)
        return self._documents[run]

    def _address(self, run: str) -> str:
        return f"{guard.REPORTS}{run}/{guard.signature(self._token, run)}"


def _result(snapshot: Snapshot) -> list[str]:
    """Return the result in paragraphs, without those for which the page has a link or a list."""
    lines = result.lines_for(snapshot) if snapshot.ended else []
    return [terminal.with_options(line) for line in lines if not line.startswith(("Report: ", "Duration: "))]


def _cost(document: Mapping[str, Any] | None) -> str:
    estimate = (document or {}).get("cost")
    try:
        return cost.of_training(estimate) if estimate else ""
    except UNREADABLE:
        return ""

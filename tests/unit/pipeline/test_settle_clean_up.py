"""What the execution is told that cleans up after one that could not do it itself."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from coordination import executions, lease
from coordination.handover import hand_over
from coordination.lease import Held

NAME = "lexline--sotu-0123456789ab"
DEAD = "arn:aws:states:eu-west-1:111122223333:execution:lexline-pipeline:first"


@pytest.mark.parametrize("wish", [{}, {"teardown": "never"}, {"teardown": {"after": "PT8H"}}])
def test_a_clean_up_does_with_the_endpoint_what_the_dead_run_was_asked_to(
    monkeypatch: pytest.MonkeyPatch, wish: dict[str, Any]
) -> None:
    """Its own input says nothing of it, so the deployment's default would count instead."""
    started: list[Mapping[str, Any]] = []

    def start(purpose: str, cause: str, document: Mapping[str, Any]) -> str:
        started.append(document)
        return DEAD.replace("first", purpose)

    asked = {"status": "ABORTED", "input": json.dumps({"dataset": "sotu", **wish})}
    held = Held("lexline", NAME, DEAD, generation=1, until=time.time() + 60)
    monkeypatch.setattr(executions, "describe", lambda arn: asked)
    monkeypatch.setattr(executions, "start", start)
    monkeypatch.setattr(lease, "read", lambda endpoint: held)
    monkeypatch.setattr(lease, "pass_on", lambda held, to: True)
    hand_over("lexline", DEAD)
    assert started == [{"cleanup_of": {"run": NAME, "execution": DEAD, "status": "ABORTED"}, **wish}]

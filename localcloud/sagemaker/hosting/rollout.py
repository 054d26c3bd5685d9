"""An update that moves an endpoint's requests from the old fleets to the new, step by step.

    for each step: ActivatingTraffic -> Baking

The update is rolled back (`RolledBack`) if one of its alarms is in ALARM at any time, or if it exceeds its
time limit.
"""

import math
import threading
import time
from collections.abc import Callable

from localcloud.sagemaker.core.host import AccessDenied, Host
from localcloud.sagemaker.hosting.update_plan import UpdatePlan

POLL = 0.2
"""Seconds between two checks of the alarms."""


class RolledBack(Exception):
    """The update must be rolled back; the message is the endpoint's FailureReason."""


class Abandoned(Exception):
    """The local cloud is shutting down; the update has no outcome."""


class Rollout:
    """One update, timed from construction."""

    def __init__(self, plan: UpdatePlan, host: Host, role: str, closing: threading.Event) -> None:
        """Prepare a rollout.

        Args:
            plan: The steps to take.
            host: Provides the states of the alarms.
            role: The execution role that must be allowed to read the alarms.
            closing: Set when the local cloud shuts down.
        """
        self._plan = plan
        self._host = host
        self._role = role
        self._closing = closing
        self._began = time.monotonic()
        self._saved = 0.0

    def run(self, step: Callable[[str, str, float], None]) -> None:
        """Move the requests; return when the new fleets have all of them and the last bake is over.

        Args:
            step: Called for each stage with the VariantStatus, the beginning of its message (a number of
                instances follows) and the new fleets' share of the requests.

        Raises:
            RolledBack: The update must be rolled back.
            Abandoned: The local cloud is shutting down.
        """
        self._check()
        for number, stage in enumerate(self._plan.steps, 1):
            capacity = "full" if number == len(self._plan.steps) else "canary"
            step("ActivatingTraffic", f"Activating traffic on {capacity} capacity of", stage.share)
            baking = f"Baking for {stage.seconds} seconds ({stage.member}) with traffic enabled on"
            step("Baking", f"{baking} {capacity} capacity of", stage.share)
            self._bake(stage.seconds)

    def _bake(self, seconds: float) -> None:
        """Wait; check the alarms throughout and once more at the end."""
        seconds = min(seconds, self._left())
        scale = self._host.wait_scale
        end = time.monotonic() + seconds * scale
        while (rest := end - time.monotonic()) > 0:
            self._check()
            if self._closing.wait(min(rest, POLL)):
                raise Abandoned
        self._saved += seconds * (1 - scale)
        self._check()

    def _check(self) -> None:
        """Raise RolledBack if the update must not continue."""
        if self._left() <= 0:
            raise RolledBack(
                "The update was rolled back because it took longer than the "
                f"{self._plan.limit} seconds of MaximumExecutionTimeoutInSeconds."
            )
        alarms = self._plan.alarms
        if not alarms:
            return
        try:
            states = self._host.alarm_states(alarms, self._role)
        except AccessDenied as denied:
            raise RolledBack(
                f"The update was rolled back because its alarms cannot be watched: {denied}"
            ) from denied
        if unknown := [name for name in alarms if name not in states]:
            raise RolledBack(f"The update was rolled back because there is no CloudWatch {_alarms(unknown)}.")
        if tripped := [name for name in alarms if states[name] == "ALARM"]:
            raise RolledBack(
                f"The update was rolled back because of CloudWatch {_alarms(tripped)} in state ALARM."
            )

    def _left(self) -> float:
        """Return the seconds left of the time limit. Shortened waits count in full."""
        if self._plan.limit is None:
            return math.inf
        return self._plan.limit - (time.monotonic() - self._began) - self._saved


def _alarms(names: list[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"alarm {quoted}" if len(names) == 1 else f"alarms {quoted}"

"""An update's requests on their way from the old fleet to the new one, step by step, under its alarms' eyes.

    for each share: ActivatingTraffic -> Baking

An alarm that is in ALARM at any moment of it, or the time limit, takes the update back (`RolledBack`).
"""

import math
import threading
import time
from collections.abc import Callable

from localcloud.sagemaker.host import AccessDenied, Host
from localcloud.sagemaker.hosting.update_plan import Shift

POLL = 0.2
"""Seconds between two looks at the alarms."""


class RolledBack(Exception):
    """The update is to be taken back; the message is the endpoint's FailureReason."""


class Abandoned(Exception):
    """The cloud is going down; what becomes of the update matters to nobody."""


class Rollout:
    """One update, from the moment its fleet is to start."""

    def __init__(self, shift: Shift, host: Host, role: str, closing: threading.Event) -> None:
        """role: the execution role, whose permissions the alarms are looked up with.
        closing: set when the cloud goes down.
        """
        self._shift = shift
        self._host = host
        self._role = role
        self._closing = closing
        self._began = time.monotonic()
        self._saved = 0.0

    def run(self, step: Callable[[str, str, float], None]) -> None:
        """Move the requests; blocks until all are with the new fleet and its bake is over.

        step: hears each stage: a VariantStatus, how its message begins (a number of instances ends it), and
            the new fleet's share of the requests from then on.

        Raises RolledBack or Abandoned.
        """
        self._look()
        for number, stage in enumerate(self._shift.steps, 1):
            capacity = "full" if number == len(self._shift.steps) else "canary"
            step("ActivatingTraffic", f"Activating traffic on {capacity} capacity of", stage.share)
            baking = f"Baking for {stage.seconds} seconds ({stage.member}) with traffic enabled on"
            step("Baking", f"{baking} {capacity} capacity of", stage.share)
            self._bake(stage.seconds)

    def _bake(self, seconds: float) -> None:
        """Wait; the alarms are looked at throughout, and once more at the end."""
        seconds = min(seconds, self._left())
        scale = self._host.wait_scale
        end = time.monotonic() + seconds * scale
        while (rest := end - time.monotonic()) > 0:
            self._look()
            if self._closing.wait(min(rest, POLL)):
                raise Abandoned
        self._saved += seconds * (1 - scale)
        self._look()

    def _look(self) -> None:
        """See whether the update may go on."""
        if self._left() <= 0:
            raise RolledBack(
                "The update was rolled back because it took longer than the "
                f"{self._shift.limit} seconds of MaximumExecutionTimeoutInSeconds."
            )
        alarms = self._shift.alarms
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
        """Seconds of the time limit that are left; waits count in full, however short they really were."""
        if self._shift.limit is None:
            return math.inf
        return self._shift.limit - (time.monotonic() - self._began) - self._saved


def _alarms(names: list[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"alarm {quoted}" if len(names) == 1 else f"alarms {quoted}"

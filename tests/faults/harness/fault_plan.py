"""The server's side of the fault plan: the faults that are still to come, matched with what happens.

A fault is a JSON object:

    kind   call | invocation | job | metrics | event | deployment | response
    on     an operation, a function, a resource or a change; client.Faults says which, by kind
    name   the beginning of the resource's name; "" means any resource
    by     the function that calls, by its name or its handler's module; "" means any caller
    after  the number of matches that pass before the fault strikes
    times  how often it strikes; null means always
    do     the effect
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

KINDS = ("call", "invocation", "job", "metrics", "event", "deployment", "response")
_FIELDS = {"kind", "on", "name", "by", "after", "times", "do"}


@dataclass
class _Fault:
    number: int
    document: dict[str, Any]
    passes: int
    """How many matches still pass before the fault strikes."""
    fired: int = 0

    @property
    def left(self) -> bool:
        times = self.document["times"]
        return times is None or self.fired < times

    def matches(self, kind: str, on: Iterable[str], names: Iterable[str], by: Iterable[str]) -> bool:
        wanted = self.document
        return (
            self.left
            and wanted["kind"] == kind
            and wanted["on"] in on
            and (not wanted["name"] or any(name.startswith(wanted["name"]) for name in names))
            and (not wanted["by"] or wanted["by"] in by)
        )


class FaultPlan:
    """The faults of a test, in order. If several match, the first one strikes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[_Fault] = []
        self._numbers = 0
        self.delays_over = threading.Event()
        """Ends the delays that faults cause, such as a late event or a slow job."""

    def add(self, document: dict[str, Any]) -> int:
        """Add a fault and return its number.

        Raises:
            ValueError: The document has other fields or an unknown kind.
        """
        if document.keys() != _FIELDS or document["kind"] not in KINDS or not document["on"]:
            raise ValueError(f"A fault has {', '.join(sorted(_FIELDS))}, and a kind of {', '.join(KINDS)}.")
        with self._lock:
            self._numbers += 1
            self._faults.append(_Fault(self._numbers, document, document["after"]))
            return self._numbers

    def has(self, kind: str) -> bool:
        """Return whether a fault of the kind is left."""
        return any(fault.left and fault.document["kind"] == kind for fault in self._faults)

    def take(
        self, kind: str, on: Iterable[str], names: Iterable[str] = (), by: Iterable[str] = ()
    ) -> dict[str, Any] | None:
        """Return the effect of the first fault that matches, and count the strike; None if none matches.

        Args:
            kind: One of KINDS.
            on: Every way to say what happens.
            names: Every name of the resource.
            by: Every name of the caller.
        """
        with self._lock:
            for fault in self._faults:
                if not fault.matches(kind, on, names, by):
                    continue
                if fault.passes:
                    fault.passes -= 1
                    continue
                fault.fired += 1
                effect: dict[str, Any] = fault.document["do"]
                return effect
        return None

    def listing(self) -> list[dict[str, Any]]:
        """Return every fault with its number and how often it has struck."""
        with self._lock:
            return [
                {"number": fault.number, "fired": fault.fired, **fault.document} for fault in self._faults
            ]

    def end_delays(self) -> None:
        """End the delays of now. Delays that start later take their whole time."""
        over, self.delays_over = self.delays_over, threading.Event()
        over.set()

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults = []

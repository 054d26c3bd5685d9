"""The server's side of the fault plan: what is still to go wrong, matched against what happens.

A fault is a document:

    kind    call | invocation | job | metrics | event | endpoint | answer
    on      what it waits for: an operation, a function, a resource, a change (plan.Faults says which, by
    kind) name    how the resource's name begins; "" is any by      the function that calls, by its name or
    its handler's module; "" is anybody after   how many matches pass before it strikes times   how many it
    strikes; null is every one do      what then happens
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

KINDS = ("call", "invocation", "job", "metrics", "event", "endpoint", "answer")
_MEMBERS = {"kind", "on", "name", "by", "after", "times", "do"}


@dataclass
class _Planned:
    number: int
    document: dict[str, Any]
    after: int
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


class Plan:
    """A queue of faults. Of two that match, the one that was added first strikes.

    `due` is set when what takes its time by a fault is to be over, however much of its time is left.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []
        self._numbers = 0
        self.due = threading.Event()

    def add(self, document: dict[str, Any]) -> int:
        """The fault's number. Raises ValueError for a document of another form."""
        if document.keys() != _MEMBERS or document["kind"] not in KINDS or not document["on"]:
            raise ValueError(f"A fault has {', '.join(sorted(_MEMBERS))}, and a kind of {', '.join(KINDS)}.")
        with self._lock:
            self._numbers += 1
            self._planned.append(_Planned(self._numbers, document, document["after"]))
            return self._numbers

    def waits(self, kind: str) -> bool:
        """Whether any fault of the kind is left."""
        return any(planned.left and planned.document["kind"] == kind for planned in self._planned)

    def take(
        self, kind: str, on: Iterable[str], names: Iterable[str] = (), by: Iterable[str] = ()
    ) -> dict[str, Any] | None:
        """What the first fault that matches does, and it has struck once more; None when none does.

        on, names, by: all the ways to say what has happened, to whom, and who did it.
        """
        with self._lock:
            for planned in self._planned:
                if not planned.matches(kind, on, names, by):
                    continue
                if planned.after:
                    planned.after -= 1
                    continue
                planned.fired += 1
                strike: dict[str, Any] = planned.document["do"]
                return strike
        return None

    def listing(self) -> list[dict[str, Any]]:
        """Every fault, with its number and how often it has struck."""
        with self._lock:
            return [
                {"number": planned.number, "fired": planned.fired, **planned.document}
                for planned in self._planned
            ]

    def catch_up(self) -> None:
        """What takes its time now is over; what begins to from now on has all of it."""
        due, self.due = self.due, threading.Event()
        due.set()

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._planned = []

"""Use all processors of a host: run a function in several processes.

The processes are forked, as those of torch's DataLoader are: they start within milliseconds and share the
modules and data of this process. They must not use torch or other ranks.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from user_error import UserError

T = TypeVar("T")
U = TypeVar("U")


class ProcessLost(UserError):
    """A process ended before it had a result."""


def own_processors() -> int:
    """Return how many of the host's processors are this rank's."""
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def run(function: Callable[[T], U], items: Sequence[T]) -> list[U]:
    """Return the function's result for each item. Each has a process of its own; a single item needs none.

    Raises:
        UserError: The function raised it.
        ProcessLost: The function raised another error, or its process was killed.
    """
    if len(items) == 1:
        return [function(items[0])]
    context = multiprocessing.get_context("fork")
    processes, results = [], []
    try:
        for item in items:
            receiving, sending = context.Pipe(duplex=False)
            process = context.Process(target=_send, args=(sending, function, item), daemon=True)
            process.start()
            processes.append(process)
            results.append(receiving)
            sending.close()
        return [_receive(receiving) for receiving in results]
    finally:
        # After an error or a signal the other processes still run.
        for process in processes:
            process.kill()
            process.join()


def _send(sending: Connection, function: Callable[[T], U], item: T) -> None:
    try:
        sending.send(function(item))
    except UserError as error:
        sending.send(error)


def _receive(receiving: Connection) -> Any:
    try:
        result = receiving.recv()
    except EOFError:
        raise ProcessLost(
            "A process that read the text ended early. Its error is in the log above. If there is none, it "
            "was killed: choose an instance type with more memory."
        ) from None
    if isinstance(result, UserError):
        raise result
    return result

"""What is left out of a corpus, as entries and as the error if nothing else is there."""

from collections.abc import Sequence

from contracts.dataset import LeftOut
from core import errors
from core.errors import DatasetEmpty, InvalidDataset
from core.text import cut

# An error shows this many entries, each cut to so many characters, because it becomes part of a state.
_SHOWN = 5
LONGEST_NAME = 200
LONGEST_REASON = 500


def left_out(name: str, error: InvalidDataset) -> LeftOut:
    """Return the entry for a file that cannot be read."""
    return LeftOut(name=name, reason=str(error), error=type(error).__name__)


def shortened(entry: LeftOut) -> LeftOut:
    """Return the entry with its name and reason cut to a length for documents between steps."""
    return entry.model_copy(
        update={"name": cut(entry.name, LONGEST_NAME), "reason": cut(entry.reason, LONGEST_REASON)}
    )


def nothing_left(dataset: str, entries: Sequence[LeftOut]) -> InvalidDataset:
    """Return the error for a dataset of which everything is left out.

    Its class is that of the first file which is more than a README or a marker.
    """
    serious = [entry for entry in entries if entry.error]
    shown = [shortened(entry) for entry in (serious or entries)[:_SHOWN]]
    sentences = " ".join(f"{entry.name}: {entry.reason}" for entry in shown)
    more = f" {len(entries) - len(shown):,} more files were left out." if len(entries) > len(shown) else ""
    kind = getattr(errors, serious[0].error, DatasetEmpty) if serious else DatasetEmpty
    error: InvalidDataset = kind(f"There is no text to train on under uploads/{dataset}/. {sentences}{more}")
    return error

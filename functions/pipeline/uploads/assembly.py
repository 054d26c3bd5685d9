"""The manifest of a corpus, from the results of all items: the splits, the fingerprint, what is left out."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.dataset import ItemResult, Manifest, Plan, Prepared


def assemble(plan: Plan, results: Iterable[ItemResult], run: str) -> Manifest:
    """Decide the split of every block, and return the manifest without its preview.

    Args:
        plan: the plan.
        results: the results of the plan's items, in their order.
        run: the run's name.

    Raises:
        SplitIncomplete: One or two files of train, valid and test are missing. A run that an upload started
            may end as waiting.
        SplitAmbiguous: Two files are the same split, or there are several sets of train, valid and test.
        DatasetTooSmall: The text is too short to be split.
        InvalidDataset: All files are left out. The subclass is the reason of the first.
    """
    raise NotImplementedError

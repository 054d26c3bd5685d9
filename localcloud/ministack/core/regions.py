"""The region of a request, and the regions in which something is stored.

A request's region is in the credential scope of its signature. MiniStack stores the resources of regional
services by region, and finds the current region in a context variable, which a new thread does not inherit.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from localcloud.ministack.core.options import ACCOUNT


def current() -> str:
    """Return the region of the request that is being handled, or the default region."""
    from ministack.core import responses

    return str(responses.get_region())


def entered(region: str) -> AbstractContextManager[None]:
    """Return a context in which `region` is the current one."""
    from ministack.core import responses

    context: AbstractContextManager[None] = responses.request_scope(ACCOUNT, region)
    return context


def each_with(store: Any) -> Iterator[str]:
    """Yield each region in which the store has items. It is the current region until the next one."""
    for region in {region for (_, region, _), _ in store.all_items()}:
        with entered(region):
            yield region

"""Proxies: requests to this machine go past them.

The SDK, the SAM CLI, pip and Ray read the proxies from the environment. A proxy cannot reach a server on this
machine's loopback interface.
"""

from collections.abc import Mapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with a no_proxy that also names this machine.

    Programs read no_proxy or NO_PROXY, so both get the value. As in Python's urllib and in curl, no_proxy
    counts if they differ.
    """
    value = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    hosts = [host.strip() for host in value.split(",") if host.strip()]
    if hosts != ["*"]:  # The star stands for every host, but only if it is alone.
        hosts += [host for host in LOOPBACK if host not in hosts]
    return {**environment, **dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(hosts))}

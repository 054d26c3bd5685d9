"""Lambda: credentials, errors, limits and log lines of functions as on AWS, and a quick start of functions.

credentials    only the server knows a function's credentials
failures       the payload of a failed invocation
log_lines      every line of an invocation is in its log
concurrency    what happens beyond the limit of concurrent invocations
layers         a layer is unpacked once
forks          a function with layers starts as a fork
fork_server    the process that forks
worker_script  the changes to the script in which MiniStack runs a function
"""

from localcloud.ministack.lambda_functions import concurrency, credentials, failures, forks, layers, log_lines


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    failures.patch()
    concurrency.patch()
    log_lines.patch()
    credentials.patch()
    layers.patch()
    forks.patch()

"""The URL of an API in the outputs of a stack.

AWS: an API has a host of its own under amazonaws.com, and a template composes its URL.
https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-call-api.html
MiniStack: it serves every API below its own address, and the output has the host under amazonaws.com.
Here: the outputs have the URL at which the API is served.
"""

import functools
import os
import re
from typing import Any

_ON_AWS = re.compile(r"https://([a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com")


def patch() -> None:
    """Replace the URLs of APIs in the outputs of stacks."""
    from ministack.services.cloudformation import stacks

    resolve = stacks._resolve_stack_outputs
    here = rf"{os.environ['AWS_ENDPOINT_URL']}/_aws/execute-api/\1"

    @functools.wraps(resolve)
    def resolve_with_urls(*args: Any) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        outputs, exports = resolve(*args)
        for output in outputs:
            output["OutputValue"] = _ON_AWS.sub(here, output["OutputValue"])
        for export in exports.values():
            export["Value"] = _ON_AWS.sub(here, export["Value"])
        return outputs, exports

    stacks._resolve_stack_outputs = resolve_with_urls

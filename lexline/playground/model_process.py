"""Run one model in a process of its own: read requests from stdin, and write responses to stdout.

    python model_process.py FOLDER    FOLDER has the files of an artifact

Each request is a line of JSON: the body of a request to the endpoint. The response is a line of JSON, with
`error` if the request is invalid. The scripts in the artifact do not run here. They may be anybody's, and
this machine's own scripts read the same format.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "model_scripts"))

import inference
from request_body import InvalidRequest
from user_error import UserError


def main() -> None:
    """Load the model, and respond until stdin ends."""
    # Whatever prints must not disturb the responses.
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def respond(document: object) -> None:
        print(json.dumps(document), file=responses, flush=True)

    try:
        served = inference.load(sys.argv[1])
    except UserError as error:
        respond({"error": str(error)})
        return
    respond({"loaded": True})
    for line in sys.stdin:
        try:
            respond(served.generate(inference.parse(line.strip(), inference.JSON)))
        except InvalidRequest as error:
            respond({"error": str(error)})


if __name__ == "__main__":
    main()

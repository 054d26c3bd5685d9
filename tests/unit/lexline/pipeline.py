"""The pipeline's definitions that the command has to agree with. Tests import them from here."""

import json
from pathlib import Path

from contracts import ExecutionInput as Request
from contracts import Report
from cost import PriceTable
from endpoint import MODEL, PREVIOUS_MODEL
from endpoint import TAKE_DOWN_AT as TEARDOWN_AT
from endpoint import TAKE_DOWN_WHEN_IDLE as TEARDOWN_WHEN_IDLE
from errors import InvalidInput
from names import run_name
from report import PRICES

__all__ = [
    "MODEL",
    "PREVIOUS_MODEL",
    "PRICES",
    "STATES",
    "TEARDOWN_AT",
    "TEARDOWN_WHEN_IDLE",
    "InvalidInput",
    "PriceTable",
    "Report",
    "Request",
    "run_name",
]

_MACHINE = Path(__file__).parents[3] / "statemachine" / "pipeline.asl.json"
STATES = {name: state["Type"] for name, state in json.loads(_MACHINE.read_text())["States"].items()}
"""The type of each state of the state machine."""

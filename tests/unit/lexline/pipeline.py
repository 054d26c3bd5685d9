"""The pipeline's definitions that the command has to agree with. Tests import them from here."""

import json
from pathlib import Path

import endpoint
from contracts import ExecutionInput as ExecutionInput
from contracts import Report as Report
from cost import PriceTable as PriceTable
from errors import InvalidInput as InvalidInput
from names import run_name as run_name
from report import PRICES as PRICES

TAGS = (endpoint.MODEL, endpoint.PREVIOUS_MODEL, endpoint.TAKE_DOWN_AT, endpoint.TAKE_DOWN_WHEN_IDLE)
"""The tags of endpoint configs."""
_MACHINE = Path(__file__).parents[3] / "statemachine" / "pipeline.asl.json"
STATES = {name: state["Type"] for name, state in json.loads(_MACHINE.read_text())["States"].items()}
"""The type of each state of the state machine."""

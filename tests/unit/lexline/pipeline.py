"""The pipeline's definitions that the command has to agree with. Tests import them from here."""

import json
from pathlib import Path

from contracts.report import Report as Report
from contracts.request import ExecutionInput as ExecutionInput
from contracts.run import Gathered as Gathered
from contracts.run import Run as Run
from core.errors import InvalidInput as InvalidInput
from core.names import run_name as run_name
from reporting import prices as prices
from reporting import step_names as step_names
from reporting.prices import PriceTable as PriceTable
from serving import tags as tags

_MACHINE = Path(__file__).parents[3] / "statemachine" / "pipeline.asl.json"
STATES = {name: state["Type"] for name, state in json.loads(_MACHINE.read_text())["States"].items()}
"""The type of each state of the state machine."""

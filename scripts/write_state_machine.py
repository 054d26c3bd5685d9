"""Write the state machine's definition as JSON, from its source in YAML.

    python scripts/write_state_machine.py            # rewrite statemachine/pipeline.asl.json
    python scripts/write_state_machine.py --check    # change nothing; exit 1 if the JSON is out of date

The source repeats its common parts by YAML anchors, which JSON does not have.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent.parent / "statemachine"
SOURCE = FOLDER / "pipeline.asl.yaml"
DEFINITION = FOLDER / "pipeline.asl.json"
# The depth of a state's fields: machine, states, state.
_FIELDS = 3


def definition(source: str) -> str:
    """Return the definition in JSON: a line for each field of a state, so that a change is easy to see."""
    return _lines(yaml.safe_load(source)["Machine"], _FIELDS) + "\n"


def _lines(value: Any, levels: int, indent: str = "") -> str:
    if not levels or not isinstance(value, dict):
        return json.dumps(value)
    inner = indent + "  "
    items = [f"{inner}{json.dumps(key)}: {_lines(item, levels - 1, inner)}" for key, item in value.items()]
    return "{\n" + ",\n".join(items) + f"\n{indent}}}"


def main() -> int:
    """Write the definition, or compare it with the file; return the exit code."""
    parser = argparse.ArgumentParser(description="Write statemachine/pipeline.asl.json from its YAML source.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the JSON is out of date"
    )
    written = definition(SOURCE.read_text(encoding="utf-8"))
    if not parser.parse_args().check:
        DEFINITION.write_text(written, encoding="utf-8")
    elif written != DEFINITION.read_text(encoding="utf-8"):
        print("statemachine/pipeline.asl.json is out of date: run `make generate`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

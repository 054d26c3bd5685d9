"""The contract with MiniStack's internals: an upgrade that moves one fails here, and at start, by its name.

MiniStack changes the process it is imported into, so each test looks at it from another one.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOOK = """
import json, os, sys
from pathlib import Path
from localcloud import ministack
os.environ.update(ministack.settings(Path(sys.argv[1]), 4566))
exec(sys.argv[2])
try:
    ministack.MiniStack(4566)
    refused = ""
except ministack.MiniStackMoved as error:
    refused = str(error)
print("RESULT", json.dumps({"moved": ministack.moved() if refused else [], "refused": refused}))
"""


def look(state: Path, change: str = "") -> Any:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(state), change], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.split("RESULT ")[1])


def test_the_installed_ministack_is_the_one_the_local_cloud_is_written_for(tmp_path: Path) -> None:
    assert look(tmp_path) == {"moved": [], "refused": ""}


def test_a_moved_internal_is_refused_by_name(tmp_path: Path) -> None:
    changes = (
        "from ministack.core import lambda_runtime as runtime",
        "from ministack.services import eventbridge, stepfunctions, sts",
        "del stepfunctions._invoke_with_callback, sts._sessions",
        "eventbridge._put_events = lambda entries: None",
        "runtime._PYTHON_WORKER_SCRIPT = 'print()'",
    )
    found = look(tmp_path, "\n".join(changes))
    assert "ministack.services.stepfunctions:_invoke_with_callback is gone" in found["moved"]
    assert "ministack.services.sts:_sessions is gone" in found["moved"]
    moved = "ministack.services.eventbridge:_put_events takes (entries), not (data, allow_aws_source)"
    assert moved in found["moved"]
    assert any(entry.startswith("the Lambda worker's script lacks") for entry in found["moved"])
    assert all(entry in found["refused"] for entry in found["moved"])


def test_another_version_is_refused(tmp_path: Path) -> None:
    assert look(tmp_path, "ministack.VERSION = '9.9.9'")["refused"].endswith("version is 1.5.33, not 9.9.9")


def test_no_two_starts_share_credentials(tmp_path: Path) -> None:
    from localcloud import ministack

    first, second = ministack.new_credentials(), ministack.new_credentials()
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert first[0].startswith("AKIA")
    assert len(first[0]) == 20
    assert len(first[1]) == 40

"""An artifact of the training image's PyTorch is served by that of the hosting image.

AWS's Ray image has another Python and another PyTorch than the training image, so it needs an environment of
its own. HOSTING_PYTHON names that environment's interpreter.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.model_scripts.conftest import SCRIPTS, Job, write_corpus, write_large_vocabulary

HOSTING = "python3.13 -m venv hosting && hosting/bin/pip install torch==2.10.0 numpy"
"""Ray image v1.4: Python 3.13, PyTorch 2.10 (AWS's deep-learning-containers, release notes of Ray Serve)."""
GENERATE = """
import json, sys, inference, torch

pytestmark = pytest.mark.slow
served = inference.load(sys.argv[1])
requests = [{"words": 30, "seed": 7}, {"words": 30, "seed": 7, "top_k": 5, "prompt": sys.argv[2]}]
responses = [served.generate(inference.parse(json.dumps(each), "application/json")) for each in requests]
print(json.dumps({"torch": torch.__version__, "words": [each["words"] for each in responses]}))
"""


@pytest.mark.skipif(
    "HOSTING_PYTHON" not in os.environ, reason=f"HOSTING_PYTHON is not set. To make one: {HOSTING}"
)
@pytest.mark.parametrize(
    ("recipe", "write", "prompt"),
    [("classic", write_corpus, "When it rains"), ("fast", write_large_vocabulary, "word7 word8")],
)
def test_the_hosting_images_pytorch_serves_a_new_model(
    tmp_path: Path, recipe: str, write: Callable[[Path], Path], prompt: str
) -> None:
    job = Job(tmp_path / "job", write(tmp_path / "training"))
    assert job.run(epochs=1, recipe=recipe) == 0
    done = subprocess.run(
        [os.environ["HOSTING_PYTHON"], "-c", GENERATE, str(job.model), prompt],
        env={"PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["torch"].startswith("2.10")
    assert all(printed["words"])

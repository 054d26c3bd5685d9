"""The process in which `lexline playground` runs a registered model."""

import json
import subprocess
import sys
from pathlib import Path

import inference
from lexline.playground import model_process

REQUESTS = [
    {"words": 5, "seed": 7, "return_log_probabilities": True, "alternatives": 2, "n": 2},
    {"words": 0},
    {"text": "Anna wants bread."},
    "no object",
]


def test_it_responds_as_the_endpoint_does(untrained: Path) -> None:
    done = subprocess.run(
        [sys.executable, model_process.__file__, str(untrained)],
        input="".join(json.dumps(request) + "\n" for request in REQUESTS),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    loaded, text, refused, scores, no_object = map(json.loads, done.stdout.splitlines())
    served = inference.load(untrained)
    assert loaded == {"loaded": True}
    for request, response in ((REQUESTS[0], text), (REQUESTS[2], scores)):
        expected = served.generate(inference.parse(json.dumps(request), inference.JSON))
        assert {**response, "model": ""} == {**expected, "model": ""}
    assert refused == {"error": "words must be a whole number from 1 to 1,000."}
    assert "JSON object" in no_object["error"]


def test_an_artifact_of_another_format_is_refused(untrained: Path, tmp_path: Path) -> None:
    config = json.loads((untrained / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "format": 1}))
    done = subprocess.run(
        [sys.executable, model_process.__file__, str(tmp_path)],
        input="",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "has format 1, of an older version" in json.loads(done.stdout)["error"]

import json
import sys
from pathlib import Path

import pytest
import torch
from sagemaker_inference.errors import GenericInferenceToolkitError

import generate
from generate import input_fn, model_fn, output_fn, predict_fn
from tests.unit.model_scripts.conftest import Patch


def test_a_response_has_the_text_and_its_origin(untrained: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("LEXLINE_MODEL", "lexline-sotu-0123456789ab")
    served = model_fn(str(untrained))
    request = input_fn('{"seed": 7, "temperature": 0.8, "words": 12, "prompt": "Anna"}', "application/json")
    body, content_type = output_fn(predict_fn(request, served), "application/json")
    answer = json.loads(body)
    assert content_type == "application/json"
    assert len(answer.pop("text").split()) == 12
    origin = {"seed": 7, "temperature": 0.8, "model": "lexline-sotu-0123456789ab"}
    assert answer.pop("tokens") >= 12
    assert answer == {
        "words": 12,
        **origin,
        "unknown_words": [],
        "finish_reason": "length",
        "prompt_tokens": 1,
    }


def test_an_invalid_request_has_status_400(untrained: Path) -> None:
    with pytest.raises(
        GenericInferenceToolkitError, match="words must be a whole number from 1 to 1,000"
    ) as refusal:
        input_fn('{"words": 0}', "application/json")
    assert refusal.value.status_code == 400
    request = input_fn('{"prompt": "Zyxgrv"}', "application/json")
    with pytest.raises(GenericInferenceToolkitError, match="prompt has no word") as refusal:
        predict_fn(request, model_fn(str(untrained)))
    assert refusal.value.status_code == 400


def test_without_the_toolkit_the_sentence_is_the_error(monkeypatch: Patch) -> None:
    monkeypatch.setitem(sys.modules, "sagemaker_inference.errors", None)
    with pytest.raises(generate.InvalidRequest, match="words must be a whole number from 1 to 1,000"):
        input_fn('{"words": 0}', "application/json")


def test_loading_runs_no_code_from_the_artifact(untrained: Path, tmp_path: Path) -> None:
    for name in ("config.json", "vocabulary"):
        (tmp_path / name).write_bytes((untrained / name).read_bytes())
    torch.save({"encoder.weight": Path("a pickled object")}, tmp_path / "model.pt")
    with pytest.raises(Exception, match=r"Weights only load failed"):
        model_fn(str(tmp_path))

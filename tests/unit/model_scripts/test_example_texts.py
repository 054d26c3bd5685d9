"""The texts that metrics.json shows of a finished model."""

import json
from typing import Any

import numpy as np
import pytest

import example_texts
import inference
from example_texts import beginning
from request_body import Request
from tests.unit.model_scripts.conftest import CANARY, Capture, Job, Patch
from vocabulary import END_OF_LINE, UNKNOWN, Vocabulary

WORDS = Vocabulary([UNKNOWN, END_OF_LINE, "the", "old", "king", "￭,", "1813"])


def numbers(text: str) -> Any:
    return np.array(WORDS.encode(text.split()), dtype=np.int32)


def test_samples_are_what_the_artifact_answers(trained: Job) -> None:
    served = inference.load(trained.model)
    found = trained.metrics()["samples"]
    assert len(found) == 4
    assert {sample["temperature"] for sample in found} == {0.7, 1.0}
    for sample in found:
        assert sample.pop("text") == served.generate(Request(**sample, words=40))["text"]


def test_some_samples_begin_as_lines_of_valid_do(trained: Job) -> None:
    prompts = {sample["prompt"] for sample in trained.metrics()["samples"]}
    assert "" in prompts
    (prompt,) = prompts - {""}
    assert len(prompt.split()) == 2
    valid = (trained.channel / "valid").read_text().splitlines()
    assert sum(line.startswith(prompt) for line in valid) > 1


def test_the_artifact_holds_no_samples(trained: Job) -> None:
    content = (trained.model / "metrics.json").read_text()
    assert "samples" not in json.loads(content)
    assert CANARY not in content


def test_a_job_without_example_texts_succeeds(job: Job, monkeypatch: Patch, capfd: Capture) -> None:
    def load(directory: object) -> None:
        raise ArithmeticError("the weights\nare no numbers")

    monkeypatch.setattr(example_texts.inference, "load", load)
    assert job.run(epochs=1) == 0
    assert job.metrics()["samples"] == []
    assert 'samples=none reason="ArithmeticError: the weights are no numbers"\n' in capfd.readouterr().out
    assert (job.data / "training_curve.svg").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("old king the <eos> the king <eos> <eos> the king ￭, <eos>", ["the", "king"]),
        ("the old <eos>", ["the", "old"]),
        ("the old", ["the", "old"]),
        ("the <eos> old <eos> ￭, the <eos> 1813 the <eos> unheard the <eos> king ￭, the <eos>", []),
        ("<eos>", []),
        ("the", []),
    ],
)
def test_a_beginning_is_two_words_that_lines_share(text: str, expected: list[str]) -> None:
    assert beginning(numbers(text), WORDS) == expected

"""The script that a person with a GPU runs, here without one."""

from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import Case


def test_without_a_gpu_it_says_where_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(
        f"PyTorch {torch.__version__} finds no GPU here. Run this script on a machine with"
    )
    assert not said.out


def test_a_row_has_the_perplexity_of_the_same_weights_on_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for split, lines in (("train", 200), ("valid", 60), ("test", 60)):
        (texts / split).write_text("the cat sat on the mat\na dog ran\n" * lines)
    small = Case("small", {"recipe": "fast", "emsize": 8, "nhid": 8}, on_gpu=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "CASES", [small])
    assert gpu.main(["--data", str(texts), "--words", "2000"]) == 0
    row = capsys.readouterr().out.strip().splitlines()[-1].strip("| ").split(" | ")
    name, device, _, words_per_second, test_perplexity, on_processor, memory = row
    assert (name, memory) == ("small", "-")
    assert device.endswith(", FP32")
    assert int(words_per_second.replace(",", "")) > 0
    assert float(on_processor) == pytest.approx(float(test_perplexity), rel=1e-4)

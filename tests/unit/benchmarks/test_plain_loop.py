"""The plain loop learns, and its artifact generates text."""

from pathlib import Path

import pytest
import torch

from benchmarks import plain_loop
from benchmarks.plain_loop import Corpus, PlainModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    for split, lines in (("train", 800), ("valid", 60), ("test", 60)):
        (data / split).write_text("the cat sat on the mat\n" * lines)
    return data


def test_its_corpus_has_every_word_in_order_and_an_end_after_each_line(folder: Path) -> None:
    corpus = Corpus(folder)
    assert corpus.dictionary.idx2word == ["the", "cat", "sat", "on", "mat", "<eos>"]
    assert corpus.valid[:7].tolist() == [0, 1, 2, 3, 0, 4, 5]


def test_columns_run_down_the_text_and_targets_are_the_words_after() -> None:
    source = plain_loop.batchify(torch.arange(11), 2)
    assert source.tolist() == [[0, 5], [1, 6], [2, 7], [3, 8], [4, 9]]
    words, targets = plain_loop.get_batch(source, 2)
    assert words.tolist() == [[2, 7], [3, 8]]
    assert targets.tolist() == [3, 8, 4, 9]


def test_it_learns_and_its_artifact_holds_the_corpus_and_generates(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_loop, "EMSIZE", 12)
    monkeypatch.setattr(plain_loop, "NHID", 12)
    torch.manual_seed(1)
    corpus = Corpus(folder)
    model = PlainModel(len(corpus.dictionary))
    before = plain_loop.mean_loss(model, corpus.test)
    batches: list[int] = []
    seconds = plain_loop.train_epoch(
        model,
        plain_loop.batchify(corpus.train, plain_loop.BATCH_SIZE),
        lr=5.0,
        after_batch=lambda batch, _: batches.append(batch),
    )
    assert batches == list(range(1, len(seconds) + 1))
    assert plain_loop.mean_loss(model, corpus.test) < before
    plain_loop.save(model, folder, tmp_path / "artifact")
    loaded, corpus = plain_loop.load(tmp_path / "artifact")
    assert len(plain_loop.generate(loaded, corpus, 5)) == 5
    loaded.decoder.bias.data += 20
    with pytest.raises(RuntimeError):  # its exp overflows, as the loop's that it stands for
        plain_loop.generate(loaded, corpus, 5, temperature=0.01)

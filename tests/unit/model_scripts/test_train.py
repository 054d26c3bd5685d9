import json
import math
import re
from pathlib import Path

import pytest
import torch

import corpus_files
import language_model
import tokenizer
import train
from perplexity import mean_loss, perplexity
from tests.unit.model_scripts.conftest import CANARY, Job
from vocabulary import Vocabulary

NUMBER = r"([0-9.eE+-]+|inf|nan)"


def metrics(job: Job) -> dict[str, object]:
    document: dict[str, object] = json.loads((job.data / "metrics.json").read_text())
    return document


def test_the_artifact_is_weights_vocabulary_config_metrics_and_code(trained: Job) -> None:
    assert sorted(path.name for path in trained.model.iterdir()) == [
        "code",
        "config.json",
        "metrics.json",
        "model.pt",
        "vocabulary",
    ]
    assert sorted(path.name for path in trained.data.iterdir()) == ["metrics.json", "training_curve.png"]
    assert (trained.data / "training_curve.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_the_artifact_never_holds_the_corpus(trained: Job) -> None:
    for path in trained.model.rglob("*"):
        if path.is_file():
            content = path.read_bytes().decode("utf-8", "replace")
            assert CANARY not in content, path
            assert "keeper hid seven" not in content, path
            assert str(trained.channel) not in content, path


def test_it_learns(trained: Job) -> None:
    found = metrics(trained)
    # Who and what are drawn at random from four each, and one of four sentences: no model can reach 1.
    assert found["test_perplexity"] < 4  # type: ignore[operator]
    assert found["test_perplexity"] > 1  # type: ignore[operator]


def test_metrics_tell_the_whole_run(trained: Job) -> None:
    found = metrics(trained)
    assert found == json.loads((trained.model / "metrics.json").read_text())
    epochs = found["epochs"]
    assert isinstance(epochs, list)
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    best = min(epochs, key=lambda epoch: epoch["valid_loss"])
    assert found["best_epoch"] == best["epoch"]
    assert (
        found["valid_perplexity"] == best["valid_perplexity"] == pytest.approx(math.exp(best["valid_loss"]))
    )
    assert found["stopped"] is None
    assert found["tokenizer"] == "prose"
    words = (trained.model / "vocabulary").read_text(encoding="utf-8").splitlines()
    assert found["vocabulary_size"] == len(words)
    assert words[:2] == ["<unk>", "<eos>"]


def test_the_log_has_the_lines_that_metric_definitions_read(
    job: Job, capfd: pytest.CaptureFixture[str]
) -> None:
    assert job.run("--epochs", "2", "--log-interval", "10") == 0
    log = capfd.readouterr().out
    found = metrics(job)
    assert re.search(
        rf"^vocabulary_size={found['vocabulary_size']} parameters={found['parameters']} "
        rf"train_tokens={found['train_tokens']}$",
        log,
        re.MULTILINE,
    )
    assert re.search(
        rf"^epoch=1/2 step=10/\d+ lr=20 words_per_second=\d+ train_loss={NUMBER} train_perplexity={NUMBER}$",
        log,
        re.MULTILINE,
    )
    assert re.search(
        rf"^epoch=2/2 seconds={NUMBER} valid_loss={NUMBER} valid_perplexity={NUMBER}$", log, re.MULTILINE
    )
    test = re.search(rf"^test_loss={NUMBER} test_perplexity={NUMBER}$", log, re.MULTILINE)
    assert test
    assert float(test[2]) == pytest.approx(found["test_perplexity"], abs=0.005)


def test_an_epoch_shorter_than_the_log_interval_still_logs_one_step(
    job: Job, capfd: pytest.CaptureFixture[str]
) -> None:
    assert job.run("--epochs", "1", "--log-interval", "100000") == 0
    assert len(re.findall(r"train_perplexity=", capfd.readouterr().out)) == 1


def test_the_reported_perplexity_comes_out_again_from_the_artifact(trained: Job) -> None:
    model, config = language_model.load(trained.model)
    vocabulary = Vocabulary.load(trained.model / "vocabulary")
    words = tokenizer.BY_NAME[config["tokenizer"]].split
    test = vocabulary.encode_lines(words(line) for line in corpus_files.lines(trained.channel / "test"))
    assert perplexity(mean_loss(model, test)) == pytest.approx(metrics(trained)["test_perplexity"], rel=1e-6)


def weights(job: Job) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(job.model / "model.pt", weights_only=True)
    return state


def test_the_same_seed_trains_the_same_model(tmp_path: Path, corpus: Path) -> None:
    first, second, other = (Job(tmp_path / name, corpus) for name in ("first", "second", "other"))
    for job, seed in ((first, "5"), (second, "5"), (other, "6")):
        assert job.run("--epochs", "1", "--seed", seed) == 0
    assert all(torch.equal(tensor, weights(second)[name]) for name, tensor in weights(first).items())
    assert not torch.equal(weights(first)["encoder.weight"], weights(other)["encoder.weight"])


def script_valid_losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Lets valid's losses (and last the test's) be the ones given."""
    left = iter(losses)
    monkeypatch.setattr(train, "mean_loss", lambda model, tokens: next(left))


def test_the_learning_rate_is_quartered_when_valid_does_not_improve(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_valid_losses(monkeypatch, [3.0, 2.0, 2.0, 2.5, 1.5, 1.0])
    assert job.run("--epochs", "5") == 0
    epochs = metrics(job)["epochs"]
    assert isinstance(epochs, list)
    assert [epoch["lr"] for epoch in epochs] == [20, 20, 20, 5, 1.25]
    assert metrics(job)["best_epoch"] == 5


def test_the_best_epochs_weights_are_kept_not_the_last_ones(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two, four = Job(tmp_path / "two", corpus), Job(tmp_path / "four", corpus)
    script_valid_losses(monkeypatch, [3.0, 2.0, 1.0])
    assert two.run("--epochs", "2") == 0
    script_valid_losses(monkeypatch, [3.0, 2.0, 2.5, 2.4, 1.0])
    assert four.run("--epochs", "4") == 0
    assert metrics(four)["best_epoch"] == 2
    assert all(torch.equal(tensor, weights(two)[name]) for name, tensor in weights(four).items())


def test_a_loss_that_stops_being_a_number_ends_training_with_the_best_epoch(
    job: Job, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script_valid_losses(monkeypatch, [3.0, 2.0, math.nan, 1.5])
    assert job.run("--epochs", "9") == 0
    found = metrics(job)
    assert found["best_epoch"] == 2
    assert found["stopped"] == ("the loss on valid became nan in epoch 3; the best epoch so far, 2, is kept")
    assert f"stopped early: {found['stopped']}" in capfd.readouterr().out
    assert found["test_perplexity"] == pytest.approx(math.exp(1.5))


def fails_with(job: Job, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentence a failing job says; checks that it is said everywhere it should be."""
    assert job.run(*arguments) == 1
    said = capfd.readouterr().err
    assert "Traceback" not in said
    sentence = job.failure.read_text(encoding="utf-8")
    assert f"error: {sentence}\n" in said
    return sentence


def test_training_that_diverges_at_once_says_what_to_change(
    job: Job, capfd: pytest.CaptureFixture[str]
) -> None:
    sentence = fails_with(job, capfd, "--lr", "1e30", "--clip", "1e30")
    assert re.match(r"Training diverged: the loss became [^ ]+ in epoch 1, step \d+\.", sentence)
    assert "lr" in sentence


def test_an_unknown_hyperparameter_is_named(job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    assert "Unknown hyperparameter 'hidden'" in fails_with(job, capfd, "--hidden", "3")


def test_a_missing_split_is_named(job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    (job.channel / "valid").unlink()
    assert "no valid file" in fails_with(job, capfd)


def test_a_batch_too_large_for_the_corpus_is_refused_with_the_most_it_can_be(
    tmp_path: Path, corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (corpus / "train").write_text("a b a b a\n")
    sentence = fails_with(Job(tmp_path / "job", corpus), capfd)
    assert "batch_size 4 is too large for 6 training tokens: it can be at most 3" in sentence


def test_a_missing_channel_is_explained(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SM_CHANNEL_TRAINING", "SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert train.main([]) == 1
    assert "error: The environment lacks SM_CHANNEL_TRAINING" in capfd.readouterr().err


def test_already_tokenized_text_keeps_its_words_and_its_own_unk(tmp_path: Path) -> None:
    channel = tmp_path / "training"
    channel.mkdir()
    for split in ("train", "valid", "test"):
        lines = " = Title = \n \n The <unk> , role @-@ playing , did n't rain . \n" * (
            30 if split == "train" else 3
        )
        (channel / f"wiki.{split}.tokens").write_text(lines + " unique \n")
    job = Job(tmp_path / "job", channel)
    assert job.run("--epochs", "1") == 0
    assert metrics(job)["tokenizer"] == "tokenized"
    assert "unique" in (job.model / "vocabulary").read_text().split("\n")


def test_columns_run_down_the_text_and_the_rest_is_left_out() -> None:
    import numpy as np

    columns = train.batchify(np.arange(11, dtype=np.int32), 2)
    assert columns.tolist() == [[0, 5], [1, 6], [2, 7], [3, 8], [4, 9]]
    inputs, targets = train.next_words(columns, 3, bptt=35)
    assert inputs.tolist() == [[3, 8]]
    assert targets.tolist() == [4, 9]

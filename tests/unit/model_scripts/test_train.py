import json
import math
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

import corpus
import distributed
import hyperparameters
import metrics
import train
from epoch_loop import Training, batchify, fit
from hyperparameters import Hyperparameters
from language_model import Batch
from tests.unit.model_scripts.conftest import (
    CANARY,
    SCRIPTS,
    Capture,
    Job,
    Patch,
    read_splits,
    same,
    script_valid_losses,
    write_large_vocabulary,
)
from tests.unit.model_scripts.forks import ForkServer
from user_error import UserError

NUMBER = r"([0-9.eE+-]+|inf|nan)"


def test_the_artifact_is_weights_vocabulary_config_metrics_and_code(trained: Job) -> None:
    assert sorted(path.name for path in trained.model.iterdir()) == [
        "code",
        "config.json",
        "config.yaml",
        "metrics.json",
        "model.pt",
        "vocabulary",
    ]
    assert sorted(path.name for path in trained.data.iterdir()) == ["metrics.json", "training_curve.svg"]


def test_the_artifacts_code_is_what_its_two_servers_import_and_no_more(trained: Job) -> None:
    here = {path.stem for path in SCRIPTS.glob("*.py")}
    shipped = {path.stem for path in (trained.model / "code").glob("*.py")}
    needed: set[str] = set()
    waiting = ["generate", "serve"]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            imported = re.findall(
                r"^\s*(?:import|from) (\w+)", (SCRIPTS / f"{name}.py").read_text(), re.MULTILINE
            )
            waiting += here.intersection(imported)
    assert shipped == needed


def test_the_artifact_never_holds_the_corpus(trained: Job) -> None:
    for path in trained.model.rglob("*"):
        if path.is_file():
            content = path.read_bytes().decode("utf-8", "replace")
            assert CANARY not in content, path
            assert "keeper hid seven" not in content, path
            assert str(trained.channel) not in content, path


def test_it_learns_more_than_how_frequent_words_are(trained: Job, tmp_path: Path) -> None:
    test = read_splits(corpus.read(trained.channel, "auto", tmp_path / "scratch"))["test"]
    shares = np.unique(test, return_counts=True)[1] / len(test)
    of_frequencies = math.exp(-float(shares @ np.log(shares)))
    assert 1 < trained.metrics()["test_perplexity"] < of_frequencies


def test_metrics_tell_the_whole_run(trained: Job) -> None:
    found = trained.metrics()
    of_artifact = json.loads((trained.model / "metrics.json").read_text())
    assert found == {**of_artifact, **{name: found[name] for name in metrics.TEXTS}}
    assert found["comparison"] is None
    epochs = found["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    best = min(epochs, key=lambda epoch: epoch["valid_loss"])
    assert found["best_epoch"] == best["epoch"]
    assert (
        found["valid_perplexity"] == best["valid_perplexity"] == pytest.approx(math.exp(best["valid_loss"]))
    )
    expected = {"stopped": None, "tokenizer": "prose-2", "recipe": "classic", "world_size": 1, "resumed": 0}
    assert {name: found[name] for name in expected} == expected
    assert all(epoch["words_per_second"] > 0 for epoch in epochs)
    words = (trained.model / "vocabulary").read_text(encoding="utf-8").splitlines()
    assert found["vocabulary_size"] == len(words)
    assert words[:2] == ["<unk>", "<eos>"]


def test_metrics_have_the_hyperparameters_that_train_the_model_again(trained: Job) -> None:
    used = trained.metrics()["hyperparameters"]
    assert "auto" not in used.values()
    assert used | {"recipe": "classic", "epochs": 3, "lr": 20.0, "clip": 0.25, "tokenizer": "prose"} == used
    arguments = [f"--{name}={value}" for name, value in used.items()]
    assert asdict(hyperparameters.parse(arguments)) == used


def test_the_log_has_the_lines_for_metric_definitions(job: Job, capfd: Capture) -> None:
    assert job.run(epochs=2, log_interval=10) == 0
    log = capfd.readouterr().out
    found = job.metrics()
    for line in (
        "vocabulary_size={vocabulary_size} parameters={parameters} train_tokens={train_tokens}".format(
            **found
        ),
        rf"epoch=1/2 step=10/\d+ lr=20 words_per_second=\d+ train_loss={NUMBER} train_perplexity={NUMBER} "
        rf"train_unknown_share={NUMBER}",
        rf"epoch=2/2 seconds={NUMBER} valid_loss={NUMBER} valid_perplexity={NUMBER} "
        rf"valid_unknown_share={NUMBER}",
        rf"test_loss={NUMBER} test_perplexity={found['test_perplexity']:.2f} "
        rf"test_unknown_share={found['test_unknown_share']:.4f} "
        rf"test_exact_perplexity={found['test_exact_perplexity']:.2f} test_words={found['test_words']}",
    ):
        assert re.search(f"^{line}$", log, re.MULTILINE)


def test_the_exact_perplexity_charges_unknown_words(job: Job) -> None:
    (job.channel / "test").write_text("Anna bought xx; xx cost yy.\n", encoding="utf-8")
    assert job.run(epochs=1) == 0
    found = job.metrics()
    # xx and yy are the unknown words of test, so <unk> may be one of three words.
    assert found["test_words"] == found["vocabulary_size"] + 2
    assert found["test_unknown_share"] == pytest.approx(3 / 9)
    assert found["test_exact_perplexity"] == pytest.approx(found["test_perplexity"] * 3 ** (3 / 9))


def test_a_short_epoch_logs_one_step(job: Job, capfd: Capture) -> None:
    assert job.run(epochs=1, log_interval=100000) == 0
    assert len(re.findall(r"train_perplexity=", capfd.readouterr().out)) == 1


MEASURE = """
import sys
from pathlib import Path

import numpy as np

import language_model
import tokenizer
from perplexity import mean_loss, perplexity
from vocabulary import END_OF_LINE_ID, Vocabulary

artifact, test = Path(sys.argv[1]), Path(sys.argv[2])
model, config = language_model.load(artifact)
vocabulary = Vocabulary.load(artifact / "vocabulary")
words = tokenizer.BY_NAME[config["tokenizer"]].split
lines = test.read_text(encoding="utf-8").splitlines()
numbers = [number for line in lines for number in (*vocabulary.encode(words(line)), END_OF_LINE_ID)]
print(repr(perplexity(mean_loss(model, np.array(numbers, dtype=np.int32)))))
"""


@pytest.mark.parametrize("recipe", ["classic", "fast", "awd"])
def test_the_artifact_has_the_reported_perplexity(
    recipe: str, tmp_path: Path, fork_server: ForkServer
) -> None:
    job = Job(tmp_path / "job", write_large_vocabulary(tmp_path / "training"))
    assert job.run(recipe=recipe, epochs=1) == 0
    config = json.loads((job.model / "config.json").read_text())
    assert bool(config["cutoffs"]) == (recipe == "fast")
    fork = fork_server.start(
        f"import sys\nsys.argv = ['', {str(job.model)!r}, {str(job.channel / 'test')!r}]\n{MEASURE}",
        {},
        tmp_path / "log",
    )
    assert fork.wait() == 0, fork.log.read_text()
    assert float(fork.log.read_text()) == pytest.approx(job.metrics()["test_perplexity"], rel=1e-5)


def test_the_same_seed_trains_the_same_model(tmp_path: Path, corpus_folder: Path) -> None:
    first, second, other = (Job(tmp_path / name, corpus_folder) for name in ("first", "second", "other"))
    for job, seed in ((first, 5), (second, 5), (other, 6)):
        assert job.run(epochs=1, seed=seed) == 0
    assert same(first.weights(), second.weights())
    assert not torch.equal(first.weights()["encoder.head"], other.weights()["encoder.head"])


def test_the_best_epochs_weights_are_kept(tmp_path: Path, corpus_folder: Path, monkeypatch: Patch) -> None:
    two, four = Job(tmp_path / "two", corpus_folder), Job(tmp_path / "four", corpus_folder)
    script_valid_losses(monkeypatch, [3.0, 2.0, 1.0])
    assert two.run(epochs=2) == 0
    script_valid_losses(monkeypatch, [3.0, 2.0, 2.5, 2.4, 1.0])
    assert four.run(epochs=4) == 0
    assert four.metrics()["best_epoch"] == 2
    assert same(two.weights(), four.weights())


def test_divergence_ends_training_with_the_best_epoch(job: Job, monkeypatch: Patch, capfd: Capture) -> None:
    script_valid_losses(monkeypatch, [3.0, 2.0, math.nan, 1.5])
    assert job.run(epochs=9) == 0
    found = job.metrics()
    assert found["best_epoch"] == 2
    assert found["stopped"] == ("the loss on valid became nan in epoch 3; the best epoch so far, 2, is kept")
    assert f"stopped early: {found['stopped']}" in capfd.readouterr().out
    assert found["test_perplexity"] == pytest.approx(math.exp(1.5))


def fails_with(job: Job, capfd: Capture, **settings: object) -> str:
    """Return the error message of a failing job, after checking that stderr and the failure file have it."""
    assert job.run(**settings) == 1
    said = capfd.readouterr().err
    assert "Traceback" not in said
    sentence = job.failure.read_text(encoding="utf-8")
    assert f"error: {sentence}\n" in said
    return sentence


def test_divergence_at_once_says_what_to_change(job: Job, capfd: Capture) -> None:
    sentence = fails_with(job, capfd, lr=1e30, clip=1e30)
    assert re.match(r"Training diverged: the loss became [^ ]+ in epoch 1, step \d+\.", sentence)
    assert "lr" in sentence


@pytest.mark.parametrize(
    ("tokens", "ranks", "used"),
    [
        (720, 1, (20, 35)),
        (719, 1, (19, 35)),
        (36, 1, (1, 35)),
        (35, 1, (1, 34)),
        (2, 1, (1, 1)),
        (100, 3, (3, 32)),
        (6, 3, (3, 1)),
    ],
)
def test_batch_size_and_bptt_shrink_to_what_the_text_allows(
    tokens: int, ranks: int, used: tuple[int, int], monkeypatch: Patch
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: ranks)
    found = fit(Hyperparameters(), tokens)
    assert (found.batch_size, found.bptt) == used
    assert tokens // found.batch_size >= found.bptt + 1


def test_a_text_that_is_too_short_for_the_processes_is_refused(monkeypatch: Patch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    with pytest.raises(UserError, match=r"train has 5 tokens, too few for 3 processes\. Use fewer instances"):
        fit(Hyperparameters(), 5)


POEM = [
    "I went to the sea, and the sea was grey,",
    "and the wind on the sand went a long way.",
    "The gulls on the wind, they cried to the sand:",
    "is the sea so old, is there no more land?",
    "",
]


@pytest.mark.parametrize("recipe", ["classic", "fast", "awd"])
def test_a_poem_trains_and_speaks(recipe: str, tmp_path: Path, capfd: Capture) -> None:
    """A poem of forty lines, which is too short for the default batch_size and bptt."""
    channel = tmp_path / "training"
    channel.mkdir()
    for split, lines in (("train", POEM * 7), ("valid", POEM[:1]), ("test", ["the sea"])):
        (channel / split).write_text("\n".join(lines) + "\n")
    job = Job(tmp_path / "job", channel)
    assert job.run(recipe=recipe, epochs=2, batch_size=20, bptt=35) == 0
    found = job.metrics()
    assert (found["batch_size"], found["bptt"]) == (found["train_tokens"] // 36, 35)
    (note,) = found["notes"]
    assert note == (
        f"The training text has only {found['train_tokens']} tokens, so it was trained with batch_size "
        f"{found['batch_size']}, not 20."
    )
    assert f"note: {note}\n" in capfd.readouterr().out
    for name in ("valid_perplexity", "test_perplexity", "test_exact_perplexity", "test_unknown_share"):
        assert math.isfinite(found[name])
    assert len(found["samples"]) >= 2
    assert json.loads((job.model / "config.json").read_text())["batch_size"] == found["batch_size"]


def test_a_text_of_ordinary_length_has_no_notes(trained: Job) -> None:
    assert (trained.metrics()["batch_size"], trained.metrics()["notes"]) == (4, [])


def test_words_beyond_max_vocabulary_count_as_unknown(job: Job, tmp_path: Path) -> None:
    limited = Job(tmp_path / "limited", job.channel)
    assert (job.run(epochs=1), limited.run(epochs=1, max_vocabulary=12)) == (0, 0)
    whole, found = job.metrics(), limited.metrics()
    assert found["vocabulary_size"] == 12
    assert found["notes"] == [
        f"The model knows the 12 most frequent words (max_vocabulary); {whole['vocabulary_size'] - 12} rarer "
        "ones count as unknown."
    ]
    words = (job.model / "vocabulary").read_text().splitlines()
    assert (limited.model / "vocabulary").read_text().splitlines() == words[:12]
    for split in ("train", "valid", "test"):
        assert found[f"{split}_unknown_share"] > whole[f"{split}_unknown_share"] + 0.05
    # The set of words to choose from is the same: those of test that are not known come on top.
    test = read_splits(corpus.read(job.channel, "auto", tmp_path / "scratch"))["test"]
    assert found["test_words"] == 12 + len({number for number in test.tolist() if number >= 12})


def test_a_missing_channel_is_explained(capfd: Capture, monkeypatch: Patch) -> None:
    for name in ("SM_CHANNEL_TRAINING", "SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert train.main([]) == 1
    assert "error: The environment lacks SM_CHANNEL_TRAINING" in capfd.readouterr().err


def test_columns_run_down_the_text_and_the_rest_is_left_out() -> None:
    tokens = np.arange(11, dtype=np.int32)
    columns = batchify(tokens, 2)
    assert columns.tolist() == [[0, 5], [1, 6], [2, 7], [3, 8], [4, 9]]
    assert np.shares_memory(columns, tokens)


@pytest.mark.parametrize("recipe", ["classic", "fast", "awd"])
def test_an_epoch_predicts_each_word_once(recipe: str, job: Job, tmp_path: Path, monkeypatch: Patch) -> None:
    batches: list[Batch] = []
    own_batch = Training.batch

    def batch(training: Training, row: int, rows: int) -> Batch:
        batches.append(own_batch(training, row, rows))
        return batches[-1]

    monkeypatch.setattr(Training, "batch", batch)
    assert job.run(epochs=1, recipe=recipe, bptt=12) == 0
    columns = batchify(read_splits(corpus.read(job.channel, "auto", tmp_path / "scratch"))["train"], 4)
    assert np.array_equal(torch.cat([batch.words for batch in batches]), columns[:-1])
    assert np.array_equal(torch.cat([batch.targets for batch in batches]), columns[1:])
    lengths = {len(batch.words) for batch in batches[:-1]}
    assert (lengths == {12}) == (recipe != "awd")

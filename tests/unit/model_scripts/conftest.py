"""Fixtures and helpers: a small corpus, a job in SageMaker's folders, a trained and an untrained model."""

import json
import random
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import corpus
import epoch_loop
import perplexity
import train
from hyperparameters import Hyperparameters
from language_model import WEIGHTS, LanguageModel, Shape, save_weights
from tests.unit.model_scripts.forks import Fork, ForkServer
from vocabulary import END_OF_LINE_ID, TokenIds

Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]

SCRIPTS = Path(train.__file__).parent

CANARY = "The tower keeper hid seven lanterns, quietly."

SMALL = {"recipe": "classic", "emsize": 24, "nhid": 24, "batch_size": 4, "bptt": 15, "dropout": 0.1}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Compute with one thread: these models are too small for more, and idle threads slow a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


def sentences(count: int, seed: int) -> list[str]:
    """Return lines of a language so simple that a small model learns it in a second."""
    chance = random.Random(seed)
    people, things = (
        ["Anna", "the baker", "our king", "a child"],
        ["bread", "gold", "a well-known song", "tea"],
    )
    lines = []
    for _ in range(count):
        who, what = chance.choice(people), chance.choice(things)
        lines.append(
            chance.choice(
                [
                    f"When it rains, {who} wants {what}.",
                    f'"I don\'t like {what}," said {who}.',
                    f"{who[0].upper()}{who[1:]} bought {what}; it cost $1,000!",
                    "",
                ]
            )
        )
    return lines


def write_corpus(folder: Path, train_lines: int = 400) -> Path:
    folder.mkdir()
    for split, count, seed in (("train", train_lines, 1), ("valid", 60, 2), ("test", 60, 3)):
        lines = [*sentences(count, seed), *([CANARY] * 3 if split == "train" else [])]
        (folder / split).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_large_vocabulary(folder: Path) -> Path:
    """Write a corpus with so many words that recipe fast cuts the vocabulary."""
    folder.mkdir()
    chance = random.Random(4)
    words = [f"word{number}" for number in range(800)]
    for split, repeats in (("train", 3), ("valid", 1), ("test", 1)):
        text = words * repeats
        chance.shuffle(text)
        lines = [" ".join(text[start : start + 10]) for start in range(0, len(text), 10)]
        (folder / split).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def corpus_folder(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "training")


UNTIL_SIGTERM = """
import time
import distributed
from epoch_loop import Training
own_step = Training._step
def _step(training, sigterm):
    last = distributed.rank() == distributed.world_size() - 1
    while last and (training.position.epoch, training.position.step) == (2, 5) and not sigterm.received:
        print("waiting for SIGTERM", flush=True)
        time.sleep(0.05)
    return own_step(training, sigterm)
Training._step = _step
"""
"""Code to run before a job: its last rank waits for SIGTERM before the sixth step of the second epoch."""


@dataclass(frozen=True)
class Job:
    """A training job, as the toolkit would start it. The defaults of hyperparameters are SMALL's.

    champion: the folder with the model.tar.gz to compare with, if any.
    """

    folder: Path
    channel: Path
    champion: Path | None = None

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def data(self) -> Path:
        return self.folder / "output" / "data"

    @property
    def failure(self) -> Path:
        return self.folder / "output" / "failure"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "checkpoint.pt"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LEXLINE_CHECKPOINTS": str(self.checkpoint.parent),
            "SM_CHANNEL_TRAINING": str(self.channel),
            "SM_MODEL_DIR": str(self.model),
            "SM_OUTPUT_DATA_DIR": str(self.data),
            "SM_OUTPUT_DIR": str(self.folder / "output"),
            # A killed job leaves its scratch files.
            "TMPDIR": str(self.folder),
            **({"SM_CHANNEL_CHAMPION": str(self.champion)} if self.champion else {}),
        }

    def arguments(self, hyperparameters: Mapping[str, object]) -> list[str]:
        (self.folder / "output").mkdir(parents=True, exist_ok=True)
        return [f"--{name}={value}" for name, value in {**SMALL, **hyperparameters}.items()]

    def run(self, **hyperparameters: object) -> int:
        """Run the job in this process and return its exit code."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return train.main(self.arguments(hyperparameters))

    def start(
        self,
        server: ForkServer,
        *,
        before: str = "",
        environment: Mapping[str, str] | None = None,
        log: str = "log",
        **settings: object,
    ) -> Fork:
        """Start the job, or one of its ranks, in its own process, after the code `before`."""
        code = f"import sys, train\n{before}\nsys.exit(train.main({self.arguments(settings)!r}))"
        return server.start(code, {**self.environment, **(environment or {})}, self.folder / log)

    def start_ranks(
        self, server: ForkServer, ranks: int, *, before: str = "", **settings: object
    ) -> list[Fork]:
        """Start the job's ranks, as torchrun would start them on one host."""
        return start_ranks(server, [self] * ranks, before=before, **settings)

    def metrics(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.data / "metrics.json").read_text())
        return document

    def weights(self) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = torch.load(self.model / "model.pt", weights_only=True)
        return state


def start_ranks(
    server: ForkServer, jobs: Sequence[Job], *, before: str = "", **settings: object
) -> list[Fork]:
    """Start ranks that train together, the n-th with the folders of the n-th job. Its log: rank-N.log."""
    return [
        job.start(server, before=before, environment=environment, log=f"rank-{rank}.log", **settings)
        for rank, (job, environment) in enumerate(zip(jobs, server.ranks(len(jobs)), strict=True))
    ]


def packed(artifact: Path, folder: Path, prefix: str = "") -> Path:
    """Pack a model folder into a channel, as model.tar.gz."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "model.tar.gz", "w:gz", compresslevel=1) as tar:
        for path in sorted(artifact.iterdir()):
            tar.add(path, prefix + path.name)
    return folder


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def read_splits(text: corpus.Corpus) -> dict[str, TokenIds]:
    """Return the whole splits of a corpus as word numbers."""
    whole = {split: range(length) for split, length in text.lengths.items()}
    return {split: tokens[:] for split, tokens in text.encode(whole).items()}


def script_valid_losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Replace the measured losses on valid, and then the one on test."""
    left = iter(losses)
    monkeypatch.setattr(epoch_loop, "mean_loss", lambda model, tokens: next(left))
    monkeypatch.setattr(perplexity, "mean_loss", lambda model, tokens: next(left))


def wait_for(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    """Wait until the condition holds; fail if it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def job(tmp_path: Path, corpus_folder: Path) -> Job:
    return Job(tmp_path / "job", corpus_folder)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A finished job of three epochs, whose model has learnt its corpus."""
    folder = tmp_path_factory.mktemp("trained")
    job = Job(folder / "job", write_corpus(folder / "training"))
    assert job.run(epochs=3) == 0
    return job


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of a model with random weights. It knows the corpus's words and seldom ends a line."""
    folder = tmp_path_factory.mktemp("untrained")
    text = corpus.read(write_corpus(folder / "training"), "prose", folder / "scratch")
    torch.manual_seed(1)
    model = LanguageModel(Shape(len(text.vocabulary), emsize=24, nhid=24, nlayers=2, tied=True))
    with torch.no_grad():
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -1, 1)
        model.decoder.bias[END_OF_LINE_ID] = -3
    artifact = folder / "model"
    artifact.mkdir()
    train.write_artifact_without_weights(artifact, text, model.shape, Hyperparameters())
    save_weights(model, artifact / WEIGHTS)
    metrics = {"cache": {"theta": 0.3, "share": 0.4, "size": 50}}
    (artifact / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return artifact

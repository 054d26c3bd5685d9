"""What the tests of model_scripts share: a small corpus, a job in SageMaker's folders, a trained model."""

import json
import os
import random
import socket
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import train
import training_loop
from tests.unit.model_scripts.forks import Fork, ForkServer

SCRIPTS = Path(train.__file__).parent

CANARY = "The tower keeper hid seven lanterns, quietly."

SMALL = {"recipe": "classic", "emsize": 24, "nhid": 24, "batch_size": 4, "bptt": 15, "dropout": 0.1}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from more, and threads that wait for a busy processor cost seconds."""
    before = torch.get_num_threads()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    del os.environ["OMP_NUM_THREADS"]


def sentences(count: int, seed: int) -> list[str]:
    """Lines of a small regular language, so that a small model learns it in a second."""
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
    """A corpus of enough words for recipe fast to have rare ones."""
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


SLOWLY = """
import time
from training_loop import Training
own_step = Training._step
Training._step = lambda *arguments: (time.sleep(0.02), own_step(*arguments))[1]
"""
"""Run before a job: an epoch then lasts long enough to be met by a signal."""


@dataclass(frozen=True)
class Job:
    """A training job, as the toolkit would start it. Hyperparameters that are not given are SMALL's.

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
            **({"SM_CHANNEL_CHAMPION": str(self.champion)} if self.champion else {}),
        }

    def arguments(self, hyperparameters: Mapping[str, object]) -> list[str]:
        (self.folder / "output").mkdir(parents=True, exist_ok=True)
        return [f"--{name}={value}" for name, value in {**SMALL, **hyperparameters}.items()]

    def run(self, **hyperparameters: object) -> int:
        """The job in this process; its exit code."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return train.main(self.arguments(hyperparameters))

    def start(
        self,
        server: ForkServer,
        *,
        before: str = "",
        rank: int = 0,
        ranks: int = 1,
        port: int = 0,
        **settings: object,
    ) -> Fork:
        """The job or one of its ranks, in its own process, after the code `before`. Its log: rank-N.log."""
        code = f"import sys, train\n{before}\nsys.exit(train.main({self.arguments(settings)!r}))"
        environment = self.environment
        if ranks > 1:
            environment |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(ranks),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
        return server.start(code, environment, self.folder / f"rank-{rank}.log")

    def start_ranks(
        self, server: ForkServer, ranks: int, *, before: str = "", **settings: object
    ) -> list[Fork]:
        """The job's ranks, as torchrun would start them on one host."""
        port = free_port()
        return [
            self.start(server, before=before, rank=rank, ranks=ranks, port=port, **settings)
            for rank in range(ranks)
        ]

    def metrics(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.data / "metrics.json").read_text())
        return document

    def weights(self) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = torch.load(self.model / "model.pt", weights_only=True)
        return state


def packed(artifact: Path, folder: Path) -> Path:
    """A model folder as a channel that holds its model.tar.gz."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "model.tar.gz", "w:gz", compresslevel=1) as tar:
        for path in sorted(artifact.iterdir()):
            tar.add(path, path.name)
    return folder


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def script_valid_losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Lets valid's losses (and last the test's) be the ones given."""
    left = iter(losses)
    monkeypatch.setattr(training_loop, "mean_loss", lambda model, tokens: next(left))
    monkeypatch.setattr(train, "mean_loss", lambda model, tokens: next(left))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Returns when it holds; fails when it does not in time."""
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
    """A finished job: three epochs, some seconds, a model that has learnt its corpus."""
    folder = tmp_path_factory.mktemp("trained")
    job = Job(folder / "job", write_corpus(folder / "training"))
    assert job.run(epochs=3) == 0
    return job

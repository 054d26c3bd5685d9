"""What the tests of model_scripts share: a small corpus, a job in SageMaker's folders, a trained model."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import train

SCRIPTS = Path(train.__file__).parent

CANARY = "The tower keeper hid seven lanterns, quietly."

SMALL = {"emsize": "24", "nhid": "24", "batch_size": "4", "bptt": "15", "dropout": "0.1", "tied": "true"}


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


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "training")


@dataclass(frozen=True)
class Job:
    """A training job in this process, as the toolkit would start it."""

    folder: Path
    channel: Path

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
    def environment(self) -> dict[str, str]:
        return {
            "SM_CHANNEL_TRAINING": str(self.channel),
            "SM_MODEL_DIR": str(self.model),
            "SM_OUTPUT_DATA_DIR": str(self.data),
            "SM_OUTPUT_DIR": str(self.folder / "output"),
        }

    def run(self, *arguments: str) -> int:
        (self.folder / "output").mkdir(parents=True, exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            small = [f"--{name}={value}" for name, value in SMALL.items()]
            return train.main([*small, *arguments])


@pytest.fixture
def job(tmp_path: Path, corpus: Path) -> Job:
    return Job(tmp_path / "job", corpus)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A finished job: three epochs, some seconds, a model that has learnt its corpus."""
    folder = tmp_path_factory.mktemp("trained")
    job = Job(folder / "job", write_corpus(folder / "training"))
    assert job.run("--epochs", "3") == 0
    return job

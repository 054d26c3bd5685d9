import os
import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import checkpoint
import epoch_loop
import optimisation
import recipes
from epoch_loop import Training
from optimisation import Optimisation
from tests.unit.model_scripts.conftest import (
    UNTIL_SIGTERM,
    Capture,
    Job,
    Patch,
    same,
    script_valid_losses,
    wait_for,
    write_corpus,
)
from tests.unit.model_scripts.forks import ForkServer

EVERY_STEP = "import checkpoint; checkpoint.EVERY_SECONDS, checkpoint.SHARE_OF_TIME = 0, 1"

UNTIED: dict[str, Any] = {"recipe": "fast", "tied": False, "lr": 0.01, "epochs": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Job:
    """A finished job of UNTIED that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    job = Job(folder / "job", write_corpus(folder / "training"))
    fork = job.start(fork_server, before=EVERY_STEP, **UNTIED)
    assert fork.wait() == 0, fork.log.read_text()
    return job


KILLED = """
import os, signal, threading
from epoch_loop import Training
own_step, begun = Training._step, 0
def _step(*arguments):
    global begun
    begun += 1
    if begun == {steps}:
        threading.Timer({seconds}, os.kill, [os.getpid(), signal.SIGKILL]).start()
    return own_step(*arguments)
Training._step = _step
"""
"""Code to run before a job: it is killed some seconds after it has begun a step, wherever it is then."""


def test_a_job_killed_ten_times_ends_with_the_same_model(
    tmp_path: Path, fork_server: ForkServer, whole: Job
) -> None:
    chance, job = random.Random(), Job(tmp_path / "job", whole.channel)
    for steps in chance.sample(range(1, 11), 10):
        killed = KILLED.format(steps=steps, seconds=chance.uniform(0, 0.02))
        fork = job.start(fork_server, before=f"{EVERY_STEP}\n{killed}", **UNTIED)
        if fork.wait() == 0:
            break
    else:
        fork = job.start(fork_server, before=EVERY_STEP, **UNTIED)
        assert fork.wait() == 0, fork.log.read_text()
    assert job.metrics()["resumed"]
    assert job.metrics()["test_loss"] == whole.metrics()["test_loss"]
    assert same(job.weights(), whole.weights())


def test_a_job_resumes_where_sigterm_stopped_it(tmp_path: Path, fork_server: ForkServer, whole: Job) -> None:
    job = Job(tmp_path / "job", whole.channel)
    fork = job.start(fork_server, before=UNTIL_SIGTERM, **UNTIED)
    wait_for(lambda: "waiting for SIGTERM" in fork.log.read_text())
    fork.signal(signal.SIGTERM)
    assert fork.wait() == 128 + signal.SIGTERM, fork.log.read_text()
    assert "stopped: SIGTERM came in epoch 2, step 6" in fork.log.read_text()
    assert job.metrics()["best_epoch"] == 1

    assert job.start(fork_server, **UNTIED).wait() == 0
    assert "resumed: epoch 2, step 6" in fork.log.read_text()
    found, expected = job.metrics(), whole.metrics()
    assert found["test_loss"] == expected["test_loss"]
    assert [epoch["valid_loss"] for epoch in found["epochs"]] == [
        epoch["valid_loss"] for epoch in expected["epochs"]
    ]
    assert (found["resumed"], found["stopped"]) == (1, None)


def interrupt(monkeypatch: Patch, step: int) -> None:
    """Send SIGTERM during this step, counted over all epochs."""
    own_step = Training._step

    def _step(training: Training, *arguments: Any) -> Any:
        if training.position.steps == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return own_step(training, *arguments)

    monkeypatch.setattr(Training, "_step", _step)


STOPPED = 128 + signal.SIGTERM


@pytest.mark.parametrize(
    "settings",
    [{"recipe": "classic"}, {"recipe": "fast", "lr": 0.01}, {"recipe": "awd", "lr": 10.0}],
    ids=lambda settings: settings["recipe"],
)
def test_each_recipe_resumes_to_the_same_model(
    settings: dict[str, Any], tmp_path: Path, corpus_folder: Path, monkeypatch: Patch
) -> None:
    if settings["recipe"] == "awd":
        average_from_the_first_epoch_on(monkeypatch)
    settings = {**settings, "epochs": 2}
    expected, job = Job(tmp_path / "expected", corpus_folder), Job(tmp_path / "job", corpus_folder)
    assert expected.run(**settings) == 0
    with monkeypatch.context() as patch:
        interrupt(patch, step=80)
        assert job.run(**settings) == STOPPED
    assert job.run(**settings) == 0
    assert job.metrics()["test_loss"] == expected.metrics()["test_loss"]
    assert same(job.weights(), expected.weights())


def average_from_the_first_epoch_on(monkeypatch: Patch) -> None:
    own_epoch_ended = Optimisation.epoch_ended

    def epoch_ended(self: Optimisation, valid_loss: float) -> None:
        own_epoch_ended(self, valid_loss)
        self.averages = self.averages or [parameter.detach().clone() for parameter in self.parameters]

    monkeypatch.setattr(optimisation.Optimisation, "epoch_ended", epoch_ended)


def test_a_checkpoint_has_the_best_weights(tmp_path: Path, corpus_folder: Path, monkeypatch: Patch) -> None:
    expected, job = Job(tmp_path / "expected", corpus_folder), Job(tmp_path / "job", corpus_folder)
    script_valid_losses(monkeypatch, [2.0, 3.0, 2.5])
    assert expected.run(epochs=2) == 0
    script_valid_losses(monkeypatch, [2.0, 3.0, 2.5])
    with monkeypatch.context() as patch:
        interrupt(patch, step=80)
        assert job.run(epochs=2) == STOPPED
    shutil.rmtree(job.model)
    assert job.run(epochs=2) == 0
    assert job.metrics()["best_epoch"] == 1
    assert same(job.weights(), expected.weights())


def test_sigterm_without_a_checkpoint_folder(job: Job, monkeypatch: Patch, capfd: Capture) -> None:
    monkeypatch.setattr(checkpoint, "folder", lambda environment: None)
    interrupt(monkeypatch, step=80)
    assert job.run(epochs=2) == STOPPED
    assert "there is no checkpoint folder" in capfd.readouterr().out
    assert {"model.pt", "vocabulary", "config.json", "code", "config.yaml"} <= {
        path.name for path in job.model.iterdir()
    }
    assert not job.checkpoint.exists()
    found = job.metrics()
    assert (found["best_epoch"], found["test_perplexity"]) == (1, None)
    assert found["stopped"] == "SIGTERM came in epoch 2, step 20"


def interrupted(job: Job, monkeypatch: Patch, **settings: object) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, step=3)
        assert job.run(**settings) == STOPPED


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"nhid": 25}, "was made with nhid 24, and this job has nhid 25. Give this job its own"),
        ({"seed": 2}, "was made with seed 1111, and this job has seed 2"),
        ({"recipe": "awd"}, "was made with recipe classic, and this job has recipe awd"),
    ],
)
def test_other_hyperparameters_are_refused_by_name(
    settings: dict[str, Any], said: str, job: Job, monkeypatch: Patch
) -> None:
    interrupted(job, monkeypatch)
    before = job.checkpoint.read_bytes()
    assert job.run(**settings) == 1
    assert said in job.failure.read_text()
    assert job.checkpoint.read_bytes() == before


def test_the_checkpoint_of_another_corpus_is_refused(job: Job, monkeypatch: Patch) -> None:
    interrupted(job, monkeypatch)
    with (job.channel / "test").open("a") as file:
        file.write("When it rains, Anna wants tea.\n")
    assert job.run() == 1
    assert f"The checkpoint {job.checkpoint} was made from another corpus." in job.failure.read_text()


def test_the_checkpoint_of_another_version_is_refused(job: Job, monkeypatch: Patch) -> None:
    interrupted(job, monkeypatch)
    monkeypatch.setattr(checkpoint, "FORMAT", 4)
    assert job.run() == 1
    assert "by another version of Lexline, in format 3 rather than 4" in job.failure.read_text()


def test_the_checkpoint_of_a_recipe_that_was_changed_is_refused(job: Job, monkeypatch: Patch) -> None:
    interrupted(job, monkeypatch)
    monkeypatch.setitem(recipes.BY_NAME, "classic", replace(recipes.BY_NAME["classic"], decay=1e-6))
    assert job.run() == 1
    assert "by another version of Lexline, with another recipe classic" in job.failure.read_text()


def test_a_resumed_job_may_log_at_another_interval(job: Job, monkeypatch: Patch) -> None:
    interrupted(job, monkeypatch, epochs=1)
    assert job.run(epochs=1, log_interval=7) == 0
    assert job.metrics()["resumed"] == 1


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, empty])
def test_training_restarts_if_the_checkpoint_is_damaged(
    damage: Any, job: Job, monkeypatch: Patch, capfd: Capture
) -> None:
    interrupted(job, monkeypatch, epochs=1)
    damage(job.checkpoint)
    assert job.run(epochs=1) == 0
    assert f"The checkpoint {job.checkpoint} is damaged" in capfd.readouterr().out
    assert job.metrics()["resumed"] == 0


def test_training_survives_a_full_disk(job: Job, monkeypatch: Patch, capfd: Capture) -> None:
    interrupted(job, monkeypatch, epochs=1)
    before = job.checkpoint.read_bytes()

    def full(contents: object, file: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    monkeypatch.setattr(epoch_loop, "save_weights", lambda model, path: path.write_bytes(b""))
    monkeypatch.setattr("train.load_weights", lambda model, path: None)
    assert job.run(epochs=1) == 0
    assert "The checkpoint could not be written ([Errno 28] No space left" in capfd.readouterr().out
    assert [path.name for path in job.checkpoint.parent.iterdir()] == ["checkpoint.pt"]
    assert job.checkpoint.read_bytes() == before


def test_when_checkpoints_are_saved(job: Job, monkeypatch: Patch) -> None:
    saved: list[tuple[int, int]] = []
    own_save = checkpoint.Checkpoints.save

    def save(self: checkpoint.Checkpoints, contents: dict[str, Any]) -> None:
        saved.append((contents["position"]["epoch"], contents["position"]["step"]))
        own_save(self, contents)

    now = 0.0
    monkeypatch.setattr(checkpoint.Checkpoints, "save", save)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    own_step = Training._step

    def _step(training: Training, *arguments: Any) -> Any:
        nonlocal now
        now += checkpoint.EVERY_SECONDS / 24.5
        return own_step(training, *arguments)

    monkeypatch.setattr(Training, "_step", _step)
    assert job.run(epochs=2) == 0
    assert saved == [(1, 25), (1, 50), (1, 61), (2, 25), (2, 50), (2, 61)]


def test_checkpoints_that_take_long_to_write_are_rarer(tmp_path: Path, monkeypatch: Patch) -> None:
    now, seconds_to_write = 0.0, 1.0

    def save(contents: object, file: Any) -> None:
        nonlocal now
        now += seconds_to_write

    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    monkeypatch.setattr(checkpoint.torch, "save", save)
    checkpoints = checkpoint.Checkpoints(tmp_path, {})
    for seconds_to_write, spacing in ((1.0, 60.0), (6.0, 194.0), (0.1, 60.0)):
        checkpoints.save({})
        now += spacing - 0.1
        assert not checkpoints.due
        now += 0.2
        assert checkpoints.due
        assert seconds_to_write / (seconds_to_write + spacing) < 0.0301


def test_a_checkpoint_is_one_small_file(job: Job) -> None:
    assert job.run(epochs=1, emsize=64, nhid=64, recipe="fast") == 0
    assert [path.name for path in job.checkpoint.parent.iterdir()] == ["checkpoint.pt"]
    weights = 4 * job.metrics()["parameters"]
    # The weights and Adam's two averages of the gradients; there is no best epoch before the first valid.
    assert weights * 3 < job.checkpoint.stat().st_size < weights * 3 + 30_000


def test_checkpoints_go_where_sagemaker_keeps_them_or_where_the_environment_says(tmp_path: Path) -> None:
    base = tmp_path / "ml"
    environment = {"SAGEMAKER_BASE_DIR": str(base)}
    assert checkpoint.folder(environment) is None
    (base / "checkpoints").mkdir(parents=True)
    assert checkpoint.folder(environment) == base / "checkpoints"
    named = tmp_path / "deep" / "named"
    assert checkpoint.folder({**environment, "LEXLINE_CHECKPOINTS": str(named)}) == named
    assert named.is_dir()

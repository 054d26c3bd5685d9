"""Training on a GPU, as far as a machine without one can test it.

torch's device `meta` stands for the GPU: its tensors have a shape and no values, so it refuses every
operation for which the host would wait for a GPU.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import corpus
import distributed
import hyperparameters
import machine
import perplexity
import recipes
import train
from distributed import RankLost
from epoch_loop import DeferredSigterm, Training
from hyperparameters import Hyperparameters
from language_model import LanguageModel
from metrics import Metrics
from tests.unit.model_scripts.conftest import Capture, Job, Patch
from tests.unit.model_scripts.forks import ForkServer
from user_error import UserError

META = torch.device("meta")

VOCABULARY = 7_000
"""So many words that recipe fast cuts the vocabulary into a head and three tails."""


def a_model(hparams: Hyperparameters) -> LanguageModel:
    torch.manual_seed(1)
    return recipes.model(hparams, np.arange(VOCABULARY, 0, -1))


def a_training(model: LanguageModel, hparams: Hyperparameters) -> Training:
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, 2_000, dtype=np.int32)
    no_metrics = cast("Metrics", None)
    return Training(model, tokens, tokens, hparams, no_metrics, Path("unused"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wait",
    [Tensor.item, Tensor.nonzero, Tensor.cpu, Tensor.tolist, bool, float, lambda one: one[one > 0]],
)
def test_the_stand_in_for_a_gpu_refuses_what_would_wait(wait: Callable[[Tensor], object]) -> None:
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        wait(torch.ones(1, device=META))


@pytest.mark.parametrize("recipe", ["classic", "fast", "awd"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_step_never_waits_for_the_gpu(recipe: str, tied: bool, monkeypatch: Patch) -> None:
    pinned: list[Tensor] = []

    def pin_memory(one: Tensor) -> Tensor:
        pinned.append(one)
        return one

    # Pinning needs a GPU.
    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    hparams = Hyperparameters(recipe=recipe, tied=tied, emsize=16, nhid=16, batch_size=5)
    training = a_training(a_model(hparams).to(META), hparams)
    for steps in range(1, 4):
        loss, _, _ = training._step(DeferredSigterm())
        assert loss.device == META
        # A batch goes to the GPU in one copy, from memory that cannot be swapped out.
        assert len(pinned) == steps
        training.optimisation.averages = [one.detach().clone() for one in training.optimisation.parameters]


@pytest.mark.parametrize("recipe", ["fast", "classic"])
def test_a_batch_knows_the_places_of_each_tails_words(recipe: str) -> None:
    hparams = Hyperparameters(recipe=recipe, batch_size=5)
    training = a_training(a_model(hparams), hparams)
    batch = training.batch(0, 30)
    for words, found in ((batch.words, batch.word_places), (batch.targets, batch.target_places)):
        tails = training.model.shape.tails
        assert len(found) == len(tails) == (3 if recipe == "fast" else 0)
        for (start, end, _), places in zip(tails, found, strict=True):
            in_tail = [n for n, word in enumerate(words.flatten().tolist()) if start <= word < end]
            assert places.tolist() == in_tail
            assert in_tail


CUDA = torch.device("cuda", 0)


def with_gpus(monkeypatch: Patch, count: int) -> None:
    """Make torch see so many GPUs, which can compute."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(machine.torch, "ones", lambda size, device: Tensor([1]))


@pytest.mark.parametrize("found", [0, 1])
def test_an_instance_whose_gpus_cannot_be_used_is_refused(found: int, job: Job, monkeypatch: Patch) -> None:
    with_gpus(monkeypatch, found)
    monkeypatch.setenv("SM_NUM_GPUS", "4")
    assert job.run(epochs=1) == 1
    assert job.failure.read_text() == (
        f"The instance has GPUs (4), but PyTorch {torch.__version__} can use {found} of them. Use AWS's "
        "training image for GPUs with an instance type that it supports, or set training.instance_type to "
        "one without GPUs, such as ml.m5.xlarge."
    )
    assert not job.model.exists()


def test_a_gpu_that_this_pytorch_does_not_support_is_refused(monkeypatch: Patch) -> None:
    with_gpus(monkeypatch, 1)

    def ones(size: int, device: torch.device) -> Tensor:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nSee ...")

    monkeypatch.setattr(machine.torch, "ones", ones)
    with pytest.raises(UserError, match=r"cannot compute on them \(CUDA error: no kernel .* device\)\. Use"):
        machine.check_gpus({})


@pytest.mark.parametrize(("expected", "found"), [("4", 4), ("1", 4), ("0", 0), ("", 0), (None, 1)])
def test_gpus_that_work_are_used(expected: str | None, found: int, monkeypatch: Patch) -> None:
    with_gpus(monkeypatch, found)
    machine.check_gpus({} if expected is None else {"SM_NUM_GPUS": expected})
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert distributed.device() == (CUDA if found else torch.device("cpu"))


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore torch's settings after a test that changes them."""
    uninitialized = torch.utils.deterministic
    fill = uninitialized.fill_uninitialized_memory  # type: ignore[attr-defined]
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    with machine.full_precision():
        yield
    torch.use_deterministic_algorithms(False)
    uninitialized.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
    if workspace is None:
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def settings() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.usefixtures("restored")
def test_a_gpu_trains_in_tf32_without_filling_new_tensors(monkeypatch: Patch) -> None:
    monkeypatch.setattr(distributed, "device", lambda: CUDA)
    assert machine.prepare(1) == CUDA
    assert settings() == ("high", True)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


@pytest.mark.parametrize(("capability", "name"), [((9, 0), "TF32"), ((8, 0), "TF32"), ((7, 5), "FP32")])
def test_the_metrics_name_a_gpu_and_its_precision(
    capability: tuple[int, int], name: str, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A10G")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 5)
    found = machine.describe(CUDA)
    assert (found["device"], found["precision"], found["gpu_memory"]) == ("NVIDIA A10G", name, 5)


def test_the_log_names_the_device_and_its_precision(job: Job, capfd: Capture) -> None:
    assert job.run(epochs=1) == 0
    found = job.metrics()["machine"]
    assert f'device="{found["device"]}" precision=FP32\n' in capfd.readouterr().out
    assert found["precision"] == "FP32"


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("measure", [perplexity.own_loss, perplexity.token_losses])
def test_models_are_evaluated_in_full_precision(measure: Callable[..., object], monkeypatch: Patch) -> None:
    model = a_model(Hyperparameters(emsize=16, nhid=16)).eval()
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    seen = []
    own_read = LanguageModel.read

    def read(*arguments: Any) -> Any:
        seen.append(settings())
        if len(seen) == 2:
            raise RuntimeError
        return own_read(*arguments)

    monkeypatch.setattr(LanguageModel, "read", read)
    tokens = np.arange(30, dtype=np.int32)
    measure(model, tokens)
    assert settings() == ("high", True)
    with pytest.raises(RuntimeError):
        measure(model, tokens)
    assert settings() == ("high", True)
    assert seen == [("highest", False)] * 2


def into_one_buffer(layer: nn.Module) -> None:
    """Make an LSTM's weights parts of a new buffer, as cuDNN does, which has no more room than they need."""
    weights = list(layer._flat_weights)
    with torch.no_grad():
        buffer = torch.cat([weight.flatten() for weight in weights])
        for weight, part in zip(weights, buffer.split([weight.numel() for weight in weights]), strict=True):
            weight.set_(part.view_as(weight))


def test_weights_that_cudnn_moves_are_saved_once_and_can_be_trained_on(
    tmp_path: Path, corpus_folder: Path, monkeypatch: Patch
) -> None:
    """In recipe awd, a layer's dropped weights and its own ones move at each change between the two."""
    settings: dict[str, Any] = {"recipe": "awd", "epochs": 2, "lr": 1.0, "emsize": 64, "nhid": 64}
    usual, moved = Job(tmp_path / "usual", corpus_folder), Job(tmp_path / "moved", corpus_folder)
    assert usual.run(**settings) == 0
    monkeypatch.setattr(nn.LSTM, "flatten_parameters", into_one_buffer)
    assert moved.run(**settings) == 0
    for path in ("model/model.pt", "checkpoints/checkpoint.pt"):
        assert (moved.folder / path).stat().st_size == (usual.folder / path).stat().st_size
    assert moved.metrics()["test_loss"] == usual.metrics()["test_loss"]


def test_full_memory_is_no_lost_connection(job: Job, monkeypatch: Patch, capfd: Capture) -> None:
    def step(*_: object) -> None:
        with distributed._detect_lost_rank():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Training, "_step", step)
    assert job.run() == 1
    assert job.failure.read_text() == (
        "The memory of the instance or of its GPU is full (OutOfMemoryError: CUDA out of memory. Tried to "
        "allocate 2.00 GiB.). Lower batch_size or bptt, train a smaller model (emsize, nhid, nlayers, "
        "max_vocabulary), or choose a training.instance_type with more memory."
    )
    assert "Traceback" not in capfd.readouterr().err


OUT_OF_MEMORY_ON_THE_SECOND = """
import distributed, torch
from epoch_loop import Training
own_step = Training._step
def _step(training, sigterm):
    if distributed.rank() == 1 and training.position.step == 3:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return own_step(training, sigterm)
Training._step = _step
"""


def test_the_process_whose_memory_is_full_says_so(job: Job, fork_server: ForkServer) -> None:
    first, second = job.start_ranks(fork_server, 2, before=OUT_OF_MEMORY_ON_THE_SECOND)
    assert (first.wait(), second.wait()) == (1, 1)
    assert "error: The memory of the instance or of its GPU is full" in second.log.read_text()
    assert "error: The job's processes lost the connection to each other" in first.log.read_text()
    assert job.failure.read_text().startswith("The memory of the instance or of its GPU is full")


def test_a_failure_of_nccl_is_named(monkeypatch: Patch) -> None:
    def all_reduce(value: Tensor) -> None:
        raise torch.distributed.DistBackendError("NCCL error: remote process exited\nLast error: ...")

    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    with pytest.raises(
        RankLost,
        match=r"the network failed \(DistBackendError: NCCL error: remote process exited\)\. If no log",
    ):
        distributed.confirm_sums(torch.device("cpu"))


def test_nccl_leaves_the_process_alive_to_say_what_happened(monkeypatch: Patch) -> None:
    calls: list[object] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "")
    monkeypatch.delenv("TORCH_NCCL_ASYNC_ERROR_HANDLING")
    monkeypatch.setattr(distributed, "device", lambda: CUDA)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)

    def init_process_group(backend: str) -> None:
        calls.append((backend, os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"]))

    monkeypatch.setattr(torch.distributed, "init_process_group", init_process_group)
    with distributed.process_group():
        assert calls == [CUDA, ("cpu:gloo,cuda:nccl", "2")]


def test_nothing_is_saved_after_a_failed_sum(job: Job, monkeypatch: Patch) -> None:
    def confirm_sums(device: torch.device) -> None:
        raise RankLost("The sum is wrong.")

    monkeypatch.setattr(distributed, "confirm_sums", confirm_sums)
    assert job.run(epochs=1) == 1
    assert not job.checkpoint.exists()
    assert not (job.model / "model.pt").exists()


def test_a_gpu_gets_a_wider_batch_and_adam_a_higher_rate() -> None:
    usual = Hyperparameters()
    found = recipes.for_gpu(usual, tokens=2_000_000)
    assert (found.batch_size, found.lr) == (80, pytest.approx(2 * usual.lr))
    assert replace(found, batch_size=20, lr=usual.lr) == usual
    # A short text keeps 250 steps an epoch.
    shorter = recipes.for_gpu(usual, tokens=45 * 35 * 250)
    assert (shorter.batch_size, shorter.lr) == (45, pytest.approx(1.5 * usual.lr))
    assert recipes.for_gpu(usual, tokens=20 * 35 * 250) == usual


@pytest.mark.parametrize(("recipe", "columns"), [("awd", 80), ("classic", 20)])
def test_on_a_gpu_published_recipes_have_the_published_batch_and_rate(recipe: str, columns: int) -> None:
    usual = Hyperparameters(recipe=recipe)
    assert recipes.for_gpu(usual, tokens=2_000_000) == replace(usual, batch_size=columns)


@pytest.mark.parametrize("given", [{"batch_size": 20}, {"lr": 0.003}, {"batch_size": 40, "lr": 0.01}])
def test_a_batch_size_or_rate_that_is_given_is_used(given: dict[str, Any]) -> None:
    arguments = [f"--{name}={value}" for name, value in given.items()]
    hparams = hyperparameters.parse(arguments)
    assert recipes.for_gpu(hparams, tokens=2_000_000) == hparams


def test_a_note_says_that_a_gpu_changed_the_batch(job: Job, tmp_path: Path) -> None:
    text = corpus.read(job.channel, "prose", tmp_path / "scratch")
    given = Hyperparameters()
    (note,) = train.notes(given, recipes.for_gpu(given, tokens=2_000_000), text)
    assert note.startswith("On a GPU, recipe fast trained with batch_size 80 and lr ")
    assert note.endswith(f", not 20 and {given.lr:g}. Set batch_size or lr to choose them yourself.")

"""The optimisers take the same steps as those of torch.optim."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightweight_optim import BETAS, Adam, Sgd
from tests.unit.model_scripts.conftest import Job
from tests.unit.model_scripts.forks import ForkServer

STEPS = 30


def weights() -> list[nn.Parameter]:
    """Word vectors, whose gradients are sparse, a matrix, and a vector that only every third step uses."""
    chance = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=chance)) for shape in ((20, 5), (5, 5), (5,))]


def differentiate(parameters: list[nn.Parameter], step: int) -> None:
    """Put the gradients of one step's loss into the weights."""
    vectors, matrix, seldom = parameters
    for parameter in parameters:
        parameter.grad = None
    words = torch.randint(0, 20, (7,), generator=torch.Generator().manual_seed(step))
    read = functional.embedding(words, vectors, sparse=True) @ matrix
    (read + seldom if step % 3 == 0 else read).square().mean().backward()


def train(
    ours: Sgd | Adam, weights: list[nn.Parameter], torchs: list[Any], others: list[nn.Parameter]
) -> None:
    """Take the same steps with our optimiser and with torch's, and compare the weights."""
    for step in range(STEPS):
        differentiate(weights, step)
        ours.step(0.01 * (step + 1))
        differentiate(others, step)
        for optimiser in torchs:
            for group in optimiser.param_groups:
                group["lr"] = 0.01 * (step + 1)
            optimiser.step()
    for one, other in zip(weights, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_sgd_is_torchs(decay: float) -> None:
    ours, theirs = weights(), weights()
    groups = [{"params": theirs[:1]}, {"params": theirs[1:], "weight_decay": decay}]
    train(Sgd(ours, decay), ours, [torch.optim.SGD(groups, 1.0)], theirs)


def test_adam_is_torchs() -> None:
    ours, theirs = weights(), weights()
    torchs = [torch.optim.SparseAdam(theirs[:1], 1.0, BETAS), torch.optim.Adam(theirs[1:], 1.0, BETAS)]
    train(Adam(ours, [1.0] * 3), ours, torchs, theirs)


@pytest.mark.parametrize("rates", [(0.25, 1.0, 1.0), (1.0, 0.25, 1.0), (0.25, 0.25, 1.0)])
def test_a_weights_rate_is_relative_to_that_of_the_step(rates: tuple[float, ...]) -> None:
    ours, others = weights(), weights()
    whole, slower = Adam(others, [1.0] * 3), Adam(ours, rates)
    before = weights()
    for parameters, optimiser in ((ours, slower), (others, whole)):
        differentiate(parameters, 0)
        optimiser.step(0.01)
    for rate, old, own, other in zip(rates, before, ours, others, strict=True):
        torch.testing.assert_close(own - old, (other - old) * rate)


def test_a_job_does_not_import_the_compiler(
    tmp_path: Path, corpus_folder: Path, fork_server: ForkServer
) -> None:
    telling = """
main = train.main
def main_then_print(arguments):
    code = main(arguments)
    print("with the compiler" if "torch._dynamo" in sys.modules else "without the compiler")
    return code
train.main = main_then_print
"""
    fork = Job(tmp_path / "job", corpus_folder).start(fork_server, before=telling, epochs=1)
    assert fork.wait() == 0, fork.log.read_text()
    assert fork.log.read_text().splitlines()[-1] == "without the compiler"

"""How weights follow gradients: one object per recipe's optimiser and learning-rate schedule.

sgd   the rate is divided by 4 after an epoch that does not improve on valid.
adam  the rate rises for a short while and then falls in a straight line to zero over exactly the epochs
      asked for.
asgd  SGD that averages its weights once valid has not improved for some epochs: NT-ASGD of Merity et al.,
      arXiv 1708.02182. What is evaluated and kept is the average.

Gradients may be sparse (an untied model's word vectors): only the rows of words that were read are touched.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import recipes
from hyperparameters import Hyperparameters
from lightweight_optim import Adam, Sgd

ANNEALING = 4.0
PATIENCE = 5
"""Epochs that valid must have failed to improve on before SGD begins to average."""

WARM_UP = 0.05
"""Share of the first two epochs, or of all training if that is shorter, in which Adam's rate rises."""


class Optimisation:
    """The optimiser of a model, its schedule, and what it needs to go on after an interruption."""

    def __init__(self, model: nn.Module, settings: Hyperparameters, steps_per_epoch: int) -> None:
        self.recipe = recipes.BY_NAME[settings.recipe]
        self.settings = settings
        self.total_steps = settings.epochs * steps_per_epoch
        self.warm_up_steps = max(1, round(WARM_UP * min(self.total_steps, 2 * steps_per_epoch)))
        self.parameters = list(model.parameters())
        self.steps = 0
        self.annealed = 1.0
        self.valid_losses: list[float] = []
        self.averages: list[Tensor] = []
        self.averaged_steps = 0
        self.optimiser: Adam | Sgd
        if self.recipe.optimiser == "adam":
            self.optimiser = Adam(self.parameters)
        else:
            self.optimiser = Sgd(self.parameters, self.recipe.decay)

    def penalty(self, outputs: list[Tensor]) -> Tensor | float:
        """What the recipe adds to the mean loss, from the last layer's output (rows, columns, width) with and
        without its dropout (LanguageModel.forward)."""
        dropped, whole = outputs
        total: Tensor | float = 0.0
        if self.recipe.activation:
            total = total + self.recipe.activation * dropped.square().mean()
        if self.recipe.slowness and len(whole) > 1:
            total = total + self.recipe.slowness * (whole[1:] - whole[:-1]).square().mean()
        return total

    def learning_rate(self, rows: int) -> float:
        """The rate of the next step, for a batch of so many rows."""
        lr = self.settings.lr
        if self.recipe.optimiser == "adam":
            if self.steps < self.warm_up_steps:
                return lr * (self.steps + 1) / self.warm_up_steps
            done = (self.steps - self.warm_up_steps) / max(1, self.total_steps - self.warm_up_steps)
            return lr * max(0.0, 1.0 - done)
        # A short batch's mean gradient is as large as a long one's, but it has seen fewer words.
        return lr / self.annealed * (rows / self.settings.bptt if self.recipe.varied_windows else 1.0)

    def step(self, rows: int) -> float:
        """Follow the gradients that are there, clipped, and clear them; answers the rate that was used."""
        lr = self.learning_rate(rows)
        self._clip()
        self.optimiser.step(lr)
        for parameter in self.parameters:
            parameter.grad = None
        self.steps += 1
        if self.averages:
            self.averaged_steps += 1
            with torch.no_grad():
                for average, parameter in zip(self.averages, self.parameters, strict=True):
                    average.lerp_(parameter, 1 / (self.averaged_steps + 1))
        return lr

    def _clip(self) -> None:
        """Scale all gradients so that their common norm is at most settings.clip."""
        gradients = []
        for parameter in self.parameters:
            gradient = parameter.grad
            if gradient is not None and gradient.is_sparse:
                parameter.grad = gradient = gradient.coalesce()
            if gradient is not None:
                gradients.append(gradient.values() if gradient.is_sparse else gradient)
        norm = nn.utils.get_total_norm(gradients)
        if norm > self.settings.clip:
            for gradient in gradients:
                gradient.mul_(self.settings.clip / norm)

    def epoch_ended(self, valid_loss: float) -> None:
        """Anneal, or begin to average, by how valid came along."""
        improved = not self.valid_losses or valid_loss < min(self.valid_losses)
        if self.recipe.optimiser == "sgd" and not improved:
            self.annealed *= ANNEALING
        long_ago = self.valid_losses[:-PATIENCE]
        if self.recipe.optimiser == "asgd" and not self.averages and long_ago and valid_loss > min(long_ago):
            self.averages = [parameter.detach().clone() for parameter in self.parameters]
        self.valid_losses.append(valid_loss)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """While it lasts, the model has the weights to evaluate and keep: the average, where there is one."""
        if not self.averages:
            yield
            return
        own = [parameter.detach().clone() for parameter in self.parameters]
        self._put(self.averages)
        try:
            yield
        finally:
            self._put(own)

    def _put(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers: all that a resumed run needs."""
        return {
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            "annealed": self.annealed,
            "valid_losses": list(self.valid_losses),
            "averages": self.averages,
            "averaged_steps": self.averaged_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = state["steps"]
        self.annealed = state["annealed"]
        self.valid_losses = list(state["valid_losses"])
        self.averages = [
            average.to(own) for average, own in zip(state["averages"], self.parameters, strict=False)
        ]
        self.averaged_steps = state["averaged_steps"]

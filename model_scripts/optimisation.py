"""How weights follow gradients: each recipe's optimiser, learning-rate schedule and penalties.

    sgd    The rate is divided by 4 after an epoch that does not improve on valid.
    adam   The rate rises for a short while, then falls in a straight line to zero at the end of the last
           epoch.
    asgd   SGD that averages its weights once valid has not improved for some epochs: NT-ASGD of Merity et
           al., arXiv 1708.02182. The average is evaluated and saved.

Gradients may be sparse (the word vectors of an untied model). Then only the rows of words that were read are
updated.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import recipes
from hyperparameters import Hyperparameters
from language_model import LanguageModel
from lightweight_optim import Adam, Sgd

ANNEALING = 4.0
PATIENCE = 5
"""Epochs without an improvement on valid after which asgd begins to average."""

WARM_UP = 0.05
"""Share of the first two epochs, or of all training if that is shorter, in which Adam's rate rises."""


class Optimisation:
    """The optimiser of a model and its schedule, whose state a checkpoint can keep."""

    def __init__(self, model: LanguageModel, hparams: Hyperparameters, steps_per_epoch: int) -> None:
        self.recipe = recipes.BY_NAME[hparams.recipe]
        self.hparams = hparams
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = hparams.epochs * steps_per_epoch
        self.warm_up_steps = max(1, round(WARM_UP * min(self.total_steps, 2 * steps_per_epoch)))
        self.parameters = list(model.parameters())
        self.steps = 0
        self.annealed = 1.0
        self.valid_losses: list[float] = []
        self.averages: list[Tensor] = []
        self.averaged_steps = 0
        self.optimiser: Adam | Sgd
        if self.recipe.optimiser == "adam":
            rare = {id(parameter) for parameter in model.of_rare_words()}
            rare_rate = min(1.0, math.sqrt(self.recipe.rare_steps / self.total_steps))
            rates = [rare_rate if id(own) in rare else 1.0 for own in self.parameters]
            self.optimiser = Adam(self.parameters, rates)
        else:
            self.optimiser = Sgd(self.parameters, self.recipe.decay)

    def penalty(self, outputs: list[Tensor]) -> Tensor | float:
        """Return what the recipe adds to the mean loss: Merity et al.'s AR and TAR, arXiv 1708.01009.

            alpha * mean(dropped^2) + beta * mean((whole[t+1] - whole[t])^2)

        Both weights rise as the recipe says.

        Args:
            outputs: `dropped` and `whole`: the last layer's output after dropout and before it, each of
                shape (rows, columns, width), as LanguageModel.forward returns them.
        """
        dropped, whole = outputs
        total: Tensor | float = 0.0
        if self.recipe.alpha:
            total = total + self.recipe.alpha * dropped.square().mean()
        if self.recipe.beta and len(whole) > 1:
            total = total + self.recipe.beta * (whole[1:] - whole[:-1]).square().mean()
        return total * recipes.risen(self.recipe, self.steps / self.steps_per_epoch)

    def learning_rate(self, rows: int) -> float:
        """Return the rate of the next step, for a batch of `rows` rows."""
        lr = self.hparams.lr
        if self.recipe.optimiser == "adam":
            if self.steps < self.warm_up_steps:
                return lr * (self.steps + 1) / self.warm_up_steps
            done = (self.steps - self.warm_up_steps) / max(1, self.total_steps - self.warm_up_steps)
            return lr * max(0.0, 1.0 - done)
        # The mean gradient of a short batch is as large as that of a long one, but comes from fewer words.
        return lr / self.annealed * (rows / self.hparams.bptt if self.recipe.varied_windows else 1.0)

    def step(self, rows: int) -> float:
        """Clip the gradients, update the weights, clear the gradients. Returns the learning rate."""
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
        """Scale all gradients so that their common norm is at most hparams.clip."""
        gradients = []
        for parameter in self.parameters:
            gradient = parameter.grad
            if gradient is not None and gradient.is_sparse:
                parameter.grad = gradient = gradient.coalesce()
            if gradient is not None:
                gradients.append(gradient.values() if gradient.is_sparse else gradient)
        # No `if`: the host would wait for the norm. Multiplying by 1 changes nothing.
        factor = (self.hparams.clip / nn.utils.get_total_norm(gradients)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factor)

    def epoch_ended(self, valid_loss: float) -> None:
        """Lower the rate, or begin to average, depending on the epoch's loss on valid."""
        improved = not self.valid_losses or valid_loss < min(self.valid_losses)
        if self.recipe.optimiser == "sgd" and not improved:
            self.annealed *= ANNEALING
        older = self.valid_losses[:-PATIENCE]
        if self.recipe.optimiser == "asgd" and not self.averages and older and valid_loss > min(older):
            self.averages = [parameter.detach().clone() for parameter in self.parameters]
        self.valid_losses.append(valid_loss)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model the weights to evaluate and save: the average, once there is one."""
        own = [parameter.detach().clone() for parameter in self.parameters] if self.averages else []
        self._set_parameters(self.averages)
        try:
            yield
        finally:
            self._set_parameters(own)

    def _set_parameters(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=bool(values)):
                parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain tensors and numbers."""
        return {
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            "annealed": self.annealed,
            "valid_losses": list(self.valid_losses),
            "averages": self.averages,
            "averaged_steps": self.averaged_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from what `state_dict` returned."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = state["steps"]
        self.annealed = state["annealed"]
        self.valid_losses = list(state["valid_losses"])
        self.averages = [
            average.to(own) for average, own in zip(state["averages"], self.parameters, strict=False)
        ]
        self.averaged_steps = state["averaged_steps"]

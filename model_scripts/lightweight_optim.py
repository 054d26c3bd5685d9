"""SGD and Adam, step for step those of torch.optim, without the import of PyTorch's compiler.

Making an optimiser of torch.optim imports the compiler (torch._dynamo), which nothing here uses: a job then
starts 1.4 s of processor time later (2.8 s rather than 1.4 s for `import torch` and SGD; medians of 7).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

BETAS = (0.0, 0.999)
"""Without a mean of past gradients: so LSTM language models learn faster (Melis et al., arXiv 1707.05589)."""

EPSILON = 1e-8


class Sgd:
    """Stochastic gradient descent without momentum.

    Weight decay (L2) applies to dense gradients only: with a sparse gradient it would touch every row.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._decay = decay

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update the parameters that have a gradient."""
        for parameter in self._parameters:
            gradient = parameter.grad
            if gradient is None:
                continue
            if self._decay and not gradient.is_sparse:
                gradient = gradient.add(parameter, alpha=self._decay)
            parameter.add_(gradient, alpha=-lr)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: SGD has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing: SGD has no state."""


class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980).

    A sparse gradient updates only its rows, of the weights and of the moments, as in torch.optim.SparseAdam.

    Args:
        parameters: The weights.
        rates: The rate of each, relative to that of a step.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], rates: Sequence[float]) -> None:
        self._parameters, self._rates = parameters, rates
        self._means = [torch.zeros_like(parameter) for parameter in parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update the parameters that have a gradient."""
        gradients = [parameter.grad for parameter in self._parameters]
        given = [(n, gradient) for n, gradient in enumerate(gradients) if gradient is not None]
        for rate in sorted(set(self._rates)):
            self._step_dense(
                {n: one for n, one in given if not one.is_sparse and self._rates[n] == rate}, lr * rate
            )
        for n, gradient in given:
            if gradient.is_sparse:
                self._step_rows(n, gradient.coalesce(), lr * self._rates[n])

    def _step_dense(self, dense: dict[int, Tensor], lr: float) -> None:
        adam(
            [self._parameters[n] for n in dense],
            list(dense.values()),
            [self._means[n] for n in dense],
            [self._squares[n] for n in dense],
            [],
            [self._steps[n] for n in dense],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=lr,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )

    def _step_rows(self, n: int, gradient: Tensor, lr: float) -> None:
        rows, values = gradient.indices()[0], gradient.values()
        means, squares = self._means[n], self._squares[n]
        steps = float(self._steps[n].add_(1))
        mean = means.index_select(0, rows).lerp_(values, 1 - BETAS[0])
        square = squares.index_select(0, rows).lerp_(values.square(), 1 - BETAS[1])
        means.index_copy_(0, rows, mean)
        squares.index_copy_(0, rows, square)
        size = lr * math.sqrt(1 - BETAS[1] ** steps) / (1 - BETAS[0] ** steps)
        self._parameters[n].index_add_(0, rows, mean.div_(square.sqrt_().add_(EPSILON)), alpha=-size)

    def state_dict(self) -> dict[str, Any]:
        """Return the moments and step counts as plain tensors."""
        return {"means": self._means, "squares": self._squares, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copy in what `state_dict` returned."""
        for name, own in self.state_dict().items():
            for mine, saved in zip(own, state[name], strict=True):
                mine.copy_(saved)

"""The torch half of :mod:`gdexp.sweep.vectorized.points.loop`: one tensor element per run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from gdexp.sweep.vectorized.points.program import PAIRWISE, Floats, Program


class TorchKernel:
    """Keeps parameters of shape (names, runs) in the data's precision.

    Args:
        program: the program.
        runs: indices of the runs to compute.
    """

    def __init__(self, program: Program, runs: NDArray[np.intp]) -> None:
        self.gradient, self.reduction = program.gradient, program.reduction
        self.axis = 0 if len(program.x) < PAIRWISE else 1
        x, y = (torch.tensor(v).unsqueeze(1 - self.axis) for v in (program.x, program.y))
        shape = (len(x), len(runs)) if self.axis == 0 else (len(runs), len(program.x))
        self.x, self.y, self.slope = x, y.expand(shape), 2 * x
        kind = x.dtype
        start = np.stack([values[runs] for values in program.start.values()])
        self.parameters = torch.tensor(start, dtype=kind)
        # Leaves of the graph, one per name, that share memory with the parameters.
        self.leaves = [row.detach() for row in self.parameters]
        for leaf in self.leaves:
            leaf.requires_grad_(self.gradient == "autograd")
        self.lr = torch.tensor(program.lr[runs], dtype=kind)
        settings = {name: values[runs] for name, values in (program.sgd or {}).items()}
        self.direction = _Direction({k: torch.tensor(v) for k, v in settings.items()}, kind)

    def __call__(self, part: Floats) -> None:
        """The next epochs; see :data:`gdexp.sweep.vectorized.points.loop.Kernel`."""
        names = len(self.leaves)
        for row in torch.from_numpy(part):
            loss, gradients = self._differentiate()
            row[0] = loss
            row[1 + names :] = gradients
            self.parameters.addcmul_(self.lr, self.direction(self.parameters, gradients), value=-1)
            row[1 : 1 + names] = self.parameters

    def _differentiate(self) -> tuple[Tensor, Tensor]:
        """The losses, shape (runs,), and their gradients, shape (names, runs)."""
        w, *b = (leaf.unsqueeze(self.axis) for leaf in self.leaves)
        y_pred = w * self.x
        for bias in b:
            y_pred = y_pred + bias
        squares = mse_loss(y_pred, self.y, reduction="none")
        loss = self._reduce(squares, self.reduction)
        if self.gradient == "autograd":
            # A run's parameters affect only its own term of the sum.
            return loss.detach(), torch.stack(torch.autograd.grad(loss.sum(), self.leaves))
        residual = y_pred - self.y
        formulas = (self.slope * residual, 2 * residual)[: len(self.leaves)]
        return loss, torch.stack([self._reduce(values, self.gradient) for values in formulas])

    def _reduce(self, values: Tensor, reduction: str) -> Tensor:
        return values.mean(self.axis) if reduction == "mean" else values.sum(self.axis)


class _Direction:
    """The direction that :class:`torch.optim.SGD` multiplies by -lr, from the gradient g.

    ``g = -g`` to maximize; ``g = g + weight_decay * p``. With momentum,
    ``buffer = momentum * buffer + (1 - dampening) * g``, initially g, and the direction is the
    buffer, or ``g + momentum * buffer`` with Nesterov momentum. Terms that no run uses are skipped.
    """

    def __init__(self, settings: dict[str, Tensor], kind: torch.dtype) -> None:
        self.buffer: Tensor | None = None
        chosen: dict[str, Any] = {k: v for k, v in settings.items() if v.any()}
        self.maximize, self.nesterov = chosen.get("maximize"), chosen.get("nesterov")
        momentum, decay = chosen.get("momentum"), chosen.get("weight_decay")
        self.decay = None if decay is None else decay.to(kind)
        self.momentum = None if momentum is None else momentum.to(kind)
        if momentum is not None:  # without momentum, dampening has no effect
            kept = 1 - settings["dampening"].to(torch.float64)
            self.kept = torch.where(momentum != 0, kept, 1.0).to(kind)

    def __call__(self, parameters: Tensor, gradients: Tensor) -> Tensor:
        """The direction, shape (names, runs)."""
        g = gradients
        if self.maximize is not None:
            g = torch.where(self.maximize, -g, g)
        if self.decay is not None:
            g = g + self.decay * parameters
        if self.momentum is None:
            return g
        first = self.buffer is None
        self.buffer = g.clone() if first else self.momentum * self.buffer + self.kept * g
        if self.nesterov is None:
            return self.buffer
        return torch.where(self.nesterov, g + self.momentum * self.buffer, self.buffer)

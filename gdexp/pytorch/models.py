"""Predictors that torch holds, and parameters as tensors."""

from __future__ import annotations

from typing import Any

import torch

from gdexp.pytorch.tensors import seeded
from gdexp.types import Array, Parameters, Predictor, Start


class Linear:
    """``f(x) = w * x`` held by a :class:`torch.nn.Linear`, or ``w * x + b`` with a bias.

    Args:
        bias: whether there is a ``b``.
        init: the start value of every parameter, or "torch" for torch's own initialisation,
            drawn from torch's generator.
    """

    def __init__(self, bias: bool = False, init: Start = 0.0) -> None:
        self.init = init
        self.module = torch.nn.Linear(1, 1, bias=bias)
        self.parameters: Parameters = {}
        self._x = self._column = torch.empty(0)
        self.to(torch.float32)

    def to(self, dtype: torch.dtype) -> None:
        """Bring the parameters to this precision, at their start."""
        self.module.to(dtype)
        if self.init != "torch":
            for parameter in self.module.parameters():
                torch.nn.init.constant_(parameter, float(self.init))
        self.parameters = _by_name(self.module)

    def __call__(self, x: Array) -> Array:
        """Predictions, shape (n,) to shape (n,)."""
        if x is not self._x:  # the same inputs come in every iteration
            self._x, self._column = x, x.unsqueeze(-1)
        return self.module(self._column).view(-1)


def _by_name(module: torch.nn.Linear) -> Parameters:
    names = {"weight": "w", "bias": "b"}
    return {names[name]: parameter for name, parameter in module.named_parameters()}


def initial(bias: bool, seed: int) -> dict[str, float]:
    """Start values as ``torch.nn.Linear(1, 1)`` draws them: uniform in [-1, 1]."""
    with seeded(seed):
        drawn = _by_name(torch.nn.Linear(1, 1, bias))
    return {name: value.item() for name, value in drawn.items()}


def adopt(predictor: Predictor, dtype: str, tracked: bool) -> None:
    """Make the predictor's parameters tensors of this precision, tracked by autograd or not."""
    kind: Any = getattr(torch, dtype)
    if isinstance(predictor, Linear):
        predictor.to(kind)
    for name, value in predictor.parameters.items():
        tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=kind)
        predictor.parameters[name] = tensor.requires_grad_(tracked)

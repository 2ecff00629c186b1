"""The torch half of the four families, and the bridge from arrays to tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray

from gdexp.types import Array, Parameters, Predictor, Start, Updater


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


class Autograd:
    """The derivative of any loss by backpropagation, ``loss.backward()``.

    Each parameter's gradient is taken away once it is read, so there is nothing to zero.
    """

    tracked = True

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The gradient of the loss by each parameter."""
        loss.backward()
        gradients = {}
        for name, parameter in parameters.items():
            gradients[name], parameter.grad = parameter.grad, None
        return gradients


class Optimizer:
    """An optimizer of :mod:`torch.optim` as an updater.

    Args:
        optimizer: a torch optimizer over the predictor's parameters.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """One ``optimizer.step()`` with these gradients."""
        for name, parameter in parameters.items():
            gradient = gradients[name]
            fits = gradient.shape == parameter.shape  # one by hand is a plain number
            parameter.grad = gradient if fits else gradient.reshape(parameter.shape)
        self.optimizer.step()
        for parameter in parameters.values():
            parameter.grad = None


def adapt(updater: Any, predictor: Predictor) -> Updater:
    """Any updater, made to work on the predictor's tensors.

    An optimizer class of torch (``_partial_: true`` in its YAML file) gets the parameters it moves;
    an updater by hand is kept out of what autograd tracks.
    """
    kind = getattr(updater, "func", None)
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer):
        return Optimizer(updater(list(predictor.parameters.values())))
    return untracked(updater, predictor.parameters)


def untracked(updater: Updater, parameters: Parameters) -> Updater:
    """An updater by hand on parameters that autograd tracks: the update is not differentiated.

    It moves views of the same memory that autograd does not see, which is what the tutorial's
    ``with torch.no_grad()`` is for, and quicker than entering it in each iteration.
    """
    views = {name: parameter.detach() for name, parameter in parameters.items()}

    def update(parameters: Parameters, gradients: Parameters) -> None:
        updater(views, gradients)

    return update


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generator seeded for this block; the caller's state returns at the end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def initial(bias: bool, seed: int) -> dict[str, float]:
    """Start values as ``torch.nn.Linear(1, 1)`` draws them: uniform in [-1, 1]."""
    with seeded(seed):
        drawn = _by_name(torch.nn.Linear(1, 1, bias))
    return {name: value.item() for name, value in drawn.items()}


def tensors(*arrays: NDArray[Any]) -> tuple[torch.Tensor, ...]:
    """NumPy arrays as tensors of the same precision."""
    return tuple(torch.tensor(array) for array in arrays)


def adopt(predictor: Predictor, dtype: str, tracked: bool) -> None:
    """Make the predictor's parameters tensors of this precision, tracked by autograd or not."""
    kind: Any = getattr(torch, dtype)
    if isinstance(predictor, Linear):
        predictor.to(kind)
    for name, value in predictor.parameters.items():
        tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=kind)
        predictor.parameters[name] = tensor.requires_grad_(tracked)

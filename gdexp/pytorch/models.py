"""Predictors that torch holds, and parameters as tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from gdexp.errors import ConfigError, did_you_mean
from gdexp.pytorch.tensors import seeded
from gdexp.types import Array, Parameters, Predictor, Start


class Module:
    """Any :class:`torch.nn.Module` as a predictor.

    The module is given x of shape (n, d) and gives (n, 1), which is returned as (n,), or (n, k).

    Args:
        module: the module.
    """

    names: dict[str, str] = {}  # noqa: RUF012  (a parameter's name where it is not the module's)

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.parameters: Parameters = {}
        self._x = self._rows = torch.empty(0)
        self._by_name()

    def to(self, dtype: torch.dtype, device: torch.device) -> None:
        """Bring the parameters to this precision and device."""
        self.module.to(device=device, dtype=dtype)
        self._by_name()

    def _by_name(self) -> None:
        named = self.module.named_parameters()
        self.parameters = {self.names.get(name, name): value for name, value in named}

    def __call__(self, x: Array) -> Array:
        """Predictions, shape (n, d), or (n,) for one feature, to shape (n,) or (n, k)."""
        if x is not self._x:  # the same inputs come in every iteration
            self._x, self._rows = x, x.unsqueeze(-1) if x.ndim == 1 else x
        y_pred = self.module(self._rows)
        return y_pred.view(-1) if y_pred.ndim == 2 and y_pred.shape[1] == 1 else y_pred

    def state(self) -> dict[str, Any]:
        """Parameters and buffers by name."""
        return dict(self.module.state_dict())

    def load(self, state: dict[str, Any]) -> None:
        """Take parameters and buffers from another's state."""
        self.module.load_state_dict(state)


class Linear(Module):
    """``f(x) = x @ w`` held by a :class:`torch.nn.Linear`, or ``x @ w + b`` with a bias.

    Args:
        bias: whether there is a ``b``.
        init: the start value of every parameter, or "torch" for torch's own initialisation,
            drawn from torch's generator.
        features: how many numbers an x has, d.
        outputs: how many numbers f(x) has, k; w has shape (k, d).
    """

    names = {"weight": "w", "bias": "b"}  # noqa: RUF012
    linear = True
    vectorized = "linear"

    def __init__(
        self, bias: bool = False, init: Start = 0.0, features: int = 1, outputs: int = 1
    ) -> None:
        self.init = init
        super().__init__(torch.nn.Linear(features, outputs, bias=bias))
        self.to(torch.float32, torch.device("cpu"))

    def to(self, dtype: torch.dtype, device: torch.device) -> None:
        """Bring the parameters to this precision and device, at their start."""
        super().to(dtype, device)
        if self.init != "torch":
            for parameter in self.module.parameters():
                torch.nn.init.constant_(parameter, float(self.init))


class MLP(Module):
    """A multilayer perceptron: linear layers with a nonlinearity between them.

    Args:
        sizes: the widths of the hidden layers; none: linear.
        activation: the nonlinearity, a class of :mod:`torch.nn` by its name.
        bias: whether each layer has a bias.
        features: how many numbers an x has.
        outputs: how many numbers f(x) has.

    Raises:
        ConfigError: a size is no whole number >= 1, or torch.nn has no such activation.
    """

    def __init__(
        self,
        sizes: Sequence[int] = (16,),
        activation: str = "Tanh",
        bias: bool = True,
        features: int = 1,
        outputs: int = 1,
    ) -> None:
        listed = sizes if isinstance(sizes, Sequence) and not isinstance(sizes, str) else None
        for size in [sizes] if listed is None else listed:
            if listed is None or type(size) is not int or size < 1:
                kind = "list of widths" if listed is None else "whole number >= 1"
                raise ConfigError(
                    f"predictor.sizes: {size!r} is no {kind}. Type predictor.sizes=[16,16]."
                )
        nonlinear = _activation(activation)
        widths = [features, *sizes, outputs]
        layers: list[torch.nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [torch.nn.Linear(before, after, bias=bias), nonlinear()]
        super().__init__(torch.nn.Sequential(*layers[:-1]))


def _activation(name: str) -> type[torch.nn.Module]:
    known = torch.nn.modules.activation.__all__
    if name not in known:
        raise ConfigError(
            f"predictor.activation: torch.nn has no activation {name!r}."
            f"{did_you_mean(name, known, prefix='predictor.activation=')}"
        )
    found: type[torch.nn.Module] = getattr(torch.nn, name)
    return found


def initial(bias: bool, seed: int, features: int = 1) -> dict[str, Array]:
    """Start values as ``torch.nn.Linear`` draws them: uniform within 1/sqrt(features) of 0."""
    with seeded(seed):
        drawn = Linear(bias, "torch", features).parameters
    found = {name: value.detach().numpy().reshape(-1) for name, value in drawn.items()}
    return {name: v.item() if len(v) == 1 else v for name, v in found.items()}


def adopt(predictor: Any, dtype: str, tracked: bool, device: str = "cpu") -> Predictor:
    """The predictor with tensors for parameters, of this precision, tracked by autograd or not.

    A module becomes a predictor; numbers by hand become tensors.
    """
    kind: Any = getattr(torch, dtype)
    place = torch.device(device)
    if isinstance(predictor, torch.nn.Module):
        predictor = Module(predictor)
    if isinstance(predictor, Module):
        predictor.to(kind, place)
    for name, value in predictor.parameters.items():
        tensor = (
            value
            if isinstance(value, torch.Tensor)
            else torch.tensor(value, dtype=kind, device=place)
        )
        predictor.parameters[name] = tensor.requires_grad_(tracked)
    adopted: Predictor = predictor
    return adopted


@contextmanager
def judging(predictor: Predictor) -> Iterator[None]:
    """Predictions that are only looked at: no graph, and no dropout in a module."""
    module = predictor.module if isinstance(predictor, Module) else torch.nn.Identity()
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)

"""Predictors made of torch modules, and parameters as tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from gdexp.errors import ConfigError, did_you_mean, excerpt
from gdexp.types import Array, Parameters, Predictor, Start


class Module:
    """Any :class:`torch.nn.Module` as a predictor.

    The module maps x of shape (n, d) to (n, 1), which is returned as (n,), or to (n, k).

    Args:
        module: the module.
    """

    names: dict[str, str] = {}  # noqa: RUF012  (other names for the module's parameters)

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.parameters: Parameters = {}
        self._x = self._rows = torch.empty(0)
        self._by_name()

    def __getstate__(self) -> dict[str, Any]:
        """What is copied: all but the inputs, which may be a view of a large table."""
        return vars(self) | {"_x": (none := torch.empty(0)), "_rows": none}

    def to(self, dtype: torch.dtype, device: torch.device) -> None:
        """Move the parameters to this precision and device."""
        self.module.to(device=device, dtype=dtype)
        self._by_name()

    def _by_name(self) -> None:
        named = self.module.named_parameters()
        self.parameters = {self.names.get(name, name): value for name, value in named}

    def __call__(self, x: Array) -> Array:
        """Predictions, shape (n,) or (n, k), for x of shape (n,) or (n, d)."""
        if x is not self._x:  # reshaped once, as every iteration has the same inputs
            self._x, self._rows = x, x.unsqueeze(-1) if x.ndim == 1 else x
        y_pred = self.module(self._rows)
        if not isinstance(y_pred, torch.Tensor):
            kind = "None" if y_pred is None else type(y_pred).__name__
            raise TypeError(f"its forward returns {kind}, and predictions are a tensor")
        return y_pred.view(-1) if y_pred.ndim == 2 and y_pred.shape[1] == 1 else y_pred

    def state(self) -> dict[str, Any]:
        """Parameters and buffers by name."""
        return dict(self.module.state_dict())

    def load(self, state: dict[str, Any]) -> None:
        """Restore parameters and buffers."""
        self.module.load_state_dict(state)


class Linear(Module):
    """A :class:`torch.nn.Linear`, ``f(x) = x @ w``, or ``x @ w + b`` with a bias.

    Args:
        bias: whether there is a ``b``.
        init: the start value of every parameter, or "torch" for torch's random initialization.
        features: the number of features of x, d.
        outputs: the number of outputs of f(x), k; w has shape (k, d).
    """

    names = {"weight": "w", "bias": "b"}  # noqa: RUF012
    linear = True
    vectorized = "linear"

    def __init__(
        self, bias: bool = False, init: Start = 0.0, features: int = 1, outputs: int = 1
    ) -> None:
        self.init = init
        super().__init__(torch.nn.Linear(features, outputs, bias=bias))
        self._reset()

    def to(self, dtype: torch.dtype, device: torch.device) -> None:
        """Move the parameters to this precision and device, and reset them to ``init``."""
        super().to(dtype, device)
        self._reset()

    def _reset(self) -> None:
        if self.init != "torch":
            for parameter in self.module.parameters():
                torch.nn.init.constant_(parameter, float(self.init))


class MLP(Module):
    """A multilayer perceptron: linear layers with a nonlinearity between them.

    Args:
        sizes: the widths of the hidden layers; an empty list for a linear predictor.
        activation: the nonlinearity, the name of a class of :mod:`torch.nn`.
        bias: whether each layer has a bias.
        features: the number of features of x.
        outputs: the number of outputs of f(x).

    Raises:
        ConfigError: if a size is not a whole number >= 1, or torch.nn has no such activation.
    """

    def __init__(
        self,
        sizes: Sequence[int] = (16,),
        activation: str = "Tanh",
        bias: bool = True,
        features: int = 1,
        outputs: int = 1,
    ) -> None:
        if isinstance(sizes, str) or not isinstance(sizes, Sequence):
            raise ConfigError(
                f"predictor.sizes: {excerpt(sizes)} is not a list of widths. "
                "Type predictor.sizes=[16,16]."
            )
        for size in sizes:
            if type(size) is not int or size < 1:
                raise ConfigError(
                    f"predictor.sizes: {excerpt(size)} is not a whole number >= 1. "
                    "Type predictor.sizes=[16,16]."
                )
        known = torch.nn.modules.activation.__all__
        if not isinstance(activation, str) or activation not in known:
            raise ConfigError(
                f"predictor.activation: torch.nn has no activation {excerpt(activation)}."
                f"{did_you_mean(str(activation), known, prefix='predictor.activation=')}"
            )
        nonlinear = getattr(torch.nn, activation)
        widths = [features, *sizes, outputs]
        layers: list[torch.nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [torch.nn.Linear(before, after, bias=bias), nonlinear()]
        super().__init__(torch.nn.Sequential(*layers[:-1]))


def initial(bias: bool, features: int = 1) -> dict[str, Array]:
    """Start values as ``torch.nn.Linear`` draws them: uniform within 1/sqrt(features) of 0."""
    drawn = Linear(bias, "torch", features).parameters
    arrays = {name: value.detach().numpy().reshape(-1) for name, value in drawn.items()}
    return {name: array.item() if len(array) == 1 else array for name, array in arrays.items()}


def adopt(predictor: Any, dtype: str, tracked: bool, device: str = "cpu") -> Predictor:
    """A predictor or module as a predictor whose parameters are tensors of this precision.

    ``tracked`` says whether autograd tracks them.
    """
    precision: Any = getattr(torch, dtype)
    if isinstance(predictor, torch.nn.Module):
        predictor = Module(predictor)
    if isinstance(predictor, Module):
        predictor.to(precision, torch.device(device))
    for name, value in predictor.parameters.items():
        if not isinstance(value, torch.Tensor):
            value = torch.tensor(value, dtype=precision, device=device)
        predictor.parameters[name] = value.requires_grad_(tracked)
    adopted: Predictor = predictor
    return adopted


def in_double(
    predictor: Any, loss: Any, x: torch.Tensor, y: torch.Tensor
) -> tuple[Predictor, Any, torch.Tensor, torch.Tensor]:
    """A predictor, whose parameters autograd then tracks, a loss and rows in float64 on the CPU.

    The predictor and the loss are changed in place; classes stay whole numbers.
    """
    if isinstance(predictor, Module):
        # Not by Linear.to, which resets the parameters.
        Module.to(predictor, torch.float64, torch.device("cpu"))
    for name, value in predictor.parameters.items():
        if value.is_leaf and value.dtype is torch.float64 and value.is_cpu:
            predictor.parameters[name] = value.requires_grad_()
        else:
            predictor.parameters[name] = value.detach().cpu().double().requires_grad_()
    if isinstance(loss, torch.nn.Module):
        loss = loss.double().cpu()
    x, y = (rows.cpu().double() if rows.is_floating_point() else rows.cpu() for rows in (x, y))
    return predictor, loss, x, y


@contextmanager
def inference(predictor: Predictor) -> Iterator[None]:
    """Predict without building a graph, with the predictor's module in evaluation mode."""
    module = predictor.module if isinstance(predictor, Module) else torch.nn.Identity()
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)

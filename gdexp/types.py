"""The framework's types: the four families, an iteration, and the values they pass around.

An option of a family is any class that matches its Protocol here, without inheriting from it. It
may declare further capabilities (:mod:`gdexp.config.capabilities`). Numbers are NumPy arrays and
Python floats, or torch tensors if one of the four choices is torch's; the families by hand use
plain operators and work on both.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

Array: TypeAlias = Any
"""A NumPy array, a torch tensor or, for a single number, a Python float."""

Parameters: TypeAlias = dict[str, Array]
"""Parameters or their gradients by name; a linear predictor has ``w`` and, with a bias, ``b``."""

Task: TypeAlias = Literal["regression", "binary", "classes"]
"""What a loss is for: predicting a number, one of two classes, or one of several."""

Start: TypeAlias = float | Literal["torch"]
"""Where a parameter starts: a number, or torch's random initialization."""


class Iteration(NamedTuple):
    """One update of the loop.

    ``loss`` and ``gradients`` of epoch k are computed before update k, ``parameters`` after it, as
    the tutorial prints them. Nothing is copied: read the values before the next iteration.
    """

    epoch: int
    loss: Array
    parameters: Parameters
    gradients: Parameters


class Predictor(Protocol):
    """Family 1, ``y_pred = f(x)``: from parameters and inputs to predictions."""

    parameters: Parameters

    def __call__(self, x: Array) -> Array:
        """Predictions for the inputs x, shape (n,) or (n, d): shape (n,), or (n, k) for classes."""


class Gradient(Protocol):
    """Family 2, the gradient source: the derivative of the loss by each parameter."""

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """A gradient for each parameter, of the parameter's shape."""


class Loss(Protocol):
    """Family 3, from predictions and targets to one number."""

    def __call__(self, y_pred: Array, y: Array) -> Array:
        """The loss of the predictions y_pred against the targets y, shape (n,)."""


class Updater(Protocol):
    """Family 4, updates the parameters by their gradients, in place."""

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """Update every parameter."""

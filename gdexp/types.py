"""The words the framework is made of: four families, an iteration, and what they pass around.

An option of a family is any class that has the shape of its Protocol here; nothing has to be
inherited. What it can do beyond that, it may declare (:mod:`gdexp.config.capabilities`). Numbers
travel as NumPy arrays and Python floats, or as torch tensors when one of the four choices is
torch's; the families by hand use plain operators and work on both.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

Array: TypeAlias = Any
"""A NumPy array, a torch tensor or, for a single number, a Python float."""

Parameters: TypeAlias = dict[str, Array]
"""Parameters (or their gradients) by name; a linear predictor has ``w`` and, with a bias, ``b``."""

Task: TypeAlias = Literal["regression", "binary", "classes"]
"""What a loss is for: a number, one of two classes, or one of several."""

Start: TypeAlias = float | Literal["torch"]
"""Where a parameter starts: a number, or torch's own random initialisation."""


class Iteration(NamedTuple):
    """One update, as the loop saw it.

    ``loss`` and ``gradients`` of epoch k are taken before update k, ``parameters`` after it, as the
    tutorial prints them. Nothing is copied: read the values before asking for the next iteration.
    """

    epoch: int
    loss: Array
    parameters: Parameters
    gradients: Parameters


class Predictor(Protocol):
    """Family 1, ``y_pred = f(x)``: parameters and inputs to predictions."""

    parameters: Parameters

    def __call__(self, x: Array) -> Array:
        """Predictions for the inputs x, shape (n,) to shape (n,)."""


class Gradient(Protocol):
    """Family 2, the gradient source: the derivative of the loss by each parameter."""

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """A gradient for each parameter, of the parameter's shape."""


class Loss(Protocol):
    """Family 3, predictions and targets to one number."""

    def __call__(self, y_pred: Array, y: Array) -> Array:
        """The loss of the predictions y_pred against the targets y, both of shape (n,)."""


class Updater(Protocol):
    """Family 4, moves the parameters by their gradients, in place."""

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """One update of every parameter."""

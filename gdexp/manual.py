"""Tutorial step 1 on one page: all four families by hand.

The formulas are the tutorial's own one-liners on plain operators, so they work on NumPy arrays and
on torch tensors alike; with NumPy alone, torch is never imported. x and y have shape (n,).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt

from gdexp.types import Array, Parameters, Start


class Predictor:
    """``f(x) = w * x``, or ``w * x + b`` with a bias.

    w and b start as Python floats, in double precision, whatever the precision of x: as in the
    notebook, and what its printed digits need.

    Args:
        bias: whether there is a ``b``.
        init: the start value of every parameter, or "torch" for torch's own initialisation.
    """

    def __init__(self, bias: bool = False, init: Start = 0.0) -> None:
        self.init = init
        start = 0.0 if init == "torch" else float(init)
        self.parameters: Parameters = {"w": start, "b": start} if bias else {"w": start}

    def __call__(self, x: Array) -> Array:
        """Predictions, shape (n,)."""
        y_pred = self.parameters["w"] * x
        return y_pred + self.parameters["b"] if "b" in self.parameters else y_pred


class Loss:
    """Mean squared error, ``L = 1/n * sum((y_pred - y)**2)``."""

    reduction: ClassVar = "mean"

    def __call__(self, y_pred: Array, y: Array) -> Array:
        """The loss, one number."""
        return ((y_pred - y) ** 2).mean()


class Gradient:
    """The derivative of the mean squared error of a linear predictor.

    ``dL/dw = 1/n * sum(2 * x * (y_pred - y))`` and ``dL/db = 1/n * sum(2 * (y_pred - y))``.
    """

    reduction: ClassVar = "mean"
    predictor_targets: ClassVar = ("gdexp.manual.Predictor", "gdexp.pytorch.Linear")
    loss_targets: ClassVar = ("gdexp.manual.Loss", "torch.nn.MSELoss")

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The gradient of w and, where there is one, of b."""
        residual = y_pred - y
        gradients = {"w": _number((2 * x * residual).mean())}
        if "b" in parameters:
            gradients["b"] = _number((2 * residual).mean())
        return gradients


class GradientSum(Gradient):
    """The formula as the tutorial's first step published it: n times the derivative.

    ``np.dot(2*x, y_pred - y).mean()`` takes the mean of one number, which the dot product has
    summed already, so the 1/n of the mean squared error is missing. The sum is written out here,
    because the last digits of a BLAS dot product depend on the processor.
    """

    reduction: ClassVar = "sum"

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """N times the gradient of w and, where there is one, of b."""
        residual = y_pred - y
        gradients = {"w": _number((2 * x * residual).sum())}
        if "b" in parameters:
            gradients["b"] = _number((2 * residual).sum())
        return gradients


class Updater:
    """Plain gradient descent, ``w = w - lr * dL/dw``.

    Args:
        lr: the learning rate.
    """

    def __init__(self, lr: Annotated[float, Gt(0)]) -> None:
        self.lr = lr

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """One step downhill for every parameter, in place."""
        for name, gradient in gradients.items():
            parameters[name] -= self.lr * gradient


def _number(value: Array) -> Array:
    """A NumPy scalar as a Python float; tensors pass.

    NumPy 2 multiplies a float32 scalar by a Python float in float32. The published digits need the
    update in double precision, as NumPy 1 did it.
    """
    return value.item() if isinstance(value, np.generic) else value

"""Tutorial step 1 on one page: all four families by hand.

The formulas are the tutorial's own one-liners on plain operators, so they work on NumPy arrays and
on torch tensors alike; with NumPy alone, torch is never imported. y has shape (n,); x has shape
(n,) where there is one feature, and (n, d) where there are more.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt

from gdexp.types import Array, Parameters, Start


class Predictor:
    """``f(x) = w * x``, or ``w * x + b`` with a bias; of several features, ``f(x) = x @ w + b``.

    With one feature w and b start as Python floats, in double precision, whatever the precision of
    x: as in the notebook, and what its printed digits need. With d features, w has shape (d,).

    Args:
        bias: whether there is a ``b``.
        init: the start value of every parameter, or "torch" for torch's own initialisation.
        features: how many features x has, d.
    """

    def __init__(self, bias: bool = False, init: Start = 0.0, features: int = 1) -> None:
        self.init = init
        start = 0.0 if init == "torch" else float(init)
        w: Array = start if features == 1 else np.full(features, start)
        self.parameters: Parameters = {"w": w, "b": start} if bias else {"w": w}

    def __call__(self, x: Array) -> Array:
        """Predictions, shape (n,)."""
        w = self.parameters["w"]
        y_pred = w * x if x.ndim == 1 else x @ w
        return y_pred + self.parameters["b"] if "b" in self.parameters else y_pred


class Loss:
    """Mean squared error, ``L = 1/n * sum((y_pred - y)**2)``."""

    reduction: ClassVar = "mean"

    def __call__(self, y_pred: Array, y: Array) -> Array:
        """The loss, one number."""
        return ((y_pred - y) ** 2).mean()


class Gradient:
    """The derivative of the mean squared error of a linear predictor.

    ``dL/dw = 1/n * sum(2 * x * (y_pred - y))`` and ``dL/db = 1/n * sum(2 * (y_pred - y))``; of
    several features, ``dL/dw = 2/n * x.T @ (y_pred - y)``.
    """

    reduction: ClassVar = "mean"
    derived_for: ClassVar = "the mean squared error"
    predictor_targets: ClassVar = ("gdexp.manual.Predictor", "gdexp.pytorch.Linear")
    loss_targets: ClassVar = ("gdexp.manual.Loss", "torch.nn.MSELoss")

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The gradient of w and, where there is one, of b."""
        residual = y_pred - y
        if x.ndim == 1:
            gradients = {"w": _number((2 * x * residual).mean())}
        else:
            gradients = {"w": x.T @ residual * (2 / len(x))}
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
        gradients = {"w": _number((2 * x * residual).sum()) if x.ndim == 1 else 2 * x.T @ residual}
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

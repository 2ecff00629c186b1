"""The tutorial's families with one mistake each, for the gallery in ``conf/experiment/mistakes/``.

Nothing else uses them. Each class is a correct one with the one line that people get wrong.
"""

from __future__ import annotations

from typing import Any

from gdexp import manual
from gdexp.types import Array, Parameters


class NotZeroed:
    """Autograd, without zeroing: ``backward`` adds to the gradients of all earlier epochs."""

    tracked = True

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The sum of all gradients so far."""
        loss.backward()
        return {name: parameter.grad for name, parameter in parameters.items()}


class MissingMean(manual.Gradient):
    """The formula without the mean's 1/n, as the tutorial published it, undeclared."""

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """N times the gradient."""
        correct = super().__call__(parameters, x, y, y_pred, loss)
        return {name: len(y) * gradient for name, gradient in correct.items()}


class MissingTwo(manual.Gradient):
    """The formula without the 2 that the derivative of a square has."""

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """Half the gradient."""
        correct = super().__call__(parameters, x, y, y_pred, loss)
        return {name: gradient / 2 for name, gradient in correct.items()}


class ForgottenBias(manual.Gradient):
    """The formula for w alone: the bias never moves."""

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The gradient by w, and 0 for b."""
        correct = super().__call__(parameters, x, y, y_pred, loss)
        return {name: 0 * g if name == "b" else g for name, g in correct.items()}


class Broadcast:
    """The mean squared error of ``y_pred`` as a column: (n, 1) - (n,) has shape (n, n)."""

    def __call__(self, y_pred: Array, y: Array) -> Array:
        """The mean over all pairs of a prediction and a target."""
        return ((y_pred.reshape(-1, 1) - y) ** 2).mean()


class Detached:
    """The mean squared error as a product, of which autograd follows one factor only."""

    def __call__(self, y_pred: Array, y: Array) -> Array:
        """The right number, with half its gradient."""
        residual = y_pred - y
        return (residual * residual.detach()).mean()


class WrongSign(manual.Updater):
    """Gradient ascent, ``w = w + lr * dL/dw``."""

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """Climb the loss."""
        for name, gradient in gradients.items():
            parameters[name] += self.lr * gradient


def forgotten_no_grad(params: Any, lr: manual.Positive) -> Any:
    """Make a torch optimizer whose step is not within ``torch.no_grad()``.

    Args:
        params: the tensors to update.
        lr: the learning rate.
    """
    import torch

    class ForgottenNoGrad(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for w in self.param_groups[0]["params"]:
                w -= lr * w.grad

    return ForgottenNoGrad(params, {"lr": lr})

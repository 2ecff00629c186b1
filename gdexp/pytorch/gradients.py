"""Torch's gradient source."""

from __future__ import annotations

from gdexp.pytorch.eager import backward
from gdexp.types import Array, Parameters


class Autograd:
    """The derivative of any loss by backpropagation, ``loss.backward()``.

    It takes each gradient away from its parameter, so there is nothing to zero.
    """

    tracked = True
    vectorized = "autograd"

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The gradient of the loss by each parameter."""
        backward(loss)
        gradients = {}
        for name, parameter in parameters.items():
            gradients[name], parameter.grad = parameter.grad, None
        return gradients

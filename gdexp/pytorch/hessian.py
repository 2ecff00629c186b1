"""Products of a loss's Hessian with vectors, by differentiating its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdexp.types import Array

Floats = NDArray[np.float64]


class Hessian:
    """The second derivative of a loss by all parameters, as a function of vectors.

    ``H v = d/dt (v . dL/dt)``: one more backpropagation through that of the gradient.

    Args:
        parameters: the tensors by which the loss is differentiated.
        x: the inputs.
        y: the targets.
        predict: the predictor.
        loss: the loss.

    Attributes:
        gradient: the gradient of the loss, shape (p,).
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        x: Array,
        y: Array,
        predict: Callable[[Array], Tensor],
        loss: Callable[[Array, Array], Tensor],
    ) -> None:
        self._parameters = [p.requires_grad_() for p in parameters]
        self._sizes = [p.numel() for p in self._parameters]
        with torch.enable_grad():
            value = loss(predict(x), y)
            self._gradients = self._derivatives(value, create_graph=True)
        self.gradient = _joined(self._gradients)

    def __call__(self, vector: Floats) -> Floats:
        """The product with a vector, shape (p,)."""
        parts = torch.as_tensor(vector).to(self._gradients[0]).split(self._sizes)  # type: ignore[no-untyped-call]
        pairs = [
            (slope, part.view_as(slope))
            for slope, part in zip(self._gradients, parts, strict=True)
            if slope.requires_grad
        ]
        if not pairs:
            return np.zeros(len(vector))
        slopes, along = zip(*pairs, strict=True)
        return _joined(self._derivatives(slopes, along, retain_graph=True))

    def _derivatives(self, outputs: Any, vectors: Any = None, **options: bool) -> list[Tensor]:
        """The derivatives by every parameter, 0 where there is none."""
        derivatives = torch.autograd.grad(
            outputs, self._parameters, vectors, allow_unused=True, **options
        )
        pairs = zip(derivatives, self._parameters, strict=True)
        return [torch.zeros_like(p) if g is None else g for g, p in pairs]


def is_flat(y_pred: Tensor, y: Array, loss: Callable[[Array, Array], Tensor]) -> bool:
    """Whether a loss has no second derivative by the predictions, here: it is a straight line."""
    y_pred = y_pred.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(y_pred, y), y_pred, create_graph=True)
    if not slope.requires_grad:
        return True
    # The outputs weigh differently, since the second derivative of a softmax maps ones to 0.
    weights = torch.arange(1, slope.numel() + 1).reshape(slope.shape).to(slope)
    (curved,) = torch.autograd.grad((slope * weights).sum(), y_pred, allow_unused=True)
    return curved is None or not bool(curved.any())


def _joined(tensors: Iterable[Tensor]) -> Floats:
    parts = [tensor.detach().reshape(-1) for tensor in tensors]
    return torch.cat(parts).cpu().numpy().astype(np.float64)

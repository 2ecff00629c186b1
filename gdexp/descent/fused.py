"""The formulas of ``manual`` for big tables: loss and gradient in one pass over the data.

Written out array by array, an iteration of step 1 sends several temporaries as long as the table
through the memory. Here it reads x and y once, in blocks small enough that a block's residuals and
sums are taken in the cache. The sums are grouped by block, so the last digits differ from those of
``manual``; they are the same in every run on one machine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gdexp import manual
from gdexp.types import Array, Gradient, Loss, Parameters, Predictor

SMALLEST = 1 << 17  # numbers in x; it pays from 1 << 13 on, where transcripts still show the digits
BLOCK_BYTES = 3 << 19  # of x, y and residuals; a third of it is slower, and twice it no faster
REDUCTIONS: dict[type, str] = {manual.Gradient: "mean", manual.GradientSum: "sum"}

Table = NDArray[np.float32] | NDArray[np.float64]


class Pass(NamedTuple):
    """What a pass over a table found; the loop carries it in place of predictions.

    Attributes:
        x: the table's inputs.
        loss: the mean squared error.
        gradients: the gradient by each parameter.
    """

    x: Table
    loss: float
    gradients: Parameters


class Fused:
    """Predictor, loss and gradient of one table: the object itself, ``loss`` and ``gradient``.

    A block gives ``r = w * x + b - y``, or ``r = x @ w + b - y`` of several features, in the
    precision of x. Added up in double precision, the blocks give ``L = 1/n * sum(r**2)``,
    ``dL/dw = 2/n * x.T @ r`` and ``dL/db = 2/n * sum(r)``.

    Args:
        x: inputs, shape (n,) or (n, d).
        y: targets, shape (n,), in the precision of x.
        predictor: has the parameters (w is a number, or of shape (d,)), and predicts other inputs.
        reduction: "mean", or "sum" for n times the derivative.
    """

    def __init__(self, x: Table, y: Table, predictor: Predictor, reduction: str = "mean") -> None:
        self.parameters = predictor.parameters
        self._predictor = predictor
        self._x, self._y = x, y
        self._scale = 2 / len(y) if reduction == "mean" else 2.0
        row = x[:1].nbytes + 2 * x.itemsize
        rows = min(len(y), max(1, BLOCK_BYTES // row))
        self._blocks = [(x[i : i + rows], y[i : i + rows]) for i in range(0, len(y), rows)]
        self._residuals = np.empty(rows, dtype=x.dtype)

    def __call__(self, x: Array) -> Array:
        """A pass over the table if x is the table's, and predictions for any other x."""
        return self._pass() if x is self._x else self._predictor(x)

    def loss(self, y_pred: Array, y: Array) -> Array:
        """The mean squared error that a pass found.

        Raises:
            ValueError: y_pred is not a pass over this table, or y is not its targets.
        """
        return self._own(y_pred, y).loss

    def gradient(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The gradient that a pass found, by the parameters as they were then.

        Raises:
            ValueError: y_pred is not a pass over this table, or y is not its targets.
        """
        return self._own(y_pred, y).gradients

    def _own(self, y_pred: Array, y: Array) -> Pass:
        if not (isinstance(y_pred, Pass) and y_pred.x is self._x and y is self._y):
            raise ValueError("a fused loss and gradient are those of one table, its x and its y")
        return y_pred

    def _pass(self) -> Pass:
        w = np.asarray(self.parameters["w"], dtype=self._x.dtype)
        b = self.parameters.get("b")
        predict = np.matmul if w.ndim else np.multiply
        squares, offset, slopes = 0.0, 0.0, np.zeros(w.shape)
        for x, y in self._blocks:
            r = self._residuals[: len(y)]
            predict(x, w, out=r)
            if b is not None:
                r += b
            r -= y
            squares += float(r @ r)
            slopes += r @ x
            if b is not None:
                offset += float(r.sum())
        slopes *= self._scale
        gradients: Parameters = {"w": slopes if w.ndim else slopes.item()}
        if b is not None:
            gradients["b"] = self._scale * offset
        return Pass(self._x, squares / len(self._y), gradients)


def fuse(
    x: Array, y: Array, predictor: Predictor, gradient: Gradient, loss: Loss
) -> tuple[Predictor, Gradient, Loss] | None:
    """The three families in one pass; None where they have to be asked one by one.

    The pass stands in for ``manual``'s own classes, not for subclasses of them, on NumPy arrays of
    one precision with at least ``SMALLEST`` numbers in x.
    """
    reduction = REDUCTIONS.get(type(gradient))
    if reduction is None or (type(predictor), type(loss)) != (manual.Predictor, manual.Loss):
        return None
    if not _fits(x, y, predictor.parameters["w"]):
        return None
    fused = Fused(x, y, predictor, reduction)
    return fused, fused.gradient, fused.loss


def _fits(x: Array, y: Array, w: Array) -> bool:
    return (
        type(x) is type(y) is np.ndarray
        and x.dtype == y.dtype
        and x.dtype in (np.float32, np.float64)
        and x.size >= SMALLEST
        and x.ndim <= 2
        and y.shape == x.shape[:1]
        and np.shape(w) == x.shape[1:]
    )

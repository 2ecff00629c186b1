"""Loss and gradients of :mod:`gdexp.manual` for many curves, bit for bit those of each alone.

Elementwise operations do not depend on how many numbers there are. Sums along the last, contiguous
axis are pairwise like those of a run alone; of fewer than 8 numbers NumPy adds one after another,
along any axis. The products of tables and parameters are one call of BLAS for each curve, as alone:
a product of matrices would add in another order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp import manual
from gdexp.sweep.vectorized.points.program import PAIRWISE
from gdexp.sweep.vectorized.stacks.numpy_rows import Batch
from gdexp.types import Gradient, Loss, Parameters

Values = NDArray[Any]


class Pass:
    """The passes over as many rows as these, in preallocated buffers.

    ``terms`` holds what is summed over the rows: the terms of the loss, of the gradient by w if
    there is one feature, and of the gradient by b if there is a bias.

    Args:
        parameters: the parameters, ``w`` of shape (curves,) or (curves, d), ``b`` of (curves,).
        n: the number of rows.
        kind: the precision of the rows.
        gradient: the gradient source, derived for the loss; None if only losses are wanted.
        loss: the loss.
    """

    def __init__(
        self, parameters: Parameters, n: int, kind: Any, gradient: Gradient | None, loss: Loss
    ) -> None:
        w = parameters["w"]
        self._single, self._n = w.ndim == 1, n
        self._logistic, self._loss_only = isinstance(loss, manual.Logistic), gradient is None
        self._mean = getattr(gradient, "reduction", "mean") == "mean"
        self._slopes = 0 if gradient is None else self._single + ("b" in parameters)
        shape = 2 + self._slopes, len(w), n
        if self._single and n < PAIRWISE:  # long inner loops, over the curves
            buffers = np.empty((shape[0], n, len(w)), kind).transpose(0, 2, 1)
        else:
            buffers = np.empty(shape, kind)
        self._z, self._terms = buffers[0], buffers[1:]
        self._sums = np.empty((1 + self._slopes, len(w)), kind)

    def __call__(self, batch: Batch, parameters: Parameters) -> tuple[Values, Parameters]:
        """The losses, shape (curves,), and the gradients, like the parameters."""
        self._predict(batch, parameters)
        residual = self._residual(batch.y)
        products = iter(self._terms[1:])
        if self._slopes and self._single:
            np.multiply(batch.doubled, residual, out=next(products))
        for product in products:
            np.multiply(2, residual, out=product)
        sums = np.add.reduce(self._terms, axis=2, out=self._sums)
        sums[: None if self._mean else 1] /= self._n
        return sums[0], {} if self._loss_only else self._gradients(batch, parameters, residual)

    def _predict(self, batch: Batch, parameters: Parameters) -> None:
        z, w = self._z, parameters["w"]
        if self._single:
            np.multiply(batch.x, w[:, None].astype(z.dtype), out=z)
        else:
            for curves, x, _ in batch.pieces:
                np.matmul(x, w[curves, :, None], out=z[curves, :, None])
        if "b" in parameters:
            np.add(z, parameters["b"][:, None].astype(z.dtype), out=z)

    def _residual(self, y: Values) -> Values:
        """Fill in the terms of the loss, and replace the predictions by ``y_pred - y``."""
        z: Values = self._z
        terms = self._terms[0]
        if self._logistic:
            np.multiply(y, z, out=terms)
            np.subtract(np.logaddexp(0, z), terms, out=terms)
            np.logaddexp(0, np.negative(z, out=z), out=z)
            np.exp(np.negative(z, out=z), out=z)
        np.subtract(z, y, out=z)
        if not self._logistic:
            np.square(z, out=terms)
        return z

    def _gradients(self, batch: Batch, parameters: Parameters, residual: Values) -> Parameters:
        slopes = iter(self._sums[1:].astype(np.float64))  # a run alone has Python floats
        w = parameters["w"]
        by_w = next(slopes) if self._single else np.empty_like(w)
        if not self._single:
            matrices = batch.columns if self._mean else batch.doubled_columns
            for (curves, _, _), columns in zip(batch.pieces, matrices, strict=True):
                np.matmul(columns, residual[curves, :, None], out=by_w[curves, :, None])
            if self._mean:
                by_w *= 2 / self._n
        gradients = {"w": by_w, **{name: next(slopes) for name in parameters if name != "w"}}
        if self._logistic:
            gradients = {name: values / 2 for name, values in gradients.items()}
        return gradients

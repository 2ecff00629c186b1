"""``manual``'s predictor, loss and gradient in one pass over the table.

Evaluated array by array, an iteration of step 1 allocates several temporaries as long as the table.
:class:`Exact` computes a small table in preallocated buffers, with the same operations in the same
order: every bit is that of ``manual``. :class:`Fused` reads a big table once, in blocks small
enough for their residuals to stay in the cache. It adds the sums up block by block, so its last
digits differ from those of ``manual``, but not from run to run on one machine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gdexp import manual
from gdexp.types import Array, Gradient, Loss, Parameters, Predictor

# Numbers in x from which blocks are used. They pay from 1 << 13 on, but there the transcripts would
# still show the differing digits.
SMALLEST = 1 << 17
BLOCK_BYTES = 3 << 19  # of x, y and residuals: a third is slower, twice as much no faster

GRADIENTS = (manual.Gradient, manual.GradientSum)

Table = NDArray[np.float32] | NDArray[np.float64]


class Pass(NamedTuple):
    """The loss and the gradients of the table x; the loop passes it on in place of predictions."""

    x: Table
    loss: float
    gradients: Parameters


class OnePass:
    """Three families in one: the object is the predictor, its methods are loss and gradient.

    Args:
        x: inputs, shape (n,) or (n, d).
        y: targets, shape (n,), in the precision of x.
        predictor: holds the parameters, w (a number, or shape (d,)) and b, and predicts other
            inputs.
    """

    def __init__(self, x: Table, y: Table, predictor: Predictor) -> None:
        self.parameters = predictor.parameters
        self._predictor = predictor
        self._x, self._y = x, y

    def __call__(self, x: Array) -> Array:
        """A pass over the table if x is the table's; predictions for any other x."""
        return self._pass() if x is self._x else self._predictor(x)

    def loss(self, y_pred: Array, y: Array) -> Array:
        """The mean squared error that a pass has computed.

        Raises:
            ValueError: if y_pred is not a pass over this table, or y is not its targets.
        """
        return self._checked(y_pred, y).loss

    def gradient(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The gradients that a pass has computed, at the parameters of that time.

        Raises:
            ValueError: if y_pred is not a pass over this table, or y is not its targets.
        """
        return self._checked(y_pred, y).gradients

    def _checked(self, y_pred: Array, y: Array) -> Pass:
        if not (isinstance(y_pred, Pass) and y_pred.x is self._x and y is self._y):
            raise ValueError("a fused loss and gradient need the x and the y of their own table")
        return y_pred

    def _pass(self) -> Pass:
        raise NotImplementedError


class Exact(OnePass):
    """A small table: ``manual``'s operations in its order, in preallocated buffers.

    With the residuals ``r = w * x + b - y``, or ``r = x @ w + b - y`` for several features, the
    products ``r * r``, ``2 * x * r`` (one feature) and ``2 * r`` (with a bias) are the rows of one
    array, which a single call sums. Dividing by n in single precision rounds as ``mean`` does,
    which divides in double, because n is exact in both.

    ``gradient`` and ``loss`` are ``manual``'s. For the other arguments, see :class:`OnePass`; w is
    a Python float, or an array in the precision of x.
    """

    def __init__(
        self, x: Table, y: Table, predictor: Predictor, gradient: manual.Gradient, loss: Loss
    ) -> None:
        super().__init__(x, y, predictor)
        self._formulas = gradient, loss
        n, single, self._w = len(y), x.ndim == 1, self.parameters["w"]
        mean = gradient.reduction == "mean"
        self._biased = "b" in self.parameters
        factors = np.full((1 + single + self._biased, n), 2, dtype=x.dtype)
        if single:
            factors[1] *= x
        self._factors, self._residuals, self._products = factors, factors[0], factors.copy()
        self._counts = np.array([n, *[n if mean else 1] * (len(factors) - 1)], dtype=x.dtype)
        self._predict = np.multiply if single else np.matmul
        self._columns = None if single else x.T if mean else 2 * x.T
        self._scale = 2 / n if mean else 1.0

    def _pass(self) -> Pass:
        w, b = self.parameters["w"], self.parameters.get("b", 0.0)
        if not ((w is self._w or type(w) is float is type(self._w)) and type(b) is float):
            return self._by_formulas()  # an updater has replaced them by parameters of another type
        r = self._residuals
        self._predict(self._x, w, r)
        if self._biased:
            np.add(r, b, r)
        np.subtract(r, self._y, r)
        np.multiply(self._factors, r, self._products)
        means = np.add.reduce(self._products, 1)
        means /= self._counts
        loss, *slopes = means.tolist()
        if self._columns is not None:
            slope = self._columns @ r
            slope *= self._scale
            slopes.insert(0, slope)
        return Pass(self._x, loss, dict(zip(self.parameters, slopes, strict=True)))

    def _by_formulas(self) -> Pass:
        (gradient, loss), x, y = self._formulas, self._x, self._y
        y_pred = self._predictor(x)
        value = loss(y_pred, y)
        return Pass(x, value, gradient(self.parameters, x, y, y_pred, value))


class Fused(OnePass):
    """A big table, block by block.

    The residuals ``r = w * x + b - y``, or ``r = x @ w + b - y`` for several features, are computed
    in the precision of x, block by block. Their sums are added up in double precision:
    ``L = 1/n * sum(r**2)``, ``dL/dw = 2/n * x.T @ r`` and ``dL/db = 2/n * sum(r)``. With
    ``reduction="sum"`` the gradients are n times as large. For the arguments, see :class:`OnePass`.
    """

    def __init__(self, x: Table, y: Table, predictor: Predictor, reduction: str = "mean") -> None:
        super().__init__(x, y, predictor)
        self._scale = 2 / len(y) if reduction == "mean" else 2.0
        row = x[:1].nbytes + 2 * x.itemsize
        rows = min(len(y), max(1, BLOCK_BYTES // row))
        self._blocks = [(x[i : i + rows], y[i : i + rows]) for i in range(0, len(y), rows)]
        self._residuals = np.empty(rows, dtype=x.dtype)

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
    """The three families in one pass, or None if they must be called one by one.

    Only ``manual``'s own classes are replaced, not their subclasses, and only on NumPy arrays of
    one precision.
    """
    if not isinstance(gradient, manual.Gradient) or type(gradient) not in GRADIENTS:
        return None
    if (type(predictor), type(loss)) != (manual.Predictor, manual.Loss):
        return None
    if not _fits(x, y, predictor.parameters["w"]):
        return None
    one_pass: OnePass = (
        Exact(x, y, predictor, gradient, loss)
        if x.size < SMALLEST
        else Fused(x, y, predictor, gradient.reduction)
    )
    return one_pass, one_pass.gradient, one_pass.loss


def _fits(x: Array, y: Array, w: Array) -> bool:
    return (
        type(x) is type(y) is np.ndarray
        and x.dtype == y.dtype
        and x.dtype in (np.float32, np.float64)
        and x.size > 0
        and x.ndim in (1, 2)
        and y.shape == x.shape[:1]
        and np.shape(w) == x.shape[1:]
        and (x.size >= SMALLEST or type(w) is float or getattr(w, "dtype", None) == x.dtype)
    )

"""The NumPy half of :mod:`gdexp.sweep.vectorized.points.loop`: one array element per run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gdexp.sweep.vectorized.points.program import PAIRWISE, Floats, Program


class NumpyKernel:
    """The families of :mod:`gdexp.manual` on arrays, with reused temporaries.

    Parameters are in double precision, predictions and residuals in the data's. Reductions give the
    same bits as NumPy's ``mean`` and ``sum`` of a single run: NumPy adds sequentially along the
    first axis, as it does fewer than 8 numbers, and pairwise along the last, contiguous axis.

    Args:
        program: the program.
        runs: indices of the runs to compute.
    """

    def __init__(self, program: Program, runs: NDArray[np.intp]) -> None:
        n, count, kind = len(program.x), len(runs), program.x.dtype
        names, first = len(program.start), n < PAIRWISE
        shape, axis = ((n, count), 0) if first else ((count, n), 1)
        self.x, self.y, self.slope = (
            np.expand_dims(v, 1 - axis) for v in (program.x, program.y, 2 * program.x)
        )
        self.lr, self.step = program.lr[runs], np.empty((names, count))
        self.parameters = np.stack([values[runs] for values in program.start.values()])
        self.rounded = np.empty((names, count), kind)
        self.w, *self.b = (np.expand_dims(values, axis) for values in self.rounded)
        self.residual = np.empty(shape, kind)
        self.terms, self.axis = np.empty((1 + names, *shape), kind), 1 + axis
        self.reduced = np.empty((1 + names, count), kind)
        self.means = self.reduced[: 1 + names if program.gradient == "mean" else 1]
        # If n is exact in the data's precision, dividing by it there equals mean()'s division.
        self.n = kind.type(n) if kind.type(n) == n else np.intp(n)

    def __call__(self, part: Floats) -> None:
        """The next epochs; see :data:`gdexp.sweep.vectorized.points.loop.Kernel`."""
        names = len(self.parameters)
        for row in part:
            self._reduce()
            row[0], row[1 + names :] = self.reduced[0], self.reduced[1:]
            np.multiply(self.lr, row[1 + names :], out=self.step)
            self.parameters = np.subtract(self.parameters, self.step, out=row[1 : 1 + names])

    def _reduce(self) -> None:
        """The loss and the gradients, before they are converted to double precision."""
        residual = self.residual
        self.rounded[:] = self.parameters
        np.multiply(self.w, self.x, out=residual)
        for b in self.b:
            np.add(residual, b, out=residual)
        np.subtract(residual, self.y, out=residual)
        np.square(residual, out=self.terms[0])
        np.multiply(self.slope, residual, out=self.terms[1])
        if self.b:
            np.multiply(2, residual, out=self.terms[2])
        np.add.reduce(self.terms, axis=self.axis, out=self.reduced)
        np.divide(self.means, self.n, out=self.means, casting="unsafe")

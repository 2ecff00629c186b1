"""The curvature of the mean squared error of a linear predictor, exactly, from one pass."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.data.compress import factor
from gdexp.data.preparation import KEPT, Prepared
from gdexp.descent.build import Components
from gdexp.descent.predictors import to_numpy
from gdexp.manual import Loss

LARGEST = 5e9  # rows times columns squared: about a second of work

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curvature:
    """The mean squared error of a linear predictor as a quadratic of its parameters.

    With ``A = [X, 1]`` (``X`` without a bias) and the parameters ``t = (w, b)``::

        L(t) = lowest + 1/2 (t - t*)' H (t - t*),   H = 2/n A'A

    If columns are linearly dependent, directions of curvature 0 are left out: along them the loss
    does not change, and descent does not move.

    Attributes:
        eigenvalues: of H, above 0, in descending order, shape (r,).
        vectors: their eigenvectors, shape (p, r).
        optimum: t*, a least-squares solution, shape (p,).
        lowest: the smallest possible loss.
        sizes: the size at which each parameter alone would spread the predictions as widely as the
            targets are spread, shape (p,).
        offset: the root mean square of the targets over their spread, 1 or more.
    """

    eigenvalues: Floats
    vectors: Floats
    optimum: Floats
    lowest: float
    sizes: Floats
    offset: float

    @property
    def largest(self) -> float:
        """The largest curvature; plain descent converges for lr below 2 over it."""
        return float(self.eigenvalues[0])

    @property
    def smallest(self) -> float:
        """The smallest curvature above 0; it limits how fast descent converges."""
        return float(self.eigenvalues[-1])

    @cached_property
    def target(self) -> Floats:
        """The optimum along each eigenvector, shape (r,)."""
        return self.vectors.T @ self.optimum

    @cached_property
    def zero(self) -> float:
        """The loss at parameters of 0: for predictions of 0, the mean square of the targets."""
        return self.lowest + float(self.target**2 @ self.eigenvalues) / 2

    @property
    def condition(self) -> float:
        """The condition number of H: largest over smallest."""
        return self.largest / self.smallest if self.smallest else math.inf

    def distance(self, parameters: Floats) -> Floats:
        """From the nearest least-squares solution to these parameters, shape (p,)."""
        difference: Floats = parameters - self.optimum
        if len(self.eigenvalues) < len(difference):
            difference = self.vectors @ (self.vectors.T @ difference)
        return difference


def curvature(job: Job, built: Components) -> Curvature | None:
    """The curvature of a job's loss, up to its reduction, on the rows that are fitted.

    None unless the predictor is linear and the loss the mean, or the sum, of squared errors; nor
    if the table is empty of information (all zeros), too wide to be factored in about a second, or
    not finite once squared.
    """
    if not is_least_squares(job):
        return None
    return _curvature(built.data, "b" in built.predictor.parameters)


def is_least_squares(job: Job) -> bool:
    """Whether the predictor is linear and the loss the mean, or the sum, of squared errors."""
    squares = capabilities.of(job.settings, "loss", "measures") == Loss.measures
    return squares and capabilities.is_linear(job.settings)


def summed_rows(job: Job, built: Components) -> int:
    """The number of rows if the loss is a sum over them; 1 of a mean."""
    return len(built.y) if capabilities.reduction(job.settings, "loss") == "sum" else 1


def parameters(built: Components) -> Floats:
    """The current parameters of a linear predictor as (w, b), shape (p,)."""
    named = built.predictor.parameters
    parts = [to_numpy(named[name]).reshape(-1) for name in ("w", "b") if name in named]
    return np.concatenate(parts).astype(np.float64)


@lru_cache(maxsize=KEPT)
def _curvature(data: Prepared, bias: bool) -> Curvature | None:
    table = data.fitted
    n, d = len(table.y), table.width
    if n * (d + 1) ** 2 > LARGEST:
        return None
    quadratic = None
    with np.errstate(all="ignore"), suppress(np.linalg.LinAlgError):
        r = factor(table, ones=bias)
        quadratic = _of_factor(r, n, bias) if np.isfinite(r).all() else None
    if quadratic is None:
        return None
    numbers = quadratic.largest, quadratic.condition, quadratic.lowest
    return quadratic if np.isfinite(numbers).all() else None


def _of_factor(r: Floats, n: int, bias: bool) -> Curvature | None:
    """From the triangular factor of [1, X, y], or [X, y] without a bias."""
    order = [*range(1, r.shape[1] - 1), 0] if bias else [*range(r.shape[1] - 1)]
    a, z = r[:, order], r[:, -1]
    _, singular, vectors = np.linalg.svd(a, full_matrices=False)
    kept = singular > singular[0] * np.finfo(float).eps * 8 * len(order)
    if not kept.any():
        return None
    # Scaled to length 1, columns of very different units lose no digits of the solution.
    lengths = np.linalg.norm(a, axis=0)
    lengths[lengths == 0] = 1
    optimum = np.linalg.lstsq(a / lengths, z, rcond=None)[0] / lengths
    lowest = float(np.sum((a @ optimum - z) ** 2)) / n
    below = r[int(bias) :]  # without the row of the means
    spread, whole = float(np.linalg.norm(below[:, -1])), float(np.linalg.norm(z))
    if spread < 1e-5 * whole:  # the targets are constant, but for rounding
        spread = whole
    columns = np.linalg.norm(below[:, order], axis=0)
    if bias:
        columns[-1] = np.sqrt(n)
    sizes = np.divide(spread, columns, out=np.full(len(order), np.inf), where=columns > 0)
    eigenvalues = 2 / n * singular[kept] ** 2
    return Curvature(eigenvalues, vectors[kept].T, optimum, lowest, sizes, whole / (spread or 1))

"""The path of descent on a quadratic in closed form: its losses, and when a condition is met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gdexp.insight.dynamics.curvature import Curvature, Floats
from gdexp.insight.dynamics.motion import Motion

LONGEST = 10**9  # epochs that are searched
SCANNED = 128  # epochs that are searched one by one; further ones, by narrowing a range down
GRID = np.linspace(0, 1, 64)  # the points of such a range, on a logarithmic scale
CHUNK = 2**20  # numbers computed at once


@dataclass(frozen=True, eq=False)
class Path:
    """The descent with all rows on a quadratic, from its start, in closed form.

    With a weight decay it comes to rest beside the optimum u*, at
    ``u = multiple * h / k * u*`` in the direction of curvature h.

    Attributes:
        motion: the updater's motion.
        curvatures: of the mean loss, shape (r,).
        start: the distance from the point of rest, along each eigenvector, shape (r,).
        rest: the distance of the point of rest from the optimum, likewise.
        lowest: the smallest possible mean loss.
        zero: the mean loss of predictions of 0, that is the mean square of the targets.
        rows: the number by which the mean loss is multiplied: that of the rows if it is a sum.
    """

    motion: Motion
    curvatures: Floats
    start: Floats
    rest: Floats
    lowest: float
    zero: float
    rows: int

    @classmethod
    def of(cls, motion: Motion, quadratic: Curvature, parameters: Floats, rows: int) -> Path:
        """The path from these parameters (w, b).

        Args:
            motion: the updater's motion.
            quadratic: the mean loss.
            parameters: at the start, shape (p,).
            rows: n if the loss is a sum, else 1.
        """
        h, optimum = quadratic.eigenvalues, quadratic.target
        start, rest = quadratic.vectors.T @ parameters - optimum, 0 * optimum
        if motion.decay:
            rest = -motion.decay / motion.met(h) * optimum
            start -= rest
        return cls(motion, h, start, rest, quadratic.lowest, quadratic.zero, rows)

    def losses(self, epochs: Floats) -> Floats:
        """The loss of each of these epochs, before its update; inf where it overflows."""
        size = max(1, CHUNK // len(self.start))
        if len(epochs) <= size:
            return self._losses(epochs)
        parts = [self._losses(epochs[i : i + size]) for i in range(0, len(epochs), size)]
        return np.concatenate(parts)

    def _losses(self, epochs: Floats) -> Floats:
        with np.errstate(all="ignore"):
            distances = self._distances(epochs)
            losses: Floats = self.rows * (self.lowest + distances**2 @ self.curvatures / 2)
        losses[np.isnan(losses)] = np.inf
        return losses

    def is_beyond_rounding(self, dtype: str) -> bool:
        """Whether the start is so far from the point of rest that rounding does not lead the way.

        If the descent diverges, only directions in which the distance grows count.
        """
        counted = self.rates > 1 if self.contraction > 1 else slice(None)
        energy = float(self.start[counted] ** 2 @ self.curvatures[counted]) / 2
        return energy > (64 * float(np.finfo(dtype).eps)) ** 2 * max(self.zero, self.lowest)

    def gradient_norms(self, epochs: Floats) -> Floats:
        """The norm of the gradient source in each of these epochs, without a weight decay."""
        with np.errstate(all="ignore"):
            slopes = self._distances(epochs) * (self.motion.multiple * self.curvatures)
            norms: Floats = np.linalg.norm(slopes, axis=1)
        norms[np.isnan(norms)] = np.inf
        return norms

    def _distances(self, epochs: Floats) -> Floats:
        """From the optimum, along each eigenvector, before the update of each epoch."""
        distances = self.motion.distances(epochs - 1, self.curvatures, self.start)
        return distances + self.rest if self.motion.decay else distances

    @cached_property
    def rates(self) -> Floats:
        """By which factor the distance in each direction comes down, or grows, per epoch."""
        return self.motion.rates(self.curvatures)

    @property
    def contraction(self) -> float:
        """The largest of these factors; below 1, the descent converges."""
        return float(self.rates.max())

    @cached_property
    def initial(self) -> float:
        """The loss at the start."""
        distance = self.start + self.rest
        return float(self.rows * (self.lowest + distance**2 @ self.curvatures / 2))

    @cached_property
    def final(self) -> float:
        """The loss where the descent comes to rest."""
        return float(self.rows * (self.lowest + self.rest**2 @ self.curvatures / 2))

    def first(self, is_met: Callable[[Floats], NDArray[np.bool_]]) -> int | None:
        """The first epoch in which a condition is met; None if there is none soon.

        A condition that comes and goes after many epochs is perhaps also met before that.

        Args:
            is_met: maps epochs to whether each meets the condition.
        """
        epochs = np.arange(1.0, SCANNED + 1)
        while True:
            met = is_met(epochs)
            index = int(met.argmax())
            if not met[index] and epochs[-1] == SCANNED:
                low, high = SCANNED, LONGEST
            elif not met[index]:
                return None
            else:
                low, high = int(epochs[max(index - 1, 0)]), int(epochs[index])
            if high - low <= 1:
                return high
            epochs = np.rint(low * (high / low) ** GRID)

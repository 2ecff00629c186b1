"""The trajectory: every iteration of a run in preallocated arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.types import Array, Iteration, Parameters

FloatArray = NDArray[np.float64]


class Trajectory:
    """Loss, parameters and gradients of every epoch, in double precision.

    Row k - 1 belongs to epoch k: the loss and the gradients before update k, the parameters after
    it. Only finite rows are kept.

    Args:
        parameters: the predictor's parameters, for their names; each one number.
        capacity: the number of iterations to make room for.
    """

    def __init__(self, parameters: Parameters, capacity: int) -> None:
        self.names = tuple(parameters)
        self.length = 0
        self.diverged = False
        self._table: FloatArray = np.empty((1 + 2 * len(self.names), capacity))
        self._plain = not any(hasattr(value, "detach") for value in parameters.values())

    @classmethod
    def of(
        cls, table: FloatArray, names: tuple[str, ...], length: int, diverged: bool
    ) -> Trajectory:
        """A trajectory on a table that is already filled; nothing is copied.

        Args:
            table: the loss, each parameter and each gradient, shape (1 + 2 * names, epochs).
            names: the parameters.
            length: how many epochs are finite.
            diverged: whether the next one is not.
        """
        made = cls(dict.fromkeys(names, 0.0), capacity=0)
        made._table, made.length, made.diverged = table, length, diverged
        return made

    def extend(self, iterations: Iterable[Iteration]) -> int:
        """Record these iterations; stop at the first that is not finite.

        Returns:
            How many were recorded.
        """
        number: Callable[[Array], Any] = _itself if self._plain else operator.methodcaller("item")
        table, names, start = self._table, self.names, self.length
        losses = table[0]
        columns = [(n, table[1 + i], table[1 + len(names) + i]) for i, n in enumerate(names)]
        for _, loss, parameters, gradients in iterations:
            k = self.length
            total = losses[k] = number(loss)
            for name, values, slopes in columns:
                value = values[k] = number(parameters[name])
                slope = slopes[k] = number(gradients[name])
                total += value + slope
            if not math.isfinite(total):
                self.diverged = True
                break
            self.length = k + 1
        return self.length - start

    @property
    def epochs(self) -> NDArray[np.int64]:
        """1, 2, ... one for each row."""
        return np.arange(1, self.length + 1)

    @property
    def loss(self) -> FloatArray:
        """The loss of every epoch, shape (epochs,)."""
        return self._table[0, : self.length]

    @property
    def parameters(self) -> dict[str, FloatArray]:
        """Each parameter after every epoch, shape (epochs,)."""
        return self._rows(1)

    @property
    def gradients(self) -> dict[str, FloatArray]:
        """The gradient by each parameter in every epoch, shape (epochs,)."""
        return self._rows(1 + len(self.names))

    def _rows(self, first: int) -> dict[str, FloatArray]:
        return {n: self._table[first + i, : self.length] for i, n in enumerate(self.names)}

    def columns(self) -> dict[str, FloatArray]:
        """The curves by their metric names: train/loss, param/<name>, grad/<name>."""
        return {
            "train/loss": self.loss,
            **{f"param/{name}": values for name, values in self.parameters.items()},
            **{f"grad/{name}": values for name, values in self.gradients.items()},
        }


def _itself(value: Array) -> Array:
    return value

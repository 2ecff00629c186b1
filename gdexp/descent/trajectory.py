"""The trajectory: every iteration of a run in preallocated arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.types import Array, Iteration, Parameters

FloatArray = NDArray[np.float64]
Measure = Callable[[], Array]
Reading = Callable[[Array], Any]
Curves = tuple[str, Reading, FloatArray, FloatArray]

SMALL = 20  # a parameter of so many numbers has a curve for each; a larger one, for its norm


class Trajectory:
    """Loss, parameters and gradients of every epoch, in double precision.

    Row k - 1 belongs to epoch k: the loss and the gradients before update k, the parameters and
    the measures after it. Only finite rows are kept. A parameter of several numbers has a column
    for each, ``w/0``, ``w/1``, …; one of more than 20 has its Euclidean norm, ``w.norm``.

    Args:
        parameters: the predictor's parameters, for their names and shapes.
        capacity: the number of iterations to make room for.
        elements: what the numbers of a parameter are called, as in ``{"w": ["age", "bmi"]}``.
        measures: further curves by name; each is asked for one number after every update.
    """

    def __init__(
        self,
        parameters: Parameters,
        capacity: int,
        elements: Mapping[str, Sequence[str]] | None = None,
        measures: Mapping[str, Measure] | None = None,
    ) -> None:
        named = {
            name: _columns(name, v, (elements or {}).get(name)) for name, v in parameters.items()
        }
        self.names = tuple(column for columns in named.values() for column in columns)
        self.length = 0
        self.diverged = False
        self.measures = dict(measures or {})
        self._table: FloatArray = np.empty((1 + 2 * len(self.names) + len(self.measures), capacity))
        self._shapes = {name: _recorded_shape(value) for name, value in parameters.items()}
        self._tensors = any(hasattr(value, "detach") for value in parameters.values())
        self._remote = any(_is_remote(value) for value in parameters.values())
        self._single = all(_size(value) == 1 for value in parameters.values())

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

    @property
    def table(self) -> FloatArray:
        """All columns, shape (columns, epochs), in the order of :meth:`columns`."""
        return self._table[:, : self.length]

    def restore(self, table: FloatArray) -> None:
        """Begin with the epochs that another trajectory of these columns has recorded."""
        self.length = table.shape[1]
        self._table[:, : self.length] = table

    def extend(self, iterations: Iterable[Iteration]) -> int:
        """Record these iterations; stop at the first that is not finite.

        Returns:
            How many were recorded.
        """
        if self._remote:
            return self._fetched(iterations)
        return self._numbers(iterations) if self._single else self._arrays(iterations)

    def _numbers(self, iterations: Iterable[Iteration]) -> int:
        """Record parameters of one number each, number by number."""
        number: Reading = operator.methodcaller("item") if self._tensors else _itself
        table, names, start = self._table, self.names, self.length
        losses = table[0]
        columns = [(n, table[1 + i], table[1 + len(names) + i]) for i, n in enumerate(names)]
        measures = self._measuring()
        for _, loss, parameters, gradients in iterations:
            k = self.length
            total = losses[k] = number(loss)
            for name, values, slopes in columns:
                value = values[k] = number(parameters[name])
                slope = slopes[k] = number(gradients[name])
                total += value + slope
            for measure, values in measures:
                values[k] = measure()
            if not math.isfinite(total):
                self.diverged = True
                break
            self.length = k + 1
        return self.length - start

    def _arrays(self, iterations: Iterable[Iteration]) -> int:
        """Record parameters of many numbers, array by array."""
        number: Reading = operator.methodcaller("item") if self._tensors else _itself
        start, total = self.length, np.add.reduce
        losses, columns, measures = self._table[0], self._by_parameter(), self._measuring()
        rows = self._table[: 1 + 2 * len(self.names)].T
        for _, loss, parameters, gradients in iterations:
            k = self.length
            losses[k] = number(loss)
            for name, reading, values, slopes in columns:
                values[k] = reading(parameters[name])
                slopes[k] = reading(gradients[name])
            for measure, points in measures:
                points[k] = measure()
            if not math.isfinite(total(rows[k])):
                self.diverged = True
                break
            self.length = k + 1
        return self.length - start

    def _by_parameter(self) -> list[Curves]:
        """Name, what is recorded of an array, and the views of the table where it is recorded.

        The k-th row of a view is epoch k's; it has the parameter's shape.
        """
        whole, norm = _readings(self._tensors)
        curves: list[Curves] = []
        first = 1
        for name, shape in self._shapes.items():
            size = math.prod(shape or ())
            rows = [self._table[i : i + size].T for i in (first, first + len(self.names))]
            values, slopes = (r.reshape(len(r), *(shape or ()), copy=False) for r in rows)
            curves.append((name, norm if shape is None else whole, values, slopes))
            first += size
        return curves

    def _measuring(self) -> list[tuple[Measure, FloatArray]]:
        first = 1 + 2 * len(self.names)
        return list(zip(self.measures.values(), self._table[first:], strict=True))

    def _fetched(self, iterations: Iterable[Iteration]) -> int:
        """Record what another device computes: joined there, and fetched once."""
        from gdexp.pytorch import joined

        rows, k = joined(iterations, self.measures.values(), SMALL), self.length
        if not len(rows):
            return 0
        self._table[:, k : k + len(rows)] = rows.T
        finite = np.isfinite(rows[:, : 1 + 2 * len(self.names)].sum(axis=1))
        kept = len(rows) if finite.all() else int(finite.argmin())
        self.length, self.diverged = k + kept, kept < len(rows)
        return kept

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
        return self._rows(1, self.names)

    @property
    def gradients(self) -> dict[str, FloatArray]:
        """The gradient by each parameter in every epoch, shape (epochs,)."""
        return self._rows(1 + len(self.names), self.names)

    @property
    def measured(self) -> dict[str, FloatArray]:
        """The further curves, shape (epochs,) each."""
        return self._rows(1 + 2 * len(self.names), self.measures)

    def _rows(self, first: int, names: Iterable[str]) -> dict[str, FloatArray]:
        return {n: self._table[first + i, : self.length] for i, n in enumerate(names)}

    def columns(self) -> dict[str, FloatArray]:
        """The curves by their metric names: train/loss, param/<name>, grad/<name>, measures."""
        return {
            "train/loss": self.loss,
            **{f"param/{name}": values for name, values in self.parameters.items()},
            **{f"grad/{name}": values for name, values in self.gradients.items()},
            **self.measured,
        }


def _itself(value: Array) -> Array:
    return value


def _readings(tensors: bool) -> tuple[Reading, Reading]:
    """All numbers of an array for NumPy to copy, and their Euclidean norm."""
    if not tensors:
        return _itself, np.linalg.norm
    from gdexp.pytorch import norm

    return lambda tensor: tensor.numpy(force=True), norm


def _size(value: Array) -> int:
    return math.prod(np.shape(value))


def _is_remote(value: Array) -> bool:
    """Whether reading the value makes a device wait."""
    return getattr(getattr(value, "device", None), "type", "cpu") != "cpu"


def _recorded_shape(value: Array) -> tuple[int, ...] | None:
    """The shape of what is recorded of a parameter; None: its norm."""
    return None if _size(value) > SMALL else tuple(np.shape(value))


def _columns(name: str, value: Array, elements: Sequence[str] | None) -> list[str]:
    size = _size(value)
    if size == 1:
        return [name]
    if size > SMALL:
        return [f"{name}.norm"]
    called = elements if elements and len(elements) == size else [str(i) for i in range(size)]
    return [f"{name}/{element}" for element in called]

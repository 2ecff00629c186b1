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

CHECK = "check/"  # curves of this name come last
SMALL = 20  # a parameter of at most this many numbers has a curve for each, a larger one its norm


class Trajectory:
    """Loss, parameters and gradients of every epoch, in double precision.

    Row k - 1 belongs to epoch k: the loss and the gradients before update k, the parameters and the
    measures after it. Only finite rows are kept. A parameter of several numbers has a column for
    each, ``w/0``, ``w/1``, …; one of more than 20 has a column for its Euclidean norm, ``w.norm``.

    Args:
        parameters: the predictor's parameters, for their names and shapes.
        capacity: the maximum number of iterations.
        elements: names for the numbers of a parameter, as in ``{"w": ["age", "bmi"]}``.
        measures: further curves by name, functions that return one number after each update.
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
        self._shapes = {name: tuple(np.shape(value)) for name, value in parameters.items()}
        self._tensors = any(hasattr(value, "detach") for value in parameters.values())
        self._on_device = any(_is_on_device(value) for value in parameters.values())

    @classmethod
    def of(
        cls,
        table: FloatArray,
        names: tuple[str, ...],
        length: int,
        diverged: bool,
        measures: Sequence[str] = (),
    ) -> Trajectory:
        """A trajectory on a filled table, without a copy.

        Args:
            table: the loss, each parameter, gradient and measure, in rows of all epochs.
            names: the parameters' names.
            length: the number of finite epochs.
            diverged: whether the epoch after them is not finite.
            measures: the names of further curves.
        """
        unmeasured = dict.fromkeys(measures, float)
        trajectory = cls(dict.fromkeys(names, 0.0), capacity=0, measures=unmeasured)
        trajectory._table, trajectory.length, trajectory.diverged = table, length, diverged
        return trajectory

    def __repr__(self) -> str:
        """``Trajectory(20 epochs of train/loss, param/w, grad/w)``."""
        names = [*self.columns()]
        listed = [*names[:3], f"and {len(names) - 3} more"] if len(names) > 4 else names
        return f"Trajectory({self.length} epochs of {', '.join(listed)})"

    @property
    def table(self) -> FloatArray:
        """All columns, shape (columns, epochs), in the order of :meth:`columns`."""
        return self._table[:, : self.length]

    @property
    def saved(self) -> FloatArray:
        """All columns that a run needs to go on, shape (columns, epochs): all but its checks."""
        checks = sum(name.startswith(CHECK) for name in self.measures)
        return self.table[: len(self._table) - checks]

    def restore(self, table: FloatArray) -> None:
        """Start with epochs that were saved before, as in :attr:`saved`; they were not checked."""
        self.length = table.shape[1]
        self._table[: len(table), : self.length] = table
        self._table[len(table) :, : self.length] = np.nan

    def take(self, table: FloatArray, length: int, *, diverged: bool) -> None:
        """Become the first epochs of a filled table, without a copy.

        Args:
            table: all columns, shape (columns, epochs), in the order of :meth:`columns`.
            length: the number of finite epochs.
            diverged: whether the epoch after them is not finite.
        """
        self._table, self.length, self.diverged = table, length, diverged

    def extend(self, iterations: Iterable[Iteration]) -> int:
        """Record iterations up to the first that is not finite; return how many."""
        if self._on_device:
            return self._fetch(iterations)
        number, start = _number_reading(self._tensors), self.length
        losses, curves, measures = self._table[0], self._curves(), self._measure_columns()
        rows = self._table[: 1 + 2 * len(self.names)].T
        scalars = all(values.ndim == 1 for _, _, values, _ in curves)
        for _, loss, parameters, gradients in iterations:
            k = self.length
            total = losses[k] = number(loss)
            for name, reading, values, slopes in curves:
                value = values[k] = reading(parameters[name])
                slope = slopes[k] = reading(gradients[name])
                if scalars:  # adding them here is faster than reading the row again
                    total += value + slope
            for measure, points in measures:
                points[k] = measure()
            if not math.isfinite(total if scalars else sum(rows[k].tolist())):
                self.diverged = True
                break
            self.length = k + 1
        return self.length - start

    def _curves(self) -> list[Curves]:
        """Each parameter's name, what is read of it, and the columns of its values and gradients.

        The columns are views of the table, of shape (epochs, *shape of what is read).
        """
        curves: list[Curves] = []
        first = 1
        for name, parameter_shape in self._shapes.items():
            reading, shape = _reading(parameter_shape, self._tensors)
            size = math.prod(shape)
            columns = (self._table[i : i + size].T for i in (first, first + len(self.names)))
            values, slopes = (c.reshape(len(c), *shape, copy=False) for c in columns)
            curves.append((name, reading, values, slopes))
            first += size
        return curves

    def _measure_columns(self) -> list[tuple[Measure, FloatArray]]:
        first = 1 + 2 * len(self.names)
        return list(zip(self.measures.values(), self._table[first:], strict=True))

    def _fetch(self, iterations: Iterable[Iteration]) -> int:
        """Record tensors on another device: join them there, and fetch them in one transfer."""
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
        """1, 2, …, shape (epochs,)."""
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

    def gradient(self, row: int | NDArray[np.int64]) -> FloatArray:
        """The gradient in one row, shape (parameters,), or in several, (parameters, rows)."""
        first = 1 + len(self.names)
        return self._table[first : first + len(self.names), : self.length][:, row].copy()

    @property
    def measured(self) -> dict[str, FloatArray]:
        """The curves of the measures, shape (epochs,) each."""
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


def _number_reading(tensors: bool) -> Reading:
    return operator.methodcaller("item") if tensors else _itself


def _reading(shape: tuple[int, ...], tensors: bool) -> tuple[Reading, tuple[int, ...]]:
    """What is recorded of a parameter, and its shape: all numbers of a small one, else the norm."""
    size = math.prod(shape)
    if not tensors:
        return (_itself, shape) if size <= SMALL else (np.linalg.norm, ())
    if size == 1:
        return _number_reading(tensors), ()
    if size <= SMALL:
        return operator.methodcaller("numpy", force=True), shape
    from gdexp.pytorch import norm

    return norm, ()


def _is_on_device(value: Array) -> bool:
    """Whether reading the value waits for a device."""
    return getattr(getattr(value, "device", None), "type", "cpu") != "cpu"


def _columns(name: str, value: Array, elements: Sequence[str] | None) -> list[str]:
    size = math.prod(np.shape(value))
    if size == 1:
        return [name]
    if size > SMALL:
        return [f"{name}.norm"]
    suffixes = elements if elements and len(elements) == size else range(size)
    return [f"{name}/{suffix}" for suffix in suffixes]

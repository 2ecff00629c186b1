"""Two calls of a gradient source, held against the derivative of the loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.generators import states
from gdexp.descent.predictors import to_numpy
from gdexp.insight.checks.reference import (
    Floats,
    Reference,
    Slope,
    Values,
    copied,
    dot,
    moved,
    put,
    rows_copied,
)
from gdexp.types import Array

NUMBERS = 100_000  # rows times the numbers of a row or of the parameters, whichever are more
MOST_ROWS = 10_000
FEWEST_ROWS = 32
AWAY = 0.25  # how far the second point is, as a share of the predictions' size


class Point(NamedTuple):
    """A gradient, and the derivative of the loss at the same parameters.

    Attributes:
        at: the parameters.
        given: the gradient.
        slope: the derivative along the probe's direction.
        exact: the derivative by autograd; None without torch.
    """

    at: Values
    given: Values
    slope: Slope
    exact: Values | None


class Probe:
    """Calls the gradient source of a second set of components.

    Args:
        job: the run.
        built: the second set, whose parameters will move.
        rows: inputs and targets; None: some of the training rows.
    """

    def __init__(
        self, job: Job, built: Components, rows: tuple[Array, Array] | None = None
    ) -> None:
        self.job, self.built = job, built
        self.start = copied(built.predictor.parameters)
        self.x, self.y = rows or sample(built, self.start)
        self.reference = Reference.of(built, self.x, self.y)
        self.total = min(built.batch_size or len(built.y), len(built.y))
        self.root = float(np.sqrt(np.finfo(job.settings["dtype"]).eps))
        self.is_linear = capabilities.is_linear(job.settings)
        rng = np.random.default_rng(0)
        self.scales = self._scales()
        self.direction, self.away = (
            {
                name: scale * rng.uniform(0.5, 1.5, scale.shape) * rng.choice([-1, 1], scale.shape)
                for name, scale in self.scales.items()
            }
            for _ in range(2)
        )
        self._here = self.reference.predictions(self.start)
        self.size = self._size()
        self.h = float(np.cbrt(self.reference.eps)) * self.length(self.direction)
        self.rng = rng
        self._draws = False

    def _scales(self) -> Values:
        """For each number of a parameter, a change that matters as much as that of any other."""
        if self.is_linear:
            x = to_numpy(self.reference.x).astype(np.float64).reshape(len(self.x), -1)
            w = 1 / _or_one(np.sqrt(np.mean(x**2, axis=0)))
            shape = self.start["w"].shape
            w = np.broadcast_to(w, shape[:-1] + w.shape) if shape else w.reshape(())
            return {
                name: w.reshape(shape) if name == "w" else np.ones(value.shape)
                for name, value in self.start.items()
            }
        return {
            name: np.full(value.shape, _or_one(np.sqrt(np.mean(value**2))))
            for name, value in self.start.items()
        }

    def _size(self) -> float:
        """How much predictions have to change for the loss to change as a whole."""
        if self.built.task != "regression":
            return 1.0
        y = to_numpy(self.reference.y).astype(np.float64)
        residual = self._here - y
        return max(_rms(residual), 0.1 * _rms(y)) or 1.0

    def length(self, direction: Values) -> float:
        """How far to go along a direction for the loss to change as a whole.

        For a nonlinear predictor, at most as far as the parameters are large.
        """
        length = self.size / self.effect(direction)
        return length if self.is_linear else min(length, 1.0)

    def displaced(self) -> Values:
        """The second point, in a direction of its own."""
        return moved(self.start, self.away, AWAY * self.length(self.away))

    def effect(self, direction: Values) -> float:
        """The change of the predictions along a direction, per unit of its length."""
        length = 1.0 if self.is_linear else 1e-3
        there = self.reference.predictions(moved(self.start, direction, length))
        return _rms(there - self._here) / length

    def points(self) -> list[Point]:
        """Call the source at the start and away from it.

        Empty if it cannot be checked, as one that draws random numbers.
        """
        if not self.is_usable():
            return []
        first = self._point(self.start, updates=True)
        second = self._point(self.displaced())
        return [] if self._draws else [first, second]

    def is_usable(self) -> bool:
        """Whether predictions depend on the parameters, and neither they nor losses are random."""
        if not np.isfinite(self.h):
            return False
        components = self.job, self.reference.predictor, self.reference.loss
        before = states(*components)
        one, other = (self.reference.value(self.start) for _ in range(2))
        return one == other and states(*components) == before

    def _point(self, at: Values, *, updates: bool = False) -> Point:
        """Call the gradient source at these parameters, rounded to the run's precision."""
        built, parameters = self.built, self.built.predictor.parameters
        put(parameters, at)
        at = copied(parameters)
        y_pred = built.predictor(self.x)
        loss, before = built.loss(y_pred, self.y), states(self.job, built.gradient)
        gradients = built.gradient(parameters, self.x, self.y, y_pred, loss)
        self._draws |= states(self.job, built.gradient) != before
        given = as_values(gradients, at)
        if updates:  # which may be what zeroes the gradients
            if hasattr(built.updater, "optimizer"):
                for parameter in parameters.values():
                    parameter.grad = None
            else:
                built.updater(parameters, gradients)
        return self.point(at, given)

    def point(self, at: Values, given: Values) -> Point:
        """The derivative beside a gradient."""
        slope = self.reference.slope(at, self.direction, self.h)
        return Point(at, given, slope, self.reference.gradient(at))

    def scaled(self, values: Values) -> Values:
        """Numbers of each parameter, multiplied by its scale."""
        return {name: values[name] * scale for name, scale in self.scales.items()}


def sample(built: Components, parameters: Values) -> tuple[Array, Array]:
    """Copies of evenly spread training rows, few enough to be read in about 0.1 ms."""
    n = min(built.batch_size or len(built.y), len(built.y))
    numbers = sum(value.size for value in parameters.values())
    width = max(numbers, built.data.fitted.width)
    rows = min(n, MOST_ROWS, max(FEWEST_ROWS, NUMBERS // width))
    step = len(built.y) // rows
    return rows_copied(built.x[::step][:rows]), rows_copied(built.y[::step][:rows])


def as_values(gradients: dict[str, Array], at: Values) -> Values:
    """Gradients in float64, in the shapes of their parameters."""
    values = {name: np.array(to_numpy(gradients[name]), np.float64) for name in at}
    return {
        name: value.reshape(at[name].shape)
        if value.size == at[name].size
        else np.broadcast_to(value.reshape(()), at[name].shape)
        for name, value in values.items()
    }


def flat(values: Values) -> Floats:
    """All numbers in one row."""
    return np.concatenate([value.reshape(-1) for value in values.values()])


def norm(values: Values) -> float:
    """The Euclidean norm of all numbers."""
    return float(np.sqrt(dot(values, values)))


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _or_one(values: Floats) -> Floats:
    return np.where(values > 0, values, 1.0)

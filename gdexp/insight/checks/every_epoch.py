"""The gradient check in every epoch of a run, as a curve."""

from __future__ import annotations

import math

import numpy as np

from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.numbers import short
from gdexp.descent.trial import undisturbed
from gdexp.insight.checks.probe import Point, Probe, as_values, flat, norm
from gdexp.insight.checks.reference import Values, copied, dot
from gdexp.insight.checks.verdict import LOST, agrees, distance, noise_of
from gdexp.types import Array, Gradient, Parameters

CURVE = "check/gradient_error"


class Watched:
    """A gradient source whose last gradient of each epoch is held against the derivative.

    Args:
        job: the run.
        source: the run's own, which does the work.
        probe: over the run's rows.
        epoch: the last epoch before it is called.
    """

    def __init__(self, job: Job, source: Gradient, probe: Probe, epoch: int) -> None:
        self._job, self._source, self._probe = job, source, probe
        self.tracked = getattr(source, "tracked", False)
        self.epoch = epoch
        self.first = ""
        away = probe.displaced()
        self._largest = self._length(probe.point(away, {n: 0 * v for n, v in away.items()}))

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The source's gradients."""
        self._at: Values = copied(parameters)
        self._rows = x, y
        gradients = self._source(parameters, x, y, y_pred, loss)
        self._given = as_values(gradients, self._at)
        return gradients

    def error(self) -> float:
        """The distance from the derivative, relative to it; NaN if that cannot be told.

        A derivative that has fallen to the rounding of the largest so far counts as much as that.
        """
        self.epoch += 1
        probe = self._probe
        try:
            with undisturbed(self._job):
                if self._rows[0] is not probe.x:  # a minibatch
                    probe.x, probe.y = self._rows
                    probe.reference = probe.reference.on(*self._rows)
                point = probe.point(self._at, self._given)
                self._largest = max(self._largest, self._length(point))
                self._judge(point)
        except Exception:  # it is the run's own error, which the run shows
            return math.nan
        size = max(self._length(point), probe.root * self._largest)
        return distance(probe, point) / size if size else math.nan

    def _length(self, point: Point) -> float:
        exact = norm(self._probe.scaled(point.exact)) if point.exact is not None else 0.0
        return max(exact, abs(point.slope.value))

    def _judge(self, point: Point) -> None:
        """Remember the first epoch in which rounding does not explain the difference."""
        probe = self._probe
        if not np.isfinite(point.slope.value + flat(point.given).sum()):  # the run diverges
            return
        if self.first or agrees(probe, point, probe.root * self._largest):
            return
        noise = noise_of(probe, point)
        if noise > LOST * self._largest or agrees(probe, point, noise):
            return
        slopes = dot(point.given, probe.direction), point.slope.value
        given, right = map(short, slopes)
        self.first = (
            f"differs from the derivative of the loss from epoch {self.epoch} on: along one "
            f"direction it is {given}, the derivative {right}"
        )


def watch(job: Job, built: Components, after: int = 0) -> None:
    """Watch the gradient of a run in every epoch, if it wants that and it can be checked.

    Args:
        job: the run.
        built: its components, which get a measure and a gradient source that is watched.
        after: the last epoch of the checkpoint that it continues.
    """
    if job.settings["check"]["gradient"] != "every":
        return
    try:
        with undisturbed(job):
            rows = next(iter(built.batches(1))) if built.batches is not None else None
            probe = Probe(job, built, rows or (built.x, built.y))
            watched = Watched(job, built.gradient, probe, after) if probe.is_usable() else None
    except Exception:  # it is the run's own error, which the run shows
        return
    if watched is not None:
        built.gradient = watched
        built.measures[CURVE] = watched.error


def note(job: Job, built: Components) -> dict[str, str]:
    """From which epoch on the gradient differs from the derivative, by kind."""
    first = getattr(built.gradient, "first", "")
    choice = job.choices["gradient"]
    return {f"gradient={choice}": f"gradient={choice} {first}."} if first else {}

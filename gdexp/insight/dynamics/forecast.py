"""What can be said of a run before its first epoch, from the curvature of its loss at the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.result import GREW
from gdexp.insight.dynamics import sharpness
from gdexp.insight.dynamics.curvature import (
    Curvature,
    Floats,
    curvature,
    is_least_squares,
    parameters,
    summed_rows,
)
from gdexp.insight.dynamics.motion import Motion, lr_of, multiple
from gdexp.insight.dynamics.path import Path

REDUCED = 1e-6  # the share of the loss's excess at the start that counts as converged


@dataclass(frozen=True)
class Forecast:
    """The forecast of a run.

    Attributes:
        curvature: the largest curvature that the updater meets at the start: that of the loss,
            times what the gradient source multiplies it by, plus the weight decay.
        largest_lr: the learning rate above which the run diverges; None if it is not known.
        is_exact: whether the loss is a quadratic, so that both hold everywhere.
        smallest: the smallest curvature that it meets, above 0; None if it is not known.
        lr: the learning rate, of a schedule the first; None if the updater has none.
        motion: the updater's motion; None if it is not known.
        path: the losses of all epochs; None unless they are known exactly.
        settings: the run's.
    """

    curvature: float
    largest_lr: float | None = None
    is_exact: bool = False
    smallest: float | None = None
    lr: float | None = None
    motion: Motion | None = None
    path: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def losses(self, epochs: int) -> Floats | None:
        """The loss of each epoch as it is forecast, shape (epochs,); None if it is not known."""
        return None if self.path is None else self.path.losses(np.arange(1.0, epochs + 1))

    @cached_property
    def epochs(self) -> int | None:
        """The first epoch in which ``stop.tolerance`` is met, or else REDUCED.

        None if that is not known, or never.
        """
        path = self.path
        if path is None or path.contraction >= 1:
            return None
        if not (self.settings["stop"]["tolerance"] or self._has_course(path)):
            return None
        return path.first(_target(self.settings["stop"], path))

    @cached_property
    def exceeds_epoch(self) -> int | None:
        """The first epoch in which the loss exceeds 10 times its start, if it will."""
        path = self.path
        if path is None or path.contraction <= 1 or not self._has_course(path):
            return None
        return path.first(lambda epochs: path.losses(epochs) > GREW * path.initial)

    def _has_course(self, path: Path) -> bool:
        return path.is_beyond_rounding(self.settings["dtype"])

    @property
    def contraction(self) -> float | None:
        """The factor per epoch by which the distance from the optimum comes down, or grows."""
        return None if self.path is None else self.path.contraction

    @property
    def lr_over_largest(self) -> float | None:
        """The lr as a share of the largest; for plain descent, curvature * lr / 2."""
        known = self.lr is not None and self.largest_lr is not None
        return self.lr / self.largest_lr if known else None  # type: ignore[operator]

    @property
    def best_lr(self) -> float | None:
        """The lr of the fastest plain descent, ``2 / (largest + smallest curvature)``."""
        plain = self.motion is not None and not self.motion.momentum
        known = self.is_exact and plain and self.smallest is not None
        return 2 / (self.curvature + self.smallest) if known else None  # type: ignore[operator]

    @property
    def metrics(self) -> dict[str, float]:
        """The forecast by metric name, without ``forecast/``, and without what others say too."""
        follows = self.path is not None  # then lr is a setting, and the share its ratio
        known = {
            "curvature": self.curvature,
            "smallest_curvature": None if self.smallest == self.curvature else self.smallest,
            "largest_lr": self.largest_lr,
            "lr_over_largest": None if follows else self.lr_over_largest,
            "contraction": self.contraction,
            "epochs": self.epochs,
            "exceeds_epoch": self.exceeds_epoch,
        }
        return {k: float(v) for k, v in known.items() if v is not None and np.isfinite(v)}


class Metrics(Mapping[str, float]):
    """The metrics of a forecast, computed when they are read: most runs of a sweep need none."""

    def __init__(self, forecast: Forecast) -> None:
        self._forecast = forecast

    @cached_property
    def _known(self) -> dict[str, float]:
        return self._forecast.metrics

    def __getitem__(self, name: str) -> float:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return repr(self._known)


def forecast(job: Job, built: Components) -> Forecast | None:
    """The forecast of a run; None if nothing is known.

    Args:
        job: the run.
        built: its components at the start; they stay as they are.
    """
    forecast = examine(job, built)
    return None if isinstance(forecast, str) else forecast


def examine(job: Job, built: Components) -> Forecast | str:
    """The forecast of a run, or why there is none, as a part of a sentence."""
    quadratic, motion = curvature(job, built), Motion.of(job, built)
    if quadratic is not None:
        return _exact(job, built, quadratic, motion)
    if job.settings["continue_from"] is not None:
        return "the run starts at a checkpoint"
    if is_least_squares(job) and not hasattr(built.x, "detach"):
        return "the table is too wide, too large or all zeros"
    largest = sharpness.at_the_start(job, built)
    if isinstance(largest, str):
        return largest
    if motion is None:
        return Forecast(largest, lr=lr_of(job, built))
    motion = replace(motion, multiple=multiple(job, built))
    return Forecast(motion.met(largest), motion.largest_lr(largest), lr=motion.lr, motion=motion)


def at_the_end(job: Job, built: Components) -> dict[str, float]:
    """The curvature at the final parameters and the last lr's share of the bound there, as metrics.

    Nothing of a quadratic, whose curvature is the same everywhere.

    Args:
        job: the run.
        built: its components with the final parameters; they stay as they are.
    """
    if curvature(job, built) is not None:
        return {}
    largest, motion = sharpness.at_the_end(job, built), Motion.of(job, built)
    if largest is None:
        return {}
    if motion is None:
        return {"curvature": largest}
    motion = replace(motion, multiple=multiple(job, built))
    lr = motion.lr if built.scheduler is None else built.lr  # its own is that of a further epoch
    return {"curvature": motion.met(largest), "lr_over_largest": lr / motion.largest_lr(largest)}


def _exact(job: Job, built: Components, quadratic: Curvature, motion: Motion | None) -> Forecast:
    """Of a quadratic, from its eigenvalues alone."""
    rows = summed_rows(job, built)
    largest, smallest = quadratic.largest, quadratic.smallest
    if motion is None:
        return Forecast(largest * rows, None, True, smallest * rows, lr_of(job, built))
    largest, smallest = map(motion.met, (largest, smallest))
    bound = motion.largest_lr(quadratic.largest)
    is_varied = built.batch_size or built.scheduler is not None or job.settings["continue_from"]
    path = None if is_varied else Path.of(motion, quadratic, parameters(built), rows)
    return Forecast(largest, bound, True, smallest, motion.lr, motion, path, job.settings)


def _target(stop: Mapping[str, Any], path: Path) -> Callable[[Floats], NDArray[np.bool_]]:
    """Whether an epoch meets ``stop.tolerance``, or else REDUCED."""
    tolerance = stop["tolerance"]
    if tolerance and stop["watch"] == "gradient":
        return lambda epochs: path.gradient_norms(epochs) <= tolerance
    if not tolerance:
        tolerance = path.final + REDUCED * (path.initial - path.final)
    return lambda epochs: path.losses(epochs) <= tolerance

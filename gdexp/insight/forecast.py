"""What can be said of a run before its first epoch, from the curvature of its loss at the start."""

from __future__ import annotations

from dataclasses import dataclass

from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.insight.curvature import Floats, curvature
from gdexp.insight.stability import largest_lr


@dataclass(frozen=True)
class Forecast:
    """The forecast of a run.

    Attributes:
        curvature: the largest curvature of the loss at the start.
        largest_lr: the learning rate above which the run diverges; None if it is not known.
        is_exact: whether the loss is a quadratic, so that both hold everywhere.
    """

    curvature: float
    largest_lr: float | None = None
    is_exact: bool = False

    def losses(self, epochs: int) -> Floats | None:
        """The loss of each epoch as it is forecast, shape (epochs,); None if it is not known."""
        return None

    @property
    def metrics(self) -> dict[str, float]:
        """The forecast by metric name, without ``forecast/``."""
        known = {"curvature": self.curvature, "largest_lr": self.largest_lr}
        return {name: value for name, value in known.items() if value is not None}


def forecast(job: Job, built: Components) -> Forecast | None:
    """The forecast of a run; None if nothing is known.

    Args:
        job: the run.
        built: its components at the start; they stay as they are.
    """
    quadratic = curvature(job, built)
    if quadratic is None:
        return None
    return Forecast(quadratic.largest, largest_lr(job, built, quadratic), is_exact=True)

"""The result of a run, whether computed alone or vectorized."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from gdexp.descent.numbers import short
from gdexp.descent.trajectory import Trajectory
from gdexp.descent.transcript import FEW
from gdexp.errors import counted, full_traceback

if TYPE_CHECKING:
    from gdexp.config.job import Job
    from gdexp.data.preparation import Prepared
    from gdexp.descent.fitted import Fitted

FORECAST = "forecast"  # the kind of note that is printed before the first epoch of a single run
GREW = 10.0  # a run has diverged if its last loss exceeds the first by this factor


@dataclass(repr=False)
class Result:
    """How a run ended; a notebook shows it as a table with the curve of the loss.

    Attributes:
        outcome: completed, converged, diverged, interrupted or failed.
        reason: why, in a phrase.
        trajectory: every iteration, as arrays.
        transcript: the run in the tutorial's format.
        prediction: f(predict_at) at the final parameters.
        at: predict_at as printed.
        parameters: the final parameters, named as in the trajectory.
        restored: the epoch whose parameters are the final ones, because its validation loss was
            the smallest; None if the last update's are.
        coefficients: of a linear predictor, by feature, in the data's own units.
        scores: mean absolute error and R², or the accuracy, by metric name.
        run_id: the run's id in MLflow; None if tracking is off.
        is_spooled: whether it waits in ``outputs/spool``, as the store cannot be written; a
            server will then give it another id.
        continue_from: the value of continue_from that continues it; None without a checkpoint.
        notes: what to know about this run, in sentences by what they are about.
        checks: how trustworthy the fit is, by metric name: see :mod:`gdexp.insight.notes`.
        forecast: what was known before the first epoch, by metric name: see
            :mod:`gdexp.insight.dynamics.forecast`.
        behaviour: monotone, oscillating or diverging: see :mod:`gdexp.insight.dynamics.behaviour`;
            "" if that is not known.
        decades: the first epochs in which the loss was at most 1/10, 1/100, … of its start.
        path: the losses of all epochs as they are forecast, a
            :class:`gdexp.insight.dynamics.path.Path`; None if they are not known exactly.
        started: when its first epoch began, in seconds since 1970.
        seconds: how long it took.
        traceback: of the error with which it failed, or "".
        job: the run that this is the result of.
        data: the data it was fitted to.
        fitted: the fitted predictor; None unless the run completed or converged.
        together: the number of runs that were computed as one program; None: it was alone.
        computed_on: what the process that computed it told of itself; None: it is this one.
    """

    outcome: str
    reason: str
    trajectory: Trajectory
    transcript: str
    prediction: float
    at: str = ""
    parameters: dict[str, float] = field(default_factory=dict)
    restored: int | None = None
    coefficients: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    run_id: str | None = None
    is_spooled: bool = False
    continue_from: str | None = None
    notes: dict[str, str] = field(default_factory=dict)
    checks: dict[str, float] = field(default_factory=dict)
    forecast: Mapping[str, float] = field(default_factory=dict)
    behaviour: str = ""
    decades: tuple[int, ...] = ()
    path: Any = field(default=None, repr=False)
    started: float = 0.0
    seconds: float = 0.0
    traceback: str = field(default="", repr=False)
    job: Job | None = field(default=None, repr=False)
    data: Prepared | None = field(default=None, repr=False)
    fitted: Fitted | None = field(default=None, repr=False)
    together: int | None = None
    computed_on: Mapping[str, Any] | None = field(default=None, repr=False)

    draw: ClassVar[Callable[..., Any]]  # what plot calls; set where pictures are at hand

    def __repr__(self) -> str:
        """One line: ``Result(completed: 20 epochs, loss 30 → 1.4e-11, f(5) = 10, w = 2)``."""
        words = [f"{self.outcome}: {self.reason}"]
        if len(loss := self.trajectory.loss):
            words.append(f"loss {short(loss[0])} → {short(self.loss)}")
            words.append(f"f({self.at}) = {short(self.prediction)}")
        if len(self.parameters) <= FEW:
            words += [f"{name} = {short(value)}" for name, value in self.parameters.items()]
        return f"Result({', '.join(words)})"

    def _repr_html_(self) -> str:
        """A table with the loss as a curve, which notebooks show."""
        from gdexp.descent.notebook import html

        return html(self)

    def plot(self, out: str | None = None, *, replace: bool = False) -> Any:
        """Draw the run; a notebook shows the pictures.

        Each has ``name``, ``title``, ``description``, ``table``, Matplotlib's ``figure``, and the
        methods ``svg()`` and ``png()``.

        Args:
            out: also save them there: ``"run.svg"`` or ``"run.png"`` for all on one sheet,
                ``"run/"`` for a folder with an SVG of each.
            replace: whether to replace files that exist.

        Raises:
            GdexpError: a file exists or cannot be written, or the run has no epoch.
        """
        return type(self).draw(self, out, replace=replace)

    def fail(self, error: BaseException, reason: str) -> None:
        """Make the outcome failed, for this reason, and keep the error's traceback."""
        self.outcome, self.reason = "failed", reason
        self.traceback = full_traceback(error)

    @property
    def epoch(self) -> int:
        """The epoch that the final values describe: the restored one, or the last."""
        return self.restored or self.trajectory.length

    @property
    def loss(self) -> float:
        """The loss of that epoch; NaN if there is none."""
        return float(self.trajectory.loss[self.epoch - 1]) if self.epoch else math.nan

    @property
    def note(self) -> str:
        """All notes, or ""."""
        return " ".join(self.notes.values())


def outcome(trajectory: Trajectory) -> tuple[str, str]:
    """The outcome of a run that no rule stopped, and the reason."""
    loss, epochs = trajectory.loss, trajectory.length
    if trajectory.diverged:
        return "diverged", f"a value was not finite in epoch {epochs + 1}"
    if loss[-1] > GREW * loss[0]:
        return "diverged", f"the loss grew from {short(loss[0])} to {short(loss[-1])}"
    return "completed", counted(epochs, "epoch")

"""What came of a run, computed in whichever way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gdexp.descent.trajectory import Trajectory

if TYPE_CHECKING:
    from gdexp.data.preparation import Prepared
    from gdexp.descent.fitted import Fitted

GREW = 10.0  # a run that ends at this many times its first loss has diverged


@dataclass
class Result:
    """How a run ended.

    Attributes:
        outcome: completed, converged, diverged, interrupted or failed.
        reason: the outcome in a sentence.
        trajectory: every iteration, as arrays.
        transcript: the run in the tutorial's lines.
        prediction: f(predict_at) after the last update.
        at: where that is, as printed.
        parameters: the parameters after the last update, as the trajectory names them.
        coefficients: of a linear predictor, by feature and in the data's own units.
        scores: mean absolute error and R², or the accuracy, by metric name.
        run_id: the run in MLflow; None where tracking is off.
        continue_from: where its newest checkpoint is, as one types it; None if it wrote none.
        note: what a reader should know about this combination of choices, or "".
        started: when its first epoch began, in seconds since 1970.
        seconds: how long it took.
        data: what it was fitted to.
        fitted: its predictor; None if it did not get to an end.
    """

    outcome: str
    reason: str
    trajectory: Trajectory
    transcript: str
    prediction: float
    at: str = ""
    parameters: dict[str, float] = field(default_factory=dict)
    coefficients: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    run_id: str | None = None
    continue_from: str | None = None
    note: str = ""
    started: float = 0.0
    seconds: float = 0.0
    data: Prepared | None = field(default=None, repr=False)
    fitted: Fitted | None = field(default=None, repr=False)


def outcome(trajectory: Trajectory) -> tuple[str, str]:
    """How a run that was not stopped has ended, and why."""
    loss, epochs = trajectory.loss, trajectory.length
    if trajectory.diverged:
        return "diverged", f"a value was not finite in epoch {epochs + 1}"
    if loss[-1] > GREW * loss[0]:
        return "diverged", f"the loss grew from {loss[0]:.6g} to {loss[-1]:.6g}"
    return "completed", f"{epochs} epochs"

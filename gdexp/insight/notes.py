"""What a run should be told: warnings before the descent, a diagnosis after it.

Each note is a sentence or two under a key that says what it is about, so that a sweep can print
one of each kind. All runs get the same, computed alone or together.
"""

from __future__ import annotations

import math

import numpy as np

from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.result import FORECAST, Result
from gdexp.insight.checks import bias as bias_check
from gdexp.insight.checks import every_epoch
from gdexp.insight.checks import gradient as gradient_check
from gdexp.insight.dynamics import behaviour, convergence, stability
from gdexp.insight.dynamics.curvature import curvature
from gdexp.insight.dynamics.forecast import Metrics, at_the_end, forecast
from gdexp.insight.dynamics.motion import is_derivative


@np.errstate(all="ignore")  # what is not finite is not told
def before(job: Job, built: Components, result: Result) -> None:
    """Add to the result of a run that is to start: warnings about its choices, and its forecast.

    Args:
        job: the run.
        built: its components at the start; they stay as they are.
        result: its result, before the first epoch.
    """
    known = forecast(job, built) if job.settings["check"]["forecast"] else None
    if known is not None:
        result.forecast, result.path = Metrics(known), known.path
    notes = {
        **gradient_check.notes(job, built),
        "bias": bias_check.warning(job, built),
        FORECAST: "" if known is None else stability.forecast_warning(job, built, known),
    }
    result.notes = {**result.notes, **{kind: note for kind, note in notes.items() if note}}


@np.errstate(all="ignore")
def diagnose(job: Job, built: Components, result: Result) -> None:
    """Add to the result of a run that has ended: why it diverged, or how far it has converged.

    ``result.checks`` gets, for a linear predictor under the mean squared error, ``condition``, the
    condition number, and ``digits``, the right digits of the least accurate coefficient; for other
    losses, ``curvature``, the largest one at the end, and ``lr_over_largest``; for all,
    ``contraction`` per epoch, as it was, and what :func:`gradient_check.metrics` says.

    Args:
        job: the run.
        built: its components, with the final parameters.
        result: its concluded result.
    """
    quadratic, factor = curvature(job, built), gradient_check.undeclared_multiple(job, built)
    deviation = behaviour.observe(job, built, result, quadratic)
    result.checks = result.checks | gradient_check.metrics(job, built)
    if every_epoch.CURVE in result.trajectory.measures:
        result.checks.pop("gradient_error", None)
    if result.outcome == "diverged":
        is_symptom = factor is None or (factor != 1 and not is_derivative(job))
        note = "" if is_symptom else stability.warning(job, built, result)
    else:
        reached = None
        if quadratic is not None and result.coefficients:
            reached = convergence.accuracy(job, built, result, quadratic)
            digits = {"condition": quadratic.condition, "digits": float(reached.digits)}
            result.checks |= digits
        if job.settings["check"]["forecast"]:
            result.checks |= at_the_end(job, built)
        note = ""
        if result.outcome == "completed":
            reached = None if deviation or factor is None else reached
            note = convergence.warning(job, built, result, quadratic, reached)
    result.notes = every_epoch.note(job, built) | result.notes
    new = {result.outcome: note, "overflow": _overflowed(result), "deviation": deviation}
    result.notes = {**result.notes, **{kind: text for kind, text in new.items() if text}}


def _overflowed(result: Result) -> str:
    """Which of the final numbers are too large for a float, though the loss is not; else ""."""
    if result.outcome not in ("completed", "converged"):
        return ""
    coefficients = {f"the coefficient of {name}": v for name, v in result.coefficients.items()}
    numbers = {f"f({result.at})": result.prediction, **coefficients, **result.scores}
    names = [name for name, value in numbers.items() if not math.isfinite(value)]
    return f"too large for a float, and so not finite: {', '.join(names[:5])}" if names else ""

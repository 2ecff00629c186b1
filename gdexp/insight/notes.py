"""What a run should be told: warnings before the descent, a diagnosis after it.

Each note is a sentence or two under a key that says what it is about, so that a sweep can print
one of each kind. All runs get the same, computed alone or together.
"""

from __future__ import annotations

from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.result import Result
from gdexp.insight import bias_check, convergence, gradient_check, stability
from gdexp.insight.curvature import curvature


def before(job: Job, built: Components) -> dict[str, str]:
    """Warnings about a combination of choices, by kind."""
    notes = {
        f"gradient={job.choices['gradient']}": gradient_check.warning(
            job, gradient_check.multiple(job, built)
        ),
        "bias": bias_check.warning(job, built),
    }
    return {kind: note for kind, note in notes.items() if note}


def diagnose(job: Job, built: Components, result: Result) -> None:
    """Add to the result of a run that has ended: why it diverged, or how far it has converged.

    ``result.checks`` gets, for a linear predictor under the mean squared error, ``condition``, the
    condition number, and ``digits``, the right digits of the least accurate coefficient.

    Args:
        job: the run.
        built: its components, with the final parameters.
        result: its concluded result.
    """
    if result.outcome == "diverged":
        note = stability.warning(job, built, result)
    else:
        quadratic, reached = curvature(job, built), None
        if quadratic is not None and result.coefficients:
            reached = convergence.accuracy(job, built, result, quadratic)
            result.checks = {"condition": quadratic.condition, "digits": float(reached.digits)}
        note = ""
        if result.outcome == "completed":
            note = convergence.warning(job, built, result, quadratic, reached)
    if note:
        result.notes = {**result.notes, result.outcome: note}

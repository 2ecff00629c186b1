"""Check that the gradient source gives the derivative of the loss."""

from __future__ import annotations

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.descent.build import Components


def multiple(job: Job, built: Components) -> float:
    """The gradient source as a multiple of the derivative of the loss, by what both declare.

    Returns:
        n or 1/n if one is a sum over the n rows of an update and the other a mean; else 1.
    """
    reductions = (capabilities.reduction(job.settings, f) for f in ("gradient", "loss"))
    match tuple(reductions):
        case ("sum", "mean"):
            return float(built.batch_size or len(built.y))
        case ("mean", "sum"):
            return 1 / (built.batch_size or len(built.y))
    return 1.0


def warning(job: Job, multiple: float) -> str:
    """A warning if the gradient source is a multiple of the true derivative, else "".

    If the updater's step is proportional to the gradient, a multiple acts like another lr.
    """
    if multiple == 1:
        return ""
    lr, effect = job.settings["lr"], ""
    if capabilities.of(job.settings, "updater", "proportional"):
        effect = f", so lr={lr:g} acts like lr={lr * multiple:g}"
    return (
        f"gradient={job.choices['gradient']} is {multiple:g} times the derivative of the loss"
        f"{effect}; gradient={capabilities.derivative(job.settings)} gives the derivative."
    )

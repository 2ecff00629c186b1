"""Whether the gradient source gives the derivative of the loss."""

from __future__ import annotations

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.descent.build import Components


def multiple(job: Job, built: Components) -> float:
    """How many times the derivative of the loss the gradient source gives, as both declare it.

    Returns:
        n or 1/n, where one is a sum over the n rows of an update and the other a mean; else 1.
    """
    reductions = (capabilities.reduction(job.settings, f) for f in ("gradient", "loss"))
    match tuple(reductions):
        case ("sum", "mean"):
            return float(built.batch_size or len(built.y))
        case ("mean", "sum"):
            return 1 / (built.batch_size or len(built.y))
    return 1.0


def warning(job: Job, multiple: float) -> str:
    """Warn when the gradient source is a multiple of the true derivative; "" when it is not.

    With an updater whose step is proportional to the gradient, a multiple acts like another lr.
    """
    if multiple == 1:
        return ""
    lr, acts = job.settings["lr"], ""
    if capabilities.of(job.settings, "updater", "proportional"):
        acts = f", so lr={lr:g} acts like lr={lr * multiple:g}"
    return (
        f"gradient={job.choices['gradient']} is {multiple:g} times the derivative of the loss"
        f"{acts}; gradient={capabilities.derivative(job.settings)} gives the derivative."
    )

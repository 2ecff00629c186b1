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
    """A warning if the gradient source is a multiple of the true derivative, else ""."""
    if multiple == 1:
        return ""
    return (
        f"gradient={job.choices['gradient']} is {multiple:g} times the derivative of the loss"
        f"{_effect(job, multiple)}; gradient={capabilities.derivative(job.settings)} gives the "
        "derivative."
    )


def _effect(job: Job, multiple: float) -> str:
    """What lr the multiple acts like, if the updater's step is proportional to the gradient.

    A weight decay is added to the gradient after the multiple, so relative to it it is smaller.
    """
    updater = job.settings["updater"]
    is_proportional = any(
        capabilities.of(job.settings, "updater", name) for name in ("proportional", "dynamics")
    )
    if not is_proportional:
        return ""
    lr = updater.get("lr")
    if lr is None or job.settings["scheduler"]["_target_"] is not None:
        return f", so every lr acts like one {multiple:g} times as large"
    typed, acts_like = f"lr={lr:g}", f"lr={lr * multiple:g}"
    if decay := updater.get("weight_decay"):
        typed += f" updater.weight_decay={decay:g}"
        acts_like += f" updater.weight_decay={decay / multiple:g}"
    return f", so {typed} acts like {acts_like}"

"""The page of a forecast: the curvature, the largest learning rate and the run's course."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.descent.numbers import apart, exact, short
from gdexp.insight.dynamics.forecast import REDUCED, Forecast
from gdexp.insight.dynamics.motion import Motion
from gdexp.insight.dynamics.stability import (
    name_of_lr,
    rounded_down,
    rows_at_once,
    shown_lr,
    unknown,
)

DIGITS = 4
REACHED = f"the loss has lost all but {short(REDUCED)} of its excess over the smallest"

Line: TypeAlias = tuple[str, str]


def page(job: Job, known: Forecast | str, faults: Sequence[str] = ()) -> Iterator[str]:
    """The forecast of one run, in lines.

    Args:
        job: the run.
        known: its forecast, or why there is none.
        faults: what the check of the gradient says.
    """
    if isinstance(known, str):
        yield f"No forecast can be given: {known}."
    else:
        bound = _bound(job, known, is_faulty=bool(faults))
        lines = [*_curvature(job, known), *bound, *_course(job, known)]
        width = max(len(name) for name, _ in lines)
        yield from (f"{name:<{width}}  {text}" for name, text in lines)
    yield from faults


def _curvature(job: Job, known: Forecast) -> Iterator[Line]:
    number = short(known.curvature, DIGITS + 1)
    if not known.is_exact:
        yield "curvature", f"about {short(known.curvature, 3)} at the start, the largest"
        return
    if known.smallest in (None, known.curvature):
        yield "curvature", f"{number}, everywhere"
    else:
        smallest = short(known.smallest or 0, DIGITS + 1)
        yield "curvature", f"from {smallest} to {number}, everywhere"
    if known.motion is not None and known.motion.multiple != 1:
        family = "loss" if capabilities.of(job.settings, "gradient", "tracked") else "gradient"
        times = short(known.motion.multiple)
        if capabilities.reduction(job.settings, family) == "sum":
            text = f"{family}={job.choices[family]} is a sum over {times} rows, not a mean"
        else:
            text = f"gradient={job.choices['gradient']} is {times} times the derivative"
        yield "", f"since {text}"


def _bound(job: Job, known: Forecast, *, is_faulty: bool) -> Iterator[Line]:
    name = f"largest {name_of_lr(job)}"
    if known.motion is None and is_faulty:
        yield name, "not known, because of the fault below"
        return
    if known.largest_lr is None or known.motion is None:
        yield name, f"not known in advance with {unknown(job, is_quadratic=known.is_exact)}"
        return
    digits = DIGITS if known.is_exact else 2
    about = "" if known.is_exact else "about "
    yield (
        name,
        f"{about}{rounded_down(known.largest_lr, digits)}, {_formula(known.motion)} over the "
        f"curvature{'' if known.is_exact else ': descent is stable below it at the start'}",
    )
    if not known.is_exact:
        yield "", "the curvature changes on the way, so larger ones may work, and smaller ones fail"
    if job.settings["data"].get("batch_size"):
        yield "", f"{rows_at_once(job)}; minibatches need smaller steps"
    if known.best_lr is not None:
        lr = short(known.best_lr, DIGITS)
        yield f"fastest {name_of_lr(job)}", f"{lr}, 2 over the largest plus the smallest curvature"


def _formula(motion: Motion) -> str:
    """What is divided by the curvature for the largest lr."""
    m = exact(motion.momentum)
    if not motion.momentum:
        return "2"
    if motion.is_nesterov:
        return f"(2 + 2 * {m}) / (1 + 2 * {m})"
    damped = "" if motion.damping == 1 else f" / (1 - {short(1 - motion.damping)})"
    return f"(2 + 2 * {m}){damped}"


def _course(job: Job, known: Forecast) -> Iterator[Line]:
    """What happens with the lr that was typed."""
    if known.lr is None or known.largest_lr is None:
        return
    name = f"{name_of_lr(job)}={shown_lr(job, known.lr)}"
    if job.settings["scheduler"]["_target_"] is not None:
        name = f"{name} at first"
    share = apart(known.lr / known.largest_lr, 1, 3)
    if not known.is_exact:
        yield name, f"{share} of the largest"
    elif known.contraction is None:
        yield name, f"{share} of the largest; the course is only known with all rows and one lr"
    else:
        yield name, f"{_verdict(known.contraction)}: {_pace(known, known.contraction)}"
        if end := _end(job, known):
            yield "", end


def _verdict(contraction: float) -> str:
    """Whether it converges; neither if the factor is 1, to the last digit."""
    if contraction == 1:
        return "neither converges nor diverges"
    return "diverges" if contraction > 1 else "converges"


def _pace(known: Forecast, factor: float) -> str:
    """By how much the distance changes from epoch to epoch."""
    one = known.smallest == known.curvature and known.motion and not known.motion.momentum
    when = "in each epoch" if one else "per epoch in the long run"
    return f"{when}, the distance from the optimum is multiplied by {apart(factor, 1, DIGITS)}"


def _end(job: Job, known: Forecast) -> str:
    """When the loss has grown, or has come down far enough; "" if that is not known."""
    if known.exceeds_epoch is not None:
        return f"the loss exceeds 10 times its start in epoch {known.exceeds_epoch}"
    tolerance, iters = job.settings["stop"]["tolerance"], job.settings["iters"]
    what = "the loss"
    if tolerance and job.settings["stop"]["watch"] == "gradient":
        what = "the gradient norm"
    if known.epochs is None:
        is_missed = tolerance and known.path and known.path.contraction < 1
        return (
            f"{what} does not come down to stop.tolerance={exact(tolerance)}" if is_missed else ""
        )
    goal = f"{what} meets stop.tolerance={exact(tolerance)}" if tolerance else REACHED
    late = f", beyond iters={iters}" if known.epochs > iters else ""
    return f"{goal} in epoch {known.epochs}{late}"

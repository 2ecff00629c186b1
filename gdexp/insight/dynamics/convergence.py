"""How far a fit is from the optimum, and what to say if it ended before it converged."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.numbers import apart, exact, short
from gdexp.descent.result import Result
from gdexp.descent.stopping import gradient_norm
from gdexp.errors import counted
from gdexp.insight.dynamics.curvature import Curvature, Floats, parameters, summed_rows
from gdexp.insight.dynamics.stability import largest_lr, name_of_lr, rounded_down

SHOWN = 6  # digits of a coefficient that are printed, and so the most that are counted
ENOUGH = 4  # a fit whose coefficients have fewer right digits is told so
SHARE = 0.01  # a coefficient that contributes less than this to the spread of y counts as this much
LONGEST = 10_000_000  # epochs that are suggested at most
ROUNDING = 1e-6  # the gradient relative to the first, below which float32 has few digits left
ILL = 100.0  # a condition number above which standardizing is suggested
DECAYS = ("weight_decay", "lambd")  # settings of updaters that descend to another optimum


class Accuracy(NamedTuple):
    """The coefficient of a linear model with the fewest right digits.

    Attributes:
        name: its name.
        digits: its significant digits that agree with the least-squares solution, up to SHOWN.
        error: its error, relative to its size.
    """

    name: str
    digits: int
    error: float


def accuracy(job: Job, built: Components, result: Result, quadratic: Curvature) -> Accuracy:
    """Compare the coefficients, in the data's own units, with the nearest optimum.

    An error is relative to the coefficient, or to the size that matters if that is larger: a
    hundredth of the spread of the targets, or what rounding leaves the digits that are enough.
    """
    fitted = parameters(built)
    optimum = fitted - quadratic.distance(fitted)
    values, exact = (_in_data_units(built, each) for each in (fitted, optimum))
    rounding = 30 * float(np.finfo(job.settings["dtype"]).eps) * quadratic.offset
    sizes = max(SHARE, 10**ENOUGH * rounding) * quadratic.sizes
    if built.data.scaling is not None:
        sizes[: len(built.data.scaling.scale)] /= built.data.scaling.scale
    errors = np.abs(values - exact)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(errors == 0, 0.0, errors / np.maximum(np.abs(exact), sizes))
    worst = int(relative.argmax())
    error = float(relative[worst])
    digits = SHOWN if error == 0 else math.floor(-math.log10(error)) if error < 1 else 0
    plain = built.data.scaling is None and built.data.fitted.width == 1
    names = ("w", "b") if plain else tuple(result.coefficients)  # as they have been printed
    return Accuracy(names[worst], min(digits, SHOWN), error)


def warning(
    job: Job,
    built: Components,
    result: Result,
    quadratic: Curvature | None,
    reached: Accuracy | None,
) -> str:
    """What a completed run is told that has not converged, else "".

    Args:
        job: the run.
        built: its components, with the final parameters.
        result: its result.
        quadratic: its loss, if that is a quadratic.
        reached: the accuracy of its coefficients; None if it is unknown.
    """
    facts = [_tolerance(job, built, result, quadratic)] if job.settings["stop"]["tolerance"] else []
    remedy = ""
    is_poor = reached is not None and reached.digits < ENOUGH and not _seeks_another_optimum(job)
    if quadratic is not None and reached is not None and is_poor:
        facts.append(_distance(job, built, result, quadratic, reached))
        remedy = _remedy(job, built, result, quadratic, reached)
    return f"not converged: {'; '.join(filter(None, [*facts, remedy]))}." if facts else ""


def _seeks_another_optimum(job: Job) -> bool:
    """Whether the run is not meant to reach the least-squares solution."""
    updater = job.settings["updater"]
    return bool(job.settings["stop"]["patience"] or any(updater.get(key) for key in DECAYS))


def _tolerance(job: Job, built: Components, result: Result, quadratic: Curvature | None) -> str:
    """That the tolerance was not met, and whether it can be."""
    stop, trajectory = job.settings["stop"], result.trajectory
    is_loss = stop["watch"] == "loss"
    value = float(trajectory.loss[-1]) if is_loss else gradient_norm(trajectory)
    what = "loss" if is_loss else "gradient norm"
    epochs = counted(trajectory.length, "epoch")
    tolerance = f"stop.tolerance={exact(stop['tolerance'])}"
    text = f"the {what} is {short(value, 3)} after {epochs}, above {tolerance}"
    if is_loss and quadratic is not None:
        lowest = quadratic.lowest * summed_rows(job, built)
        if stop["tolerance"] < lowest:
            return f"{text}, but cannot be below {short(lowest)}, unlike stop.watch=gradient"
    return text


def _distance(
    job: Job, built: Components, result: Result, quadratic: Curvature, reached: Accuracy
) -> str:
    """How far the coefficients are from the optimum, in words."""
    words = f"{reached.name} has {counted(reached.digits, 'right digit')}"
    if reached.digits == 0:
        words = f"{reached.name} has no right digit yet"
    if len(result.coefficients) > 1:
        words += f" (condition number {short(quadratic.condition, 3)})"
    first = gradient_norm(result.trajectory, 0)
    if built.batch_size or not first:
        return words
    ratio = gradient_norm(result.trajectory) / first
    size = "as large as" if ratio == 1 else f"{apart(ratio, 1, 2)} of its size"
    return f"the gradient is {size} at the start, and {words}"


def _remedy(
    job: Job, built: Components, result: Result, quadratic: Curvature, reached: Accuracy
) -> str:
    """What to type."""
    data, ways = job.settings["data"], []
    largest = largest_lr(job, built, quadratic)
    epochs = largest and _epochs_needed(job, built, result, quadratic, reached, largest)
    more = f"iters={epochs}" if epochs else ""
    if job.settings["dtype"] == "float32" and _is_limited_by_rounding(result):
        more = f"dtype=float64 {more}".rstrip()
    if more:
        ways.append(more)
    lr = job.settings["updater"].get("lr")
    if largest is not None and not built.batch_size and lr and lr < largest / 4:
        ways.append(f"{name_of_lr(job)}={rounded_down(largest / 2)}")
    if len(result.coefficients) > 1 and quadratic.condition > ILL and not data["standardize"]:
        missing = "b" not in built.predictor.parameters and "bias" in job.settings["predictor"]
        ways.append("data.standardize=true" + " predictor.bias=true" * missing)
    typed = [f"type {', or '.join(ways)}"] if ways else []
    return ", or ".join([*typed, *([] if epochs else ["run more epochs"])])


def _epochs_needed(
    job: Job,
    built: Components,
    result: Result,
    quadratic: Curvature,
    reached: Accuracy,
    largest: float,
) -> int | None:
    """Epochs for plain descent to get all shown digits right, to two digits; None if unknown.

    In the direction of curvature h the distance shrinks by ``1 - lr * h`` per epoch, slowest in
    that of the smallest curvature.
    """
    updater = job.settings["updater"]
    if updater.get("momentum") or built.batch_size or built.scheduler is not None:
        return None
    ratio = 2 * updater["lr"] / largest  # lr times the largest curvature
    slowest = max(abs(1 - ratio / quadratic.condition), abs(1 - ratio))
    if not 0 < slowest < 1:
        return None
    more = math.log(reached.error * 10**SHOWN) / -math.log(slowest)
    epochs = result.trajectory.length + more
    if epochs > LONGEST:
        return None
    unit: int = 10 ** max(0, math.floor(math.log10(epochs)) - 1)
    return math.ceil(epochs / unit) * unit


def _is_limited_by_rounding(result: Result) -> bool:
    """Whether float32 has no digits left: the last update changed nothing, or almost nothing."""
    trajectory = result.trajectory
    stalled = trajectory.length > 1 and all(
        values[-1] == values[-2] for values in trajectory.parameters.values()
    )
    return stalled or gradient_norm(trajectory) < ROUNDING * gradient_norm(trajectory, 0)


def _in_data_units(built: Components, values: Floats) -> Floats:
    """Parameters (w, b) as coefficients and, with a bias, intercept in the data's own units."""
    scaling = built.data.scaling
    if scaling is None:
        return values
    d = len(scaling.scale)
    w, b = scaling.undo(values[:d], float(values[d]) if len(values) > d else None)
    return np.append(w, b)[: len(values)]

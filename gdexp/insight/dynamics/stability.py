"""The largest learning rate that works, and what to say of a run that diverged."""

from __future__ import annotations

import math

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.numbers import exact, short
from gdexp.descent.result import FORECAST, GREW, Result
from gdexp.insight.dynamics.curvature import Curvature, curvature
from gdexp.insight.dynamics.forecast import Forecast
from gdexp.insight.dynamics.motion import Motion, dynamics_of, is_derivative, is_sum


def largest_lr(job: Job, built: Components, quadratic: Curvature) -> float | None:
    """The learning rate above which descent with all rows diverges on a quadratic.

    See :meth:`gdexp.insight.dynamics.motion.Motion.largest_lr`; None if the motion is not known.
    """
    motion = Motion.of(job, built)
    return None if motion is None else motion.largest_lr(quadratic.largest)


def forecast_warning(job: Job, built: Components, forecast: Forecast) -> str:
    """A warning, before the descent, that the lr is above the largest that works; else ""."""
    lr, largest, key = forecast.lr, forecast.largest_lr, name_of_lr(job)
    if lr is None or largest is None or lr <= largest * (1 + 1e-9):
        return ""
    bound, typed = rounded_down(largest, 4), f"{key}={rounded_down(largest / 2)}"
    given = f"{key}={shown_lr(job, lr)}"
    if not forecast.is_exact:
        return (
            f"{given} is above {rounded_down(largest)}, below which descent is stable at the "
            f"start: the loss may grow at first. With {typed}, it will not."
        )
    if built.batch_size:
        return (
            f"{given} is above {bound}, the largest that works {rows_at_once(job)}, and "
            f"minibatches need smaller steps: type {typed}."
        )
    if built.scheduler is not None:
        return (
            f"the schedule starts with {given}, above {bound}, the largest that works for "
            f"this problem: the loss will grow until it is below. Type {typed}."
        )
    grows = "the loss will grow"
    if forecast.exceeds_epoch is not None:
        grows = f"the loss will exceed {GREW:g} times its start in epoch {forecast.exceeds_epoch}"
    return (
        f"{given} is above {bound}, the largest that works for this problem: {grows}. Type {typed}."
    )


def _as_forecast(result: Result) -> str:
    """That a run diverged of which the forecast had warned."""
    loss = result.trajectory.loss
    grown = loss > GREW * loss[:1]
    epoch = int(grown.argmax()) + 1 if grown.any() else len(loss) + 1
    text = f"as forecast: the loss exceeded {GREW:g} times its start in epoch {epoch}"
    expected = result.forecast.get("exceeds_epoch", epoch)
    return f"{text}." if expected == epoch else f"{text}, {short(expected, 17)} was forecast."


def warning(job: Job, built: Components, result: Result) -> str:
    """Why a run diverged: the largest lr that works, if it is known, and what to type."""
    if FORECAST in result.notes:
        return _as_forecast(result)
    updater = job.settings["updater"]
    if updater.get("maximize"):
        return "updater.maximize=true climbs the loss: type updater.maximize=false."
    if dynamics_of(job) in ("heavy_ball", "nesterov") and (updater.get("momentum") or 0) >= 1:
        return (
            f"updater.momentum={exact(updater['momentum'])} adds up gradients without end: "
            "type updater.momentum=0.9."
        )
    lr, key = _used(job, result), name_of_lr(job)
    if lr is None:
        return ""
    quadratic = curvature(job, built)
    largest = None if quadratic is None else largest_lr(job, built, quadratic)
    if largest is None:
        return (
            f"a smaller step may work, as in {key}={rounded_down(lr / 10)}; the largest that works "
            f"is not known in advance with {unknown(job, is_quadratic=quadratic is not None)}."
        )
    bound, half = rounded_down(largest, 4), f"{key}={rounded_down(largest / 2)}"
    given = f"{key}={shown_lr(job, lr)}"
    if built.batch_size:
        rows = rows_at_once(job)
        return f"{rows} {key} must be below {bound}, with minibatches lower: {half}."
    if lr > largest:
        return f"{given} is above {bound}, the largest that works for this problem: type {half}."
    return (
        f"{given} is below {bound}, the largest that works for this problem, so the growth is "
        f"temporary or a number too large for {job.settings['dtype']}: "
        f"type {half}, or run more epochs."
    )


def rows_at_once(job: Job) -> str:
    """For which rows the largest lr of a run with minibatches is exact."""
    if is_sum(job):
        return f"with the sum over {job.settings['data']['batch_size']} average rows"
    return "with all rows at once"


def shown_lr(job: Job, lr: float) -> str:
    """The lr with every digit that was typed; of a schedule it is computed."""
    return exact(lr) if job.settings["scheduler"]["_target_"] is None else short(lr)


def name_of_lr(job: Job) -> str:
    """How to type the updater's lr: ``lr``, unless the updater has one of its own."""
    return "lr" if job.settings["updater"].get("lr") == job.settings["lr"] else "updater.lr"


def rounded_down(number: float, digits: int = 2) -> str:
    """A positive number with so many significant digits, never above itself.

    >>> rounded_down(2 / 60), rounded_down(0.2484966, 4), rounded_down(0.3), rounded_down(8e-9)
    ('0.033', '0.2484', '0.3', '8e-09')
    """
    unit = 10.0 ** (math.floor(math.log10(number)) + 1 - digits)
    return short(math.floor(number / unit * (1 + 1e-12)) * unit, digits)


def _used(job: Job, result: Result) -> float | None:
    """The largest learning rate of the run; None if the updater has none."""
    lr = job.settings["updater"].get("lr")
    scheduled = result.trajectory.measured.get("train/lr")
    if scheduled is not None and len(scheduled):
        return float(scheduled.max())
    return None if lr is None else float(lr)


def unknown(job: Job, *, is_quadratic: bool) -> str:
    """The choice for which no largest lr is known."""
    if not capabilities.is_linear(job.settings):
        return f"predictor={job.choices['predictor']}"
    if not is_quadratic:
        return f"loss={job.choices['loss']}"
    if not is_derivative(job):
        return f"gradient={job.choices['gradient']}"
    return f"updater={job.choices['updater']}"

"""How a run behaved: monotone, oscillating or diverging, how fast, and whether as forecast."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.numbers import short
from gdexp.descent.result import Result
from gdexp.descent.trajectory import FloatArray, Trajectory
from gdexp.insight.checks.gradient import OURS
from gdexp.insight.dynamics.convergence import DECAYS
from gdexp.insight.dynamics.curvature import Curvature, summed_rows
from gdexp.insight.dynamics.path import Path

MONOTONE, OSCILLATING, DIVERGING = "monotone", "oscillating", "diverging"
TENS = 10.0 ** np.arange(1, 31)  # powers of ten that are counted
COMPARED = 64  # epochs that are compared with the forecast
NOTICED = 0.01  # the share of the loss's excess by which it may differ from the forecast
NOISE = 64.0  # units of rounding that a sum over many rows may be off
FEWEST = 5  # epochs from which a contraction is fitted


def observe(job: Job, built: Components, result: Result, quadratic: Curvature | None) -> str:
    """Fill in ``behaviour``, ``decades`` and ``checks["contraction"]`` of a run that has ended.

    Args:
        job: the run.
        built: its components.
        result: its concluded result.
        quadratic: its mean loss, if that is a quadratic.

    Returns:
        How the losses deviate from an exact forecast, in a sentence; "" if they do not.
    """
    trajectory, path = result.trajectory, result.path
    eps = NOISE * float(np.finfo(job.settings["dtype"]).eps)
    lowest = _lowest(job, built, result, quadratic)
    result.behaviour = behaviour(trajectory, eps, by_gradient=not built.batch_size)
    if result.outcome == "diverged":
        result.behaviour = DIVERGING
    result.decades = decades(trajectory.loss)
    decays = any(job.settings["updater"].get(key) for key in DECAYS)  # to another optimum
    if not (built.batch_size or decays):
        factor = _contraction_of(trajectory, eps, lowest)
        if factor is not None:
            result.checks = {**result.checks, "contraction": factor}
    return deviation(job, trajectory.loss, path, eps) if isinstance(path, Path) else ""


def behaviour(trajectory: Trajectory, eps: float, *, by_gradient: bool) -> str:
    """Whether the descent was monotone, oscillating or diverging; "" of less than two epochs.

    It oscillates if the gradient turns by more than a right angle from one epoch to the next, as
    where a step leads beyond the optimum, or if the loss rises. What is within rounding of nothing
    does not count. A loss that ends above its start diverges.

    Args:
        trajectory: every epoch.
        eps: what counts as rounding, relative to a number's size.
        by_gradient: whether the gradients are of all rows.
    """
    loss = trajectory.loss
    if len(loss) < 2:
        return DIVERGING if trajectory.diverged else ""
    rises = loss[1:] > loss[:-1]
    if rises.any():
        noise = eps * np.abs(loss[:-1]) + eps**2 * abs(float(loss[0]))
        rises = loss[1:] - loss[:-1] > noise
    if trajectory.diverged or (rises[-1] and loss[-1] > loss[0]):
        return DIVERGING
    if rises.any() or (by_gradient and _turns(trajectory, eps)):
        return OSCILLATING
    return MONOTONE


def _turns(trajectory: Trajectory, eps: float) -> bool:
    """Whether a gradient points against the one before; unknown of parameters kept as a norm."""
    named = trajectory.gradients
    if any(name.endswith(".norm") for name in named):
        return False
    slopes = np.array([*named.values()])
    is_negative = slopes < 0
    if (is_negative[:, 1:] == is_negative[:, :-1]).all():
        return False
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        slopes /= np.abs(slopes).max() or 1
        squares = (slopes * slopes).sum(axis=0)
        products = (slopes[:, 1:] * slopes[:, :-1]).sum(axis=0)
        are_turns = (products < 0) & (np.minimum(squares[1:], squares[:-1]) > (16 * eps) ** 2)
    return bool(are_turns.any())


def decades(loss: FloatArray) -> tuple[int, ...]:
    """The first epochs in which the loss was at most 1/10, 1/100, … of its start.

    >>> decades(np.array([8.0, 2.0, 0.5, 0.125, 0.01]))
    (3, 5)
    """
    if not len(loss) or not loss[0] > 0:
        return ()
    fallen = -np.minimum.accumulate(loss)
    epochs = fallen.searchsorted(-loss[0] / TENS) + 1
    return tuple(epochs[epochs <= len(loss)].tolist())


def contraction(values: FloatArray, floor: FloatArray | float) -> float | None:
    """The factor per epoch that a straight line through the logarithms has, in the later half.

    Args:
        values: a positive quantity by epoch.
        floor: below it, values are rounding; the epochs from the first such one are left out.

    Returns:
        None if fewer than FEWEST epochs are left.
    """
    below = values <= floor
    end = int(below.argmax())
    if not (len(below) and below[end]):
        end = len(values)
    logs = np.log(values[end // 2 : end])
    if len(logs) < FEWEST or not np.isfinite(logs).all():
        return None
    epochs = np.arange(len(logs)) - (len(logs) - 1) / 2
    return float(np.exp(epochs @ logs / (epochs @ epochs)))


def _contraction_of(trajectory: Trajectory, eps: float, lowest: float | None) -> float | None:
    """Of the distance: the root of the contraction of the loss's excess, or of the gradient's."""
    loss = trajectory.loss
    if not len(loss):
        return None
    with np.errstate(all="ignore"):
        if lowest is not None:
            floor = 16 * eps * loss + (16 * eps) ** 2 * loss[0]
            factor = contraction(loss - lowest, floor)
            return None if factor is None else factor**0.5
        sizes = np.linalg.norm([*trajectory.gradients.values()], axis=0)
        return contraction(sizes, 16 * eps * float(sizes[0]))


def _lowest(
    job: Job, built: Components, result: Result, quadratic: Curvature | None
) -> float | None:
    """The smallest loss that the descent comes down to; None if it is unknown."""
    if isinstance(result.path, Path):
        return result.path.final
    return None if quadratic is None else quadratic.lowest * summed_rows(job, built)


def deviation(job: Job, loss: FloatArray, path: Path, eps: float) -> str:
    """How the losses deviate from their exact forecast beyond rounding, in a sentence; else "".

    Epochs are compared up to the first in which the loss exceeds 10 times its start. Rounding of
    the gradient is amplified by the root of the condition number, by the momentum, and, where the
    distance grows, by its growth.
    """
    epochs = _compared(len(loss))
    if not len(loss):
        return ""
    expected, actual = path.losses(epochs), loss[epochs.astype(int) - 1]
    with np.errstate(invalid="ignore"):
        if np.abs(actual - expected).max() <= NOTICED * abs(path.initial - path.final):
            return ""  # as of almost all runs: what is allowed is more
    kept = expected <= 10 * path.initial
    epochs, expected, actual = epochs[kept], expected[kept], actual[kept]
    if not len(epochs):
        return ""
    if (allowed := _allowed(path, epochs, expected, eps)) is None:
        return ""
    differs = ~(np.abs(actual - expected) <= allowed)
    if not differs.any():
        return ""
    i = int(differs.argmax())
    return (
        f"the loss of epoch {int(epochs[i])} is {short(actual[i])}, and {short(expected[i])} was "
        f"forecast: {_suspects(job)} computes something else than its class declares."
    )


def _suspects(job: Job) -> str:
    """The classes that may compute something else than they declare: those of the user's own."""
    chosen = [f"{name}={job.choices[name]}" for name in ("gradient", "loss", "updater")]
    targets = (str(job.settings[word.partition("=")[0]]["_target_"]) for word in chosen)
    own = [word for word, t in zip(chosen, targets, strict=True) if not t.startswith(OURS)]
    *others, last = own or chosen
    return f"{', '.join(others)} or {last}" if others else last


@lru_cache(maxsize=64)
def _compared(length: int) -> FloatArray:
    """The epochs that are compared with the forecast: all of the first ones, fewer later."""
    return np.unique(np.geomspace(1, max(length, 1), COMPARED).round())


def _allowed(path: Path, epochs: FloatArray, expected: FloatArray, eps: float) -> FloatArray | None:
    """The differences that rounding explains, shape (epochs,); None if unknown."""
    motion, h = path.motion, path.curvatures
    excess = abs(path.initial - path.final)
    size = path.rows * max(path.zero, path.lowest) + path.initial
    inertia = 1 / (1 - motion.momentum) ** 2
    noise = eps * inertia * np.sqrt(float(h[0] / h[-1]))
    with np.errstate(over="ignore"):
        growth = max(1.0, path.contraction) ** (2 * (epochs - 1))
        rounding = growth * (noise * np.sqrt(excess * size) + noise**2 * size) + eps * expected
    allowed: FloatArray = NOTICED * (excess + np.abs(expected - path.final)) + rounding
    return allowed if np.isfinite(allowed).all() else None

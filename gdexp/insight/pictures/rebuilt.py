"""What a run minimised, built again from its settings: the loss wherever one asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gdexp.config import capabilities, validation
from gdexp.config.job import Job
from gdexp.descent import predictors
from gdexp.descent.build import Components, build
from gdexp.descent.generators import seeded
from gdexp.descent.result import Result
from gdexp.errors import brief
from gdexp.insight.dynamics.curvature import Floats, curvature

ROWS = 10_000  # on which the loss of a predictor that is not linear is computed
UPDATES, WORK, WIDEST = 2000, 2e9, 20_000  # of a run that is computed again, at most
NEAR = 0.01  # the relative difference of two losses that are taken to be the same


@dataclass(frozen=True)
class Landscape:
    """The loss as a function of the parameters, in the order of the trajectory's columns.

    Attributes:
        loss: from parameters, shape (k, p), to losses, shape (k,).
        start: the parameters before the first epoch, shape (p,).
        optimum: where the loss is smallest, shape (p,); None unless it is a quadratic.
        fine: whether the loss costs so little that it can be computed at thousands of points.
    """

    loss: Callable[[Floats], Floats]
    start: Floats
    optimum: Floats | None = None
    fine: bool = False


def rebuilt(result: Result) -> tuple[Components | None, str]:
    """The components of a run at its start, or why they cannot be built: (components, reason)."""
    if result.job is None:
        return None, "its settings are not known here"
    job = replace(result.job, settings={**result.job.settings, "device": "cpu"})
    try:
        with np.errstate(all="ignore"):
            validation.check(job)  # the record may have been edited
            return build(job), ""
    except (Exception, SystemExit) as error:  # the data or own code may be gone
        return None, brief(error)


def landscape(result: Result, built: Components) -> Landscape | str:
    """The loss that a run minimised, or why it is not known.

    At the start it must be the loss recorded in the first epoch, unless that is one of minibatches:
    else the data or the code have changed since.
    """
    assert result.job is not None
    start = _joined(built)
    if len(start) != len(result.trajectory.names) and not has_norms(result):
        return "its predictor has other parameters now"
    try:
        with np.errstate(all="ignore"):
            ground = _quadratic(result, built, start) or _general(built, start, result.job)
            value = float(ground.loss(start[None])[0])
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        return brief(error)
    first = float(result.trajectory.loss[0])
    is_same = math.isclose(value, first, rel_tol=NEAR, abs_tol=1e-12)
    if built.batches is None and len(built.y) <= ROWS and not is_same:
        return "the loss at the start, computed again, is not the recorded one"
    return ground


def has_norms(result: Result) -> bool:
    """Whether a parameter was so large that only its norm was recorded."""
    return any(name.endswith(".norm") and "/" not in name for name in result.trajectory.names)


def retraced(
    result: Result, built: Components, start: Floats, epochs: NDArray[np.int64]
) -> tuple[tuple[str, ...], Floats | None]:
    """The parameters after these epochs, computed again: (names, shape (epochs, p)).

    None if that would take more than about a second, or if the losses are not the recorded ones.
    """
    shapes = {name: np.shape(value) for name, value in built.predictor.parameters.items()}
    names = tuple(name for name, shape in shapes.items() for _ in range(math.prod(shape)))
    last, rows = int(epochs[-1]), len(built.y)
    updates = last * -(-rows // (built.batch_size or rows))
    if updates > UPDATES or last * rows * len(start) > WORK or len(start) > WIDEST:
        return names, None
    assert result.job is not None
    points, wanted, loss = [], {*epochs.tolist()}, math.nan
    try:
        _set(built, start)
        with _alone(built, result.job):
            for iteration in built.iterations(last):
                loss = float(predictors.to_numpy(iteration.loss))
                if iteration.epoch in wanted:
                    points.append(_joined(built))
    except (Exception, SystemExit):  # the user's own code may raise anything
        return names, None
    is_same = math.isclose(loss, float(result.trajectory.loss[last - 1]), rel_tol=NEAR)
    return names, np.array(points) if is_same else None


@contextmanager
def _alone(built: Components, job: Job) -> Iterator[None]:
    """Compute with one thread, which is faster for few rows, and draw what the run drew."""
    with seeded(job):
        if not hasattr(built.x, "detach"):
            yield
            return
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _quadratic(result: Result, built: Components, start: Floats) -> Landscape | None:
    assert result.job is not None
    quadratic = curvature(result.job, built)
    if quadratic is None:
        return None
    is_sum = capabilities.reduction(result.job.settings, "loss") == "sum"
    rows = len(built.data.fitted.y) if is_sum else 1
    # The curvature has the bias last, the trajectory has it where the predictor has it.
    size = len(start)
    is_first = next(iter(built.predictor.parameters)) == "b"
    order = np.roll(np.arange(size), 1) if is_first else np.arange(size)
    vectors, optimum = quadratic.vectors[order], quadratic.optimum[order]

    def loss(points: Floats) -> Floats:
        along = (points - optimum) @ vectors
        values: Floats = rows * (quadratic.lowest + along**2 @ quadratic.eigenvalues / 2)
        return values

    # Along directions without curvature, descent does not move.
    nearest = start - vectors @ (vectors.T @ (start - optimum))
    return Landscape(loss, start, nearest, fine=True)


def _general(built: Components, start: Floats, job: Job) -> Landscape:
    step = -(-len(built.y) // ROWS)
    x, y = built.x[::step], built.y[::step]

    def loss(points: Floats) -> Floats:
        values = np.empty(len(points))
        with _alone(built, job), predictors.inference(built.predictor, x):
            for i, point in enumerate(points):
                _set(built, point)
                values[i] = float(built.loss(built.predictor(x), y))
        return values

    return Landscape(loss, start)


def _joined(built: Components) -> Floats:
    values = built.predictor.parameters.values()
    parts = [predictors.to_numpy(value).reshape(-1) for value in values]
    return np.concatenate([np.empty(0), *parts]).astype(np.float64)


def _set(built: Components, point: Floats) -> None:
    parameters, first = built.predictor.parameters, 0
    for name, value in parameters.items():
        size = math.prod(np.shape(value))
        part = point[first : first + size].reshape(np.shape(value))
        first += size
        if hasattr(value, "detach"):
            value.detach().copy_(value.new_tensor(part.tolist()))
        elif isinstance(value, np.ndarray):
            value[...] = part
        else:
            parameters[name] = float(part)

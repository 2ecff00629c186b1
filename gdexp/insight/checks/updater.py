"""Check that an updater of one's own goes down."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.generators import seeded
from gdexp.insight.checks.probe import norm
from gdexp.insight.checks.reference import Floats, Values, copied, dot, moved, put
from gdexp.types import Array, Parameters

CLIMBS = (
    "climbs the loss: it adds the gradient, and descent subtracts it. "
    "Write parameters[name] -= lr * gradient."
)
FORGETS = (
    "forgets where the parameters were: it sets them to the step alone. "
    "Write parameters[name] -= lr * gradient."
)
IGNORES = "ignores lr: its step is the whole gradient. Write parameters[name] -= lr * gradient."
UPDATES = 32  # in which every parameter has to move
EQUAL = 1e-3  # relative


def wrong(job: Job, built: Components) -> str:
    """What is wrong with an updater of one's own, as the end of "updater=mine …", or "".

    It is made to step by a made-up gradient and by its negative. Half the difference of the steps
    is what it does with the gradient, whatever it does besides, such as decaying weights or adding
    noise, which is the same in both.
    """
    updater: Any = getattr(built.updater, "updater", built.updater)
    own = type(getattr(updater, "optimizer", updater)).__module__
    if own == "gdexp.manual" or own.startswith("torch."):  # these go down, unless told to maximize
        return ""
    rng = np.random.default_rng(0)
    shapes = {name: value.shape for name, value in copied(built.predictor.parameters).items()}
    gradient = {name: rng.uniform(0.5, 1.5, shape) for name, shape in shapes.items()}
    start = {name: np.ones(shape) for name, shape in shapes.items()}
    up, down = (_after(job, updater, built, start, g) for g in (gradient, _negative(gradient)))
    if dot(moved(up, down, -1), gradient) > 0:
        return CLIMBS
    if still := _still(job, updater, built, gradient):
        names = " and ".join(still)
        return f"does not move {names}. Write parameters[name] -= lr * gradient, in place."
    sum_, difference, size = (
        norm(values) for values in (moved(up, down, 1), moved(up, down, -1), start)
    )
    is_alone = sum_ <= EQUAL * size and 0 < difference <= size / EQUAL
    if is_alone:
        return FORGETS
    if not np.isfinite(difference):
        return ""
    surplus = norm(moved(moved(up, down, -1), gradient, 2))  # 0 if the step is -gradient
    return IGNORES if getattr(updater, "lr", 1) != 1 and surplus <= 1e-6 * difference else ""


def _still(job: Job, updater: Any, built: Components, gradient: Values) -> list[str]:
    """The parameters that stay where they are in many updates, whether they are 0 or 1."""
    if not getattr(updater, "lr", 1):
        return []
    names = [*gradient]
    for value, size in ((0.0, 1.0), (0.0, -1.0), (1.0, 1.0), (1.0, 1e6), (1.0, 1e12)):
        slopes = {name: size * values for name, values in gradient.items()}
        start = {name: np.full(g.shape, value) for name, g in gradient.items()}
        for updates in (1, UPDATES):
            if names:
                after = _after(job, updater, built, start, slopes, updates)
                names = [name for name in names if (after[name] == value).all()]
    return names


def _negative(values: Values) -> Values:
    return {name: -value for name, value in values.items()}


def _after(
    job: Job, updater: Any, built: Components, start: Values, gradient: Values, updates: int = 1
) -> Values:
    """The parameters after updates of a copy of the updater, which start there and draw alike."""
    fresh, predictor = copy.deepcopy((updater, built.predictor))
    moving: Parameters = predictor.parameters
    if not hasattr(updater, "optimizer"):  # which knows its tensors, and torch tracks them
        moving = {n: v.detach() if hasattr(v, "detach") else v for n, v in moving.items()}
    put(moving, start)
    with seeded(job):
        for _ in range(updates):
            gradients = {name: _like(value, gradient[name]) for name, value in moving.items()}
            fresh(moving, gradients)
    return copied(moving)


def _like(value: Array, numbers: Floats) -> Array:
    """Numbers as a parameter has them."""
    if hasattr(value, "detach"):
        return value.detach().new_tensor(numbers)
    return numbers.astype(value.dtype) if np.ndim(value) else float(numbers)

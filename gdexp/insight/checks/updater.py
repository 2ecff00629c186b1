"""Check that an updater goes down."""

from __future__ import annotations

import copy

import numpy as np

from gdexp.descent.build import Components
from gdexp.insight.checks.reference import Values, copied, dot, moved
from gdexp.types import Parameters

CLIMBS = (
    "climbs the loss: it adds the gradient, and descent subtracts it. "
    "Write parameters[name] -= lr * gradient."
)


def wrong(built: Components) -> str:
    """What is wrong with an updater of one's own, as the end of "updater=mine …", or "".

    It is made to step by a made-up gradient and by its negative. Half the difference of the steps
    is what it does with the gradient, whatever it does besides, such as decaying weights.
    """
    updater = getattr(built.updater, "updater", built.updater)
    if hasattr(updater, "optimizer"):  # torch's own go down, unless told to maximize
        return ""
    start = copied(built.predictor.parameters)
    rng = np.random.default_rng(0)
    gradient = {name: rng.uniform(0.5, 1.5, value.shape) for name, value in start.items()}
    up, down = (
        _step(updater, built, moved({n: 0 * v for n, v in gradient.items()}, gradient, s))
        for s in (1, -1)
    )
    return CLIMBS if dot(moved(up, down, -1), gradient) > 0 else ""


def _step(updater: object, built: Components, gradient: Values) -> Values:
    """The step by a gradient of a copy of the updater."""
    fresh, parameters = copy.deepcopy(updater), built.predictor.parameters
    assert callable(fresh)
    moving: Parameters = {}
    gradients: Parameters = {}
    for name, value in parameters.items():
        if hasattr(value, "detach"):
            moving[name] = value.detach().clone()
            gradients[name] = moving[name].new_tensor(gradient[name])
        else:
            moving[name] = copy.deepcopy(value)
            given = gradient[name]
            gradients[name] = given.astype(value.dtype) if np.ndim(value) else float(given)
    before = copied(moving)
    fresh(moving, gradients)
    return moved(copied(moving), before, -1)

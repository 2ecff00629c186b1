"""The largest curvature of any loss at the current parameters, by a few Hessian-vector products.

Cohen et al., "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability", 2021,
call it the sharpness: descent is stable while it is below 2 / lr.
"""

from __future__ import annotations

import copy
import json
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.config.validation import is_torch_based
from gdexp.data.preparation import Prepared
from gdexp.descent.build import Components
from gdexp.descent.generators import states
from gdexp.descent.predictors import to_numpy
from gdexp.descent.trial import undisturbed
from gdexp.errors import brief
from gdexp.insight.checks.reference import rows_copied
from gdexp.insight.dynamics.curvature import LARGEST, Floats
from gdexp.insight.dynamics.lanczos import largest_eigenvalue
from gdexp.manual import Logistic

ROWS = 10_000  # used at most, evenly spaced
PARAMETERS = 1_000_000  # a predictor with more would need a gigabyte
AT_START, AT_END = 12, 6  # products at most: each takes as long as two or three epochs
MIXED = 0.5  # of the start vector: a random direction beside that of the gradient

_known: WeakKeyDictionary[Prepared, dict[Any, float | str]] = WeakKeyDictionary()


def at_the_start(job: Job, built: Components) -> float | str:
    """The sharpness at the start, or why it is unknown; runs with the same start share it."""
    settings = job.settings
    names = ("predictor", "loss", "seed", "dtype", "device")
    classes = tuple(capabilities.resolve(settings[f]["_target_"]) for f in ("predictor", "loss"))
    key = json.dumps([settings[name] for name in names]), is_torch_based(job), classes
    of_data = _known.setdefault(built.data, {})
    if key not in of_data:
        of_data[key] = _sharpness(job, built, AT_START)
    return of_data[key]


def at_the_end(job: Job, built: Components) -> float | None:
    """The sharpness at the final parameters; None if it is unknown."""
    value = _sharpness(job, built, AT_END)
    return None if isinstance(value, str) else value


def _sharpness(job: Job, built: Components, products: int) -> float | str:
    """The largest eigenvalue of the loss's Hessian at the current parameters, or why not.

    The loss is that of at most ROWS rows. The components stay as they are.
    """
    if not hasattr(built.x, "detach"):
        value = _of_logistic(job, built)
    else:
        sizes = [parameter.numel() for parameter in built.predictor.parameters.values()]
        if sum(sizes) > PARAMETERS:
            return f"predictor={job.choices['predictor']} has more than {PARAMETERS:,} parameters"
        try:
            with undisturbed(job):
                value = _by_products(job, built, products)
        except Exception as error:
            return f"torch cannot differentiate the loss twice: {brief(error)}"
    if isinstance(value, str):
        return value
    if not np.isfinite(value):
        return "the curvature is not finite"
    return value if value > 0 else "the loss curves upward in no direction"


def _by_products(job: Job, built: Components, products: int) -> float | str:
    from gdexp.pytorch.hessian import Hessian, is_flat

    predictor, loss = copy.deepcopy((built.predictor, built.loss))
    every = -(-len(built.y) // ROWS)
    x, y = (rows_copied(rows[::every]) for rows in (built.x, built.y))
    before = states(job, predictor)
    y_pred, again = (predictor(x).detach() for _ in range(2))
    if states(job, predictor) != before or not y_pred.equal(again):
        return f"predictor={job.choices['predictor']} draws random numbers"
    if is_flat(y_pred, y, loss):
        return f"loss={job.choices['loss']} is a straight line here, without curvature"
    hessian = Hessian(predictor.parameters.values(), x, y, predictor, loss)
    start = np.random.default_rng(0).standard_normal(len(hessian.gradient))
    start *= MIXED / np.linalg.norm(start)
    if length := float(np.linalg.norm(hessian.gradient)):
        start += hessian.gradient / length
    value = largest_eigenvalue(hessian, start, products)
    is_sum = capabilities.reduction(job.settings, "loss") == "sum"
    return value * len(built.y) / len(y) if is_sum else value


def _of_logistic(job: Job, built: Components) -> float | str:
    """Of the cross-entropy of a linear predictor by hand: ``1/n A' diag(p (1 - p)) A``.

    A is [X, 1], or X without a bias, and p the probabilities.
    """
    settings = job.settings
    is_known = capabilities.of(settings, "loss", "measures") == Logistic.measures
    if not (is_known and capabilities.is_linear(settings)):
        return f"loss={job.choices['loss']} is not known to have a second derivative"
    every = -(-len(built.y) // ROWS)
    x: Floats = to_numpy(built.x)[::every].astype(np.float64).reshape(-(-len(built.y) // every), -1)
    if x.shape[0] * (x.shape[1] + 1) ** 2 > LARGEST:
        return "the table is too wide"
    if "b" in built.predictor.parameters:
        x = np.column_stack([x, np.ones(len(x))])
    with np.errstate(all="ignore"):
        z = built.predict(built.x)[::every].astype(np.float64)
        p = np.exp(-np.logaddexp(0, -z))
        hessian = (x.T * (p * (1 - p))) @ x / len(x)
    return float(np.linalg.eigvalsh(hessian)[-1]) if np.isfinite(hessian).all() else np.inf

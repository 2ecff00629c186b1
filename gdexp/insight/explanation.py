"""One update in numbers, step by step, each with the lines of code that do it.

The lines in NumPy are executed on the run's own numbers. Those that do not give what the run
computed, as may be with a class of one's own, are left out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdexp.config.capabilities import is_linear, reduction, task_of
from gdexp.config.job import Job
from gdexp.insight.formulas import NUMPY, REMEMBERED, Formulas, Line
from gdexp.insight.watched import Update, Values, Watched
from gdexp.types import Task

MOST = 10**8  # numbers read for a derivative, about a second
FEW = 20  # parameters whose derivatives are computed
OURS = (
    "gdexp.manual.",
    "gdexp.pytorch.",
    "torch.",
)  # classes that compute what they declare, as tests hold them to


@dataclass(frozen=True)
class Step:
    """One of the four steps of an update.

    Attributes:
        family: the family that does it: predictor, loss, gradient or updater.
        values: what it computed, by the name that the lines give it.
        lines: the ways to compute it.
    """

    family: str
    values: Values
    lines: Sequence[Line]


@dataclass(frozen=True)
class Explanation:
    """One update in numbers.

    Attributes:
        update: the update. The parameters of a linear predictor have the shapes of the lines: w is
            a number or has shape (d,), b is a number.
        steps: prediction, loss, gradient and update.
        numbers: the settings that the lines of the update use, by name.
        derivatives: the derivative of the loss by each parameter, computed by central differences
            in double precision; None if the lines do not give the loss, or parameters are many.
        check: how the gradient compares with them, in words; "" if they are not known.
    """

    update: Update
    steps: Sequence[Step]
    numbers: dict[str, Any]
    derivatives: Values | None
    check: str


def explain(job: Job, built: Watched) -> Explanation:
    """Explain the update that was watched.

    Args:
        job: the run.
        built: its components after their watched epoch.
    """
    assert built.update is not None
    update, formulas = built.update, _formulas(job, built)
    if formulas.is_linear:
        update = _in_shape(update, formulas.features)
    numbers = _numbers(update)
    with np.errstate(all="ignore"):
        steps = [*_steps(job, formulas, update, numbers)]
        derivatives = (
            _derivatives(update, steps[:2], task_of(job.settings)) if formulas.is_linear else None
        )
        check = "" if derivatives is None else _check(update, derivatives, job)
    code = _code(steps[3].lines)
    used = {name: v for name, v in numbers.items() if name == "lr" or _uses(code, name)}
    return Explanation(update, steps, used, derivatives, check)


def _steps(
    job: Job, formulas: Formulas, update: Update, numbers: Mapping[str, Any]
) -> Iterator[Step]:
    def step(family: str, values: Values, lines: Sequence[Line]) -> Step:
        return _checked(Step(family, values, lines), job, namespace(update, numbers))

    yield step("predictor", {"y_pred": update.y_pred}, formulas.prediction())
    yield step("loss", {"loss": update.loss}, formulas.loss())
    dw = {f"d{name}": value for name, value in update.gradients.items()}
    gradient = step("gradient", dw, formulas.gradient())
    yield gradient
    is_derivative = formulas.is_derivative and bool(gradient.lines)
    lines = formulas.update(numbers, not update.memory, is_derivative)
    remembered = {
        f"{REMEMBERED.get(key, key)}{name}": value
        for key, values in update.remembered.items()
        for name, value in values.items()
    }
    vw = {name: value for name, value in remembered.items() if _uses(_code(lines), name)}
    yield step("updater", {**vw, **update.after}, lines)


def _code(lines: Sequence[Line]) -> str:
    """The line in NumPy; "" if there is none."""
    return next((line.code for line in lines if NUMPY in line.ways), "")


def _uses(code: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", code) is not None


def _formulas(job: Job, built: Watched) -> Formulas:
    update = built.update
    assert update is not None
    outputs = 1 if np.ndim(update.y_pred) == 1 else update.y_pred.shape[1]
    return Formulas(
        job.settings,
        tuple(update.before),
        built.data.fitted.width,
        is_linear(job.settings) and outputs == 1,
        hasattr(built.predictor, "module"),
        outputs,
    )


def _in_shape(update: Update, features: int) -> Update:
    """The update with w as a number, or of shape (d,), and b as a number."""

    def shaped(values: Values) -> Values:
        shapes = {"w": (features,) if features > 1 else (), "b": ()}
        return {
            name: value.reshape(shapes[name]) if isinstance(value, np.ndarray) else value
            for name, value in values.items()
        }

    def memory(values: dict[str, Values]) -> dict[str, Values]:
        return {key: shaped(by_parameter) for key, by_parameter in values.items()}

    return replace(
        update,
        before=shaped(update.before),
        gradients=shaped(update.gradients),
        after=shaped(update.after),
        memory=memory(update.memory),
        remembered=memory(update.remembered),
    )


def _numbers(update: Update) -> dict[str, Any]:
    """The updater's settings by the names of the lines; t is the number of this update."""
    numbers = dict(update.settings)
    betas = numbers.pop("betas", None)
    if betas is not None:
        numbers |= {"beta1": betas[0], "beta2": betas[1]}
    return numbers | {"t": update.steps + 1}


def namespace(update: Update, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The names that the lines use, with the values before the update."""
    memory = {f"{m}{name}": 0.0 for m in "mv" for name in update.before}
    for key, values in update.memory.items():
        memory |= {f"{REMEMBERED.get(key, key)}{name}": v for name, v in values.items()}
    gradients = {f"d{name}": value for name, value in update.gradients.items()}
    arrays = {"x": update.x, "y": update.y, "y_pred": update.y_pred, "loss": update.loss}
    moved = copy.deepcopy({**memory, **gradients, **update.before})  # lines change them in place
    return {"np": np, **numbers, **arrays, **moved}


def _checked(step: Step, job: Job, names: dict[str, Any]) -> Step:
    """The step, without lines if a class of one's own does not compute what its lines do."""
    target = str(job.settings[step.family]["_target_"])
    code = _code(step.lines)
    if target.startswith(OURS) or not code:
        return step
    try:
        exec(code, names)
        is_right = all(_is_close(names[name], value) for name, value in step.values.items())
    except (ArithmeticError, ValueError, LookupError, TypeError, NameError):
        is_right = False
    return step if is_right else replace(step, lines=[])


def _is_close(value: Any, expected: Any) -> bool:
    size = float(np.abs(expected).max(initial=0.0))
    is_close = np.allclose(value, expected, rtol=1e-3, atol=1e-5 * size, equal_nan=True)
    return np.shape(value) == np.shape(expected) and is_close


def _derivatives(update: Update, steps: Sequence[Step], task: Task) -> Values | None:
    """The derivative of the loss by each parameter, by central differences in double precision."""
    codes = [code for step in steps if (code := _code(step.lines))]
    sizes = [np.size(value) for value in update.before.values()]
    if len(codes) < 2 or sum(sizes) > FEW or 2 * sum(sizes) * np.size(update.x) > MOST:
        return None
    names: dict[str, Any] = {"np": np, "x": _double(update.x), "y": _double(update.y)}
    start = {name: np.atleast_1d(_double(value)) for name, value in update.before.items()}

    def loss(name: str, place: int, by: float) -> float:
        moved = {key: values.copy() for key, values in start.items()}
        moved[name][place] += by
        shaped = {key: v.reshape(np.shape(update.before[key])) for key, v in moved.items()}
        names.update(shaped)
        for code in codes:
            exec(code, names)
        return float(names["loss"])

    # Each difference moves the predictions by a thousandth of what matters to the loss.
    error = 1.0 if task == "binary" else float(np.abs(names["y"] - _double(update.y_pred)).max())
    reach = np.abs(names["x"].reshape(len(names["y"]), -1)).max(axis=0)
    sizes_of = {"w": np.where(reach > 0, reach, 1.0), "b": np.ones(1)}
    derivatives = {}
    for name in start:
        by = (1e-3 * (error or 1.0) / sizes_of[name]).tolist()
        slopes = [(loss(name, i, h) - loss(name, i, -h)) / (2 * h) for i, h in enumerate(by)]
        derivatives[name] = np.reshape(slopes, np.shape(update.before[name]))
    return derivatives


def _check(update: Update, derivatives: Values, job: Job) -> str:
    """How the run's gradient compares with the derivatives of its loss."""
    g, d = (
        np.concatenate([np.ravel(_double(values[name])) for name in derivatives])
        for values in (update.gradients, derivatives)
    )
    if not (np.isfinite(g).all() and np.isfinite(d).all()):
        return ""
    rows = len(update.y) if reduction(job.settings, "loss") == "sum" else 1
    sizes = np.abs(update.y_pred) + np.abs(update.y)
    x = max(1.0, float(np.abs(update.x).max()))
    noise = 100 * np.finfo(update.y_pred.dtype).eps * x * float(sizes.max()) * rows
    if np.abs(d).max() <= noise:
        return "as small as its rounding errors"
    ratio = float(g @ d / (d @ d))
    if np.abs(g - ratio * d).max() > 0.01 * np.abs(g).max() + noise:
        return "it is not the derivative of the loss, nor a multiple of it"
    if abs(ratio - 1) <= 0.01:
        return "central differences of the loss give the same"
    return f"it is {ratio:.4g} times what central differences of the loss give"


def _double(value: Any) -> Any:
    return np.asarray(value, np.float64)

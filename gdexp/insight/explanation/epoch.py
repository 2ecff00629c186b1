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
from gdexp.insight.checks.central_differences import comparison, derivatives_of
from gdexp.insight.explanation.formulas import NUMPY, REMEMBERED, Formulas, Line
from gdexp.insight.explanation.watched import Update, Values, Watched

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
        derivatives, check = None, ""
        if formulas.is_linear:
            codes = [_code(step.lines) for step in steps[:2]]
            derivatives = derivatives_of(update, codes, task_of(job.settings))
        if derivatives is not None:
            is_sum = reduction(job.settings, "loss") == "sum"
            check = comparison(update, derivatives, is_sum)
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

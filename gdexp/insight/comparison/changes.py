"""Operations of a run done in another way, to see whether they tell two runs apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gdexp import manual
from gdexp.config.job import Job
from gdexp.config.validation import is_torch_based
from gdexp.descent.build import Components
from gdexp.descent.numbers import short
from gdexp.types import Array, Parameters


@dataclass(frozen=True)
class Change:
    """One operation of a run, done in another way.

    Attributes:
        cause: what the two runs do differently.
        undone: how the change undoes that, as in "with w * x in place of nn.Linear".
        applies: whether the first job can be changed so, to compute as the second does.
        to: changes the components of the first job, in place.
    """

    cause: str
    undone: str
    applies: Callable[[Job, Job], bool]
    to: Callable[[Job, Components], None]


def _is_by_hand(job: Job, family: str, kind: type) -> bool:
    """Whether a family's option is this class of :mod:`gdexp.manual` itself."""
    return bool(job.settings[family]["_target_"] == f"{kind.__module__}.{kind.__qualname__}")


def _is_in_numpy(job: Job, other: Job) -> bool:
    return is_torch_based(other) and not is_torch_based(job)


def _is_in_double(job: Job, other: Job) -> bool:
    return _is_in_numpy(job, other) and job.settings["dtype"] != "float64"


def _is_module(job: Job, other: Job) -> bool:
    if str(job.settings["predictor"]["_target_"]) != "gdexp.pytorch.Linear":
        return False
    return _is_by_hand(other, "predictor", manual.Predictor) or _is_formula(other, job)


def _is_formula(job: Job, other: Job) -> bool:
    autograd = str(other.settings["gradient"]["_target_"]) == "gdexp.pytorch.Autograd"
    return autograd and _is_by_hand(job, "gradient", manual.Gradient)


def _is_sgd(job: Job, other: Job) -> bool:
    sgd = {k: v for k, v in job.settings["updater"].items() if v}
    plain = sgd.keys() <= {"_target_", "_partial_", "lr"}
    is_sgd = sgd["_target_"] == "torch.optim.SGD"
    return plain and is_sgd and _is_by_hand(other, "updater", manual.Updater)


class _InSingle:
    """An updater of Python floats that computes in the precision of the data."""

    def __init__(self, updater: Any, dtype: str) -> None:
        self._updater, self._type = updater, np.dtype(dtype).type

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        floats = [name for name, value in parameters.items() if isinstance(value, float)]
        rest = {name: value for name, value in parameters.items() if name not in floats}
        rest |= {name: self._type(parameters[name]) for name in floats}
        self._updater(rest, gradients | {name: self._type(gradients[name]) for name in floats})
        parameters.update({name: float(rest[name]) for name in floats})


def _use_single(job: Job, built: Components) -> None:
    parameters, kind = built.predictor.parameters, np.dtype(job.settings["dtype"]).type
    floats = {name: value for name, value in parameters.items() if isinstance(value, float)}
    parameters.update({name: float(kind(value)) for name, value in floats.items()})
    built.updater = _InSingle(built.updater, job.settings["dtype"])


def _use_tensors(job: Job, built: Components) -> None:
    from gdexp import pytorch

    built.predictor = pytorch.adopt(built.predictor, job.settings["dtype"], tracked=False)
    built.x, built.y, built.at = pytorch.tensors(built.x, built.y, built.at)
    if built.kept is not None:
        x, y = pytorch.tensors(*built.kept)
        built.kept = x, y
    if built.batches is not None:
        rows = built.batches.args  # type: ignore[attr-defined]  # see build
        built.batches = partial(built.batches.func, built.x, built.y, *rows[2:])  # type: ignore[attr-defined]


class _Plain:
    """A linear module's predictions by the formula of :class:`gdexp.manual.Predictor`."""

    def __init__(self, module: Any) -> None:
        self.parameters = module.parameters

    def __call__(self, x: Array) -> Array:
        w = self.parameters["w"].reshape(-1)
        y_pred = w * x if x.ndim == 1 else x @ w
        return y_pred + self.parameters["b"] if "b" in self.parameters else y_pred


def _use_formula(job: Job, built: Components) -> None:
    built.predictor = _Plain(built.predictor)


class _AsAutograd(manual.Gradient):
    """The formula in the order in which autograd computes it."""

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        slopes = (y_pred - y) * (2 / len(y))
        sums = {"w": (x * slopes).sum() if x.ndim == 1 else x.T @ slopes, "b": slopes.sum()}
        return {
            name: value.item() if isinstance(value := sums[name], np.generic) else value
            for name in parameters
        }


def _reorder(job: Job, built: Components) -> None:
    built.gradient = _AsAutograd()


class _InTwo:
    """``w = w - lr * gradient`` in two operations, for SGD's optimizer and its scheduler."""

    def __init__(self, sgd: Any) -> None:
        self._sgd = sgd

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        (group,) = self._sgd.optimizer.param_groups
        setattr(self._sgd.optimizer, "_opt_called", True)  # noqa: B010  (torch asks for it)
        for name, parameter in parameters.items():
            data = parameter.detach()
            data -= group["lr"] * gradients[name].reshape(data.shape)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._sgd.state()
        return state


def _split(job: Job, built: Components) -> None:
    built.updater = _InTwo(built.updater)


def divided(divisor: float) -> Change:
    """The change that divides the gradient by a number."""

    def divide(job: Job, built: Components) -> None:
        source: Any = built.gradient

        def quotient(*given: Any) -> Parameters:
            return {name: value / divisor for name, value in source(*given).items()}

        setattr(built, "gradient", quotient)  # noqa: B010  (mypy wants the names of its arguments)

    cause = f"the gradient is {short(divisor)} times as large"
    return Change(
        cause, f"with its gradient divided by {short(divisor)}", lambda a, b: True, divide
    )


CHANGES = (  # of two that remove as much, the first is the cause
    Change(
        "by hand, w is a Python float, in double precision; a tensor holds it in single",
        "with updates in single precision",
        _is_in_double,
        _use_single,
    ),
    Change(
        "nn.Linear is a product of matrices, which rounds differently from w * x, as does its "
        "derivative",
        "with w * x in place of nn.Linear",
        _is_module,
        _use_formula,
    ),
    Change(
        "the formula averages 2 * x * r over the rows, and autograd adds up x * (2/n * r), where r "
        "is y_pred - y",
        "with autograd's order in the formula",
        _is_formula,
        _reorder,
    ),
    Change(
        "SGD multiplies and subtracts in one operation, which rounds once; w - lr * gradient "
        "rounds twice",
        "with two operations in SGD",
        _is_sgd,
        _split,
    ),
    Change(
        "NumPy adds up in another order than torch, and by hand a parameter of one number is a "
        "Python float, in double precision",
        "with tensors in place of NumPy's arrays",
        _is_in_numpy,
        _use_tensors,
    ),
)

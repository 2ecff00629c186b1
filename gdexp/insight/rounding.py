"""Why two ways to compute the same descent give other last digits, shown by experiment.

Each :class:`Change` makes one of the two runs do one operation as the other does it. If the numbers
are then the same, it is what the two do differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from gdexp import manual
from gdexp.config.job import Job
from gdexp.config.validation import is_torch_based
from gdexp.descent.build import Components, build
from gdexp.descent.compute import begin, compute
from gdexp.descent.trajectory import Trajectory
from gdexp.insight.difference import Difference, difference
from gdexp.types import Array, Parameters

LONGEST = 1000  # epochs that an experiment computes at most

Place = tuple[float, int]


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


class Explanation(NamedTuple):
    """Why two jobs differ in their digits.

    Attributes:
        changes: the fewest changes after which they do not, or the first difference is latest.
        rest: the first difference that is left; None if all numbers are then the same.
        epochs: the number of epochs that were computed.
    """

    changes: tuple[Change, ...]
    rest: Difference | None
    epochs: int


def explain(a: Job, b: Job) -> Explanation:
    """Try all combinations of the known changes, small ones first, until the numbers are the same.

    At most the first 1,000 epochs are computed.

    Args:
        a: a job whose settings have been checked.
        b: another one, which differs from it in the options of the four families.
    """
    jobs = _shortened(a), _shortened(b)
    known = [
        (side, change)
        for change in CHANGES
        for side in (0, 1)
        if change.applies(jobs[side], jobs[1 - side])
    ]

    @cache
    def trajectory(side: int, changes: tuple[Change, ...]) -> Trajectory:
        return computed(jobs[side], changes)

    def rest(chosen: Sequence[tuple[int, Change]]) -> Difference | None:
        one, other = (trajectory(k, tuple(c for side, c in chosen if side == k)) for k in (0, 1))
        return difference(one, other, a.settings["dtype"])

    best: tuple[Sequence[tuple[int, Change]], Difference | None] = (), rest(())
    for size in range(1, len(known) + 1):
        for chosen in combinations(known, size):
            if best[1] is not None and _place(left := rest(chosen)) > _place(best[1]):
                best = chosen, left
    return Explanation(tuple(change for _, change in best[0]), best[1], jobs[0].settings["iters"])


def computed(job: Job, changes: Sequence[Change] = ()) -> Trajectory:
    """Compute a job whose settings have been checked, with changes; nothing is recorded."""
    built = build(job)
    for change in changes:
        change.to(job, built)
    result, transcript = begin(job, built)
    compute(job, built, result, transcript, bar=False)
    return result.trajectory


def _shortened(job: Job) -> Job:
    return replace(job, settings=job.settings | {"iters": min(job.settings["iters"], LONGEST)})


def _place(differs: Difference | None) -> Place:
    """How late a difference is: its epoch, then the stage at which its quantity is computed."""
    return (np.inf, 0) if differs is None else (differs.first.epoch, differs.first.stage)


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
        source = built.gradient

        def quotient(*given: Any) -> Parameters:
            return {name: value / divisor for name, value in source(*given).items()}

        built.gradient = quotient

    cause = f"the gradient is {divisor:g} times as large"
    return Change(cause, f"with its gradient divided by {divisor:g}", lambda a, b: True, divide)


CHANGES = (  # of two that remove as much, the first is the cause
    Change(
        "by hand, w is a Python float, in double precision; a tensor holds it in single",
        "with updates in single precision",
        _is_in_double,
        _use_single,
    ),
    Change(
        "nn.Linear is a product of matrices, which rounds otherwise than w * x, and so does its "
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

"""Why a gradient differs from the derivative: what is known to go wrong, told by the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.numbers import factor, told_apart
from gdexp.insight.checks.factors import explained
from gdexp.insight.checks.reference import Floats, Values

Indices = NDArray[np.int64]


class Cause(NamedTuple):
    """A cause in words, as the end of "gradient=mine …".

    Attributes:
        text: what the gradient is instead of the derivative.
        why: how that came about, as ": its sign is wrong", or "".
        multiple: the gradient over the derivative if it is a multiple of it, else None.
    """

    text: str
    why: str = ""
    multiple: float | None = None


@dataclass(frozen=True)
class Evidence:
    """Gradients and derivatives at two points, all in units of equal effect on the predictions.

    Attributes:
        given: the gradient source's, at the start and displaced.
        right: the derivatives there.
        scales: what both have been multiplied by.
        rows: the rows over which the loss was taken.
        total: the rows over which the run takes it.
        tolerance: the relative deviation that rounding explains.
        pairs: what broadcasting (n, 1) - (n,) would give for a linear predictor, by name.
        used: the indices of the numbers of each parameter that were compared, if not all.
    """

    given: tuple[Values, Values]
    right: tuple[Values, Values]
    scales: Values
    rows: int
    total: int
    tolerance: float
    pairs: tuple[tuple[Values, Values], ...] = ()
    used: dict[str, Indices] | None = None

    def joined(self, values: tuple[Values, Values]) -> Floats:
        """All numbers of both points."""
        return np.concatenate([v.reshape(-1) for point in values for v in point.values()])

    def of(self, name: str) -> tuple[Floats, Floats]:
        """What is given and what is right for one parameter, at both points."""
        return self.joined(_only(self.given, name)), self.joined(_only(self.right, name))

    def are_close(self, one: Floats, other: Floats) -> bool:
        """Whether rounding explains the difference."""
        size = max(np.linalg.norm(one), np.linalg.norm(other))
        return bool(np.linalg.norm(one - other) <= self.tolerance * size)


def _only(values: tuple[Values, Values], name: str) -> tuple[Values, Values]:
    return {name: values[0][name]}, {name: values[1][name]}


def name_cause(e: Evidence) -> Cause:
    """The first cause that explains all numbers."""
    given, right = e.joined(e.given), e.joined(e.right)
    for rule in (_not_zeroed, _multiple, _late, _broadcast, _by_parameter, _wrong_order):
        if (cause := rule(e, given, right)) is not None:
            return cause
    return _unrelated(e)


def multiple_of(given: Floats, right: Floats) -> float:
    """The least-squares multiple of the right numbers that the given ones are."""
    return float(given @ right / (right @ right)) if right.any() else math.nan


def _not_zeroed(e: Evidence, given: Floats, right: Floats) -> Cause | None:
    first, second = (e.joined((point, {})) for point in e.given)
    if not first.any() or not e.right[0]:
        return None
    start, displaced = (e.joined((point, {})) for point in e.right)
    factor = multiple_of(first, start)
    if not e.are_close(first, factor * start) or e.are_close(second, factor * displaced):
        return None
    if not e.are_close(second - first, factor * displaced):
        return None
    return Cause(
        "does not zero its gradients: in epoch 2 it gives the sum of the first two. Set "
        "parameter.grad = None, or zero your sum, after each update"
    )


def _late(e: Evidence, given: Floats, right: Floats) -> Cause | None:
    """At both points it gives the derivative of the first."""
    first, second = (e.joined((point, {})) for point in e.given)
    start, displaced = (e.joined((point, {})) for point in e.right)
    if e.are_close(second, displaced) or not (e.are_close(first, start) and first.any()):
        return None
    if not e.are_close(second, start):
        return None
    why = "Compute it from the predictions of the same epoch"
    if _broadcast(e, given, right) is not None:  # the same numbers, where the features average 0
        why += ", and give y_pred and y the same shape: (n, 1) - (n,) has shape (n, n)"
    return Cause(f"is late: in epoch 2 it gives the gradient of epoch 1. {why}")


def _multiple(e: Evidence, given: Floats, right: Floats) -> Cause | None:
    multiple = multiple_of(given, right)
    rest = float(np.linalg.norm(given - multiple * right))
    if not e.are_close(given, multiple * right) or 2 * rest > np.linalg.norm(given - right):
        return None
    return _in_words(multiple, e, "")


def _in_words(multiple: float, e: Evidence, of: str) -> Cause:
    exact, why = explained(multiple, e.rows, e.total, e.tolerance)
    if not exact:
        names = " and ".join(e.right[0])
        why = ": it may be zeroed after it is computed"
        return Cause(f"is 0, and the loss depends on {names}", why, 0.0)
    return Cause(f"is {factor(exact)} times the derivative of the loss{of}", why, exact)


def _by_parameter(e: Evidence, given: Floats, right: Floats) -> Cause | None:
    """One parameter's gradient is right up to a factor, the others' up to another one."""
    if len(e.right[0]) < 2:
        return _partly_zero(e)
    wrong: dict[str, float] = {}
    for name in e.right[0]:
        g, r = e.of(name)
        if e.are_close(g, r):
            continue
        factor = multiple_of(g, r)
        if not e.are_close(g, factor * r):
            return _partly_zero(e)
        wrong[name] = factor
    if not wrong:
        return None
    silent = [name for name, factor in wrong.items() if abs(factor) <= e.tolerance]
    if silent == [*wrong]:
        is_bias = all(name.rpartition(".")[2] in ("b", "bias") for name in silent)
        listed = " and ".join(silent)
        kind = "forgets the bias" if is_bias else "leaves out a parameter"
        return Cause(f"{kind}: the gradient of {listed} is 0, and the loss depends on {listed}")
    factor = max(wrong.values(), key=lambda factor: abs(factor - 1))
    names = [name for name, f in wrong.items() if abs(f - factor) <= e.tolerance * abs(factor)]
    return _in_words(factor, e, f" by {' and '.join(names)}")._replace(multiple=None)


def _partly_zero(e: Evidence) -> Cause | None:
    """Some numbers are 0, all others are right."""
    for name in e.right[0]:
        g, r = e.of(name)
        zeros = g == 0
        if e.are_close(g, r) or not zeros.any() or zeros.all() or not r[zeros].any():
            continue
        if e.are_close(g[~zeros], r[~zeros]):
            count = int(np.count_nonzero(zeros[: len(zeros) // 2]))
            size = len(zeros) // 2
            return Cause(f"leaves out a part of {name}: {count} of its {size} numbers are 0")
    return None


def _broadcast(e: Evidence, given: Floats, right: Floats) -> Cause | None:
    for pair in e.pairs:
        pairs = e.joined(pair)
        multiple = multiple_of(given, pairs)
        if e.are_close(given, multiple * pairs) and abs(multiple) > e.tolerance:
            return Cause(
                "sums over all n * n pairs of a prediction and a target: (n, 1) - (n,) has shape "
                "(n, n). Give both the same shape, as in y_pred.reshape(-1) - y"
            )
    return None


def _wrong_order(e: Evidence, given: Floats, right: Floats) -> Cause | None:
    if e.used is not None:
        return None
    for name in e.right[0]:
        g, r = e.of(name)
        if e.are_close(g, r):
            continue
        raw = [(p[name] / e.scales[name], q[name] / e.scales[name]) for p, q in _points(e)]
        shape = e.scales[name].shape
        if len(shape) == 2 and all(e.are_close(p.ravel(), q.T.ravel()) for p, q in raw):
            return Cause(
                f"transposes the gradient of {name}: its numbers are right, in the order of the "
                f"transpose. Return it in the shape of {name}, {shape}"
            )
        if not all(e.are_close(np.sort(p.ravel()), np.sort(q.ravel())) for p, q in raw):
            return None
        return Cause(f"gives the gradient of {name} in a wrong order: its numbers are right")
    return None


def _points(e: Evidence) -> Iterator[tuple[Values, Values]]:
    return zip(e.given, e.right, strict=True)


def _unrelated(e: Evidence) -> Cause:
    """The number that is furthest from the derivative."""
    worst: tuple[float, str, float, float] = (-1.0, "", 0.0, 0.0)
    for given, right in _points(e):
        for name, scale in e.scales.items():
            g, r = given[name].ravel(), right[name].ravel()
            i = int(np.argmax(np.abs(g - r)))
            index = e.used[name][i] if e.used is not None else i
            called = name if scale.size == 1 else f"{name}[{index}]"
            factor = float(scale.ravel()[int(index)])
            worst = max(worst, (abs(g[i] - r[i]), called, g[i] / factor, r[i] / factor))
    _, called, g_i, r_i = worst
    one, other = told_apart(g_i, r_i)
    return Cause(
        f"is not the derivative of the loss: the gradient of {called} is {one}, "
        f"the derivative {other}"
    )

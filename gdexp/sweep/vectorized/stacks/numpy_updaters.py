"""The updaters of :mod:`gdexp.manual` on arrays, with settings of its own for each curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdexp import manual
from gdexp.sweep.vectorized.stacks.stack import Floats
from gdexp.types import Parameters


class Adam(manual.Adam):
    """:class:`gdexp.manual.Adam`, where ``1 - beta`` and ``beta**t`` are Python's own numbers.

    NumPy's powers of double precision may differ from Python's in the last digit, and those of an
    array in single precision do. The powers are computed once for each distinct beta.

    Attributes:
        numbers: ``beta1`` and ``beta2`` of each curve, in double precision.
        column: casts numbers of each curve to the shape and the precision of the parameter.
    """

    numbers: Mapping[str, Floats]
    column: Callable[[Floats], NDArray[Any]]

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """Update every parameter, in place."""
        self.t += 1
        beta1, beta2 = self.betas
        rest1, rest2 = (self.column(1 - self.numbers[name]) for name in ("beta1", "beta2"))
        scale1, scale2 = (self.column(1 - self._power(name)) for name in ("beta1", "beta2"))
        for name, g in gradients.items():
            m = self.m[name] = beta1 * self.m.get(name, 0.0) + rest1 * g
            v = self.v[name] = beta2 * self.v.get(name, 0.0) + rest2 * (g * g)
            parameters[name] -= self.lr * (m / scale1) / (_root(v / scale2) + self.eps)

    def _power(self, name: str) -> Floats:
        distinct, inverse = np.unique(self.numbers[name], return_inverse=True)
        return np.array([_power(beta, self.t) for beta in distinct.tolist()])[inverse]


FORMS: dict[str, type[manual.Updater]] = {
    "plain": manual.Updater,
    "heavy_ball": manual.Momentum,
    "nesterov": manual.Nesterov,
    "adam": Adam,
}
"""The class of each form in which an updater by hand is vectorized."""


class Updaters:
    """An updater for each parameter, because its numbers have the parameter's precision.

    A run alone multiplies an array by Python floats, which NumPy casts to the array's precision.

    Args:
        form: one of :data:`FORMS`.
        numbers: the settings of each curve by name, each of shape (curves,).
        parameters: the parameters by name, each of shape (curves, *shape).
    """

    def __init__(self, form: str, numbers: Mapping[str, Floats], parameters: Parameters) -> None:
        self._updaters: dict[str, Any] = {name: FORMS[form](lr=1.0) for name in parameters}
        self._likes = {name: (values.dtype, values.ndim) for name, values in parameters.items()}
        self._numbers: dict[str, Floats] = {}
        self.set(numbers)

    def set(self, numbers: Mapping[str, Floats]) -> None:
        """Change settings, as a scheduler does: some of those that a run alone has.

        Args:
            numbers: values of shape (curves,), or (curves, 2) of ``betas``.
        """
        self._numbers |= numbers
        if "betas" in numbers:
            self._numbers["beta1"], self._numbers["beta2"] = self._numbers.pop("betas").T
        for name, updater in self._updaters.items():
            self._set(updater, *self._likes[name])

    def _set(self, updater: Any, kind: Any, ndim: int) -> None:
        def column(values: Floats) -> NDArray[Any]:
            return values.astype(kind).reshape((-1, *[1] * (ndim - 1)))

        columns = {name: column(values) for name, values in self._numbers.items()}
        if isinstance(updater, Adam):
            updater.numbers, updater.column = self._numbers, column
            columns["betas"] = (columns.pop("beta1"), columns.pop("beta2"))  # type: ignore[assignment]
        vars(updater).update(columns)

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """Update every parameter, in place."""
        for name, updater in self._updaters.items():
            updater(parameters, {name: gradients[name]})

    def keep(self, curves: NDArray[np.intp]) -> None:
        """Keep these of the current curves."""
        for updater in self._updaters.values():
            for state in (getattr(updater, "m", {}), getattr(updater, "v", {})):
                state.update({name: values[curves] for name, values in state.items()})
        self.set({name: values[curves] for name, values in self._numbers.items()})


def _power(beta: float, t: int) -> float:
    try:
        return beta**t
    except OverflowError:  # a schedule may raise beta above 1; a run alone diverges here
        return np.nan


def _root(values: NDArray[Any]) -> NDArray[Any]:
    """``values ** 0.5`` as of a run alone: of Python floats it is a power, of an array a root."""
    if values.ndim > 1:
        return np.asarray(np.sqrt(values))
    roots: NDArray[Any] = np.array([value**0.5 for value in values.tolist()])
    return roots

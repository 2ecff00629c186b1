"""The loss as a function of the parameters, in float64, and its derivative by differences."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gdexp.descent.build import Components
from gdexp.descent.predictors import to_numpy
from gdexp.types import Array, Loss, Parameters, Predictor

Floats = NDArray[np.float64]
Values = dict[str, Floats]
"""A number for each number of each parameter: parameters, gradients, or a direction."""


class Slope(NamedTuple):
    """A derivative along a direction, and how far from it a correct gradient may be."""

    value: float
    noise: float


def rows_copied(rows: Array) -> Array:
    """A copy of rows that a component may change."""
    return rows.detach().clone() if hasattr(rows, "detach") else rows.copy()


def put(parameters: Parameters, values: Mapping[str, Floats]) -> None:
    """Overwrite parameters in place, in their own precision."""
    for name, value in values.items():
        parameter = parameters[name]
        if hasattr(parameter, "detach"):
            parameter.detach().copy_(parameter.new_tensor(value.reshape(parameter.shape)))
        elif isinstance(parameter, np.ndarray) and parameter.ndim:
            parameter[...] = value
        else:
            parameters[name] = float(value)


def copied(parameters: Mapping[str, Array]) -> Values:
    """Copies of parameters in float64."""
    return {name: np.array(to_numpy(value), np.float64) for name, value in parameters.items()}


def moved(values: Values, direction: Values, length: float) -> Values:
    """``values + length * direction``."""
    return {name: value + length * direction[name] for name, value in values.items()}


def dot(one: Values, other: Values) -> float:
    """The inner product of all numbers."""
    return float(sum(np.vdot(value, other[name]) for name, value in one.items()))


@dataclass
class Reference:
    """A copy of a run's predictor and loss, in float64 where they allow it.

    Attributes:
        predictor: the copy; its parameters are set by each call.
        loss: the copy of the loss.
        x: the inputs.
        y: the targets.
        eps: the relative rounding error of the loss.
    """

    predictor: Predictor
    loss: Loss
    x: Array
    y: Array
    eps: float = float(np.finfo(np.float64).eps)

    @classmethod
    def of(cls, built: Components, x: Array, y: Array) -> Reference:
        """The reference of a run's components on these rows.

        A module that computes in float32 only is differentiated in float32. The rows are copied,
        since a component may change them in place.
        """
        x, y = rows_copied(x), rows_copied(y)
        is_torch = hasattr(x, "detach")
        try:
            predictor, loss = copy.deepcopy((built.predictor, built.loss))
            if is_torch:
                from gdexp import pytorch

                reference = cls(*pytorch.in_double(predictor, loss, x, y))
            else:
                for name, value in predictor.parameters.items():
                    if isinstance(value, np.ndarray):
                        predictor.parameters[name] = value.astype(np.float64)
                reference = cls(predictor, loss, _double(x), _double(y))
            y_pred = reference.predictor(reference.x)
            loss = reference.loss(y_pred, reference.y)
            kind = np.result_type(to_numpy(y_pred), to_numpy(loss))
        except Exception:
            reference = cls(*copy.deepcopy((built.predictor, built.loss)), x, y)
            kind = to_numpy(built.predictor(x)).dtype
        if kind.kind == "f":
            reference.eps = float(np.finfo(kind).eps)
        return reference

    def at_present(self) -> Array:
        """The loss at the current parameters."""
        return self.loss(self.predictor(self.x), self.y)

    def value(self, values: Values) -> float:
        """The loss at these parameters."""
        put(self.predictor.parameters, values)
        return float(to_numpy(self.at_present()))

    def predictions(self, values: Values | None = None) -> Floats:
        """The predictions at these parameters."""
        if values is not None:
            put(self.predictor.parameters, values)
        return to_numpy(self.predictor(self.x)).astype(np.float64)

    def gradient(self, values: Values) -> Values | None:
        """The gradient by autograd; None for NumPy arrays, or where the graph is cut entirely."""
        parameters = self.predictor.parameters
        if not hasattr(self.x, "detach"):
            return None
        import torch

        put(parameters, values)
        loss = self.at_present()
        if not loss.requires_grad:
            return None
        gradients = torch.autograd.grad(loss, [*parameters.values()], allow_unused=True)
        pairs = zip(parameters.items(), gradients, strict=True)
        return copied({name: p.detach() * 0 if g is None else g for (name, p), g in pairs})

    def slope(self, at: Values, direction: Values, h: float) -> Slope:
        """The central difference ``(L(at + h v) - L(at - h v)) / 2h`` along the direction v.

        Its noise is the difference of the two one-sided ones, which is of order h for a smooth loss
        and as large as the jump at a kink, and the rounding of the losses.
        """
        before, here, after = (self.value(moved(at, direction, k * h)) for k in (-1, 0, 1))
        rounding = 16 * self.eps * max(abs(before), abs(after)) / h
        return Slope((after - before) / (2 * h), abs(after - 2 * here + before) / h + rounding)

    def difference(self, at: Values, direction: Values, h: float) -> float:
        """The value of :meth:`slope` alone."""
        before, after = (self.value(moved(at, direction, k * h)) for k in (-1, 1))
        return (after - before) / (2 * h)

    def on(self, x: Array, y: Array) -> Reference:
        """The reference on other rows."""
        x, y = rows_copied(x), rows_copied(y)
        if hasattr(x, "detach"):
            x, y = (rows.to(self.x.device) for rows in (x, y))
            x, y = (rows.to(old.dtype) for rows, old in ((x, self.x), (y, self.y)))
        else:
            x, y = x.astype(self.x.dtype), y.astype(self.y.dtype)
        return Reference(self.predictor, self.loss, x, y, self.eps)

    def jittered(self, size: float, rng: np.random.Generator) -> Reference:
        """The reference with every number of the data changed by up to this share of itself."""
        x, y = (_jitter(rows, size, rng) for rows in (self.x, self.y))
        return Reference(self.predictor, self.loss, x, y, self.eps)


def _double(array: Any) -> Any:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _jitter(array: Array, size: float, rng: np.random.Generator) -> Array:
    """The array with every float changed; classes stay."""
    if not (array.dtype.is_floating_point if hasattr(array, "detach") else array.dtype.kind == "f"):
        return array
    factors = 1 + size * rng.uniform(-1, 1, tuple(array.shape))
    return array * (array.new_tensor(factors) if hasattr(array, "detach") else factors)

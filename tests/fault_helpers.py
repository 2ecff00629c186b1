"""Gradient sources with a planted fault, and losses that no check may blame."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdexp import manual
from gdexp.types import Array, Parameters


def planted(fault: str, right: Parameters, rows: int, source: Any) -> Parameters:
    """The right gradients, made wrong."""
    factors = {
        "n times": rows,
        "1/n": 1 / rows,
        "twice": 2,
        "half": 0.5,
        "seven": 7.3,
        "sign": -1,
        "sign and n": -rows,
        "zero": 0,
    }
    if fault in factors:
        return {name: gradient * factors[fault] for name, gradient in right.items()}
    if fault == "not zeroed":
        last = getattr(source, "last", None)
        source.last = right if last is None else {n: g + last[n] for n, g in right.items()}
        return dict(source.last)
    if fault == "bias":
        return {n: g * (0 if n in ("b", "2.bias") else 1) for n, g in right.items()}
    if fault == "weights":
        return {n: g * (0 if n == "0.weight" else 1) for n, g in right.items()}
    if fault == "part":
        return {n: g * _but_last(g) if n == "w" else g for n, g in right.items()}
    if fault == "reversed":
        return {n: _reversed(g) if n == "w" else g for n, g in right.items()}
    if fault == "transposed":
        return {n: g.T.reshape(g.shape) if n == "w" else g for n, g in right.items()}
    if fault == "tensor":
        return {n: g * (3 if n in ("b", "2.bias") else 1) for n, g in right.items()}
    assert fault == "unrelated"
    return {n: g * 0.7 + 3 * abs(g) ** 0.5 for n, g in right.items()}


def _but_last(gradient: Array) -> Array:
    ones = gradient * 0 + 1
    ones.reshape(-1)[-1] = 0
    return ones


def _reversed(gradient: Array) -> Array:
    flat = gradient.reshape(-1)
    return (flat[::-1].copy() if isinstance(flat, np.ndarray) else flat.flip(0)).reshape(
        gradient.shape
    )


class ByHand(manual.Gradient):
    """The formula by hand with a fault."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        right = super().__call__(parameters, x, y, y_pred, loss)
        return planted(self.fault, right, len(y), self)


class Pairs(manual.Gradient):
    """The formula by hand with (n, 1) - (n,), summed over rows or columns."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        residual = y_pred.reshape(-1, 1) - y  # (n, n)
        along = residual.mean(1) if self.fault == "predictions" else residual.mean(0)
        columns = x.reshape(len(x), -1)
        w = (2 * columns * along.reshape(-1, 1)).mean(0)
        gradients = {"w": w if x.ndim > 1 else w[0].item()}
        if "b" in parameters:
            gradients["b"] = (2 * residual).mean().item()
        return gradients


class ByAutograd:
    """Autograd with a fault."""

    tracked = True

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        loss.backward()
        right = {}
        for name, parameter in parameters.items():
            right[name], parameter.grad = parameter.grad, None
        return planted(self.fault, right, len(y), self)


def classes() -> tuple[Any, Any]:
    """A table with two features and three classes."""
    return np.array([[1.0, 2], [3, 4], [0, 1], [2, 2]]), np.array([0, 1, 2, 1])


class Unusual:
    """Losses that are neither a mean nor a sum over the rows, or have kinks."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, y_pred: Array, y: Array) -> Array:
        r = y_pred - y
        match self.kind:
            case "root":
                return (r**2).mean() ** 0.5
            case "correlation":
                p, q = y_pred - y_pred.mean(), y - y.mean()
                return -(p * q).sum() / ((p**2).sum() * (q**2).sum() + 1e-9) ** 0.5
            case "absolute":
                return abs(r).mean()
            case "largest":
                return abs(r).max()
            case "steps":
                return (r - r % 1).mean()
            case "relative":
                return ((r / (abs(y) + 1)) ** 2).mean()
        raise AssertionError(self.kind)

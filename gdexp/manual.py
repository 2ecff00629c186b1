"""Tutorial step 1 on one page: all four families by hand.

The formulas are one-liners on plain operators, so they work on NumPy arrays and torch tensors. y
has shape (n,); x has shape (n,), or (n, d). The class attributes declare what a class can do.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import numpy as np
from annotated_types import Ge, Gt, Le

from gdexp.types import Array, Parameters, Start

Positive: TypeAlias = Annotated[float, Gt(0)]
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]


class Predictor:
    """``f(x) = w * x``, or ``w * x + b`` with a bias; for several features, ``f(x) = x @ w + b``.

    With one feature, w and b start as Python floats, in double precision whatever that of x: the
    notebook's printed digits depend on it. With d features, w has shape (d,).

    Args:
        bias: whether there is a ``b``.
        init: the start value of every parameter, or "torch" for torch's random initialization.
        features: the number of features of x, d.
    """

    linear = True
    vectorized = "linear"

    def __init__(self, bias: bool = False, init: Start = 0.0, features: int = 1) -> None:
        self.init = init
        start = 0.0 if init == "torch" else float(init)
        w: Array = start if features == 1 else np.full(features, start)
        self.parameters: Parameters = {"w": w, "b": start} if bias else {"w": w}

    def __call__(self, x: Array) -> Array:
        """Predictions, shape (n,)."""
        w = self.parameters["w"]
        y_pred = w * x if x.ndim == 1 else x @ w
        return y_pred + self.parameters["b"] if "b" in self.parameters else y_pred


class Loss:
    """Mean squared error, ``L = 1/n * sum((y_pred - y)**2)``."""

    measures = "the mean squared error"
    vectorized = "squares"

    def __call__(self, y_pred: Array, y: Array) -> Array:
        """The loss, one number."""
        return ((y_pred - y) ** 2).mean()


class Logistic:
    """Cross-entropy of a target y from 0 to 1, ``L = 1/n * sum(log(1 + e**z) - y * z)``.

    The prediction z is the logit of y = 1, whose probability is ``1 / (1 + e**-z)``.
    """

    task = "binary"
    measures = "the cross-entropy of the logits"
    vectorized = "logistic"

    def __call__(self, y_pred: Array, y: Array) -> Array:
        """The loss, one number; no exponential overflows, even for large z."""
        z = y_pred
        softplus = np.logaddexp(0, z) if isinstance(z, np.ndarray) else z.logaddexp(z.new_zeros(()))
        return (softplus - y * z).mean()


class Gradient:
    """The derivative of the mean squared error of a linear predictor.

    ``dL/dw = 1/n * sum(2 * x * (y_pred - y))`` and ``dL/db = 1/n * sum(2 * (y_pred - y))``; for
    several features, ``dL/dw = 2/n * x.T @ (y_pred - y)``.
    """

    derived_for = Loss.measures
    reduction = "mean"
    vectorized = "mean"

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The gradient by w and, with a bias, by b."""
        residual = y_pred - y
        if x.ndim == 1:
            gradients = {"w": _number((2 * x * residual).mean())}
        else:
            gradients = {"w": x.T @ residual * (2 / len(x))}
        if "b" in parameters:
            gradients["b"] = _number((2 * residual).mean())
        return gradients


class GradientSum(Gradient):
    """The formula that the tutorial's first step published: n times the derivative.

    ``np.dot(2*x, y_pred - y).mean()`` is the mean of one number: the dot product has already summed
    over the rows. Here the sum is written out: a BLAS dot product's digits depend on the processor.
    """

    derived_for = Loss.measures
    reduction = "sum"
    vectorized = "sum"

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """N times the gradient by w and, with a bias, by b."""
        residual = y_pred - y
        gradients = {"w": _number((2 * x * residual).sum()) if x.ndim == 1 else 2 * x.T @ residual}
        if "b" in parameters:
            gradients["b"] = _number((2 * residual).sum())
        return gradients


class LogisticGradient(Gradient):
    """The derivative of the cross-entropy of a linear predictor's logits z.

    ``dL/dw = 1/n * sum(x * (p - y))`` and ``dL/db = 1/n * sum(p - y)`` with the probability
    ``p = 1 / (1 + e**-z)``: half the formula for the mean squared error of the predictions p.
    """

    derived_for = Logistic.measures
    reduction = "mean"
    vectorized = "logistic"

    def __call__(
        self, parameters: Parameters, x: Array, y: Array, y_pred: Array, loss: Array
    ) -> Parameters:
        """The gradient by w and, with a bias, by b."""
        z = y_pred
        p = np.exp(-np.logaddexp(0, -z)) if isinstance(z, np.ndarray) else z.sigmoid()
        doubled = super().__call__(parameters, x, y, p, loss)
        return {name: gradient / 2 for name, gradient in doubled.items()}


class Updater:
    """Plain gradient descent, ``w = w - lr * dL/dw``.

    Args:
        lr: the learning rate.
    """

    dynamics = "descent"
    vectorized = "plain"

    def __init__(self, lr: Positive) -> None:
        self.lr = lr

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """Update every parameter, in place."""
        for name, gradient in gradients.items():
            parameters[name] -= self.lr * gradient

    def state(self) -> dict[str, Any]:
        """A copy of everything the next update depends on: numbers, and arrays by parameter."""
        return copy.deepcopy(vars(self))

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        vars(self).update(copy.deepcopy(dict(state)))


class Momentum(Updater):
    """Gradient descent with momentum, ``v = momentum * v + dL/dw; w = w - lr * v``.

    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.

    Args:
        lr: the learning rate.
        momentum: the decay of v; it must be below 1 for v to come to rest.
    """

    dynamics = vectorized = "heavy_ball"

    def __init__(self, lr: Positive, momentum: Annotated[float, Ge(0)] = 0.9) -> None:
        super().__init__(lr)
        self.momentum = momentum
        self.v: Parameters = {}

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """Update every parameter, in place."""
        for name, gradient in gradients.items():
            v = self.v[name] = self.momentum * self.v.get(name, 0.0) + gradient
            parameters[name] -= self.lr * v


class Nesterov(Momentum):
    """Nesterov's momentum, ``v = momentum * v + g; w = w - lr * (g + momentum * v)``.

    g is dL/dw. Nesterov, "A method for solving the convex programming problem with convergence rate
    O(1/k**2)", 1983, in the form of :class:`torch.optim.SGD`.
    """

    dynamics = vectorized = "nesterov"

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """Update every parameter, in place."""
        for name, gradient in gradients.items():
            v = self.v[name] = self.momentum * self.v.get(name, 0.0) + gradient
            parameters[name] -= self.lr * (gradient + self.momentum * v)


class Adam(Updater):
    """Adam: steps of about lr, whatever the size of the gradient.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015. In step t, with gradient g::

        m = beta1 * m + (1 - beta1) * g        the mean of g
        v = beta2 * v + (1 - beta2) * g**2     the mean of its square
        w = w - lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)

    Args:
        lr: the learning rate.
        beta1: the decay of m, below 1.
        beta2: the decay of v, below 1.
        eps: keeps the denominator above 0.

    Raises:
        ValueError: if beta1 or beta2 is 1, so that gradients would have no effect.
    """

    adaptive = vectorized = "adam"

    def __init__(
        self, lr: Positive, beta1: Share = 0.9, beta2: Share = 0.999, eps: Positive = 1e-8
    ) -> None:
        super().__init__(lr)
        if 1 in (beta1, beta2):
            raise ValueError(f"beta1 = {beta1} and beta2 = {beta2} must both be below 1.")
        self.betas, self.eps, self.t = (beta1, beta2), eps, 0
        self.m: Parameters = {}
        self.v: Parameters = {}

    def __call__(self, parameters: Parameters, gradients: Parameters) -> None:
        """Update every parameter, in place."""
        self.t += 1
        beta1, beta2 = self.betas
        for name, g in gradients.items():
            m = self.m[name] = beta1 * self.m.get(name, 0.0) + (1 - beta1) * g
            v = self.v[name] = beta2 * self.v.get(name, 0.0) + (1 - beta2) * (g * g)
            root = (v / (1 - beta2**self.t)) ** 0.5
            parameters[name] -= self.lr * (m / (1 - beta1**self.t)) / (root + self.eps)


def _number(value: Array) -> Array:
    """A NumPy scalar as a Python float, for updates in double precision; tensors are unchanged.

    NumPy 2, unlike NumPy 1, multiplies a float32 scalar by a Python float in float32.
    """
    return value.item() if isinstance(value, np.generic) else value

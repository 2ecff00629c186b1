"""How an updater moves on a quadratic: its largest learning rate and how fast it contracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gdexp.config import capabilities
from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.insight.checks.gradient import declared_multiple, undeclared_multiple
from gdexp.insight.dynamics.curvature import Floats

T = TypeVar("T", float, Floats)

TINY = 1e-300  # replaces 0, whose logarithm is infinite


@dataclass(frozen=True)
class Motion:
    """An updater's equation of motion with the gradient source that it follows.

    In a direction of curvature h, with the distance e from where the descent comes to rest::

        k = multiple * h + decay                 what the updater meets
        v = momentum * v + damping * k * e       without the damping in the first update
        e = e - lr * v                           Nesterov: e - lr * (k * e + momentum * v)

    Both are linear in (e, v), so ``(e, v)`` is multiplied by a 2x2 matrix with the trace T and the
    determinant D, and e contracts by the larger of the roots of ``z**2 - T * z + D``::

        plain, heavy ball    T = 1 + momentum - lr * damping * k     D = momentum
        Nesterov             T = (1 + momentum) * (1 - lr * k)       D = momentum * (1 - lr * k)

    Both roots lie within the unit circle if ``|D| < 1`` and ``|T| < 1 + D``.

    Attributes:
        lr: the learning rate.
        momentum: the decay of v, from 0 to below 1; with 0, v is the gradient.
        damping: 1 less the dampening of :class:`torch.optim.SGD`.
        decay: the weight decay.
        is_nesterov: whether the gradient is looked up ahead.
        multiple: the gradient source as a multiple of the derivative of the mean over the rows.
    """

    lr: float
    momentum: float = 0.0
    damping: float = 1.0
    decay: float = 0.0
    is_nesterov: bool = False
    multiple: float = 1.0

    @classmethod
    def of(cls, job: Job, built: Components) -> Motion | None:
        """The motion of a run whose updates all see what the rows give on average.

        With a schedule, it is that of the first lr.

        None if the updater does not declare its dynamics, the gradient source is not known to be
        the derivative of the loss or a multiple of it, or the updater cannot come to rest: it
        climbs, or its momentum is 1 or more.
        """
        settings = job.settings
        updater, dynamics = settings["updater"], dynamics_of(job)
        m, lr = updater.get("momentum") or 0.0, lr_of(job, built)
        if dynamics is None or lr is None or updater.get("maximize") or not 0 <= m < 1:
            return None
        if not is_derivative(job) or (factor := undeclared_multiple(job, built)) is None:
            return None
        rows = (built.batch_size or len(built.y)) if is_sum(job) else 1
        damping = 1 - (updater.get("dampening") or 0.0) if m else 1.0
        decay = updater.get("weight_decay") or 0.0
        is_nesterov, factor = dynamics == "nesterov", rows * factor
        return cls(lr, m, damping, decay, is_nesterov, factor) if damping > 0 else None

    def met(self, curvature: T) -> T:
        """The curvature that the updater meets, including the weight decay."""
        return self.multiple * curvature + self.decay

    def largest_lr(self, curvature: float) -> float:
        """The learning rate above which the distance grows.

        It is ``(2 + 2 m) / (damping * k)`` with the momentum m (so 2 / k for plain descent), and
        ``(2 + 2 m) / (1 + 2 m) / k`` for Nesterov's: there, ``T = -(1 + D)``.
        """
        m, k = self.momentum, self.met(curvature)
        return (2 + 2 * m) / (1 + 2 * m if self.is_nesterov else self.damping) / k

    def rates(self, curvatures: Floats) -> Floats:
        """The factor per epoch by which the distance in each direction comes down, or grows.

        It is the larger modulus of the two roots.
        """
        if not self.momentum:
            return np.abs(1 - self.lr * self.met(curvatures))
        large, _ = self._roots(self.met(curvatures))
        return np.abs(large)

    def distances(self, updates: Floats, curvatures: Floats, start: Floats) -> Floats:
        """The distance in each direction after each number of updates, (updates, directions).

        The roots z1 and z2 give ``e_n = p_n * e_1 - D * p_(n-1) * e_0`` with
        ``p_n = (z1**n - z2**n) / (z1 - z2)``.

        Args:
            updates: numbers of updates, 0 or more, shape (updates,).
            curvatures: shape (directions,).
            start: the distance in each direction at the start.
        """
        k, n = self.met(curvatures), updates[:, None]
        if not self.momentum:
            return start * (1 - self.lr * k) ** n
        t, d = self._trace(k), self._determinant(k)
        m, damping = self.momentum, self.damping
        first = start * (1 - self.lr * k * (1 + m * self.is_nesterov))
        before = start
        if damping != 1:  # as if no update were undamped: the start that leads to the first two
            second = first * (1 - self.lr * damping * k) - self.lr * m * k * start
            before = (t * first - second) / d
        powers = self._power(k, np.concatenate([n, np.maximum(n - 1, 0)]))
        after = powers[: len(n)] * first - d * powers[len(n) :] * before
        return np.where(n == 0, start, after)

    def _power(self, k: Floats, n: Floats) -> Floats:
        """``p_n``, also where the roots are equal."""
        large, small = (np.where(root == 0, TINY, root) for root in self._roots(k))
        log = np.log(small / large)
        same = log == 0
        divisor = np.expm1(np.where(same, 1, log))
        sums = np.where(same, n, np.expm1(n * log) / divisor)
        power: Floats = (np.exp((n - 1) * np.log(large)) * sums).real
        return np.where(n == 0, 0.0, power)

    def _roots(self, k: Floats) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """The larger and the smaller root for each curvature."""
        t, d = self._trace(k).astype(complex), self._determinant(k)
        root = np.sqrt(t * t - 4 * d)
        large = (t + np.where(t.real < 0, -root, root)) / 2
        return large, np.divide(d, large, out=np.zeros_like(large), where=large != 0)

    def _trace(self, k: Floats) -> Floats:
        if self.is_nesterov:
            return (1 + self.momentum) * (1 - self.lr * k)
        return 1 + self.momentum - self.lr * self.damping * k

    def _determinant(self, k: Floats) -> Floats:
        return self.momentum * (1 - self.lr * k) if self.is_nesterov else self.momentum + 0 * k


def is_sum(job: Job) -> bool:
    """Whether an update takes the sum over its rows, not the mean."""
    source = "loss" if capabilities.of(job.settings, "gradient", "tracked") else "gradient"
    return capabilities.reduction(job.settings, source) == "sum"


def dynamics_of(job: Job) -> str | None:
    """The updater's equation of motion; the setting ``nesterov`` beats the declaration."""
    declared: str | None = capabilities.of(job.settings, "updater", "dynamics")
    return "nesterov" if declared and job.settings["updater"].get("nesterov") else declared


def is_derivative(job: Job) -> bool:
    """Whether the gradient source is the derivative of the loss, or a multiple of it."""
    if capabilities.of(job.settings, "gradient", "tracked"):
        return True
    derived = capabilities.of(job.settings, "gradient", "derived_for")
    return bool(derived == capabilities.of(job.settings, "loss", "measures", ""))


def lr_of(job: Job, built: Components) -> float | None:
    """The updater's learning rate, or the first one of its schedule; None if it has none."""
    if built.scheduler is not None:
        return float(built.scheduler.lr)
    lr = job.settings["updater"].get("lr")
    return None if lr is None else float(lr)


def multiple(job: Job, built: Components) -> float:
    """The gradient source as a multiple of the derivative of the loss, declared and measured."""
    return declared_multiple(job, built) * (undeclared_multiple(job, built) or 1.0)

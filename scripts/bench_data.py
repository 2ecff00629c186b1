"""Rows: fits of big tables, against plain loops and against memory bandwidth.

To add a row, write a function of Bench that times both sides on a table, and add a Row at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from bench_measure import Bench, Measured, Row, Target, clocked, side_by_side

LR = 1e-9  # small enough for the published gradient, which is a sum over the rows
ROUNDS = 21


def table(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of shape (n,) for d = 1 or else (n, d), and targets of shape (n,), in float32."""
    rng = np.random.default_rng(0)
    x = rng.random((n, d) if d > 1 else n, dtype=np.float32)
    return x, x.reshape(n, d).sum(axis=1) + rng.random(n, dtype=np.float32)


def by_hand(x: np.ndarray, y: np.ndarray, iters: int) -> Callable[[], None]:
    """Our loop of step 1."""
    from gdexp import manual
    from gdexp.descent.fused import fuse
    from gdexp.descent.loop import descend

    predictor = manual.Predictor()
    gradient = manual.GradientSum()
    if x.ndim > 1:
        predictor.parameters["w"] = np.zeros(x.shape[1])
        gradient = manual.Gradient()
    families = fuse(x, y, predictor, gradient, manual.Loss())

    def train() -> None:
        for _ in descend(x, y, *families, manual.Updater(LR), iters=iters):
            pass

    return train


def tutorial(x: np.ndarray, y: np.ndarray, iters: int) -> Callable[[], None]:
    """The tutorial's own loop of step 1."""
    w = 0

    def train() -> None:
        nonlocal w
        for _ in range(iters):
            y_pred = w * x
            l = ((y_pred - y) ** 2).mean()  # noqa: E741, F841
            w -= LR * np.dot(2 * x, y_pred - y).mean()

    return train


def plain(x: np.ndarray, y: np.ndarray, iters: int) -> Callable[[], None]:
    """The same with several features, in plain NumPy."""
    w = np.zeros(x.shape[1], dtype=np.float32)

    def train() -> None:
        nonlocal w
        for _ in range(iters):
            residual = x @ w - y
            l = (residual**2).mean()  # noqa: E741, F841
            w -= LR * (2 / len(y) * (x.T @ residual))

    return train


def copying(x: np.ndarray, y: np.ndarray, iters: int) -> Callable[[], None]:
    """Copies both arrays into existing ones."""
    pairs = [(np.copy(a), a) for a in (x, y)]

    def copy() -> None:
        for _ in range(iters):
            for to, source in pairs:
                np.copyto(to, source)

    return copy


Loop = Callable[[np.ndarray, np.ndarray, int], Callable[[], None]]


def measure(n: int, d: int, theirs: Loop, bench: Bench) -> Measured:
    """Alternate chunks of both loops on one table, in this process."""
    x, y = table(n, d)
    iters, rounds = 5, bench.rounds(ROUNDS)
    mine, other = by_hand(x, y, iters), theirs(x, y, iters)
    ratio = side_by_side(lambda: clocked(mine), lambda: clocked(other), rounds)
    return Measured(ratio, f"{rounds} interleaved chunks of {iters} iterations, one process")


def measure_bandwidth(n: int, bench: Bench) -> Measured:
    """An iteration against a copy, which moves x and y twice: a read and a write."""
    measured = measure(n, 1, copying, bench)
    share = 1 / (2 * measured.value)
    return Measured(measured.value, f"{share:.2f} of the copy's bandwidth; {measured.how}")


ROWS = [
    Row(
        "data, 10⁷ × 1, step=manual",
        "the tutorial's bare loop",
        Target(times_faster=3),
        partial(measure, 10**7, 1, tutorial),
    ),
    Row(
        "data, 10⁷ × 1, step=manual",
        "copying x and y (1x is half of its bandwidth)",
        Target(at_most=1.0),
        partial(measure_bandwidth, 10**7),
    ),
    Row(
        "data, 10⁵ × 100, step=manual",
        "a bare loop in NumPy",
        Target(times_faster=1),
        partial(measure, 10**5, 100, plain),
    ),
]

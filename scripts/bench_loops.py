"""Rows: our loop, recording every iteration, against the tutorial's bare loop of each step.

The bare loops are the tutorial's code without printing; they record nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from bench_measure import Bench, Measured, Row, Target, clocked, side_by_side

ITERS = 500  # iterations of one chunk
ROUNDS = 41


def bare_manual(iters: int) -> Callable[[], None]:
    """Step 1: NumPy, everything by hand."""
    X = np.array([1, 2, 3, 4], dtype=np.float32)  # noqa: N806  (the tutorial's names)
    y = np.array([2, 4, 6, 8], dtype=np.float32)
    w = 0

    def forward(x):
        return w * x

    def loss(y, y_predicted):
        return ((y_predicted - y) ** 2).mean()

    def gradient(x, y, y_predicted):
        return np.dot(2 * x, y_predicted - y).mean()

    def train() -> None:
        nonlocal w
        learning_rate = 0.01
        for _ in range(iters):
            y_pred = forward(X)
            l = loss(y, y_pred)  # noqa: E741, F841
            dw = gradient(X, y, y_pred)
            w -= learning_rate * dw

    return train


def bare_autograd(iters: int) -> Callable[[], None]:
    """Step 2: torch computes the gradient."""
    import torch

    X, y = _tensors(4)  # noqa: N806
    w = torch.tensor(0.0, dtype=torch.float32, requires_grad=True)

    def forward(x):
        return w * x

    def loss(y, y_predicted):
        return ((y_predicted - y) ** 2).mean()

    def train() -> None:
        nonlocal w
        learning_rate = 0.01
        for _ in range(iters):
            y_pred = forward(X)
            l = loss(y, y_pred)  # noqa: E741
            l.backward()
            with torch.no_grad():
                w -= learning_rate * w.grad
            w.grad.zero_()

    return train


def bare_optimizer(iters: int) -> Callable[[], None]:
    """Step 3: torch's loss and optimizer."""
    import torch

    X, y = _tensors(4)  # noqa: N806
    w = torch.tensor(0.0, dtype=torch.float32, requires_grad=True)

    def forward(x):
        return w * x

    return partial(_bare_torch, iters, X, y, forward, torch.nn.MSELoss(), [w])


def bare_model(iters: int) -> Callable[[], None]:
    """Step 4: torch's model, starting from zero."""
    import torch

    X, y = _tensors(4, 1)  # noqa: N806
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    return partial(_bare_torch, iters, X, y, model, torch.nn.MSELoss(), model.parameters())


def _bare_torch(iters, X, Y, model, loss, parameters) -> None:  # noqa: N803
    import torch

    optimizer = torch.optim.SGD(parameters, lr=0.01)
    for _ in range(iters):
        y_predicted = model(X)
        l = loss(Y, y_predicted)  # noqa: E741
        l.backward()
        optimizer.step()
        optimizer.zero_grad()


def _tensors(*shape: int):
    import torch

    return (
        torch.tensor(v, dtype=torch.float32).reshape(shape) for v in ([1, 2, 3, 4], [2, 4, 6, 8])
    )


def recorded(step: str, iters: int) -> Callable[[], None]:
    """Our loop of a step, built anew, which fills its trajectory."""
    from gdexp.config.compose import Composer, session
    from gdexp.config.job import Job
    from gdexp.descent.build import build
    from gdexp.descent.trajectory import Trajectory

    with session():
        cfg = Composer().compose([f"step={step}"])
    built = build(Job.of(cfg, ()))

    def train() -> None:
        trajectory = Trajectory(built.predictor.parameters, iters)
        trajectory.extend(built.iterations(iters))
        assert trajectory.length == iters

    return train


def measure(step: str, bare: Callable[[int], Callable[[], None]], bench: Bench) -> Measured:
    """Alternate chunks of both loops, in this process, on one thread."""
    if step != "manual":  # step 1 is timed first, before torch is imported
        import torch

        torch.set_num_threads(1)
    iters, rounds = (50, 3) if bench.quick else (ITERS, ROUNDS)
    ratio = side_by_side(
        lambda: clocked(recorded(step, iters)), lambda: clocked(bare(iters)), rounds
    )
    return Measured(ratio, f"{rounds} interleaved chunks of {iters} iterations, one process")


STEPS = {
    "manual": bare_manual,
    "autograd": bare_autograd,
    "optimizer": bare_optimizer,
    "model": bare_model,
}
TARGETS = {"manual": 0.7, "autograd": 0.95, "optimizer": 1.0, "model": 1.0}
ROWS = [
    Row(
        f"loop, step={step}",
        "the tutorial's bare loop, recording nothing",
        Target(at_most=TARGETS[step]),
        partial(measure, step, bare),
    )
    for step, bare in STEPS.items()
]

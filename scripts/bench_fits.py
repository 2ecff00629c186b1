"""Rows: whole fits of a table, against a bare loop, a DataLoader and scikit-learn.

Our side is the computation of a run, without its checks and its record: components are built from a
configuration and descend, and the trajectory records every epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from bench_measure import Bench, Measured, Row, Target, clocked, side_by_side

WIDE = ("data=synthetic", "data.rows=100000", "data.features=100", "data.metrics=false")
LONG = 10_000_000
LR = "lr=0.001"


def building(*overrides: str) -> Callable[[], Any]:
    """Builds the components of a configuration."""
    from gdexp.config.compose import Composer, session
    from gdexp.config.job import Job
    from gdexp.descent.build import build

    with session():
        job = Job.of(Composer().compose(list(overrides)), ())
    return lambda: build(job)


def descending(fit: Any, iters: int) -> Callable[[], None]:
    """Further epochs of a fit, each recorded."""
    from gdexp.descent.trajectory import Trajectory

    def train() -> None:
        trajectory = Trajectory(fit.predictor.parameters, iters)
        trajectory.extend(fit.iterations(iters))
        assert trajectory.length == iters

    return train


def bare(step: str, x: Any, y: Any, iters: int) -> Callable[[], None]:
    """The tutorial's loop on a wide table."""
    import torch

    w = torch.zeros(x.shape[1], requires_grad=True)
    model = torch.nn.Linear(x.shape[1], 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    moved = list(model.parameters()) if step == "model" else [w]
    optimizer, loss = torch.optim.SGD(moved, lr=0.001), torch.nn.MSELoss()
    targets = y.unsqueeze(1) if step == "model" else y

    def by_hand() -> None:
        for _ in range(iters):
            ((x @ w - y) ** 2).mean().backward()
            with torch.no_grad():
                w.sub_(0.001 * w.grad)
            w.grad.zero_()

    def by_optimizer() -> None:
        for _ in range(iters):
            loss(model(x) if step == "model" else x @ w, targets).backward()
            optimizer.step()
            optimizer.zero_grad()

    return by_hand if step == "autograd" else by_optimizer


def measure_step(step: str, bench: Bench) -> Measured:
    """Alternate chunks of both loops, in this process, on one thread."""
    import torch

    torch.set_num_threads(1)
    iters, rounds = (5, 1) if bench.quick else (20, 15)
    fit = building(f"step={step}", LR, *WIDE)()
    mine, other = descending(fit, iters), bare(step, fit.x, fit.y, iters)
    ratio = side_by_side(lambda: clocked(mine), lambda: clocked(other), rounds)
    return Measured(ratio, f"{rounds} interleaved chunks of {iters} iterations, one process")


def loader(x: Any, y: Any) -> Callable[[], None]:
    """An epoch in plain torch: a DataLoader, a model, a loss, an optimizer."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    model, loss = torch.nn.Linear(x.shape[1], 1, bias=False), torch.nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    batches = DataLoader(TensorDataset(x, y.unsqueeze(1)), batch_size=256, shuffle=True)

    def train() -> None:
        for inputs, targets in batches:
            loss(model(inputs), targets).backward()
            optimizer.step()
            optimizer.zero_grad()

    return train


def measure_batches(bench: Bench) -> Measured:
    """Alternate epochs of both, in this process, on one thread."""
    import torch

    torch.set_num_threads(1)
    rounds = bench.rounds(5)
    fit = building("step=model", LR, "data.batch_size=256", *WIDE)()
    mine, other = descending(fit, 1), loader(fit.x, fit.y)
    ratio = side_by_side(lambda: clocked(mine), lambda: clocked(other), rounds)
    return Measured(ratio, f"{rounds} interleaved epochs, one process")


def measure_compressed(step: str, bench: Bench) -> Measured:
    """A thousand iterations on compressed rows, against ten on all rows, scaled."""
    own = (f"step={step}", "gradient=autograd" if step != "manual" else "gradient=manual", LR)
    own += ("data=synthetic", f"data.rows={bench.size(LONG)}", "data.metrics=false")
    whole, rounds, some = building(*own)(), bench.rounds(3), 10
    build = building(*own, "data.compress=true")

    def compressed() -> float:
        return clocked(lambda: descending(build(), 1000)())

    ratio = side_by_side(
        compressed, lambda: clocked(descending(whole, some)) * 1000 / some, rounds, warm=False
    )
    return Measured(ratio, f"{rounds} rounds; theirs: {some} iterations, scaled to 1,000")


def measure_sklearn(bench: Bench) -> Measured:
    """Fit the table in double precision; our side by L-BFGS on compressed rows."""
    from sklearn.linear_model import LinearRegression

    own = ("step=optimizer", "updater=LBFGS", "lr=1", "dtype=float64", "predictor.bias=true", *WIDE)
    table = building(*own)().data.fitted
    build = building(*own, "data.compress=true")
    fits: dict[str, Any] = {}

    def ours() -> None:
        fits["ours"] = fit = build()
        descending(fit, 5)()

    def theirs() -> None:
        fits["theirs"] = LinearRegression().fit(table.x, table.y).coef_

    rounds = bench.rounds(5)
    ratio = side_by_side(lambda: clocked(ours), lambda: clocked(theirs), rounds)
    w = fits["ours"].predictor.parameters["w"].detach().numpy().reshape(-1)
    apart = float(np.abs(w / fits["theirs"] - 1).max())
    wrong = "" if apart <= 1e-6 else f"coefficients differ by {apart:.1e}"
    return Measured(ratio, f"{rounds} rounds; coefficients within {apart:.0e}", wrong)


ROWS = [
    *(
        Row(
            f"fit, 10⁵ × 100, step={step}",
            "the bare loop",
            Target(at_most=1.02),
            partial(measure_step, step),
        )
        for step in ("autograd", "optimizer", "model")
    ),
    Row(
        "fit, 10⁵ × 100, minibatches of 256",
        "a DataLoader's loop",
        Target(times_faster=5),
        measure_batches,
    ),
    *(
        Row(
            f"fit, 10⁷ rows, data.compress, step={step}",
            "without, 1,000 iterations",
            Target(times_faster=50),
            partial(measure_compressed, step),
        )
        for step in ("manual", "autograd")
    ),
    Row("fit, 10⁵ × 100, L-BFGS", "scikit-learn's LinearRegression", Target(), measure_sklearn),
]

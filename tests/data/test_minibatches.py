"""Minibatches: each row once in an epoch, in an order of the seed's, the loss its rows' mean."""

from __future__ import annotations

import numpy as np
import pytest

from gdexp import run
from gdexp.data import synthetic
from gdexp.data.transforms import batches
from gdexp.experiment import Result

STEPS = {
    "manual": ("step=manual", "gradient=manual"),
    "autograd": ("step=autograd",),
    "optimizer": ("step=optimizer",),
    "model": ("step=model",),
}
ROWS = 25
MADE = ("data=synthetic", f"data.rows={ROWS}", "data.features=3", "predictor.bias=true")


def fit(step: str, *overrides: str) -> Result:
    how = ("tracking=off", "dtype=float64", "lr=0.1", "iters=8", *overrides)
    return run(*STEPS[step], *MADE, *how)


def reference(size: int, seed: int) -> dict[str, np.ndarray]:
    """The same descent, written out: an update for each slice of each epoch's order."""
    table = synthetic(rows=ROWS, features=3)
    w, b, rows = np.zeros(3), 0.0, []
    for epoch in range(1, 9):
        total = 0.0
        for x, y in batches(table.x, table.y, size, seed, epoch):
            error = x @ w + b - y
            total += (error**2).sum()
            dw, db = 2 * x.T @ error / len(y), 2 * error.mean()
            w, b = w - 0.1 * dw, b - 0.1 * db
        rows.append([total / ROWS, *w, b, *dw, db])
    names = ["train/loss", *(f"{k}/{n}" for k in ("param", "grad") for n in (*W, "b"))]
    return dict(zip(names, np.array(rows).T, strict=True))


W = ("w/x1", "w/x2", "w/x3")


@pytest.mark.parametrize(
    ("step", "size"), [*((step, 7) for step in STEPS), ("manual", 1), ("model", 24), ("model", 25)]
)
def test_every_step_takes_the_minibatches_written_out(step: str, size: int) -> None:
    found = fit(step, f"data.batch_size={size}", "seed=3").trajectory.columns()
    expected = reference(size, 3)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("step", ["manual", "model"])
def test_a_batch_of_all_rows_is_the_full_batch(step: str) -> None:
    full, batch = fit(step), fit(step, f"data.batch_size={ROWS}")
    table = full.trajectory.table
    np.testing.assert_allclose(batch.trajectory.table, table, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("step", ["manual", "model"])
def test_the_seed_decides_the_order(step: str) -> None:
    one, again, other = (fit(step, "data.batch_size=4", f"seed={s}") for s in (5, 5, 6))
    np.testing.assert_array_equal(one.trajectory.table, again.trajectory.table)
    assert not np.array_equal(one.trajectory.loss, other.trajectory.loss)


def test_the_loss_of_an_epoch_of_a_summed_loss_is_a_sum() -> None:
    mean = fit("optimizer", "data.batch_size=7", "lr=1e-9", "loss.reduction=mean")
    total = fit("optimizer", "data.batch_size=7", "lr=1e-9", "loss.reduction=sum")
    np.testing.assert_allclose(total.trajectory.loss, ROWS * mean.trajectory.loss, rtol=1e-6)


def test_the_published_gradient_is_as_many_times_the_derivative_as_a_batch_has_rows() -> None:
    published = fit("manual", "gradient=manual_sum", "data.batch_size=5", "lr=0.02")
    assert published.note.startswith(
        "gradient=manual_sum is 5.000 times the derivative of the loss"
    )
    derived = fit("manual", "data.batch_size=5", "lr=0.1")
    np.testing.assert_allclose(published.trajectory.loss, derived.trajectory.loss, rtol=1e-9)


def test_lbfgs_takes_minibatches() -> None:
    found = fit("model", "updater=LBFGS", "data.batch_size=12", "data.noise=0", "lr=1")
    np.testing.assert_allclose([*found.coefficients.values()], [1, 2, 3, 0], atol=1e-6)

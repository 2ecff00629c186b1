"""Runs that end before their last epoch, each rule with its outcome and its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gdexp import run
from gdexp.experiment import Result

MADE = ("data=synthetic", "data.rows=60", "data.features=2", "predictor.bias=true")
STEPS = {"manual": ("step=manual", "gradient=manual"), "model": ("step=model",)}


def fit(step: str, *overrides: str) -> Result:
    return run("tracking=off", *STEPS[step], *MADE, "lr=0.1", "iters=60", *overrides)


def assert_prefix(found: Result, whole: Result, epochs: int) -> None:
    assert found.trajectory.length == epochs
    np.testing.assert_array_equal(found.trajectory.table, whole.trajectory.table[:, :epochs])
    assert found.parameters == {n: v[epochs - 1] for n, v in whole.trajectory.parameters.items()}


def norms(result: Result) -> np.ndarray:
    return np.linalg.norm([*result.trajectory.gradients.values()], axis=0)


@pytest.mark.parametrize(
    ("step", "watch", "every"),
    [
        ("manual", "loss", 7),
        ("manual", "gradient", 1),
        ("model", "loss", 1),
        ("model", "gradient", 7),
    ],
)
def test_a_run_ends_at_the_tolerance(step: str, watch: str, every: int) -> None:
    whole = fit(step)
    assert whole.outcome == "completed"
    values = whole.trajectory.loss if watch == "loss" else norms(whole)
    tolerance = float(values[25])
    below = np.flatnonzero(values <= tolerance * (1 + 1e-9)) + 1
    epoch = int(next(k for k in below if k % every == 0))
    rule = (f"stop.tolerance={tolerance * (1 + 1e-9)}", f"stop.watch={watch}")
    found = fit(step, *rule, f"stop.every={every}")
    assert_prefix(found, whole, epoch)
    what = "loss" if watch == "loss" else "gradient norm"
    value = values[epoch - 1]
    assert found.outcome == "converged"
    assert found.reason == f"the {what} was {value:.6g} in epoch {epoch}"


@pytest.mark.parametrize(("step", "patience"), [("manual", 1), ("model", 4)])
def test_a_run_ends_when_the_validation_loss_grows(step: str, patience: int) -> None:
    noisy = ("data.rows=12", "data.features=5", "data.noise=8", "data.validation=0.5")
    whole = fit(step, *noisy)
    curve = whole.trajectory.measured["validation/loss"]
    best = next(  # by definition: the first epoch that so many others do not improve on
        k for k in range(60) if curve[k] < curve[:k].min(initial=np.inf)
        and len(curve[k + 1 : k + 1 + patience]) == patience
        and (curve[k + 1 : k + 1 + patience] >= curve[k]).all()
    )  # fmt: skip
    assert best + patience < 59
    found = fit(step, *noisy, f"stop.patience={patience}", "stop.restore_best=false")
    assert_prefix(found, whole, best + 1 + patience)
    assert found.outcome == "converged"
    assert found.reason == (
        f"the validation loss was {curve[best]:.6g} in epoch {best + 1}, with no improvement since"
    )


@pytest.mark.parametrize("step", STEPS)
def test_a_run_ends_when_the_loss_has_grown(step: str) -> None:
    whole = fit(step, "lr=1.5")
    loss = whole.trajectory.loss
    epoch = int(np.flatnonzero(loss > 100 * loss[0])[0]) + 1
    found = fit(step, "lr=1.5", "stop.divergence=100")
    assert_prefix(found, whole, epoch)
    assert found.outcome == "diverged"
    assert found.reason == (
        f"the loss grew from {loss[0]:.6g} to {loss[epoch - 1]:.6g} by epoch {epoch}, more than "
        "100 times"
    )


@pytest.mark.parametrize("step", STEPS)
def test_without_a_rule_a_run_ends_where_it_is_no_longer_finite(step: str) -> None:
    found = fit(step, "lr=30", "iters=2000")
    assert found.outcome == "diverged"
    epoch = found.trajectory.length + 1
    assert 1 < epoch < 2000
    assert found.reason == f"a value was not finite in epoch {epoch}"
    assert np.isfinite(found.trajectory.table).all()
    assert (found.coefficients, found.scores) == ({}, {})


def test_a_run_that_is_no_longer_finite_has_not_converged() -> None:
    noisy = ("data.rows=12", "data.features=5", "data.validation=0.5", "iters=2000")
    found = fit("manual", *noisy, "lr=30", "stop.patience=2", "stop.every=2000")
    assert found.outcome == "diverged"
    assert found.reason.startswith("a value was not finite in epoch ")


def test_a_rule_that_is_never_met_changes_nothing() -> None:
    whole = fit("manual")
    found = fit("manual", "stop.tolerance=1e-300", "stop.divergence=1e30", "stop.every=13")
    assert_prefix(found, whole, 60)
    assert (found.outcome, found.reason, found.transcript) == (
        "completed", "60 epochs", whole.transcript,
    )  # fmt: skip


def test_the_outcome_and_its_reason_are_recorded(store: Path) -> None:
    from mlflow import MlflowClient

    stopped = run("step=model", *MADE, "lr=0.1", "iters=500", "stop.tolerance=0.5")
    assert stopped.run_id is not None
    found = MlflowClient(f"sqlite:///{store}/outputs/mlflow.db").get_run(stopped.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.tags["gdexp.outcome"] == "converged"
    assert found.data.tags["gdexp.reason"] == stopped.reason
    assert stopped.reason in found.data.tags["mlflow.note.content"]
    assert found.data.params["stop.tolerance"] == "0.5"
    assert found.data.metrics["final/loss"] <= 0.5

"""Both gradient sources against finite differences, and gradient descent's known properties."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp import run
from gdexp.experiment import Result
from gdexp.pytorch import Linear

numbers = st.floats(-10, 10).map(lambda v: round(v, 3))
tables = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6)


def descend(table: list[tuple[float, float]], *overrides: str) -> Result:
    x, y = ([row[i] for row in table] for i in (0, 1))
    return run(f"data.x={x}", f"data.y={y}", "tracking=off", "dtype=float64", *overrides)


def mse(table: list[tuple[float, float]], w: float, b: float) -> float:
    x, y = np.array(table).T
    return float(((w * x + b - y) ** 2).mean())


@pytest.mark.parametrize("gradient", ["manual", "autograd"])
@settings(max_examples=6, deadline=None)
@given(table=tables, start=numbers)
def test_gradients_are_finite_differences(
    gradient: str, table: list[tuple[float, float]], start: float
) -> None:
    result = descend(
        table, f"gradient={gradient}", "iters=1", "predictor.bias=true", f"predictor.init={start}"
    )
    step = 1e-4  # the loss is a parabola, so central differences are exact but for rounding
    scale = 1 + mse(table, start, start)
    along_w = mse(table, start + step, start) - mse(table, start - step, start)
    along_b = mse(table, start, start + step) - mse(table, start, start - step)
    slopes = result.trajectory.gradients
    assert slopes["w"][0] == pytest.approx(along_w / (2 * step), abs=1e-8 * scale)
    assert slopes["b"][0] == pytest.approx(along_b / (2 * step), abs=1e-8 * scale)


@settings(max_examples=8, deadline=None)
@given(table=tables, share=st.floats(0.05, 0.95), iters=st.integers(1, 40))
def test_the_error_shrinks_by_the_contraction_of_the_closed_form(
    table: list[tuple[float, float]], share: float, iters: int
) -> None:
    x, y = np.array(table).T
    if np.mean(x**2) < 1e-3:
        return
    curvature, best = 2 * np.mean(x**2), np.sum(x * y) / np.sum(x * x)
    lr = share / curvature  # below 1/curvature: monotone
    result = descend(table, "gradient=manual", f"lr={lr}", f"iters={iters}")
    expected = best - best * (1 - lr * curvature) ** np.arange(1, iters + 1)
    np.testing.assert_allclose(
        result.trajectory.parameters["w"], expected, atol=1e-9 * (1 + abs(best))
    )
    assert np.all(np.diff(result.trajectory.loss) <= 1e-9 * (1 + result.trajectory.loss[0]))


@settings(max_examples=3, deadline=None)
@given(iters=st.integers(1, 30), longer=st.integers(1, 30), lr=st.floats(0.001, 0.03))
def test_a_shorter_run_is_a_prefix_of_a_longer_one(iters: int, longer: int, lr: float) -> None:
    short, long = (run(f"lr={lr}", f"iters={n}", "tracking=off") for n in (iters, iters + longer))
    for name, values in short.trajectory.columns().items():
        assert np.array_equal(values, long.trajectory.columns()[name][:iters])


@pytest.mark.parametrize("step", ["manual", "autograd", "optimizer", "model"])
def test_divergence_is_an_outcome_and_keeps_only_finite_epochs(step: str) -> None:
    result = run(f"step={step}", "lr=0.5", "iters=1000", "tracking=off")
    assert result.outcome == "diverged"
    assert result.reason == f"a value was not finite in epoch {result.trajectory.length + 1}"
    assert 10 < result.trajectory.length < 1000
    for values in result.trajectory.columns().values():
        assert np.isfinite(values).all()


def test_a_loss_that_has_grown_is_divergence_too() -> None:
    result = run("step=manual", "lr=0.05", "iters=10", "tracking=off")
    assert result.outcome == "diverged"
    assert result.reason.startswith("the loss grew from 30 to 7.")


def test_a_run_that_starts_at_the_minimum_is_completed() -> None:
    result = run("predictor.init=2", "tracking=off")
    assert (result.outcome, result.trajectory.loss.max()) == ("completed", 0)


def test_a_copy_of_a_predictor_leaves_the_table_that_it_has_seen_behind() -> None:
    predictor, x = Linear(features=2), torch.ones(3, 2)
    expected = predictor(x)
    copied = copy.deepcopy(predictor)
    assert (copied._x.numel(), copied._rows.numel()) == (0, 0)
    assert torch.equal(copied(x), expected)

"""Repetitions of a run, summed up by mean and deviation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp.insight.repetitions import summarise


def test_repetitions_are_put_together() -> None:
    rows = [
        {"lr": lr, "seed": seed, "step": "manual", "final/loss": lr + seed, "final/w": value}
        for lr in (0.5, 1.5)
        for seed, value in enumerate((2.0, math.inf, math.nan, None))
    ]
    first, second = summarise(rows, ["seed"])
    assert first == {
        "lr": 0.5,
        "step": "manual",
        "n": 4,
        "diverged": 0,
        "unfinished": 0,
        "final/loss.mean": 2.0,
        "final/loss.std": pytest.approx(math.sqrt(5 / 3)),
        "final/loss.missing": 0,
        "final/w.mean": 2.0,
        "final/w.std": None,
        "final/w.missing": 3,
    }
    assert (second["lr"], second["final/loss.mean"]) == (1.5, 3.0)


def test_runs_of_different_params_stay_apart() -> None:
    rows: list[dict[str, Any]] = [
        {"lr": 1, "final/loss": 1.0},
        {"lr": True, "final/loss": 1.0},
        {"lr": 1, "data.x": [1, 2]},
        {"data.x": [1, 2], "lr": 1, "seed": 3, "final/loss": math.nan},
    ]
    merged = summarise(rows, ["seed"])
    assert [row["n"] for row in merged] == [1, 1, 2]
    assert (merged[2]["final/loss.mean"], merged[2]["final/loss.missing"]) == (None, 2)
    assert summarise([], ["seed"]) == []
    assert [row["n"] for row in summarise(rows, over=("seed", "lr"))] == [2, 2]


def test_the_largest_numbers_do_not_overflow() -> None:
    (row,) = summarise([{"final/w": 1.7e308}, {"final/w": -1.7e308}], [])
    assert (row["final/w.mean"], row["final/w.std"]) == (0.0, math.inf)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_mean_and_deviation_are_numpys(values: list[float]) -> None:
    (row,) = summarise([{"seed": i, "final/loss": v} for i, v in enumerate(values)], ["seed"])
    assert row["final/loss.mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert row["final/loss.std"] == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-6)

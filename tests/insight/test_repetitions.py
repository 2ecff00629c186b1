"""Runs that differ only in their seed, or in other settings, summed up by mean and deviation."""

from __future__ import annotations

import math
import re
import statistics
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp.errors import ConfigError
from gdexp.insight.repetitions import (
    best_groups,
    check_over,
    distinguishing,
    label,
    moments,
    sentence,
    summarise,
)

Rows = list[dict[str, Any]]
LOSS = "final/loss"


def test_repetitions_are_put_together() -> None:
    rows = [
        {"lr": lr, "seed": seed, "step": "manual", LOSS: lr + seed, "final/w": value}
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
    rows: Rows = [
        {"lr": 1, LOSS: 1.0},
        {"lr": True, LOSS: 1.0},
        {"lr": 1, "data.x": [1, 2]},
        {"data.x": [1, 2], "lr": 1, "seed": 3, LOSS: math.nan},
    ]
    merged = summarise(rows, ["seed"])
    assert [row["n"] for row in merged] == [1, 1, 2]
    assert (merged[2]["final/loss.mean"], merged[2]["final/loss.missing"]) == (None, 2)
    assert summarise([], ["seed"]) == []
    assert [row["n"] for row in summarise(rows, over=("seed", "lr"))] == [2, 2]


# Mean and deviation


@pytest.mark.parametrize(
    ("values", "mean", "deviation"),
    [
        ([], None, None),
        ([0.1], 0.1, None),
        ([0.1] * 3, 0.1, 0.0),  # exactly, though 0.1 + 0.1 + 0.1 is not 0.3
        ([1.7e308, -1.7e308], 0.0, math.inf),
        ([1.7e308, 1.7e308, 1.6e308], pytest.approx(5 / 3 * 1e308), 5.773502691896255e306),
        ([1e-200, 3e-200], 2e-200, pytest.approx(math.sqrt(2) * 1e-200)),
    ],
)
def test_numbers_of_any_size(values: list[float], mean: Any, deviation: Any) -> None:
    assert moments(values) == (mean, deviation)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_mean_and_deviation_are_numpys(values: list[float]) -> None:
    mean, deviation = moments(values)
    assert mean == pytest.approx(statistics.mean(values), rel=1e-12, abs=1e-9)
    assert deviation == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-6)


runs = st.fixed_dictionaries(
    {
        "step": st.sampled_from(["manual", "model"]),
        "lr": st.sampled_from(["0.1", "0.2"]),
        "seed": st.sampled_from("012"),
        "outcome": st.sampled_from(["completed", "converged", "diverged", "failed", "running"]),
        LOSS: st.floats(0, 100) | st.just(math.nan),
    }
)


@settings(deadline=None, max_examples=25)
@given(st.lists(runs, min_size=1, max_size=12), st.sampled_from([["seed"], ["seed", "lr"]]))
def test_groups_are_those_of_pandas(rows: Rows, over: list[str]) -> None:
    by = [key for key in ("step", "lr") if key not in over]
    ended = ("completed", "converged")
    table = pd.DataFrame(rows)
    expected = {}
    for key, group in table.groupby(by):
        losses = group[group.outcome.isin(ended)][LOSS]
        diverged = int((group.outcome == "diverged").sum())
        counts = len(losses), diverged, len(group) - len(losses) - diverged
        values = losses.mean(), losses.std(ddof=1), losses.isna().sum()
        expected[key] = (*counts, *(None if np.isnan(v) else pytest.approx(v) for v in values))
    names = ["n", "diverged", "unfinished", *(f"{LOSS}.{part}" for part in PARTS)]
    merged = summarise(rows, over)
    assert {tuple(g[key] for key in by): tuple(g[name] for name in names) for g in merged} == (
        expected
    )


PARTS = ("mean", "std", "missing")


# What is averaged over


def test_what_follows_from_a_setting_is_averaged_with_it() -> None:
    rows: Rows = [
        {"iters": iters, "scheduler.T_max": iters, "lr": 1, "updater.lr": 1, "data.rows": 5}
        for iters in (5, 10)
    ]
    (group,) = summarise(rows, ["iters"])
    assert group == {
        "lr": 1, "updater.lr": 1, "data.rows": 5, "n": 2, "diverged": 0, "unfinished": 0,
    }  # fmt: skip
    rows.append({"iters": 20, "scheduler.T_max": 5, "lr": 1, "updater.lr": 1, "data.rows": 5})
    assert len(summarise(rows, ["iters"])) == 2  # one was set by itself


def test_an_option_brings_its_settings_and_a_step_its_families() -> None:
    rows: Rows = [
        {"step": "manual", "updater": "manual", "gradient": "manual", "lr": 1},
        {"step": "model", "updater": "SGD", "gradient": "autograd", "lr": 1, "updater.momentum": 0},
        {"step": "model", "updater": "SGD", "gradient": "autograd", "lr": 2, "updater.momentum": 0},
    ]
    assert [group["n"] for group in summarise(rows, ["step"])] == [2, 1]
    rows[2]["updater.momentum"] = 0.9
    rows[2]["lr"] = 1
    groups = summarise(rows, ["step"])
    assert [group.get("updater.momentum") for group in groups] == [None, 0, 0.9]
    assert [group["n"] for group in summarise(rows, ["updater"])] == [1, 1, 1]  # and the gradient
    assert [group["n"] for group in summarise(rows, ["experiment"])] == [1, 1, 1]


def test_groups_are_told_apart_by_what_only_one_of_them_sets() -> None:
    rows: Rows = [
        {"lr": 1, "seed": seed, **patience}
        for patience in ({}, {"stop.patience": 5})
        for seed in (0, 1)
    ]
    groups = summarise(rows, ["seed"])
    assert distinguishing(groups) == ["stop.patience"]
    assert [label(g, ["stop.patience"]) for g in groups] == ["all runs", "stop.patience=5"]
    rows = [{"step": step, "lr": lr, "seed": 0} for step in ("a", "b") for lr in (2, 1)]
    assert distinguishing(summarise(rows, ["seed"])) == ["step", "lr"]


SEEDS: Rows = [{"lr": 0.1, "iters": 5, "seed": seed, LOSS: 1.0} for seed in range(3)]


@pytest.mark.parametrize(
    ("rows", "over", "message"),
    [
        (SEEDS, ["sed"], "no run has a setting 'sed'. Did you mean seed?"),
        (SEEDS, ["zebra"], "no run has a setting 'zebra'. The runs differ in: seed."),
        (SEEDS, [LOSS], "'final/loss' is a result, not a setting. The runs differ in: seed."),
        (SEEDS, [], "name a setting, such as seed. The runs differ in: seed."),
        (SEEDS, ["lr"], "nothing to average, as all 3 runs have lr=0.1. The runs differ in: seed."),
        (SEEDS, ["lr", "iters"], "nothing to average, as all 3 runs have lr=0.1 and iters=5."),
        (SEEDS[:1], ["seed"], "nothing to average, as the only run has seed=0. To repeat every "
                              "run with 3 seeds, add sweep.repeat=3."),
        ([], ["seed"], "there are no runs to average."),
    ],
)  # fmt: skip
def test_what_cannot_be_averaged(rows: Rows, over: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"--over: {message}")):
        check_over(rows, over, where="--over")


def test_one_setting_that_differs_is_enough() -> None:
    check_over(SEEDS, ["seed", "lr"], where="--over")


# The best


def group(mean: float | None, std: float | None = 0.1, **counts: Any) -> dict[str, Any]:
    counts = {"n": 3, "diverged": 0, "unfinished": 0} | counts
    return counts | {"final/loss.mean": mean, "final/loss.std": std}


def test_groups_that_diverged_are_the_best_only_if_all_did() -> None:
    lucky, good, single = group(0.1, n=2, diverged=1), group(1.0), group(0.01, None, n=1)
    lost = group(None, None, n=0, diverged=3)
    assert best_groups([lucky, good, single, lost]) == [good]
    assert best_groups([lost, lucky, single]) == [lucky]
    assert best_groups([single, lost]) == []
    assert best_groups([good, group(1.0000001)]) == [good, group(1.0000001)]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([group(1.0)], "Mean loss over seed: 1 ± 0.1 (n = 3)"),
        ([group(1.0, lr=1), group(0.5, lr=2)], "Smallest mean loss over seed: 0.5 ± 0.1 (n = 3) "
                                               "with lr=2"),
        ([group(1.0, lr=1, diverged=2), group(2.0, n=1, lr=2)], "Smallest mean loss over seed: "
                                                                "1 ± 0.1 (n = 3, 2 diverged) with "
                                                                "lr=1"),
        ([group(1.0, lr=1), group(1.0, lr=2)], "Smallest mean loss over seed: 1 ± 0.1 (n = 3) "
                                               "with lr=1; 1 other setting tied with it"),
        ([group(1.0, None, n=1)], ""),
    ],
)  # fmt: skip
def test_the_best_in_a_sentence(groups: Rows, words: str) -> None:
    assert sentence(groups, ["seed"]) == words

"""Points drawn from intervals, by sweep=random and sweep=sobol."""

from __future__ import annotations

import collections
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CLI, client
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc
from sweep_helpers import gd, members, sweep_of

from gdexp.errors import ConfigError
from gdexp.sweep import grids
from gdexp.sweep.grids.ranges import COMMON
from gdexp.sweep.grids.sampling import Interval

UNHURRIED = settings(deadline=None, max_examples=30)
LR = "lr=tag(log,interval(0.0001,0.1))"
MOMENTUM = "updater.momentum=interval(0,0.99)"


def drawn(kind: str, num: int, *words: str, seed: int = 0) -> list[dict[str, str]]:
    """The values of each job, by setting."""
    jobs = grids.jobs(words, sweep_of(kind, num=num, seed=seed), kind, 0)
    return [dict(text.split("=", 1) for text in job) for job in jobs]


def column(rows: list[dict[str, str]], key: str) -> list[float]:
    return [float(row[key]) for row in rows]


def test_random_points_are_those_of_pythons_generator_on_every_machine() -> None:
    rows = drawn("random", 3, LR, "iters=interval(10,1000)", MOMENTUM, seed=7)
    generator = random.Random(7)
    for row in rows:
        lr, iters, momentum = (generator.random() for _ in range(3))
        assert float(row["lr"]) == pytest.approx(0.0001 * 1000**lr, rel=1e-11)
        assert int(row["iters"]) == 10 + math.floor(991 * iters)
        assert float(row["updater.momentum"]) == pytest.approx(0.99 * momentum, rel=1e-11)
    pinned = {"lr": "0.000936479542276", "iters": "159", "updater.momentum": "0.644425128309"}
    assert rows[0] == pinned


@pytest.mark.parametrize("num", [1, 2, 7, 32])
def test_sobol_points_are_the_first_of_scipys_scrambled_sequence(num: int) -> None:
    rows = drawn("sobol", num, LR, MOMENTUM, seed=3)
    unit = qmc.Sobol(2, bits=53, rng=3).random_base2(5)[:num]
    assert column(rows, "lr") == pytest.approx(0.0001 * 1000 ** unit[:, 0], rel=1e-11)
    assert column(rows, "updater.momentum") == pytest.approx(0.99 * unit[:, 1], rel=1e-11)


def test_of_a_power_of_two_each_part_of_an_interval_has_one_sobol_point() -> None:
    rows = drawn("sobol", 64, LR, MOMENTUM)
    logs = np.log10(column(rows, "lr"))
    assert sorted(np.floor((logs + 4) / 3 * 64)) == list(range(64))
    assert sorted(np.floor(np.array(column(rows, "updater.momentum")) / 0.99 * 64)) == list(
        range(64)
    )


ends = st.floats(-1e12, 1e12)


@UNHURRIED
@given(st.sampled_from(["random", "sobol"]), ends, ends, st.integers(1, 40), st.integers(0, 2**70))
def test_points_are_distinct_within_the_interval_and_those_of_the_seed(
    kind: str, one: float, other: float, num: int, seed: int
) -> None:
    low, high = sorted((one, other))
    words = [f"predict_at=interval({low!r},{high!r})"]
    if not low < high:
        with pytest.raises(ConfigError, match=r"is not below"):
            drawn(kind, num, *words, seed=seed)
        return
    rows = drawn(kind, num, *words, seed=seed)
    assert rows == drawn(kind, num, *words, seed=seed)
    values = column(rows, "predict_at")
    assert len(values) == len(set(values)) <= num
    if high - low > 1e-6 * max(map(abs, (low, high))):
        assert len(values) == num
    assert low <= min(values)
    assert max(values) <= high
    more = drawn(kind, 2 * num, *words, seed=seed)
    assert more[: len(rows)] == rows


@UNHURRIED
@given(
    st.sampled_from(["random", "sobol"]),
    st.booleans(),
    st.integers(1, 500),
    st.integers(0, 60),
    st.integers(1, 50),
)
def test_whole_numbers_are_drawn_once_each(
    kind: str, is_log: bool, low: int, more: int, num: int
) -> None:
    call = f"int(interval({low},{low + more + 1}))"
    rows = drawn(kind, num, f"data.n={f'tag(log,{call})' if is_log else call}")
    values = [int(row["data.n"]) for row in rows]
    assert len(set(values)) == len(values) <= min(num, more + 2)
    assert set(values) <= set(range(low, low + more + 2))
    if not is_log and num <= more // 2:
        assert len(values) == num


def test_every_whole_number_of_an_interval_is_as_likely_as_the_others() -> None:
    interval = Interval("iters", 3, 7, is_log=False, is_whole=True)
    counts = collections.Counter(interval.at((i + 0.5) / 1000) for i in range(1000))
    assert counts == dict.fromkeys("34567", 200)
    logs = Interval("iters", 1, 9, is_log=True, is_whole=True)
    counts = collections.Counter(logs.at((i + 0.5) / 1000) for i in range(1000))
    shares = {str(n): math.log((n + 0.5) / (n - 0.5)) / math.log(19) for n in range(1, 10)}
    assert counts == {n: pytest.approx(1000 * share, abs=1) for n, share in shares.items()}


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_small_sets_of_whole_numbers_are_drawn_completely(kind: str) -> None:
    assert {row["iters"] for row in drawn(kind, 50, "iters=interval(1,3)")} == {"1", "2", "3"}
    assert len(drawn(kind, 50, "iters=interval(1,60)")) == 50


def test_each_point_is_combined_with_the_values_typed_and_the_seeds() -> None:
    sweep = sweep_of("random", num=2, repeat=2)
    words = ["step=manual,autograd", LR, "++updater.momentum=interval(0,0.9)", "iters=5"]
    jobs = grids.jobs(words, sweep, "random", 0)
    points = [job[2:4] for job in jobs[:4:2]]
    assert points[0] != points[1]
    assert [point[1].partition("=")[0] for point in points] == ["++updater.momentum"] * 2
    assert jobs == [
        (f"step={step}", "iters=5", *point, f"seed={seed}")
        for step in ("manual", "autograd")
        for point in points
        for seed in (0, 1)
    ]


def test_a_users_own_option_may_draw_too() -> None:
    sweep = sweep_of("sobol", num=4)
    assert grids.jobs([LR], sweep, "mine", 0) == grids.jobs([LR], sweep, "sobol", 0)
    without = {key: value for key, value in sweep.items() if key != "seed"}
    assert grids.jobs([LR], without, "mine", 0) == grids.jobs([LR], sweep, "sobol", 0)


BAD: dict[tuple[str, ...], str] = {
    (): (
        "sweep=random needs an interval to draw from. Type for example lr=interval(0.001,0.1), or "
        "lr=tag(log,interval(0.0001,0.1)) for a log scale."
    ),
    ("lr=interval(0.1,0.01)",): (
        "lr=interval(0.1,0.01): 0.1 is not below 0.01. Type lr=interval(0.01,0.1)."
    ),
    ("lr=tag(log,interval(0.1,0.01))",): (
        "lr=tag(log,interval(0.1,0.01)): 0.1 is not below 0.01. "
        "Type lr=tag(log,interval(0.01,0.1))."
    ),
    ("lr=interval(0.1,0.1)",): "lr=interval(0.1,0.1): 0.1 is not below 0.1. Type lr=0.1.",
    ("iters=interval(5,5)",): "iters=interval(5,5): 5 is not below 5. Type iters=5.",
    ("lr=tag(log,interval(0,1))",): (
        "lr=tag(log,interval(0,1)): 0.0 is not a finite number > 0. "
        "Type for example lr=tag(log,interval(0.001,0.1))."
    ),
    ("lr=interval(0,inf)",): (
        "lr=interval(0,inf): inf is not a finite number. Type for example lr=interval(0.001,0.1)."
    ),
    ("lr=interval(nan,1)",): (
        "lr=interval(nan,1): nan is not a finite number. Type for example lr=interval(0.001,0.1)."
    ),
    ("iters=interval(1.5,10)",): (
        "iters=interval(1.5,10): 1.5 is not a whole number. "
        "Type for example iters=interval(10,1000)."
    ),
    ("lr=tag(lgo,interval(1,2))",): (
        "lr=tag(lgo,interval(1,2)): there is no tag 'lgo', only log. Did you mean log?"
    ),
    ("lr=tag(fine,interval(1,2))",): (
        "lr=tag(fine,interval(1,2)): there is no tag 'fine', only log. "
        "Type for example lr=tag(log,interval(0.001,0.1))."
    ),
    ("lr=interval(1,2)", "++lr=0.1"): (
        "lr is given twice, by ++lr=0.1 and by sweep=random. Leave one of them out."
    ),
    ("lr=0.1,interval(1,2)",): (
        "lr=0.1,interval(1,2): a range cannot be one of several values. List its values."
    ),
}


@pytest.mark.parametrize(("words", "sentence"), BAD.items(), ids=map(" ".join, BAD))
def test_bad_intervals_are_refused(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        drawn("random", 3, *words)
    assert str(refused.value) == sentence


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "num missing": ({"num": None}, "sweep=sobol needs sweep.num. Type for example sweep.num=50."),
    "num=0": (
        {"num": 0},
        "sweep.num: 0 is not a whole number >= 1. Type for example sweep.num=50.",
    ),
    "seed=-1": (
        {"seed": -1},
        "sweep.seed: -1 is not a whole number >= 0. Type for example sweep.seed=0.",
    ),
    "seed=null": (
        {"seed": None},
        "sweep.seed: null is not a whole number >= 0. Type for example sweep.seed=0.",
    ),
    "low=1": (
        {"low": 1},
        f"sweep.low: sweep=sobol has no setting 'low'. It has: {', '.join(COMMON)}, num, seed.",
    ),
}


@pytest.mark.parametrize(("changed", "sentence"), SETTINGS.values(), ids=list(SETTINGS))
def test_bad_settings_of_the_draw_are_refused(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        grids.jobs([LR], sweep_of("sobol", **{"num": 3} | changed), "sobol", 0)
    assert str(refused.value) == sentence


ANYWHERE = {
    "lrr=interval(0,1)": "lrr: a run has no setting 'lrr'. Did you mean lr?",
    "step=interval(0,1)": "step=interval(0,1): step is not a number. "
    "It is one of: autograd, manual, model, optimizer.",
    "dtype=interval(1,2)": "dtype: 1.84442185153 is not one of float32, float64. "
    "Type for example dtype=float32.",
    "scheduler=StepLR scheduler.step_size=interval(2,8)": "scheduler.step_size=interval(2,8): "
    "scheduler.step_size is a whole number. Type scheduler.step_size=int(interval(2,8)).",
    "data=synthetic data.rows=interval(10,12345678)": "data.rows=interval(10,12345678): "
    "data.rows is a whole number. Type data.rows=int(interval(10,12345678)).",
    "lr=interval(-2,-1)": "lr: -1.15557814847 is not a finite number > 0. "
    "Type for example lr=0.01.",
    "tracking.uri=interval(0,1)": "tracking.uri=interval(0,1): all runs of a sweep are recorded in "
    "one experiment of one store, so tracking.uri has one value. Start one sweep for each of them.",
}


@pytest.mark.parametrize(("typed", "sentence"), ANYWHERE.items(), ids=list(ANYWHERE))
def test_an_interval_of_what_is_no_number_is_refused_by_the_command_line(
    typed: str, sentence: str, workdir: Path, cli: CLI
) -> None:
    ended = cli("-m", "step=model", "sweep=random", "sweep.num=3", *typed.split())
    assert (ended.code, ended.out, ended.err) == (2, "", f"gdexp: {sentence}\n")
    assert not (workdir / "outputs").exists()


def test_hydras_basic_sweeper_draws_no_points(workdir: Path, cli: CLI) -> None:
    ended = cli("-m", "hydra/sweeper=basic", LR)
    assert ended.code == 2
    assert ended.err.startswith(f"gdexp: {LR} is a continuous range. To draw values from it, add ")
    assert not (workdir / "outputs").exists()


@pytest.mark.slow
def test_such_a_sweep_is_recorded_and_resumed(store: Path) -> None:
    words = "-m", "sweep=sobol", "sweep.num=4", "lr=tag(log,interval(0.001,0.01))", "iters=3"
    ended = gd(*words)
    assert ended.code == 0, ended.err
    found = members(client(store))
    jobs = grids.jobs(words[1:], sweep_of("sobol", num=4), "sobol", 0)
    assert [r.data.tags["gdexp.overrides"] for r in found] == [" ".join(job) for job in jobs]
    assert {r.data.tags["gdexp.together"] for r in found} == {"4"}
    resumed = gd(*words, "sweep.resume=last")
    assert resumed.code == 0, resumed.err
    assert "4 finished, 0 to run" in resumed.err
    others = gd(*words, "sweep.resume=last", "sweep.seed=1")
    assert others.code == 2
    assert "was started with other jobs (4 of 4 are gone, 4 are new)" in others.err


def test_the_words_are_those_of_hydras_optuna_sweeper() -> None:
    for word in (LR, MOMENTUM, "iters=int(interval(10,1000))"):
        assert OverridesParser.create().parse_override(word).is_interval_sweep()

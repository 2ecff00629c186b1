"""The grids of the group ``sweep``: their values and the jobs they make."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import CONF
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from sweep_helpers import sweep_of

from gdexp.config.compose import session
from gdexp.errors import ConfigError
from gdexp.sweep import grids
from gdexp.sweep.grids.ranges import COMMON, KINDS
from gdexp.sweep.grids.values import typed

OPTIONS = CONF / "sweep"
UNHURRIED = settings(deadline=None)  # a busy machine fails no test


def spaced(option: str, low: float, high: float, num: int, **more: Any) -> list[str]:
    """The texts of a log or linear grid."""
    ends = {"key": "lr", "low": low, "high": high, "num": num} | more
    (axis,) = grids.axes(sweep_of(option, **ends), option)
    return [alternative[0].partition("=")[2] for alternative in axis]


@pytest.mark.parametrize("option", list(KINDS))
def test_an_options_file_has_exactly_the_settings_that_are_checked(option: str) -> None:
    node = sweep_of(option)
    assert {key for key in node if not key.startswith("_")} == ((COMMON | KINDS[option]).keys())
    text = (OPTIONS / f"{option}.yaml").read_text()
    assert text.startswith("# ")
    for line in text.splitlines()[1:]:
        assert line.startswith(("_kind_", "defaults")) or "  # " in line


def test_the_yaml_files_are_every_kind_there_is() -> None:
    assert {path.stem for path in OPTIONS.glob("*.yaml")} == set(KINDS)


SPACED = {
    ("log", 0.001, 0.1, 3): ["0.001", "0.01", "0.1"],
    ("log", 1e-05, 0.1, 5): ["1e-05", "0.0001", "0.001", "0.01", "0.1"],
    ("log", 1, 100, 3): ["1", "10", "100"],
    ("log", 1, 10, 3): ["1", "3.16227766017", "10"],
    ("log", 0.5, 0.5, 1): ["0.5"],
    ("linear", 0.1, 0.5, 5): ["0.1", "0.2", "0.3", "0.4", "0.5"],
    ("linear", -0.3, 0.3, 5): ["-0.3", "-0.15", "0.0", "0.15", "0.3"],
    ("linear", 0, 1, 4): ["0", "0.333333333333", "0.666666666667", "1"],
    ("linear", 1.0, 3.0, 3): ["1.0", "2.0", "3.0"],
    ("linear", 10**15, 10**15 + 2, 3): [str(10**15 + i) for i in range(3)],
    ("linear", -1e308, 1e308, 3): ["-1e+308", "0.0", "1e+308"],
}


@pytest.mark.parametrize(("given", "texts"), SPACED.items())
def test_values_are_short_and_exact(given: tuple[str, float, float, int], texts: list) -> None:
    assert spaced(*given) == texts


def test_whole_numbers_are_whole_and_each_is_there_once() -> None:
    assert spaced("log", 10, 1000, 5, key="iters") == ["10", "32", "100", "316", "1000"]
    assert spaced("log", 1, 4, 10, key="iters") == ["1", "2", "3", "4"]
    assert spaced("log", 1, 100_000_000, 3, key="iters") == ["1", "10000", "100000000"]
    assert spaced("linear", 10, 100, 10, key="iters") == [str(n) for n in range(10, 101, 10)]
    assert spaced("linear", 1, 10, 5, key="iters") == ["1", "3", "6", "8", "10"]
    assert spaced("log", 7, 7, 1, key="seed") == ["7"]
    assert spaced("log", 10, 1000, 5, key="data.n", whole=True)[1] == "32"
    assert spaced("log", 10, 1000, 5, key="data.n")[1] == "31.6227766017"


positive = st.floats(1e-300, 1e300)


@UNHURRIED
@given(st.sampled_from(["log", "linear"]), positive, positive, st.integers(2, 60))
def test_a_grid_is_even_increasing_and_includes_its_ends(
    option: str, one: float, other: float, num: int
) -> None:
    low, high = sorted((one, other))
    assume(high > low * (1 + 1e-6))
    texts = spaced(option, low, high, num)
    assert (texts[0], texts[-1], len(texts)) == (repr(low), repr(high), num)
    values = [float(text) for text in texts]
    assert values == sorted(set(values))
    scaled = [math.log(v) if option == "log" else v for v in values]
    step = (scaled[-1] - scaled[0]) / (num - 1)
    for a, b in itertools.pairwise(scaled):
        assert b - a == pytest.approx(step, abs=4e-12 * max(map(abs, scaled)), rel=1e-4)


@UNHURRIED
@given(st.sampled_from(["log", "linear"]), st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_grid_over_iters_is_whole(option: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    values = [int(t) for t in spaced(option, low, high, 1 if low == high else 20, key="iters")]
    assert (values[0], values[-1]) == (low, high)
    assert values == sorted(set(values))


@pytest.mark.slow
@UNHURRIED
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_a_value_is_read_as_what_it_was(value: Any) -> None:
    assume("${" not in repr(value))
    text = typed(value)
    read = OverridesParser.create().parse_override(f"key={text}").value()
    assert repr(read) == repr(value)


ORDERS = [
    [],
    ["lr=0.10"],
    ["lr=0.1,0.2", "iters=1,2"],
    ["step=manual,autograd", "lr=0.1", "iters=range(1,4)"],
    ["iters=range(5,0,-2)", "seed=choice(3,1)", "lr=range(3)"],
    ["lr=0.1,0.2", "iters=1", "lr=0.3"],
    ["data.x=[1,2],[3,4]", "data.name='a b','1'", "+updater.momentum=0,1e-3", "~loss"],
    ["step=glob(*,exclude=m*)", "lr=sort(3,1,2)", "x@y=1,2"],
]


@pytest.mark.parametrize("words", ORDERS, ids=" ".join)
def test_jobs_are_those_of_hydras_own_sweeper_in_its_order(words: list[str]) -> None:
    with session():
        loader = GlobalHydra.instance().config_loader()
        overrides = OverridesParser.create(loader).parse_overrides(words)
        (theirs,) = BasicSweeper.split_arguments(overrides, None)
        ours = grids.jobs(words, sweep_of("grid"), "grid", 0, loader=loader)
    assert [list(job) for job in ours] == theirs


axis = st.lists(st.integers(-99, 99), min_size=1, max_size=4)


@UNHURRIED
@given(st.lists(axis, max_size=3), st.integers(1, 3))
def test_any_product_is_hydras_with_the_seeds_last(values: list[list[int]], repeat: int) -> None:
    words = [f"k{i}={','.join(map(str, v))}" for i, v in enumerate(values)]
    overrides = OverridesParser.create().parse_overrides(words)
    (theirs,) = BasicSweeper.split_arguments(overrides, None)
    ours = grids.jobs(words, sweep_of("grid", repeat=repeat), "grid", 7)
    seeds = [[f"seed={7 + i}"] for i in range(repeat)] if repeat > 1 else [[]]
    assert [list(job) for job in ours] == [job + seed for job in theirs for seed in seeds]


def test_typed_then_grid_then_seeds() -> None:
    sweep = sweep_of("log", key="lr", low=0.01, high=0.1, num=2, repeat=2)
    words = ["sweep=log", "sweep.key=lr", "step=manual,model", "seed=5", "iters=3"]
    jobs = grids.jobs(words, sweep, "log", 5)
    assert jobs == [
        (f"step={step}", "iters=3", f"lr={lr}", f"seed={seed}")
        for step in ("manual", "model")
        for lr in ("0.01", "0.1")
        for seed in (5, 6)
    ]


def test_zipped_lists_go_together_and_may_choose_options() -> None:
    lists = {"step": ["model", "manual"], "updater.momentum": [0.9, 0], "data.x": [[1, 2], [3]]}
    sweep = sweep_of("zip", lists=lists)
    assert grids.axes(sweep, "zip") == [
        [
            ("step=model", "updater.momentum=0.9", "data.x=[1,2]"),
            ("step=manual", "updater.momentum=0", "data.x=[3]"),
        ]
    ]


def test_a_csv_file_is_a_job_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = '\ufeffstep, lr,data.x\nmanual,1e-3,"[1,2]"\n\nmodel , 0.10 ,[3]\n,,\n'
    Path("jobs.csv").write_text(text, encoding="utf-8")
    assert grids.axes(sweep_of("csv", path="jobs.csv"), "csv") == [
        [("step=manual", "lr=1e-3", "data.x=[1,2]"), ("step=model", "lr=0.10", "data.x=[3]")]
    ]


def test_a_users_own_option_is_of_the_kind_that_it_includes() -> None:
    sweep = sweep_of("log", key="lr", low=0.01, high=0.1, num=2)
    assert grids.axes(sweep, "rates") == grids.axes(sweep, "log")
    node = OmegaConf.create({"lr": 0.01, "sweep": sweep | {"low": "${lr}"}})
    assert grids.axes(node.sweep, "rates") == grids.axes(sweep, "log")


def test_a_hundred_thousand_jobs_take_a_few_times_what_their_texts_take() -> None:
    words = ["step=manual,autograd", "lr=range(0.001,0.1005,0.001)", "iters=range(1,501)"]
    started = time.process_time()
    jobs = grids.jobs(words, sweep_of("grid"), "grid", 0)
    made = time.process_time()
    texts = [tuple(f"{text}" for text in job) for job in jobs]
    assert made - started < 10 * (time.process_time() - made)
    assert len(texts) == 100_000


VAST: dict[str, tuple[dict[str, Any], int]] = {
    "iters=range(1,1000001)": (sweep_of("grid", repeat=10**6), 10**12),
    "iters=range(1,10001)": (sweep_of("log", key="lr", low=0.001, high=0.1, num=10**12), 10**16),
    f"seed=range(0,{10**30})": (sweep_of("grid"), 10**30),
}


@pytest.mark.parametrize(("word", "case"), VAST.items(), ids=list(VAST))
def test_too_many_jobs_are_counted_without_listing_them(
    word: str, case: tuple[dict[str, Any], int]
) -> None:
    sweep, count = case  # to list them would take for ever
    with pytest.raises(ConfigError, match=rf"^the sweep has {count} runs, and sweep\.max_runs="):
        grids.jobs([word], sweep, str(sweep["_kind_"]), 0)


RANGES = {
    "0.1,0.4,0.1": [0.1, 0.2, 0.3],
    "0.1,0.3,0.1": [0.1, 0.2],
    "0.4,0.1,-0.1": [0.4, 0.3, 0.2],
    "0,1,0.25": [0.0, 0.25, 0.5, 0.75],
    "1,4,1.0": [1.0, 2.0, 3.0],
    "0.001,0.0011,0.00005": [0.001, 0.00105],
    "1e-9,4e-9,1e-9": [1e-9, 2e-9, 3e-9],
    "0.7,0.8,0.1": [0.7],
    "1,4": [1, 2, 3],
    "4,1,-1": [4, 3, 2],
    "1,10,2": [1, 3, 5, 7, 9],
    "1,9,3": [1, 4, 7],
}


@pytest.mark.parametrize("bounds", RANGES)
def test_a_range_excludes_its_stop_whatever_the_rounding(bounds: str) -> None:
    expected = [(f"lr={value!r}",) for value in RANGES[bounds]]
    assert grids.jobs([f"lr=range({bounds})"], sweep_of("grid"), "grid", 0) == expected
    shuffled = grids.jobs([f"lr=shuffle(range({bounds}))"], sweep_of("grid"), "grid", 0)
    assert sorted(shuffled) == sorted(expected)
    for flag, is_reversed in (("false", False), ("true", True)):
        word = f"lr=sort(range({bounds}),reverse={flag})"
        values = sorted(RANGES[bounds], reverse=is_reversed)
        assert grids.jobs([word], sweep_of("grid"), "grid", 0) == [(f"lr={v!r}",) for v in values]


@UNHURRIED
@given(st.integers(-30, 30), st.integers(-30, 30), st.sampled_from([0.1, 0.3, -0.1, 2, -3, 1]))
def test_a_range_is_counted_as_it_is_listed(start: int, stop: int, step: float) -> None:
    word = f"lr=range({start / 10},{stop / 10},{step})"
    in_tenths = range(start, stop, round(step * 10))
    assume(in_tenths)
    exactly = sweep_of("grid", max_runs=len(in_tenths))
    listed = grids.jobs([word], exactly, "grid", 0)
    assert listed == [(f"lr={tenths / 10!r}",) for tenths in in_tenths]
    if len(in_tenths) > 1:
        fewer = sweep_of("grid", max_runs=len(in_tenths) - 1)
        with pytest.raises(ConfigError, match=rf"^the sweep has {len(in_tenths)} runs"):
            grids.jobs([word], fewer, "grid", 0)

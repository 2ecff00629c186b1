"""The grids of the group ``sweep``: their values, the jobs they make, and what they refuse."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import CHECKOUT
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from gdexp.config.compose import session
from gdexp.errors import ConfigError
from gdexp.sweep import grids
from gdexp.sweep.grids.ranges import COMMON, NEEDED, WHOLE
from gdexp.sweep.grids.values import typed

CONF = CHECKOUT / "conf" / "sweep"
UNHURRIED = settings(deadline=None)  # a busy machine fails no test
KNOWN = ("lr", "iters", "seed", "step", "updater.momentum", "data.name", "data.x")
EXAMPLE = "Type for example 'sweep.lists={lr:[0.1,0.01],iters:[10,100]}'."


def sweep_of(option: str, **changed: Any) -> dict[str, Any]:
    """The settings of an option's YAML file, with some of them changed."""
    node: dict[str, Any] = yaml.safe_load((CONF / f"{option}.yaml").read_text())
    included = [sweep_of(name) for name in node.pop("defaults", [])]
    return {key: value for part in [*included, node, changed] for key, value in part.items()}


def spaced(option: str, low: float, high: float, num: int, **more: Any) -> list[str]:
    """The texts of a log or linear grid."""
    ends = {"key": "lr", "low": low, "high": high, "num": num} | more
    (axis,) = grids.axes(sweep_of(option, **ends), option)
    return [alternative[0].partition("=")[2] for alternative in axis]


@pytest.mark.parametrize("option", list(NEEDED))
def test_an_options_file_has_exactly_the_settings_that_are_checked(option: str) -> None:
    node = sweep_of(option)
    assert {key for key in node if not key.startswith("_")} == (
        (COMMON | NEEDED[option] | (WHOLE if "num" in NEEDED[option] else {})).keys()
    )
    text = (CONF / f"{option}.yaml").read_text()
    assert text.startswith("# ")
    for line in text.splitlines()[1:]:
        assert line.startswith(("_kind_", "defaults")) or "  # " in line


def test_the_yaml_files_are_every_kind_there_is() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(NEEDED)


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
    ["lr=range(0.1,0.5,0.1)", "seed=choice(3,1)"],
    ["lr=range(0.1,0.3,0.1)", "iters=range(5,0,-2)"],
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
        number = grids.count(words, sweep_of("grid"), "grid", loader=loader)
    assert [list(job) for job in ours] == theirs
    assert number == len(theirs)


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
    assert grids.axes(sweep, "zip", known=KNOWN) == [
        [
            ("step=model", "updater.momentum=0.9", "data.x=[1,2]"),
            ("step=manual", "updater.momentum=0", "data.x=[3]"),
        ]
    ]


def test_a_csv_file_is_a_job_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = '\ufeffstep, lr,data.x\nmanual,1e-3,"[1,2]"\n\nmodel , 0.10 ,[3]\n,,\n'
    Path("jobs.csv").write_text(text, encoding="utf-8")
    assert grids.axes(sweep_of("csv", path="jobs.csv"), "csv", known=KNOWN) == [
        [("step=manual", "lr=1e-3", "data.x=[1,2]"), ("step=model", "lr=0.10", "data.x=[3]")]
    ]


def test_a_users_own_option_is_of_the_kind_that_it_includes() -> None:
    sweep = sweep_of("log", key="lr", low=0.01, high=0.1, num=2)
    assert grids.axes(sweep, "rates") == grids.axes(sweep, "log")
    node = OmegaConf.create({"lr": 0.01, "sweep": sweep | {"low": "${lr}"}})
    assert grids.axes(node.sweep, "rates") == grids.axes(sweep, "log")


def test_a_hundred_thousand_jobs_take_about_a_second() -> None:
    started = time.perf_counter()
    words = ["step=manual,autograd", "lr=range(0.001,0.1005,0.001)", "iters=range(1,501)"]
    assert len(grids.jobs(words, sweep_of("grid"), "grid", 0)) == 100_000
    assert time.perf_counter() - started < 5


def test_a_million_million_jobs_are_counted_at_once() -> None:
    started = time.perf_counter()
    sweep = sweep_of("grid", repeat=10**6)
    assert grids.count(["iters=range(1,1000001)"], sweep, "grid") == 10**12
    with pytest.raises(ConfigError, match="the sweep has 1000000000000 runs"):
        grids.jobs(["iters=range(1,1000001)"], sweep, "grid", 0)
    vast = sweep_of("log", key="lr", low=0.001, high=0.1, num=10**12)
    assert grids.count(["iters=range(1,10001)"], vast, "log") == 10**16
    assert grids.count([f"seed=range(0,{10**30})"], sweep_of("grid"), "grid") == 10**30
    assert time.perf_counter() - started < 5


@UNHURRIED
@given(st.integers(-30, 30), st.integers(-30, 30), st.sampled_from([0.1, 0.3, -0.1, 2, -3, 1]))
def test_a_range_is_counted_as_it_is_listed(start: int, stop: int, step: float) -> None:
    word = f"lr=range({start / 10},{stop / 10},{step})"
    (theirs,) = BasicSweeper.split_arguments([OverridesParser.create().parse_override(word)], None)
    assume(theirs)
    assert grids.count([word], sweep_of("grid"), "grid") == len(theirs)


def log(**changed: Any) -> dict[str, Any]:
    """A log grid over lr."""
    return sweep_of("log", **{"key": "lr", "low": 0.001, "high": 0.1, "num": 3} | changed)


def linear(**changed: Any) -> dict[str, Any]:
    """A linear grid over lr."""
    return log(**changed) | {"_kind_": "linear"}


def zipped(lists: Any) -> dict[str, Any]:
    """Zipped lists."""
    return sweep_of("zip", lists=lists)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "repeat=0": (
        sweep_of("grid", repeat=0),
        "sweep.repeat: 0 is not a whole number >= 1. Type for example sweep.repeat=3.",
    ),
    "repeat=2.0": (
        sweep_of("grid", repeat=2.0),
        "sweep.repeat: 2.0 is not a whole number >= 1. Did you mean sweep.repeat=2?",
    ),
    "resume=3": (
        sweep_of("grid", resume=3),
        "sweep.resume: 3 is not null or a text. Type for example sweep.resume=last.",
    ),
    "skip_finished=2": (
        sweep_of("grid", skip_finished=2),
        "sweep.skip_finished: 2 is not true or false. Type for example sweep.skip_finished=true.",
    ),
    "on_error=halt": (
        sweep_of("grid", on_error="halt"),
        "sweep.on_error: 'halt' is not one of continue, stop. "
        "Type for example sweep.on_error=stop.",
    ),
    "dry_run=x": (
        sweep_of("grid", dry_run="x"),
        "sweep.dry_run: 'x' is not true or false. Type for example sweep.dry_run=true.",
    ),
    "max_runs=0": (
        sweep_of("grid", max_runs=0),
        "sweep.max_runs: 0 is not a whole number >= 1. Type for example sweep.max_runs=1000000.",
    ),
    "repat=2": (
        sweep_of("grid", repat=2),
        "sweep.repat: sweep=grid has no setting 'repat'. It has: repeat, resume, skip_finished, "
        "on_error, dry_run, max_runs. Did you mean sweep.repeat?",
    ),
    "log with nothing": (
        sweep_of("log"),
        "sweep=log needs sweep.key and sweep.low and sweep.high and sweep.num. Type for example "
        "sweep.key=lr sweep.low=0.001 sweep.high=0.1 sweep.num=5.",
    ),
    "log without low": (
        log(low="???"),
        "sweep=log needs sweep.low. Type for example sweep.low=0.001.",
    ),
    "linear without key": (
        linear(key=None),
        "sweep=linear needs sweep.key. Type for example sweep.key=lr.",
    ),
    "zip without lists": (
        sweep_of("zip"),
        f"sweep=zip needs sweep.lists. {EXAMPLE}",
    ),
    "csv without path": (
        sweep_of("csv"),
        "sweep=csv needs sweep.path. Type for example sweep.path=jobs.csv.",
    ),
    "num=0": (
        log(num=0),
        "sweep.num: 0 is not a whole number >= 1. Type for example sweep.num=5.",
    ),
    "num=1": (
        log(num=1),
        "sweep.num: one value cannot be both sweep.low=0.001 and sweep.high=0.1. "
        "Type sweep.num=2 or more.",
    ),
    "log low=0": (
        log(low=0),
        "sweep.low: 0 is not a finite number > 0. Type for example sweep.low=0.001.",
    ),
    "log low=-1": (
        log(low=-1.0),
        "sweep.low: -1.0 is not a finite number > 0. Type for example sweep.low=0.001.",
    ),
    "log high=inf": (
        log(high=math.inf),
        "sweep.high: inf is not a finite number > 0. Type for example sweep.high=0.1.",
    ),
    "linear high=abc": (
        linear(high="abc"),
        "sweep.high: 'abc' is not a finite number. Type for example sweep.high=0.1.",
    ),
    "low > high": (
        log(low=0.1, high=0.01),
        "sweep.low: 0.1 is not below sweep.high=0.01. Type sweep.low=0.01 sweep.high=0.1.",
    ),
    "low = high": (
        linear(low=0.1, high=0.1),
        "sweep.low: 0.1 is not below sweep.high=0.1. Type sweep.num=1.",
    ),
    "ends too near": (
        linear(low=1.0, high=1.0000000000000002),
        "sweep.num: 3 values from 1.0 to 1.0000000000000002 cannot be told apart. "
        "Type fewer, or ends further apart.",
    ),
    "iters from 1.5": (
        log(key="iters", low=1.5, high=10),
        "sweep.low: 1.5 is not a whole number. Type for example sweep.low=2.",
    ),
    "iters to 1e3": (
        log(key="iters", low=1, high=1000.0),
        "sweep.high: 1000.0 is not a whole number. Did you mean sweep.high=1000?",
    ),
    "key=lrr": (
        log(key="lrr"),
        "sweep.key: there is no setting 'lrr'. Did you mean lr?",
    ),
    "key=3": (
        log(key=3),
        "sweep.key: 3 is not a text. Type for example sweep.key=lr.",
    ),
    "num=10**12": (
        log(num=10**12),
        "the sweep has 1000000000000 runs, and sweep.max_runs=1000000. "
        "Type sweep.max_runs=1000000000000 to run them all.",
    ),
    "lists=3": (
        zipped(3),
        f"sweep.lists: 3 gives no setting a list of values. {EXAMPLE}",
    ),
    "lists={}": (
        zipped({}),
        f"sweep.lists: {{}} gives no setting a list of values. {EXAMPLE}",
    ),
    "lists={lr:[]}": (
        zipped({"lr": []}),
        f"sweep.lists: lr is given an empty list. {EXAMPLE}",
    ),
    "lists={lr:0.1}": (
        zipped({"lr": 0.1}),
        f"sweep.lists: lr is given 0.1, not a list. {EXAMPLE}",
    ),
    "lists={zebra:[1]}": (
        zipped({"zebra": [1]}),
        "sweep.lists: there is no setting 'zebra'. python -m gdexp --help lists every setting.",
    ),
    "lists of different lengths": (
        zipped({"lr": [0.1, 0.2], "iters": [10], "seed": [1, 2]}),
        "sweep.lists: lr has 2 values and iters has 1 value. "
        "Give both as many: the i-th of each go together.",
    ),
    "an option that includes none of ours": (
        {"_kind_": "lgo"},
        "sweep=lgo: the option is none of grid, log, linear, zip, csv. Include one of them in it, "
        "as in defaults: [log]. Did you mean sweep=log?",
    ),
}


@pytest.mark.parametrize(("sweep", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_bad_settings_are_refused(sweep: Mapping[str, Any], sentence: str) -> None:
    option = str(sweep["_kind_"])
    with pytest.raises(ConfigError) as refused:
        grids.axes(sweep, option, known=KNOWN)
    assert str(refused.value) == sentence
    with pytest.raises(ConfigError) as refused:
        grids.jobs([], OmegaConf.create(dict(sweep)), option, 0, known=KNOWN)
    assert str(refused.value) == sentence


TYPED: dict[tuple[str, ...], tuple[dict[str, Any], str]] = {
    ("lr=",): (sweep_of("grid"), "lr= gives lr no value. Type lr=A or lr=A,B to run each."),
    ("lr=choice()",): (
        sweep_of("grid"),
        "lr=choice() gives lr no value. Type lr=A or lr=A,B to run each.",
    ),
    ("iters=range(3,3)",): (
        sweep_of("grid"),
        "iters=range(3,3) gives iters no value. Type iters=A or iters=A,B to run each.",
    ),
    ("lr=range(0,1,0)",): (
        sweep_of("grid"),
        "lr=range(0,1,0) has no end of values. Type for example lr=range(1,10,2).",
    ),
    ("lr=range(0,inf)",): (
        sweep_of("grid"),
        "lr=range(0,inf) has no end of values. Type for example lr=range(1,10,2).",
    ),
    ("lr=interval(0.1,1)",): (
        sweep_of("grid"),
        "lr=interval(0.1,1) has no end of values. Type sweep=linear sweep.key=lr sweep.low=0.1 "
        "sweep.high=1.0 sweep.num=5.",
    ),
    ("lr",): (sweep_of("grid"), "'lr' cannot be read as key=value, as in lr=0.05."),
    ("lr=0.1,",): (sweep_of("grid"), "'lr=0.1,' cannot be read as key=value, as in lr=0.05."),
    ("sweep.repeat=1,2",): (
        sweep_of("grid"),
        "sweep.repeat=1,2 names several values: start one sweep for each of them.",
    ),
    ("lr=0.1,0.2",): (
        log(),
        "lr is given twice, by lr=0.1,0.2 and by sweep=log. Leave one of them out.",
    ),
    ("++lr=0.1",): (
        log(),
        "lr is given twice, by ++lr=0.1 and by sweep=log. Leave one of them out.",
    ),
    ("seed=0,1",): (
        sweep_of("grid", repeat=3),
        "seed is given twice, by seed=0,1 and by sweep.repeat=3. Leave one of them out.",
    ),
    ("lr=1",): (
        zipped({"seed": [1, 2]}) | {"repeat": 2},
        "seed is given twice, by sweep=zip and by sweep.repeat=2. Leave one of them out.",
    ),
    ("lr=0.1,0.2", "iters=range(1,500001)"): (
        sweep_of("grid", repeat=1000000),
        "the sweep has 1000000000000 runs, and sweep.max_runs=1000000. "
        "Type sweep.max_runs=1000000000000 to run them all.",
    ),
    ("iters=1,2",): (
        sweep_of("grid", max_runs=1),
        "the sweep has 2 runs, and sweep.max_runs=1. Type sweep.max_runs=2 to run them all.",
    ),
    ("seed=7",): (
        sweep_of("grid", repeat=2**32),
        "seed: 4294967302 is not a whole number from 0 to 4294967295. Type for example seed=0.",
    ),
}


@pytest.mark.parametrize(("words", "case"), TYPED.items(), ids=map(" ".join, TYPED))
def test_bad_axes_are_refused(words: tuple[str, ...], case: tuple[dict[str, Any], str]) -> None:
    sweep, sentence = case
    with pytest.raises(ConfigError) as refused:
        grids.jobs(words, sweep, str(sweep["_kind_"]), 7)
    assert str(refused.value) == sentence


NO_JOBS = (
    "jobs.csv has no jobs. Its first line names settings, as in lr,iters, and each of the others "
    "gives their values, as in 0.01,20."
)
FILES = {
    "": NO_JOBS,
    "\n\n": NO_JOBS,
    "lr,iters\n": NO_JOBS,
    "lrr\n1\n": "jobs.csv, line 1: there is no setting 'lrr'. Did you mean lr?",
    "0.1,10\n0.2,20\n": "jobs.csv, line 1: there is no setting '0.1'. "
    "python -m gdexp --help lists every setting.",
    "lr,lr\n1,2\n": "jobs.csv names lr twice. Leave one of them out.",
    "lr,iters\n1,2\n\n3\n": "jobs.csv, line 4: 1 value for the settings lr, iters. Type 2 of them.",
    "lr,iters\n1,2,3\n": "jobs.csv, line 2: 3 values for the settings lr, iters. Type 2 of them.",
    "lr,iters\n1,\n": "jobs.csv, line 2: iters has no value. Type one, or '' for an empty text.",
    'lr\n"1,2"\n': "jobs.csv, line 2: lr=1,2 names several values. Give each a line.",
    'lr\n"range(1,3)"\n': "jobs.csv, line 2: lr=range(1,3) names several values. Give each a line.",
    "data.x\n[1\n": "jobs.csv, line 2: 'data.x=[1' cannot be read as key=value, as in lr=0.05.",
}


@pytest.mark.parametrize(("text", "sentence"), FILES.items(), ids=map(repr, FILES))
def test_bad_files_are_refused(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jobs.csv").write_text(text)
    with pytest.raises(ConfigError) as refused:
        grids.axes(sweep_of("csv", path="jobs.csv"), "csv", known=KNOWN)
    assert str(refused.value) == f"sweep.path: {sentence}"


def test_files_that_are_none(tmp_path: Path) -> None:
    def refusal(name: str) -> str:
        with pytest.raises(ConfigError) as refused:
            grids.axes(sweep_of("csv", path=str(tmp_path / name)), "csv")
        return str(refused.value).replace(str(tmp_path), "DIR")

    assert refusal("missing.csv") == (
        "sweep.path: there is no file DIR/missing.csv. Name a CSV file."
    )
    (tmp_path / "jobs.csv").write_bytes(b"lr\n\xff\xfe\n")
    assert refusal("job.csv") == "sweep.path: there is no file DIR/job.csv. Did you mean jobs.csv?"
    assert refusal(".") == "sweep.path: DIR is a folder. Name a CSV file, as in jobs.csv."
    assert refusal("jobs.csv").startswith("sweep.path: DIR/jobs.csv cannot be read as a CSV file (")
    (tmp_path / "jobs.csv").write_text('lr\n"1\n')
    assert refusal("jobs.csv").endswith("as a CSV file (unexpected end of data).")


def test_repetitions_are_put_together() -> None:
    rows = [
        {"lr": lr, "seed": seed, "step": "manual", "final/loss": lr + seed, "final/w": value}
        for lr in (0.5, 1.5)
        for seed, value in enumerate((2.0, math.inf, math.nan, None))
    ]
    first, second = grids.summarise(rows)
    assert first == {
        "lr": 0.5,
        "step": "manual",
        "count": 4,
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
    found = grids.summarise(rows)
    assert [row["count"] for row in found] == [1, 1, 2]
    assert (found[2]["final/loss.mean"], found[2]["final/loss.missing"]) == (None, 2)
    assert grids.summarise([]) == []
    assert [row["count"] for row in grids.summarise(rows, ignore=("seed", "lr"))] == [2, 2]


def test_the_largest_numbers_do_not_overflow() -> None:
    (row,) = grids.summarise([{"final/w": 1.7e308}, {"final/w": -1.7e308}])
    assert (row["final/w.mean"], row["final/w.std"]) == (0.0, math.inf)


@UNHURRIED
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_mean_and_deviation_are_numpys(values: list[float]) -> None:
    (row,) = grids.summarise([{"seed": i, "final/loss": v} for i, v in enumerate(values)])
    assert row["final/loss.mean"] == pytest.approx(np.mean(values), abs=1e-6)
    assert row["final/loss.std"] == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-6)

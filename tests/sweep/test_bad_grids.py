"""What the grids of the group ``sweep`` refuse: settings, axes and files of jobs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import CLI
from omegaconf import OmegaConf
from sweep_helpers import sweep_of

from gdexp.errors import ConfigError
from gdexp.sweep import grids

EXAMPLE = "Type for example 'sweep.lists={lr:[0.1,0.01],iters:[10,100]}'."


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
        "sweep.resume: 3 is not null or a string. Type for example sweep.resume=last.",
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
        "on_error, dry_run, vectorize, memory, max_runs. Did you mean sweep.repeat?",
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
        "sweep.num: 3 values from 1.0 to 1.0000000000000002 are not all different. "
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
    "key=3": (
        log(key=3),
        "sweep.key: 3 is not a string. Type for example sweep.key=lr.",
    ),
    "num=10**12": (
        log(num=10**12),
        "the sweep has 1000000000000 runs, and sweep.max_runs=1000000. "
        "Type sweep.max_runs=1000000000000 to run them all.",
    ),
    "lists=3": (
        zipped(3),
        f"sweep.lists: 3 does not map settings to lists. {EXAMPLE}",
    ),
    "lists={}": (
        zipped({}),
        f"sweep.lists: {{}} does not map settings to lists. {EXAMPLE}",
    ),
    "lists={lr:[]}": (
        zipped({"lr": []}),
        f"sweep.lists: lr is an empty list. {EXAMPLE}",
    ),
    "lists={lr:0.1}": (
        zipped({"lr": 0.1}),
        f"sweep.lists: lr is 0.1, not a list. {EXAMPLE}",
    ),
    "lists of different lengths": (
        zipped({"lr": [0.1, 0.2], "iters": [10], "seed": [1, 2]}),
        "sweep.lists: lr has 2 values and iters has 1 value. "
        "Give both the same number: they are paired in order.",
    ),
    "an option that includes none of ours": (
        {"_kind_": "lgo"},
        "sweep=lgo: the option is none of grid, log, linear, zip, csv, random, sobol and must "
        "include one of them, as in defaults: [log]. Did you mean sweep=log?",
    ),
}


@pytest.mark.parametrize(("sweep", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_bad_settings_are_refused(sweep: Mapping[str, Any], sentence: str) -> None:
    option = str(sweep["_kind_"])
    with pytest.raises(ConfigError) as refused:
        grids.axes(sweep, option)
    assert str(refused.value) == sentence
    with pytest.raises(ConfigError) as refused:
        grids.jobs([], OmegaConf.create(dict(sweep)), option, 0)
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
        "lr=range(0,1,0) never ends. Type for example lr=range(1,10,2).",
    ),
    ("lr=range(0,inf)",): (
        sweep_of("grid"),
        "lr=range(0,inf) never ends. Type for example lr=range(1,10,2).",
    ),
    ("lr=interval(0.1,1)",): (
        sweep_of("grid"),
        "lr=interval(0.1,1) is a continuous range. To draw values from it, add sweep=random "
        "sweep.num=50; for evenly spaced ones, type sweep=linear sweep.key=lr sweep.low=0.1 "
        "sweep.high=1.0 sweep.num=5.",
    ),
    ("++iters=tag(log,interval(1,9))",): (
        sweep_of("grid"),
        "++iters=tag(log,interval(1,9)) is a continuous range. To draw values from it, add "
        "sweep=random sweep.num=50; for evenly spaced ones, type sweep=log sweep.key=iters "
        "sweep.low=1 sweep.high=9 sweep.num=5.",
    ),
    ("lr",): (sweep_of("grid"), "'lr' cannot be read as key=value, as in lr=0.05."),
    ("lr=0.1,",): (
        sweep_of("grid"),
        "'lr=0.1,' cannot be read as key=value, since a value is missing beside a comma.",
    ),
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
    "jobs.csv has no jobs. Its first line names settings, as in lr,iters, and each further line "
    "gives their values, as in 0.01,20."
)
FILES = {
    "": NO_JOBS,
    "\n\n": NO_JOBS,
    "lr,iters\n": NO_JOBS,
    "0.1,10\n0.2,20\n": "jobs.csv, line 1: there is no setting '0.1'. "
    "python -m gdexp --help lists every setting.",
    "lr,lr\n1,2\n": "jobs.csv names lr twice. Leave one of them out.",
    "lr,iters\n1,2\n\n3\n": "jobs.csv, line 4: 1 value for the settings lr, iters. Type 2 of them.",
    "lr,iters\n1,2,3\n": "jobs.csv, line 2: 3 values for the settings lr, iters. Type 2 of them.",
    "lr,iters\n1,\n": "jobs.csv, line 2: iters has no value. Type one, or '' for an empty string.",
    'lr\n"1,2"\n': "jobs.csv, line 2: lr=1,2 names several values. Give each a line.",
    'lr\n"range(1,3)"\n': "jobs.csv, line 2: lr=range(1,3) names several values. Give each a line.",
    "data.x\n[1\n": "jobs.csv, line 2: 'data.x=[1' cannot be read as key=value, since a "
    "bracket is not closed.",
}


@pytest.mark.parametrize(("text", "sentence"), FILES.items(), ids=map(repr, FILES))
def test_bad_files_are_refused(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jobs.csv").write_text(text)
    with pytest.raises(ConfigError) as refused:
        grids.axes(sweep_of("csv", path="jobs.csv"), "csv")
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


UNKNOWN = {
    "sweep=log sweep.key=lrr sweep.low=0.1 sweep.high=1 sweep.num=2": "lrr: a run has no setting "
    "'lrr'. Did you mean lr?",
    "sweep=zip sweep.lists={zebra:[1]}": "zebra: a run has no setting 'zebra'. "
    "python -m gdexp --help lists every setting.",
    "sweep=zip sweep.lists={step:[model,modle]}": "step=modle: there is no such option. step is "
    "one of: autograd, manual, model, optimizer. Did you mean step=model?",
    "sweep=csv sweep.path=jobs.csv": "updater.momentm: updater=SGD has no setting 'momentm'. It "
    "has: lr, momentum, dampening, weight_decay, nesterov, maximize, foreach, differentiable, "
    "fused. Did you mean updater.momentum?",
    "sweep=csv sweep.path=added.csv": "lr: -1 is not a finite number > 0. Type for example "
    "lr=0.01.",
    "sweep.repeet=2": "sweep.repeet: sweep=grid has no setting 'repeet'. It has: repeat, resume, "
    "skip_finished, on_error, dry_run, vectorize, memory, max_runs. Did you mean sweep.repeat?",
    "sweep.repeat=1,2": "sweep.repeat=1,2 names several values: start one sweep for each of them.",
}


@pytest.mark.parametrize(("typed", "sentence"), UNKNOWN.items(), ids=list(UNKNOWN))
def test_a_grid_over_something_unknown_is_refused_by_the_command_line(
    typed: str, sentence: str, workdir: Path, cli: CLI
) -> None:
    (workdir / "jobs.csv").write_text("step,updater.momentm\nmodel,0.9\n")
    (workdir / "added.csv").write_text("++lr\n0.1\n-1\n")
    ended = cli("-m", *typed.split())
    assert (ended.code, ended.out, ended.err) == (2, "", f"gdexp: {sentence}\n")
    assert not (workdir / "outputs").exists()

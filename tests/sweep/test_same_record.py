"""A run alone and the same run in a sweep leave the same record, whatever is chosen and set.

Every option of every group is swept over its own settings, two changed at a time: the record of
each job is held against that of its overrides typed alone. Only the sweep's id and the job's number
may differ.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers import CONF, client, runs
from omegaconf import OmegaConf
from record_helpers import assert_alike, recorded
from sweep_helpers import gd, members

from gdexp.config import schema
from gdexp.sweep.grids.axis import ONE_STORE
from gdexp.sweep.grids.values import typed
from gdexp.sweep.launcher import Launch

GROUPS = ("step", "predictor", "gradient", "loss", "updater", "scheduler", "data")
BY_HAND = {"manual", "manual_sum", "manual_logistic", "manual_momentum", "manual_nesterov"}
BY_HAND |= {"manual_adam"}
ONES_AND_ZEROS = "data.y=[0,0,1,1]"
COMPANY = {  # the other choices that an option needs to make sense
    "predictor=mlp": "gradient=autograd",
    "predictor=model": "gradient=autograd",
    "gradient=manual_logistic": f"loss=manual_logistic {ONES_AND_ZEROS}",
    "loss=manual_logistic": f"gradient=autograd {ONES_AND_ZEROS}",
    "loss=BCEWithLogitsLoss": f"gradient=autograd {ONES_AND_ZEROS}",
    "loss=CrossEntropyLoss": f"predictor=model gradient=autograd {ONES_AND_ZEROS}",
    "data=synthetic": "gradient=manual",
    "updater=Muon": "step=model",
    "scheduler=CyclicLR": "updater=manual_momentum",
    "scheduler=OneCycleLR": "updater=manual_momentum",
    "data=csv": "data.path=table.csv data.target=y",
    "data=parquet": "data.path=table.parquet data.target=y",
    "data=diabetes": "data.standardize=true",
}
VALUES: dict[str, Any] = {  # where a value does not follow from the default
    "dtype": "float64",
    "device": "auto",
    "print_every": 2,
    "check.gradient": "every",
    "stop.tolerance": 5.0,
    "stop.watch": {"stop.watch": "gradient", "stop.tolerance": 9.0},
    "stop.patience": {"stop.patience": 1, "data.validation": 0.25},
    "stop.divergence": 1.5,
    "checkpoint.every": 2,
    "data.batch_size": 2,
    "data.validation": 0.25,
    "loss.reduction": "sum",
    "predictor.activation": "ReLU",
    "predictor.sizes": [8, 4],
    "updater.betas": [0.8, 0.99],
    "updater.etas": [0.4, 1.3],
    "updater.step_sizes": [1e-5, 40],
    "updater.foreach": True,
    "updater.fused": True,
    "updater.max_eval": 3,
    "updater.line_search_fn": "strong_wolfe",
    "updater.ns_coefficients": [3.0, -4.0, 2.0],
    "updater.adjust_lr_fn": "match_rms_adamw",
    "updater=SGD updater.nesterov": {"updater.nesterov": True, "updater.momentum": 0.5},
    "updater=Adafactor updater.eps": [None, 0.002],
    "updater=Adafactor updater.d": 2.0,
    "scheduler.milestones": [2, 3],
    "scheduler.step_size_down": 2,
    "scheduler.anneal_strategy": "linear",
    "scheduler.epochs": 2,
    "scheduler.steps_per_epoch": 3,
    "scheduler.scale_mode": "iterations",
    "scheduler.max_momentum": 0.95,
    "scheduler.threshold_mode": "abs",
    "scheduler=CyclicLR scheduler.mode": "triangular2",
    "scheduler=ReduceLROnPlateau scheduler.mode": "max",
    "scheduler=CosineAnnealingLR scheduler.T_max": 4,
    "scheduler=OneCycleLR scheduler.total_steps": 9,
    "data=csv data.path": "other.csv",
    "data=parquet data.path": "other.parquet",
    "data.target": "x",
    "data=csv data.features": ["z"],
    "data=parquet data.features": ["z"],
    "data.name": "mine",
    "data.drop": ["z"],
    "data.decimal": {
        "data.decimal": "comma",
        "data.separator": "semicolon",
        "data.path": "commas.csv",
    },
    "data.thousands": "apostrophe",
    "data.encoding": "latin1",
    "data.comment": "%",
    "data.header": True,
    "data.missing": "drop",
    "data=csv data.separator": {"data.separator": "semicolon", "data.path": "semicolons.csv"},
    "data=synthetic data.condition": {"data.condition": 2.0, "data.features": 2},
    "data=tutorial data.x": [1, 2, 3, 5],
    "data=tutorial data.y": [2, 4, 6, 9],
}
NOT_SWEPT = {  # settings that cannot be set from the command line, alone or in a sweep
    "scheduler.last_epoch": "gdexp continues a run by continue_from",
    "scheduler.scale_fn": "it is a function",
    "updater.capturable": "torch needs a GPU for it, and refuses it in the first update",
    "updater.differentiable": "torch cannot update autograd's parameters so, and it is refused",
    "continue_from": "a run's id: see the test of its own",
    "trust": "what continue_from may name; it is not recorded",
}
RUN_NAME, NOTE = "mlflow.runName", "mlflow.note.content"
FAST = ("updater=manual_momentum", "data=tutorial")
OPTIONS = [
    pytest.param(option, marks=[] if option in FAST else pytest.mark.slow)
    for group in GROUPS
    for option in sorted(f"{group}={path.stem}" for path in CONF.glob(f"{group}/*.yaml"))
]


def company_of(option: str) -> dict[str, str]:
    """The words to be typed beside an option."""
    group, _, name = option.partition("=")
    default = ""
    if group in ("loss", "updater") and name not in BY_HAND:
        default = "step=autograd" if group == "loss" else "step=optimizer"
    return dict(word.split("=", 1) for word in COMPANY.get(option, default).split())


def settings_of(option: str) -> dict[str, Any]:
    """The settings in an option's YAML file, with their defaults."""
    group, _, name = option.partition("=")
    node = OmegaConf.load(CONF / group / f"{name}.yaml")
    run = OmegaConf.create({"lr": 0.01, "iters": 5, "own": node})
    own = OmegaConf.to_container(run.own, resolve=True)
    named = {f"{group}.{key}": value for key, value in own.items() if key[0] != "_"}
    named.pop("step.defaults", None)  # a preset has no settings
    return {key: value for key, value in named.items() if key not in NOT_SWEPT}


def changed(option: str, key: str, default: Any) -> dict[str, Any]:
    """Another value than the default, with what has to change beside it."""
    value = VALUES.get(f"{option} {key}", VALUES.get(key))
    if isinstance(value, dict):
        return value
    if value is not None:
        return {key: value}
    match default:
        case bool():
            return {key: not default}
        case int():
            return {key: default + 1}
        case float():
            return {key: default / 2 or 0.1}
    raise LookupError(f"VALUES has to say what else than {default!r} {key} can be with {option}")


def in_pairs(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each change with one that is listed far from it: neighbours may exclude each other."""
    half = (len(changes) + 1) // 2
    pairs = itertools.zip_longest(changes[:half], changes[half:], fillvalue={})
    return [first | second for first, second in pairs]


def write_jobs(defaults: Mapping[str, Any], changes: list[dict[str, Any]]) -> None:
    """The file of a sweep: all defaults in one line, and one line for each change of them."""
    keys = list(dict.fromkeys([*defaults, *itertools.chain(*changes)]))
    row = {key: schema.default_of(key) for key in keys} | dict(defaults)
    with Path("jobs.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(keys)
        lines.writerows(map(typed, (row | change).values()) for change in [{}, *changes])


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> set[int | None]:
    """The numbers of the jobs that a sweep does not compute together."""
    numbers: set[int | None] = set()
    alone = Launch._run_alone

    def spy(self: Launch, job: Any, recorder: Any) -> None:
        numbers.add(job.number)
        alone(self, job, recorder)

    monkeypatch.setattr(Launch, "_run_alone", spy)
    return numbers


@pytest.fixture
def tables(store: Path) -> Path:
    """A working folder with a store and some tables."""
    table = pd.DataFrame({"x": [1.0, 2, 3, 4], "z": [2.0, 1, 2, 1], "y": [2.0, 4, 6, 8]})
    table.to_csv("table.csv", index=False)
    table.to_csv("semicolons.csv", index=False, sep=";")
    table.to_csv("commas.csv", index=False, sep=";", decimal=",")
    table.to_parquet("table.parquet")
    table.assign(y=table.y + 1).to_csv("other.csv", index=False)
    table.assign(y=table.y + 1).to_parquet("other.parquet")
    return store


def words_of(settings: Mapping[str, Any]) -> list[str]:
    return [f"{key}={typed(value)}" for key, value in settings.items()]


def check_same(
    folder: Path, one_by_one: set[int | None], words: list[str], changes: list[dict[str, Any]]
) -> None:
    """Run the sweep in jobs.csv, and each of its jobs alone; hold the records against each other.

    Alone, a job is typed without the settings that are as they were.
    """
    ended = gd("-m", *words, "sweep=csv", "sweep.path=jobs.csv")
    opened = client(folder)
    swept = members(opened)
    assert len(swept) == len(changes), ended.err
    known = {run.info.run_id for run in runs(opened)}
    for change in changes:
        gd(*words, *words_of(change))
    alone = [run for run in runs(opened) if run.info.run_id not in known]
    assert len(alone) == len(swept)
    for number, (member, single) in enumerate(zip(swept, alone, strict=True)):
        by_hand = {member.data.params[family] for family in schema.FAMILIES} <= BY_HAND
        assert_alike(
            unnamed(recorded(opened, member)),
            unnamed(recorded(opened, single)),
            exactly=by_hand or number in one_by_one,
            where=member.info.run_name,
        )


def unnamed(record: dict[str, Any]) -> dict[str, Any]:
    """A record without the words that were typed, in which the two differ."""
    tags = {k: v for k, v in record["tags"].items() if k not in ("gdexp.overrides", RUN_NAME)}
    command, tags[NOTE] = re.fullmatch("(`.*`) (.*)", tags[NOTE]).groups()
    assert command.startswith("`python -m gdexp ")
    return {k: v for k, v in record.items() if k != "name"} | {"tags": tags}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_and_its_settings(
    tables: Path, one_by_one: set[int | None], option: str
) -> None:
    company, defaults = company_of(option), settings_of(option) or {"seed": 0}
    needed = {key: company.pop(key) for key in defaults if key in company}
    defaults |= needed
    changes = in_pairs([changed(option, key, default) for key, default in defaults.items()])
    write_jobs(defaults, changes)
    words = [*map("=".join, company.items()), option, "iters=5"]
    check_same(tables, one_by_one, words, [needed, *(needed | change for change in changes)])


@pytest.mark.slow
@pytest.mark.parametrize("step", ["step=manual gradient=manual", "step=model"])
def test_every_setting_of_a_run(tables: Path, one_by_one: set[int | None], step: str) -> None:
    defaults = {key: schema.default_of(key) for key in schema.HINTS if key not in NOT_SWEPT}
    defaults["data.metrics"] = False  # as the tutorial has it
    changes = [changed(step, key, default) for key, default in defaults.items()]
    changes = [{"iters": 5} | change for change in changes]
    write_jobs(defaults, changes)
    check_same(tables, one_by_one, step.split(), [{}, *changes])


@pytest.mark.parametrize(
    ("key", "default", "value"),
    [
        ("tracking.max_points", 1000, 3),
        pytest.param("tracking.log_model", False, True, marks=pytest.mark.slow),
    ],
)
def test_how_a_run_is_recorded(
    tables: Path, one_by_one: set[int | None], key: str, default: Any, value: Any
) -> None:
    write_jobs({key: default}, [{key: value}])
    check_same(tables, one_by_one, ["iters=9"], [{}, {key: value}])


def test_all_else_of_the_group_tracking_is_where_runs_are_recorded() -> None:
    one_store = {key.partition(".")[2] for key in ONE_STORE if "." in key}
    assert one_store == schema.TRACKING.keys() - {
        *("max_points", "max_rows", "log_model", "git_diff"),
    }


@pytest.mark.slow
def test_going_on_from_a_checkpoint(tables: Path, one_by_one: set[int | None]) -> None:
    gd("iters=4", "checkpoint.every=2")
    first = client(tables).search_runs(["1"], order_by=["attributes.start_time DESC"])[0]
    changes = [{"iters": iters, "continue_from": first.info.run_id} for iters in (6, 9)]
    write_jobs({"iters": 5}, changes)
    check_same(tables, one_by_one, [], [{"iters": 5}, *changes])


@pytest.mark.parametrize(
    ("word", "reason"),
    {
        "tracking=mlflow,off": "so tracking has one value.",
        "tracking.enabled=true,false": "so tracking.enabled has one value.",
        "tracking.uri='sqlite:///a.db','sqlite:///b.db'": "so tracking.uri has one value.",
        "tracking.experiment=a,b": "so tracking.experiment has one value.",
        "sweep=grid,log": "names several values: start one sweep for each of them.",
        "sweep.repeat=1,2": "names several values: start one sweep for each of them.",
        "sweep.on_error=continue,stop": "names several values: start one sweep for each of them.",
        "sweep.dry_run=true,false": "names several values: start one sweep for each of them.",
        "hydra.launcher.workers=1,2": "names several values: start one sweep for each of them.",
        "hydra.verbose=interval(0,1)": "names several values: start one sweep for each of them.",
    }.items(),
)
@pytest.mark.parametrize("sweeper", ["grid", pytest.param("basic", marks=pytest.mark.slow)])
def test_what_is_not_swept_is_refused(workdir: Path, word: str, reason: str, sweeper: str) -> None:
    ended = gd("-m", word, f"hydra/sweeper={sweeper}")
    assert ended.code == 2
    assert ended.err.startswith("gdexp: ")
    assert reason in ended.err
    assert not list(workdir.iterdir())


def test_a_file_of_jobs_cannot_vary_the_store(workdir: Path) -> None:
    write_jobs({"lr": 0.1, "tracking.experiment": "a"}, [{"tracking.experiment": "b"}])
    ended = gd("-m", "sweep=csv", "sweep.path=jobs.csv")
    assert ended.code == 2
    assert "sweep=csv: all runs of a sweep are recorded in one experiment" in ended.err
    assert [path.name for path in workdir.iterdir()] == ["jobs.csv"]

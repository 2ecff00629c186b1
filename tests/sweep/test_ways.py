"""However the jobs of a sweep are run, they leave the same records; one by one costs little."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from helpers import client
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from record_helpers import assert_alike, recorded
from sweep_helpers import gd, members

from gdexp import data
from gdexp.config.job import Job
from gdexp.tracking import describe
from gdexp.tracking.run_record import RunRecord
from gdexp.tracking.sql_store import SqlStore
from gdexp.tracking.tags import ENVIRONMENT

SWEEP = ("step=manual,model", "lr=0.05,0.01", "iters=5", "data.metrics=true")
WATCH = """
from hydra.experimental.callback import Callback

class Watch(Callback):
    def on_job_end(self, config, job_return, **kwargs):
        with open("seen.txt", "a") as file:
            print(config.lr, job_return.status.name, file=file)
"""
WAYS = {
    "basic": ["hydra/launcher=basic"],
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "engine": ["hydra.launcher.engine=joblib", "hydra.launcher.workers=2"],
    "callback": ["+hydra.callbacks.mine._target_=own_callback.Watch"],
    "basic sweeper": ["hydra/sweeper=basic"],
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_run_a_sweep_leaves_the_same_records(
    store: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    Path("own_callback.py").write_text(WATCH)
    monkeypatch.syspath_prepend(store)
    assert gd("-m", *SWEEP, "hydra.sweep.dir=outputs/ours").code == 0
    ended = gd("-m", *SWEEP, "hydra.sweep.dir=outputs/theirs", *WAYS[way])
    assert ended.code == 0, ended.err
    opened = client(store)
    ours, theirs = members(opened, "ours"), members(opened, "theirs")
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        assert one.data.tags["gdexp.job"] == other.data.tags["gdexp.job"]
        exactly = one.data.params["step"] == "manual"
        here, there = recorded(opened, one), recorded(opened, other)
        if way in ("joblib", "engine"):  # workers may have fewer threads
            assert {*here["tags"]} == {*there["tags"]}
            there["tags"] |= {ENVIRONMENT: here["tags"][ENVIRONMENT]}
        assert_alike(here, there, exactly=exactly, where=way)
    if way == "callback":
        seen = Path("seen.txt").read_text().splitlines()
        assert seen == [f"{lr} COMPLETED" for lr in (0.05, 0.01)] * 2


def test_one_by_one_means_no_hydra_job_and_one_composition_one_table_and_few_transactions(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = counted(monkeypatch, ConfigLoaderImpl, "load_sweep_config")
    made = counted(monkeypatch, data, "synthetic")
    written = counted(monkeypatch, SqlStore, "write")
    words = ["data=synthetic", "data.rows=37", "iters=3", "gradient=manual"]
    axes = ["updater=manual,manual_momentum", "lr=0.01,0.02,0.03,0.04"]
    ended = gd("-m", *words, *axes, "check.gradient=every")
    assert ended.code == 0, ended.err
    assert "8 of 8 runs one after another: check.gradient=every cannot be vectori" in ended.err
    assert len(members(client(store))) == 8
    assert len(composed) == 2  # once for each updater
    assert len(made) == 1
    assert len(written) == 3  # the summary's beginning, all runs, the summary's end
    assert not list(store.rglob(".hydra"))


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[None]:
    """Every call of a function from now on."""
    calls: list[None] = []
    original = getattr(owner, name)

    @functools.wraps(original)
    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, counting)
    return calls


def test_a_run_that_cannot_be_described_has_failed_and_is_not_lost(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = describe.record

    def record(job: Job, *args: Any, **kwargs: Any) -> RunRecord:
        if job.settings["lr"] == 0.02:
            raise KeyError("color")
        return original(job, *args, **kwargs)

    monkeypatch.setattr(describe, "record", record)
    ended = gd("-m", "lr=0.01,0.02,0.03", "iters=3")
    assert ended.code == 1
    assert "1 of 3 runs failed:\n  lr=0.02 iters=3  'color'\n" in ended.err
    assert [run.data.params["lr"] for run in members(client(store))] == ["0.01", "0.03"]

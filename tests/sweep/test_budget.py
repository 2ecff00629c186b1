"""A sweep keeps to its budget of rows: its curves are thinned alike, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import artifact, client, curve
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import gd, members, table

from gdexp import run
from gdexp.config.job import Job
from gdexp.sweep import budget

GRID = ("-m", "step=manual", "lr=0.01,0.02", "iters=50,100")  # 3 curves each: 900 points
CURVES = ("train/loss", "param/w", "grad/w")
Sizes = st.lists(st.tuples(st.integers(1, 400), st.integers(2, 300), st.integers(1, 9)), min_size=1)


def jobs_of(sizes: list[tuple[int, int, int]]) -> list[Job]:
    """Jobs of this many epochs, points at most and curves."""
    return [
        Job({"iters": iters, "tracking": {"max_points": most}, "curves": curves}, {}, number=i)
        for i, (iters, most, curves) in enumerate(sizes)
    ]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def curves(jobs: list[Job]) -> Any:
        return np.array([job.settings["curves"] for job in jobs], float)

    monkeypatch.setattr(budget, "_curves", curves)


@given(sizes=Sizes, limit=st.integers(1, 100_000))
def test_curves_get_as_many_points_as_fit(sizes: list[tuple[int, int, int]], limit: int) -> None:
    def rows(allowed: int) -> int:
        return sum(curves * min(iters, most, allowed) for iters, most, curves in sizes)

    jobs = jobs_of(sizes)
    with pytest.MonkeyPatch.context() as patch:
        counts = np.array([curves for *_, curves in sizes], float)
        patch.setattr(budget, "_curves", lambda jobs: counts)
        thinned = budget.within_budget(jobs, {"enabled": True, "max_rows": limit})
    best = max((p for p in range(2, 401) if rows(p) <= limit), default=2)
    for job, new in zip(jobs, thinned, strict=True):
        points, iters = job.settings["tracking"]["max_points"], job.settings["iters"]
        allowed = new.settings["tracking"]["max_points"]
        assert min(allowed, iters) == min(points, iters, best)
        assert (new is job) or new.typed[-1] == f"tracking.max_points={allowed}"
        assert new.config_hash == job.config_hash


def test_without_a_budget_nothing_is_thinned(counted: None) -> None:
    jobs = jobs_of([(300, 300, 9)])
    for tracking in ({"enabled": True, "max_rows": None}, {"enabled": False, "max_rows": 2}):
        assert budget.within_budget(jobs, tracking) == jobs


def test_where_more_runs_follow_they_share_the_budget(
    counted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking = {"enabled": True, "max_rows": 900}
    (job,) = budget.within_budget(jobs_of([(300, 300, 3)]), tracking, runs=10)
    assert job.settings["tracking"]["max_points"] == 30
    assert "9,000 points, more than tracking.max_rows=900, so" in capsys.readouterr().err


@pytest.mark.parametrize(
    "typed",
    [
        ("step=manual",),
        ("step=model", "predictor.bias=true", "scheduler=StepLR"),
        ("data=diabetes", "lr=1e-5", "step=autograd", "data.validation=0.2"),
        ("data=diabetes", "lr=1e-5", "step=model", "predictor=mlp", "check.gradient=every"),
    ],
)
def test_the_curves_are_counted_as_they_are_recorded(workdir: Path, typed: tuple[str, ...]) -> None:
    result = run(*typed, "iters=3", "tracking=off")
    assert result.job is not None
    assert budget._count(result.job) == len(result.trajectory.columns())


def test_a_thinned_sweep_keeps_its_ends_and_every_number(store: Path) -> None:
    ended = gd(*GRID, "tracking.max_rows=100")
    assert ended.code == 0
    (line,) = [line for line in ended.err.splitlines() if "max_rows" in line and "so" in line]
    assert line == (
        "the curves of all runs have 900 points, more than tracking.max_rows=100, so each keeps at "
        "most 8; trajectory.parquet has every epoch"
    )
    assert ended.err.startswith(line)  # before anything runs
    opened = client(store)
    for member in members(opened)[::3]:
        thinned = {name: curve(opened, member.info.run_id, name) for name in CURVES}
        alone = run(*member.data.tags["gdexp.overrides"].split(), "tracking.max_points=1000")
        every = opened.get_run(str(alone.run_id))
        assert member.data.metrics == every.data.metrics
        assert member.data.params == every.data.params
        iters = int(member.data.params["iters"])
        for name, steps in thinned.items():
            assert len(steps) == 8
            assert {1, iters} < steps.keys()
            assert steps.items() <= curve(opened, every.info.run_id, name).items()
        file = artifact(opened, member.info.run_id, "trajectory.parquet")
        assert pq.read_table(file).num_rows == iters
    for row, member in zip(table(opened), members(opened), strict=True):
        assert {name: float(row[name]) for name in member.data.metrics} == member.data.metrics


def test_a_resumed_sweep_may_have_another_budget(store: Path) -> None:
    assert gd(*GRID, "tracking.max_rows=100").code == 0
    opened = client(store)
    opened.delete_run(members(opened)[0].info.run_id)
    assert gd(*GRID, "tracking.max_rows=100", "sweep.resume=last").code == 0
    assert {len(curve(opened, m.info.run_id, "train/loss")) for m in members(opened)} == {8}
    opened.delete_run(members(opened)[0].info.run_id)
    assert gd(*GRID, "tracking.max_rows=null", "sweep.resume=last").code == 0
    lengths = [len(curve(opened, m.info.run_id, "train/loss")) for m in members(opened)]
    assert lengths == [50, 8, 8, 8]


def test_two_points_are_the_fewest(store: Path) -> None:
    ended = gd(*GRID, "tracking.max_rows=1")
    assert "so each keeps at most 2, the fewest, which still make 24; traj" in ended.err
    opened = client(store)
    for member in members(opened):
        steps = curve(opened, member.info.run_id, "train/loss").keys()
        assert steps == {1, int(member.data.params["iters"])}


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("0", "tracking.max_rows: 0 is not null or a whole number >= 1."),
        ("1e6", "tracking.max_rows: 1000000.0 is not null or a whole number >= 1."),
        ("1,2", "tracking.max_rows=1,2 names several values: start one sweep for each of them."),
    ],
)
def test_a_budget_is_one_whole_number(workdir: Path, typed: str, message: str) -> None:
    ended = gd("-m", "lr=0.01,0.02", f"tracking.max_rows={typed}")
    assert ended.code == 2
    assert message in ended.err
    assert [*workdir.iterdir()] == []

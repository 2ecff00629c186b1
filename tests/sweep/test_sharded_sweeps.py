"""Whole sweeps in shards, whose tasks are computed in this process."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from helpers import client
from hydra.core.utils import JobReturn, JobStatus
from record_helpers import assert_alike, recorded
from sweep_helpers import gd, members

from gdexp import sweep
from gdexp.errors import StoreError
from gdexp.sweep.shards import executor, launch, task
from gdexp.tracking import delivery, spool

LOCAL = "hydra/launcher=submitit_local"


class Task:
    """A task that has ended, as submitit shows it."""

    def __init__(self, number: int) -> None:
        self.job_id = f"7{number}"
        self.paths = type("Paths", (), {name: Path("no", name) for name in ("stderr", "stdout")})

    def done(self) -> bool:
        return True


class Cluster:
    """Computes each shard in this process when it is submitted.

    Attributes:
        shards: those that were submitted.
        times: how often each is computed, as if its task were started again.
        lost: the numbers of the shards whose tasks die at once.
    """

    def __init__(self) -> None:
        self.shards: list[task.Shard] = []
        self.times = 1
        self.lost: set[int] = set()

    def submit(self, launcher: Any, shards: Sequence[task.Shard]) -> list[Task]:
        for shard in shards:
            self.shards.append(shard)
            for _ in range(0 if shard.number in self.lost else self.times):
                for path in shard.exchange.files(shard.number):
                    path.unlink()  # as if it had been killed before it could write this one
                pickle.loads(pickle.dumps(shard))()
        return [Task(shard.number) for shard in shards]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(executor, "submit", made.submit)
    monkeypatch.setattr(executor, "parallel", lambda launcher: 3)
    monkeypatch.setattr(executor, "threads", lambda number: nullcontext())
    monkeypatch.setattr(task, "_end_with", lambda leader: None)
    return made


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_records_are_those_of_a_sweep_here(store: Path, cluster: Cluster, times: int) -> None:
    cluster.times = times
    typed = ("-m", "lr=0.01,0.05,10", "updater=manual,manual_adam", "iters=5")
    ended = gd(*typed, "hydra.sweep.dir=outputs/tasks", LOCAL)
    assert ended.code == 0, ended.err
    assert f"6 runs in {len(cluster.shards)} task" in ended.err
    assert "lr=0.05 updater=manual iters=5: diverged, loss " in ended.err
    assert ": 6 runs: 4 completed, 2 diverged. Best: " in ended.err
    assert gd(*typed, "hydra.sweep.dir=outputs/here").code == 0
    opened = client(store)
    pairs = zip(members(opened, "here"), members(opened, "tasks"), strict=True)
    for one, other in pairs:
        assert one.data.tags["gdexp.job"] == other.data.tags["gdexp.job"]
        assert_alike(recorded(opened, one), recorded(opened, other), exactly=True)
    assert spool.files(spool.folder()) == []
    assert not (store / "outputs" / "tasks" / "shards").exists()


@pytest.mark.slow
def test_a_checkpoint_of_a_run_that_is_computed_again(store: Path, cluster: Cluster) -> None:
    cluster.times = 2
    ended = gd("-m", "lr=0.01,0.02", "iters=6", "checkpoint.every=3", LOCAL)
    assert ended.code == 0, ended.err
    runs = members(client(store))
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    assert not any("gdexp.process" in run.data.tags for run in runs)
    points = client(store).get_metric_history(runs[0].info.run_id, "param/w")
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    names = [file.path for file in client(store).list_artifacts(runs[0].info.run_id, "checkpoints")]
    assert len(names) == 2


def test_without_tracking_the_results_come_back(workdir: Path, cluster: Cluster) -> None:
    ended = gd("-m", "tracking=off", "lr=0.001,0.002", "iters=5", LOCAL)
    assert ended.code == 0, ended.err
    assert "#1 tracking=off lr=0.002 iters=5: completed, " in ended.err
    assert ended.err.splitlines()[-1].startswith("Best: #1 tracking=off lr=0.002 iters=5,")
    assert not (workdir / "outputs" / "spool").exists()
    table = sweep("tracking=off", LOCAL, lr=[0.001, 0.002], iters=5)
    assert [len(result.trajectory.loss) for result in table.result] == [5, 5]


@pytest.mark.slow
def test_a_run_that_fails_is_reported(store: Path, cluster: Cluster, mine: tuple[str, ...]) -> None:
    ended = gd("-m", *mine, "loss.breaks=false,true", "lr=0.01,0.02", "iters=3", LOCAL)
    assert ended.code == 1
    assert "2 of 4 runs failed:\n" in ended.err
    assert "lr=0.02 iters=3  no more\n" in ended.err
    opened = client(store)
    statuses = [run.info.status for run in members(opened)]
    assert statuses == ["FINISHED", "FINISHED", "FAILED", "FAILED"]
    files = opened.list_artifacts(members(opened)[3].info.run_id)
    assert "traceback.txt" in {file.path for file in files}


@pytest.mark.slow
def test_the_first_failure_stops_a_sweep(
    store: Path, cluster: Cluster, mine: tuple[str, ...]
) -> None:
    words = (*mine, "lr=0.01,0.02,0.03", "loss.breaks=true", "iters=3", LOCAL)
    ended = gd("-m", *words, "sweep.on_error=stop")
    assert ended.code == 1
    assert "ended without it" not in ended.err
    assert all(shard.stop for shard in cluster.shards)


def test_runs_of_a_task_that_dies_are_missing_and_resumed(store: Path, cluster: Cluster) -> None:
    words = ("-m", "gradient=manual,manual_sum", "lr=0.01,0.02,0.03", "iters=3", LOCAL)
    cluster.lost = {1}
    ended = gd(*words)
    assert ended.code == 1
    cause = "task 71 ended without it: it was killed"
    first = "#3 gradient=manual_sum lr=0.01 iters=3"
    assert f"{first} and 2 more runs: failed, {cause}\n" in ended.err
    assert "the log of task 71 is no/stdout\n" in ended.err
    assert "3 of 6 runs failed:\n" in ended.err
    assert ended.err.count(f"iters=3  {cause}\n") == 3
    assert "3 of 6 runs recorded: 3 completed" in ended.err
    cluster.shards, cluster.lost = [], set()
    ended = gd(*words, "sweep.resume=last")
    assert ended.code == 0, ended.err
    assert [job.number for shard in cluster.shards for job in shard.jobs] == [3, 4, 5]
    found = members(client(store))
    assert [run.data.tags["gdexp.job"] for run in found] == ["0", "1", "2", "3", "4", "5"]


def test_a_store_that_cannot_be_written_gets_the_runs_later(
    store: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: Any) -> Any:
        raise StoreError("no more.")

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "deliver", refusing)
        ended = gd("-m", "lr=0.01,0.02", "iters=3", LOCAL)
    assert ended.code == 0, ended.err
    assert "the store cannot be written (no more): runs are kept in outputs/spool" in ended.err
    assert members(client(store)) == []
    assert gd("sync").err == "delivered 2 runs\n"
    assert [run.info.status for run in members(client(store))] == ["FINISHED"] * 2


@pytest.mark.slow
def test_runs_that_need_the_store_have_a_task_each(
    store: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[int, int]] = []
    launch_jobs = launch.ShardedLauncher.launch_jobs

    def launched(overrides: Sequence[Any], first: int) -> list[JobReturn]:
        called.append((first, len(overrides)))
        return [JobReturn(status=JobStatus.COMPLETED) for _ in overrides]

    def patched(self: launch.ShardedLauncher, *args: Any) -> Sequence[JobReturn]:
        self.inner.launch = launched
        return launch_jobs(self, *args)

    monkeypatch.setattr(launch.ShardedLauncher, "launch_jobs", patched)
    ended = gd("-m", "tracking.log_model=false,true", "lr=0.01,0.02", "iters=3", LOCAL)
    assert ended.code == 0, ended.err
    assert "2 of 4 runs in a task each: tracking.log_model=true needs the store\n" in ended.err
    assert called == [(2, 2)]
    assert gd("-m", "lr=0.01,0.02", "hydra.job.chdir=true", LOCAL).code == 0
    assert called == [(2, 2), (0, 2)]


@pytest.mark.slow
def test_another_sweeper_gets_the_losses(
    store: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[JobReturn] = []
    launch_jobs = launch.ShardedLauncher.launch_jobs

    def spy(self: launch.ShardedLauncher, *args: Any) -> Sequence[JobReturn]:
        kept.extend(launch_jobs(self, *args))
        return kept

    monkeypatch.setattr(launch.ShardedLauncher, "launch_jobs", spy)
    words = ("hydra/sweeper=basic", "lr=0.001,0.002", "iters=5", "hydra.sweep.dir=outputs/here")
    ended = gd("-m", *words, LOCAL)
    assert ended.code == 0, ended.err
    found = members(client(store), "here")
    losses = [run.data.metrics["final/loss"] for run in found]
    assert [one.return_value for one in kept] == losses
    assert [one.cfg.lr for one in kept if one.cfg is not None] == [0.001, 0.002]
    assert ended.err.splitlines()[-1].startswith("compare the runs with: ")

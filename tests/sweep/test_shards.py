"""Jobs split into shards, and what tasks and the process that waits for them tell each other."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hydra.core.utils import JobReturn, JobStatus
from hypothesis import given
from hypothesis import strategies as st

from gdexp.config.job import Job
from gdexp.errors import ConfigError, StoreError
from gdexp.sweep.shards import exchange, task
from gdexp.sweep.shards.exchange import Exchange
from gdexp.sweep.shards.splitting import TOGETHER, split
from gdexp.tracking.run_record import RunRecord

# Splitting


def job(number: int, iters: int = 10) -> Job:
    return Job({"iters": iters}, {}, (f"lr={number}",), "sweep", number)


@given(
    st.lists(st.integers(1, 40), max_size=5),
    st.integers(0, 20),
    st.integers(1, 30),
    st.randoms(use_true_random=False),
)
def test_every_job_is_in_one_shard(sizes: list[int], alone: int, tasks: int, chance: Any) -> None:
    iters = [chance.randint(1, 1000) for _ in range(sum(sizes) + alone)]
    jobs = iter([job(number, each) for number, each in enumerate(iters)])
    groups = [[next(jobs) for _ in range(size)] for size in sizes]
    rest = list(jobs)
    if not groups and not rest:
        return
    shards = split(groups, rest, tasks)
    assert [one for shard in shards for one in shard] == [*chain(*groups), *rest]
    assert all(shards)
    assert len(shards) <= tasks
    assert len(shards) <= sum(-(-size // TOGETHER) for size in sizes) + alone


def test_few_vectorized_runs_are_one_task_and_slow_ones_weigh_more() -> None:
    assert len(split([[job(i) for i in range(TOGETHER)]], [], 8)) == 1
    assert [len(shard) for shard in split([[job(i) for i in range(64)]], [], 4)] == [16] * 4
    assert [len(shard) for shard in split([], [job(i) for i in range(6)], 3)] == [2] * 3
    slow = [job(0, 1000), *(job(i, 10) for i in range(1, 101))]
    assert [len(shard) for shard in split([], slow, 2)] == [1, 100]


# What tasks tell


@pytest.fixture
def files(tmp_path: Path) -> Exchange:
    return Exchange.opened(tmp_path / "shards")


def test_a_later_launch_supersedes_an_earlier_one(files: Exchange) -> None:
    assert files.is_current()
    later = Exchange.opened(files.folder)
    assert (files.is_current(), later.is_current()) == (False, True)
    task.Shard(0, (), files, None, ".", (), False, "")()  # a task that was queued for long
    later.close()
    assert not later.is_current()


def test_a_damaged_file_tells_of_no_run(files: Exchange) -> None:
    files.write(3, [exchange.Ended(7, None, "no more")])
    (path,) = files.files(3)
    assert files.files(4) == []
    assert exchange.read(path) == [exchange.Ended(7, None, "no more")]
    for content in (b"", path.read_bytes()[:-5], b"\x80nothing"):
        path.write_bytes(content)
        assert exchange.read(path) == []


def test_runs_that_end_soon_after_each_other_share_a_file(files: Exchange) -> None:
    report = exchange.Report(files, 0)
    failed = JobReturn(status=JobStatus.FAILED)
    failed.return_value = RuntimeError("no more")
    for number in range(5):
        report.ended(job(number), failed)
    report.flush()
    report.flush()
    (path,) = files.files(0)
    assert [run.number for run in exchange.read(path)] == [0, 1, 2, 3, 4]
    assert report.failures[0] == ("lr=0", "no more")


@pytest.mark.parametrize(
    ("cancel", "advice"),
    [("scancel 77", "Wait for them, or cancel them: scancel 77."), ("", "Wait for them.")],
)
def test_a_sweep_whose_tasks_run_is_not_resumed(
    files: Exchange, cancel: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "DYING", 0.05)
    files.announce(cancel)
    exchange.check_ended(files.folder, "mine")
    with FileLock(files.folder / "0.lock"):
        with pytest.raises(ConfigError) as refused:
            exchange.check_ended(files.folder, "mine")
        with pytest.raises(TimeoutError, match="another task computes shard 0"), files.locked(0):
            pass
    assert str(refused.value) == f"sweep.resume: tasks of mine are still running. {advice}"
    exchange.check_ended(files.folder, "mine")


def test_an_outbox_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    box = task.Outbox(tmp_path / "spool", "sqlite:///a.db", "gdexp", "launch")
    with pytest.raises(StoreError, match=r"spool cannot be written: File exists\.$"):
        box.write([RunRecord("a", "FINISHED", 0, tags={"gdexp.job": "0"})])

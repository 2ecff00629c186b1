"""A signal at many a write of a small sweep, and of a run that is opened, fed and checkpointed.

Each of them reaches a process of its own. What is in the store afterwards is legal: all of a run or
none of it, nothing twice, and an end that is true. The writes are counted by ``soak_victim``.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import CHECKOUT
from sweep_helpers import gd
from test_soak import rows_in

sys.path.append(str(CHECKOUT / "scripts"))

import soak_victim
from soak_audit import Problem, left_over, problems
from soak_log import Case, Log
from soak_processes import Forked
from soak_victim import Plan

CASES = {
    "sweep": Case(
        "sweep", 8, ("-m", "lr=0.01,0.02,10", "iters=5", "seed=8", "hydra.sweep.dir=s8"), 3, "s8"
    ),
    "run": Case(
        "run", 7, ("iters=900", "lr=1e-4", "print_every=10", "checkpoint.every=300", "seed=7"), 1
    ),
}
SIGNALS = itertools.cycle((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
RESUMED = 4  # a sweep is resumed after every fourth kill


@pytest.fixture(scope="module")
def context() -> Any:
    """Forks processes that have imported gdexp."""
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(soak_victim.modules())
    return forking


class Commands:
    """Commands in folders of their own, each with a copy of a store."""

    def __init__(self, context: Any, source: Path, target: Path) -> None:
        self._context, self._source, self._target = context, source, target
        self._numbers = itertools.count()

    def run(self, case: Case, **plan: Any) -> tuple[int, Log, Path]:
        """The exit code of the command, what it acknowledged, and its folder."""
        folder = self._target / str(next(self._numbers))
        (folder / "outputs").mkdir(parents=True)
        shutil.copy(self._source, folder / "outputs" / "mlflow.db")
        out, err = folder / "out", folder / "err"
        given = Plan(case.words, str(folder), str(out), str(err), brisk=True, **plan)
        code = Forked(self._context, given).wait()
        log = Log(folder / "log")
        log.started(fresh := Case(case.kind, case.seed, case.words, case.jobs, case.sweep_id))
        log.ended(fresh, code, out.read_text(), err.read_text())
        assert "Traceback" not in err.read_text(), (plan, err.read_text())
        assert "Exception ignored" not in err.read_text(), plan
        return code, log, folder


@pytest.fixture
def commands(context: Any, environment: None, migrated: Path, tmp_path: Path) -> Iterator[Commands]:
    yield Commands(context, migrated, tmp_path)
    shutil.rmtree(tmp_path)  # hundreds of stores


def audit(log: Log, folder: Path) -> list[Problem]:
    rows = rows_in(folder)
    return [*problems(log.cases, rows), *left_over(folder, rows)]


def open_store(folder: Path) -> None:
    """What every command does first, and all that ``compare`` does to the store."""
    from gdexp.tracking.connect import open_existing

    with contextlib.chdir(folder):
        open_existing(None, None)


def resume(case: Case, log: Log, folder: Path) -> None:
    """Complete a sweep, which is resumed if it got so far that there is one."""
    known = any(row.tags.get("gdexp.sweep_id") for row in rows_in(folder))
    with contextlib.chdir(folder):
        ended = gd(*case.words, *([f"sweep.resume={case.sweep_id}"] if known else []))
    assert ended.code == 0, ended.err
    log.ended(log.cases[case.seed], ended.code, ended.out, ended.err)
    assert [row.status for row in rows_in(folder) if not row.is_deleted] == ["FINISHED"] * 4


def writes_of(kind: str, commands: Commands, every: int) -> Iterator[int]:
    """The numbers of a command's writes, or every so many of them."""
    code, log, folder = commands.run(CASES[kind], count=(count := "count"))
    assert code == 0
    assert audit(log, folder) == []
    made = int((folder / count).read_text())
    assert made > 30
    yield from range(1, made + 1, every)


def was_late(folder: Path, write: int) -> bool:
    """Whether a run, which is fed by time, ended before it had made so many writes."""
    return (folder / "count").exists() and int((folder / "count").read_text()) < write


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "every"), [("sweep", 3), ("run", 6)])
def test_a_kill_at_many_writes(kind: str, every: int, commands: Commands) -> None:
    case = CASES[kind]
    for number, write in enumerate(writes_of(kind, commands, every)):
        code, log, folder = commands.run(case, write=write, count="count")
        assert code == -signal.SIGKILL or was_late(folder, write), write
        open_store(folder)
        assert audit(log, folder) == [], write
        if case.sweep_id and number % RESUMED == 0:
            resume(case, log, folder)
            assert audit(log, folder) == [], write
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "every"), [("sweep", 7), ("run", 11)])
def test_a_gentle_signal_at_many_writes(kind: str, every: int, commands: Commands) -> None:
    for write, signum in zip(writes_of(kind, commands, every), SIGNALS, strict=False):
        code, log, folder = commands.run(CASES[kind], write=write, signum=signum, count="count")
        assert code == 128 + signum or was_late(folder, write), write
        assert audit(log, folder) == [], write  # before any other command has opened the store
        shutil.rmtree(folder)

"""Sweeps that are killed, or started all at once: the store has every run, whole and once."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import PATIENCE, Ended, client, python, runs
from sweep_helpers import essence, gd, members, start, summary, sweeps, table

MORTAL = Path(__file__).with_name("_mortal.py")
KINDS = {
    "vectorized": ("gradient=manual,manual_sum", "lr=0.01,0.02,10", "iters=5,9"),
    "one by one": ("hydra/launcher=basic", "lr=0.01,10", "iters=5,9"),
}
THIRDS = 3  # of a sweep's writes: it is killed once in each


class Whole(NamedTuple):
    """A sweep that nothing has disturbed."""

    words: tuple[str, ...]
    runs: list[tuple[Any, ...]]
    writes: int


def mortal(folder: Path, last: int, seconds: float, *args: str) -> Ended:
    """The command line, killed so many seconds after its write of this number has begun."""
    return python(str(MORTAL), str(last), str(seconds), "-m", *args, cwd=folder)


def resuming(folder: Path) -> list[str]:
    """The word that resumes the sweep, if it got so far that there is one."""
    return ["sweep.resume=last"] if sweeps(folder) else []


def assert_sound(folder: Path) -> None:
    """SQLite finds nothing broken in the store's file, nor a reference into nothing."""
    with sqlite3.connect(folder / "outputs" / "mlflow.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated: Path
) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "outputs").mkdir()
    (folder / "outputs" / "mlflow.db").write_bytes(migrated.read_bytes())
    ended = mortal(folder, 0, 0, *request.param)
    assert ended.code == 0, ended.err
    found = essence(members(client(folder)))
    return Whole(request.param, found, int(ended.out))


@pytest.mark.slow
@pytest.mark.parametrize("third", range(THIRDS))
def test_a_sweep_killed_at_any_write_and_resumed_is_whole(
    store: Path, whole: Whole, third: int
) -> None:
    chance = random.Random(third)
    bounds = [1 + whole.writes * part // THIRDS for part in (third, third + 1)]
    killed = mortal(store, chance.randrange(*bounds), 0, *whole.words)
    assert killed.code == -9, killed.err
    moment, seconds = chance.randrange(1, whole.writes // 2), chance.uniform(0, 0.02)
    again = mortal(store, moment, seconds, *whole.words, *resuming(store))
    assert again.code in (0, -9), again.err  # there may be less to write than that
    ended = gd("-m", *whole.words, *resuming(store))
    assert ended.code == 0, ended.err
    opened = client(store)
    assert essence(members(opened)) == whole.runs
    assert [int(row["job"]) for row in table(opened)] == list(range(len(whole.runs)))
    assert summary(opened).info.status == "FINISHED"
    assert_sound(store)


@pytest.mark.slow
def test_a_store_whose_making_was_killed_is_made_again(workdir: Path) -> None:
    outputs = workdir / "outputs"
    for last in (1, 2, 3):
        ended = mortal(workdir, last, 0, "lr=0.01,0.02")
        assert ended.code == -9, ended.err
        assert not (outputs / "mlflow.db").exists()
    ended = gd("-m", "lr=0.01,0.02")
    assert ended.code == 0, ended.err
    assert len(members(client(workdir))) == 2
    assert_sound(workdir)
    left = {path.name for path in outputs.iterdir()}
    assert left == {"mlflow.db", ".mlflow.db.lock", "artifacts", "sweeps"}


@pytest.mark.slow
def test_four_sweeps_at_once_on_a_fresh_store(workdir: Path) -> None:
    words = "gradient=manual,manual_sum", "lr=0.01,0.02", "iters=5,9"
    started = [start(workdir, *words, f"seed={seed}") for seed in range(4)]
    errors = [one.communicate(timeout=PATIENCE)[1] for one in started]
    assert [one.returncode for one in started] == [0] * 4, errors
    opened = client(workdir)
    assert [r.info.status for r in runs(opened)] == ["FINISHED"] * (4 + 32)
    assert len(sweeps(workdir)) == 4
    found = members(opened)
    jobs = {(r.data.tags["gdexp.sweep_id"], r.data.tags["gdexp.job"]) for r in found}
    assert len(found) == len(jobs) == 32
    for r in found:
        points = opened.get_metric_history(r.info.run_id, "param/w")
        assert [m.step for m in points] == list(range(1, int(r.data.params["iters"]) + 1))
    assert_sound(workdir)

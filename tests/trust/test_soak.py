"""A short soak, and proof that its audit sees what it is there to see."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import CHECKOUT, CLI, python

sys.path.append(str(CHECKOUT / "scripts"))

import soak_store
from soak_audit import COLUMNS, left_over, problems
from soak_log import Case, Log
from soak_store import Row

Rows = Sequence[Row]


@pytest.mark.slow
def test_a_short_soak_loses_doubles_and_invents_nothing(tmp_path: Path) -> None:
    words = ("--kills", "9", "--minutes", "60", "--seed", "9", "--forks", "--jobs", "1")
    ended = python(str(CHECKOUT / "scripts" / "soak.py"), *words, TMPDIR=str(tmp_path))
    assert ended.code == 0, ended.err
    lines = [line.split() for line in ended.out.splitlines()]
    counts = {name: int(line[-1]) for line, name in _counted(lines)}
    assert counts["kills"] >= 9
    assert counts["acknowledged"] > 0
    assert {name: counts[name] for name in COLUMNS} == dict.fromkeys(COLUMNS, 0)


def _counted(lines: Sequence[Sequence[str]]) -> Sequence[tuple[Sequence[str], str]]:
    """Each line up to its number, and the name before it."""
    cut = [line[: 1 + next(i for i, word in enumerate(line) if word.isdigit())] for line in lines]
    return [(line, " ".join(line[:-1])) for line in cut]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> tuple[Log, Path]:
    """A run and a sweep that nothing disturbed, in the log and in a store."""
    from sweep_helpers import gd, working_in

    folder = tmp_path_factory.mktemp("ended")
    log = Log(folder / "log.jsonl")
    with working_in(folder, migrated):
        for case in (
            Case("run", 7, ("iters=9", "seed=7"), 1),
            Case("sweep", 8, ("-m", "lr=0.01,10", "seed=8", "hydra.sweep.dir=s8"), 2, "s8"),
        ):
            log.started(case)
            told = gd(*case.words)
            log.ended(case, told.code, told.out, told.err)
    return log, folder


def rows_in(folder: Path) -> list[Row]:
    """The runs, without that of the template."""
    with soak_store.sqlite(folder / "outputs" / "mlflow.db") as query:
        return [row for row in soak_store.rows(query) if row.tags["gdexp.overrides"] != "iters=1"]


def test_what_is_sound_has_no_problems(ended: tuple[Log, Path]) -> None:
    log, folder = ended
    rows = rows_in(folder)
    assert problems(log.cases, rows) == []
    assert left_over(folder, rows) == []
    assert [case.acknowledged for case in log.cases.values()] == [1, 2]
    assert len(rows) == 4
    text = (folder / "log.jsonl").read_text()
    (run_id,) = log.cases[7].ids
    assert text.count('"started"') == text.count('"ended"') == 2
    assert run_id in text


def run(rows: Rows) -> Row:
    (found,) = [row for row in rows if row.params.get("seed") == "7"]
    return found


def member(rows: Rows, job: str = "1") -> Row:
    (found,) = [row for row in rows if row.tags.get("gdexp.job") == job]
    return found


def summary(rows: Rows) -> Row:
    (found,) = [row for row in rows if row.tags["gdexp.kind"] == "sweep"]
    return found


def changed(row: Row, rows: Rows, **changes: object) -> list[Row]:
    return [replace(row, **changes) if each is row else each for each in rows]  # type: ignore[arg-type]


def without(tags: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key != name}


DEFECTS: dict[str, tuple[str, Callable[[Rows], list[Row]]]] = {
    "a run is gone": ("lost", lambda rows: [row for row in rows if row is not run(rows)]),
    "a run is deleted": ("lost", lambda rows: changed(run(rows), rows, is_deleted=True)),
    "a member is gone": ("lost", lambda rows: [row for row in rows if row is not member(rows)]),
    "a sweep is gone": ("lost", lambda rows: [row for row in rows if row is not summary(rows)]),
    "a run is there twice": ("double", lambda rows: [*rows, replace(run(rows), run_id="2")]),
    "a job is there twice": ("double", lambda rows: [*rows, replace(member(rows), run_id="2")]),
    "a sweep is there twice": ("double", lambda rows: [*rows, replace(summary(rows), run_id="2")]),
    "points are there twice": ("double", lambda rows: changed(run(rows), rows, doubles=3)),
    "a data set is there twice": ("double", lambda rows: changed(run(rows), rows, links=2)),
    "a run of nobody": (
        "phantom",
        lambda rows: [
            *rows,
            replace(run(rows), tags=run(rows).tags | {"gdexp.overrides": "seed=99"}),
        ],
    ),
    "a job of nobody": (
        "phantom",
        lambda rows: [*rows, replace(member(rows), tags=member(rows).tags | {"gdexp.job": "5"})],
    ),
    "a sweep of nobody": (
        "phantom",
        lambda rows: [
            *rows,
            replace(summary(rows), tags=summary(rows).tags | {"gdexp.sweep_id": "s9"}),
        ],
    ),
    "a run has no outcome": (
        "incomplete",
        lambda rows: changed(run(rows), rows, tags=without(run(rows).tags, "gdexp.outcome")),
    ),
    "a run has no end": ("incomplete", lambda rows: changed(run(rows), rows, end_ms=None)),
    "a point is missing": (
        "incomplete",
        lambda rows: changed(run(rows), rows, steps=[1, 2, 4, 5, 6, 7, 8, 9]),
    ),
    "points are missing": ("incomplete", lambda rows: changed(run(rows), rows, steps=[1, 2])),
    "files are missing": (
        "incomplete",
        lambda rows: changed(run(rows), rows, folder=Path("nowhere")),
    ),
    "a run has no data set": ("incomplete", lambda rows: changed(run(rows), rows, links=0)),
    "an ended run has an owner": (
        "incomplete",
        lambda rows: changed(run(rows), rows, tags=run(rows).tags | {"gdexp.process": "{}"}),
    ),
    "a sweep has no table": (
        "incomplete",
        lambda rows: changed(summary(rows), rows, folder=Path("nowhere")),
    ),
    "a sweep is KILLED": ("incomplete", lambda rows: changed(summary(rows), rows, status="KILLED")),
    "a run is RUNNING": ("stuck", lambda rows: changed(run(rows), rows, status="RUNNING")),
    "a sweep is RUNNING": ("stuck", lambda rows: changed(summary(rows), rows, status="RUNNING")),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_audit_sees_every_defect(defect: str, ended: tuple[Log, Path]) -> None:
    log, folder = ended
    column, damaged = DEFECTS[defect]
    told = problems(log.cases, damaged(rows_in(folder)))
    assert column in {problem.column for problem in told}, told
    assert {problem.seed for problem in told} <= {0, 7, 8, 99}


def test_the_audit_sees_two_runs_of_one_key(ended: tuple[Log, Path]) -> None:
    log, folder = ended
    rows = [replace(row, tags=row.tags | {"gdexp.run_key": "a"}) for row in rows_in(folder)]
    assert [p.text for p in problems(log.cases, rows)] == ["4 runs of gdexp.run_key a"]


def test_an_interrupted_run_must_have_the_epochs_that_it_printed(
    ended: tuple[Log, Path], tmp_path: Path
) -> None:
    _, folder = ended
    log, rows = Log(tmp_path / "log"), rows_in(folder)
    log.started(case := Case("run", 7, (), 1))
    log.ended(case, 130, "epoch 1: w\nepoch 10: w\n", "interrupted by Ctrl-C")
    killed = replace(run(rows), status="KILLED")
    tagged = replace(killed, tags=killed.tags | {"gdexp.outcome": "interrupted"})
    (told,) = problems(log.cases, [tagged])
    assert (told.column, told.seed) == ("incomplete", 7)
    assert told.text.endswith("9 of 10 epochs")
    (told,) = problems(log.cases, [])
    assert told.text == "an interrupted run that printed epoch 10"


def test_the_audit_sees_files_that_are_left(ended: tuple[Log, Path], tmp_path: Path) -> None:
    _, folder = ended
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    rows = [replace(run(rows_in(folder)), folder=copied / "outputs" / "artifacts")]
    left = ("mlflow.db-journal", "spool/1.run", "artifacts/a/.trajectory.parquet.partial")
    for name in left:
        (copied / "outputs" / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / "outputs" / name).write_bytes(b"\xd9\xd5")
    assert {problem.text for problem in left_over(copied, rows)} == {
        str(copied / "outputs" / name) for name in left
    }


def test_a_case_keeps_what_its_commands_acknowledge(cli: CLI, store: Path) -> None:
    log = Log(store / "log")
    log.started(case := Case("run", 3, ("iters=9", "seed=3"), 1))
    told = cli(*case.words)
    log.ended(case, told.code, told.out, told.err)
    with soak_store.sqlite(store / "outputs" / "mlflow.db") as query:
        newest = query("SELECT run_uuid FROM runs ORDER BY start_time DESC LIMIT 1")
    assert [(run_id,) for run_id in case.ids] == newest
    assert case.is_done

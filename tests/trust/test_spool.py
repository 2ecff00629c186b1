"""A store that fails at any write, a process that dies at any step: nothing is lost or double."""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import CLI, eventually
from tracking_helpers import TAGS, finished, lived, odd_runs

from gdexp.errors import RefusedError, WriteError
from gdexp.tracking import connect, delivery, spool
from gdexp.tracking.database import Sqlite
from gdexp.tracking.delivery import Delivery, deliver
from gdexp.tracking.run_record import RunRecord
from gdexp.tracking.sql_store import SqlStore

TABLES = ("runs", "params", "tags", "metrics", "latest_metrics", "datasets", "inputs", "input_tags")


class CrashError(BaseException):
    """The process is killed here."""


class Faulty(SqlStore):
    """A store whose writes succeed, fail, or succeed without an answer, as planned."""

    plan: Sequence[str] = ()
    step: Callable[[], None] = staticmethod(lambda: None)

    def write(self, records: Sequence[RunRecord], *, again: bool = False) -> list[str]:
        self.step()
        outcome, self.plan = (self.plan[0], self.plan[1:]) if self.plan else ("ok", ())
        if outcome == "fails":
            raise WriteError("no answer")
        ids = super().write(records, again=again)
        self.step()
        if outcome == "lost":
            raise WriteError("the answer was lost")
        return ids


@pytest.fixture
def opened(store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Faulty]:
    """Opens an empty copy of a store."""
    first = connect.connect({"experiment": "trust"})
    assert isinstance(first, SqlStore)
    shutil.copy("outputs/mlflow.db", "empty.db")
    monkeypatch.setattr(delivery, "RETRY", 1e9)
    monkeypatch.setattr(delivery, "RECENT", -1.0)
    monkeypatch.setattr(spool, "sync", lambda path: None)
    monkeypatch.setattr("gdexp.tracking.artifacts.sync", lambda path: None)
    connecting = Sqlite._connect

    def hasty(self: Sqlite) -> sqlite3.Connection:
        connection = connecting(self)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    monkeypatch.setattr(Sqlite, "_connect", hasty)

    def open_copy(name: str) -> Faulty:
        shutil.rmtree("outputs/spool", ignore_errors=True)
        Path(name).mkdir()
        path = Path(name, "store.db").absolute()
        shutil.copy("empty.db", path)
        return reopened(first, path)

    return open_copy


def reopened(other: SqlStore, path: Path) -> Faulty:
    """A store as a new process opens it."""
    database = type(other._database)(path)  # type: ignore[call-arg]
    location = path.with_name("artifacts").as_uri()
    return Faulty(database, f"sqlite:///{path}", "trust", other.experiment_id, location)


def content(store: Faulty) -> dict[str, Any]:
    """All rows and files, the ids of data sets replaced by a word."""
    path = Path(store.uri.removeprefix("sqlite:///"))
    rows: dict[str, Any] = {}
    with closing(sqlite3.connect(path)) as connection:
        for table in TABLES:
            connection.row_factory = sqlite3.Row
            found = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
            for row in found:
                row |= {k: "id" for k in ("dataset_uuid", "source_id", "input_uuid") if k in row}
                row.pop("artifact_uri", None)
            rows[table] = sorted(map(str, found))
    files = [each for each in path.parent.rglob("artifacts/*/**/*") if each.is_file()]
    rows["files"] = {str(f.relative_to(path.parent)): f.read_bytes() for f in files}
    return rows


def life() -> list[RunRecord]:
    """A lasting run and two short ones, one of them while it lasts."""
    (opened,), (fed,), (more,), (ended,) = lived()
    ended = replace(ended, params=opened.params, dataset=opened.dataset, tags=TAGS | ended.tags)
    return [opened, fed, finished(1), more, ended, finished(2)]


def recorded(store: Faulty, records: Sequence[RunRecord]) -> Faulty:
    writer = Delivery(store)
    for record in records:
        assert writer.write([record]) == [record.run_id]
    return store


def test_whichever_writes_fail_nothing_is_lost_or_double(opened: Callable[[str], Faulty]) -> None:
    records = life()
    expected = content(recorded(opened("without"), records))
    outcomes = ("ok", "fails", "lost")
    plans = list(itertools.product(outcomes, repeat=5))
    chance = random.Random(5)
    for number, plan in enumerate(chance.sample(plans, 25)):
        store = opened(f"{number}")
        store.plan = plan
        writer = Delivery(store)
        for record in records:
            writer.write([record])
            if chance.random() < 0.3:
                writer.finish()
        for _ in range(6):
            writer.finish()
        assert not writer.is_pending, plan
        assert not spool.files(spool.folder()), plan
        assert content(store) == expected, plan


def crashing(at: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A step that ends the process when it is taken for this time."""
    steps = itertools.count(1)
    save, unlink = spool.save, Path.unlink

    def step() -> None:
        if next(steps) == at:
            raise CrashError

    def saving(*args: Any) -> Path:
        step()
        path = save(*args)
        step()
        return path

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".npz":
            step()
        unlink(path, missing_ok)

    monkeypatch.setattr(spool, "save", saving)
    monkeypatch.setattr(Path, "unlink", unlinking)
    return step


@pytest.mark.parametrize("plan", [("fails",) * 2, ("ok", "lost", "fails"), ("fails", "lost")])
def test_a_process_that_dies_at_any_step_loses_at_most_what_it_was_writing(
    plan: tuple[str, ...], opened: Callable[[str], Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = life()
    prefixes = [recorded(opened(f"first {n}"), records[:n]) for n in range(len(records) + 1)]
    legal = list(map(content, prefixes))
    for at in itertools.count(1):
        store = opened(f"{at}")
        store.plan, written = plan, 0
        with monkeypatch.context() as patch:
            store.step = crashing(at, patch)
            try:
                writer = Delivery(store)
                for record in records:
                    writer.write([record])
                    written += 1
                writer.finish()
                writer.finish()
                ended = True
            except CrashError:
                ended = False
        again = reopened(store, Path(store.uri.removeprefix("sqlite:///")))
        assert not deliver(again, spool.folder()).left
        assert content(again) in legal[written : written + 2], (at, written)
        if ended:
            return


def test_old_records_that_are_delivered_late_change_nothing(
    opened: Callable[[str], Faulty],
) -> None:
    records = life()
    store = recorded(opened("late"), records)
    expected = content(store)
    for record in [*records, *reversed(records)]:
        if record.status != "KILLED":  # an end is an end, whoever has set another one meanwhile
            store.write([record], again=True)
            assert content(store) == expected


def test_an_end_is_delivered_to_a_run_that_was_closed_meanwhile(
    opened: Callable[[str], Faulty],
) -> None:
    *before, ended, _ = life()
    store = recorded(opened("closed"), before)
    closed = {"status": "KILLED", "end_ms": 9000, "curves": [], "artifacts": {}, "dataset": None}
    store.write([replace(ended, **closed, params={}, tags={"gdexp.outcome": "interrupted"})])
    ended = replace(ended, status="FINISHED", tags={"gdexp.outcome": "completed"})
    store.write([ended], again=True)
    (run,) = [run for run in store.runs() if run.name == "lived"]
    assert (run.status, run.outcome) == ("FINISHED", "completed")


def test_a_store_that_was_deleted_gets_whole_runs(opened: Callable[[str], Faulty]) -> None:
    *_, ended, _ = life()
    store = opened("deleted")
    store.write([ended], again=True)
    (run,) = store.runs()
    assert (run.status, run.name, run.params["lr"]) == ("KILLED", "lived", "0.00")
    assert store.files(run) == ["transcript.txt"]


def test_the_store_is_tried_again_in_the_background(
    opened: Callable[[str], Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY", 0.0)
    store = opened("background")
    store.plan = ("fails",)
    writer = Delivery(store)
    opening, points, *_ = life()
    writer.write([opening])
    writer.write([points])
    eventually(lambda: not writer.is_pending)
    assert len(store.runs()) == 1


def test_one_line_tells_that_runs_are_spooled(
    opened: Callable[[str], Faulty], capsys: pytest.CaptureFixture[str]
) -> None:
    store = opened("told")
    store.plan = ("fails",) * 9
    writer = Delivery(store)
    for record in life():
        writer.write([record])
        writer.finish()
    assert capsys.readouterr().err == (
        "the store cannot be written (no answer): runs are kept in outputs/spool and delivered "
        "later, by the next command or by python -m gdexp sync\n"
    )
    delivery.deliver_rest(reopened(store, Path("told/store.db").absolute()))
    assert capsys.readouterr().err == "delivered 3 runs from outputs/spool\n"


def test_what_is_refused_is_raised_and_not_spooled(opened: Callable[[str], Faulty]) -> None:
    store = opened("refused")
    with pytest.raises(RefusedError, match="MLflow does not allow the key 'a,b'"):
        Delivery(store).write([finished(params={"a,b": "1"})])
    assert not spool.folder().exists()
    assert not store.runs()


def test_if_the_spool_cannot_be_written_either_the_run_fails(
    opened: Callable[[str], Faulty],
) -> None:
    store = opened("full")
    spool.folder().write_text("in the way")
    store.plan = ("fails",)
    with pytest.raises(WriteError) as raised:
        Delivery(store).write([finished()])
    assert str(raised.value) == (
        "no answer, and outputs/spool cannot be written either: File exists."
    )


def test_a_file_of_the_spool_holds_everything_of_its_records(store: Path) -> None:
    records = [*odd_runs(), *(record for (record,) in lived())]
    place = spool.folder()
    path = spool.save(place, "sqlite:///outputs/mlflow.db", "trust", records)
    read = spool.read(path)
    assert (read.address, read.experiment) == ("sqlite:///outputs/mlflow.db", "trust")
    assert list(map(plain, read.records)) == list(map(plain, records))


def plain(record: RunRecord) -> str:
    """All of a record, every bit of its numbers included."""
    curves = [
        (c.name, *(getattr(c, k).tobytes() for k in ("values", "steps", "timestamps")))
        for c in record.curves
    ]
    return repr(replace(record, curves=curves))  # type: ignore[arg-type]


def test_a_sweep_whose_store_goes_away_is_summarised_from_its_own_rows(
    store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = itertools.count()
    write = SqlStore.write

    def failing(self: SqlStore, records: Sequence[RunRecord], **more: Any) -> list[str]:
        if next(writes):  # the first opens the summary
            raise WriteError("no answer")
        return write(self, records, **more)

    with monkeypatch.context() as patch:
        patch.setattr(SqlStore, "write", failing)
        ended = cli("-m", "lr=0.01,0.02", "iters=5")
    assert ended.code == 0
    assert ended.err.count("the store cannot be written (no answer)") == 1
    assert "2 runs: 2 completed. " in ended.err, ended.err
    assert "; it is kept in outputs/spool, and delivered by python -m gdexp sync" in ended.err
    connect._connect.cache_clear()
    shown = cli("compare")
    assert "delivered 3 runs from outputs/spool\n" in shown.err
    assert len(shown.out.splitlines()) == 4
    (summary,) = connect.connect({}).runs({"gdexp.kind": "sweep"})
    assert (summary.status, summary.metrics["sweep/runs"]) == ("FINISHED", 2)

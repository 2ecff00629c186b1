"""Runs written by SQL: all or nothing, files first, by many processes, however a write ends."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from helpers import PATIENCE, clean_environment, eventually
from tracking_helpers import DATASET, client, curve, finished, lived, names, tables

from gdexp.errors import RefusedError, WriteError
from gdexp.tracking import database, recorder, sql_store
from gdexp.tracking.connect import connect
from gdexp.tracking.recorder import Recorder
from gdexp.tracking.run_record import Curve, RunRecord
from gdexp.tracking.sql_store import SqlStore
from gdexp.tracking.store import Store


@pytest.fixture
def sqlite(store: Path) -> SqlStore:
    """An open store with an experiment of its own."""
    opened = connect({"experiment": "bulk"})
    assert isinstance(opened, SqlStore)
    return opened


def folders(folder: Path) -> set[str]:
    """The runs that have files."""
    place = folder / "outputs" / "artifacts"
    return {path.name for path in place.iterdir()} if place.exists() else set()


def test_artifacts_are_files_where_mlflow_looks_for_them(sqlite: SqlStore) -> None:
    (run_id,) = sqlite.write([finished(7)])
    folder = client(sqlite).download_artifacts(run_id, "")
    assert Path(folder, "config.yaml").read_bytes() == b"lr: 7"
    assert Path(folder, "plots", "loss.png").read_bytes() == b"\x89PNG"


@pytest.mark.parametrize("place", ["a%20b", "a b", "what?x#y", "file:./c%20d", ""])
def test_mlflow_finds_the_files_wherever_the_experiment_keeps_them(store: Path, place: str) -> None:
    first = connect({"experiment": "first"})
    client(first).create_experiment("moved")
    with closing(sqlite3.connect(store / "outputs" / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", [place])
    opened = connect({"experiment": "moved"})
    (run_id,) = opened.write([finished(7)])
    ours = client(opened).get_run(run_id).info
    theirs = client(opened).create_run(ours.experiment_id).info
    assert ours.artifact_uri.replace(run_id, theirs.run_id) == theirs.artifact_uri
    folder = client(opened).download_artifacts(run_id, "")
    assert Path(folder, "config.yaml").read_bytes() == b"lr: 7"


def test_artifacts_go_through_mlflow_where_there_is_no_folder(
    sqlite: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_root", None)
    (run_id,) = sqlite.write([finished(7)])
    folder = client(sqlite).download_artifacts(run_id, "")
    assert Path(folder, "plots", "loss.png").read_bytes() == b"\x89PNG"


OTHER = replace(DATASET, digest="other", source_type=cast(str, None))
REFUSED = {
    "a name": (
        {"params": {"a,b": "1"}},
        "MLflow does not allow the key 'a,b': a key has at most 250",
    ),
    "a metric": ({"curves": [curve("a//b", [1.0])]}, "MLflow does not allow the key 'a//b'"),
    "a long key": ({"tags": {"x" * 251: ""}}, "MLflow does not allow the key 'xxx"),
    "a way up": ({"params": {"../a": ""}}, "MLflow does not allow the key '../a'"),
    "a file": ({"artifacts": {"../x": b""}}, "'../x' is not the name of a file below a run's"),
    "a value": ({"tags": {"x": object()}}, "'object' object is not subscriptable"),
    "the last table": ({"dataset": OTHER}, "NOT NULL constraint failed"),
}


def test_one_run_that_is_refused_leaves_nothing_of_all(sqlite: SqlStore, store: Path) -> None:
    before = tables(sqlite)
    for what, (changes, sentence) in REFUSED.items():
        runs = [finished(i) for i in range(8)]
        runs[4] = finished(4, **changes)  # type: ignore[arg-type]
        with pytest.raises(WriteError) as raised:
            sqlite.write(runs)
        assert str(raised.value).startswith(f"8 runs cannot be written to {sqlite.uri}: "), what
        assert sentence in str(raised.value)
        assert not folders(store) & {run.run_id for run in runs}
    assert tables(sqlite) == before


@contextmanager
def broken(monkeypatch: pytest.MonkeyPatch, *, committed: bool) -> Iterator[None]:
    """The connection is lost at the next transaction's end, before or after its commit."""
    transaction = database.Sqlite.transaction

    @contextmanager
    def lost(self: database.Sqlite) -> Iterator[Any]:
        monkeypatch.setattr(database.Sqlite, "transaction", transaction)
        with transaction(self) as connection:
            yield connection
            if not committed:
                raise ConnectionError("server closed the connection")
        raise ConnectionError("server closed the connection")

    monkeypatch.setattr(database.Sqlite, "transaction", lost)
    yield


def test_a_commit_whose_answer_gets_lost_keeps_its_artifacts(
    sqlite: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with broken(monkeypatch, committed=True), pytest.raises(WriteError, match="closed the conn"):
        sqlite.write([finished()])
    (run,) = client(sqlite).search_runs([sqlite.experiment_id])
    assert run.info.status == "FINISHED"
    assert len(client(sqlite).list_artifacts(run.info.run_id)) == 2


@pytest.mark.parametrize("committed", [False, True])
def test_a_run_whose_end_is_not_written_is_never_finished(
    committed: bool, sqlite: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (opened,), (fed,), _, (ended,) = lived()
    sqlite.write([opened])
    sqlite.write([fed])
    ended = replace(ended, status="FINISHED", tags={"gdexp.outcome": "completed"})
    with broken(monkeypatch, committed=committed), pytest.raises(WriteError, match="closed"):
        sqlite.write([ended])
    sqlite.give_up([ended])
    (run,) = sqlite.runs()
    assert "gdexp.process" not in run.tags
    assert (run.status, run.outcome) == (
        ("FINISHED", "completed") if committed else ("FAILED", "failed")
    )
    history = client(sqlite).get_metric_history(run.run_id, "train/loss")
    assert len(history) == (4 if committed else 2)


def test_an_opening_whose_answer_gets_lost_does_not_stay_running(
    sqlite: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((opened,), *_) = lived()
    with broken(monkeypatch, committed=True), pytest.raises(WriteError, match="closed"):
        sqlite.write([opened])
    sqlite.give_up([opened])
    (run,) = sqlite.runs()
    assert (run.status, run.outcome) == ("FAILED", "failed")
    assert "gdexp.process" not in run.tags


def test_an_id_is_written_once(sqlite: SqlStore) -> None:
    run = finished()
    with pytest.raises(WriteError, match=r"^2 runs cannot be written to .*UNIQUE"):
        sqlite.write([run, replace(run, name="other")])
    assert sqlite.runs() == []
    sqlite.write([run])
    with pytest.raises(WriteError, match=f"^A run cannot .*: run {run.run_id} already exists"):
        sqlite.write([replace(run, artifacts={"config.yaml": b"overwritten"})])
    (recorded,) = sqlite.runs()
    assert sqlite.read(recorded, "config.yaml") == b"lr: 0"


def test_a_deleted_experiment_takes_no_runs(sqlite: SqlStore, store: Path) -> None:
    client(sqlite).delete_experiment(sqlite.experiment_id)
    with pytest.raises(WriteError, match=r"the experiment 'bulk' has been deleted\.$"):
        sqlite.write([finished()])
    assert not folders(store)


def test_a_database_is_analyzed_when_it_has_grown(
    sqlite: SqlStore, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured() -> bool:
        with closing(sqlite3.connect(store / "outputs" / "mlflow.db")) as connection:
            (tables,) = zip(*connection.execute("SELECT name FROM sqlite_master"), strict=True)
        return "sqlite_stat1" in tables

    monkeypatch.setattr(sql_store, "MANY", 4)
    sqlite.write([finished(), finished()])  # with the run of `migrated`: 3
    sqlite.analyze_after(2)
    assert not measured()
    sqlite.write([finished()])
    sqlite.analyze_after(1)
    assert measured()


def test_what_a_record_must_have() -> None:
    with pytest.raises(ValueError, match=r"^A run needs a name: MLflow would"):
        finished(name="")
    with pytest.raises(ValueError, match=r"^'DONE' is not a run's status\. Type one of RUNNING"):
        finished(status="DONE")
    with pytest.raises(ValueError, match=r"^m has 1 values, 2 steps and 1 timestamps"):
        Curve("m", np.zeros(1), np.arange(2), np.arange(1))


# When the recorder writes


class Notebook:
    """A store that notes how many runs each write has, and whether they were told of before."""

    uri = "sqlite:///notebook.db"

    def __init__(self, told: list[int], *, atomic: bool = True) -> None:
        self.atomic, self.told, self.writes = atomic, told, list[int]()

    def write(self, records: Sequence[RunRecord]) -> list[str]:
        assert len(self.told) == sum(self.writes), "told of a run before it was written"
        if any(record.name == "bad" for record in records):
            raise RefusedError("no")
        self.writes.append(len(records))
        return [record.run_id for record in records]

    def give_up(self, records: Sequence[RunRecord]) -> None:
        pass


def recorded(
    monkeypatch: pytest.MonkeyPatch, records: list[RunRecord], *, atomic: bool = True
) -> Notebook:
    """Seven runs added one after another, then flushed."""
    monkeypatch.setattr(recorder.describe, "record", lambda job, result: records[job])
    told: list[int] = []
    notebook = Notebook(told, atomic=atomic)
    writer = Recorder(cast(Store, notebook), lambda job, result: told.append(cast(int, job)))
    results = [SimpleNamespace(run_id=None) for _ in records]
    for number, result in enumerate(results):
        writer.add(cast(Any, number), cast(Any, result))
    writer.flush()
    writer.flush()
    assert told == list(range(len(records)))
    assert [result.run_id for result in results] == [record.run_id for record in records]
    return notebook


SEVEN = [finished(i) for i in range(7)]
LIMITS = {
    "none": ({}, [7]),
    "rows": ({"ROWS": 3 * SEVEN[0].size - 1}, [3, 3, 1]),
    "bytes": ({"BYTES": 2 * sum(map(len, SEVEN[0].artifacts.values())) - 1}, [2, 2, 2, 1]),
    "runs": ({"RUNS": 4}, [4, 3]),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_runs_are_written_when_there_are_enough(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, writes = LIMITS[limit]
    monkeypatch.setattr(recorder, "DELAY", 1e9)
    for name, value in values.items():
        monkeypatch.setattr(recorder, name, value)
    assert recorded(monkeypatch, SEVEN).writes == writes


def test_a_server_gets_runs_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "DELAY", 1e9)
    assert recorded(monkeypatch, SEVEN, atomic=False).writes == [1] * 7


def test_nothing_is_told_of_runs_that_were_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "DELAY", 1e9)
    with pytest.raises(RefusedError, match=r"^no$"):
        recorded(monkeypatch, [*SEVEN, finished(name="bad")])


def late(monkeypatch: pytest.MonkeyPatch, record: RunRecord) -> tuple[Notebook, Recorder]:
    """A run that nothing follows, whose time to be written has come."""
    monkeypatch.setattr(recorder, "DELAY", 0.0)
    monkeypatch.setattr(recorder.describe, "record", lambda job, result: record)
    notebook = Notebook([])
    writer = Recorder(cast(Store, notebook), None)
    writer.add(cast(Any, 0), cast(Any, SimpleNamespace(run_id=None)))
    return notebook, writer


def test_a_run_is_written_while_the_next_one_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook, writer = late(monkeypatch, SEVEN[0])
    eventually(lambda: notebook.writes == [1])
    writer.flush()
    assert notebook.writes == [1]


def test_what_cannot_be_written_late_is_raised_where_runs_are_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, writer = late(monkeypatch, finished(name="bad"))
    eventually(lambda: writer._error is not None)
    with pytest.raises(RefusedError, match=r"^no$"):
        writer.flush()
    writer.flush()


# Many processes

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from tracking_helpers import finished
from gdexp.tracking.connect import connect
store = connect({"uri": sys.argv[2], "experiment": "shared"})
print("ready", flush=True)
sys.stdin.readline()
number = int(sys.argv[3])
for part in range(500 if number < 0 else 5):
    runs = [finished(i, name=f"{number} {10 * part + i}") for i in range(10)]
    print(*store.write(runs), flush=True)
"""


def writer(uri: str, number: int, folder: Path) -> subprocess.Popen[str]:
    """A process that writes runs when it is told to: 50, or very many for a negative number."""
    helpers = str(Path(__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, helpers, uri, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=clean_environment(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_four_processes_write_at_once(
    kind: str, store: Path, request: pytest.FixtureRequest
) -> None:
    uri = "sqlite:///outputs/mlflow.db"
    if kind == "postgresql":
        make: Callable[[], str] = request.getfixturevalue("postgres_store")
        uri = make()
    opened = connect({"uri": uri, "experiment": "shared"})
    started = [writer(opened.uri, number, store) for number in range(4)]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    told = [one.communicate("go\n", timeout=PATIENCE)[0].split() for one in started]
    assert [one.returncode for one in started] == [0, 0, 0, 0]
    assert names(opened) == sorted(f"{n} {i}" for n in range(4) for i in range(50))
    assert len({run_id for ids in told for run_id in ids}) == 200
    rows = tables(opened)["datasets"]
    assert len([row for row in rows if ("experiment_id", int(opened.experiment_id)) in row]) == 1
    for run_id in told[0][:2]:
        assert len(client(opened).get_metric_history(run_id, "train/loss")) == 3
        assert len(client(opened).get_run(run_id).inputs.dataset_inputs) == 1


@pytest.mark.slow
def test_a_process_killed_while_it_writes_leaves_whole_runs_only(store: Path) -> None:
    opened = connect({"uri": "sqlite:///outputs/mlflow.db", "experiment": "shared"})
    killed = writer(opened.uri, -1, store)
    assert killed.stdin is not None
    killed.stdin.write("go\n")
    killed.stdin.flush()
    eventually(lambda: len(opened.runs()) >= 30)
    killed.kill()
    killed.communicate()
    runs = opened.runs()
    assert len(runs) % 10 == 0
    for run in runs:
        assert run.status == "FINISHED"
        assert set(run.metrics) == {"train/loss", "best/epoch"}
        assert opened.files(run) == ["config.yaml", "plots"]
        assert opened.files(run, "plots") == ["plots/loss.png"]

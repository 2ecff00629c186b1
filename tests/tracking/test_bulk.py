"""Finished runs written at once: row for row what MLflow's client writes, all or nothing."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from conftest import clean_environment
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Run
from mlflow.store.tracking.dbmodels.models import SqlDataset

from gdexp.descent.signals import handled
from gdexp.errors import Interrupted, StoreError
from gdexp.tracking import client_store, sql_store
from gdexp.tracking.client_store import write_runs
from gdexp.tracking.run_record import Curve, FinishedRun
from gdexp.tracking.sql_rows import COLUMNS
from gdexp.tracking.store import Store, connect

DATASET = DatasetInput(
    Dataset("tutorial", "e8dd970f", "code", "{}", '{"schema": 1}', '{"features_shape": [4]}'),
    [InputTag("mlflow.data.context", "training")],
)
MASKED = ("run_uuid", "dataset_uuid", "input_uuid", "source_id", "destination_id")
TAGS = {"mlflow.user": "me", "mlflow.source.name": "gdexp", "gdexp.kind": "run"}


def curve(name: str, values: list[float], first: int = 1, start: int = 1000) -> Curve:
    steps = np.arange(first, first + len(values))
    return Curve(name, np.array(values), steps, start + steps)


def finished(number: int = 0, **changes: Any) -> FinishedRun:
    run = FinishedRun(
        name=f"lr=0.0{number}",
        params={"lr": f"0.0{number}", "updater.momentum": "0.0"},
        tags=TAGS,
        curves=[curve("train/loss", [30.0, 4.0, 0.5 + number]), Curve.point("best/epoch", 3, 3, 9)],
        dataset=DATASET,
        status="FINISHED",
        start_ms=1000 + number,
        end_ms=2000 + number,
        artifacts={"config.yaml": f"lr: {number}".encode(), "plots/loss.png": b"\x89PNG"},
    )
    return replace(run, **changes)


def odd_runs() -> list[FinishedRun]:
    """Everything that MLflow treats in a way of its own."""
    inf, nan = math.inf, math.nan
    backwards = Curve("m", np.array([3.0, 1.0, 2.0]), np.array([7, 2, 2**40]), np.array([5, 9, 5]))
    same_step = Curve("m", np.array([1.0, 8.0, 2.0]), np.array([4, 4, 4]), np.array([6, 6, 6]))
    other = DatasetInput(Dataset("other", "1", "code", "{}"), [])
    curves: dict[str, list[Curve]] = {
        "infinite": [curve("m", [inf, -inf]), curve("n", [nan, 1.0]), curve("o", [1.0, nan])],
        "backwards": [backwards],
        "same step": [same_step],
        "same key": [curve("m", [1.0, 2.0]), curve("m", [5.0], first=9), curve("m", [3.0])],
        "same point": [curve("m", [1.0, 2.0]), curve("m", [1.0, 2.0]), curve("n", [nan])] * 2,
        "zeros": [curve("m", [0.0]), curve("m", [nan]), curve("n", [nan]), curve("n", [-0.0])],
        "negative step": [curve("m", [1.0, 2.0, 3.0], first=-2)],
        "long": [curve(name, [float(i) for i in range(1500)]) for name in ("a", "b/c d-e.f")],
        "none": [],
        "empty": [curve("m", [])],
    }
    return [
        *(finished(i, name=name, curves=c) for i, (name, c) in enumerate(curves.items())),
        finished(name="failed", status="FAILED", tags={}, params={}, artifacts={}),
        finished(name="killed", status="KILLED", dataset=None),
        finished(name="a name in a tag", tags={"mlflow.runName": "a name in a tag"}),
        finished(name="long values", params={"x": "y" * 6000}, tags={"x": "€" * 8000}),
        finished(name="too long a value", params={"x": "y" * 6001}),
        finished(name="many params", params={f"p{i}": "1" for i in range(230)}),
        finished(name="another data set", dataset=other),
        finished(name="a data set changed", dataset=changed_dataset()),
        finished(name="quotes ' \" % %s ? :x {} \\", params={"x": "%(y)s ' :z"}),
    ]


def changed_dataset() -> DatasetInput:
    """The name and digest of a known data set, with another description."""
    dataset = Dataset("tutorial", "e8dd970f", "code", "elsewhere")
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "other")])


def by_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_store, "VERIFIED", set())


def tables(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, ids replaced by the run's name or by a mark."""
    engine = sql_store.database(store)
    assert engine is not None
    found: dict[str, list[tuple[Any, ...]]] = {}
    with engine.connect() as connection:
        names = dict(connection.execute(sa.text("SELECT run_uuid, name FROM runs")).all())  # type: ignore[arg-type]
        for name in sa.inspect(engine).get_table_names():
            table = sa.Table(name, sa.MetaData(), autoload_with=engine)
            rows = connection.execute(sa.select(table)).mappings().all()
            found[name] = sorted((masked(row, names) for row in rows), key=repr)
    return found


def masked(row: Mapping[str, Any], names: Mapping[str, str]) -> tuple[Any, ...]:
    """A row whose random ids are names."""
    changed: dict[str, Any] = {k: names.get(row[k], "id") for k in MASKED if k in row}
    if "artifact_uri" in row:
        changed["artifact_uri"] = row["artifact_uri"].replace(row["run_uuid"], "RUN")
    if "creation_time" in row:
        changed |= {"creation_time": 0, "last_update_time": 0}
    return tuple({**row, **changed}.items())


def read_back(store: Store) -> dict[str, Any]:
    """What MlflowClient tells of each run, by its name."""
    client = store.client
    found = {}
    for run in client.search_runs([store.experiment_id]):
        told = plain(run)
        assert plain(client.get_run(run.info.run_id)) == told
        history = {
            name: [(m.step, m.timestamp, repr(m.value)) for m in metrics]
            for name in run.data.metrics
            if (metrics := client.get_metric_history(run.info.run_id, name))
        }
        files = [f.path for f in client.list_artifacts(run.info.run_id)]
        files += [f.path for f in client.list_artifacts(run.info.run_id, "plots")]
        found[run.info.run_name] = told, history, files
    return found


def plain(run: Run) -> str:
    """Everything MLflow tells of a run, NaN as a word."""
    return json.dumps(run.to_dictionary(), sort_keys=True).replace(run.info.run_id, "RUN")


def test_both_paths_write_the_same_rows_to_sqlite(
    workdir: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = odd_runs()
    stores = []
    for name in ("fast.db", "slow.db"):
        shutil.copy(migrated, workdir / name)
        stores.append(connect({"uri": f"sqlite:///{name}", "experiment": "a b"}))
    check_both(stores[0], stores[1], runs, monkeypatch)


@pytest.mark.slow
def test_both_paths_write_the_same_rows_to_postgresql(
    workdir: Path, postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, slow = (connect({"uri": postgres(), "experiment": "a b"}) for _ in range(2))
    check_both(fast, slow, odd_runs(), monkeypatch)


def check_both(
    fast: Store, slow: Store, runs: list[FinishedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_runs(fast, runs) == [run.run_id for run in runs]
    by_client(monkeypatch)
    ids = write_runs(slow, runs)
    assert len(set(ids)) == len(runs)
    assert not set(ids) & {run.run_id for run in runs}
    rows = tables(fast)
    for table, expected in tables(slow).items():
        assert rows[table] == expected, table
    assert len(rows["datasets"]) == 2 + (fast.uri.startswith("sqlite"))  # of the run in `migrated`
    assert read_back(fast) == read_back(slow)


def test_the_columns_written_are_those_of_mlflow() -> None:
    metadata = SqlDataset.metadata
    left_out = {"inputs": {"step"}}  # the database's default is 0
    for table, columns in COLUMNS.items():
        assert set(columns) | left_out.get(table, set()) == set(metadata.tables[table].c.keys())


@pytest.fixture
def sqlite(store: Path) -> Store:
    """An open store with room for finished runs, in an experiment of their own."""
    return connect({"experiment": "bulk"})


def names(store: Store) -> list[str]:
    found = store.client.search_runs([store.experiment_id], max_results=5000)
    return sorted(run.info.run_name for run in found)


def test_artifacts_are_files_where_mlflow_looks_for_them(sqlite: Store) -> None:
    (run_id,) = write_runs(sqlite, [finished(7)])
    folder = sqlite.client.download_artifacts(run_id, "")
    assert Path(folder, "config.yaml").read_bytes() == b"lr: 7"
    assert Path(folder, "plots", "loss.png").read_bytes() == b"\x89PNG"


def test_artifacts_go_through_mlflow_where_there_is_no_folder(
    sqlite: Store, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_store, "_local", lambda location: None)
    (run_id,) = write_runs(sqlite, [finished(7)])
    folder = sqlite.client.download_artifacts(run_id, "")
    assert Path(folder, "plots", "loss.png").read_bytes() == b"\x89PNG"


def test_ids_come_in_the_order_of_the_runs_however_they_are_chunked(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_store, "CHUNK", 3 * finished().size)
    runs = [finished(i) for i in range(10)][::-1]
    assert write_runs(sqlite, iter(runs)) == [run.run_id for run in runs]
    assert len(names(sqlite)) == 10
    assert write_runs(sqlite, []) == []


REFUSED = {
    "a name": ({"params": {"a,b": "1"}}, "Invalid value \"a,b\" for parameter 'key' supplied"),
    "a metric": ({"curves": [curve("a//b", [1.0])]}, 'Invalid value "a//b" for parameter'),
    "a time": ({"curves": [curve("m", [1.0], start=-9)]}, "Timestamp must be a nonnegative long"),
    "a file": ({"artifacts": {"../x": b""}}, "Invalid artifact path: '../x'"),
    "a digest": (
        {"dataset": DatasetInput(Dataset("a", "b" * 37, "code", "{}"), [])},
        "'digest' exceeds the maximum length of 36 characters",
    ),
    "a value": ({"tags": {"x": b"\0".decode(), "mlflow.user": object()}}, "type 'object'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_chunk_with_an_error_leaves_nothing(
    what: str, sqlite: Store, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_store, "CHUNK", 3 * finished().size)
    changes, sentence = REFUSED[what]
    runs = [finished(i) for i in range(8)]
    runs[4] = finished(4, **changes)  # type: ignore[arg-type]
    before = tables(sqlite)
    with pytest.raises(StoreError) as raised:
        write_runs(sqlite, runs)
    assert f"runs cannot be written to {sqlite.uri}: " in str(raised.value)
    assert str(raised.value).endswith(" Written before: 3.")
    assert sentence in str(raised.value)
    assert names(sqlite) == ["lr=0.00", "lr=0.01", "lr=0.02"]
    assert tables(sqlite)["runs"] != before["runs"]
    assert {path.name for path in (workdir / "outputs" / "artifacts").iterdir()} == {
        run.run_id for run in runs[:3]
    }


def test_a_commit_whose_answer_gets_lost_keeps_its_artifacts(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = sql_store.insert

    def lost(*args: Any) -> None:
        insert(*args)
        raise ConnectionError("server closed the connection")

    monkeypatch.setattr(sql_store, "insert", lost)
    with pytest.raises(StoreError, match="server closed the connection"):
        write_runs(sqlite, [finished()])
    (run,) = sqlite.client.search_runs([sqlite.experiment_id])
    assert len(sqlite.client.list_artifacts(run.info.run_id)) == 2


def test_an_id_is_written_once(sqlite: Store) -> None:
    run = finished()
    with pytest.raises(StoreError) as raised:
        write_runs(sqlite, [run, replace(run, name="other")])
    assert str(raised.value) == (
        f"2 runs cannot be written to {sqlite.uri}: there is a run {run.run_id} already. "
        "Written before: 0."
    )
    write_runs(sqlite, [run])
    with pytest.raises(StoreError, match=f"^A run cannot .*: there is a run {run.run_id} already"):
        write_runs(sqlite, [replace(run, artifacts={"config.yaml": b"overwritten"})])
    folder = sqlite.client.download_artifacts(run.run_id, "")
    assert Path(folder, "config.yaml").read_bytes() == b"lr: 0"


def test_a_deleted_experiment_takes_no_runs(sqlite: Store) -> None:
    sqlite.client.delete_experiment(sqlite.experiment_id)
    with pytest.raises(
        StoreError, match=r"the experiment 'bulk' has been deleted\. Written before: 0"
    ):
        write_runs(sqlite, [finished()])


def test_a_run_that_the_client_cannot_finish_is_deleted(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_client(monkeypatch)
    with pytest.raises(StoreError, match=r"Invalid artifact path: '../x'.* Written before: 1"):
        write_runs(sqlite, [finished(0), finished(1, artifacts={"../x": b""}), finished(2)])
    assert names(sqlite) == ["lr=0.00"]


def test_a_database_of_another_version_is_written_by_the_client(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sql_store, "insert", lambda *_: pytest.fail("the tables are unknown"))
    engine = sql_store.database(sqlite)
    assert engine is not None
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'later'"))
    with caplog.at_level("INFO", logger="gdexp"):
        assert write_runs(sqlite, [finished()]) != [finished().run_id]
    assert "This MLflow's tables are new to gdexp" in caplog.text
    assert names(sqlite) == ["lr=0.00"]


def test_a_signal_waits_for_the_chunk(sqlite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_store, "CHUNK", 3 * finished().size)
    insert = sql_store.insert

    def interrupted(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        insert(*args)

    monkeypatch.setattr(sql_store, "insert", interrupted)
    with handled(), pytest.raises(Interrupted):
        write_runs(sqlite, [finished(i) for i in range(9)])
    assert names(sqlite) == ["lr=0.00", "lr=0.01", "lr=0.02"]


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
import test_bulk
from gdexp.tracking import client_store
from gdexp.tracking.store import connect
store = connect({"uri": sys.argv[2], "experiment": "shared"})
client_store.CHUNK = 10 * test_bulk.finished().size
print("ready", flush=True)
sys.stdin.readline()
number = int(sys.argv[3])
runs = (test_bulk.finished(i, name=f"{number} {i}") for i in range(5000 if number < 0 else 50))
print(*client_store.write_runs(store, runs), flush=True)
"""


def writer(uri: str, number: int, folder: Path) -> subprocess.Popen[str]:
    """A process that writes runs when it is told to: 50, or very many for a negative number."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(Path(__file__).parent), uri, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=clean_environment(),
    )


def check_four_writers(store: Store, folder: Path) -> None:
    started = [writer(store.uri, number, folder) for number in range(4)]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    told = [one.communicate("go\n", timeout=240)[0].split() for one in started]
    assert [one.returncode for one in started] == [0, 0, 0, 0]
    assert names(store) == sorted(f"{n} {i}" for n in range(4) for i in range(50))
    assert len({run_id for ids in told for run_id in ids}) == 200
    rows = tables(store)
    ours = [row for row in rows["datasets"] if ("experiment_id", int(store.experiment_id)) in row]
    assert len(ours) == 1
    for run_id in told[0][:2]:
        assert len(store.client.get_metric_history(run_id, "train/loss")) == 3
        assert len(store.client.get_run(run_id).inputs.dataset_inputs) == 1


@pytest.mark.slow
def test_four_processes_write_to_one_sqlite_file(store: Path) -> None:
    opened = connect({"uri": "sqlite:///outputs/mlflow.db", "experiment": "shared"})
    check_four_writers(opened, store)


@pytest.mark.slow
def test_four_processes_write_to_postgresql(workdir: Path, postgres: Callable[[], str]) -> None:
    check_four_writers(connect({"uri": postgres(), "experiment": "shared"}), workdir)


@pytest.mark.slow
def test_a_process_killed_while_it_writes_leaves_whole_runs_only(store: Path) -> None:
    opened = connect({"uri": "sqlite:///outputs/mlflow.db", "experiment": "shared"})
    killed = writer(opened.uri, -1, store)
    assert killed.stdout is not None
    assert killed.stdin is not None
    killed.stdout.readline()
    killed.stdin.write("go\n")
    killed.stdin.flush()
    while len(names(opened)) < 30:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    found = opened.client.search_runs([opened.experiment_id], max_results=5000)
    assert len(found) % 10 == 0
    for run in found:
        assert run.info.status == "FINISHED"
        assert set(run.data.metrics) == {"train/loss", "best/epoch"}
        assert len(run.inputs.dataset_inputs) == 1
        assert len(opened.client.list_artifacts(run.info.run_id)) == 2


def measured(store: Store) -> int:
    """How many rows of statistics a SQLite database has."""
    engine = sql_store.database(store)
    assert engine is not None
    with engine.connect() as connection:
        tables = connection.execute(sa.text("SELECT name FROM sqlite_master")).scalars()
        if "sqlite_stat1" not in set(tables):
            return 0
        return int(connection.execute(sa.text("SELECT count(*) FROM sqlite_stat1")).scalar_one())


def test_a_database_is_analyzed_when_it_has_grown(
    sqlite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_runs(sqlite, [finished()])  # with the run of `migrated`: 2
    assert measured(sqlite) == 0
    monkeypatch.setattr(sql_store, "MANY", 4)
    write_runs(sqlite, [finished()])
    assert measured(sqlite) == 0
    write_runs(sqlite, [finished()])
    assert measured(sqlite) > 0


def test_analyze_says_what_is_wrong(sqlite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_store, "COLUMNS", {"nowhere": ()})
    with pytest.raises(StoreError, match=r"^tracking\.uri: sqlite:.* cannot be analyzed: no such"):
        sql_store.analyze(sqlite)


def test_a_server_is_not_analyzed() -> None:
    sql_store.analyze(Store(MlflowClient("http://127.0.0.1:9"), "http://127.0.0.1:9", "gdexp", "0"))


def test_postgresql_is_analyzed(workdir: Path, postgres: Callable[[], str]) -> None:
    sql_store.analyze(connect({"uri": postgres()}))


def test_what_a_finished_run_must_have() -> None:
    with pytest.raises(ValueError, match=r"^A run needs a name: MLflow would"):
        finished(name="")
    with pytest.raises(ValueError, match=r"^'RUNNING' is not how a run ends\. Type"):
        finished(status="RUNNING")
    with pytest.raises(ValueError, match=r"^m has 1 values, 2 steps and 1 timestamps"):
        Curve("m", np.zeros(1), np.arange(2), np.arange(1))


@pytest.fixture(autouse=True)
def _fresh_connections() -> Iterator[None]:
    """Connections are kept for a process; a test has a store of its own."""
    yield
    from gdexp.tracking.store import _connect

    _connect.cache_clear()

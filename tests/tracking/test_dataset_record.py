"""The data set of a run as MLflow's own reader gives it back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow.data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import client, last
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.entities import Run

from gdexp import run
from gdexp.tracking.client_store import ClientStore
from gdexp.tracking.connect import client_of, open_existing
from gdexp.tracking.dataset_record import dataset_record, shape_of
from gdexp.tracking.run_record import DatasetRecord

CSV = "x,y\n1,2\n2,4\n3,7\n"


def source_of(found: Run) -> DatasetSource:
    (used,) = found.inputs.dataset_inputs
    return mlflow.data.get_source(used.dataset)


@pytest.mark.filterwarnings("ignore:The specified dataset source can be:UserWarning")
@pytest.mark.parametrize("name", ["t.csv", "50% größe (1).csv", "a b/c.csv"])
def test_the_source_of_a_file_is_the_file(store: Path, name: str) -> None:
    path = store / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(CSV)
    run("data=csv", f"data.path='{name}'", "data.target=y", "iters=2")
    found = last(client(store))
    source = source_of(found)
    assert Path(source.load()).read_text() == CSV
    (used,) = found.inputs.dataset_inputs
    by_mlflow = resolve_dataset_source(str(path))
    assert used.dataset.source == by_mlflow.to_json()
    assert used.dataset.source_type == by_mlflow._get_source_type() == "local"


def test_the_source_of_a_parquet_file_is_the_file(store: Path) -> None:
    path = store / "t.parquet"
    pq.write_table(pa.table({"x": [1.0, 2.0], "y": [2.0, 4.0]}), path)
    run("data=parquet", f"data.path={path}", "data.target=y", "iters=2")
    read = pq.read_table(source_of(last(client(store))).load())
    assert np.array_equal(read["y"], [2.0, 4.0])


def test_data_without_a_file_come_from_gdexp(store: Path) -> None:
    run("iters=2")
    assert source_of(last(client(store))).to_dict() == {"tags": {"mlflow.source.name": "gdexp"}}


def test_the_client_writes_the_same_source(
    store: Path, monkeypatch: pytest.MonkeyPatch, migrated: Path
) -> None:
    (store / "t.csv").write_text(CSV)
    run("data=csv", "data.path=t.csv", "data.target=y", "iters=2")
    (known,) = last(client(store)).inputs.dataset_inputs

    def by_client(uri: str, experiment: str) -> ClientStore:
        opened = client_of(uri)
        found = opened.get_experiment_by_name(experiment)
        return ClientStore(opened, uri, experiment, found.experiment_id)

    monkeypatch.setattr("gdexp.tracking.connect._connect", by_client)
    (store / "u.csv").write_text(CSV.replace("7", "8"))
    run("data=csv", "data.path=u.csv", "data.target=y", "iters=2")
    (used,) = last(client(store)).inputs.dataset_inputs
    assert used.dataset.source == known.dataset.source.replace("t.csv", "u.csv")
    assert used.dataset.source_type == known.dataset.source_type


def test_both_kinds_of_store_read_it_back(store: Path) -> None:
    (store / "t.csv").write_text(CSV)
    result = run("data=csv", "data.path=t.csv", "data.target=y", "iters=2")
    assert result.job is not None
    assert result.data is not None
    uri = f"sqlite:///{store}/outputs/mlflow.db"
    by_sql = open_existing(uri, None)
    by_client = ClientStore(client_of(uri), uri, "gdexp", by_sql.experiment_id)
    newest, first = by_sql.runs()
    expected = dataset_record(result.job, result.data)
    assert by_sql.dataset(newest) == by_client.dataset(newest) == expected
    assert by_sql.dataset(first) == by_client.dataset(first) != expected
    with closing(sqlite3.connect(store / "outputs" / "mlflow.db")) as database, database:
        database.execute("DELETE FROM inputs")
    assert by_sql.dataset(newest) is by_client.dataset(newest) is None


@pytest.mark.parametrize(
    ("profile", "shape"),
    [
        ('{"features_shape": [4]}', (4, 1)),
        ('{"features_shape": [4, 2]}', (4, 2)),
        ('{"features_shape": [4, 2, 3]}', (4, 2)),
        *((text, None) for text in (None, "", "[]", "{}", "no JSON", '{"features_shape": []}')),
        *((f'{{"features_shape": {text}}}', None) for text in ("4", '["many"]', "[Infinity]")),
    ],
)
def test_the_shape_of_a_record_is_read_or_unknown(
    profile: str | None, shape: tuple[int, int] | None
) -> None:
    record = DatasetRecord("t", "d", "local", "{}", schema="", profile=profile)
    assert shape_of(record) == shape

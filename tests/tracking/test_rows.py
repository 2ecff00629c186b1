"""Runs written by SQL: row for row what MLflow's client writes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.store.tracking.dbmodels.models import SqlDataset
from tracking_helpers import (
    client_store,
    lived,
    odd_runs,
    read_back,
    tables,
    through_client,
)

from gdexp.tracking.connect import connect
from gdexp.tracking.run_record import RunRecord
from gdexp.tracking.sql_rows import COLUMNS
from gdexp.tracking.sql_store import SqlStore
from gdexp.tracking.store import Store


def pair_of(folder: Path, migrated: Path) -> tuple[Store, Store]:
    stores = []
    for name in ("fast.db", "slow.db"):
        shutil.copy(migrated, folder / name)
        stores.append(connect({"uri": f"sqlite:///{name}", "experiment": "a b"}))
    return stores[0], stores[1]


def test_both_paths_write_the_same_rows_to_sqlite(workdir: Path, migrated: Path) -> None:
    check_both(*pair_of(workdir, migrated), odd_runs())


@pytest.mark.slow
def test_both_paths_write_the_same_rows_to_postgresql(
    workdir: Path, postgres_store: Callable[[], str]
) -> None:
    fast, slow = (connect({"uri": postgres_store(), "experiment": "a b"}) for _ in range(2))
    check_both(fast, slow, odd_runs())


def check_both(fast: Store, slow: Store, runs: list[RunRecord]) -> None:
    assert isinstance(fast, SqlStore)
    assert fast.write(runs) == [run.run_id for run in runs]
    ids = through_client(slow, runs)
    assert len(set(ids)) == len(runs)
    assert not set(ids) & {run.run_id for run in runs}
    compare(fast, slow)


def compare(fast: Store, slow: Store) -> None:
    rows = tables(fast)
    for table, expected in tables(slow).items():
        assert rows[table] == expected, table
    assert read_back(fast) == read_back(slow)


@pytest.mark.slow
def test_both_paths_write_the_life_of_a_run_alike(workdir: Path, migrated: Path) -> None:
    fast, slow = pair_of(workdir, migrated)
    check_life(fast, slow)


@pytest.mark.slow
def test_both_paths_write_the_life_of_a_run_alike_to_postgresql(
    workdir: Path, postgres_store: Callable[[], str]
) -> None:
    fast, slow = (connect({"uri": postgres_store(), "experiment": "a b"}) for _ in range(2))
    check_life(fast, slow)


def check_life(fast: Store, slow: Store) -> None:
    by_client, run_id = client_store(slow), ""
    for stage, records in enumerate(lived()):
        fast.write(records)
        ended = [one if not stage else replaced(one, run_id) for one in records]
        (run_id,) = by_client.write(ended)
        compare(fast, slow)


def replaced(record: RunRecord, run_id: str) -> RunRecord:
    from dataclasses import replace

    return replace(record, run_id=run_id)


def test_the_columns_written_are_those_of_mlflow() -> None:
    metadata = SqlDataset.metadata
    left_out = {"inputs": {"step"}}  # the database's default is 0
    for table, columns in COLUMNS.items():
        assert set(columns) | left_out.get(table, set()) == set(metadata.tables[table].c.keys())


@pytest.mark.parametrize("dialect", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_both_stores_read_the_same_runs(
    dialect: str, workdir: Path, migrated: Path, request: pytest.FixtureRequest
) -> None:
    if dialect == "sqlite":
        store, _ = pair_of(workdir, migrated)
    else:
        store = connect({"uri": request.getfixturevalue("postgres_store")(), "experiment": "a b"})
    runs = odd_runs()
    store.write(runs)
    other = client_store(store)
    both = [
        (one.runs(limit=3), one.runs({"gdexp.kind": "run"}), one.runs({"gdexp.kind": None}))
        for one in (store, other)
    ]
    assert repr(both[0]) == repr(both[1])
    assert len(both[0][1]) == len([run for run in runs if "gdexp.kind" in run.tags])
    prefix = runs[3].run_id[:9]
    for one in (store, other):
        (named,) = one.runs(id_prefix=prefix, everywhere=True)
        assert named.run_id == runs[3].run_id
        assert one.runs({"gdexp.kind": "'"}) == []
        assert one.files(named) == ["config.yaml", "plots"]
        assert one.files(named, "plots") == ["plots/loss.png"]
        assert one.read(named, "plots/loss.png") == b"\x89PNG"

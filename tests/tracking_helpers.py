"""Run records of all kinds, and what a store holds of them, ids replaced by names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from mlflow import MlflowClient
from mlflow.entities import Run

from gdexp.tracking.client_store import ClientStore
from gdexp.tracking.connect import client_of
from gdexp.tracking.run_record import Curve, DatasetRecord, RunRecord
from gdexp.tracking.store import Store
from gdexp.tracking.tags import RUN_KEY

DATASET = DatasetRecord("tutorial", "e8dd970f", "code", "{}", '{"schema": 1}', '{"shape": [4]}')
MASKED = ("run_uuid", "dataset_uuid", "input_uuid", "source_id", "destination_id")
TAGS = {"mlflow.user": "me", "mlflow.source.name": "gdexp", "gdexp.kind": "run"}


def curve(name: str, values: list[float], first: int = 1, start: int = 1000) -> Curve:
    steps = np.arange(first, first + len(values))
    return Curve(name, np.array(values), steps, start + steps)


def finished(number: int = 0, **changes: Any) -> RunRecord:
    run = RunRecord(
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


def lived() -> list[list[RunRecord]]:
    """The life of a run that is opened, fed and ended: what is written, one after another."""
    opened = finished(
        name="lived",
        status="RUNNING",
        end_ms=None,
        tags=TAGS | {"gdexp.process": "me"},
        curves=[],
        artifacts={"config.yaml": b"lr: 1"},
    )
    new: dict[str, Any] = {"params": {}, "dataset": None, "is_open": True}
    fed = replace(opened, **new, tags={}, curves=[curve("train/loss", [9.0, 8.0])], artifacts={})
    more = replace(fed, curves=[curve("train/loss", [7.0], first=3)])
    ended = replace(
        more,
        status="KILLED",
        end_ms=5000,
        tags={"gdexp.outcome": "interrupted", "mlflow.note.content": "ended"},
        curves=[curve("train/loss", [6.0, math.nan], first=4), Curve.point("best/loss", 6, 4, 9)],
        artifacts={"transcript.txt": b"epoch 1"},
    )
    return [[opened], [fed], [more], [ended]]


def odd_runs() -> list[RunRecord]:
    """Everything that MLflow treats in a way of its own."""
    inf, nan = math.inf, math.nan
    backwards = Curve("m", np.array([3.0, 1.0, 2.0]), np.array([7, 2, 2**40]), np.array([5, 9, 5]))
    same_step = Curve("m", np.array([1.0, 8.0, 2.0]), np.array([4, 4, 4]), np.array([6, 6, 6]))
    other = DatasetRecord("other", "1", "code", "{}", context=None)
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
        finished(name="many params", params={f"p{i}": "1" for i in range(230)}),
        finished(name="another data set", dataset=other),
        finished(name="a data set changed", dataset=changed_dataset()),
        finished(name="quotes ' \" % %s ? :x {} \\", params={"x": "%(y)s ' :z"}),
    ]


def changed_dataset() -> DatasetRecord:
    """The name and digest of a known data set, with another description."""
    return DatasetRecord("tutorial", "e8dd970f", "code", "elsewhere", context="other")


def through_client(store: Store, records: list[RunRecord]) -> list[str]:
    """Write them with MLflow's client; ids that are open are the client's own."""
    return client_store(store).write(records)


def client_store(store: Store) -> ClientStore:
    return ClientStore(client(store), store.uri, store.experiment, store.experiment_id)


def client(store: Store) -> MlflowClient:
    return client_of(store.uri)


def names(store: Store) -> list[str]:
    runs = client(store).search_runs([store.experiment_id], max_results=5000)
    return sorted(run.info.run_name for run in runs)


def tables(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, ids replaced by the run's name or by a mark."""
    return tables_at(store.uri)


def tables_at(uri: str) -> dict[str, list[tuple[Any, ...]]]:
    engine = sa.create_engine(uri)
    rows_of: dict[str, list[tuple[Any, ...]]] = {}
    with engine.connect() as connection:
        names = dict(connection.execute(sa.text("SELECT run_uuid, name FROM runs")).all())  # type: ignore[arg-type]
        for name in sa.inspect(engine).get_table_names():
            table = sa.Table(name, sa.MetaData(), autoload_with=engine)
            rows = connection.execute(sa.select(table)).mappings().all()
            # a client's runs have a key besides the client's id
            kept = (row for row in rows if row.get("key") != RUN_KEY)
            rows_of[name] = sorted((masked(row, names) for row in kept), key=repr)
    engine.dispose()
    return rows_of


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
    opened = client(store)
    found = {}
    for run in opened.search_runs([store.experiment_id]):
        told = plain(run)
        assert plain(opened.get_run(run.info.run_id)) == told
        history = {
            name: [(m.step, m.timestamp, repr(m.value)) for m in metrics]
            for name in run.data.metrics
            if (metrics := opened.get_metric_history(run.info.run_id, name))
        }
        files = [f.path for f in opened.list_artifacts(run.info.run_id)]
        files += [f.path for f in opened.list_artifacts(run.info.run_id, "plots")]
        found[run.info.run_name] = told, history, files
    return found


def plain(run: Run) -> str:
    """Everything MLflow tells of a run but the key that a client gives it, NaN as a word."""
    told = run.to_dictionary()
    told["data"]["tags"].pop(RUN_KEY, None)
    return json.dumps(told, sort_keys=True).replace(run.info.run_id, "RUN")

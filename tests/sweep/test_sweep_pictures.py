"""The pictures of a sweep on its summary run: drawn once, by its owner, changing nothing else."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import client
from sweep_helpers import summary

from gdexp.commands import ui
from gdexp.sweep import pictures
from gdexp.sweep.pictures import LOSS, rows_of
from gdexp.tracking import environment, query
from gdexp.tracking.client_store import ClientStore
from gdexp.tracking.connect import client_of, open_existing
from gdexp.tracking.selection import Selection, selection
from gdexp.tracking.store import Store

FILES = ["plots/curves.svg", "plots/map.svg", "plots/pictures.json"]


@pytest.fixture
def copied(
    recorded_sweep: Path, environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of the recorded sweep, to be changed; its artifacts go to this folder."""
    shutil.copytree(recorded_sweep / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect(tmp_path / "outputs" / "mlflow.db")) as opened, opened:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            opened.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                (recorded_sweep.as_uri(), tmp_path.as_uri()),
            )
    return tmp_path


@pytest.fixture
def store(copied: Path) -> Store:
    return open_existing(None, None)


def sweep(store: Store) -> Selection:
    chosen = pictures.own_sweep(store, query.select(store))
    assert chosen is not None
    return chosen


@pytest.mark.parametrize("through_client", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_they_are_drawn_once_and_change_nothing_else(store: Store, through_client: bool) -> None:
    opened = store
    if through_client:
        opened = ClientStore(client_of(store.uri), store.uri, store.experiment, store.experiment_id)
    before = summary(client(Path.cwd()))
    assert pictures.log_pictures(opened, sweep(opened))
    after = summary(client(Path.cwd()))
    assert (after.info.status, after.info.end_time) == (before.info.status, before.info.end_time)
    assert (after.data.tags, after.data.metrics) == (before.data.tags, before.data.metrics)
    chosen = sweep(opened)
    assert chosen.summary is not None
    assert opened.files(chosen.summary, "plots") == FILES
    index = json.loads(opened.read(chosen.summary, "plots/pictures.json"))
    assert [each["name"] for each in index["pictures"]] == ["map", "curves"]
    assert index["pictures"][0]["description"].startswith("Final loss by lr and step")
    assert opened.read(chosen.summary, "plots/map.svg").startswith(b"<?xml")
    assert not pictures.log_pictures(opened, chosen)
    resumed = replace(chosen, summary=replace(chosen.summary, heard_ms=1 + chosen.summary.heard_ms))
    assert pictures.log_pictures(opened, resumed)


@pytest.mark.parametrize("content", [b"[]", b'{"version": "0.1"}', b"\xff"])
def test_an_index_that_says_nothing_is_replaced(store: Store, content: bytes) -> None:
    chosen = sweep(store)
    assert chosen.summary is not None
    store.add_files(chosen.summary, {"plots/pictures.json": content})
    assert pictures._index(store, chosen.summary).get("drawn_for") is None


def test_only_sweeps_that_have_ended_and_are_ones_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = query.select(store)
    alone = [replace(run, tags={"gdexp.kind": "run"}) for run in runs]
    assert pictures.own_sweep(store, alone) is None
    monkeypatch.setattr(environment, "user", lambda: "somebody else")
    assert pictures.own_sweep(store, runs) is None
    monkeypatch.undo()
    found = selection(store, []).summary
    assert found is not None
    running = replace(found, status="RUNNING")
    monkeypatch.setattr(store, "runs", lambda *_, **__: [running])
    assert pictures.own_sweep(store, runs) is None


def test_what_is_drawn_is_what_was_recorded(store: Store) -> None:
    chosen = selection(store, [])
    rows = rows_of(chosen.runs)
    assert [row["job"] for row in rows] == [0, 1, 2, 3]
    ids = [run.run_id for run in chosen.runs]
    curves = store.curves(ids, LOSS)
    for run, row in zip(chosen.runs, rows, strict=True):
        assert (row["lr"], row["final/loss"]) == (run.params["lr"], run.metrics["final/loss"])
        history = client(Path.cwd()).get_metric_history(run.run_id, "train/loss")
        epochs, losses = curves[run.run_id]
        assert [*zip(epochs, losses, strict=True)] == [(m.step, m.value) for m in history]
    tagged = replace(chosen.runs[0], tags=chosen.runs[0].tags | {"gdexp.behaviour": "monotone"})
    assert rows[0].get("behaviour") == chosen.runs[0].tags.get("gdexp.behaviour")
    assert rows_of([tagged])[0]["behaviour"] == "monotone"
    single = replace(tagged, tags={"gdexp.kind": "run"})
    assert [row["job"] for row in rows_of([single, single])] == [0, 1]


def test_the_address_of_the_pictures_stands_before_the_last(store: Store) -> None:
    chosen = sweep(store)
    assert chosen.summary is not None
    pages = ui._with_pictures({"runs": "a", "comparison": "b"}, chosen)
    place = f"experiments/{chosen.summary.experiment_id}/runs/{chosen.summary.run_id}"
    assert [*pages.items()] == [
        ("runs", "a"),
        ("pictures", f"{place}/artifacts/plots/map.svg?workflowType=machine_learning"),
        ("comparison", "b"),
    ]
    assert ui._with_pictures({"runs": "a"}, None) == {"runs": "a"}


def test_pictures_that_cannot_be_logged_are_a_line(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise OSError("the disk is full\nTraceback")

    monkeypatch.setattr(store, "add_files", broken)
    ui._log_pictures(store, sweep(store))
    assert capsys.readouterr().err == "the sweep's pictures cannot be logged: the disk is full.\n"

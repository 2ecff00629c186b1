"""A metric of many runs at once: the same from every kind of store."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tracking_helpers import client_store, curve, finished

from gdexp.tracking import sql_query
from gdexp.tracking.connect import connect
from gdexp.tracking.run_record import Curve
from gdexp.tracking.store import Store

NAME = "train/loss"


def check(store: Store) -> None:
    again = Curve(NAME, np.array([8.0, 9.0]), np.array([2, 3]), np.array([5000, 5000]))
    records = [
        finished(1, curves=[curve(NAME, [3.0, 2.0, 1.0]), curve("other", [7.0])]),
        finished(2, curves=[curve("other", [7.0])]),
        finished(3, curves=[curve(NAME, [math.nan, 1e300])]),
        finished(4, curves=[curve(NAME, [3.0, 2.0]), again]),  # the later values count
    ]
    ids = store.write(records)
    for each in (store, client_store(store)):
        curves = each.curves(ids, NAME)
        assert {*curves} == {ids[0], ids[2], ids[3]}
        assert [part.tolist() for part in curves[ids[0]]] == [[1, 2, 3], [3, 2, 1]]
        assert np.array_equal(curves[ids[2]][1], [math.nan, 1e300], equal_nan=True)
        assert [part.tolist() for part in curves[ids[3]]] == [[1, 2, 3], [3, 8, 9]]
        assert each.curves([], NAME) == {}


def test_sqlite(store: Path) -> None:
    check(connect({"experiment": "curves"}))


@pytest.mark.slow
def test_postgresql(postgres_store: Callable[[], str], workdir: Path) -> None:
    check(connect({"uri": postgres_store(), "experiment": "curves"}))


def test_more_runs_than_one_query_names(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_query, "AT_ONCE", 3)
    opened = connect({"experiment": "curves"})
    ids = opened.write(
        [replace(finished(i), curves=[curve(NAME, [float(i)])], artifacts={}) for i in range(8)]
    )
    curves = opened.curves(ids, NAME)
    assert [curves[run_id][1].tolist() for run_id in ids] == [[float(i)] for i in range(8)]

"""The newest point of a metric is that of the latest step, then time, then value, in any order."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gdexp.tracking.run_record import Curve, RunRecord
from gdexp.tracking.sql_rows import rows_of

Point = st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from([0.0, 1.0, 2.5, math.nan]))
Curves = st.lists(st.tuples(st.sampled_from("abc"), st.lists(Point, max_size=5)), max_size=6)


@given(st.lists(Curves, min_size=1, max_size=3))
def test_the_newest_point_of_each_metric(
    runs: list[list[tuple[str, list[tuple[int, int, float]]]]],
):
    records, expected = [], {}
    for number, curves in enumerate(runs):
        made = []
        for name, points in curves:
            steps, stamps, values = ([p[i] for p in points] for i in range(3))
            made.append(
                Curve(name, np.array(values, float), np.array(steps, int), np.array(stamps))
            )
            for step, stamp, value in points:
                stored = 0.0 if math.isnan(value) else value
                key = (str(number), name)
                expected[key] = max(expected.get(key, (-1, -1, -1.0)), (step, stamp, stored))
        records.append(RunRecord("run", "FINISHED", 0, 0, curves=made, run_id=str(number)))
    rows = rows_of(records, 1, "file:///tmp")
    newest = {(run, key): (step, t, v) for key, v, t, run, step, _ in rows["latest_metrics"]}
    assert newest == expected
    total = sum(len(points) for curves in runs for _, points in curves)
    assert len(rows["metrics"]) == total


def test_mlflow_shows_them_in_the_order_of_the_curves() -> None:
    names = ["train/loss", "param/w", "best/loss"]
    curves = [Curve(name, np.ones(2), np.array([1, 2]), np.zeros(2, int)) for name in names]
    rows = rows_of(
        [RunRecord("run", "FINISHED", 0, 0, curves=curves, run_id="a")], 1, "file:///tmp"
    )
    assert [key for key, *_ in rows["latest_metrics"]] == names

"""The tutorial's sweep without gdexp: a plain loop and MlflowClient.log_batch.

``python bench_plain_tutorial.py URI LRS ITERS`` takes two comma-separated lists and records a run
of step 1 for each pair in an existing MLflow store.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlflow import MlflowClient

Point = tuple[float, float, float]
CURVES = ("train/loss", "param/w", "grad/w")


def by_hand(iters: int, lr: float) -> Iterator[Point]:
    """The bare loop of step 1; yields loss, w and gradient."""
    x = np.array([1, 2, 3, 4], dtype=np.float32)
    y = np.array([2, 4, 6, 8], dtype=np.float32)
    w = 0.0
    for _ in range(iters):
        y_pred = w * x
        loss = ((y_pred - y) ** 2).mean()
        dw = np.dot(2 * x, y_pred - y).mean()
        w -= lr * dw
        yield loss, w, dw


def record(client: MlflowClient, params: Mapping[str, object], points: Iterable[Point]) -> None:
    """Record one run: its params and all its points in one call."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    metrics = [
        Metric(name, float(value), now, epoch)
        for epoch, values in enumerate(points, start=1)
        for name, value in zip(CURVES, values, strict=True)
    ]
    run = client.create_run(client.get_experiment_by_name("gdexp").experiment_id).info.run_id
    client.log_batch(run, metrics, [Param(key, str(value)) for key, value in params.items()])
    client.set_terminated(run)


def main(uri: str, lrs: str, iters: str) -> None:
    """Run and record the sweep."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    for lr in map(float, lrs.split(",")):
        for n in map(int, iters.split(",")):
            record(client, {"step": "manual", "lr": lr, "iters": n}, by_hand(n, lr))


if __name__ == "__main__":
    main(*sys.argv[1:])

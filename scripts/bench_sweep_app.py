"""The sweep that one writes without gdexp: Hydra's multirun, MLflow called in every iteration.

``python bench_sweep_app.py -m step=manual uri=sqlite:///... lr=0.01,0.02 iters=10,20``
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import hydra
from bench_baselines import CURVES, EXPERIMENT, tutorial
from hydra.core.config_store import ConfigStore


@dataclass
class Config:
    """What can be typed."""

    uri: str
    step: str = "manual"
    lr: float = 0.01
    iters: int = 10


ConfigStore.instance().store("config", Config)


def by_hand(iters: int, lr: float) -> Iterator[tuple[float, float, float]]:
    """The bare loop of step 1; yields loss, w and gradient."""
    import numpy as np

    x = np.array([1, 2, 3, 4], dtype=np.float32)
    y = np.array([2, 4, 6, 8], dtype=np.float32)
    w = 0.0
    for _ in range(iters):
        y_pred = w * x
        loss = ((y_pred - y) ** 2).mean()
        dw = np.dot(2 * x, y_pred - y).mean()
        w -= lr * dw
        yield loss, w, dw


@hydra.main(config_path=None, config_name="config", version_base=None)
def main(cfg: Config) -> None:
    """One run."""
    import mlflow

    mlflow.set_tracking_uri(cfg.uri)
    mlflow.set_experiment(EXPERIMENT)
    train = {"manual": by_hand, "autograd": tutorial}[cfg.step]
    with mlflow.start_run():
        mlflow.log_params(dict(cfg))
        for epoch, values in enumerate(train(cfg.iters, cfg.lr), start=1):
            for name, value in zip(CURVES, values, strict=True):
                mlflow.log_metric(name, value, step=epoch)


if __name__ == "__main__":
    main()

"""Baselines: the tutorial's step 2 with MLflow tracking, written without gdexp.

``python bench_baselines.py NAME URI ITERS`` records loss, w and gradient in an existing MLflow
store. It prints the seconds per iteration, without the first WARM iterations, which include one-off
loading and compiling.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

EXPERIMENT = "gdexp"
WARM = 10
PARAMS = {
    "step": "autograd",
    "data": "tutorial",
    "predictor": "manual",
    "gradient": "autograd",
    "loss": "manual",
    "updater": "manual",
    "lr": 0.01,
    "iters": 10_000,
    "seed": 0,
    "dtype": "float32",
    "predict_at": 5.0,
    "data.x": "[1, 2, 3, 4]",
    "data.y": "[2, 4, 6, 8]",
    "data.name": "tutorial",
    "predictor.bias": False,
    "predictor.init": 0.0,
    "updater.lr": 0.01,
}
CURVES = ("train/loss", "param/w", "grad/w")


def tutorial(iters: int, lr: float = 0.01) -> Iterator[tuple[float, float, float]]:
    """The bare loop of step 2; yields loss, w and gradient as numbers."""
    import torch

    x = torch.tensor([1, 2, 3, 4], dtype=torch.float32)
    y = torch.tensor([2, 4, 6, 8], dtype=torch.float32)
    w = torch.tensor(0.0, dtype=torch.float32, requires_grad=True)
    for _ in range(iters):
        loss = ((w * x - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= lr * w.grad
        yield loss.item(), w.item(), w.grad.item()
        w.grad.zero_()


def log_metric(uri: str, iters: int) -> float:
    """Calls ``mlflow.log_metric`` three times in each iteration."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run():
        mlflow.log_params(PARAMS)
        for epoch, values in enumerate(tutorial(iters), start=1):
            if epoch == WARM + 1:
                started = time.perf_counter()
            for name, value in zip(CURVES, values, strict=True):
                mlflow.log_metric(name, value, step=epoch)
        return (time.perf_counter() - started) / (iters - WARM)


def log_batch(uri: str, iters: int) -> float:
    """Collects values in lists, then sends the same rows as gdexp with ``log_batch``."""
    import numpy as np
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(tracking_uri=uri)
    run = client.create_run(client.get_experiment_by_name(EXPERIMENT).experiment_id).info.run_id
    client.log_batch(run, params=[Param(k, str(v)) for k, v in PARAMS.items()])
    started = time.perf_counter()
    values = list(tutorial(iters))
    pace = (time.perf_counter() - started) / iters
    now = int(time.time() * 1000)
    epochs = np.unique(np.linspace(1, iters, 1000).astype(int)).tolist()
    for i, name in enumerate(CURVES):
        client.log_batch(run, metrics=[Metric(name, values[e - 1][i], now, e) for e in epochs])
    losses = [loss for loss, _, _ in values]
    best = min(losses)
    final = {
        "final/loss": losses[-1],
        "final/prediction": 5 * values[-1][1],
        "best/loss": best,
        "best/epoch": losses.index(best) + 1,
    }
    client.log_batch(run, metrics=[Metric(k, v, now, iters) for k, v in final.items()])
    client.set_terminated(run)
    return pace


def lightning(uri: str, iters: int) -> float:
    """Lightning's loop with its MLFlowLogger, logging every step."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import MLFlowLogger

    class Step2(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor(0.0))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

        def training_step(self, batch, _):
            x, y = batch
            loss = ((self.w * x - y) ** 2).mean()
            self.log("train/loss", loss)
            return loss

        def on_before_optimizer_step(self, _):
            self.log_dict({"param/w": self.w.detach(), "grad/w": self.w.grad})

        def on_train_batch_start(self, _, index):
            if index == WARM:
                self.started = time.perf_counter()

        def on_train_end(self):
            self.pace = (time.perf_counter() - self.started) / (iters - WARM)

    model = Step2()
    batch = torch.tensor([1.0, 2, 3, 4]), torch.tensor([2.0, 4, 6, 8])
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=MLFlowLogger(EXPERIMENT, tracking_uri=uri),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(model, torch.utils.data.DataLoader([batch] * iters, batch_size=None))
    return model.pace


if __name__ == "__main__":
    name, uri, iters = sys.argv[1:]
    print({f.__name__: f for f in (log_metric, log_batch, lightning)}[name](uri, int(iters)))

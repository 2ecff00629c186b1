"""A sweep without gdexp: a plain loop that sends its curves with log_batch.

``python bench_plain_diabetes.py URI RUNS ITERS [--adam]`` fits diabetes at RUNS learning rates, by
hand or with torch's Adam, and records loss, parameters and gradients of every epoch, 23 curves per
run, in an existing MLflow store.
"""

import sys
import time

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric
from sklearn.datasets import load_diabetes

CURVES = [*(f"{kind}/{name}" for kind in ("param", "grad") for name in (*map(str, range(10)), "b"))]


def by_hand(x, y, lr, iters):
    """Yield the loss, the parameters after and the gradients before each update."""
    w, b = np.zeros(x.shape[1]), 0.0
    for _ in range(iters):
        residual = x @ w + b - y
        loss = (residual**2).mean()
        dw, db = 2 / len(y) * (x.T @ residual), 2 * residual.mean()
        w, b = w - lr * dw, b - lr * db
        yield loss, *w, b, *dw, db


def by_adam(x, y, lr, iters):
    """The same with torch's model, loss and optimizer."""
    import torch

    x, y = torch.as_tensor(x), torch.as_tensor(y).unsqueeze(1)
    model, loss_of = torch.nn.Linear(x.shape[1], 1), torch.nn.MSELoss()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(iters):
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        parts = (model.weight[0], model.bias, model.weight.grad[0], model.bias.grad)
        yield loss.item(), *torch.cat(parts).tolist()


def main(uri, runs, iters, descend):
    """Run and record the sweep."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("gdexp").experiment_id
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    y = y.astype(np.float32)
    for lr in np.linspace(0.001, 0.1, runs):
        run = client.create_run(experiment).info.run_id
        client.log_param(run, "lr", lr)
        metrics = [
            Metric(name, float(value), int(time.time() * 1000), epoch)
            for epoch, values in enumerate(descend(x, y, float(lr), iters), start=1)
            for name, value in zip(["train/loss", *CURVES], values, strict=True)
        ]
        for start in range(0, len(metrics), 1000):
            client.log_batch(run, metrics=metrics[start : start + 1000])
        client.set_terminated(run)


if __name__ == "__main__":
    main(
        sys.argv[1],
        int(sys.argv[2]),
        int(sys.argv[3]),
        by_adam if "--adam" in sys.argv else by_hand,
    )

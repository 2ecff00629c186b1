"""A sweep without gdexp: a plain loop that sends its curves with log_batch.

``python bench_plain_diabetes.py URI RUNS ITERS MODEL`` fits diabetes at RUNS learning rates and
records loss, parameters and gradients of every epoch in an existing MLflow store. MODEL is a key of
:data:`MODELS`. As in gdexp, a parameter of more than 20 numbers is recorded as its norm: a linear
model has 23 curves, the network 69.
"""

import sys
import time

import numpy as np
from sklearn.datasets import load_diabetes

SMALL = 20


def by_hand(x, y, lr, iters):
    """Yield the loss, the parameters after and the gradients before each update."""
    w, b = np.zeros(x.shape[1]), 0.0
    for _ in range(iters):
        residual = x @ w + b - y
        loss = (residual**2).mean()
        dw, db = 2 / len(y) * (x.T @ residual), 2 * residual.mean()
        w, b = w - lr * dw, b - lr * db
        yield loss, *w, b, *dw, db


def by_torch(x, y, model, lr, iters, batch_size=None, seed=0):
    """The same with a torch model, MSELoss and Adam; the loss is that of the last minibatch."""
    import torch

    x, y = torch.as_tensor(x), torch.as_tensor(y).unsqueeze(1)
    parameters, loss_of = [*model.parameters()], torch.nn.MSELoss()
    optimizer = torch.optim.Adam(parameters, lr=lr)
    for epoch in range(iters):
        rows = [slice(None)]
        if batch_size is not None:
            order = np.random.default_rng((seed, epoch)).permutation(len(y))
            rows = torch.from_numpy(order).split(batch_size)
        for batch in rows:
            optimizer.zero_grad()
            loss = loss_of(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
        yield loss.item(), *_read(parameters), *_read([p.grad for p in parameters])


def _read(tensors):
    for tensor in tensors:
        yield from tensor.flatten().tolist() if tensor.numel() <= SMALL else [tensor.norm().item()]


def by_adam(x, y, lr, iters):
    """A linear model, from zero."""
    import torch

    model = torch.nn.Linear(x.shape[1], 1)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    return by_torch(x, y, model, lr, iters)


def by_network(x, y, lr, iters, batch_size=None, seed=0):
    """A hidden layer of 16 with tanh."""
    import torch

    torch.manual_seed(seed)
    layers = torch.nn.Linear(x.shape[1], 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
    return by_torch(x, y, torch.nn.Sequential(*layers), lr, iters, batch_size, seed)


MODELS = {"hand": by_hand, "adam": by_adam, "mlp": by_network}


def table():
    """The inputs, standardized, and the targets."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32), y.astype(np.float32)


def main(uri, runs, iters, model):
    """Run and record the sweep."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("gdexp").experiment_id
    x, y = table()
    for lr in np.linspace(0.001, 0.1, int(runs)):
        run = client.create_run(experiment).info.run_id
        client.log_param(run, "lr", lr)
        metrics = [
            Metric(f"curve/{i}", float(value), int(time.time() * 1000), epoch)
            for epoch, values in enumerate(MODELS[model](x, y, float(lr), int(iters)), start=1)
            for i, value in enumerate(values)
        ]
        for start in range(0, len(metrics), 1000):
            client.log_batch(run, metrics=metrics[start : start + 1000])
        client.set_terminated(run)


if __name__ == "__main__":
    main(*sys.argv[1:])

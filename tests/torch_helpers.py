"""What tests of torch's components import by name: options, small problems, our loop on them."""

from __future__ import annotations

from typing import Any

import torch
from helpers import CONF
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gdexp import manual, pytorch
from gdexp.descent.loop import descend
from gdexp.types import Array, Parameters

BY_HAND = ["manual_momentum", "manual_nesterov", "manual_adam"]
TORCH = sorted(path.stem for path in (CONF / "updater").glob("[A-Z]*.yaml"))
SCHEDULERS = sorted(path.stem for path in (CONF / "scheduler").glob("[A-Z]*.yaml"))
CHANGES: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [2, 7]},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2},
    "CyclicLR": {"step_size_up": 3, "mode": "triangular2"},
    "ReduceLROnPlateau": {"patience": 2},
}


def option(group: str, name: str, **changes: Any) -> Any:
    """An option of ours, built with lr = 0.01 and iters = 20 unless changed."""
    config = OmegaConf.merge(
        {"lr": 0.01, "iters": 20}, {"node": OmegaConf.load(CONF / group / f"{name}.yaml")}
    )
    return instantiate(OmegaConf.merge(config, {"node": changes}).node, _convert_="all")


def torchs(updater: manual.Updater, parameter: torch.Tensor) -> torch.optim.Optimizer:
    """The optimizer of torch that an updater by hand is to equal."""
    match updater:
        case manual.Adam(lr=lr, betas=betas, eps=eps):
            return torch.optim.Adam([parameter], lr, betas=betas, eps=eps)
        case manual.Momentum(lr=lr, momentum=momentum):
            looks_ahead = isinstance(updater, manual.Nesterov)
            return torch.optim.SGD([parameter], lr, momentum, nesterov=looks_ahead)
    return torch.optim.SGD([parameter], updater.lr)


def one() -> list[torch.Tensor]:
    parameter = torch.zeros(1)
    parameter.grad = torch.zeros(1)
    return [parameter]


# Small problems: x, y and the loss. Each is fitted by torch.nn.Linear(d, 1, bias=True).
X = torch.tensor([[1.0, 0.5], [2.0, -1.0], [3.0, 2.0], [-1.0, 0.3]], dtype=torch.float64)
PROBLEMS = {
    "quadratic": (X[:, :1], 2 * X[:, 0], torch.nn.MSELoss()),
    "least squares": (X, X @ torch.tensor([1.0, -2.0], dtype=torch.float64), torch.nn.MSELoss()),
    "logistic": (X, (X[:, 0] > 0.5).double(), torch.nn.BCEWithLogitsLoss()),
}


class Net:
    """A predictor on a torch.nn.Linear of any number of features, without a bias for Muon."""

    def __init__(self, features: int, bias: bool) -> None:
        self.module = torch.nn.Linear(features, 1, bias=bias, dtype=torch.float64)
        for parameter in self.module.parameters():
            torch.nn.init.constant_(parameter, 0.1)
        self.parameters: Parameters = dict(self.module.named_parameters())

    def __call__(self, x: Array) -> Array:
        return self.module(x).squeeze(-1)


def net(x: torch.Tensor, name: str) -> Net:
    return Net(x.shape[1], bias=name != "Muon")


class Ours:
    """The same through our loop."""

    def __init__(self, name: str, problem: str, **changes: Any) -> None:
        self.x, self.y, self.loss = PROBLEMS[problem]
        self.predictor = net(self.x, name)
        self.updater, self.gradient = pytorch.adapt(
            option("updater", name, **changes), self.predictor, pytorch.Autograd(), self.loss
        )

    def epochs(self, number: int) -> list[list[torch.Tensor]]:
        families = self.predictor, self.gradient, self.loss, self.updater
        rows = []
        for _ in descend(self.x, self.y, *families, iters=number):
            rows.append([p.detach().clone() for p in self.predictor.parameters.values()])
            assert all(p.grad is None for p in self.predictor.parameters.values())
        return rows

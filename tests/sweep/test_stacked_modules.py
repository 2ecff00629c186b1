"""Modules and losses of a user's own in a sweep: stacked only if each run is what it is alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from gdexp import experiment
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.sweep.jobs import Plan
from gdexp.sweep.vectorized.compute import compute
from gdexp.sweep.vectorized.groups import vectorizable

CODE = """
import random

import torch
from torch import nn


class Base(nn.Module):
    def __init__(self, features: int, outputs: int = 1) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(features, 3), nn.Linear(3, outputs)
        self.add()

    def add(self):
        pass

    def forward(self, x):
        return self.b(self.change(torch.tanh(self.a(x))))

    def change(self, z):
        return z


class Tied(Base):
    def add(self):
        self.b.weight = nn.Parameter(torch.ones(1, 3))
        self.c = nn.Linear(3, 3)
        self.d = nn.Linear(3, 3)
        self.d.weight = self.c.weight

    def change(self, z):
        return self.d(torch.tanh(self.c(z)))


class Frozen(Base):
    def add(self):
        self.a.weight.requires_grad_(False)


class Listed(Base):
    def add(self):
        self.factors = nn.ParameterList([torch.ones(()), torch.ones(3)])

    def change(self, z):
        return z * self.factors[0] * self.factors[1]


class Complex(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.full((features,), 0.1, dtype=torch.complex64))

    def forward(self, x):
        return (x.to(self.c.dtype) @ self.c).real[:, None]


class Features(Base):  # of random directions, which each seed draws anew
    def add(self):
        self.register_buffer("directions", torch.randn(3, 3))
        self.phases = torch.rand(3).tolist()

    def change(self, z):
        return torch.cos(z @ self.directions + torch.tensor(self.phases, dtype=z.dtype))


class Rows(Base):
    def change(self, z):
        return torch.stack([row * 2 for row in z])


class InPlace(Base):
    def change(self, z):
        z = z.clone()
        z[:, 0] = 0.5
        return z


class Hooked(Base):
    def add(self):
        self.a.register_forward_hook(lambda module, given, output: output * 2)


class Attention(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.e, self.o = nn.Linear(1, 4), nn.Linear(4, 1)
        self.m = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        z = self.e(x[:, :, None])
        return self.o(self.m(z, z, z)[0].mean(1))


class Round(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.round(decimals=3)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Rounded(Base):
    def change(self, z):
        return Round.apply(z)


class Normed(Base):
    def add(self):
        self.norm = nn.BatchNorm1d(3)

    def change(self, z):
        return self.norm(z)


class Dropped(Base):
    def change(self, z):
        return nn.functional.dropout(z, 0.5)


class Jittered(Base):
    def change(self, z):
        return z + 1e-12 * random.random()


class OfValues(Base):
    def change(self, z):
        return z if z.mean() > 0 else -z


class OfInputs(Base):
    def forward(self, x):
        return super().forward(x if x.mean() > 0 else -x)


class Item(Base):
    def change(self, z):
        return z * self.a.weight[0, 0].item()


class Data(Base):
    def change(self, z):
        return z * float(self.a.weight.data[0, 0])


class Masked(Base):
    def change(self, z):
        return z * z[z > 0].mean()


class Counter(Base):
    def add(self):
        self.calls = [0]

    def change(self, z):
        self.calls[0] += 1
        return z * (2 if self.calls[0] > 12 else 1)


class Averaging(Base):
    def add(self):
        self.mean = torch.zeros(3)

    def change(self, z):
        self.mean = 0.9 * self.mean + 0.1 * z.detach().mean(0)
        return z - self.mean


class Counted(Base):
    calls = 0

    def change(self, z):
        type(self).calls += 1
        return z


class Slopes(Base):
    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = super().forward(x)
            (slopes,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y + 0.1 * slopes.pow(2).sum(1, keepdim=True)


class Old(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class OldFunction(Base):
    def change(self, z):
        return Old.apply(z)


def scripted(features: int):
    return torch.jit.script(nn.Linear(features, 1))


def absolute(y_pred, y):
    return (y_pred - y).abs().mean()


class Buffered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(2.0))

    def forward(self, y_pred, y):
        return (self.weight * (y_pred - y) ** 2).mean()


class Growing:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, y_pred, y):
        self.calls += 1
        return self.calls * ((y_pred - y) ** 2).mean()


class Halving(torch.optim.lr_scheduler.LRScheduler):
    def get_lr(self):
        return [base * 0.5**self.last_epoch for base in self.base_lrs]


class Bare:
    def __init__(self, optimizer) -> None:
        self.groups = optimizer.param_groups

    def step(self):
        for group in self.groups:
            group["lr"] *= 0.9

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Decaying(torch.optim.lr_scheduler.LRScheduler):
    def get_lr(self):
        for group in self.optimizer.param_groups:
            group["weight_decay"] = 0.1 * self.last_epoch
        return [group["lr"] for group in self.optimizer.param_groups]
"""
TOGETHER = {
    "predictor": [
        *("Tied", "Frozen", "Listed", "Complex", "Features", "Rows", "InPlace", "Hooked"),
        *("Attention", "Rounded"),
    ],
    "loss": ["absolute", "Buffered"],
    "scheduler": ["Halving", "Bare"],
}
KEEPS = "it keeps something from one call to the next"
ALONE = {
    "predictor": {
        "Normed": "it keeps statistics of its minibatches",
        "Dropped": "it draws random numbers",
        "Jittered": "it draws random numbers",
        "OfValues": "what it computes depends on the values of its inputs",
        "OfInputs": "what it computes depends on the values of its inputs",
        "Item": "it turns a tensor into a number",
        "Data": "it takes the numbers out of a tensor",
        "Masked": "the shape of what it computes depends on the values of its inputs",
        "Counter": KEEPS,
        "Averaging": KEEPS,
        "Counted": KEEPS,
        "Slopes": "it computes gradients itself",
        "OldFunction": "its autograd.Function has no setup_context",
        "scripted": "it is compiled by torch.jit",
    },
    "loss": {"Growing": KEEPS},
    "scheduler": {"Decaying": "together, the runs would have other numbers"},
}
FAST = {"Features", "Buffered", "Halving", "OfInputs", "Counter", "Growing"}
COMMON = "step=model data=diabetes data.standardize=true data.standardize_target=true iters=15"
AXES = ["lr=0.05", "lr=0.1 seed=1", "lr=0.2", "lr=0.02 seed=1"]


def pieces(table: Mapping[str, Iterable[str]]) -> list[Any]:
    """Each piece with its family, most of them in the slow suite."""
    return [
        pytest.param(family, name, marks=[] if name in FAST else pytest.mark.slow)
        for family, names in table.items()
        for name in names
    ]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """What composes jobs of the pieces above."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "stacked_pieces.py").write_text(CODE)
    for family, names in [*TOGETHER.items(), *ALONE.items()]:
        (folder / "mine" / family).mkdir(parents=True, exist_ok=True)
        for name in names:
            path = folder / "mine" / family / f"{name}.yaml"
            path.write_text(f"_target_: stacked_pieces.{name}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        with session(str(folder / "mine")):
            composer = Composer()
            yield Plan(composer.compose, composer.groups())


def planned(plan: Plan, family: str, name: str) -> list[Job]:
    """Runs of a piece that differ in lr and seed, and so in their validation rows."""
    common = [*COMMON.split(), "data.validation=0.2", "dtype=float64", "tracking=off"]
    return [
        plan.job([*common, f"{family}={name}", *words.split()], "any", number)
        for number, words in enumerate(AXES)
    ]


@pytest.mark.parametrize(("family", "name"), pieces(TOGETHER))
def test_runs_of_ones_own_pieces_are_what_they_are_alone(
    plan: Plan, family: str, name: str
) -> None:
    (group,), alone = vectorizable(planned(plan, family, name))
    assert not alone
    for job, stacked in compute(group, lambda runs: None):
        expected = experiment.run(experiment.prepare(job))
        assert stacked.together in (2, 4)  # two where each seed draws buffers of its own
        for column, values in expected.trajectory.columns().items():
            scale = max(1e-3, np.abs(values).max())
            one = stacked.trajectory.columns()[column]
            np.testing.assert_allclose(one, values, rtol=0, atol=1e-9 * scale, err_msg=column)


@pytest.mark.parametrize(("family", "name"), pieces(ALONE))
def test_a_piece_that_cannot_be_stacked_is_named_with_the_reason(
    plan: Plan, family: str, name: str
) -> None:
    groups, alone = vectorizable(planned(plan, family, name))
    assert groups == []
    assert list(alone) == [f"{family}={name} cannot be vectorized: {ALONE[family][name]}"]

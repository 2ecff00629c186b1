"""What is left out of torch's Python changes no number, and gives way where torch is different."""

from __future__ import annotations

import functools
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CHECKOUT
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp.pytorch import eager

WITHOUT_DYNAMO = """
import sys, warnings
warnings.simplefilter("error")
import torch
from gdexp import pytorch, run
from gdexp.pytorch import eager
from helpers import CONF
from torch_helpers import option

NEEDED = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [2, 7]},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
}


def one():
    return [torch.zeros(1, requires_grad=True)]


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("[A-Z]*.yaml"))


for name in options("updater"):
    words = ["predictor.init=torch", "data.validation=0.5"]
    if name == "Muon":
        words.append("data=diabetes")
    run("step=model", f"updater={name}", "tracking=off", "iters=2", "checkpoint.every=1", *words)
for name in options("scheduler"):
    partial = option("scheduler", name, **NEEDED.get(name, {}))
    with eager.without_dynamo():
        by_torch = pytorch.Optimizer(option("updater", "SGD", momentum=0.9)(one()))
    for updater in (by_torch, option("updater", "manual_momentum")):
        scheduled = pytorch.schedule(partial, updater)
        updater({"w": torch.zeros(1)}, {"w": torch.zeros(1)})
        scheduled.step(1.0)
run("step=model", "tracking=off", "iters=2", "scheduler=StepLR", "scheduler.step_size=1")
print("torch._dynamo" in sys.modules)
torch.optim.SGD(one(), lr=0.1).state_dict()
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_no_optimizer_and_no_schedule_imports_dynamo_until_torch_is_used_directly(
    tmp_path: Path,
) -> None:
    path = f"{CHECKOUT}:{CHECKOUT}/tests"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DYNAMO],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": path, "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["False", "True"]


def wrapped_methods() -> list[Any]:
    members = vars(torch.optim.Optimizer).values()
    return [vars(m.__wrapped__) for m in members if hasattr(m, "__wrapped__")]


def test_the_methods_are_themselves_within_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    for held in wrapped_methods():
        monkeypatch.delitem(held, "__dynamo_disable", raising=False)
    with eager.without_dynamo():
        assert len([held for held in wrapped_methods() if "__dynamo_disable" in held]) >= 4
        with eager.without_dynamo():
            pass
    assert not any("__dynamo_disable" in held for held in wrapped_methods())


def test_where_dynamo_is_there_already_its_answers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", object())
    sentinel = object()
    for held in wrapped_methods():
        monkeypatch.setitem(held, "__dynamo_disable", sentinel)
    with eager.without_dynamo():
        assert all(held["__dynamo_disable"] is sentinel for held in wrapped_methods())
    assert all(held["__dynamo_disable"] is sentinel for held in wrapped_methods())


# ---------------------------------------------------------------------------------- optimizer.step


class Unhooked(torch.optim.Optimizer):
    """An optimizer of one's own, whose step has a wrapper that torch's have not."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        assert not torch.is_grad_enabled()
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= parameter.grad


class Inherited(torch.optim.SGD):
    """A step that is torch's."""


def parameter(value: float = 1.0) -> torch.Tensor:
    made = torch.tensor(value, requires_grad=True)
    made.grad = torch.tensor(0.5)
    return made


@pytest.mark.parametrize(
    ("kind", "settings", "light"),
    [
        (torch.optim.SGD, {"lr": 0.1}, True),
        (torch.optim.Adam, {"lr": 0.1}, True),
        (Inherited, {"lr": 0.1}, True),
        (torch.optim.Adam, {"lr": 0.1, "differentiable": True}, False),
        (torch.optim.LBFGS, {}, False),
        (Unhooked, {}, False),
    ],
)
def test_only_a_step_wrapped_as_torch_does_it_is_lightened(
    kind: Any, settings: dict[str, Any], light: bool
) -> None:
    optimizer = kind([parameter()], **settings)
    eager.lighten(optimizer)
    assert ("step" in vars(optimizer)) == light


def test_a_light_step_moves_as_torchs_does_and_leaves_autograd_as_it_was() -> None:
    mine, theirs = parameter(), parameter()
    light, full = torch.optim.Adam([mine]), torch.optim.Adam([theirs])
    eager.lighten(light)
    for _ in range(5):
        assert light.step(lambda: torch.tensor(float(torch.is_grad_enabled()))) == 1
        full.step()
        assert torch.equal(mine, theirs)
        assert torch.is_grad_enabled()
    assert mine.item() < 1
    with pytest.raises(ZeroDivisionError):
        light.step(lambda: torch.tensor(1 / 0))
    assert torch.is_grad_enabled()


def test_an_optimizer_of_ones_own_moves_by_its_own_step() -> None:
    mine = parameter()
    optimizer = Unhooked([mine])
    eager.lighten(optimizer)
    optimizer.step()
    assert mine.item() == 0.5


def test_a_schedule_sees_light_steps() -> None:
    optimizer = torch.optim.SGD([parameter()], lr=1.0)
    eager.lighten(optimizer)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        schedule.step()
    optimizer = torch.optim.SGD([parameter()], lr=1.0)
    eager.lighten(optimizer)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
        schedule.step()


# -------------------------------------------------------------------------------------- backward


def losses(w: torch.Tensor, x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "mean": ((w * x - 1) ** 2).mean(),
        "sum": w.sum(),
        "mse": torch.nn.functional.mse_loss(torch.tanh(w * x), x),
        "one number": (w * x).reshape(-1)[:1].sum() if w.numel() > 1 else w.sum() * 3,
        "a view": w.reshape(-1)[0],
        "long shape": (w * x).sum().reshape(1),
    }


@pytest.mark.parametrize("kind", list(losses(torch.ones(1), torch.ones(1))))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.floats(-10, 10), min_size=1, max_size=20))
def test_backward_is_torchs_bit_for_bit_and_again(
    kind: str, dtype: torch.dtype, values: list[float]
) -> None:
    x = torch.tensor(values, dtype=dtype)
    found = []
    for backward in (eager.backward, torch.Tensor.backward):
        w = torch.full_like(x, 0.7, requires_grad=True)
        for _ in range(2):  # adds to a gradient that is there
            backward(losses(w, x)[kind])
        found.append(w.grad)
    assert torch.equal(*found)
    assert eager._one(dtype) == 1


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda w: (w * torch.ones(2)).detach().sum(), "does not require grad"),
        (lambda w: w * torch.ones(2), "only for scalar outputs"),
    ],
)
def test_backward_refuses_what_torch_refuses(make: Any, sentence: str) -> None:
    with pytest.raises(RuntimeError, match=sentence):
        eager.backward(make(torch.tensor(1.0, requires_grad=True)))


def changed(*_: Any, **__: Any) -> None:
    raise TypeError("run_backward() takes other arguments")


@pytest.mark.parametrize("engine", [changed, lambda *_, **__: None, None])
def test_another_engine_than_the_one_known_is_left_to_torch(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Engine:
        run_backward = staticmethod(engine) if engine else property(lambda self: self.gone)

    real = torch.autograd.Variable._execution_engine
    monkeypatch.setattr(torch.autograd.Variable, "_execution_engine", Engine())
    unknown = functools.cache(eager._engine.__wrapped__)
    assert unknown() is None
    monkeypatch.setattr(eager, "_engine", unknown)
    monkeypatch.setattr(torch.autograd.Variable, "_execution_engine", real)
    w = torch.tensor(1.0, requires_grad=True)
    eager.backward(w * 2)
    assert w.grad == 2


def test_this_torchs_engine_is_known() -> None:
    eager._engine.cache_clear()
    with torch.no_grad():
        assert eager._engine() is not None

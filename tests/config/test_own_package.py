"""Predictors, data and losses out of a package of one's own, with a folder of YAML files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI

from gdexp import run

CODE = """
import numpy as np
import torch
from gdexp.data import Dataset

class Bump(torch.nn.Module):
    '''a * exp(-x**2) + c'''
    def __init__(self, start=0.5):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(start))
        self.c = torch.nn.Parameter(torch.zeros(1))
    def forward(self, x):
        return self.a * torch.exp(-(x**2)) + self.c

class Wide(torch.nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.first = torch.nn.Linear(features, 30)
        self.last = torch.nn.Linear(30, outputs, bias=False)
    def forward(self, x):
        return self.last(torch.relu(self.first(x)))

class Parabola:
    '''p * x**2 + q * x'''
    def __init__(self):
        self.parameters = {"p": 0.0, "q": 0.0}
    def __call__(self, x):
        return self.parameters["p"] * x**2 + self.parameters["q"] * x

class ParabolaGradient:
    def __call__(self, parameters, x, y, y_pred, loss):
        error = 2 * (y_pred - y) / len(y)
        return {"p": (error * x**2).sum(), "q": (error * x).sum()}

class Quartic:
    def __call__(self, y_pred, y):
        return ((y_pred - y) ** 4).mean()

class Silent:
    def __init__(self):
        assert False

def waves(n):
    x = np.linspace(-2, 2, n)
    return Dataset(x, 3 * np.exp(-x**2) + 1, "waves")
"""
OPTIONS = {
    "predictor/bump": "# a bump\n_target_: mine_own.Bump\nstart: 0.5  # of a",
    "predictor/wide": "_target_: mine_own.Wide",
    "predictor/parabola": "_target_: mine_own.Parabola",
    "predictor/silent": "_target_: mine_own.Silent",
    "gradient/parabola": "_target_: mine_own.ParabolaGradient",
    "loss/quartic": "# fourth powers\n_target_: mine_own.Quartic",
    "data/waves": "_target_: mine_own.waves\nn: 41",
}


@pytest.fixture
def mine(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (workdir / "mine_own.py").write_text(CODE)
    for name, text in OPTIONS.items():
        (workdir / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / "conf" / f"{name}.yaml").write_text(text + "\n")
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delitem(sys.modules, "mine_own", raising=False)
    return "conf"


def test_a_module_of_ones_own_with_data_of_ones_own(mine: str) -> None:
    how = ("updater=Adam", "lr=0.05", "iters=1000", "tracking=off", "dtype=float64")
    result = run("step=model", "predictor=bump", "data=waves", *how, config_dir=mine)
    assert list(result.trajectory.columns()) == (
        ["train/loss", "param/a", "param/c", "grad/a", "grad/c"]
    )
    assert result.parameters == pytest.approx({"a": 3, "c": 1}, abs=1e-6)
    assert result.coefficients == {}
    assert result.scores["final/r2"] == pytest.approx(1)


def test_a_plain_predictor_and_its_gradient_are_autograds(mine: str) -> None:
    common = ("predictor=parabola", "tracking=off", "lr=0.01", "iters=50", "dtype=float64")
    by_hand = run("step=manual", "gradient=parabola", *common, config_dir=mine)
    derived = run("step=autograd", *common, config_dir=mine)
    assert set(by_hand.parameters) == {"p", "q"}
    for name, values in derived.trajectory.columns().items():
        np.testing.assert_allclose(by_hand.trajectory.columns()[name], values, rtol=1e-9)


def test_a_loss_of_ones_own_descends(mine: str) -> None:
    how = ("tracking=off", "lr=0.0005", "iters=400", "dtype=float64")
    result = run("step=autograd", "loss=quartic", *how, config_dir=mine)
    x = np.array([1.0, 2, 3, 4])
    assert result.trajectory.loss[0] == pytest.approx(((2 * x) ** 4).mean())
    assert result.parameters["w"] == pytest.approx(2, abs=0.1)


def test_the_curves_of_a_large_module_are_norms(mine: str, store: Path) -> None:
    from mlflow import MlflowClient

    made = ("data=synthetic", "data.features=2", "data.rows=50")
    result = run("step=model", "predictor=wide", *made, "iters=3", config_dir=mine)
    names = ("first.weight.norm", "first.bias.norm", "last.weight.norm")
    assert result.trajectory.names == names
    assert result.run_id is not None
    client = MlflowClient(f"sqlite:///{store}/outputs/mlflow.db")
    metrics = client.get_run(result.run_id).data.metrics
    assert {f"{kind}/{name}" for kind in ("param", "grad") for name in names} < set(metrics)


def test_the_norms_are_those_of_the_parameters(mine: str) -> None:
    import torch

    made = ("data=synthetic", "data.features=2", "data.rows=50", "tracking=off", "lr=0.1")
    result = run("step=model", "predictor=wide", *made, "iters=1", "seed=4", config_dir=mine)
    torch.manual_seed(4)
    first = torch.nn.Linear(2, 30)
    last = torch.nn.Linear(30, 1, bias=False)
    from gdexp.data import synthetic

    table = synthetic(rows=50, features=2)
    x, y = torch.tensor(table.x).float(), torch.tensor(table.y).float()
    loss = torch.nn.functional.mse_loss(last(torch.relu(first(x))).view(-1), y)
    loss.backward()
    assert result.trajectory.loss[0] == pytest.approx(loss.item(), rel=1e-6)
    gradients = result.trajectory.gradients
    assert last.weight.grad is not None
    norm = last.weight.grad.norm().item()
    assert gradients["last.weight.norm"][0] == pytest.approx(norm, rel=1e-5)
    with torch.no_grad():
        moved = (last.weight - 0.1 * last.weight.grad).norm().item()
    assert result.parameters["last.weight.norm"] == pytest.approx(moved, rel=1e-5)


def test_options_of_ones_own_are_in_the_help(mine: str, cli: CLI) -> None:
    ended = cli("--config-dir", mine, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "a bump" in ended.out
    assert "fourth powers" in ended.out


def test_a_constructor_that_fails_without_a_word(mine: str, cli: CLI) -> None:
    ended = cli("--config-dir", mine, "tracking=off", "step=model", "predictor=silent")
    assert (ended.code, ended.err) == (
        2,
        "gdexp: predictor: AssertionError() (mine_own.py, line 41)\n",
    )
    assert not Path("outputs").exists()


def test_a_gradient_by_hand_is_for_its_own_predictor(mine: str, cli: CLI) -> None:
    ended = cli("--config-dir", mine, "tracking=off", "predictor=parabola", "gradient=manual")
    assert ended.err == (
        "gdexp: gradient=manual: the formula is derived for the mean squared error of a linear "
        "predictor, not for predictor=parabola. Type gradient=autograd.\n"
    )
    assert ended.code == 2

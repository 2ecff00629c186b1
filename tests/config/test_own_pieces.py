"""Pieces of one's own that work without ceremony: optimizers, schedulers, functions, ``(x, y)``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from gdexp import run
from gdexp.data import Dataset
from gdexp.data.arrays import EXPECTED, as_source
from gdexp.errors import ConfigError

CODE = """
import numpy as np
import pandas as pd
import torch


class Plain(torch.optim.Optimizer):
    def __init__(self, params, lr: float = 0.1, factor: float = 1.0):
        super().__init__(params, {"lr": lr, "factor": factor})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["factor"] * group["lr"] * p.grad)


class Starred(torch.optim.SGD):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


def heavy(params, lr, momentum=0.0):
    return torch.optim.SGD(params, lr=lr, momentum=momentum)


class Halving(torch.optim.lr_scheduler.LRScheduler):
    def __init__(self, optimizer, factor: float = 0.5):
        self.factor = factor
        super().__init__(optimizer)

    def get_lr(self):
        return [base * self.factor**self.last_epoch for base in self.base_lrs]


def mse(y_pred, y, scale: float = 1.0):
    return scale * ((y_pred - y) ** 2).mean()


def slope(parameters, x, y, y_pred, loss):
    return {"w": (2 * x * (y_pred - y)).mean()}


def downhill(parameters, gradients, lr):
    for name, gradient in gradients.items():
        parameters[name] -= lr * gradient


X, Y = np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 6, 8])


def arrays():
    return X, Y


def columns():
    return X[:, None], Y[:, None]


def lists():
    return [1, 2, 3, 4], [2, 4, 6, 8]


def tensors():
    return torch.tensor(X, requires_grad=True), torch.tensor(Y)


def frames():
    table = pd.DataFrame({"x": X, "y": Y})
    return table[["x"]], table["y"]
"""
OPTIONS = {
    "updater/plain": "_target_: own_pieces.Plain\nlr: ${lr}\nfactor: 1.0",
    "updater/starred": "_target_: own_pieces.Starred\nlr: ${lr}",
    "updater/heavy": "_target_: own_pieces.heavy\nlr: ${lr}\nmomentum: 0.0",
    "updater/downhill": "_target_: own_pieces.downhill\nlr: ${lr}",
    "scheduler/halving": "_target_: own_pieces.Halving\nfactor: 0.5",
    "loss/mse": "_target_: own_pieces.mse\nscale: 1.0",
    "gradient/slope": "_target_: own_pieces.slope",
    **{
        f"data/{n}": f"_target_: own_pieces.{n}"
        for n in ["arrays", "columns", "lists", "tensors", "frames"]
    },
}


@pytest.fixture
def mine(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (workdir / "own_pieces.py").write_text(CODE)
    for name, text in OPTIONS.items():
        (workdir / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / "mine" / f"{name}.yaml").write_text(text + "\n")
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delitem(sys.modules, "own_pieces", raising=False)
    return "mine"


def weights(*typed: str, config_dir: str | None = None) -> list[float]:
    result = run("tracking=off", "iters=6", "dtype=float64", *typed, config_dir=config_dir)
    return list(result.trajectory.parameters["w"])


@pytest.mark.parametrize("updater", ["plain", "starred", "heavy"])
@pytest.mark.parametrize("step", ["step=autograd", "step=optimizer"])
def test_a_torch_optimizer_of_ones_own_needs_no_partial(mine: str, step: str, updater: str) -> None:
    expected = weights("step=optimizer")
    assert weights(step, f"updater={updater}", config_dir=mine) == pytest.approx(
        expected, rel=1e-12
    )


def test_a_torch_optimizer_of_ones_own_makes_tensors_of_what_is_by_hand(mine: str) -> None:
    expected = weights("step=manual", "gradient=manual")
    found = weights("step=manual", "gradient=manual", "updater=plain", config_dir=mine)
    assert found == pytest.approx(expected, rel=1e-12)


def test_its_settings_are_checked_and_its_state_is_kept(mine: str) -> None:
    with pytest.raises(ConfigError, match=r"^updater\.factor: 'x' is not a finite number"):
        weights("step=autograd", "updater=plain", "updater.factor=x", config_dir=mine)
    how = ("step=optimizer", "updater=heavy", "updater.momentum=0.9")
    expected = weights("step=optimizer", "updater.momentum=0.9")
    assert weights(*how, config_dir=mine) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("updater", ["SGD", "manual"])
def test_a_scheduler_of_ones_own_needs_no_partial(mine: str, updater: str) -> None:
    chosen = ("step=autograd", f"updater={updater}", "scheduler=halving", "lr=0.04")
    result = run("tracking=off", "iters=4", *chosen, config_dir=mine)
    assert list(result.trajectory.measured["train/lr"]) == [0.04, 0.02, 0.01, 0.005]


def test_functions_are_losses_gradients_and_updaters(mine: str) -> None:
    expected = weights("step=manual", "gradient=manual")
    own = ("loss=mse", "gradient=slope", "updater=downhill")
    assert weights("step=manual", *own, config_dir=mine) == pytest.approx(expected, rel=1e-12)
    assert weights("step=autograd", *own[::2], config_dir=mine) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("source", ["arrays", "columns", "lists", "tensors", "frames"])
def test_a_source_may_return_x_and_y(mine: str, source: str) -> None:
    assert weights(f"data={source}", config_dir=mine) == weights()


def test_data_frames_name_their_columns() -> None:
    import pandas as pd

    frame = pd.DataFrame({"mass": [1, 2, 3], 7: [True, False, True], "price": [1.5, 2, 3]})
    table = as_source((frame[["mass", 7]], frame["price"]), "mine.houses")
    assert (table.name, table.features, table.target) == ("houses", ("mass", "7"), "price")
    np.testing.assert_array_equal(table.x, [[1, 1], [2, 0], [3, 1]])
    table = as_source((frame["mass"], frame[["price"]]), "mine.houses")
    assert (table.features, table.target, table.x.shape) == (("mass",), "price", (3,))
    assert as_source([[[1, 2], [3, 4]], [5, 6]], "m.t").features == ("x1", "x2")


def test_a_dataset_is_returned_as_it_is() -> None:
    table = Dataset(np.zeros(2), np.zeros(2), "t")
    assert as_source(table, "mine.table") is table


SHAPES = "data: mine.table returns x of shape {} and y of shape {}. " + EXPECTED
WRONG = {
    "a dict": ({"x": [1], "y": [2]}, f"data: mine.table returns a dict. {EXPECTED}"),
    "nothing": (None, f"data: mine.table returns None. {EXPECTED}"),
    "three": (([1], [2], [3]), f"data: mine.table returns a tuple of 3. {EXPECTED}"),
    "an array": (np.zeros((3, 2)), f"data: mine.table returns a ndarray. {EXPECTED}"),
    "lengths": (([1, 2], [3]), SHAPES.format("(2,)", "(1,)")),
    "empty": (([], []), SHAPES.format("(0,)", "(0,)")),
    "two targets": (([1, 2], [[3, 4], [5, 6]]), SHAPES.format("(2,)", "(2, 2)")),
    "numbers": ((1, 2), SHAPES.format("()", "()")),
    "words": (
        (["a", "b"], [1, 2]),
        f"data: mine.table returns x that cannot be read as numbers: its type is <U1. {EXPECTED}",
    ),
    "some words": (
        (np.array([[1, "7"], [2, 3]], dtype=object), [1, 2]),
        f"data: mine.table returns x that cannot be read as numbers: it contains '7'. {EXPECTED}",
    ),
    "NaN": (
        ([1, 2], [1, float("nan")]),
        "data: mine.table returns y with a number in row 2 that is not finite. Drop such rows.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_table_is_told_in_a_sentence(name: str) -> None:
    value, sentence = WRONG[name]
    with pytest.raises(ConfigError) as refused:
        as_source(value, "mine.table")
    assert str(refused.value) == sentence


def test_a_data_frame_alone_is_told_how_to_be_split() -> None:
    import pandas as pd

    with pytest.raises(ConfigError, match=r"\(table\.drop\(columns='y'\), table\['y'\]\)\.$"):
        as_source(pd.DataFrame({"x": [1], "y": [2]}), "mine.table")

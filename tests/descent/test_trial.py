"""What only the first update reveals is refused before the run starts, and nothing is disturbed."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CLI

from gdexp import run
from gdexp.descent import trial
from gdexp.errors import ConfigError

OFF = "tracking=off"

CODE = """
import sys
import numpy as np
import torch

rng = np.random.default_rng(5)
generator = torch.Generator().manual_seed(5)


class Draws:
    own = np.random.RandomState(7)


class Vector:
    def __call__(self, y_pred, y):
        return (y_pred - y) ** 2


class Cut:
    def __call__(self, y_pred, y):
        return ((y_pred.detach() - y) ** 2).mean()


class Item:
    def __call__(self, y_pred, y):
        return ((y_pred - y) ** 2).mean().item()


class Nothing:
    def __call__(self, y_pred, y):
        ((y_pred - y) ** 2).mean()


class Words:
    def __call__(self, y_pred, y):
        return "small"


class Complex:
    def __call__(self, y_pred, y):
        return np.complex128(1)


class Wrong:
    def __call__(self, y_pred, y):
        raise KeyError("my own bug")


class Exits:
    def __init__(self, at: int = 1):
        self.at, self.calls = at, 0

    def __call__(self, y_pred, y):
        self.calls += 1
        if self.calls == self.at:
            sys.exit(0)
        return ((y_pred - y) ** 2).mean()


class ExitsAtOnce:
    def __init__(self):
        sys.exit(0)


class Spread:
    # needs more rows than a trial has at first
    def __call__(self, y_pred, y):
        if len(y) < 40:
            torch.zeros(2) + torch.zeros(3)
        return ((y_pred - y) ** 2).mean()


class Noisy:
    def __call__(self, y_pred, y):
        print("a loss that prints")
        noise = rng.normal() + Draws.own.normal() + np.random.normal()
        noise += torch.rand(1, generator=generator).item() + torch.rand(1).item()
        return ((y_pred - y) ** 2).mean() * (1 + 0.01 * noise)


class Constant(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x.detach()


class Unused(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.c = (torch.nn.Parameter(torch.zeros(1)) for _ in "wc")

    def forward(self, x):
        return x * self.w


class Normed(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(1, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))


class TooLong:
    linear = True

    def __init__(self):
        self.parameters = {"w": np.zeros(3)}

    def __call__(self, x):
        return self.parameters["w"][0] * x


class Missing:
    def __call__(self, parameters, x, y, y_pred, loss):
        return {"v": 0.0}


class Unshaped:
    def __call__(self, parameters, x, y, y_pred, loss):
        return {"w": np.zeros(4)}


class Quasi(torch.optim.LBFGS):
    pass


class Cycle(torch.optim.lr_scheduler.OneCycleLR):
    pass


class Reshapes:
    def __call__(self, parameters, gradients):
        parameters["w"] = np.zeros(2)
"""

OPTIONS = {
    "loss": "Vector Cut Item Nothing Words Complex Wrong Exits ExitsAtOnce Spread Noisy",
    "predictor": "Constant Unused Normed TooLong",
    "gradient": "Missing Unshaped",
    "updater": "Reshapes Quasi",
    "scheduler": "Cycle",
}
SETTINGS = {
    "Exits": "at: 1\n",
    "Quasi": "lr: ${lr}\nline_search_fn: armijo\n",
    "Cycle": "max_lr: ${lr}\ntotal_steps: 3\ncycle_momentum: false\n",
}
TENSORS = "Compute with tensors, without item(), detach(), no_grad() or NumPy."
NUMBER = "and a loss is one number."
REFUSED = {
    "step=optimizer updater=Quasi": "updater=Quasi: only 'strong_wolfe' is supported.",
    "step=optimizer updater.differentiable=true": "updater=SGD: it updates tensors that "
    "autograd tracks in place, and torch refuses that. Type updater.differentiable=false.",
    "step=autograd scheduler=Cycle iters=5": "scheduler: Tried to step 5 times.",
    "step=autograd loss=Vector": (
        f"loss=Vector: it returns an array of shape (4,), {NUMBER} Return for example its mean()."
    ),
    "step=manual gradient=Missing loss=Vector": "loss=Vector: it returns an array of shape (4,)",
    "step=autograd loss=Cut": (
        f"loss=Cut: autograd cannot follow the number it returns back to y_pred. {TENSORS}"
    ),
    "step=autograd loss=Item": (
        f"loss=Item: autograd cannot follow the number it returns back to y_pred. {TENSORS}"
    ),
    "step=autograd loss=Nothing": f"loss=Nothing: it returns None, {NUMBER}",
    "step=autograd loss=Words": f"loss=Words: it returns 'small', {NUMBER}",
    "step=autograd loss=Complex": f"loss=Complex: it returns np.complex128(1+0j), {NUMBER}",
    "step=autograd loss=ExitsAtOnce": "loss: it called sys.exit(0).",
    "step=model predictor=Constant": (
        "predictor=Constant: autograd cannot follow its predictions back to its parameters. "
        f"{TENSORS}"
    ),
    "step=model predictor=Unused": (
        "predictor=Unused: the loss does not depend on the parameter c, so it has no gradient. "
        "Use it in the predictions, or remove it."
    ),
    "step=model predictor=Normed data.batch_size=3": (
        "predictor=Normed: Expected more than 1 value per channel when training"
    ),
    "step=manual predictor=TooLong gradient=manual": (
        "predictor=TooLong declares linear = True, so w must have one number for each of the 1 "
        "features, not shape (3,)."
    ),
    "step=manual gradient=Missing": (
        "gradient=Missing: it returns v, and the parameters are w. "
        "Return a dict with a gradient for each."
    ),
    "step=manual gradient=Unshaped": (
        "gradient=Unshaped: the gradient of w has shape (4,), and w has shape ()."
    ),
    "step=manual updater=Reshapes": (
        "updater=Reshapes: it changes the shape of w from () to (2,)."
    ),
}


@pytest.fixture
def mine(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of components of one's own."""
    (workdir / "trials.py").write_text(CODE)
    for group, names in OPTIONS.items():
        (workdir / "mine" / group).mkdir(parents=True)
        for name in names.split():
            text = f"_target_: trials.{name}\n" + SETTINGS.get(name, "")
            (workdir / "mine" / group / f"{name}.yaml").write_text(text)
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delitem(sys.modules, "trials", raising=False)
    yield "mine"
    sys.modules.pop("trials", None)


@pytest.mark.parametrize("typed", REFUSED)
def test_what_an_update_reveals_is_refused(mine: str, typed: str) -> None:
    with pytest.raises(ConfigError) as refused:
        run(OFF, *typed.split(), config_dir=mine)
    assert str(refused.value).startswith(REFUSED[typed])


def test_a_later_run_of_a_sweep_is_tried_before_the_first_starts(mine: str, cli: CLI) -> None:
    before = sorted(Path().rglob("*"))
    ended = cli("--config-dir", mine, "-m", OFF, "step=autograd", "loss=manual,Vector")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("gdexp: loss=Vector: it returns an array of shape (4,)")
    assert sorted(p for p in Path().rglob("*") if "__pycache__" not in str(p)) == before


def test_a_bug_of_ones_own_is_shown_by_the_run(mine: str, cli: CLI) -> None:
    ended = cli("--config-dir", mine, OFF, "step=autograd", "loss=Wrong")
    assert ended.code == 1
    assert 'raise KeyError("my own bug")' in ended.err


@pytest.mark.parametrize("at", [1, 3])
def test_a_component_that_exits_fails_its_run(mine: str, cli: CLI, at: int) -> None:
    typed = ("--config-dir", mine, OFF, "step=autograd", "loss=Exits", f"loss.at={at}")
    ended = cli(*typed)
    assert ended.code == 1
    assert "RuntimeError: a component of the run called sys.exit(0)\n" in ended.err
    ended = cli("-m", *typed[:-1], f"loss.at={at},99", "iters=5")
    assert ended.code == 1
    assert "\n1 of 2 runs failed:\n" in ended.err


@pytest.mark.parametrize("word", ["lr=1e39", "updater.weight_decay=1e39"])
def test_a_number_too_large_for_torch_diverges(word: str) -> None:
    """As it does in a sweep, and as lr=1e38 does: nothing is wrong with the components."""
    result = run("step=model", "predictor.init=1", word, OFF)
    assert (result.outcome, result.trajectory.length) == ("diverged", 0)


def test_a_component_that_needs_more_rows_gets_all(mine: str) -> None:
    chosen = ("step=autograd", "loss=Spread", "data=synthetic", "data.rows=50", "iters=2")
    assert run(OFF, *chosen, config_dir=mine).outcome == "completed"


def draws() -> list[object]:
    """The next number of every generator, which then has its former state."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    numbers = [random.random(), np.random.random(), torch.rand(1).item()]
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    return numbers


@pytest.mark.parametrize("loss", ["Noisy", "MSELoss"])
def test_a_trial_changes_no_digit_and_draws_nothing(
    mine: str, loss: str, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ("--config-dir", mine, OFF, "step=model", f"loss={loss}", "predictor.init=torch")
    outputs = []
    for disabled in (True, False):
        sys.modules.pop("trials", None)
        trial._passed.clear()
        for seeded in (random.seed, np.random.seed, torch.manual_seed):
            seeded(1)
        with monkeypatch.context() as patch:
            if disabled:
                patch.setattr(trial, "check", lambda job, built: None)
            ended = cli(*typed, "updater.momentum=0.5")
        assert ended.code == 0, ended.err
        outputs.append((ended.out, draws()))
    assert outputs[0] == outputs[1]


def test_a_choice_of_components_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(trial, "_passed", set())
    monkeypatch.setattr(trial, "_update", lambda job, built, rows: tried.append(rows))
    for typed in (["lr=0.01"], ["lr=0.02"], ["lr=0.01", "seed=1"], ["iters=3"]):
        run(OFF, "step=optimizer", *typed)
    assert tried == [4]
    run(OFF, "step=optimizer", "updater.momentum=0.5")
    run(OFF, "step=model", "data=diabetes", "iters=1")
    assert tried == [4, 4, trial.ROWS]
    run(OFF, "step=manual")
    assert len(tried) == 3

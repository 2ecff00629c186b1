"""What a class declares it can do: gdexp's own, torch's, and a user's own, which is believed."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers import CHECKOUT, Ended

from gdexp import manual, run
from gdexp.config.capabilities import CAPABILITIES, declared
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.pytorch.capabilities import TORCH
from gdexp.sweep.vectorized import eligible
from gdexp.sweep.vectorized.compute import compute

CLI = Callable[..., Ended]
PAGE = (CHECKOUT / "conf" / "OWN.md").read_text()
CONF = CHECKOUT / "conf"

CODE = """
import numpy as np
import torch
from gdexp import manual

class Line:
    '''x @ w + b, with names of its own settings'''
    linear = True
    def __init__(self, features):
        self.parameters = {"w": np.zeros(features) if features > 1 else 0.0, "b": 0.0}
    def __call__(self, x):
        w, b = self.parameters["w"], self.parameters["b"]
        return (w * x if x.ndim == 1 else x @ w) + b

class Misnamed(Line):
    def __init__(self):
        self.parameters = {"slope": 0.0}

class Walk:
    def __init__(self, lr):
        self.lr = lr
    def __call__(self, parameters, gradients):
        for name, gradient in gradients.items():
            parameters[name] = parameters[name] - self.lr * gradient

class Honest(Walk):
    proportional = True

class Same(manual.Updater):
    vectorized = "plain"

class Odd(manual.Loss):
    task = "two"

class Number(manual.Predictor):
    linear = 1

class Method(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1))
    def linear(self, x):
        return self.w * x
    def forward(self, x):
        return self.linear(x)
"""
OPTIONS = {
    "predictor/line": "Line",
    "predictor/misnamed": "Misnamed",
    "predictor/number": "Number",
    "predictor/method": "Method",
    "updater/walk": "Walk\nlr: ${lr}",
    "updater/honest": "Honest\nlr: ${lr}",
    "updater/same": "Same\nlr: ${lr}",
    "loss/odd": "Odd",
}


@pytest.fixture
def mine(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    write(workdir, "declares", CODE, {k: f"declares.{v}" for k, v in OPTIONS.items()}, monkeypatch)
    return "options"


def write(
    folder: Path, module: str, code: str, options: dict[str, str], patch: pytest.MonkeyPatch
) -> None:
    """A module and a folder of options that name its classes."""
    (folder / f"{module}.py").write_text(code)
    for name, target in options.items():
        path = folder / "options" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"_target_: {target}\n")
    patch.syspath_prepend(str(folder))
    patch.delitem(sys.modules, module, raising=False)


# The rules


class Inherits(manual.GradientSum):
    pass


class Overrides(manual.GradientSum):
    def __call__(self, *args: Any) -> Any:
        return super().__call__(*args)


class Again(Overrides):
    derived_for = "something else"


class Mixin:
    def __call__(self, *args: Any) -> Any:
        raise NotImplementedError


class Mixed(Mixin, manual.GradientSum):
    pass


@pytest.mark.parametrize(
    ("kind", "reduction", "derived_for", "vectorized"),
    [
        (manual.GradientSum, "sum", "the mean squared error", "sum"),
        (Inherits, "sum", "the mean squared error", None),
        (Overrides, None, None, None),
        (Again, None, "something else", None),
        (Mixed, None, None, None),
    ],
)
def test_a_subclass_inherits_until_it_overrides(
    kind: type, reduction: str | None, derived_for: str | None, vectorized: str | None
) -> None:
    for target in (kind, f"{kind.__module__}.{kind.__qualname__}"):
        assert declared(target, "reduction") == reduction
        assert declared(target, "derived_for") == derived_for
        assert declared(target, "vectorized") == vectorized


def test_an_overridden_forward_is_a_changed_formula() -> None:
    import torch

    class Flat(torch.nn.Module):
        linear = True

        def forward(self, x: Any) -> Any:
            return x

    class Curved(Flat):
        def forward(self, x: Any) -> Any:
            return x**2

    assert [declared(kind, "linear", False) for kind in (Flat, Curved)] == [True, False]
    assert declared("gdexp.pytorch.Linear", "linear") is True
    assert declared("gdexp.pytorch.MLP", "linear") is None


def test_what_cannot_be_imported_claims_nothing() -> None:
    assert declared("no.such.Class", "task", "regression") == "regression"
    assert declared("gdexp.manual.NoSuchClass", "linear", False) is False


def test_the_table_names_classes_of_torch_and_capabilities_of_their_family() -> None:
    from hydra.utils import get_object

    families = {"nn": "loss", "optim": "updater"}
    for target, capabilities in TORCH.items():
        assert isinstance(get_object(target), type)
        assert set(capabilities) <= set(CAPABILITIES[families[target.split(".")[1]]])


@pytest.mark.parametrize("family", CAPABILITIES)
def test_every_option_declares_what_its_family_can(family: str) -> None:
    every = {name for capabilities in CAPABILITIES.values() for name in capabilities}
    for path in (CONF / family).glob("*.yaml"):
        target = yaml.safe_load(path.read_text())["_target_"]
        held = {name for name in every if declared(target, name) is not None}
        assert held <= set(CAPABILITIES[family]), path


# A user's own


def test_an_own_linear_predictor_has_coefficients_and_is_compressed(mine: str) -> None:
    how = ("predictor=line", "gradient=manual", "tracking=off", "lr=0.1", "iters=400")
    made = ("data=synthetic", "data.features=2", "data.rows=200", "data.bias=7", "data.noise=0")
    expected = {"x1": 1, "x2": 2, "intercept": 7}
    for more in ((), ("data.standardize=true",), ("data.compress=true",)):
        result = run(*how, *made, *more, "dtype=float64", config_dir=mine)
        assert result.coefficients == pytest.approx(expected, abs=1e-9)


def test_an_own_updater_says_what_a_multiple_of_the_gradient_acts_like(mine: str) -> None:
    how = ("step=manual", "tracking=off", "iters=2", "lr=0.01")
    silent, honest = (
        run(*how, f"updater={u}", config_dir=mine).notes["gradient=manual_sum"]
        for u in ("walk", "honest")
    )
    assert silent == (
        "gradient=manual_sum is 4.000 times the derivative of the loss, n = 4: the mean's 1/n is "
        "missing; gradient=manual gives the derivative."
    )
    assert honest == (
        "gradient=manual_sum is 4.000 times the derivative of the loss, n = 4: the mean's 1/n is "
        "missing, so lr=0.01 acts like lr=0.04; gradient=manual gives the derivative."
    )


def test_an_own_updater_is_vectorized_as_it_declares(mine: str) -> None:
    with session():
        composer = Composer(mine)
        words = ("step=manual", "tracking=off")
        jobs = [Job.of(composer.compose([*words, f"updater={u}"]), ()) for u in ("same", "honest")]
    assert [eligible.obstacle(job) for job in jobs] == ["", "updater=honest cannot be vectorized"]
    ((_, result),) = compute(jobs[:1], lambda runs: None)
    alone = run(*words, "updater=same", config_dir=mine)
    np.testing.assert_array_equal(result.trajectory.table, alone.trajectory.table)


def test_a_method_of_the_name_of_a_capability_declares_nothing(mine: str) -> None:
    result = run("step=model", "predictor=method", "tracking=off", "iters=2", config_dir=mine)
    assert (result.outcome, result.coefficients) == ("completed", {})


@pytest.mark.parametrize(
    ("word", "sentence"),
    {
        "loss=odd": "declares.Odd.task: 'two' is not one of regression, binary, classes.",
        "predictor=number": "declares.Number.linear: 1 is not true or false.",
        "predictor=misnamed": "predictor=misnamed declares linear = True, so its parameters must "
        "be w and, with a bias, b, not slope.",
    }.items(),
)
def test_a_declaration_that_cannot_hold_is_refused(
    mine: str, cli: CLI, word: str, sentence: str
) -> None:
    ended = cli("--config-dir", mine, "tracking=off", "step=manual", word)
    assert (ended.code, ended.out, ended.err) == (2, "", f"gdexp: {sentence}\n")
    assert not Path("outputs").exists()


# The page


def test_the_page_names_every_capability_that_options_need() -> None:
    named = set(re.findall(r"^\| `(\w+) = ", PAGE, re.M))
    every = {name for capabilities in CAPABILITIES.values() for name in capabilities}
    assert named == every - {"inline"}  # of the rows that stand in the configuration


@pytest.fixture
def example(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The page's files, and the words of its command."""
    section = PAGE.partition("## Declaring capabilities")[2]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.S)
    named = dict(re.findall(r"# mine/([\w/]+)\.yaml.*\n_target_: ([\w.]+)", section))
    write(workdir, "weighted", code, named, monkeypatch)
    (command,) = re.findall(r"^python -m gdexp (--config-dir mine .*)$", section, re.M)
    words: list[str] = command.replace("mine", "options").split()
    return words


def test_the_example_of_the_page(example: list[str], cli: CLI) -> None:
    ended = cli(*example, "tracking=off", "iters=200", "lr=0.1")
    assert (ended.code, ended.err.splitlines()[-1]) == (0, "final/accuracy 0.75")
    ended = cli(*example, "tracking=off", "loss=manual")
    assert (ended.code, ended.err) == (
        2,
        "gdexp: gradient=weighted: the formula is derived for the cross-entropy that counts each 1 "
        "twice of a linear predictor, not for loss=manual. Type gradient=manual.\n",
    )


def test_the_gradient_of_the_page_is_the_derivative(example: list[str]) -> None:
    how = ("tracking=off", "iters=30", "dtype=float64", "lr=0.1")
    curves = run(*example[2:], *how, config_dir=example[1]).trajectory.columns()
    x, y, step = np.array([1.0, 2, 3, 4]), np.array([0, 1, 0, 1]), 1e-6

    def loss(w: float, b: float) -> float:
        odds = np.exp(w * x + b)
        return float(-np.log(np.where(y == 1, (odds / (1 + odds)) ** 2, 1 / (1 + odds))).mean())

    starts = zip([0.0, *curves["param/w"]], [0.0, *curves["param/b"]], strict=True)
    for epoch, (w, b) in enumerate(list(starts)[:-1]):
        assert curves["train/loss"][epoch] == pytest.approx(loss(w, b))
        slopes = (
            (loss(w + step, b) - loss(w - step, b)) / (2 * step),
            (loss(w, b + step) - loss(w, b - step)) / (2 * step),
        )
        found = curves["grad/w"][epoch], curves["grad/b"][epoch]
        assert found == pytest.approx(slopes, abs=1e-7)

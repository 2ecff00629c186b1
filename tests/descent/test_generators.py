"""A run that draws random numbers depends on its seed alone, and goes on where it stopped."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import newest_checkpoints

from gdexp import run, sweep
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.data import preparation
from gdexp.descent import trial
from gdexp.descent.archive import pack, unpack
from gdexp.descent.build import build
from gdexp.errors import ConfigError
from gdexp.experiment import Result
from gdexp.insight.checks import gradient
from gdexp.insight.checks import updater as updater_check

CODE = """
import random
import numpy as np
import torch

rng = np.random.default_rng(5)


class Start:
    def __init__(self):
        self.parameters = {"w": np.array(np.random.normal())}

    def __call__(self, x):
        return self.parameters["w"] * x


class Jitter:
    own = random.Random(7)

    def __init__(self):
        self.scale = 1 + random.random()

    def __call__(self, y_pred, y):
        factor = self.scale + random.random() + rng.random() + self.own.random()
        return ((y_pred - y) ** 2).mean() * factor


class Langevin:
    def __init__(self, lr):
        self.lr = lr

    def state(self):
        return {}

    def load(self, state):
        pass

    def __call__(self, parameters, gradients):
        for name, value in parameters.items():
            noise = 10 * np.random.normal() + torch.rand(1).item()
            parameters[name] = value - self.lr * gradients[name] + self.lr * noise


def table(rows):
    return np.random.normal(size=rows), [random.random() for _ in range(rows)]


class Slope:
    def __call__(self, parameters, x, y, y_pred, loss):
        return {"w": 2 * ((y_pred - y) * x).mean() * (1 + 0.1 * np.random.random())}


class Unsteady(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.rand(1))

    def forward(self, x):
        return self.w * x * (1 + 0.1 * torch.rand(1) + 0.1 * np.random.rand())
"""
OPTIONS = {
    "data": ("table",),
    "predictor": ("Start", "Unsteady"),
    "gradient": ("Slope",),
    "loss": ("Jitter",),
    "updater": ("Langevin",),
}
RUNS = (
    "step=manual updater=Langevin",
    "step=manual predictor=Start gradient=Slope loss=Jitter updater=Langevin",
    "step=model predictor=Unsteady loss=Jitter updater=Adam",
)


@pytest.fixture
def drawing(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of components that draw."""
    (workdir / "drawing_parts.py").write_text(CODE)
    for group, names in OPTIONS.items():
        (workdir / "mine" / group).mkdir(parents=True)
        for name in names:
            settings = {"updater": "lr: ${lr}\n", "data": "rows: 5\n"}.get(group, "")
            option = workdir / "mine" / group / f"{name}.yaml"
            option.write_text(f"_target_: drawing_parts.{name}\n{settings}")
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delitem(sys.modules, "drawing_parts", raising=False)
    return "mine"


def numbers(result: Result) -> list[object]:
    return [result.transcript, result.trajectory.table.tolist(), result.prediction, result.notes]


def drawn() -> list[float]:
    return [random.random(), np.random.random(), torch.rand(1).item()]


def forget(seed: int) -> None:
    """Every global generator in another state, and nothing known of the components."""
    for seeded in (random.seed, np.random.seed, torch.manual_seed):
        seeded(seed)
    gradient._checked.clear()
    trial._passed.clear()


@pytest.mark.parametrize("words", RUNS)
def test_a_run_depends_on_its_seed_and_on_nothing_computed_before(words: str, drawing: str) -> None:
    typed = ("tracking=off", "iters=4", *words.split())
    results, left = [], []
    for state, seed in ((1, 3), (2, 3), (2, 4)):
        forget(state)
        before = drawn()
        forget(state)
        results.append(numbers(run(*typed, f"seed={seed}", config_dir=drawing)))
        left.append(drawn() == before)
    assert results[0] == results[1] != results[2]
    assert left == [True] * 3  # the generators are as they were


@pytest.mark.parametrize("words", RUNS[1:])
def test_a_run_that_draws_goes_on_where_it_stopped(words: str, drawing: str) -> None:
    typed = ("tracking=off", "seed=3", "print_every=1", *words.split())
    whole = run(*typed, "iters=6", config_dir=drawing)
    run(*typed, "iters=3", "checkpoint.every=3", config_dir=drawing)
    path = newest_checkpoints()
    on = run(*typed, "iters=6", f"continue_from={path}", config_dir=drawing)
    assert numbers(on)[:3] == numbers(whole)[:3]


def test_damaged_states_of_generators_are_refused(drawing: str) -> None:
    typed = ("tracking=off", *RUNS[0].split())
    run(*typed, "iters=3", "checkpoint.every=3", config_dir=drawing)
    (path,) = newest_checkpoints().iterdir()
    parts = unpack(path.read_bytes())
    for damage in ({"random": 3}, {"numpy.random": "x"}, 7):
        parts["state"]["generators"] = damage
        path.write_bytes(pack(parts))
        with pytest.raises(ConfigError, match=r"^continue_from: .* is damaged: "):
            run(*typed, "iters=6", f"continue_from={path}", config_dir=drawing)


def test_a_table_that_is_drawn_is_the_same_for_every_seed(drawing: str) -> None:
    tables = []
    for state, seed in ((1, 3), (2, 4)):
        forget(state)
        for cached in (preparation._whole, preparation._table):
            cached.cache_clear()
        data = run("tracking=off", "data=table", f"seed={seed}", config_dir=drawing).data
        assert data is not None
        tables.append(data.digest)
    assert tables[0] == tables[1]


def test_noise_of_an_updater_is_not_taken_for_its_direction(drawing: str) -> None:
    """The noise is 10 times as large as the gradient by which the updater is judged."""
    typed = RUNS[0].split()
    with session():
        job = Job.of(Composer(drawing).compose(typed), typed)
    for seed in range(20):
        job.settings["seed"] = seed
        assert updater_check.wrong(job, build(job)) == ""


@pytest.mark.parametrize("step", ["manual", "autograd"])
def test_a_gradient_that_draws_is_not_held_against_the_derivative(step: str, drawing: str) -> None:
    result = run("tracking=off", f"step={step}", "gradient=Slope", "iters=1", config_dir=drawing)
    assert "gradient=Slope" not in result.notes
    assert "gradient_error" not in result.checks


def test_a_sweep_has_the_numbers_of_its_runs_alone(drawing: str) -> None:
    typed = ("tracking=off", "iters=4", *RUNS[1].split())
    alone = [run(*typed, f"seed={seed}", config_dir=drawing).loss for seed in (4, 3)]
    table = sweep(*typed, "seed=4,3", config_dir=drawing)
    assert table["final/loss"].tolist() == alone

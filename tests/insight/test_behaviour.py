"""How a run behaved, how fast it contracted, and that it did what was forecast."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import client, first_quick

from gdexp import experiment, run
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.result import Result
from gdexp.descent.trajectory import Trajectory
from gdexp.insight.dynamics.behaviour import behaviour, contraction, decades

EPS = 64 * float(np.finfo("float32").eps)
WRONG = """
from gdexp import manual

class Gradient(manual.Gradient):
    derived_for = manual.Loss.measures
    reduction = "mean"
    def __init__(self, factor: float = 4.0) -> None:
        self.factor = factor
    def __call__(self, *args):
        return {name: self.factor * slope for name, slope in super().__call__(*args).items()}
"""
RANDOM = (
    "gradient=manual predictor.bias=true",
    "gradient=manual_sum updater=manual_momentum",
    "gradient=manual updater=manual_nesterov data.standardize=true predictor.bias=true",
    "step=optimizer updater.momentum=0.5 updater.dampening=0.5 predictor.bias=true",
    "step=model predictor.bias=true updater.weight_decay=0.3 predictor.init=torch",
    "step=model loss.reduction=sum data.validation=0.2",
)


@pytest.mark.parametrize(
    ("lr", "expected"),
    first_quick(
        {"0.1": "oscillating", "0.03": "monotone", "0.06": "monotone", "0.14": "diverging"}.items(),
        1,
    ),
)
def test_a_quadratic_has_three_regimes(lr: str, expected: str) -> None:
    """Monotone up to 1 / curvature = 0.067, oscillating up to 2 / curvature = 0.133."""
    assert run("tracking=off", "gradient=manual", f"lr={lr}", "iters=60").behaviour == expected


@pytest.mark.parametrize(
    ("loss", "slopes", "expected"),
    [
        ([4.0, 2, 1], [3.0, 2, 1], "monotone"),
        ([4.0, 2, 1], [3.0, -2, 1], "oscillating"),
        ([4.0, 5, 1], [3.0, 2, 1], "oscillating"),
        ([4.0, 5, 6], [3.0, 2, 1], "diverging"),
        ([4.0, 1, 1 + 1e-7], [3.0, 1e-8, -1e-8], "monotone"),
        ([0.0, 0, 0], [0.0, 0, 0], "monotone"),
        ([4.0], [3.0], ""),
        ([], [], ""),
    ],
)
def test_rounding_neither_rises_nor_turns(
    loss: list[float], slopes: list[float], expected: str
) -> None:
    table = np.array([loss, np.zeros(len(loss)), slopes])
    trajectory = Trajectory.of(table, ("w",), len(loss), diverged=False)
    assert behaviour(trajectory, EPS, by_gradient=True) == expected


def test_the_decades_are_the_first_epochs_at_each_power_of_ten() -> None:
    result = run("tracking=off", "gradient=manual", "lr=0.02", "dtype=float64", "iters=40")
    loss = result.trajectory.loss
    expected = [
        int((loss <= loss[0] / 10**k).argmax()) + 1
        for k in range(1, 30)
        if (loss <= loss[0] / 10**k).any()
    ]
    assert [*result.decades] == expected
    assert len(expected) > 10
    assert (
        decades(np.array([])) == decades(np.array([0.0, 0.0])) == decades(np.array([1, 2.0])) == ()
    )
    assert len(decades(np.array([1.0, 0.0]))) == 30


def test_a_contraction_is_that_of_a_geometric_series() -> None:
    values = 7 * 0.8 ** np.arange(50)
    assert contraction(values, 0.0) == pytest.approx(0.8)
    assert contraction(np.append(values, [1e-30] * 50), 1e-20) == pytest.approx(0.8)
    assert contraction(values[:5], 0.0) is None


@pytest.mark.parametrize(
    "words",
    first_quick(
        [
            "gradient=manual lr=0.02",
            "gradient=manual lr=0.128 iters=200",
            "step=optimizer updater.momentum=0.6 lr=0.001 iters=400",
            "step=manual lr=0.034 iters=300",
        ],
        1,
    ),
)
def test_the_fitted_contraction_is_the_forecast_one(words: str) -> None:
    result = run("tracking=off", "dtype=float64", *words.split())
    assert result.checks["contraction"] == pytest.approx(result.forecast["contraction"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["updater.weight_decay=3", "data.batch_size=2"])
def test_where_the_loss_does_not_come_down_to_its_smallest_none_is_fitted(words: str) -> None:
    assert "contraction" not in run("tracking=off", "step=model", words, "iters=60").checks


@pytest.mark.slow
def test_of_a_network_it_is_that_of_the_gradient() -> None:
    result = run("tracking=off", "step=model", "predictor=mlp", "iters=100")
    assert 0.9 < result.checks["contraction"] < 1.1


@pytest.fixture
def wrong(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with a gradient source that is a multiple of what it declares; its name."""
    (workdir / "wrong_gradients.py").write_text(WRONG)
    (workdir / "mine" / "gradient").mkdir(parents=True)
    option = "_target_: wrong_gradients.Gradient\nfactor: 4.0\n"
    (workdir / "mine" / "gradient" / "wrong.yaml").write_text(option)
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delitem(sys.modules, "wrong_gradients", raising=False)
    return "mine"


@pytest.mark.parametrize(
    ("factor", "is_told"), first_quick([(4, True), (1, False), (0.5, True), (-1, True)], 2)
)
def test_a_gradient_that_is_not_what_it_declares_is_told(
    wrong: str, factor: float, is_told: bool
) -> None:
    typed = "tracking=off", "gradient=wrong", f"gradient.factor={factor}", "check.gradient=off"
    note = run(*typed, config_dir=wrong).notes.get("deviation", "")
    assert bool(note) == is_told
    if factor == 4:
        assert note == (
            "the loss of epoch 2 is 4.8, and 21.675 was forecast: gradient=wrong computes "
            "something else than its class declares."
        )


@pytest.mark.slow
def test_the_record_says_how_the_run_behaved(store: Path) -> None:
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.query import select
    from gdexp.tracking.restore import result_of

    result = run("gradient=manual", "lr=0.1")
    recorded = client(store).get_run(str(result.run_id)).data
    assert recorded.tags["gdexp.behaviour"] == result.behaviour == "oscillating"
    assert (
        recorded.tags["gdexp.decades"]
        == " ".join(map(str, result.decades))
        == "3 5 6 8 10 11 13 15 16 18 20"
    )
    assert recorded.metrics["check/contraction"] == result.checks["contraction"]
    opened = open_existing(None, None)
    read = result_of(opened, select(opened, [str(result.run_id)])[0])
    assert (read.behaviour, read.decades) == (result.behaviour, result.decades)
    assert read.forecast == result.forecast


@pytest.mark.slow
def test_random_runs_raise_no_false_alarm(workdir: Path) -> None:
    rng = np.random.default_rng(5)
    with session():
        bases = [_composed(*words.split()) for words in RANDOM]
    for i in range(60):
        job = _random(bases[i % len(bases)], rng)
        bound = _run(job).forecast["largest_lr"]
        factor = rng.choice([1e-3, 0.03, 0.3, 0.9, 0.999, 1.001, 1.1, 3, 30])
        result = _run(_with_lr(job, float(bound * factor), int(rng.choice([3, 20, 200, 1000]))))
        assert "deviation" not in result.notes, (result, job.settings)


def _composed(*words: str) -> Job:
    typed = ["tracking=off", "data=csv", "data.path=t.csv", "data.target=y", *words]
    return Job.of(Composer().compose(typed), typed)


def _random(base: Job, rng: np.random.Generator) -> Job:
    """A job on a random table, with features of random units, offsets and noise."""
    n, d = int(rng.integers(6, 60)), int(rng.integers(1, 5))
    x = rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-2, 2, d) + 10.0 ** rng.uniform(-1, 2.5)
    y = x @ rng.normal(size=d) + rng.normal(size=n) * 10.0 ** rng.uniform(-3, 1)
    header = ",".join([*(f"x{k}" for k in range(d)), "y"])
    name = f"{rng.integers(10**9)}.csv"
    np.savetxt(name, np.column_stack([x, y]), delimiter=",", header=header, comments="")
    settings = json.loads(json.dumps(base.settings))
    settings["data"]["path"] = name
    settings["dtype"] = str(rng.choice(["float32", "float64"]))
    return _with_lr(replace(base, settings=settings), 1e-9, 2)


def _with_lr(job: Job, lr: float, iters: int) -> Job:
    updater = {**job.settings["updater"], "lr": lr}
    return replace(job, settings={**job.settings, "lr": lr, "iters": iters, "updater": updater})


def _run(job: Job) -> Result:
    with np.errstate(over="ignore"):
        return experiment.run(experiment.Ready(job, experiment.assemble(job), None, None, job))

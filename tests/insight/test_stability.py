"""The largest lr that works: descent converges just below it and diverges just above."""

from __future__ import annotations

import pytest
import yaml

from gdexp import run
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.build import build
from gdexp.insight.dynamics.curvature import curvature
from gdexp.insight.dynamics.stability import largest_lr

LINE = ("tracking=off", "dtype=float64", "data.x=[1,2,3,4]", "data.y=[3,4,6,9]")
UPDATERS = {
    "updater=manual": 2,
    "updater=manual_momentum updater.momentum=0.5": 3,
    "updater=manual_nesterov updater.momentum=0.5": 1.5,
    "updater=SGD": 2,
    "updater=SGD updater.momentum=0.9": 3.8,
    "updater=SGD updater.dampening=0.5": 2,
    "updater=SGD updater.momentum=0.8 updater.dampening=0.5": 7.2,
    "updater=SGD updater.momentum=0.9 updater.nesterov=true": 3.8 / 2.8,
}
GRADIENTS = {
    "gradient=manual": 1,
    "gradient=manual_sum": 4,
    "gradient=autograd": 1,
    "gradient=autograd loss=MSELoss loss.reduction=sum": 4,
    "gradient=manual loss=MSELoss loss.reduction=sum": 1,
}


def largest(*overrides: str) -> float | None:
    with session():
        job = Job.of(Composer().compose([*LINE, *overrides]), overrides)
    built = build(job)
    quadratic = curvature(job, built)
    assert quadratic is not None
    return largest_lr(job, built, quadratic)


def grows(lr: float, curvature: float, **sgd: float) -> bool:
    """Whether w grows that starts at 1, by the formulas of torch.optim.SGD's page."""
    w, v, m = 1.0, 0.0, sgd.get("momentum", 0.0)
    for _ in range(3000):
        g = curvature * w + sgd.get("weight_decay", 0.0) * w
        v = m * v + (1 - sgd.get("dampening", 0.0)) * g if m else g
        w -= lr * (g + m * v if sgd.get("nesterov") else v)
    return abs(w) > 1


def assert_sharp(bound: float | None, curvature: float, **sgd: float) -> None:
    assert bound is not None
    assert not grows(0.99 * bound, curvature, **sgd)
    assert grows(1.01 * bound, curvature, **sgd)


@pytest.mark.parametrize(("updater", "factor"), UPDATERS.items())
def test_of_every_updater_that_declares_its_dynamics(updater: str, factor: float) -> None:
    words = updater.split()
    bound = largest("step=optimizer" if "SGD" in updater else "gradient=manual", *words)
    assert bound == pytest.approx(factor / 15)
    sgd = {key: yaml.safe_load(value) for key, value in (w[8:].split("=") for w in words[1:])}
    sgd |= {"nesterov": True} if "nesterov" in words[0] else {}
    assert_sharp(bound, 15, **sgd)


@pytest.mark.parametrize(("gradient", "factor"), GRADIENTS.items())
def test_of_every_gradient_source(gradient: str, factor: float) -> None:
    bound = largest(*gradient.split())
    assert bound == pytest.approx(2 / 15 / factor)
    assert_sharp(bound, 15 * factor)


def test_a_weight_decay_is_added_to_the_curvature() -> None:
    bound = largest("step=optimizer", "updater.weight_decay=5")
    assert bound == pytest.approx(2 / 20)
    assert_sharp(bound, 15, weight_decay=5)


@pytest.mark.parametrize("updater", ["manual", "manual_momentum", "manual_nesterov"])
def test_runs_converge_below_it_and_diverge_above(updater: str) -> None:
    words = ("gradient=manual", f"updater={updater}", "iters=1500")
    bound = largest(*words) or 0.0
    below, above = (run(*LINE, *words, f"lr={bound * k}") for k in (0.99, 1.01))
    assert (below.outcome, below.checks["digits"], above.outcome) == ("completed", 6, "diverged")


@pytest.mark.parametrize(
    ("words", "sentence"),
    {
        "step=manual lr=0.05": "lr=0.05 is above 0.03333, the largest that works for this problem: "
        "type lr=0.016.",
        "step=autograd lr=0.2": "lr=0.2 is above 0.1333, the largest that works for this problem: "
        "type lr=0.066.",
        "step=manual updater.lr=0.05": "updater.lr=0.05 is above 0.03333, the largest that works "
        "for this problem: type updater.lr=0.016.",
        "step=autograd lr=0.1 scheduler=LinearLR scheduler.end_factor=1 iters=60 "
        "scheduler.start_factor=1 updater.lr=0.2": "updater.lr=0.2 is above 0.1333",
        "step=autograd data.batch_size=2 lr=1": "with all rows at once lr must be below 0.1333, "
        "with minibatches lower: lr=0.066.",
        "step=optimizer updater.maximize=true": "updater.maximize=true climbs the loss: type "
        "updater.maximize=false.",
        "step=optimizer updater.momentum=1.1 iters=99": "updater.momentum=1.1 adds up gradients "
        "without end: type updater.momentum=0.9.",
        "step=model predictor=mlp lr=100": "a smaller step may work, as in lr=10; the largest that "
        "works is not known in advance with predictor=mlp.",
        "gradient=manual data=diabetes data.standardize=true predictor.bias=true lr=0.5 iters=99": (
            "lr=0.5 is above 0.2484, the largest that works for this problem: type lr=0.12."
        ),
        "gradient=manual updater=manual_adam lr=9 predictor.init=1.99": "a smaller step may work, "
        "as in lr=0.9; the largest that works is not known in advance with updater=manual_adam.",
        "step=autograd loss=HuberLoss lr=100 iters=200": "a smaller step may work, as in lr=10; "
        "the largest that works is not known in advance with loss=HuberLoss.",
    }.items(),
)
def test_a_run_that_diverged_says_why_and_what_to_type(words: str, sentence: str) -> None:
    result = run("tracking=off", "check.forecast=false", *words.split())
    assert (result.forecast, "forecast" in result.notes) == ({}, False)
    assert result.outcome == "diverged"
    assert sentence in result.notes["diverged"]


def test_growth_below_the_bound_is_not_blamed_on_the_lr() -> None:
    large = "data.x=[1e19,2e19]", "data.y=[1e20,2e20]"
    result = run("tracking=off", "gradient=manual", "lr=1e-40", *large)
    assert result.outcome == "diverged"
    assert result.note == (
        "lr=1e-40 is below 4e-39, the largest that works for this problem, so the growth is "
        "temporary or a number too large for float32: type lr=2e-39, or run more epochs."
    )

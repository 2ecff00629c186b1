"""The forecast of a quadratic is exact: its bound, its losses, and the epochs of what happens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, first_quick, python
from sweep_helpers import gd

from gdexp import experiment, run
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.build import build
from gdexp.descent.result import Result
from gdexp.insight.dynamics.forecast import Forecast, forecast

LINE = ("dtype=float64", "data.x=[1,2,3,4]", "data.y=[3,4,6,9]")
SCALED = ("data=diabetes", "data.standardize=true", "predictor.bias=true")
MOTIONS = {
    "gradient=manual": 0.1,
    "gradient=manual_sum predictor.bias=true predictor.init=5": 0.01,
    "gradient=manual updater=manual_momentum predictor.bias=true": 0.05,
    "gradient=manual updater=manual_momentum updater.momentum=0": 0.05,
    "gradient=manual updater=manual_nesterov predictor.bias=true": 0.05,
    "step=optimizer updater.momentum=0.8 updater.dampening=0.5 predictor.bias=true": 0.3,
    "step=optimizer updater.momentum=0.25": 0.016666666666666666,  # two equal roots
    "step=optimizer updater.momentum=0.9 updater.nesterov=true": 1 / 15,
    "step=model predictor.bias=true updater.weight_decay=2 predictor.init=torch": 0.05,
    "step=model loss.reduction=sum updater.momentum=0.5 updater.weight_decay=1": 0.02,
    "gradient=manual updater=manual_nesterov data=diabetes data.standardize=true": 0.1,
    "step=model data=diabetes data.validation=0.25 data.standardize=true": 0.2,
}
WARNINGS = {
    "step=manual lr=0.05": "lr=0.05 is above 0.03333, the largest that works for this problem: "
    "the loss will exceed 10 times its start in epoch 3. Type lr=0.016.",
    "step=autograd lr=0.2 predictor.init=2": "lr=0.2 is above 0.1333, the largest that works "
    "for this problem: the loss will grow. Type lr=0.066.",
    "step=autograd data.batch_size=2 lr=1": "lr=1 is above 0.1333, the largest that works with "
    "all rows at once, and minibatches need smaller steps: type lr=0.066.",
    "step=manual data.batch_size=2 lr=0.1": "lr=0.1 is above 0.06666, the largest that works with "
    "the sum over 2 average rows, and minibatches need smaller steps: type lr=0.033.",
    "step=autograd lr=0.3 scheduler=ExponentialLR scheduler.gamma=0.5": "the schedule starts "
    "with lr=0.3, above 0.1333, the largest that works for this problem: the loss will grow "
    "until it is below. Type lr=0.066.",
    "step=model predictor=mlp lr=1": "lr=1 is above 0.077, below which descent is stable at "
    "the start: the loss may grow at first. With lr=0.038, it will not.",
}


def job_of(*overrides: str) -> Job:
    with session():
        words = ["tracking=off", *overrides]
        return Job.of(Composer().compose(words), words)


def known(*overrides: str) -> Forecast:
    job = job_of(*overrides)
    expected = forecast(job, build(job))
    assert expected is not None
    return expected


def with_lr(job: Job, lr: float, iters: int) -> Job:
    updater = {**job.settings["updater"], "lr": lr}
    return replace(job, settings={**job.settings, "lr": lr, "iters": iters, "updater": updater})


def computed(job: Job) -> Result:
    ready = experiment.Ready(job, experiment.assemble(job), None, None, job)
    return experiment.run(ready)


def grows(job: Job, lr: float, iters: int) -> bool:
    """Whether the loss of a real run grows."""
    trajectory = computed(with_lr(job, lr, iters)).trajectory
    return bool(trajectory.diverged or trajectory.loss[-1] > trajectory.loss[0])


def test_the_numbers_of_the_tutorial() -> None:
    one, four = known("gradient=manual", "lr=0.05"), known("step=manual", "lr=0.05")
    assert (one.curvature, four.curvature) == (pytest.approx(15), pytest.approx(60))
    assert (one.largest_lr, four.largest_lr) == (pytest.approx(2 / 15), pytest.approx(1 / 30))
    assert (one.contraction, four.contraction) == (pytest.approx(0.25), pytest.approx(2))
    assert (one.epochs, one.exceeds_epoch) == (6, None)  # 0.25**(2 * 5) is below 1e-6
    assert (four.epochs, four.exceeds_epoch) == (None, 3)  # 2**(2 * 2) is above 10
    assert (one.best_lr, four.best_lr) == (pytest.approx(1 / 15), pytest.approx(1 / 60))
    assert one.lr_over_largest == pytest.approx(0.375)


def test_the_numbers_of_the_diabetes_data() -> None:
    expected = known("gradient=manual", *SCALED)
    assert expected.curvature == pytest.approx(8.0484, abs=5e-5)
    assert expected.largest_lr == pytest.approx(0.24850, abs=5e-6)
    assert expected.is_exact


@pytest.mark.parametrize(("words", "lr"), first_quick(MOTIONS.items(), 5))
def test_the_losses_are_those_of_the_run_to_rounding(words: str, lr: float) -> None:
    line = () if "diabetes" in words else LINE
    job = with_lr(job_of("dtype=float64", *line, *words.split()), lr, 300)
    result, expected = computed(job), forecast(job, build(job))
    assert expected is not None
    losses = expected.losses(300)
    assert losses is not None
    np.testing.assert_allclose(losses, result.trajectory.loss, rtol=1e-9, atol=1e-13 * losses[0])
    assert result.forecast == expected.metrics
    assert ("deviation" in result.notes, result.path is not None) == (False, True)


@pytest.mark.parametrize(
    ("words", "factor"),
    first_quick(
        [
            ("gradient=manual", 1.002),
            ("gradient=manual", 40),
            ("step=optimizer updater.momentum=0.9", 1.1),
        ],
        1,
    ),
)
def test_past_the_bound_the_loss_exceeds_ten_times_its_start_when_forecast(
    words: str, factor: float
) -> None:
    job = job_of(*LINE, *words.split(), "predictor.bias=true")
    bound = forecast(job, build(job))
    assert bound is not None
    assert bound.largest_lr is not None
    result = computed(with_lr(job, factor * bound.largest_lr, 2000))
    loss = result.trajectory.loss
    assert result.forecast["exceeds_epoch"] == int((loss > 10 * loss[0]).argmax()) + 1
    assert result.outcome == "diverged"


@pytest.mark.parametrize("watch", ["loss", "gradient"])
@pytest.mark.parametrize(
    "words", first_quick(["gradient=manual", "step=model updater.momentum=0.7"], 1)
)
def test_the_tolerance_is_met_when_forecast(words: str, watch: str) -> None:
    stop = f"stop.watch={watch}", f"stop.tolerance={0.5 if watch == 'loss' else 1e-3}"
    result = run("tracking=off", *LINE, "predictor.bias=true", "iters=5000", *stop, *words.split())
    assert result.outcome == "converged"
    assert result.forecast["epochs"] == result.trajectory.length > 4


def test_a_tolerance_below_the_smallest_loss_is_never_met() -> None:
    assert known("gradient=manual", *LINE, "stop.tolerance=1e-9").epochs is None
    assert known("gradient=manual", *LINE, "stop.tolerance=100").epochs == 1


@pytest.mark.parametrize(
    "words", first_quick(["gradient=manual updater=manual_nesterov", *MOTIONS], 1)
)
def test_the_bound_is_that_of_real_runs(words: str) -> None:
    check_bound(words, 1500)


def check_bound(words: str, iters: int, table: tuple[str, ...] = LINE) -> None:
    """Real runs a thousandth below and above the bound come down and grow."""
    line = () if "diabetes" in words else table
    job = job_of("dtype=float64", *line, *words.split())
    bound = known("dtype=float64", *line, *words.split()).largest_lr
    assert bound is not None
    assert not grows(job, 0.999 * bound, iters), words
    assert grows(job, 1.001 * bound, iters), words


def test_far_epochs_are_reached_without_walking_there() -> None:
    slow = known("gradient=manual", *LINE, "lr=1e-7")
    assert slow.epochs == pytest.approx(np.log(1e-6) / 2 / np.log1p(-15e-7), rel=1e-6)
    assert slow.epochs is not None
    assert slow.path is not None
    before, then = slow.path.losses(np.array([slow.epochs - 1.0, slow.epochs]))
    assert before > slow.path.final + 1e-6 * (slow.path.initial - slow.path.final) >= then


def test_minibatches_and_schedules_have_a_bound_but_no_course() -> None:
    for words in ("data.batch_size=2", "scheduler=LinearLR"):
        expected = known("step=autograd", words)
        assert expected.largest_lr == pytest.approx(2 / 15)
        assert (expected.losses(3), expected.epochs, expected.contraction) == (None, None, None)
    assert expected.lr == pytest.approx(0.01 / 3)  # LinearLR starts with a third


@pytest.mark.parametrize(
    ("words", "note"),
    first_quick(WARNINGS.items(), 2),
)
def test_an_lr_past_the_bound_is_warned_of(words: str, note: str) -> None:
    assert run("tracking=off", *words.split()).notes["forecast"] == note


@pytest.mark.parametrize(
    "words", first_quick(["lr=0.0333", "gradient=manual lr=0.1333", "updater=Adam lr=9"], 1)
)
def test_an_lr_below_the_bound_is_not(words: str) -> None:
    assert "forecast" not in run("tracking=off", *words.split()).notes


def test_the_warning_comes_before_the_descent_and_is_not_repeated(workdir: Path, cli: CLI) -> None:
    lines = cli("tracking=off", "step=manual", "lr=0.05").err.splitlines()
    assert lines[0].startswith("note: lr=0.05 is above 0.03333")
    assert lines[-1] == "note: as forecast: the loss exceeded 10 times its start in epoch 3."
    assert sum("0.03333" in line for line in lines) == 1


def test_it_is_printed_once_in_a_sweep(workdir: Path) -> None:
    err = gd("-m", "tracking=off", "gradient=manual", "lr=0.05,0.2,0.3,0.4").err
    assert err.count("the largest that works") == 1
    assert "note (#1): lr=0.2 is above 0.1333" in err
    assert "as forecast" not in err


def test_switched_off_it_leaves_no_trace() -> None:
    result = run("tracking=off", "lr=0.05", "check.forecast=false")
    assert (result.forecast, result.path) == ({}, None)
    assert "the largest that works for this problem: type" in result.notes["diverged"]


@pytest.mark.slow
def test_of_a_network_neither_scipy_nor_matplotlib_is_imported(tmp_path: Path) -> None:
    words = "'tracking=off', 'step=model', 'predictor=mlp', 'iters=3'"
    code = (
        f"import sys, gdexp; r = gdexp.run({words}); print(r.forecast['curvature'], *sys.modules)"
    )
    loaded = {name.partition(".")[0] for name in python("-c", code, cwd=tmp_path).out.split()}
    assert "torch" in loaded
    assert loaded & {"scipy", "matplotlib"} == set()


@pytest.mark.slow
def test_random_tables_are_forecast_within_a_thousandth(workdir: Path) -> None:
    rng = np.random.default_rng(3)
    for i, words in enumerate([*MOTIONS][:6]):
        d = int(rng.integers(1, 5))
        table = rng.normal(size=(30, d + 1)) * 10.0 ** rng.uniform(-1, 1, d + 1)
        header = ",".join([*(f"x{k}" for k in range(d)), "y"])
        np.savetxt(f"{i}.csv", table, delimiter=",", header=header, comments="")
        own = "data=csv", f"data.path={i}.csv", "data.target=y", "dtype=float64"
        check_bound(words, 2500, own)

"""Runs on any data, of any module and optimizer: stacked, they are the runs one by one.

With torch, sums may be rounded in another order than alone, and a descent enlarges differences. So
runs are short and in float64, and numbers must agree to nine digits of a curve's largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp import experiment
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.result import Result
from gdexp.descent.stopping import VALIDATION
from gdexp.sweep.jobs import Plan
from gdexp.sweep.vectorized import trial
from gdexp.sweep.vectorized.compute import compute
from gdexp.sweep.vectorized.eligible import group_key, obstacle

DIGITS = 1e-9
DATA = "data=diabetes data.standardize=true data.standardize_target=true"
CLASSES = "loss=CrossEntropyLoss data.y=[0,1,2,1]"
BITS = "loss=BCEWithLogitsLoss data.y=[0,1,0,1]"
PROBLEMS = [
    f"step=model {DATA}",
    f"step=model {DATA} predictor=mlp",
    f"step=model {DATA} predictor=mlp data.batch_size=100",
    f"step=model {DATA} predictor=mlp predictor.sizes=[5,3] data.validation=0.25",
    f"step=model {DATA} data.validation=0.25 data.batch_size=64 stop.patience=2",
    f"step=model {DATA} data.compress=true predictor.bias=true",
    f"step=autograd {DATA} gradient=autograd",
    f"step=optimizer {DATA} gradient=manual loss=manual",
    f"step=model {CLASSES} predictor=mlp predictor.activation=GELU",
    f"step=model {CLASSES} loss.label_smoothing=0.1",
    f"step=model {BITS}",
    "step=model loss=HuberLoss predictor.bias=true",
    "step=model loss=SmoothL1Loss loss.reduction=sum data.batch_size=3",
    "step=model loss=L1Loss predictor=mlp data.validation=0.25 stop.patience=1 stop.every=2",
    "step=model stop.tolerance=3 stop.watch=gradient",
    f"step=model {DATA} stop.divergence=3 stop.every=3",
    "step=model data=synthetic data.rows=50 data.features=25",
]
BETAS = st.tuples(st.floats(0, 0.95), st.floats(0.5, 0.999)).map(lambda b: f"[{b[0]},{b[1]}]")
UPDATERS: dict[str, dict[str, Any]] = {
    "manual": {},
    "manual_momentum": {"momentum": st.floats(0, 0.9)},
    "manual_nesterov": {"momentum": st.floats(0, 0.9)},
    "manual_adam": {"beta1": st.floats(0, 0.95), "beta2": st.floats(0.5, 0.99)},
    "SGD": {
        "momentum": st.floats(0, 0.9),
        "dampening": st.floats(0, 0.5),
        "weight_decay": st.floats(0, 0.2),
        "maximize": st.booleans(),
    },
    "Adam": {
        "betas": BETAS,
        "eps": st.floats(1e-8, 1e-2),
        "weight_decay": st.floats(0, 0.2),
        "amsgrad": st.booleans(),
        "maximize": st.booleans(),
        "decoupled_weight_decay": st.booleans(),
    },
    "AdamW": {"betas": BETAS, "weight_decay": st.floats(0, 0.2), "amsgrad": st.booleans()},
    "Adagrad": {
        "lr_decay": st.floats(0, 0.5),
        "weight_decay": st.floats(0, 0.2),
        "initial_accumulator_value": st.floats(0, 2),
        "maximize": st.booleans(),
    },
    "RMSprop": {
        "alpha": st.floats(0.5, 0.99),
        "eps": st.floats(1e-6, 1e-2),
        "weight_decay": st.floats(0, 0.2),
        "momentum": st.floats(0, 0.9),
        "centered": st.just(False),
        "maximize": st.booleans(),
    },
}
SCHEDULERS: dict[str, dict[str, Any]] = {
    "none": {},
    "ConstantLR": {"factor": st.floats(0.1, 1), "total_iters": st.integers(1, 9)},
    "CosineAnnealingLR": {"eta_min": st.floats(0, 1e-3)},
    "CosineAnnealingWarmRestarts": {"T_0": st.integers(1, 5)},
    "ExponentialLR": {"gamma": st.floats(0.5, 1)},
    "LinearLR": {"start_factor": st.floats(0.1, 1)},
    "MultiStepLR": {},
    "OneCycleLR": {"pct_start": st.floats(0.1, 0.9), "cycle_momentum": st.just(False)},
    "CyclicLR": {"cycle_momentum": st.just(False)},
    "PolynomialLR": {"power": st.floats(0.5, 2)},
    "ReduceLROnPlateau": {"patience": st.integers(0, 3), "factor": st.floats(0.1, 0.9)},
    "StepLR": {"gamma": st.floats(0.5, 1)},
}
RUN: dict[str, Any] = {
    "lr": st.floats(1e-4, 0.02) | st.sampled_from([0.01, 0.3]),
    "iters": st.integers(1, 12),
    "seed": st.integers(0, 2**31),
    "predict_at": st.floats(-10, 10),
}


def but_few_are_slow(options: list[str], *fast: int) -> list[Any]:
    """The options as parameters, all but these in the slow suite."""
    return [
        option if number in fast else pytest.param(option, marks=pytest.mark.slow)
        for number, option in enumerate(options)
    ]


@pytest.fixture(scope="module")
def plan() -> Iterator[Plan]:
    """What composes jobs; a combination only once."""
    with session():
        composer = Composer()
        yield Plan(composer.compose, composer.groups())


def planned(plan: Plan, common: str, changes: list[dict[str, Any]]) -> list[Job]:
    """One job for each of these changes of a common choice."""
    jobs = []
    for number, change in enumerate(changes):
        words = [f"{key}={str(value).lower()}" for key, value in change.items()]
        words = [*common.split(), "tracking=off", "dtype=float64", *words]
        jobs.append(plan.job(words, "any", number))
    assert {obstacle(job) for job in jobs} == {""}
    return jobs


def compared(jobs: list[Job], digits: float = DIGITS) -> list[tuple[Result, Result]]:
    """Each run stacked and alone, which agree; jobs of one group are one program."""
    assert len(set(map(group_key, jobs))) == 1
    ended = {job.number: result for job, result in compute(jobs, lambda runs: None)}
    assert sorted(map(int, ended)) == list(range(len(jobs)))  # type: ignore[arg-type]
    pairs = []
    for job in jobs:
        stacked, alone = ended[job.number], experiment.run(experiment.prepare(job))
        where = f"{job.command}: {alone.reason}"
        assert_alike(stacked, alone, digits, where)
        pairs.append((stacked, alone))
    return pairs


def assert_alike(stacked: Result, alone: Result, digits: float, where: str) -> None:
    """The same trajectory and the same result, but for rounding."""
    assert (stacked.outcome, stacked.restored) == (alone.outcome, alone.restored), where
    columns = stacked.trajectory.columns()
    assert [*columns] == [*alone.trajectory.columns()], where
    for name, values in alone.trajectory.columns().items():
        if alone.outcome == "diverged" and name != "train/loss":
            continue  # what cancels leaves nothing but rounding, enlarged at every step
        scale = np.abs(values, where=np.isfinite(values), out=np.zeros(len(values))).max(initial=0)
        close = {"rtol": digits, "atol": digits * max(scale, 1e-3), "err_msg": f"{where}: {name}"}
        np.testing.assert_allclose(columns[name], values, **close)
    if alone.outcome == "diverged":
        return
    for what in ("parameters", "coefficients", "scores"):
        one, other = getattr(stacked, what), getattr(alone, what)
        assert one == pytest.approx(other, rel=1e-6, abs=1e-6, nan_ok=True), f"{where}: {what}"
    assert stacked.prediction == pytest.approx(alone.prediction, rel=1e-6, abs=1e-6), where
    assert stacked.notes.keys() == alone.notes.keys(), where
    assert (stacked.fitted is None) == (alone.fitted is None), where


@pytest.mark.parametrize("problem", but_few_are_slow(PROBLEMS, 3, 4, 8))
@settings(max_examples=2, deadline=None)
@given(data=st.data())
def test_runs_of_any_problem(data: st.DataObject, plan: Plan, problem: str) -> None:
    numbers = st.fixed_dictionaries(RUN)
    changes = data.draw(st.lists(numbers, min_size=2, max_size=4))
    compared(planned(plan, problem, changes))


@pytest.mark.parametrize("updater", but_few_are_slow([*UPDATERS], 4, 5))
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_every_setting_of_an_updater(data: st.DataObject, plan: Plan, updater: str) -> None:
    own = {f"updater.{key}": value for key, value in UPDATERS[updater].items()}
    numbers = st.fixed_dictionaries({"lr": st.floats(1e-4, 0.02), "seed": st.integers(0, 3)} | own)
    changes = data.draw(st.lists(numbers, min_size=2, max_size=4))
    compared(planned(plan, f"step=model {DATA} predictor=mlp iters=8 updater={updater}", changes))


def test_a_centered_mean_square(plan: Plan) -> None:
    """Its difference of near numbers is rounded first, so few digits agree."""
    common = f"step=model {DATA} predictor=mlp iters=8 updater=RMSprop updater.eps=0.01"
    changes = [{"updater.centered": centered, "lr": 0.01} for centered in (True, False)]
    compared(planned(plan, common, changes), 1e-6)


@pytest.mark.parametrize("scheduler", but_few_are_slow([*SCHEDULERS], 2, 10))
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_every_schedule(data: st.DataObject, plan: Plan, scheduler: str) -> None:
    own = {f"scheduler.{key}": value for key, value in SCHEDULERS[scheduler].items()}
    drawn = {"lr": st.floats(1e-3, 0.05), "iters": st.integers(2, 12)} | own
    changes = data.draw(st.lists(st.fixed_dictionaries(drawn), min_size=2, max_size=4))
    compared(planned(plan, f"step=model {DATA} updater=Adam scheduler={scheduler}", changes))


def test_a_schedule_s_last_lr_is_set_against_the_curvature(plan: Plan) -> None:
    common = f"step=model {DATA} predictor=mlp scheduler=CosineAnnealingLR"
    changes = [{"lr": 0.1, "iters": 4}, {"lr": 0.02, "iters": 3}]
    for results in compared(planned(plan, common, changes)):
        for result in results:
            last = result.trajectory.columns()["train/lr"][-1]
            share = last * result.checks["curvature"] / 2
            assert result.checks["lr_over_largest"] == pytest.approx(share)


@pytest.mark.slow
@pytest.mark.parametrize("updater", ["manual_momentum", "SGD", "Adam", "AdamW", "manual_adam"])
@pytest.mark.parametrize("scheduler", ["OneCycleLR", "CyclicLR"])
def test_schedules_that_cycle_the_momentum(plan: Plan, scheduler: str, updater: str) -> None:
    own = {"updater.momentum": 0.8} if "omentum" in updater or updater == "SGD" else {}
    changes = [{"lr": lr, "iters": 9} | own for lr in (0.001, 0.01)]
    compared(planned(plan, f"step=model {DATA} updater={updater} scheduler={scheduler}", changes))


@pytest.mark.parametrize("updater", ["SGD updater.dampening=0.3", "RMSprop"])
def test_momentum_may_be_0_for_some_epochs(plan: Plan, updater: str) -> None:
    """Torch's optimizers then leave their running gradient as it is."""
    cycle = "scheduler=CyclicLR scheduler.base_momentum=0 scheduler.max_momentum=0.9 lr=0.05"
    common = f"step=model data=synthetic data.rows=20 data.features=3 updater={updater} {cycle}"
    changes = [{"scheduler.step_size_up": size, "iters": 12} for size in (2, 3)]
    compared(planned(plan, common, changes))


def test_seeds_differ_in_start_held_out_rows_and_order(plan: Plan) -> None:
    common = f"step=model {DATA} predictor=mlp updater=Adam data.validation=0.2 iters=3"
    changes = [{"seed": seed, "lr": lr} for seed in range(4) for lr in (0.01, 0.02)]
    pairs = compared(planned(plan, f"{common} data.batch_size=64", changes))
    losses = {float(stacked.trajectory.loss[0]) for stacked, _ in pairs[::2]}
    assert len(losses) == 4


def test_iters_are_beginnings_of_one_descent(plan: Plan) -> None:
    common = f"step=model {DATA} predictor=mlp data.validation=0.2 stop.patience=2 lr=0.3"
    jobs = planned(plan, common, [{"iters": n} for n in (1, 5, 40, 200)])
    pairs = compared(jobs)
    assert pairs[-1][0].outcome == "converged"
    first = pairs[-1][0].trajectory.loss
    for stacked, _ in pairs:
        assert stacked.trajectory.loss.tolist() == first[: stacked.trajectory.length].tolist()


@pytest.mark.parametrize("step", ["manual gradient=manual", "model"])
def test_a_rule_ends_a_run_in_the_last_epoch_that_is_finite(plan: Plan, step: str) -> None:
    changes = [{"lr": lr, "iters": 9} for lr in (1e155, 0.01)]
    (stacked, alone), _ = compared(planned(plan, f"step={step} stop.tolerance=100", changes))
    assert stacked.outcome == "converged"
    assert stacked.coefficients == alone.coefficients == {"x": pytest.approx(3e156)}


@pytest.mark.parametrize("step", ["manual gradient=manual", "model"])
def test_a_validation_loss_that_is_never_finite(plan: Plan, step: str) -> None:
    """Of equal losses, infinite ones included, the first is the best."""
    data = "data.x=[1,2,3,4,1e200] data.y=[2,4,6,8,1] data.validation=0.2 stop.patience=2"
    changes = [{"lr": 0.01, "seed": seed, "iters": 5} for seed in range(9)]
    pairs = compared(planned(plan, f"step={step} {data}", changes))
    stacked = next(one for one, _ in pairs if one.outcome == "converged")
    assert np.isinf(stacked.trajectory.measured[VALIDATION]).tolist() == [True] * 3
    assert stacked.restored == 1
    assert stacked.coefficients == {"x": stacked.trajectory.parameters["w"][0]}


def test_runs_of_huge_steps_leave_the_others_together(plan: Plan) -> None:
    """Such steps enlarge rounding so much that nothing can be compared."""
    common = ["step=model", "predictor=mlp", "updater=RMSprop", "dtype=float32", "tracking=off"]

    def jobs(*rates: float) -> list[Job]:
        words = [[*common, f"lr={rate}", f"seed={n}"] for n, rate in enumerate(rates)]
        return [plan.job(each, "any", n) for n, each in enumerate(words)]

    assert trial.obstacle(jobs(1e5, 1e6)).endswith("together, the runs would have other numbers")
    assert trial.obstacle(jobs(0.02, 1e5, 0.01)) == ""


def test_a_run_that_has_ended_is_computed_no_further(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gdexp.sweep.vectorized.stacks import loop, torch_stack

    sizes = []
    update = torch_stack.TorchStack._update

    def counted(self: Any, x: Any, y: Any) -> Any:
        sizes.append(len(self._flat))
        return update(self, x, y)

    monkeypatch.setattr(torch_stack.TorchStack, "_update", counted)
    monkeypatch.setattr(loop, "EPOCHS", 4)
    changes = [{"lr": 1e150}, {"lr": 1e200}, {"lr": 0.01}]
    compared(planned(plan, f"step=model {DATA} iters=12", changes))
    assert sizes[:12] == [3] * 4 + [1] * 8


def test_numbers_that_are_not_finite_stay_with_their_run(plan: Plan) -> None:
    changes = [{"lr": lr} for lr in (1e-3, 1e300, 0.01, 1e30)]
    pairs = compared(planned(plan, f"step=model {DATA} predictor=mlp iters=20", changes))
    assert [stacked.outcome for stacked, _ in pairs][::2] == ["completed", "completed"]

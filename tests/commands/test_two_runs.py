"""What is planted between two runs explains where their curves part, and nothing impossible does.

The candidates are held against experiments: applied alone they give the same first difference, and
all other changes together leave the curves equal up to it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp.commands.recorded import Side
from gdexp.commands.two_runs import TwoRuns
from gdexp.config.compose import Composer, session
from gdexp.descent.build import build
from gdexp.descent.compute import begin, compute
from gdexp.insight.comparison.candidates import DIGEST
from gdexp.insight.comparison.rounding import place
from gdexp.sweep.jobs import Plan
from gdexp.tracking.dataset_record import dataset_record
from gdexp.tracking.run_record import RecordedRun


@cache
def plan() -> Plan:
    def composed(words: list[str]) -> Any:
        with session():
            return Composer().compose(words)

    return Plan(composed, ("step", "data", "predictor", "gradient", "loss", "updater", "scheduler"))


@cache
def side(*words: str) -> Side:
    """The run of these words, as its record would have it."""
    job = plan().job(["iters=20", *words], None, 0)
    built = build(job)
    result, transcript = begin(job, built)
    compute(job, built, result, transcript, bar=False)
    run = RecordedRun("id", "1", "name", "FINISHED", 0, "", params={}, tags={}, metrics={})
    assert result.data is not None
    return Side(run, job, result.trajectory, dataset_record(job, result.data), ())


def two_runs(a: str, b: str) -> TwoRuns:
    return TwoRuns(side(*a.split()), side(*b.split()))


STEP = "step=optimizer"


@pytest.mark.parametrize(
    ("a", "b", "planted"),
    [
        (STEP, f"{STEP} lr=0.02", ["lr"]),
        (f"{STEP} predictor.init=torch", f"{STEP} predictor.init=torch seed=2", ["seed"]),
        (STEP, f"{STEP} predictor.init=0.5", ["predictor.init"]),
        ("step=manual", "step=manual gradient=manual", ["gradient"]),
        (STEP, f"{STEP} dtype=float64", ["dtype"]),
        (STEP, f"{STEP} data.y=[2,4,6,9]", [DIGEST, "data.y"]),
        (STEP, f"{STEP} iters=30", ["iters"]),
        (STEP, f"{STEP} updater.momentum=0.9", ["updater.momentum"]),
        (STEP, f"{STEP} stop.tolerance=5", ["stop.tolerance"]),
        (STEP, f"{STEP} data.batch_size=2", ["data.batch_size"]),
        (STEP, f"{STEP} data.standardize=true", ["data.standardize"]),
        (STEP, f"{STEP} data.validation=0.5", ["data.validation"]),
        # a second change, which the first difference rules out
        (STEP, f"{STEP} lr=0.02 seed=7", ["lr"]),
        (STEP, f"{STEP} lr=0.02 predict_at=3 print_every=2", ["lr"]),
        (STEP, f"{STEP} lr=0.02 iters=30", ["lr"]),
        (STEP, f"{STEP} lr=0.02 predictor.init=0.5", ["predictor.init"]),
        (STEP, f"{STEP} lr=0.02 data.y=[2,4,6,9]", [DIGEST, "data.y"]),
        ("step=manual", "step=manual gradient=manual lr=0.02", ["gradient"]),
        # what cannot be told apart
        (STEP, f"{STEP} updater.momentum=0.9 predictor.bias=true",
         ["predictor.bias", "updater.momentum"]),
        (STEP, f"{STEP} lr=0.02 updater.weight_decay=0.1", ["lr", "updater.weight_decay"]),
        (STEP, f"{STEP} iters=30 stop.tolerance=5", ["iters", "stop.tolerance"]),
        (f"{STEP} data.batch_size=2", f"{STEP} data.batch_size=2 lr=0.02 seed=3", ["lr", "seed"]),
    ],
)  # fmt: skip
def test_what_is_planted_is_the_explanation(a: str, b: str, planted: list[str]) -> None:
    two = two_runs(a, b)
    assert sorted(two.candidates) == sorted(planted)
    assert all(values[0] != values[1] for values in two.candidates.values())
    assert not two.is_identical
    assert two.is_rounding == (planted == ["dtype"])


@pytest.mark.parametrize(
    ("a", "b", "group"),
    [
        (STEP, f"{STEP} loss=HuberLoss", "loss"),
        (STEP, f"{STEP} scheduler=StepLR scheduler.step_size=5", "scheduler"),
        (STEP, f"{STEP} updater=Adam", "updater"),
        pytest.param(
            "step=autograd data=diabetes lr=1e-6",
            "step=autograd lr=1e-6",
            "data",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_another_option_is_told_with_the_settings_that_only_it_has(
    a: str, b: str, group: str
) -> None:
    known = two_runs(a, b).candidates
    assert group in known
    assert {key.partition(".")[0] for key in known if key != DIGEST} == {group}


def test_identical_numbers_need_no_explanation() -> None:
    two = two_runs("step=autograd", "step=optimizer")
    assert (two.curves, two.candidates, two.is_identical) == (None, {}, True)
    assert {"loss", "updater"} <= two.settings.keys()


def test_a_setting_that_changes_only_rounding() -> None:
    two = two_runs("step=manual gradient=manual", "step=autograd")
    assert two.is_rounding
    assert [*two.candidates] == ["gradient"]
    assert not two_runs("step=manual", "step=autograd").is_rounding


CHANGES = {
    "lr": st.sampled_from([0.01, 0.02]),
    "seed": st.sampled_from([0, 1]),
    "iters": st.sampled_from([20, 25]),
    "predict_at": st.sampled_from([5.0, 6.0]),
    "stop.tolerance": st.sampled_from(["null", 5]),
    "predictor.init": st.sampled_from([0.0, 0.5, "torch"]),
    "updater.momentum": st.sampled_from([0.0, 0.5]),
    "updater.weight_decay": st.sampled_from([0.0, 0.1]),
    "data.y": st.sampled_from(["[2,4,6,8]", "[2,4,6,9]"]),
    "data.batch_size": st.sampled_from(["null", "null", 2]),
    "gradient": st.sampled_from(["autograd", "manual"]),
    "loss": st.sampled_from(["MSELoss", "manual"]),
}
ANY = st.fixed_dictionaries(CHANGES)


def held_against_experiments(a: dict[str, Any], b: dict[str, Any]) -> None:
    def run(values: dict[str, Any]) -> Side:
        return side(STEP, *(f"{key}={value}" for key, value in sorted(values.items())))

    two = TwoRuns(run(a), run(b))
    if two.curves is None:
        assert two.candidates == {}
        return
    keys = {key for key in two.candidates if key != "loss.reduction" or a["loss"] == b["loss"]}
    assert keys
    assert keys <= {DIGEST, *(key for key in a if a[key] != b[key])}
    alone = TwoRuns(two.a, run(a | {key: b[key] for key in keys if key in b}))
    assert alone.curves is not None
    assert alone.curves.first == two.curves.first
    rest = TwoRuns(two.a, run(b | {key: a[key] for key in keys if key in a}))
    assert place(rest.curves) >= place(two.curves)


@settings(max_examples=10, deadline=None, database=None)
@given(a=ANY, b=ANY)
def test_candidates_hold_against_experiments(a: dict[str, Any], b: dict[str, Any]) -> None:
    held_against_experiments(a, b)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(a=ANY, b=ANY)
def test_candidates_hold_against_many_experiments(a: dict[str, Any], b: dict[str, Any]) -> None:
    held_against_experiments(a, b)

"""Any numbers, on every combination of components: vectorized runs are the runs one by one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp import experiment
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.experiment import Result
from gdexp.sweep.jobs import Plan
from gdexp.sweep.vectorized.compute import compute
from gdexp.sweep.vectorized.eligible import group_key, obstacle

FAMILIES = {
    "predictor": ("manual", "model"),
    "gradient": ("manual", "manual_sum", "autograd"),
    "loss": ("manual", "MSELoss", "MSELoss loss.reduction=sum"),
    "updater": ("manual", "SGD"),
}
COMBINATIONS = [
    " ".join(f"{family}={option}" for family, option in zip(FAMILIES, options, strict=True))
    for options in itertools.product(*FAMILIES.values())
]
BY_HAND = [one for one in COMBINATIONS if not any(name in one for name in ("mo", "au", "MSE", "G"))]
BY_TORCH = [one for one in COMBINATIONS if one not in BY_HAND]

RUN = {
    "lr": st.floats(1e-4, 0.2) | st.sampled_from([0.0333, 10.0, 1e30]),
    "iters": st.integers(1, 60),
    "seed": st.integers(0, 2**31),
    "predictor.init": st.floats(-100, 100) | st.integers(-3, 3) | st.just("torch"),
    "predict_at": st.floats(-10, 10),
    "print_every": st.sampled_from([1, 7, "null"]),
}
SGD = {
    "updater.momentum": st.floats(0, 0.95),
    "updater.dampening": st.floats(0, 0.5),
    "updater.weight_decay": st.floats(0, 0.2),
    "updater.maximize": st.booleans(),
}
NUMBER = re.compile(r"\d[\d.]*(e[-+]?\d+)?")
COMMON = {"dtype": st.sampled_from(["float32", "float64"]), "predictor.bias": st.booleans()}


@pytest.fixture(scope="module")
def plan() -> Iterator[Plan]:
    """What composes jobs; a combination only once."""
    with session():
        composer = Composer()
        yield Plan(composer.compose, composer.groups())


def drawn_jobs(data: st.DataObject, plan: Plan, combination: str) -> list[Job]:
    """Some jobs that are one program."""
    numbers = RUN | (SGD if "SGD" in combination else {})
    common = data.draw(st.fixed_dictionaries(COMMON))
    drawn = data.draw(st.lists(st.fixed_dictionaries(numbers), min_size=1, max_size=6))
    jobs = []
    for number, one in enumerate(drawn):
        words = [f"{key}={str(value).lower()}" for key, value in (common | one).items()]
        jobs.append(plan.job([*combination.split(), "tracking=off", *words], "any", number))
    assert {obstacle(job) for job in jobs} == {""}
    assert len(set(map(group_key, jobs))) == 1
    return jobs


def both(jobs: list[Job]) -> Iterator[tuple[Result, Result]]:
    """Each run vectorized, and alone."""
    ended = {job.number: result for job, result in compute(jobs, lambda runs: None)}
    assert sorted(ended) == list(range(len(jobs)))  # type: ignore[type-var]
    for job in jobs:
        yield ended[job.number], experiment.run(experiment.prepare(job))


def assert_curves(found: Result, alone: Result, tolerance: float) -> None:
    """The same curves, to a part of each one's largest value; 0: to the last bit."""
    assert found.trajectory.length == alone.trajectory.length
    curves, expected = found.trajectory.columns(), alone.trajectory.columns()
    assert list(curves) == list(expected)
    for name, values in expected.items():
        if tolerance == 0:
            assert curves[name].tobytes() == values.tobytes(), name
        elif len(values):
            atol = tolerance * np.abs(values).max()
            np.testing.assert_allclose(curves[name], values, rtol=0, atol=atol, err_msg=name)


def tolerance(result: Result, dtype: str) -> float:
    """Float32 rounds by 6e-8 in every epoch, and at the edge of stability nothing damps it."""
    return 1e-6 if dtype == "float64" else 1e-6 + 2e-7 * result.trajectory.length


def words_of(result: Result) -> Any:
    return result.outcome, result.note, result.transcript.count("\n")


def assert_words(found: Result, alone: Result) -> None:
    """The same words; a number in a note may be rounded to another last digit."""
    assert (found.outcome, found.transcript.count("\n")) == (
        alone.outcome,
        alone.transcript.count("\n"),
    )
    digits = [result.checks.get("digits", 0) for result in (found, alone)]
    assert abs(digits[0] - digits[1]) <= 1
    if digits[0] == digits[1]:
        assert NUMBER.sub("#", found.note) == NUMBER.sub("#", alone.note)


@pytest.mark.parametrize("combination", BY_HAND)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_by_hand_to_the_last_bit(plan: Plan, combination: str, data: st.DataObject) -> None:
    for found, alone in both(drawn_jobs(data, plan, combination)):
        assert words_of(found) == words_of(alone)
        assert (found.reason, found.transcript) == (alone.reason, alone.transcript)
        np.testing.assert_array_equal(found.prediction, alone.prediction)
        assert_curves(found, alone, 0)


@pytest.mark.slow
@pytest.mark.parametrize("combination", BY_TORCH)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_by_torch_to_a_millionth(plan: Plan, combination: str, data: st.DataObject) -> None:
    jobs = drawn_jobs(data, plan, combination)
    for found, alone in both(jobs):
        assert_words(found, alone)
        part = tolerance(alone, jobs[0].settings["dtype"])
        assert_curves(found, alone, part)
        parameters = alone.trajectory.parameters.values()
        scale = 10 * sum(float(np.abs(v).max(initial=1)) for v in parameters)
        np.testing.assert_allclose(found.prediction, alone.prediction, rtol=part, atol=part * scale)

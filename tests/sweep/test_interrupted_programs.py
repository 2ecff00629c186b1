"""A signal ends the runs of a program with the epochs that they have reached."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from gdexp import experiment
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.sweep.jobs import Plan
from gdexp.sweep.vectorized import compute as vectorized
from gdexp.sweep.vectorized.points import loop

STEPS = ("manual", "autograd", "optimizer", "model")


@pytest.fixture(scope="module")
def plan() -> Iterator[Plan]:
    with session():
        composer = Composer()
        yield Plan(composer.compose, composer.groups())


def jobs(plan: Plan, step: str, *, count: int = 4, iters: int = 1000) -> list[Job]:
    words = [f"step={step}", "tracking=off", "print_every=100"]
    return [
        plan.job([*words, f"lr={0.001 * (i + 1)}", f"iters={iters // (i + 1)}"], "any", i)
        for i in range(count)
    ]


def signalled_after(looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal arrives before the program looks for one for the n-th time."""
    count = itertools.count(1)
    arrived = [False]

    def look() -> bool:
        arrived[0] = arrived[0] or next(count) >= looks
        return arrived[0]

    monkeypatch.setattr(loop, "signalled", look)
    monkeypatch.setattr(vectorized, "signalled", lambda: arrived[0])


@pytest.mark.parametrize("step", STEPS)
def test_each_run_has_the_epochs_that_it_reached(
    plan: Plan, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = jobs(plan, step)
    whole = {job.number: experiment.run(experiment.prepare(job)) for job in asked}
    signalled_after(7, monkeypatch)  # one look at the start, and one for each tile
    ended = {job.number: result for job, result in vectorized.compute(asked, lambda runs: None)}
    reached = 6 * loop.EPOCHS
    for job in asked:
        result, alone = ended[job.number], whole[job.number]
        iters = job.settings["iters"]
        length = min(reached, iters)
        assert result.trajectory.length == length
        for name, values in result.trajectory.columns().items():
            expected = alone.trajectory.columns()[name][:length]
            atol = 0 if step == "manual" else 1e-5 * np.abs(expected).max()
            np.testing.assert_allclose(values, expected, rtol=0, atol=atol)
        if iters <= reached:
            assert (result.outcome, result.reason) == (alone.outcome, alone.reason)
            continue
        assert (result.outcome, result.reason) == (
            "interrupted",
            f"after epoch {reached} of {iters}",
        )
        lines = alone.transcript.splitlines()[: 1 + len(range(1, reached + 1, 100))]
        printed = result.transcript.splitlines()
        assert len(printed) == len(lines)
        if step == "manual":
            assert printed == lines


@pytest.mark.parametrize(
    ("looks", "outcomes"),
    [  # the shorter two runs, numbers 2 and 3, are computed first: two tiles of epochs
        (4, {2: "completed", 3: "completed"}),
        (6, {2: "completed", 3: "completed", 1: "completed", 0: "interrupted"}),
    ],
)
def test_runs_that_had_not_begun_have_no_result(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, looks: int, outcomes: dict[int, str]
) -> None:
    monkeypatch.setattr(loop, "RUNS", 2)  # in a block
    asked = jobs(plan, "manual", iters=200)
    signalled_after(looks, monkeypatch)
    ended = vectorized.compute(asked, lambda runs: None)
    assert {job.number: result.outcome for job, result in ended} == outcomes


def test_a_signal_between_two_programs_ends_the_sweep(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectorized, "MEMORY", 1)  # a program for each run
    asked = jobs(plan, "manual", iters=200)
    signalled_after(3, monkeypatch)
    ended = [(job.number, result) for job, result in vectorized.compute(asked, lambda runs: None)]
    assert [(number, result.outcome) for number, result in ended] == [(0, "interrupted")]

"""A sweep's jobs are what composing each of them would give."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.sweep.jobs import Plan

STEPS = ("manual", "autograd", "optimizer", "model")
NUMBER = st.one_of(
    st.integers(1, 10**6).map(str),
    st.floats(1e-12, 1e12).map(repr),
    st.sampled_from(["1e-3", "2E-05", ".5", "1.", "+0.5", "1_000", "3e2", "0.10"]),
)
TEXT = st.sampled_from(["plain", "a-b", "'two words'", "'a, b'", "'1'", "null", "x.y", "'it=is'"])
BOOL = st.sampled_from(["true", "false", "True", "False"])
KEYS = {
    "lr": NUMBER,
    "iters": st.integers(1, 10**8).map(str),
    "seed": st.integers(0, 2**32 - 1).map(str),
    "dtype": st.sampled_from(["float32", "float64"]),
    "predict_at": st.one_of(NUMBER, st.just("-3"), st.just("-1.5e-7")),
    "print_every": st.one_of(st.integers(1, 99).map(str), st.just("null")),
    "data.x": st.lists(NUMBER, min_size=1, max_size=3).map(lambda v: f"[{','.join(v)}]"),
    "data.name": TEXT,
    "predictor.init": st.one_of(NUMBER, st.just("torch"), st.just("${lr}")),
    "predictor.bias": BOOL,
    "updater.lr": st.one_of(NUMBER, st.just("${lr}"), st.just("${predict_at}")),
    "tracking.enabled": BOOL,
    "tracking.max_points": st.integers(2, 1000).map(str),
    "tracking.experiment": TEXT,
}
OF_SGD = {
    "updater.momentum": NUMBER,
    "updater.dampening": st.sampled_from(["0", "0.5", "1e-1"]),
    "updater.nesterov": BOOL,
    "updater.foreach": st.one_of(BOOL, st.just("null")),
}


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with session():
        yield Composer()


@pytest.fixture(scope="module")
def plan(composer: Composer) -> Plan:
    return Plan(lambda overrides: composer.compose(overrides), composer.groups())


def assert_same(plan: Plan, composer: Composer, *typed: str) -> None:
    expected = Job.of(composer.compose(typed), [t for t in typed if "hydra" not in t])
    job = plan.job(typed, None, 3)
    assert json.dumps(job.settings) == json.dumps(expected.settings)  # 1 is not 1.0
    assert job.choices == expected.choices
    assert job.config_hash == expected.config_hash
    assert (job.typed, job.number) == (expected.typed, 3)


@settings(max_examples=6, deadline=None)
@given(data=st.data(), step=st.sampled_from(STEPS))
def test_a_planned_job_is_the_composed_job(
    composer: Composer, plan: Plan, data: st.DataObject, step: str
) -> None:
    known = KEYS | (OF_SGD if step in ("optimizer", "model") else {})
    keys = data.draw(st.lists(st.sampled_from(sorted(known)), unique=True, min_size=3, max_size=9))
    typed = [f"step={step}", *(f"{key}={data.draw(known[key])}" for key in keys)]
    assert_same(plan, composer, *data.draw(st.permutations(typed)))


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["lr=1", "lr=2"],
        ["step=model", "predictor=manual", "lr=1"],
        ["updater=SGD", "updater.momentum=1"],
        ["+updater.extra=1", "updater.extra=2"],
        ["++lr=3", "lr=1e-3"],
        ["~updater.lr", "lr=0.5"],
        ["data.x=[${lr},2]", "lr=7"],
        ["updater={lr:5}", "lr=7"],
        ["step=optimizer", "updater.momentum=${..lr}", "lr=7"],
        ["predictor.init=${.bias}", "lr=7"],
        ["tracking.experiment='at ${lr}'", "lr=7"],
        ["hydra.verbose=true", "+hydra.help.extra=1", "lr=2"],
        ["hydra/launcher=basic", "lr=2"],
    ],
)
def test_an_unusual_job_is_the_composed_job(
    composer: Composer, plan: Plan, typed: list[str]
) -> None:
    assert_same(plan, composer, *typed)


def test_a_combination_of_options_is_composed_once(composer: Composer) -> None:
    composed: list[list[str]] = []
    plan = Plan(lambda o: composed.append(o) or composer.compose(o), composer.groups())
    for number in range(200):
        step = STEPS[number % 4]
        plan.job([f"step={step}", f"lr={number + 1}e-3", f"updater.lr={number}"], "s", number)
    assert composed == [[f"step={step}"] for step in STEPS]

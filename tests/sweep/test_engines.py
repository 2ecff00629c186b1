"""Programes computed elsewhere: the same results, and no worker's death felt."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from helpers import children, command, eventually, workers_of

from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.sweep.jobs import planned
from gdexp.sweep.vectorized import compute
from gdexp.sweep.vectorized.points.loop import run_program
from gdexp.sweep.vectorized.points.program import Program
from gdexp.sweep.workers import engines


def program(count: int, torch: bool = False, iters: int = 30) -> Program:
    return Program(
        x=np.array([1, 2, 3, 4], np.float32),
        y=np.array([2, 4, 6, 8], np.float32),
        gradient="autograd" if torch else "mean",
        reduction="mean",
        torch=torch,
        start={"w": np.zeros(count)},
        lr=np.geomspace(1e-4, 0.2, count),
        iters=np.full(count, iters),
        predict_at=np.full(count, 5.0),
    )


def jobs(*axes: list[str]) -> list[Job]:
    """The jobs of every combination of the axes' overrides."""
    with session():
        composer = Composer()
        typed: list[tuple[str, ...]] = [()]
        for axis in axes:
            typed = [(*texts, text) for texts in typed for text in axis]
        return planned(composer.compose([]), composer.loader, typed)


def silent(runs: int) -> None:
    """A progress that is not shown."""


class Recorder:
    """A pool in this process, whose workers die as often as they are told to."""

    def __init__(self, deaths: dict[int, int] | None = None, workers: int = 2) -> None:
        self.workers, self.lost = workers, (BrokenPipeError,)
        self.deaths = deaths or {}
        self.sizes: list[int] = []
        self.closed = 0

    def submit(self, shard: Program) -> Future[engines.Timed]:
        self.sizes.append(len(shard))
        future: Future[engines.Timed] = Future()
        if self.deaths.get(len(shard), 0) > 0:
            self.deaths[len(shard)] -= 1
            future.set_exception(BrokenPipeError())
        else:
            future.set_result(engines.timed(shard))
        return future

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def joblib() -> Iterator[engines.Engine]:
    engine = engines.create("joblib", 2, None)
    yield engine
    engine.close()


# How a program is cut


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_runs_that_differ_only_in_iters_stay_together(shards: int) -> None:
    whole = jobs([f"lr=0.00{i}" for i in range(1, 8)], [f"iters={n}" for n in (5, 9, 40)])
    parts = list(compute._parts(whole, shards))
    assert sorted(job.number for part in parts for job in part.jobs) == list(range(21))
    assert len(parts) <= shards
    for part in parts:
        for job in part.jobs:
            mates = [j for j in whole if j.settings["lr"] == job.settings["lr"]]
            assert all(mate in part.jobs for mate in mates)


def test_a_program_too_large_for_the_memory_is_cut_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "MEMORY", 16 * 2 * 8 * 3 * 40)
    whole = jobs([f"lr=0.00{i}" for i in range(1, 8)], ["iters=40"])
    assert [len(part.jobs) for part in compute._parts(whole, 32)] == [1] * 7
    assert [len(part.jobs) for part in compute._parts(whole, 16)] == [1] * 7
    monkeypatch.setattr(compute, "MEMORY", 3 * 8 * 3 * 40)
    assert [len(part.jobs) for part in compute._parts(whole, 1)] == [3, 3, 1]


def results(whole: list[Job], engine: engines.Engine) -> dict[int, Any]:
    computed: list[int] = []
    ended = list(compute.compute(whole, computed.append, engine))
    assert computed[-1] == sum(job.settings["iters"] for job in whole)
    assert len(ended) == len(whole)
    assert computed == sorted(computed)
    assert all(one.seconds >= 0 and one.started > 1e9 for _, one in ended)
    return {job.number or 0: result for job, result in ended}


def check_same(whole: list[Job], engine: engines.Engine, tolerance: float) -> None:
    alone, shared = results(whole, engines.Local()), results(whole, engine)
    assert alone.keys() == shared.keys()
    for number, one in alone.items():
        other = shared[number]
        assert (other.outcome, other.reason, other.note) == (one.outcome, one.reason, one.note)
        columns = other.trajectory.columns()
        for name, values in one.trajectory.columns().items():
            if tolerance:
                np.testing.assert_allclose(columns[name], values, rtol=tolerance, atol=tolerance)
            else:
                assert columns[name].tobytes() == values.tobytes()
        if not tolerance:
            assert (other.transcript, other.prediction) == (one.transcript, one.prediction)


MANUAL = ([f"lr={0.002 * i:.3f}" for i in range(1, 31)], ["iters=7", "iters=80"])
TORCH = (["step=model"], [f"seed={i}" for i in range(5)], [f"lr={0.01 * i:.2f}" for i in (1, 2, 4)])


@pytest.mark.parametrize("workers", [1, 2, 3, 40])
def test_every_number_of_shards_gives_the_same_bits(workers: int) -> None:
    check_same(jobs(*MANUAL), engines.Pooled(lambda: Recorder(workers=workers)), 0)


def test_joblib_gives_the_same_bits(joblib: engines.Engine) -> None:
    check_same(jobs(*MANUAL), joblib, 0)


@pytest.mark.slow
def test_joblib_gives_the_same_with_torch(joblib: engines.Engine) -> None:
    check_same(jobs(*TORCH), joblib, 1e-6)


@pytest.mark.slow
def test_ray_gives_the_same_and_is_ended_even_where_it_kills_its_own_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._private.node import Node

    slowly = Node._kill_process_type
    engine, before = engines.create("ray", 2, None), children()
    try:
        check_same(jobs(*MANUAL), engine, 0)
        check_same(jobs(*TORCH), engine, 1e-6)
        started = children() - before
        assert any("raylet" in command(pid) for pid in started)
        monkeypatch.setattr(  # as it does to those that have not ended after a second
            Node, "_kill_process_type", lambda *a, allow_graceful, **k: slowly(*a, **k)
        )
    finally:
        engine.close()
    eventually(lambda: not any(map(command, started)))


# Workers that die


def test_a_shard_whose_worker_dies_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    pool = Recorder({3: 2})
    found = engines.Pooled(lambda: pool).compute(map(program, [2, 3, 4]), silent)
    assert sorted(len(one.result.length) for one in found) == [2, 3, 4]
    assert sorted(pool.sizes) == [2, 3, 3, 3, 4]
    assert capsys.readouterr().err == ""


def test_after_three_deaths_a_shard_is_computed_here(capsys: pytest.CaptureFixture[str]) -> None:
    pool = Recorder({3: 99})
    found = engines.Pooled(lambda: pool).compute(map(program, [2, 3, 4]), silent)
    assert sorted(len(one.result.length) for one in found) == [2, 3, 4]
    assert sorted(pool.sizes) == [2, 3, 3, 3, 4]
    said = "the worker of 3 runs died 3 times: computed in this process\n"
    assert capsys.readouterr().err == said


def test_shards_that_cannot_be_pickled_are_computed_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Unsending(Recorder):
        def submit(self, shard: Program) -> Future[engines.Timed]:
            future: Future[engines.Timed] = Future()
            future.set_exception(pickle.PicklingError("no"))
            return future

    found = list(engines.Pooled(Unsending).compute(map(program, [2, 3, 4]), silent))
    assert sorted(len(one.result.length) for one in found) == [2, 3, 4]
    said = "runs that cannot be sent to other processes are computed in this one\n"
    assert capsys.readouterr().err == said


def test_no_more_shards_are_made_than_are_under_way() -> None:
    made = []

    def shards() -> Iterator[Program]:
        for count in range(1, 20):
            made.append(count)
            yield program(count)

    pool = Recorder(workers=2)
    found = engines.Pooled(lambda: pool).compute(shards(), silent)
    next(found)
    assert len(made) == 4
    found.close()
    assert pool.closed == 1


def test_an_error_of_the_computation_is_raised(joblib: engines.Engine) -> None:
    odd = program(3)
    odd.start["w"].resize(1)
    with pytest.raises(ValueError, match="same shape"):
        list(joblib.compute([odd], silent))
    assert len(list(joblib.compute([program(3)], silent))) == 1  # it goes on


def kill_one(engine: engines.Engine) -> list[engines.Computed]:
    """Compute eight shards that take long, and kill a worker in the middle of them."""
    found = engine.compute((program(20 + i, iters=30_000) for i in range(8)), silent)
    first = next(found)
    os.kill(min(workers_of(os.getpid())), signal.SIGKILL)
    return [first, *found]


def check_whole(found: list[engines.Computed]) -> None:
    assert sorted(one.number for one in found) == list(range(8))
    for one in found:
        here = run_program(program(20 + one.number, iters=30_000))
        assert one.result.trajectory(3).loss.tobytes() == here.trajectory(3).loss.tobytes()
        assert len(one.result.length) == 20 + one.number


@pytest.mark.slow
@pytest.mark.parametrize("name", ["joblib", "ray"])
def test_a_worker_killed_in_the_middle_costs_nothing_but_time(name: str) -> None:
    engine = engines.create(name, 2, None)
    try:
        check_whole(kill_one(engine))
    finally:
        engine.close()

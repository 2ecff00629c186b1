"""Vectorized runs are the runs computed one by one."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp import manual, run
from gdexp.descent.fused import fuse
from gdexp.descent.loop import descend
from gdexp.descent.trajectory import Trajectory
from gdexp.sweep.vectorized.points import loop
from gdexp.sweep.vectorized.points.loop import run_program
from gdexp.sweep.vectorized.points.program import Program, ProgramResult

RELATIVE = {"float32": 1e-6, "float64": 1e-12}
SGD = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "maximize": False}


def make(lr: list[float], n: int = 4, dtype: str = "float32", **changes: Any) -> Program:
    rng = np.random.default_rng(n)
    x = rng.uniform(0.5, 4, n).astype(dtype)
    y = (2 * x + rng.normal(0, 0.1, n)).astype(dtype)
    runs = len(lr)
    start = {"w": np.linspace(-1, 1, runs, dtype=np.float32).astype(np.float64)}
    if changes.pop("bias", False):
        start["b"] = start["w"][::-1] / 2
    common: dict[str, Any] = {"gradient": "mean", "reduction": "mean", "torch": False}
    numbers: dict[str, Any] = {
        "iters": np.full(runs, changes.pop("iters", 70)),
        "predict_at": np.linspace(5, 6, runs),
    }
    return Program(x, y, **{**common, "start": start, "lr": np.array(lr), **numbers, **changes})


def alone(program: Program, i: int, model: bool = False) -> tuple[float, Trajectory, float]:
    """Run i as :mod:`gdexp.experiment` computes it."""
    start = {name: float(values[i]) for name, values in program.start.items()}
    predictor: Any = manual.Predictor("b" in start)
    predictor.parameters = start
    loss: Any = manual.Loss()
    gradient: Any = manual.Gradient() if program.gradient == "mean" else manual.GradientSum()
    updater: Any = manual.Updater(float(program.lr[i]))
    data: Any = (program.x, program.y, np.array([program.predict_at[i]], program.x.dtype))
    if program.torch:
        import torch

        from gdexp import pytorch

        if model:
            predictor = pytorch.Linear("b" in start)
        if program.gradient == "autograd":
            gradient = pytorch.Autograd()
        if model or program.reduction == "sum":
            loss = torch.nn.MSELoss(reduction=program.reduction)
        data = pytorch.tensors(*data)
        pytorch.adopt(predictor, str(program.x.dtype), program.gradient == "autograd")
        for name, value in start.items():
            torch.nn.init.constant_(predictor.parameters[name], value)
        if program.sgd is not None:
            chosen = {name: values[i].item() for name, values in program.sgd.items()}
            parameters = list(predictor.parameters.values())
            updater = pytorch.Optimizer(torch.optim.SGD(parameters, float(program.lr[i]), **chosen))
        else:
            updater = pytorch.Untracked(updater, predictor.parameters)
    x, y, at = data
    trajectory = Trajectory(predictor.parameters, int(program.iters[i]))
    with np.errstate(over="ignore", invalid="ignore"):
        before = float(predictor(at)[0].item())
        families = fuse(x, y, predictor, gradient, loss) or (predictor, gradient, loss)
        trajectory.extend(descend(x, y, *families, updater, int(program.iters[i])))
        return before, trajectory, float(predictor(at)[0].item())


def assert_same_bits(program: Program, result: ProgramResult) -> None:
    for i in range(len(program.lr)):
        before, expected, after = alone(program, i)
        found = result.trajectory(i)
        assert (found.length, found.diverged) == (expected.length, expected.diverged)
        assert found.names == expected.names
        assert result.before[i].tobytes() == np.float64(before).tobytes()
        np.testing.assert_array_equal(result.after[i], after)
        for name, values in expected.columns().items():
            assert found.columns()[name].tobytes() == values.tobytes(), (i, name)


def assert_close(program: Program, result: ProgramResult, model: bool = False) -> None:
    tolerance = RELATIVE[str(program.x.dtype)]
    for i in range(len(program.lr)):
        before, expected, after = alone(program, i, model)
        found = result.trajectory(i)
        assert (found.length, found.diverged) == (expected.length, expected.diverged)
        for name, values in expected.columns().items():
            atol = tolerance * np.abs(values).max()
            np.testing.assert_allclose(found.columns()[name], values, rtol=0, atol=atol)
        np.testing.assert_allclose(
            [result.before[i], result.after[i]], [before, after], rtol=10 * tolerance, atol=1e-6
        )


RATES = [0.02, 0.3, 30.0, 1e30, 0.01]  # some diverge slowly, some at once


@pytest.mark.parametrize("n", [*range(1, 41), 127, 128, 129, 130, 1000])
@pytest.mark.parametrize("dtype", RELATIVE)
def test_every_number_of_samples_gives_the_bits_of_the_runs_alone(n: int, dtype: str) -> None:
    for gradient, bias in itertools.product(("mean", "sum"), (False, True)):
        program = make(RATES, n, dtype, gradient=gradient, bias=bias, iters=40)
        assert_same_bits(program, run_program(program))


rates = st.floats(1e-6, 1e6) | st.floats(1e-3, 0.3)
values = st.floats(-1e25, 1e25) | st.floats(-5, 5)


@settings(max_examples=40, deadline=None)
@given(
    table=st.lists(st.tuples(values, values), min_size=1, max_size=12),
    runs=st.lists(st.tuples(rates, values, values, st.integers(1, 90)), min_size=1, max_size=12),
    dtype=st.sampled_from(["float32", "float64"]),
    gradient=st.sampled_from(["mean", "sum"]),
    bias=st.booleans(),
)
def test_any_numbers_give_the_bits_of_the_runs_alone(
    table: list[Any], runs: list[Any], dtype: str, gradient: Any, bias: bool
) -> None:
    x, y = np.array(table, dtype).T.copy()
    lr, w, b, iters = (np.array(column) for column in zip(*runs, strict=True))
    start = {"w": w, "b": b} if bias else {"w": w}
    program = Program(x, y, gradient, "mean", False, start, lr, iters, w / 2)
    assert_same_bits(program, run_program(program))


def test_the_bits_are_those_of_a_run_from_the_command_line() -> None:
    lr = [0.001, 0.02, 0.05, 0.5]
    x = np.arange(1, 5, dtype=np.float32)
    zeros, iters = np.zeros(4), np.full(4, 300)
    program = Program(x, 2 * x, "sum", "mean", False, {"w": zeros}, np.array(lr), iters, zeros + 5)
    result = run_program(program)
    for i, rate in enumerate(lr):
        expected = run("step=manual", f"lr={rate}", "iters=300", "tracking=off")
        found = result.trajectory(i)
        assert found.diverged == expected.trajectory.diverged
        np.testing.assert_array_equal(result.after[i], expected.prediction)
        for name, curve in expected.trajectory.columns().items():
            assert found.columns()[name].tobytes() == curve.tobytes()


def test_blocks_and_tiles_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "RUNS", 3)
    monkeypatch.setattr(loop, "EPOCHS", 4)
    program = make([0.01 * (1 + i % 9) for i in range(20)], iters=1, bias=True)
    program = dataclasses.replace(program, iters=np.arange(20) * 7 % 11 + 1)
    assert_same_bits(program, run_program(program))


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("n", [4, 11])
def test_a_neighbour_changes_nothing(n: int, dtype: str) -> None:
    for gradient in ("mean", "autograd"):
        program = make([0.02, 1e30, 0.01], n, dtype, torch=gradient != "mean", gradient=gradient)
        calm = dataclasses.replace(program, lr=np.array([0.02, 0.015, 0.01]))
        wild, quiet = run_program(program), run_program(calm)
        assert wild.diverged.tolist() == [False, True, False]
        for i in (0, 2):
            for name, curve in quiet.trajectory(i).columns().items():
                assert wild.trajectory(i).columns()[name].tobytes() == curve.tobytes()


def test_runs_that_differ_in_iters_alone_are_computed_once() -> None:
    iters = np.array([5, 90, 1, 64, 65])
    program = dataclasses.replace(make([0.02] * 5), start={"w": np.full(5, 0.5)}, iters=iters)
    result = run_program(program)
    assert sum(table.nbytes for table in result.tables) == 8 * 3 * 90
    assert [table.shape for table in result.tables] == [(1, 3, 90)]
    assert result.length.tolist() == iters.tolist()
    assert_same_bits(program, result)


def test_a_negative_zero_is_a_start_of_its_own() -> None:
    x = np.array([0.0, 1.0], np.float32)
    program = dataclasses.replace(make([0.02] * 2, 2), x=x, y=0 * x)
    program = dataclasses.replace(program, start={"w": np.array([0.0, -0.0])})
    result = run_program(program)
    assert np.signbit(result.after).tolist() == [False, True]
    assert_same_bits(program, result)


def test_a_loss_that_overflows_for_one_epoch_ends_the_run_there() -> None:
    x = np.array([1.0], np.float32)
    program = Program(
        x, x, "mean", "mean", False, {"w": np.array([1e25])}, np.array([0.4]),
        np.array([80]), np.array([5.0]),
    )  # fmt: skip
    result = run_program(program)
    assert (result.length[0], result.diverged[0]) == (0, True)
    assert result.after[0] == pytest.approx(5 * 2e24)  # of the parameters it left behind
    assert_same_bits(program, result)


def test_a_parameter_beyond_single_precision_is_a_number_of_double_precision() -> None:
    result = run_program(program := make([1e38, 1e40], iters=3))
    assert (result.length.tolist(), result.diverged.all()) == ([1, 1], True)
    assert_same_bits(program, result)


def test_a_program_stops_when_all_runs_have_diverged() -> None:
    told: list[int] = []
    result = run_program(make([1e3, 1e4], iters=10**6), told.append)
    assert result.diverged.all()
    assert told == [2 * 10**6]


def test_progress_ends_at_the_number_of_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "RUNS", 2)
    told: list[int] = []
    run_program(make([0.001, 0.002, 0.003, 0.004, 0.005], iters=200), told.append)
    assert told == sorted(told)
    assert told[-1] == 5 * 200


@pytest.mark.parametrize(
    "change", [{"gradient": "autograd"}, {"reduction": "sum"}, {"sgd": {}}], ids=str
)
def test_what_only_torch_can_do_is_refused_without(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="torch must be True"):
        make([0.1], **change)


@pytest.mark.parametrize("gradient", ["mean", "sum", "autograd"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("by_hand", [True, False])
def test_tensors_are_the_runs_alone(
    gradient: str, reduction: str, dtype: str, by_hand: bool
) -> None:
    sgd = None if by_hand else {name: np.full(4, value) for name, value in SGD.items()}
    for n, bias, model in itertools.product((1, 4, 9), (False, True), (False, True)):
        lr = [1e-4, 1e-3, 0.01 / n, 0.02 / n]
        program = make(
            lr, n, dtype, gradient=gradient, reduction=reduction, torch=True, bias=bias, iters=25
        )
        program = dataclasses.replace(program, sgd=sgd)
        assert_close(program, run_program(program), model)


@pytest.mark.parametrize("gradient", ["mean", "autograd"])
def test_tensors_that_diverge_end_in_the_same_epoch(gradient: str) -> None:
    program = make(
        [0.01, 0.5, 3.0, 40.0], dtype="float64", iters=900, torch=True, gradient=gradient
    )
    result = run_program(program)
    assert result.diverged.tolist() == [False, True, True, True]
    assert_close(program, result)


@pytest.mark.parametrize("dtype", RELATIVE)
def test_each_run_has_its_own_settings_of_sgd(dtype: str) -> None:
    settings_: list[dict[str, float]] = [
        dict(zip(SGD, row, strict=True))
        for row in itertools.product(
            (0.0, 0.5, 0.9), (0.0, 0.3), (0.0, 0.1), (False, True), (False, True)
        )
        if not row[3] or (row[0] > 0 and row[1] == 0)  # what Nesterov's momentum demands
    ]
    sgd = {name: np.array([row[name] for row in settings_]) for name in SGD}
    lr = [1e-3 * (1 + i % 3) for i in range(len(settings_))]
    program = make(lr, dtype=dtype, iters=40, bias=True, torch=True, gradient="autograd", sgd=sgd)
    assert_close(program, run_program(program))

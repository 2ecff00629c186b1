"""Stacked runs by hand are the runs alone, to the last bit."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from helpers import CONF
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp import manual
from gdexp.config.capabilities import resolve
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.build import Components
from gdexp.descent.compute import begin, compute
from gdexp.descent.instantiation import option
from gdexp.descent.trajectory import Trajectory
from gdexp.experiment import assemble
from gdexp.sweep.jobs import Plan
from gdexp.sweep.vectorized.stacks.numpy_pass import Pass
from gdexp.sweep.vectorized.stacks.numpy_rows import Batch, Piece
from gdexp.sweep.vectorized.stacks.numpy_stack import NumpyStack
from gdexp.sweep.vectorized.stacks.numpy_updaters import Updaters
from gdexp.sweep.vectorized.stacks.stack import End, Stack, Table

EPOCHS = 7  # of a part

LINEAR = (
    {"_target_": "gdexp.data.points", "x": [1, 2, 3, 4], "y": [2, 4, 6, 8], "name": "four"},
    {"_target_": "gdexp.data.points", "x": [3.0], "y": [1.0], "name": "one"},
    {"_target_": "gdexp.data.diabetes"},
    *(
        {"_target_": "gdexp.data.synthetic", "rows": n, "features": d, "bias": 3.0}
        for n, d in ((8, 1), (200, 1), (9, 8), (3, 2), (70, 4), (60, 21), (300, 33))
    ),
)
BINARY = (
    {"_target_": "gdexp.data.points", "x": [1, 2, 3, 4], "y": [0, 1, 0, 1], "name": "four"},
    {"_target_": "gdexp.data.csv", "path": "binary.csv", "target": "y", "features": ["a"]},
    {"_target_": "gdexp.data.csv", "path": "binary.csv", "target": "y"},
)
UPDATERS: dict[str, dict[str, Any]] = {
    "manual": {},
    "manual_momentum": {"momentum": st.floats(0, 1.2)},
    "manual_nesterov": {"momentum": st.floats(0, 1.2)},
    "manual_adam": {
        "beta1": st.floats(0, 0.99),
        "beta2": st.floats(0, 0.9999),
        "eps": st.floats(1e-12, 1),
    },
}
FORMS = {
    "gdexp.manual.Updater": "plain",
    "gdexp.manual.Momentum": "heavy_ball",
    "gdexp.manual.Nesterov": "nesterov",
    "gdexp.manual.Adam": "adam",
}
SCHEDULERS: tuple[dict[str, Any], ...] = (
    {"_target_": "StepLR", "step_size": 2},
    {"_target_": "ExponentialLR", "gamma": 0.9},
    {"_target_": "ReduceLROnPlateau", "patience": 1},
    {"_target_": "CosineAnnealingLR", "T_max": 5},
    {"_target_": "OneCycleLR", "max_lr": 0.1, "total_steps": 40},
)
RATES = st.floats(1e-4, 0.2) | st.sampled_from([0.03, 10.0, 1e30, 1e38])
STARTS = st.floats(-100, 100) | st.integers(-3, 3)


class Alone(NamedTuple):
    """A run alone: its trajectory, and the parameters after it."""

    trajectory: Trajectory
    final: dict[str, Any]


@pytest.fixture(scope="module")
def base() -> Job:
    """The default job, from which others are made without composing them."""
    with session():
        composer = Composer()
        return Plan(composer.compose, composer.groups()).job(["tracking=off"], "any", 0)


@pytest.fixture(scope="module", autouse=True)
def binary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A table with a target of 0 and 1, in the working folder."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    x = rng.normal(size=(23, 3))
    rows = np.column_stack([x, x.sum(axis=1) + rng.normal(size=23) > 0])
    np.savetxt(folder / "binary.csv", rows, "%.4f,%.4f,%.4f,%d", header="a,b,c,y", comments="")
    with contextlib.chdir(folder):
        yield


def option_of(group: str, name: str, **numbers: Any) -> dict[str, Any]:
    """The section of an option, with some of its settings changed."""
    section: dict[str, Any] = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
    return {**section, **({"eps": 1e-8} if "eps" in section else {}), **numbers}


def stack_of(jobs: Sequence[Job], built: Sequence[Components]) -> Stack:
    """The jobs as a stack, each a curve."""
    first, tables = jobs[0].settings, {id(one.x): one for one in built}
    places = list(tables)
    names = built[0].predictor.parameters
    scheduled = first["scheduler"]["_target_"] is not None
    return Stack(
        predictor=built[0].predictor,
        gradient=built[0].gradient,
        loss=built[0].loss,
        updater=FORMS[first["updater"]["_target_"]],
        settings=[job.settings["updater"] for job in jobs],
        schedules=[option(job, "scheduler") for job in jobs] if scheduled else [],
        tables=[Table(one.x, one.y, one.kept) for one in tables.values()],
        table=np.array([places.index(id(one.x)) for one in built]),
        start={n: np.array([one.predictor.parameters[n] for one in built]) for n in names},
        seeds=[job.settings["seed"] for job in jobs],
        batch_size=built[0].batch_size,
        stops=[job.settings["stop"] for job in jobs],
        ends=[End(i, job.settings["iters"]) for i, job in enumerate(jobs)],
        torch=False,
    )


def alone(job: Job, built: Components) -> Alone:
    """The run as :mod:`gdexp.experiment` computes it."""
    result, transcript = begin(job, built)
    compute(job, built, result, transcript, bar=False)
    return Alone(result.trajectory, built.predictor.parameters)


def assert_same_bits(jobs: Sequence[Job], keep: Sequence[bool] = ()) -> None:
    """Every curve and the parameters after it are those of the run alone.

    Curves end with their first epoch that is not finite, or after the first part where ``keep`` is
    false, or after all epochs.
    """
    built = [assemble(job) for job in jobs]
    stack = stack_of(jobs, built)
    expected = [alone(job, one) for job, one in zip(jobs, built, strict=True)]
    live, kernel, begun = np.arange(len(jobs)), NumpyStack(stack, np.arange(len(jobs))), 0
    dropped = {i for i, kept in enumerate(keep) if not kept}
    with np.errstate(all="ignore"):
        while len(live):
            part = np.full(
                (min(EPOCHS, int(stack.iters[0]) - begun), stack.columns, len(live)), 7e7
            )
            kernel(part)
            left = []
            for i, curve in enumerate(live):
                found, (trajectory, final) = part[:, :, i].T, expected[curve]
                length = trajectory.length - begun
                of_alone = trajectory.table[:, begun : begun + len(part)]
                assert found[:, :length].tobytes() == of_alone.tobytes(), jobs[curve].settings
                ends = length - (not trajectory.diverged)
                if ends < len(part):
                    flat = [number for value in final.values() for number in np.ravel(value)]
                    np.testing.assert_array_equal(kernel.parameters(ends)[i], flat)
                elif curve not in dropped:
                    left.append(i)
            begun += len(part)
            live = live[left]
            kernel.keep(np.array(left, np.intp))


def drawn_jobs(data: st.DataObject, base: Job, scheduler: dict[str, Any] | None) -> list[Job]:
    """Some jobs that can be stacked."""
    logistic = data.draw(st.booleans(), "logistic")
    rows = data.draw(st.sampled_from(BINARY if logistic else LINEAR), "data")
    n = len(rows["x"]) if "x" in rows else rows.get("rows", 23)
    preparation: dict[str, Any] = {}
    if n > 8:
        preparation["standardize"] = data.draw(st.booleans(), "standardize")
    gradients = ["manual_logistic"] if logistic else ["manual", "manual_sum"]
    if n > 33 and not logistic and data.draw(st.booleans(), "compress"):
        preparation["compress"], gradients = True, ["manual"]
    elif n > 2:
        share = data.draw(st.sampled_from([0, 0.25]), "validation")
        sizes = st.none() | st.integers(1, n - round(n * share))
        preparation |= {"validation": share, "batch_size": data.draw(sizes, "batch_size")}
    updater = data.draw(st.sampled_from([*UPDATERS]), "updater")
    bias = data.draw(st.booleans(), "bias")
    settings: dict[str, Any] = {
        "dtype": data.draw(st.sampled_from(["float32", "float64"]), "dtype"),
        "iters": data.draw(st.integers(1, 20), "iters"),
        "data": {**base.settings["data"], **rows, **preparation},
        "gradient": option_of("gradient", data.draw(st.sampled_from(gradients), "gradient")),
        "loss": option_of("loss", "manual_logistic" if logistic else "manual"),
    }
    if "x" not in rows:
        settings["data"] = {
            k: v for k, v in settings["data"].items() if k not in ("x", "y", "name")
        }
    if scheduler is not None:
        one = {**scheduler, "_target_": f"torch.optim.lr_scheduler.{scheduler['_target_']}"}
        if "max_lr" in one and updater == "manual":
            one["cycle_momentum"] = False
        settings["scheduler"] = {**one, "_partial_": True}
    jobs = []
    for number in range(data.draw(st.integers(1, 6), "runs")):
        lr, init = data.draw(RATES, "lr"), float(data.draw(STARTS, "init"))
        numbers = {name: data.draw(values, name) for name, values in UPDATERS[updater].items()}
        own = {
            "lr": lr,
            "seed": data.draw(st.integers(0, 2), "seed"),
            "predictor": option_of("predictor", "manual", bias=bias, init=init),
            "updater": option_of("updater", updater, lr=lr, **numbers),
        }
        job = Job({**base.settings, **settings, **own}, base.choices, number=number)
        jobs.append(job)
    return jobs


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_combination_gives_the_bits_of_the_runs_alone(base: Job, data: st.DataObject) -> None:
    jobs = drawn_jobs(data, base, None)
    keep = data.draw(st.lists(st.booleans(), min_size=len(jobs), max_size=len(jobs)), "keep")
    assert_same_bits(jobs, keep)


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda one: one["_target_"])
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_schedules(base: Job, scheduler: dict[str, Any], data: st.DataObject) -> None:
    assert_same_bits(drawn_jobs(data, base, scheduler))


@pytest.mark.parametrize(
    ("shape", "kind"), [((), np.float64), ((3,), np.float32), ((3,), np.float64)]
)
@pytest.mark.parametrize("updater", UPDATERS)
def test_updaters_give_each_curve_the_bits_of_its_own(
    shape: tuple[int, ...], kind: Any, updater: str
) -> None:
    """A number is a Python float alone, and keeps double precision."""
    rng, target = np.random.default_rng(1), option_of("updater", updater)["_target_"]
    runs = 100 if shape else 4000  # of Python floats, one root in a thousand is rounded otherwise
    numbers = {"lr": rng.uniform(0, 1, runs)}
    for name in UPDATERS[updater]:
        numbers[name] = rng.uniform(0.3, 0.99, runs)
    gradients = rng.normal(size=(6, runs, *shape)).astype(kind)
    stacked = {"w": np.zeros((runs, *shape), kind)}
    updaters = Updaters(FORMS[target], numbers, stacked)
    for gradient in gradients:
        updaters(stacked, {"w": gradient})
    for i in range(runs):
        alone_ = resolve(target)(**{name: float(values[i]) for name, values in numbers.items()})
        parameters: dict[str, Any] = {"w": np.zeros(shape, kind) if shape else 0.0}
        for gradient in gradients[:, i]:
            alone_(parameters, {"w": gradient if shape else float(gradient)})
        assert np.asarray(parameters["w"]).tobytes() == stacked["w"][i].tobytes()


@pytest.mark.parametrize("n", [*range(1, 35), 127, 128, 129, 300])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_number_of_rows_gives_the_bits_of_the_formulas(n: int, kind: Any) -> None:
    rng, runs = np.random.default_rng(n), 5
    sources: list[tuple[Any, Any]] = [
        (manual.Gradient(), manual.Loss()),
        (manual.GradientSum(), manual.Loss()),
        (manual.LogisticGradient(), manual.Logistic()),
    ]
    for (gradient, loss), shape in itertools.product(sources, [(), (1,), (3,)]):
        x, y = rng.normal(size=(n, *shape)).astype(kind), rng.random(n).astype(kind)
        w, b = rng.normal(size=(runs, *shape)).astype(kind if shape else float), rng.normal(size=5)
        stacked = {"w": w, "b": b}
        batch = Batch([Piece(slice(0, 2), x, y), Piece(slice(2, runs), x[::-1], y[::-1])])
        losses, slopes = Pass(stacked, n, kind, gradient, loss)(batch, stacked)
        for i, (_, rows, targets) in enumerate([batch.pieces[j] for j in (0, 0, 1, 1, 1)]):
            predictor = manual.Predictor(bias=True, features=2 if shape else 1)
            predictor.parameters |= {"w": w[i] if shape else float(w[i]), "b": float(b[i])}
            y_pred = predictor(rows)
            expected = loss(y_pred, targets)
            assert losses[i].tobytes() == expected.tobytes()
            found = {name: values[i] for name, values in slopes.items()}
            for name, value in gradient(
                predictor.parameters, rows, targets, y_pred, expected
            ).items():
                assert np.asarray(value).tobytes() == found[name].tobytes(), name

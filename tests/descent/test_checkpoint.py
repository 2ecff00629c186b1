"""A run that is continued from a checkpoint is the uninterrupted run, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import clean_environment, eventually, newest_checkpoints
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdexp import run
from gdexp.descent.archive import pack, unpack
from gdexp.experiment import Result

HAND = ("manual", "manual_momentum", "manual_nesterov", "manual_adam")
TORCH = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "Rprop", "LBFGS", "ASGD")
SCHEDULERS = (
    *("none", "StepLR", "ExponentialLR", "CosineAnnealingLR", "ReduceLROnPlateau", "CyclicLR"),
    *("OneCycleLR", "MultiStepLR", "LinearLR"),
)
MOMENTUM_OFF = {"CyclicLR": "scheduler.cycle_momentum=false"}
ROOM = 24  # epochs that the schedules are laid out for, however long the run is
EXTENT = {"CosineAnnealingLR": f"scheduler.T_max={ROOM}"}
EXTENT["OneCycleLR"] = f"scheduler.total_steps={ROOM} scheduler.cycle_momentum=false"
MADE = (
    *("data=synthetic", "data.rows=40", "data.features=3"),
    *("predictor.bias=true", "data.validation=0.2"),
)
SMALL = ("tracking=off", "lr=0.01", "step=optimizer", *MADE)


def assert_same(found: Result, expected: Result) -> None:
    assert found.transcript == expected.transcript
    np.testing.assert_array_equal(found.trajectory.table, expected.trajectory.table, strict=True)
    assert found.parameters == expected.parameters
    assert (found.prediction, found.scores) == (expected.prediction, expected.scores)
    assert (found.outcome, found.reason) == (expected.outcome, expected.reason)


@st.composite
def configurations(draw: st.DrawFn) -> list[str]:
    step = draw(st.sampled_from(["manual", "autograd", "optimizer", "model"]))
    updater = draw(st.sampled_from(HAND if step == "manual" else HAND + TORCH))
    scheduler = draw(st.sampled_from(SCHEDULERS))
    typed = [f"step={step}", f"updater={updater}", f"scheduler={scheduler}"]
    typed += ["gradient=manual"] if step == "manual" else []
    typed += MOMENTUM_OFF.get(scheduler, "").split() + EXTENT.get(scheduler, "").split()
    typed += ["updater.momentum=0.9"] if updater == "SGD" and draw(st.booleans()) else []
    typed += ["data.batch_size=7"] if draw(st.booleans()) else []
    return [*typed, f"dtype={draw(st.sampled_from(['float32', 'float64']))}"]


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(typed=configurations(), k=st.integers(1, 11), every=st.integers(1, 12))
def test_any_run_goes_on_bit_for_bit(
    typed: list[str], k: int, every: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    before = Path.cwd()
    os.chdir(folder)
    try:
        common = ("tracking=off", *MADE, *typed, "lr=0.01", "print_every=1")
        whole = run(*common, "iters=12")
        run(*common, f"iters={k}", f"checkpoint.every={every}")
        path = newest_checkpoints()
        written = sorted(int(file.stem) for file in path.iterdir())
        assert written == sorted({*range(every, k + 1, every), k})
        assert_same(run(*common, "iters=12", f"continue_from={path}"), whole)
        first = min(path.iterdir())
        assert_same(run(*common, "iters=12", f"continue_from={first}"), whole)
    finally:
        os.chdir(before)


@pytest.fixture
def dropout(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A predictor with random draws and a running mean of its own."""
    (workdir / "mine" / "predictor").mkdir(parents=True)
    (workdir / "mine" / "predictor" / "drop.yaml").write_text("_target_: dropping.Net\n")
    (workdir / "dropping.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Sequential):\n"
        "    def __init__(self, features, outputs):\n"
        "        super().__init__(torch.nn.Linear(features, 8), torch.nn.BatchNorm1d(8),\n"
        "                         torch.nn.Dropout(), torch.nn.Linear(8, outputs))\n"
    )
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delitem(sys.modules, "dropping", raising=False)
    made = ("data=synthetic", "data.rows=40", "data.features=3", "data.batch_size=15")
    return ("--config-dir=mine", "step=model", "predictor=drop", "updater=Adam", *made)


def test_dropout_and_batch_norm_go_on(dropout: tuple[str, ...]) -> None:
    _, *chosen = dropout
    common = (*chosen, "tracking=off", "data.validation=0.2")
    whole = run(*common, "iters=9", config_dir="mine")
    assert len(set(whole.trajectory.loss)) == 9
    run(*common, "iters=5", "checkpoint.every=2", config_dir="mine")
    assert_same(
        run(*common, "iters=9", f"continue_from={newest_checkpoints()}", config_dir="mine"), whole
    )


@pytest.mark.parametrize("step", ["manual gradient=manual", "model"])
def test_a_recorded_run_is_continued_by_its_id(step: str, store: Path) -> None:
    from mlflow import MlflowClient

    common = (f"step={step}".split()[0], *step.split()[1:], *MADE)
    whole = run(*common, "iters=12")
    begun = run(*common, "iters=7", "checkpoint.every=3")
    assert begun.continue_from == begun.run_id is not None
    client = MlflowClient(f"sqlite:///{store}/outputs/mlflow.db")
    listed = [Path(a.path).stem for a in client.list_artifacts(begun.run_id, "checkpoints")]
    assert listed == ["00000003", "00000006", "00000007"]
    assert not Path("outputs/checkpoints").exists()
    on = run(*common, "iters=12", f"continue_from={begun.run_id}")
    assert_same(on, whole)
    assert on.run_id is not None
    history = client.get_metric_history(on.run_id, "train/loss")
    assert [point.value for point in history] == whole.trajectory.loss.tolist()


def test_a_stopped_run_goes_on_with_other_rules(workdir: Path) -> None:
    whole = run(*SMALL, "iters=30")
    stop = f"stop.tolerance={whole.trajectory.loss[9]}"
    stopped = run(*SMALL, "iters=30", stop, "checkpoint.every=100")
    assert stopped.continue_from == str(workdir / newest_checkpoints())
    assert (stopped.outcome, stopped.trajectory.length) == ("converged", 10)
    assert_same(run(*SMALL, "iters=30", f"continue_from={newest_checkpoints()}"), whole)


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(workdir: Path) -> None:
    typed = [*SMALL, "iters=1000000", "checkpoint.every=500"]
    with subprocess.Popen(
        [sys.executable, "-m", "gdexp", *typed], env=clean_environment(), stdout=subprocess.DEVNULL
    ) as child:
        eventually(lambda: len(list(workdir.glob("outputs/checkpoints/*/*.npz"))) >= 3)
        child.send_signal(signal.SIGKILL)
    epoch = int(max(newest_checkpoints().glob("*.npz")).stem)
    how = (f"iters={epoch + 700}", "print_every=100")
    assert_same(run(*SMALL, *how, f"continue_from={newest_checkpoints()}"), run(*SMALL, *how))


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(TREES)
def test_packing_loses_nothing(tree: object) -> None:
    assert unpack(pack(tree)) == tree


@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 2)])
def test_arrays_and_tensors_keep_their_kind_and_bits(kind: str, shape: tuple[int, ...]) -> None:
    for dtype in (np.float32, np.float64, np.int64, np.uint8, np.bool_):
        value = np.asarray(np.arange(4)[: int(np.prod(shape))].reshape(shape), dtype)
        packed = torch.from_numpy(value) if kind == "tensor" else value
        found = unpack(pack({"v": [packed]}))["v"][0]
        assert isinstance(found, torch.Tensor) == (kind == "tensor")
        np.testing.assert_array_equal(np.asarray(found), value, strict=True)
        number = unpack(pack([dtype(1)]))[0]
        assert (type(number), number) == (dtype, 1)

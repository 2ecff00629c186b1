"""The record in MLflow, read back with MlflowClient, on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
import yaml
from helpers import (
    CLI,
    PATIENCE,
    artifact,
    clean_environment,
    client,
    curve,
    eventually,
    last,
    process,
)
from mlflow import MlflowClient
from mlflow.entities import Run

import gdexp
from gdexp import run


def check_record(opened: MlflowClient, result: gdexp.experiment.Result) -> None:
    """Everything the contract promises of a run of 20 epochs of step=model, lr=0.02."""
    assert result.run_id is not None
    found = opened.get_run(result.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "step=model lr=0.02 predictor.bias=true"
    assert found.data.params == {
        "step": "model",
        "data": "tutorial",
        "predictor": "model",
        "gradient": "autograd",
        "loss": "MSELoss",
        "updater": "SGD",
        "lr": "0.02",
        "iters": "20",
        "seed": "0",
        "dtype": "float32",
        "predict_at": "5.0",
        "data.x": "[1, 2, 3, 4]",
        "data.y": "[2, 4, 6, 8]",
        "data.name": "tutorial",
        "predictor.bias": "true",
        "predictor.init": "0.0",
        "loss.reduction": "mean",
        "updater.lr": "0.02",
        "updater.momentum": "0.0",
        "updater.dampening": "0.0",
        "updater.weight_decay": "0.0",
        "updater.nesterov": "false",
        "updater.maximize": "false",
        "updater.foreach": "null",
        "updater.differentiable": "false",
        "updater.fused": "null",
    }
    trajectory = result.trajectory
    for name, values in trajectory.columns().items():
        assert curve(opened, result.run_id, name) == dict(enumerate(values, start=1)), name
    assert set(found.data.metrics) == {
        *trajectory.columns(),
        "final/loss",
        "final/log10_loss",
        "final/prediction",
        "coef/x",
        "coef/intercept",
        "best/loss",
        "best/epoch",
        "check/condition",
        "check/digits",
        "check/gradient_error",
        "check/gradient_ratio",
        "check/contraction",
        *(f"forecast/{name}" for name in result.forecast),
    }
    assert found.data.metrics["final/loss"] == trajectory.loss[-1]
    assert found.data.metrics["final/log10_loss"] == math.log10(trajectory.loss[-1])
    assert found.data.metrics["final/prediction"] == pytest.approx(result.prediction)
    assert found.data.metrics["forecast/largest_lr"] == pytest.approx(
        2 / result.forecast["curvature"]
    )
    assert found.data.metrics["coef/x"] == result.parameters["w"]
    assert found.data.metrics["coef/intercept"] == result.parameters["b"]
    assert found.data.metrics["best/loss"] == trajectory.loss.min()
    assert found.data.metrics["best/epoch"] == trajectory.loss.argmin() + 1
    check_tags(found, result)
    check_artifacts(opened, result)
    (used,) = found.inputs.dataset_inputs
    assert used.dataset.name == "tutorial"
    assert used.dataset.digest
    assert '"features_shape": [4]' in used.dataset.profile
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "training"}


def check_tags(found: Run, result: gdexp.experiment.Result) -> None:
    tags = found.data.tags
    assert tags["gdexp.overrides"] == "step=model lr=0.02 predictor.bias=true"
    assert tags["gdexp.kind"] == "run"
    assert tags["gdexp.outcome"] == "completed"
    assert tags["gdexp.reason"] == "20 epochs"
    assert (tags["gdexp.behaviour"], tags["gdexp.decades"]) == ("monotone", "4 7")
    assert tags["gdexp.version"] == gdexp.__version__
    assert len(tags["gdexp.config_hash"]) == 16
    assert tags["mlflow.note.content"].startswith(
        "`python -m gdexp step=model lr=0.02 predictor.bias=true` completed: 20 epochs, loss 30 → "
    )
    assert f"f(5) = {result.prediction:.6g}." in tags["mlflow.note.content"]
    assert "gdexp.sweep_id" not in tags


def check_artifacts(opened: MlflowClient, result: gdexp.experiment.Result) -> None:
    assert result.run_id is not None
    names = {item.path for item in opened.list_artifacts(result.run_id)}
    assert names == {"config.yaml", "trajectory.parquet", "transcript.txt"}
    transcript = artifact(opened, result.run_id, "transcript.txt").read_text()
    assert transcript == result.transcript
    config = yaml.safe_load(artifact(opened, result.run_id, "config.yaml").read_text())
    assert config["updater"]["lr"] == config["lr"] == 0.02
    assert "hydra" not in config
    table = pq.read_table(artifact(opened, result.run_id, "trajectory.parquet")).to_pydict()
    assert table.pop("epoch") == list(range(1, 21))
    assert {n: list(v) for n, v in result.trajectory.columns().items()} == table


def test_a_run_is_recorded_whole(store: Path) -> None:
    result = run("step=model", "lr=0.02", "predictor.bias=true")
    opened = client(store)
    check_record(opened, result)
    info = opened.get_run(str(result.run_id)).info
    place = opened.get_experiment(info.experiment_id).artifact_location
    assert info.artifact_uri == f"{place}/{result.run_id}/artifacts"


@pytest.mark.slow
def test_a_run_is_recorded_whole_in_postgresql(
    workdir: Path, postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = postgres()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ours")
    result = run("step=model", "lr=0.02", "predictor.bias=true")
    opened = MlflowClient(uri)
    check_record(opened, result)
    assert last(opened, "ours").info.run_id == result.run_id
    assert not (workdir / "outputs" / "mlflow.db").exists()


@pytest.mark.slow
def test_a_run_is_recorded_in_a_database_without_an_encoding(
    workdir: Path, postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every database of a server that was set up in the locale C."""
    server = postgres().rpartition("/")[0]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0")
    monkeypatch.delenv("PGCLIENTENCODING", raising=False)
    typed = (f"tracking.uri={server}/plain", "tracking.experiment=Größen")
    ended = process(*typed, "iters=2", cwd=workdir)
    assert ended.code == 0, ended.err
    place = ("--uri", f"{server}/plain", "--experiment", "Größen")
    (found,) = json.loads(process("compare", *place, "--json", cwd=workdir).out)
    assert found["iters"] == 2


def test_settings_beat_the_environment(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///theirs.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    result = run("tracking.uri=sqlite:///mine.db", "tracking.experiment=mine", "iters=1")
    assert last(MlflowClient(f"sqlite:///{workdir}/mine.db"), "mine").info.run_id == result.run_id
    assert not (workdir / "theirs.db").exists()


def test_tracking_off_writes_nothing(workdir: Path) -> None:
    assert run("tracking=off").run_id is None
    assert not any(workdir.iterdir())


def test_curves_are_whole_up_to_1000_epochs_and_thinned_beyond(store: Path) -> None:
    opened = client(store)
    for iters, points in ((1000, 1000), (2500, 1000), (2500, 10)):
        result = run(f"iters={iters}", f"tracking.max_points={points}", "lr=0.0001")
        assert result.run_id is not None
        for name, values in result.trajectory.columns().items():
            sent = curve(opened, result.run_id, name)
            assert len(sent) == points
            assert {1, iters} <= set(sent)
            assert all(values[step - 1] == value for step, value in sent.items())
        table = pq.read_table(artifact(opened, result.run_id, "trajectory.parquet"))
        assert table.num_rows == iters


def test_a_diverged_run_is_finished_and_sends_no_inf_or_nan(store: Path) -> None:
    opened = client(store)
    result = run("lr=10", "iters=500")
    found = opened.get_run(str(result.run_id))
    assert found.info.status == "FINISHED"
    assert found.data.tags["gdexp.outcome"] == "diverged"
    assert "was not finite in epoch" in found.data.tags["gdexp.reason"]
    assert found.data.metrics["final/loss"] == result.trajectory.loss[-1]
    assert found.data.metrics["final/log10_loss"] == math.log10(30.0)  # not above the first
    printed = result.transcript.splitlines()[-1]
    assert float(printed.rpartition(" = ")[2]) == pytest.approx(
        found.data.metrics["final/prediction"], rel=1e-5
    )
    for name in found.data.metrics:
        for metric in opened.get_metric_history(found.info.run_id, name):
            assert math.isfinite(metric.value)
            assert abs(metric.value) < 1e300  # MLflow turns inf into the largest float


def test_a_run_that_raises_is_failed_with_the_epochs_it_had(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gdexp import manual

    calls = iter(range(1000))

    step = manual.Updater.__call__

    def breaks(self: manual.Updater, parameters: Any, gradients: Any) -> None:
        if next(calls) == 30:
            raise RuntimeError("the updater broke")
        step(self, parameters, gradients)

    monkeypatch.setattr(manual.Updater, "__call__", breaks)
    with pytest.raises(RuntimeError, match="the updater broke"):
        run("iters=100", "lr=0.001")
    found = last(client(store))
    assert found.info.status == "FAILED"
    assert found.data.tags["gdexp.outcome"] == "failed"
    assert found.data.tags["gdexp.reason"] == (
        "RuntimeError after epoch 30 of 100: the updater broke"
    )
    assert len(curve(client(store), found.info.run_id, "train/loss")) == 30


@contextlib.contextmanager
def started(folder: Path, printed: int, *args: str) -> Iterator[SimpleNamespace]:
    """A long run that has printed so many epochs."""
    running = subprocess.Popen(
        [sys.executable, "-m", "gdexp", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=clean_environment(),
    )
    assert running.stdout is not None
    for _ in range(printed):
        assert any(line.startswith("epoch") for line in running.stdout)
    try:
        yield SimpleNamespace(process=running)
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_killed_with_the_epochs_it_had(
    signum: signal.Signals, code: int, store: Path
) -> None:
    with started(store, 3, "iters=50000000", "lr=1e-9", "print_every=1000") as run_:
        run_.process.send_signal(signum)
        _, err = run_.process.communicate(timeout=PATIENCE)
    assert run_.process.returncode == code
    assert "interrupted by" in err
    assert "Traceback" not in err
    found = last(client(store))
    assert found.info.status == "KILLED"
    assert found.data.tags["gdexp.outcome"] == "interrupted"
    table = pq.read_table(artifact(client(store), found.info.run_id, "trajectory.parquet"))
    steps = curve(client(store), found.info.run_id, "train/loss")
    assert table.num_rows == max(steps) > 1000
    assert f"after epoch {table.num_rows} of 50000000" in found.data.tags["gdexp.reason"]


@pytest.mark.slow
def test_a_long_run_can_be_watched(store: Path) -> None:
    with started(store, 1, "iters=50000000", "lr=1e-9", "print_every=1000000") as run_:
        eventually(lambda: last(client(store)).info.status == "RUNNING")  # after a second
        found = last(client(store))
        eventually(lambda: curve(client(store), found.info.run_id, "train/loss"))
        assert last(client(store)).info.status == "RUNNING"
        run_.process.send_signal(signal.SIGINT)
        run_.process.wait(timeout=PATIENCE)


def test_the_same_experiment_has_the_same_hash(store: Path) -> None:
    def digest(*overrides: str) -> str:
        found = client(store).get_run(str(run("iters=1", *overrides).run_id))
        return found.data.tags["gdexp.config_hash"]

    plain = digest()
    assert digest("print_every=7", "tracking.max_points=9") == plain
    assert digest("step=manual") == plain
    assert digest("lr=0.02") != plain
    assert digest("gradient=manual") != plain


def test_names_and_values_of_any_length_are_stored(store: Path) -> None:
    values = list(range(1300))
    found = client(store).get_run(
        str(run(f"data.x={values}", f"data.y={values}", "iters=1", "lr=1e-9").run_id)
    )
    assert len(found.info.run_name) == 250
    assert len(found.data.params["data.x"]) == 6000
    assert found.data.params["data.x"].endswith("…")


@pytest.mark.slow
def test_git_is_noted_where_there_is_a_repository(store: Path) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=me", "-c", "user.email=me@localhost"]
        done = subprocess.run(["git", *who, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "empty")
    ended = process("iters=1", cwd=store)
    assert ended.code == 0, ended.err
    tags = last(client(store)).data.tags
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["gdexp.git_dirty"] == "true"


def test_stderr_says_where_the_run_went_and_what_to_know(store: Path, cli: CLI) -> None:
    ended = cli("iters=20")
    found = last(client(store))
    assert ended.err == (
        "completed: 20 epochs; final loss 0\n"
        "note: gradient=manual_sum is 4.000 times the derivative of the loss, n = 4: the mean's 1/n"
        " is missing, so lr=0.01 acts like lr=0.04; gradient=manual gives the derivative.\n"
        f"recorded as run {found.info.run_id} in experiment gdexp of "
        f"sqlite:///{store}/outputs/mlflow.db\n"
        "see it with: python -m gdexp ui\n"
    )
    ended = cli("gradient=manual", "lr=0.05", "tracking=off")
    assert ended.err == "completed: 20 epochs; final loss 0\n"


def test_a_deleted_experiment_is_named(store: Path, cli: CLI) -> None:
    opened = client(store)
    experiment = opened.create_experiment("gone")
    opened.delete_experiment(experiment)
    ended = cli("tracking.experiment=gone")
    assert ended.err.startswith(
        "gdexp: tracking.experiment: 'gone' has been deleted in this store."
    )
    assert ended.code == 2
    assert not (store / "outputs" / "runs").exists()

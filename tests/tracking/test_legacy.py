"""What version 0.1.0 has recorded is taken up: runs, a model, checkpoints, sweeps.

``tests/data/legacy.zip`` is the folder ``/tmp/legacy`` as version 0.1.0 (as of November 2026) has
left it after these commands, each ``python -m gdexp …``::

    step=manual iters=8
    FIT iters=6 checkpoint.every=4
    FIT iters=6 checkpoint.every=4 tracking=off
    step=model iters=10 tracking.log_model=true
    step=autograd iters=2000000 tracking.max_points=200  # kill -9 after some seconds
    -m hydra.sweep.dir=outputs/sweeps/half HALF          # kill -9 while job 6 of 0 to 7 went on
    -m hydra.sweep.dir=outputs/sweeps/damaged DAMAGED

Then three of the five runs of the last sweep were damaged as by a full disk, and stayed FINISHED:
job 1 lost its points (its rows in ``metrics`` and ``latest_metrics``), job 2 its
``trajectory.parquet``, job 3 both, its transcript, and its tags ``gdexp.outcome`` and
``gdexp.reason``.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import CLI, Ended, process
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from gdexp.descent.archive import pack, unpack

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own
    import mlflow.pyfunc

PACKED = Path(__file__).parent.parent / "data" / "legacy.zip"
MADE_IN = "/tmp/legacy"
PLACES = {  # where the store holds absolute paths
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "tags": "value",
}
WITHOUT = {"FINISHED": "finished", "RUNNING": "not heard from"}  # of runs without an outcome
FIT = (
    *("data=diabetes", "data.standardize=true", "data.validation=0.2"),
    *("step=model", "updater=Adam", "lr=5"),
)
HALF = ("data=tutorial,diabetes", "step=autograd,model", "lr=1e-5,2e-5", "iters=5")
DAMAGED = ("hydra/launcher=basic", "lr=0.01,0.02,0.03,0.04,0.05", "iters=4")
INPUTS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
PATIENTS = [
    [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.9, 87],
    [48, 1, 21.6, 87, 183, 103, 70, 3, 4, 69],
]


def unpacked(folder: Path) -> Path:
    """The old version's folder, as if it had been made in this one."""
    with zipfile.ZipFile(PACKED) as packed:
        packed.extractall(folder)
    connection = sqlite3.connect(folder / "outputs" / "mlflow.db")
    with connection:
        for table, column in PLACES.items():
            connection.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (MADE_IN, str(folder))
            )
    connection.close()
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The old folder, to read."""
    return unpacked(tmp_path_factory.mktemp("legacy"))


@pytest.fixture
def legacy(workdir: Path) -> Path:
    """The old folder, to go on in."""
    return unpacked(workdir)


def client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder}/outputs/mlflow.db")


def recorded(folder: Path, deleted: bool = False) -> list[Run]:
    """All runs but the summaries of sweeps, oldest first."""
    opened = client(folder)
    experiment = opened.get_experiment_by_name("gdexp")
    assert experiment is not None
    return opened.search_runs(
        [experiment.experiment_id],
        "tags.`gdexp.kind` = 'run'",
        ViewType.ALL if deleted else ViewType.ACTIVE_ONLY,
        order_by=["attributes.start_time ASC"],
    )


def alone(folder: Path, overrides: str) -> Run:
    """The newest run of its own that was started with these words."""
    runs = [r for r in recorded(folder) if r.data.tags["gdexp.overrides"] == overrides]
    return runs[-1]


def jobs(folder: Path, sweep_id: str, status: str = "FINISHED") -> dict[int, Run]:
    """The active runs of a sweep that have this status, by job; no job has two."""
    runs = [r for r in recorded(folder) if r.data.tags.get("gdexp.sweep_id") == sweep_id]
    runs = [r for r in runs if r.info.status == status]
    by_job = {int(r.data.tags["gdexp.job"]): r for r in runs}
    assert len(by_job) == len(runs)
    return by_job


def summary(folder: Path, sweep_id: str) -> Run:
    opened = client(folder)
    (run,) = opened.search_runs(
        [recorded(folder)[0].info.experiment_id],
        f"tags.`gdexp.kind` = 'sweep' AND tags.`gdexp.sweep_id` = '{sweep_id}'",
    )
    return run


def curves(folder: Path, run: Run) -> dict[str, list[tuple[int, float]]]:
    opened = client(folder)
    return {
        name: [(m.step, m.value) for m in opened.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_compare_lists_the_runs(kept: Path) -> None:
    ended = process("compare", "--all", "--csv", cwd=kept)
    assert ended.code == 0, ended.err
    outcomes = {row["run_id"]: row["outcome"] for row in table(ended.out)}
    assert outcomes == {
        r.info.run_id: r.data.tags.get("gdexp.outcome", WITHOUT.get(r.info.status))
        for r in recorded(kept)
    }
    assert sorted(outcomes.values()) == (
        ["completed"] * 11 + ["diverged"] * 2 + ["finished"] + ["not heard from"] * 2
    )


@pytest.mark.slow
def test_compare_lists_a_half_finished_sweep(kept: Path) -> None:
    ended = process("compare", "--sweep", "half", "--csv", cwd=kept)
    assert ended.code == 0, ended.err
    rows = table(ended.out)
    assert [
        (row["data"], row["step"], row["lr"]) for row in rows if row["outcome"] == "not heard from"
    ] == [("diabetes", "model", "1e-05")]
    assert len(rows) == 7


def predictions(folder: Path, run: Run, header: str, *lines: str) -> list[float]:
    (folder / "rows.csv").write_text("\n".join([header, *lines]) + "\n")
    ended = process("predict", run.info.run_id, "rows.csv", cwd=folder)
    assert ended.code == 0, ended.err
    return [float(row["prediction"]) for row in table(ended.out)]


@pytest.mark.parametrize(
    "overrides",
    [
        "step=manual iters=8",
        pytest.param("step=model iters=10 tracking.log_model=true", marks=pytest.mark.slow),
    ],
)
def test_predict_asks_a_line(kept: Path, overrides: str) -> None:
    run = alone(kept, overrides)
    w = run.data.metrics["param/w"]
    assert predictions(kept, run, "x", "5", "-2.5") == pytest.approx([5 * w, -2.5 * w])


@pytest.mark.slow
def test_predict_asks_a_standardized_fit(kept: Path) -> None:
    run = alone(kept, " ".join([*FIT, "iters=6", "checkpoint.every=4"]))
    coefficients = [run.data.metrics[f"coef/{name}"] for name in INPUTS]
    expected = np.array(PATIENTS) @ coefficients + run.data.metrics["coef/intercept"]
    lines = [",".join(map(str, patient)) for patient in PATIENTS]
    assert predictions(kept, run, ",".join(INPUTS), *lines) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_a_run_that_was_killed_has_nothing_to_predict_with(kept: Path) -> None:
    run = alone(kept, "step=autograd iters=2000000 tracking.max_points=200")
    (kept / "x.csv").write_text("x\n5\n")
    ended = process("predict", run.info.run_id, "x.csv", cwd=kept)
    assert (ended.code, ended.out) == (2, "")
    assert f"run {run.info.run_id} (running) has no predictor.npz among its artifacts" in ended.err


def test_a_logged_model_is_loaded(kept: Path) -> None:
    run = alone(kept, "step=model iters=10 tracking.log_model=true")
    (output,) = run.outputs.model_outputs
    location = client(kept).get_logged_model(output.model_id).artifact_location
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        from pandas import DataFrame

        model = mlflow.pyfunc.load_model(location)
        answers = model.predict(DataFrame({"x": [5.0, -2.5]}))["prediction"]
    w = run.data.metrics["param/w"]
    assert answers.tolist() == pytest.approx([5 * w, -2.5 * w])


@pytest.mark.slow
@pytest.mark.parametrize("by", ["run", "folder"])
def test_a_run_goes_on_from_its_checkpoint(legacy: Path, by: str) -> None:
    begun = alone(legacy, " ".join([*FIT, "iters=6", "checkpoint.every=4"]))
    (folder,) = (legacy / "outputs" / "checkpoints").iterdir()
    place = {"run": begun.info.run_id, "folder": str(folder)}[by]
    for words in (["iters=9"], ["iters=9", f"continue_from={place}"]):
        ended = process(*FIT, *words, cwd=legacy)
        assert ended.code == 0, ended.err
    expected = curves(legacy, alone(legacy, " ".join([*FIT, "iters=9"])))
    continued = curves(legacy, alone(legacy, " ".join([*FIT, "iters=9", f"continue_from={place}"])))
    assert continued.keys() == expected.keys()
    for name, points in expected.items():
        assert [step for step, _ in continued[name]] == [step for step, _ in points], name
        values = [value for _, value in continued[name]]
        assert values == pytest.approx([value for _, value in points], rel=1e-5, abs=1e-9), name
    assert [step for step, _ in continued["train/loss"]] == list(range(1, 10))
    assert continued["train/loss"][:6] == curves(legacy, begun)["train/loss"]


def test_a_setting_that_a_checkpoint_lacks_is_its_default(
    legacy: Path, cli: Callable[..., Ended]
) -> None:
    (folder,) = (legacy / "outputs" / "checkpoints").iterdir()
    path = folder / "00000006.npz"
    content = unpack(path.read_bytes())
    for key in ("device", "predict_at"):
        del content["settings"][key]
    for key in ("compress", "metrics"):
        del content["settings"]["data"][key]
    path.write_bytes(pack(content))
    typed = (*FIT, "tracking=off", "iters=9", f"continue_from={path}")
    refused = cli(*typed, "predict_at=6", "data.metrics=false")
    assert (refused.code, refused.err) == (
        2,
        f"gdexp: continue_from: {path} has other settings: "
        "predict_at is 5.0 in the checkpoint and 6.0 here; "
        "data.metrics is true in the checkpoint and false here. "
        "Leave them out: they are taken from the run.\n",
    )
    ended = cli(*typed)
    assert ended.code == 0, ended.err
    assert "\nepoch 9: " in ended.out


@pytest.mark.slow
def test_a_half_finished_sweep_is_finished(legacy: Path) -> None:
    before = jobs(legacy, "half")
    assert sorted(before) == [0, 1, 2, 3, 4, 5]
    assert list(jobs(legacy, "half", "RUNNING")) == [6]
    ended = process("-m", *HALF, "sweep.resume=half", cwd=legacy)
    assert ended.code == 0, ended.err
    assert "6 finished, 2 to run\n" in ended.err
    after = jobs(legacy, "half")
    assert sorted(after) == list(range(8))
    assert not jobs(legacy, "half", "RUNNING")
    assert {job: after[job].info.run_id for job in before} == {
        job: run.info.run_id for job, run in before.items()
    }
    for job in (6, 7):  # step=model descends as step=autograd does
        twin = curves(legacy, after[job - 2])["train/loss"]
        loss = curves(legacy, after[job])["train/loss"]
        assert [step for step, _ in loss] == [1, 2, 3, 4, 5]
        assert [v for _, v in loss] == pytest.approx([v for _, v in twin], rel=1e-3)
    assert summary(legacy, "half").info.status == "FINISHED"
    assert summary(legacy, "half").data.metrics["sweep/runs"] == 8


@pytest.mark.slow
def test_a_half_finished_sweep_is_not_finished_as_another_one(kept: Path) -> None:
    ended = process("-m", *HALF[:-1], "iters=6", "sweep.resume=half", cwd=kept)
    assert ended.code == 2
    assert ended.err.startswith(
        "gdexp: sweep.resume: half was started with other jobs (8 of 8 are gone, 8 are new). Type "
        f"what it was started with: {' '.join(HALF)}\n"
    )


@pytest.mark.slow
def test_finished_runs_without_their_points_or_trajectory_are_run_anew(legacy: Path) -> None:
    before = jobs(legacy, "damaged")
    points = {job: curves(legacy, run) for job, run in before.items()}
    ended = process("-m", *DAMAGED, "sweep.resume=damaged", cwd=legacy)
    assert ended.code == 0, ended.err
    assert "2 finished, 3 to run\n" in ended.err
    opened, after = client(legacy), jobs(legacy, "damaged")
    assert sorted(after) == [0, 1, 2, 3, 4]
    for job, old in before.items():
        damaged = job in (1, 2, 3)
        assert (after[job].info.run_id != old.info.run_id) == damaged
        now = opened.get_run(old.info.run_id)
        assert now.info.status == ("FAILED" if damaged else "FINISHED")
        assert now.data.params == old.data.params
        assert curves(legacy, now) == points[job]
        assert [step for step, _ in curves(legacy, after[job])["train/loss"]] == [1, 2, 3, 4]
        parquet = opened.download_artifacts(after[job].info.run_id, "trajectory.parquet")
        assert pq.read_table(parquet).num_rows == 4
        assert after[job].data.tags["gdexp.outcome"] == ("diverged" if job == 4 else "completed")
    assert summary(legacy, "damaged").data.metrics["sweep/runs"] == 5


@pytest.mark.slow
def test_its_runs_can_be_replayed(legacy: Path, cli: CLI) -> None:
    whole = [run for run in recorded(legacy) if run.info.status == "FINISHED"]
    by_hand = alone(legacy, "step=manual iters=8")
    for run in whole:
        ended = cli("replay", run.info.run_id)
        if "no trajectory.parquet among its artifacts" in ended.err:
            assert run.data.tags["gdexp.sweep_id"] == "damaged"
        elif run.info.run_id == by_hand.info.run_id:
            assert ended == (0, "identical, bit for bit: 8 epochs, 3 quantities\n", "")
        else:  # torch may round differently on another machine
            assert (ended.code, ended.err) in ((0, ""), (1, ""))

"""Fitted predictors: as MLflow models, served over HTTP, and asked for a file's rows."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from helpers import PATIENCE, clean_environment, eventually, process
from mlflow import MlflowClient

from gdexp import run
from gdexp.commands import predict
from gdexp.experiment import Result

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own
    import mlflow.pyfunc

ROWS = [[1, 20, -3], [2, 10, -1], [4, 40, -2], [3, 50, -5], [6, 30, -4], [5, 70, -7.5]]
NUMBERS = [3.5, 2.0, 7.25, 8.0, 6.5, 12.0]
TWO = [0, 0, 1, 0, 1, 1]
THREE = [0, 0, 1, 1, 2, 2]

FITS = {
    "line": ["step=manual", "iters=7"],
    "line-with-bias": ["step=manual", "iters=7", "predictor.bias=true", "dtype=float64"],
    "drawn": ["step=manual", "iters=7", "predictor.init=torch"],
    "autograd": ["step=autograd", "iters=7"],
    "standardized-line": ["step=manual", "iters=7", "data.standardize=true"],
    "three": ["step=manual", "iters=30", "data=csv", "data.standardize=true"],
    "compressed": [
        "step=manual",
        "iters=9",
        "data=csv",
        "data.standardize=true",
        "gradient=manual",
        "data.compress=true",
    ],
    "model": ["step=model", "iters=9", "data=csv", "data.standardize=true", "predictor.bias=true"],
    "mlp": ["step=model", "predictor=mlp", "iters=9", "data=csv", "data.standardize=true"],
    "two": ["step=model", "loss=BCEWithLogitsLoss", "iters=9", "data=csv", "data.target=two"],
    "by-hand": ["step=manual", "loss=manual_logistic", "gradient=manual_logistic", "data=csv"],
    "classes": ["step=model", "loss=CrossEntropyLoss", "iters=9", "data=csv", "data.target=three"],
}


def typed(name: str) -> list[str]:
    words = FITS[name]
    if "data=csv" in words:
        target = {"two": "two", "by-hand": "two", "classes": "three"}.get(name, "y")
        words = [word for word in words if not word.startswith("data.target")]
        words = [*words, f"data.target={target}", "data.path=table.csv", "data.features=[a,b,c]"]
        words += [] if "data.standardize=true" in words else ["lr=0.0001"]
    return words


@pytest.fixture
def table(store: Path) -> pd.DataFrame:
    """The folder's table.csv: three inputs, and a target of each kind."""
    columns = pd.DataFrame(np.array(ROWS, float), columns=["a", "b", "c"])
    frame = columns.assign(y=NUMBERS, two=TWO, three=THREE)
    frame.to_csv("table.csv", index=False)
    return frame


def inputs(name: str, table: pd.DataFrame) -> pd.DataFrame:
    if "data=csv" in FITS[name]:
        return table[["a", "b", "c"]]
    return pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]})


def expected(name: str, result: Result, x: pd.DataFrame) -> np.ndarray:
    """What f says, from the recorded parameters and the formulas alone; not for the MLP."""
    values = x.to_numpy()
    if "data.standardize=true" in FITS[name]:
        values = (values - values.mean(axis=0)) / values.std(axis=0)
    numbers = list(result.parameters.values())
    outputs = 3 if name == "classes" else 1
    d = values.shape[1]
    w = np.reshape(numbers[: d * outputs], (outputs, d))
    b = np.array(numbers[d * outputs :] or [0.0])
    z = values @ w.T + b
    if name == "classes":
        return z.argmax(axis=1)
    return 1 / (1 + np.exp(-z[:, 0])) if name in ("two", "by-hand") else z[:, 0]


def opened() -> MlflowClient:
    return MlflowClient(f"sqlite:///{Path.cwd()}/outputs/mlflow.db")


def logged(result: Result) -> str:
    (output,) = opened().get_run(result.run_id).outputs.model_outputs
    return str(output.model_id)


@pytest.fixture
def here(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow's own functions look into this folder's store."""
    uri = f"sqlite:///{store}/outputs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    yield
    mlflow.set_tracking_uri(None)


def loaded(uri: str) -> mlflow.pyfunc.PyFuncModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own
        return mlflow.pyfunc.load_model(uri)


@pytest.mark.parametrize("name", FITS)
def test_a_loaded_model_says_what_the_formulas_say(
    name: str, table: pd.DataFrame, here: None
) -> None:
    result = run(*typed(name), "tracking.log_model=true")
    x = inputs(name, table)
    model = loaded(f"runs:/{result.run_id}/model")
    found = model.predict(x)
    if name != "mlp":
        assert found["prediction"].to_numpy() == pytest.approx(expected(name, result, x), rel=1e-5)
    same = loaded(f"models:/{logged(result)}").predict(x)
    pd.testing.assert_frame_equal(found, same)
    assert model.metadata.signature.inputs.input_names() == list(x)
    example = model.input_example
    rows = x.mean().to_frame().T if name == "compressed" else x[:5]
    assert example.to_numpy() == pytest.approx(rows.to_numpy())


@pytest.mark.parametrize("name", FITS)
def test_the_file_of_any_run_gives_the_run_s_own_predictions(
    name: str, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(*typed(name))
    x = inputs(name, table)
    x.assign(text="as it is").to_csv("new.csv", index=False)
    assert predict.main([result.run_id or "", "new.csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["text"] for row in rows] == ["as it is"] * len(x)
    assert [[float(row[c]) for c in x] for row in rows] == x.to_numpy().tolist()
    said = [float(row["prediction"]) for row in rows]
    if name == "mlp":
        assert np.mean(np.abs(np.subtract(said, NUMBERS))) == pytest.approx(
            result.scores["final/mae"], rel=1e-5
        )
    else:
        assert said == pytest.approx(expected(name, result, x), rel=1e-5)


def test_classes_come_with_their_probabilities(table: pd.DataFrame, here: None) -> None:
    result = run(*typed("classes"), "tracking.log_model=true")
    found = loaded(f"runs:/{result.run_id}/model").predict(table[["a", "b", "c"]])
    assert list(found) == ["prediction", "probability_0", "probability_1", "probability_2"]
    chances = found.to_numpy()[:, 1:]
    assert chances.sum(axis=1) == pytest.approx(1)
    assert found["prediction"].tolist() == chances.argmax(axis=1).tolist()


def test_nothing_kept_is_code_and_no_state_of_mlflow_s_is_left(store: Path) -> None:
    result = run("step=manual", "iters=3", "tracking.log_model=true")
    model = opened().get_logged_model(logged(result))
    folder = Path(model.artifact_location.removeprefix("file://"))
    assert (model.name, model.status, model.source_run_id) == ("model", "READY", result.run_id)
    kept = {path.name for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in kept if name.endswith((".py", ".pkl"))]
    with np.load(folder / "data" / "predictor.npz", allow_pickle=False) as arrays:
        assert [array.dtype.kind for array in arrays.values()] == ["U"]
    assert mlflow.active_run() is None
    assert os.environ.get("MLFLOW_TRACKING_URI") is None


def test_a_run_that_diverged_keeps_no_model(store: Path) -> None:
    result = run("step=manual", "lr=9", "iters=500", "tracking.log_model=true")
    assert result.outcome == "diverged"
    assert not opened().get_run(result.run_id).outputs.model_outputs


def test_a_predictor_by_hand_is_rebuilt_without_torch_and_without_its_data() -> None:
    program = (
        "import sys\n"
        "from gdexp.descent.build import rebuild\n"
        "settings = {f: {'_target_': f'gdexp.manual.{f.title()}'} for f in "
        "('predictor', 'gradient', 'loss')} | {'updater': {'_target_': 'gdexp.manual.Updater'}}\n"
        "settings['predictor'] |= {'bias': True, 'init': 'torch'}\n"
        "predictor = rebuild(settings | {'dtype': 'float64', 'seed': 0}, 3, 1)\n"
        "print(predictor.parameters['w'].shape, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "(3,) False\n", done.stderr


def told(cli: Callable[..., int], capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert cli(list(args)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_what_cannot_be_predicted_is_said_in_a_sentence(
    table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(*typed("three"))
    run_id = str(result.run_id)

    def refused(content: str, *more: str) -> str:
        Path("new.csv").write_text(content)
        return told(predict.main, capsys, run_id, "new.csv", *more)

    assert "has no column 'c'" in refused("a,b,cc\n1,2,3\n")
    assert "Did you mean cc?" in refused("a,b,cc\n1,2,3\n")
    assert "line 3, column 'b': 'two' is not a number. Correct it." in refused(
        "a,b,c\n1,2,3\n1,two,3\n"
    )
    assert "line 2, column 'a': '' is not a finite" in refused("a,b,c\n,2,3\n")
    assert "line 3 has 2 cells, and the first line names 3" in refused("a,b,c\n1,2,3\n1,2\n")
    assert "two columns are called 'a'" in refused("a,b,a,c\n1,2,3,4\n")
    assert "already has a column 'prediction'" in refused("a,b,c,prediction\n1,2,3,4\n")
    assert "new.csv is empty" in refused("")
    assert "--out: new.csv already exists" in refused("a,b,c\n", "--out", "new.csv")
    assert "nowhere does not exist." in refused("a,b,c\n", "--out", "nowhere/out.csv")
    assert "--out:  already exists." in refused("a,b,c\n", "--out", "")
    assert "is not a file name (File name too long)" in refused("a,b,c\n", "--out", "a" * 300)
    assert "/proc/x cannot be written: No such file" in refused("a,b,c\n", "--out", "/proc/x")
    Path("folder").mkdir()
    assert told(predict.main, capsys, run_id, "folder") == (
        "gdexp: folder is a folder without Parquet files. Name a file.\n"
    )
    assert "File name too long" in told(predict.main, capsys, run_id, "a" * 300)
    missing = told(predict.main, capsys, run_id, "tabel.csv")
    assert "there is no file tabel.csv. Did you mean table.csv?" in missing
    assert "there is no run 'ffff'" in told(predict.main, capsys, "ffff", "table.csv")


def test_a_run_without_a_predictor_is_refused(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("x.csv").write_text("x\n5\n")
    diverged = run("step=manual", "lr=9", "iters=500")
    said = told(predict.main, capsys, str(diverged.run_id), "x.csv")
    assert "diverged: a value was not finite in epoch" in said
    result = run("step=model", "predictor=mlp", "iters=2")
    folder = opened().get_run(result.run_id).info.artifact_uri.removeprefix("file://")
    Path(folder, "predictor.npz").unlink()
    said = told(predict.main, capsys, str(result.run_id), "x.csv")
    assert "(completed) has no predictor.npz among its artifacts" in said


def test_a_file_to_write_to_gets_what_stdout_would_have(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run("step=manual", "iters=3")
    Path("x.csv").write_text("x; note\n5; a b\n\nTrue;\n")
    args = [str(result.run_id)[:12], "x.csv", "--separator", "semicolon"]
    assert predict.main(args) == 0
    shown = capsys.readouterr().out
    assert predict.main([*args, "--out", "out.csv"]) == 0
    w = result.parameters["w"]
    assert Path("out.csv").read_text() == shown
    rows = [line.split(";") for line in shown.splitlines()]
    assert [row[:2] for row in rows] == [["x", "note"], ["5", "a b"], ["True", ""]]
    assert [float(row[2]) for row in rows[1:]] == pytest.approx([5 * w, w])


@pytest.mark.slow
def test_the_runs_of_a_sweep_computed_together_predict(store: Path) -> None:
    ended = process("-m", "step=manual,autograd", "lr=0.01,0.02", "iters=5", cwd=store)
    assert ended.code == 0, ended.err
    (store / "x.csv").write_text("x\n5\n")
    experiment = opened().get_experiment_by_name("gdexp")
    found = opened().search_runs([experiment.experiment_id], "tags.`gdexp.job` LIKE '%'")
    assert len(found) == 4
    for one in found:
        ended = process("predict", one.info.run_id, "x.csv", cwd=store)
        assert ended.code == 0, ended.err
        _, row = ended.out.splitlines()
        said = one.data.metrics["final/prediction"]
        assert float(row.split(",")[1]) == pytest.approx(said, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["three", "mlp"])
def test_a_model_is_served_over_http(name: str, table: pd.DataFrame, store: Path) -> None:
    result = run(*typed(name), "tracking.log_model=true")
    x = inputs(name, table)
    x.to_csv("new.csv", index=False)
    ended = process("predict", str(result.run_id), "new.csv")
    assert ended.code == 0, ended.err
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["-m", f"models:/{logged(result)}", "--env-manager", "local", "-p", str(port)]
    uri = {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/outputs/mlflow.db"}
    Path("bin").mkdir()
    command = Path("bin", "uvicorn")  # MLflow asks the PATH for it, as an activated venv has it
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m uvicorn "$@"\n')
    command.chmod(0o755)
    uri["PATH"] = f"{command.parent.absolute()}:{os.environ['PATH']}"
    with Path("server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", "serve", *words, "-h", "127.0.0.1"],
            env=clean_environment() | uri,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", server)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"dataframe_split": x.to_dict(orient="split", index=False)}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            served = [row["prediction"] for row in json.load(answer)["predictions"]]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=PATIENCE)
    rows = csv.DictReader(ended.out.splitlines())
    assert served == [float(row["prediction"]) for row in rows]


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    """Until there is an answer; the server's end ends the test."""

    def answers() -> bool:
        try:
            urllib.request.urlopen(address, timeout=PATIENCE).close()
            return True
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, Path("server.log").read_text()
            return False

    eventually(answers)

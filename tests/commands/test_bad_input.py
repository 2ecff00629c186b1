"""Bad input is refused with a sentence and exit code 2, and nothing is created."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers import CLI, process, required

from gdexp import run
from gdexp.errors import ConfigError, StoreError

REFUSED = {
    "lr=abc": "lr: 'abc' is not a finite number > 0. Type for example lr=0.01.",
    "lr=-1": "lr: -1.0 is not a finite number > 0. Type for example lr=0.01.",
    "lr=0": "lr: 0.0 is not a finite number > 0. Type for example lr=0.01.",
    "lr=nan": "lr: nan is not a finite number > 0. Type for example lr=0.01.",
    "lr=inf": "lr: inf is not a finite number > 0. Type for example lr=0.01.",
    "lr=": "lr: '' is not a finite number > 0. Type for example lr=0.01.",
    "lr=true": "lr: true is not a finite number > 0. Type for example lr=0.01.",
    "lr=null": "lr: null is not a finite number > 0. Type for example lr=0.01.",
    "lr": "'lr' has no value. Type for example lr=0.01.",
    "=3": "'=3' cannot be read as key=value, as in lr=0.05.",
    "iters=0": "iters: 0 is not a whole number from 1 to 100000000. Type for example iters=20.",
    "iters=1.5": "iters: 1.5 is not a whole number from 1 to 100000000. Type for example iters=20.",
    "iters=-3": "iters: -3 is not a whole number from 1 to 100000000. Type for example iters=20.",
    "iters=1e3": "iters: 1000.0 is not a whole number from 1 to 100000000. "
    "Did you mean iters=1000?",
    "seed=-1": "seed: -1 is not a whole number from 0 to 4294967295. Type for example seed=0.",
    "dtype=float16": "dtype: 'float16' is not one of float32, float64. "
    "Type for example dtype=float32.",
    "print_every=0": "print_every: 0 is not null or a whole number >= 1.",
    "predict_at=nan": "predict_at: nan is not a finite number. Type for example predict_at=5.0.",
    "lrr=0.1": "lrr: a run has no setting 'lrr'. Did you mean lr?",
    "+lrr=0.1": "lrr: a run has no setting 'lrr'. Did you mean lr?",
    "momentum=0.9": "momentum: a run has no setting 'momentum'. updater.momentum is a setting of "
    "updater=Muon, RMSprop, SGD, manual_momentum, manual_nesterov.",
    "bias=true": "bias: a run has no setting 'bias'. Did you mean predictor.bias?",
    "zebra=1": "zebra: a run has no setting 'zebra'. python -m gdexp --help lists every setting.",
    "stepp=model": "stepp: a run has no setting 'stepp'. Did you mean step?",
    "data.path=a.csv": "data.path: data=tutorial has no setting 'path'. It has: standardize, "
    "standardize_target, validation, batch_size, compress, metrics, x, y, name. data.path is a "
    "setting of data=csv, parquet.",
    "predictor.hidden=8": "predictor.hidden: predictor=manual has no setting 'hidden'. It has: "
    "bias, init. predictor.sizes is a setting of predictor=mlp.",
    "data=csv data.file=a.csv": "data.file: data=csv has no setting 'file'. It has: standardize, "
    "standardize_target, validation, batch_size, compress, metrics, path, target, features, drop, "
    "separator, decimal, thousands, encoding, comment, header, missing, name. Did you mean "
    "data.path?",
    "stop=5": "stop=5: stop has no value of its own. Type one of its settings: stop.tolerance, "
    "stop.watch, stop.patience, stop.restore_best, stop.divergence, stop.every.",
    "checkpoint=true": "checkpoint=true: checkpoint has no value of its own. Type one of its "
    "settings: checkpoint.every.",
    "++updater.momentm=0.9": "updater.momentm: updater=manual has no setting 'momentm'. "
    "It has: lr.",
    "step=optimizer ++updater.momentm=0.9": "updater.momentm: updater=SGD has no setting "
    "'momentm'. It has: lr, momentum, dampening, weight_decay, nesterov, maximize, foreach, "
    "differentiable, fused. Did you mean updater.momentum?",
    "step=optimizer updater.momentum=-1": "updater.momentum: -1 is not a finite number >= 0. "
    "Type for example updater.momentum=0.0.",
    "step=optimizer updater.momentum=x": "updater.momentum: 'x' is not a finite number "
    ">= 0. Type for example updater.momentum=0.0.",
    "step=optimizer updater.nesterov=3": "updater.nesterov: 3 is not true or false. "
    "Type for example updater.nesterov=false.",
    "step=optimizer updater.nesterov=true": "updater.nesterov: true needs momentum > 0 and "
    "dampening = 0. Type for example updater.momentum=0.9.",
    "step=optimizer loss.reduction=none": "loss.reduction: 'none' is not one of mean, sum. "
    "Type for example loss.reduction=mean.",
    "updater.lr=x": "updater.lr: 'x' is not a finite number > 0.",
    "step=model updater.lr=x": "updater.lr: 'x' is not a finite number > 0. "
    "Type for example updater.lr=0.01.",
    "predictor.bias=maybe": "predictor.bias: 'maybe' is not true or false.",
    "predictor.init=tor": "predictor.init: 'tor' is not torch or a finite number. "
    "Did you mean predictor.init=torch?",
    "step=model predictor.init=tor": "predictor.init: 'tor' is not torch or a finite number. "
    "Did you mean predictor.init=torch?",
    "data.x=[1,2]": "data.x has 2 numbers and data.y has 4: give each input one target.",
    "data.x=3": "data.x: 3 is not a list of numbers. Type data.x=[1,2,3].",
    "data.x=[1,2,3,a]": "data.x: 'a' is not a number. Type data.x=[1,2,3].",
    "data.x=[1,2,3,inf]": "data.x: inf is not a finite number.",
    "step=autogradd": "step=autogradd: there is no such option. step is one of: autograd, manual, "
    "model, optimizer. Did you mean step=autograd?",
    "loss=mse": "loss=mse: there is no such option. loss is one of: BCEWithLogitsLoss, "
    "CrossEntropyLoss, HuberLoss, L1Loss, MSELoss, SmoothL1Loss, manual, manual_logistic, "
    "mistakes/NAME. Did you mean loss=MSELoss?",
    "data=nothing": "data=nothing: there is no such option. data is one of: csv, diabetes, "
    "parquet, synthetic, tutorial.",
    "tracking=null": "tracking=null: there is no such option. tracking is one of: mlflow, off.",
    "+step=model": "+step: every run has a step. Type step=model.",
    "~lr": "~lr: it cannot be removed, every run needs it.",
    "~updater": "~updater: updater cannot be removed, every run needs it.",
    "foo.bar=1": "foo.bar: there is no group 'foo'. python -m gdexp --help lists every setting.",
    "predictr.bias=true": "predictr.bias: there is no group 'predictr'. Did you mean predictor? "
    "python -m gdexp --help lists every setting.",
    "step=manual,autograd": "step=manual,autograd names several values. Add -m to run each of "
    "them: python -m gdexp -m step=manual,autograd",
    "-m lr=0.1,-1": "lr: -1 is not a finite number > 0. Type for example lr=0.01.",
    "-m lr=0.1,abc step=manual": "lr: 'abc' is not a finite number > 0. Type for example lr=0.01.",
    "-m step=manual,autogradd": "step=autogradd: there is no such option. step is one of: "
    "autograd, manual, model, optimizer. Did you mean step=autograd?",
    "-m step=manual,optimizer updater.momentum=0.9": "updater.momentum: updater=manual has no "
    "setting 'momentum'. It has: lr. updater.momentum is a setting of updater=Muon, RMSprop, SGD, "
    "manual_momentum, manual_nesterov.",
    "lr=0,1": "lr=0,1 names several values. Add -m to run each of them: python -m gdexp -m lr=0,1 "
    "or, for one number: lr=0.1",
    "iters=1,000": "iters=1,000 names several values. Add -m to run each of them: python -m gdexp "
    "-m iters=1,000 or, for one number: iters=1000",
    "predictor.sizes=8,8": "predictor.sizes=8,8 names several values. Add -m to run each of them: "
    "python -m gdexp -m predictor.sizes=8,8 or, for a list: 'predictor.sizes=[8,8]'",
    "lr=0.1,": "'lr=0.1,' cannot be read as key=value, since a value is missing beside a comma.",
    "data.decimal=,": "'data.decimal=,' cannot be read as key=value, since a comma is typed as a "
    "word: data.decimal=comma.",
    "-m step=optimizer updater.momentum=0.5,-1": "updater.momentum: -1 is not a finite number "
    ">= 0. Type for example updater.momentum=0.0.",
    "tracking.max_points=1": "tracking.max_points: 1 is not a whole number >= 2.",
    "tracking=off tracking.uri=x": "tracking.uri: tracking=off has no setting 'uri'. "
    "It has: enabled.",
    "tracking.uri=foo": "tracking.uri: 'foo' is not a store URI. Type sqlite:///foo for a SQLite "
    "file, postgresql://user@host/name or http://host:5000.",
    "tracking.uri=sqlit:///a.db": "tracking.uri: 'sqlit:///a.db' is not a store URI. Type one like "
    "sqlite:///runs.db, postgresql://user@host/name or http://host:5000. Did you mean sqlite?",
    "tracking.uri=http://127.0.0.1:9": "tracking.uri: http://127.0.0.1:9 does not answer "
    "(Connection refused). Start the server, name another store, or type tracking=off.",
    "tracking.uri=http://127.0.0.1:x": "tracking.uri: http://127.0.0.1 is malformed: after the "
    "host and a colon, a port from 0 to 65535 is expected, and a password ends with @.",
    "tracking.uri=postgresql://me:secret@127.0.0.1:9/runs": "tracking.uri: "
    "postgresql://me@127.0.0.1:9/runs does not answer (Connection refused). Start the "
    "server, name another store, or type tracking=off.",
    "hydra/launcher=submitit_locla": "hydra/launcher=submitit_locla: there is no such option. "
    "hydra/launcher is one of: basic, joblib, submitit_local, submitit_slurm, vectorized. "
    "Did you mean hydra/launcher=submitit_local?",
    "hydra/lancher=joblib": "hydra/lancher: there is no such group. hydra has: env, help, "
    "hydra_help, hydra_logging, job_logging, launcher, output, sweeper. Did you mean "
    "hydra/launcher?",
    "hydra.launcher.engin=joblib": "hydra.launcher.engin: hydra.launcher has no setting 'engin'. "
    "It has: engine, workers, address. Did you mean hydra.launcher.engine?",
    "hydra/sweeper=nothing": "hydra/sweeper=nothing: there is no such option. hydra/sweeper is "
    "one of: basic, grid, optuna.",
    "--bogus": "unrecognized arguments: --bogus. python -m gdexp --help lists what can be typed.",
}


LIKE_OTHERS = (
    *("lr=0", "lr=inf", "lr=null", "lr=true", "iters=-3", "print_every=0", "predict_at=nan"),
    *("+lrr=0.1", "updater.lr=x", "step=model updater.lr=x", "predictor.init=tor", "data.x=3"),
    *("step=optimizer updater.momentum=x", "loss=mse", "tracking=null", "~updater"),
    *("zebra=1", "stepp=model", "predictor.hidden=8", "checkpoint=true", "iters=1,000"),
    *("data=csv data.file=a.csv", "predictor.sizes=8,8", "lr=0.1,"),
)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        pytest.param(*case, id=case[0], marks=[pytest.mark.slow] * (case[0] in LIKE_OTHERS))
        for case in REFUSED.items()
    ],
)
def test_bad_input_is_refused_before_anything_is_created(
    typed: str, sentence: str, workdir: Path, cli: CLI
) -> None:
    ended = cli(*typed.split())
    assert ended.err == f"gdexp: {sentence}\n"
    assert ended.code == 2
    assert ended.out == ""
    assert not any(workdir.iterdir())


@pytest.mark.slow
def test_two_settings_in_one_word(workdir: Path, cli: CLI) -> None:
    apart = "Type each setting as a word of its own:"
    assert cli("lr=0.1 iters=3").err.endswith(f"{apart} lr=0.1 iters=3.\n")
    assert cli("step=model lr=0.1").err.endswith(f"{apart} step=model lr=0.1.\n")


def test_a_config_dir_that_does_not_exist(workdir: Path, cli: CLI) -> None:
    for flags in (["--config-dir", "missing"], ["--config-dir", "missing", "--help"]):
        ended = cli(*flags)
        assert ended.err == (
            f"gdexp: --config-dir: there is no folder {workdir}/missing. Name a folder with "
            "your options in it, as in loss/mine.yaml.\n"
        )
        assert ended.code == 2


@pytest.mark.parametrize("tracking", ["mlflow", "off"])
def test_an_outputs_that_is_no_folder(workdir: Path, cli: CLI, tracking: str) -> None:
    (workdir / "outputs").write_text("mine")
    ended = cli(f"tracking={tracking}")
    assert ended.err == (
        f"gdexp: outputs: {workdir}/outputs is in the way: it is not a folder. Move it.\n"
    )
    assert (ended.code, (workdir / "outputs").read_text()) == (2, "mine")


def test_an_outputs_that_may_not_be_written(workdir: Path) -> None:
    command = [sys.executable, "-m", "gdexp", "iters=1"]
    if os.getuid() == 0:  # may write everywhere, unless the kernel is told otherwise
        setpriv = shutil.which("setpriv") or required("setpriv (apt-get install util-linux)")
        command = [setpriv, "--bounding-set=-dac_override", *command]
    workdir.chmod(0o555)
    done = subprocess.run(command, capture_output=True, text=True)
    workdir.chmod(0o755)
    assert f"the folder {workdir} cannot be written. Change its permissions" in done.stderr
    assert (done.returncode, done.stdout) == (2, "")
    assert not any(workdir.iterdir())


def test_a_store_that_is_no_store_is_left_as_it_is(workdir: Path, cli: CLI) -> None:
    (workdir / "outputs").mkdir()
    (workdir / "outputs" / "mlflow.db").write_text("my diary" * 1000)
    ended = cli()
    assert "mlflow.db cannot be opened as an MLflow store" in ended.err
    assert "file is not a database" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert ended.code == 2
    assert (workdir / "outputs" / "mlflow.db").read_text() == "my diary" * 1000
    assert not (workdir / "outputs" / "runs").exists()


@pytest.mark.slow
def test_a_server_that_hangs_is_waited_for_once_and_less_than_ten_seconds(
    workdir: Path, cli: CLI
) -> None:
    from gdexp.tracking import location

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ended = cli(f"tracking.uri={address}")
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert location.PATIENCE < 10
    assert ended.err == (
        f"gdexp: tracking.uri: {address} does not answer (timed out). Start the server, name "
        "another store, or type tracking=off.\n"
    )
    assert (ended.code, list(workdir.iterdir())) == (2, [])


def test_something_that_is_no_http_server(workdir: Path, cli: CLI) -> None:
    with socket.socket() as odd:
        odd.bind(("127.0.0.1", 0))
        odd.listen()

        def babble() -> None:
            connection, _ = odd.accept()
            connection.recv(1000)
            connection.sendall(b"220 hello\r\n\r\n")
            connection.close()

        threading.Thread(target=babble, daemon=True).start()
        ended = cli(f"tracking.uri=http://127.0.0.1:{odd.getsockname()[1]}")
    assert "does not answer (not an HTTP server" in ended.err
    assert ended.code == 2


def test_a_users_option_that_cannot_be_imported(workdir: Path, cli: CLI) -> None:
    (workdir / "mine" / "loss").mkdir(parents=True)
    (workdir / "mine" / "loss" / "odd.yaml").write_text("_target_: no_such_module.Loss\n")
    ended = cli("--config-dir", "mine", "step=autograd", "loss=odd")
    assert ended.err.startswith("gdexp: loss: no_such_module.Loss cannot be imported: ")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert not (workdir / "outputs").exists()


def test_a_users_option_that_is_not_where_it_is_read(workdir: Path, cli: CLI) -> None:
    for folder, name in (("loss", "odd.yml"), ("model", "mine.yaml")):
        (workdir / "mine" / folder).mkdir(parents=True)
        (workdir / "mine" / folder / name).write_text("_target_: odd.Odd\n")
    assert cli("--config-dir", "mine", "loss=odd").err == (
        f"gdexp: loss=odd: {workdir}/mine/loss/odd.yml is not read. Rename it to odd.yaml.\n"
    )
    assert cli("--config-dir", "mine", "model=mine").err == (
        "gdexp: model: a run has no choice 'model'. A folder of options is named after one of: "
        "step, data, predictor, gradient, loss, updater, scheduler, experiment, tracking, sweep. "
        "Did you mean predictor?\n"
    )
    assert not (workdir / "outputs").exists()


@pytest.mark.parametrize("key", ['l"r', "1e5r", "lr..x", "l\x00r", "~lr"])
def test_a_table_of_jobs_that_names_no_setting(workdir: Path, cli: CLI, key: str) -> None:
    (workdir / "jobs.csv").write_text(f"{key},seed\n0.1,2\n".replace('"', '"""', 1))
    ended = cli("-m", "sweep=csv", "sweep.path=jobs.csv")
    assert re.fullmatch(
        r"gdexp: sweep\.path: jobs\.csv.*(no setting|cannot be read).*\n", ended.err
    )
    assert (ended.code, [path.name for path in workdir.iterdir()]) == (2, ["jobs.csv"])


def test_in_python_bad_input_is_an_exception_of_ours(workdir: Path) -> None:
    with pytest.raises(ConfigError, match=r"lr: -1\.0 is not a finite number > 0"):
        run("lr=-1")
    with pytest.raises(ConfigError, match="Did you mean lr"):
        run("+lrr=1")
    with pytest.raises(StoreError, match="'nowhere' is not a store URI"):
        run("tracking.uri=nowhere")
    assert not any(workdir.iterdir())


@pytest.mark.slow
def test_as_a_process_too(workdir: Path) -> None:
    ended = process("lr=-1", cwd=workdir)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"gdexp: {REFUSED['lr=-1']}\n"

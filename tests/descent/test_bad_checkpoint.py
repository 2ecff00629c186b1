"""A checkpoint that cannot be continued is refused in a sentence, and runs no code."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, newest_checkpoints

from gdexp import run
from gdexp.descent.checkpoint import pack, unpack

MADE = ("data=synthetic", "data.rows=40", "data.features=3", "predictor.bias=true")
SMALL = ("tracking=off", "lr=0.01", "step=optimizer", *MADE, "data.validation=0.2")


def refuse(cli: CLI, *typed: str) -> str:
    before = sorted(Path().rglob("*"))
    ended = cli(*typed)
    assert (ended.code, ended.out) == (2, "")
    assert sorted(Path().rglob("*")) == before
    assert ended.err.startswith("gdexp: ")
    return ended.err.removeprefix("gdexp: ").rstrip("\n")


def test_a_checkpoint_that_does_not_fit_is_refused(workdir: Path, cli: CLI) -> None:
    run(*SMALL, "iters=5", "checkpoint.every=5")
    path = workdir / newest_checkpoints() / "00000005.npz"
    name = f"continue_from={path}"
    of_another = f"continue_from: the checkpoint {path} is of another configuration: "
    assert refuse(cli, *SMALL, "iters=9", "lr=0.02", name) == (
        f"{of_another}lr: 0.01 there, 0.02 here; updater.lr: 0.01 there, 0.02 here. "
        "Type the same settings."
    )
    assert refuse(cli, *SMALL, "iters=9", "data.noise=0.2", name) == (
        f"{of_another}data.noise: 0.1 there, 0.2 here. Type the same settings."
    )
    assert refuse(cli, *SMALL, "iters=5", name) == (
        "iters: 5 epochs are done already, for the checkpoint is of epoch 5. "
        "Type for example iters=10."
    )


def test_a_checkpoint_of_other_data_is_refused(workdir: Path, cli: CLI) -> None:
    Path("t.csv").write_text("a,y\n1,2\n2,4\n3,7\n")
    typed = ("tracking=off", "data=csv", "data.path=t.csv", "data.target=y")
    run(*typed, "iters=2", "checkpoint.every=2")
    Path("t.csv").write_text("a,y\n1,2\n2,4\n3,8\n")
    os.utime("t.csv", ns=(1, 1))
    path = workdir / newest_checkpoints() / "00000002.npz"
    assert refuse(cli, *typed, "iters=4", f"continue_from={path}") == (
        f"continue_from: the data have changed since {path} was written."
    )


class Runs:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("ran"),))


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return file.getvalue()


def array(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(value), allow_pickle=True)
    return file.getvalue()


GARBAGE = {
    "nothing": b"",
    "text": b"epoch,loss\n1,2\n",
    "pickle": pickle.dumps(Runs()),
    "array": array([1.0]),
    "archive": archive(),
    "object": archive(json=array(Runs())),
    "no json": archive(json=array("{")),
    "a number": archive(json=array("3")),
    "a list": archive(json=array('{"list": [1]}')),
    "cut": pack({"epoch": 1, "table": np.ones((3, 100))})[:-40],
    "other keys": pack({"epoch": 1}),
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=list(GARBAGE))
def test_a_file_that_is_no_checkpoint_is_refused(workdir: Path, cli: CLI, content: bytes) -> None:
    Path("odd.npz").write_bytes(content)
    sentence = f"continue_from: {workdir}/odd.npz is no checkpoint of gdexp."
    assert refuse(cli, *SMALL, "continue_from=odd.npz") == sentence
    assert not Path("ran").exists()


def test_a_pickle_in_an_array_is_not_loaded(workdir: Path) -> None:
    tree = {"dict": [["state", {"array": "a0"}]]}
    content = archive(json=array(json.dumps(tree)), a0=array(Runs()))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded when allow_pickle=False"):
        unpack(content)
    assert not Path("ran").exists()


def test_what_is_no_checkpoint_at_all(workdir: Path, cli: CLI) -> None:
    Path("empty").mkdir()
    assert refuse(cli, *SMALL, "continue_from=empty") == (
        f"continue_from: the folder {workdir}/empty has no checkpoint, *.npz, in it."
    )
    assert refuse(cli, *SMALL, "continue_from=nowhere") == (
        f"continue_from: there is no file {workdir}/nowhere, and with tracking=off no run to look "
        "for."
    )


def test_a_run_id_that_is_unknown_or_has_no_checkpoint(store: Path, cli: CLI) -> None:
    made = run("iters=2")
    assert refuse(cli, f"continue_from={made.run_id}") == (
        f"continue_from: run {made.run_id} has no checkpoint. Runs with checkpoint.every have."
    )
    assert refuse(cli, "continue_from=abc") == (
        f"continue_from: 'abc' is no file here, and no run in sqlite:///{store}/outputs/mlflow.db. "
        "python -m gdexp compare --all lists the runs."
    )


def test_an_updater_that_keeps_its_state_to_itself(
    workdir: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(workdir))
    Path("secretive.py").write_text(
        "class Updater:\n"
        "    def __call__(self, parameters, gradients):\n"
        "        for name, gradient in gradients.items():\n"
        "            parameters[name] -= 0.01 * gradient\n"
    )
    Path("mine/updater").mkdir(parents=True)
    Path("mine/updater/secretive.yaml").write_text("_target_: secretive.Updater\n")
    typed = ("--config-dir=mine", "tracking=off", "updater=secretive")
    for step in ("manual", "autograd"):
        assert cli(*typed, f"step={step}", "hydra.run.dir=.").code == 0
        assert refuse(cli, *typed, f"step={step}", "checkpoint.every=5") == (
            "checkpoint.every: updater=secretive has no state() and load(), so a run could not go "
            "on from where it was. Give it both, or type checkpoint.every=null."
        )

"""A checkpoint that cannot be continued is refused in a sentence, and runs no code."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, newest_checkpoints, refused

from gdexp import run
from gdexp.descent.archive import pack, unpack

MADE = ("data=synthetic", "data.rows=40", "data.features=3", "predictor.bias=true")
SMALL = ("tracking=off", "lr=0.01", "step=optimizer", *MADE, "data.validation=0.2")


def test_a_checkpoint_that_does_not_fit_is_refused(workdir: Path, cli: CLI) -> None:
    run(*SMALL, "iters=5", "checkpoint.every=5")
    path = workdir / newest_checkpoints() / "00000005.npz"
    name = f"continue_from={path}"
    other = f"continue_from: {path} has other settings: "
    assert refused(cli, *SMALL, "iters=9", "lr=0.02", name) == (
        f"{other}lr is 0.01 in the checkpoint and 0.02 here. "
        "Leave them out: they are taken from the run."
    )
    assert refused(cli, *SMALL, "iters=9", "data.noise=0.2", name) == (
        f"{other}data.noise is 0.1 in the checkpoint and 0.2 here. "
        "Leave them out: they are taken from the run."
    )
    assert refused(cli, *SMALL, "iters=5", name) == (
        "iters: the checkpoint is already at epoch 5, so iters must be more than that, not 5. "
        "Type for example iters=10."
    )


def test_a_checkpoint_of_other_data_is_refused(workdir: Path, cli: CLI) -> None:
    Path("t.csv").write_text("a,y\n1,2\n2,4\n3,7\n")
    typed = ("tracking=off", "data=csv", "data.path=t.csv", "data.target=y")
    run(*typed, "iters=2", "checkpoint.every=2")
    Path("t.csv").write_text("a,y\n1,2\n2,4\n3,8\n")
    os.utime("t.csv", ns=(1, 1))
    path = workdir / newest_checkpoints() / "00000002.npz"
    assert refused(cli, *typed, "iters=4", f"continue_from={path}") == (
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


NO_ZIP = "it is not a whole .npz archive (File is not a zip file)"
GARBAGE = {
    "nothing": (b"", NO_ZIP),
    "text": (b"epoch,loss\n1,2\n", NO_ZIP),
    "pickle": (pickle.dumps(Runs()), NO_ZIP),
    "array": (array([1.0]), NO_ZIP),
    "archive": (archive(), "it has no member 'json'"),
    "object": (
        archive(json=array(Runs())),
        "its member 'json.npy' holds neither numbers nor text",
    ),
    "no json": (
        archive(json=array("{")),
        "its JSON cannot be read (Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1))",
    ),
    "a number": (archive(json=array("3")), "it is not a mapping"),
    "a list": (archive(json=array('{"list": [1]}')), "it is not a mapping"),
    "cut": (pack({"epoch": 1, "table": np.ones((3, 100))})[:-40], NO_ZIP),
    "other keys": (pack({"epoch": 1}), "it has no 'table'"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_a_file_that_is_no_checkpoint_is_refused(workdir: Path, cli: CLI, name: str) -> None:
    content, reason = GARBAGE[name]
    Path("odd.npz").write_bytes(content)
    sentence = f"continue_from: {workdir}/odd.npz is not a gdexp checkpoint: {reason}."
    assert refused(cli, *SMALL, "continue_from=odd.npz") == sentence
    assert not Path("ran").exists()


DAMAGE = {
    "epoch": (lambda kept: kept | {"epoch": "5"}, "its epoch is '5'"),
    "table": (lambda kept: kept | {"table": 1.0}, "its table has shape (), not (10, 5)"),
    "one curve": (
        lambda kept: kept | {"table": kept["table"][:1]},
        "its table has shape (1, 5), not (10, 5)",
    ),
    "text": (
        lambda kept: kept | {"table": np.full((10, 5), "a")},
        "its table does not hold finite numbers",
    ),
    "no updater": (
        lambda kept: kept | {"state": {"predictor": kept["state"]["predictor"]}},
        "it has no state of the updater",
    ),
    "state": (lambda kept: kept | {"state": 3}, "its state is not a mapping"),
    "predictor": (
        lambda kept: kept | {"state": kept["state"] | {"predictor": {"v": 1.0}}},
        "its parameters are v, not b, w",
    ),
    "long": (
        lambda kept: kept | {"state": kept["state"] | {"predictor": {"w": np.ones(9), "b": 0.5}}},
        "w has shape (9,)",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_checkpoint_whose_state_cannot_be_loaded_is_refused(
    workdir: Path, cli: CLI, name: str
) -> None:
    change, reason = DAMAGE[name]
    run(*SMALL, "iters=5", "checkpoint.every=5")
    path = workdir / newest_checkpoints() / "00000005.npz"
    path.write_bytes(pack(change(unpack(path.read_bytes()))))
    assert refused(cli, *SMALL, "iters=9", f"continue_from={path}") == (
        f"continue_from: {path} is damaged: {reason}."
    )


def test_a_pickle_in_an_array_is_not_loaded(workdir: Path) -> None:
    tree = {"dict": [["state", {"array": "a0"}]]}
    content = archive(json=array(json.dumps(tree)), a0=array(Runs()))
    with pytest.raises(ValueError, match=r"its member 'a0\.npy' holds neither numbers nor text"):
        unpack(content)
    assert not Path("ran").exists()


def test_what_is_no_checkpoint_at_all(workdir: Path, cli: CLI) -> None:
    Path("empty").mkdir()
    assert refused(cli, *SMALL, "continue_from=empty") == (
        f"continue_from: the folder {workdir}/empty contains no checkpoint, *.npz."
    )
    assert refused(cli, *SMALL, "continue_from=nowhere") == (
        f"continue_from: there is no file {workdir}/nowhere, and tracking=off rules out recorded "
        "runs."
    )


def test_a_run_id_that_is_unknown_or_has_no_checkpoint(store: Path, cli: CLI) -> None:
    made = run("iters=2")
    assert refused(cli, f"continue_from={made.run_id}") == (
        f"continue_from: run {made.run_id} has no checkpoint. Only runs with checkpoint.every have."
    )
    assert refused(cli, "continue_from=xyz") == (
        "continue_from: 'xyz' is neither a file nor a run in "
        f"sqlite:///{store}/outputs/mlflow.db. "
        "python -m gdexp compare --all lists the runs."
    )


def test_the_beginning_of_a_run_id_names_the_run(store: Path, cli: CLI) -> None:
    made = run("iters=2", "checkpoint.every=1")
    assert made.run_id is not None
    ended = cli(f"continue_from={made.run_id[:8]}", "iters=3")
    assert f"continues checkpoints/00000002.npz of run {made.run_id} at epoch 3" in ended.err
    ids = [str(run("iters=1").run_id) for _ in range(17)]  # of 17, two begin with the same digit
    (shared, _), *_ = Counter(run_id[0] for run_id in ids).most_common(1)
    assert refused(cli, f"continue_from={shared}") == (
        f"continue_from: the ids of several runs start with '{shared}'. Type more characters."
    )


def test_a_setting_of_the_run_that_this_combination_lacks(workdir: Path, cli: CLI) -> None:
    assert refused(cli, "updater.momentum=0.9", "continue_from=ckpt", "iters=9") == (
        "updater.momentum: updater=manual has no setting 'momentum'. It has: lr. updater.momentum "
        "is a setting of updater=Muon, RMSprop, SGD, manual_momentum, manual_nesterov. Leave it "
        "out: with continue_from, it is taken from the run."
    )


@pytest.mark.slow
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
        assert cli(*typed, f"step={step}", f"hydra.run.dir={step}").code == 0
        assert refused(cli, *typed, f"step={step}", "checkpoint.every=5") == (
            "checkpoint.every: updater=secretive has no state() and load(), so its runs cannot be "
            "continued. Give it both, or type checkpoint.every=null."
        )

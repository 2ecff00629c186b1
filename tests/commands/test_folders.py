"""Any folder to start in, and relative paths that start from it, also with hydra.job.chdir=true."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from helpers import CLI, process, python

from gdexp import run
from gdexp.errors import StoreError
from gdexp.tracking.location import resolve, sqlite_path, sqlite_uri

NAMES = ["what?x=1", "50 %", "a%20b", "am&p #1", "Größe", "it's", 'qu"ote', "[1](2){3}", "a@b:c+d"]
NAMES += ["new\nline", "back\\slash", "~t;,*", " "]


@pytest.mark.parametrize("name", NAMES)
def test_a_store_in_any_folder_is_the_file_that_mlflow_opens(
    name: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.engine import make_url

    (workdir / name).mkdir()
    monkeypatch.chdir(workdir / name)
    uri, file = resolve(None), workdir / name / "outputs" / "mlflow.db"
    assert make_url(uri).database == str(file)
    assert sqlite_path(uri) == file
    assert resolve(uri) == uri  # as one pastes it from the terminal
    assert "\n" not in uri


@pytest.mark.parametrize("name", ["what?x=1 50 %", "new\nline #1"])
def test_a_run_in_an_odd_folder_stays_in_it(
    name: str, workdir: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = workdir / name / "outputs"
    outputs.mkdir(parents=True)
    shutil.copy(migrated, outputs / "mlflow.db")
    monkeypatch.chdir(workdir / name)
    result = run("iters=1", "tracking.experiment=new")
    assert len(list((outputs / "artifacts" / str(result.run_id) / "artifacts").iterdir())) == 3
    assert [path.name for path in workdir.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_typed_uri_is_read_as_mlflow_reads_it(name: str, workdir: Path) -> None:
    from sqlalchemy.engine import make_url

    typed = f"sqlite:///{name.replace('%', '%25').replace('?', '%3F')}/runs.db"
    assert sqlite_path(resolve(typed)) == workdir / str(make_url(typed).database)


def test_options_of_a_sqlite_uri_are_refused(workdir: Path) -> None:
    with pytest.raises(StoreError) as refused:
        resolve("sqlite:///what?x=1/runs.db")
    assert str(refused.value) == (
        "tracking.uri: 'sqlite:///what?x=1/runs.db' has options after ?, which are not supported. "
        "Leave them out; if the ? belongs to the path, type sqlite:///what%3Fx=1/runs.db"
    )
    assert resolve("sqlite:///what%3Fx=1/runs.db") == sqlite_uri(workdir / "what?x=1" / "runs.db")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"bad\xff", r"bad\xff{}is not UTF-8 text"),
        (b"d${lr}", "d${{lr}}{}contains ${{, which Hydra would replace"),
    ],
)
@pytest.mark.parametrize(
    "words",
    [["tracking=off"], pytest.param(["-m", "lr=0.1,0.2"], marks=pytest.mark.slow)],
)
def test_a_folder_that_cannot_be_used_is_refused(
    name: bytes, why: str, words: list[str], workdir: Path, cli: CLI
) -> None:
    folder = os.fsdecode(name)
    Path(folder).mkdir()
    os.chdir(folder)
    ended = cli(*words)
    assert (ended.code, ended.out, os.listdir(".")) == (2, "", [])
    kind = "sweeps" if "-m" in words else "runs"
    before, _, after = why.partition("{}")
    assert ended.err.startswith(f"gdexp: outputs: the name of the folder {workdir}/")
    assert before.format() in ended.err
    assert after.format() in ended.err
    assert f"/outputs/{kind}/" in ended.err
    assert ended.err.endswith(". Rename it, or start from another folder.\n")
    os.chdir(workdir)
    assert os.listdir(".") == [folder]


DATA = ["data=csv", "data.path=t.csv", "data.target=y", "iters=3", "hydra.job.chdir=true"]


@pytest.fixture
def table(workdir: Path) -> Path:
    """A table in the working folder."""
    (workdir / "t.csv").write_text("x,y\n1,2\n2,4\n3,6.5\n")
    return workdir


def test_a_run_in_a_folder_of_its_own_finds_what_is_typed(
    table: Path, migrated: Path, cli: CLI
) -> None:
    shutil.copy(migrated, table / "my.db")
    words = [*DATA, "checkpoint.every=1", "tracking.uri=sqlite:///my.db", "tracking.experiment=new"]
    first = cli(*words)
    assert first.code == 0, first.err
    assert f"of sqlite:///{table}/my.db" in first.err
    assert {path.name for path in table.iterdir()} == {"my.db", "outputs", "t.csv"}
    assert sorted(path.name for path in (table / "outputs").iterdir()) == ["artifacts", "runs"]
    assert os.getcwd() == str(table)


def test_checkpoints_are_kept_and_found_below_the_first_folder(table: Path, cli: CLI) -> None:
    words = [*DATA, "checkpoint.every=1", "tracking=off"]
    assert cli(*words).code == 0
    (folder,) = (table / "outputs" / "checkpoints").iterdir()
    ended = cli(*words, "iters=4", f"continue_from={folder.relative_to(table)}")
    assert ended.code == 0, ended.err
    assert "epoch 4" in ended.out


@pytest.mark.parametrize("launcher", ["vectorized", pytest.param("basic", marks=pytest.mark.slow)])
def test_a_sweep_in_folders_of_its_own(launcher: str, table: Path, cli: CLI) -> None:
    ended = cli(
        *("-m", *DATA, "checkpoint.every=3", "tracking=off", "lr=0.001,0.002"),
        *(f"hydra/launcher={launcher}", "hydra.sweep.dir=here"),
    )
    assert (ended.code, ended.err.count(": completed,")) == (0, 2), ended.err
    assert len(list((table / "outputs" / "checkpoints").iterdir())) == 2
    assert {path.name for path in (table / "here").iterdir()} >= {"0", "1"}
    assert not list((table / "here").rglob("*.npz"))


@pytest.mark.slow
def test_every_command_in_an_odd_folder(
    tmp_path: Path, environment: None, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "what?x=1 100%3F Größe's [1]"
    folder.mkdir()
    (folder / "t.csv").write_text("x,y\n1.5,2\n2.5,4\n3.5,6.5\n")
    words = ["step=model", "data=csv", "data.path=t.csv", "data.target=y", "checkpoint.every=1"]
    first = process(*words, "iters=2", "tracking.log_model=true", cwd=folder)
    assert first.code == 0, first.err
    run_id = first.err.partition("recorded as run ")[2].split()[0]
    monkeypatch.chdir(folder)
    assert cli(*words, "iters=3", f"continue_from={run_id}").code == 0
    predicted = cli("predict", run_id, "t.csv")
    assert (predicted.code, predicted.out.splitlines()[0]) == (0, "x,y,prediction")
    assert cli("-m", "lr=0.1,0.2").code == 0
    assert cli("compare").out.count("diverged") == 2
    code = (
        "import mlflow, pandas; mlflow.set_tracking_uri('sqlite:///outputs/mlflow.db')\n"
        f"model = mlflow.pyfunc.load_model('runs:/{run_id}/model')\n"
        "print(len(model.predict(pandas.DataFrame({'x': [1.5]}))))"
    )
    assert python("-W", "ignore", "-c", code, cwd=folder).out == "1\n"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]

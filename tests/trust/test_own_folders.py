"""Two runs never share a folder, and nothing of the user's is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CLI, PATIENCE, clean_environment

from gdexp import sweep
from gdexp.errors import ConfigError
from gdexp.sweep import folders

OFF = ("tracking=off", "iters=1")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_of_another_run(workdir: Path, cli: CLI) -> None:
    assert cli(*OFF, "hydra.run.dir=mine").code == 0
    before = contents(workdir)
    ended = cli(*OFF, "lr=0.02", "hydra.run.dir=mine")
    assert (ended.code, ended.out, ended.err) == (
        2,
        "",
        f"gdexp: hydra.run.dir: {workdir}/mine has the files of a run already, in .hydra. Name "
        "another folder.\n",
    )
    assert contents(workdir) == before
    assert cli(*OFF, "hydra.run.dir=mine", "hydra.output_subdir=second").code == 0
    assert cli(*OFF, "hydra.run.dir=mine", "hydra.output_subdir=null").code == 0
    assert before.items() <= contents(workdir).items()


def test_only_one_process_gets_a_folder(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = workdir / "mine" / ".hydra"
    folders.check_unused(files, "hydra.run.dir")
    folders.claim(files, "hydra.run.dir")
    with pytest.raises(ConfigError, match=r"mine has the files of a run already, in \.hydra"):
        folders.claim(files, "hydra.run.dir")


@pytest.mark.parametrize("sweeper", ["grid", "basic"])
def test_the_folder_of_another_sweep(sweeper: str, workdir: Path, cli: CLI) -> None:
    typed = ("-m", *OFF, f"hydra/sweeper={sweeper}", "hydra.sweep.dir=mine")
    assert cli(*typed, "hydra/launcher=basic", "lr=0.01,0.02").code == 0
    before = contents(workdir)
    ended = cli(*typed, "hydra/launcher=basic", "lr=0.03,0.04")
    assert (ended.code, ended.out, ended.err) == (
        2,
        "",
        f"gdexp: hydra.sweep.dir: {workdir}/mine has the files of a sweep already. Name another "
        "folder.\n",
    )
    with pytest.raises(ConfigError, match="mine has the files of a sweep already"):
        sweep("hydra.sweep.dir=mine", lr=[0.03, 0.04], tracking="off")
    assert contents(workdir) == before


def test_one_folder_for_all_jobs(workdir: Path, cli: CLI) -> None:
    words = ("-m", *OFF, "lr=0.01,0.02", "hydra/launcher=basic", "hydra.sweep.dir=mine")
    ended = cli(*words, "hydra.sweep.subdir=same")
    assert (ended.code, ended.out, ended.err) == (
        2,
        "",
        "gdexp: hydra.sweep.subdir=same: all jobs would write to one folder. Type for example "
        "'hydra.sweep.subdir=job-${hydra.job.num}'.\n",
    )
    assert not list(workdir.iterdir())
    assert cli(*words, "hydra.sweep.subdir=job-${hydra.job.num}").code == 0
    assert {"job-0", "job-1"} <= {path.name for path in Path("mine").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("-m", "lr=0.01,0.02", "hydra/launcher=basic")])
def test_processes_that_want_one_folder_at_once(words: tuple[str, ...], workdir: Path) -> None:
    setting = f"hydra.{'sweep' if words else 'run'}.dir=mine"
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "gdexp", *OFF, setting, f"seed={seed}", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        for seed in range(4)
    ]
    errors = [one.communicate(timeout=PATIENCE)[1] for one in started]
    codes = [one.returncode for one in started]
    assert sorted(codes) == [0, 2, 2, 2], errors
    (seed,) = (seed for seed, code in enumerate(codes) if code == 0)
    kept = [path.read_text() for path in Path("mine").rglob("overrides.yaml")]
    assert len(kept) == (2 if words else 1)
    assert all(f"seed={seed}" in text for text in kept)


def test_a_file_in_place_of_the_outputs(workdir: Path, cli: CLI) -> None:
    Path("outputs").write_text("mine")
    for words in (("iters=1",), ("-m", "iters=1"), ("iters=1", "tracking=off"), ("compare",)):
        ended = cli(*words)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.count("\n") == 1
    assert Path("outputs").read_text() == "mine"


def test_predictions_overwrite_nothing(store: Path, cli: CLI) -> None:
    Path("t.csv").write_text("x\n1\n")
    (run_id, *_) = cli("compare", "--csv").out.splitlines()[1].split(",")
    for name in ("t.csv", "link.csv"):
        Path("link.csv").unlink(missing_ok=True)
        Path("link.csv").symlink_to("nowhere.csv")
        ended = cli("predict", run_id, "t.csv", "--out", name)
        assert ended.code == 2
        assert f"{name} " in ended.err
    assert Path("t.csv").read_text() == "x\n1\n"
    assert not Path("nowhere.csv").exists()

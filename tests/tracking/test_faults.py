"""The disk is full, the store vanishes or is overwritten: a sentence, and no false claim."""

from __future__ import annotations

import contextlib
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers import CLI, PATIENCE, clean_environment, eventually, process
from left_helpers import left_in, new_store

from gdexp.errors import WriteError
from gdexp.tracking import artifacts, recorder, spool
from gdexp.tracking.connect import connect

SMALL = 3 * 2**20
SWEEP = ("-m", "lr=0.001,0.002,0.003,0.004,0.005,0.006", "iters=6000", "tracking.max_points=6000")
Free = Callable[[], None]


@pytest.fixture
def small_disk(environment: None, migrated: Path, tmp_path: Path) -> Iterator[tuple[Path, Free]]:
    """A folder on a disk of 3 MB with a store, and what makes the disk large."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "gdexp", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        new_store(folder, migrated)
        enlarge = ["mount", "-o", "remount,size=500m", str(folder)]
        yield folder, lambda: bool(subprocess.run(enlarge, check=True)) and None
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 1.5 MB, for this process and those that it starts."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL // 2, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def assert_truthful(folder: Path) -> int:
    """Every FINISHED run has its outcome, points and trajectory; how many there are."""
    finished = [run for run in left_in(folder) if run.status == "FINISHED" and run.kind == "run"]
    for run in finished:
        assert run.tags["gdexp.outcome"] == "completed"
        assert run.steps == list(range(1, 6001))
        assert "trajectory.parquet" in run.files
    recorded = folder / "outputs" / "artifacts"
    for path in recorded.glob("*/artifacts/trajectory.parquet"):
        assert pq.read_table(path).num_rows == 6000
    return len(finished)


def check_resumed(folder: Path, finished: int, *words: str) -> None:
    """With space again, the sweep runs what is missing, and all of it is there."""
    again = process(*SWEEP, *words, "sweep.resume=last", cwd=folder)
    assert again.code == 0, again.err
    told = re.search(r"(\d) finished, (\d) to run", again.err)
    assert told is not None, again.err
    assert sum(map(int, told.groups())) == 6
    assert int(told[1]) >= finished  # runs in the spool have been delivered meanwhile
    assert assert_truthful(folder) == 6
    assert not list((folder / "outputs" / "spool").glob("*.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["vectorized", "basic"])
def test_a_sweep_that_fills_the_disk_is_resumed(
    launcher: str, small_disk: tuple[Path, Free]
) -> None:
    folder, free = small_disk
    words = (f"hydra/launcher={launcher}",) if launcher == "basic" else ()
    ended = process(*SWEEP, *words, cwd=folder)
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert "cannot be written" in ended.err
    assert "database or disk is full" in ended.err or "No space left on device" in ended.err
    finished = assert_truthful(folder)
    assert finished < 6
    free()
    check_resumed(folder, finished, *words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kilobytes", "code"),
    [(0, 2), (8, 2), (40, 1), (120, 1), (400, 1)],  # 2: the store could not even be opened
)
def test_a_run_that_fills_the_disk(
    kilobytes: int, code: int, small_disk: tuple[Path, Free]
) -> None:
    folder, _ = small_disk
    free = shutil.disk_usage(folder).free
    (folder / "ballast").write_bytes(b"\1" * max(0, free - 1024 * kilobytes))
    ended = process("iters=6000", "lr=0.001", "tracking.max_points=6000", cwd=folder)
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith("gdexp: ")
    assert assert_truthful(folder) == 0


@pytest.mark.slow
def test_a_sweep_whose_files_may_not_grow_is_resumed(
    environment: None, tmp_path: Path, migrated: Path
) -> None:
    store = new_store(tmp_path / "new", migrated)
    with small_files():
        ended = process(*SWEEP, cwd=store)
    assert ended.code in (0, 1), ended.err  # 0: all runs that the store lacks are in the spool
    assert "Traceback" not in ended.err
    assert "cannot be written" in ended.err
    finished = assert_truthful(store)
    check_resumed(store, finished)


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_that_is_not_synced_is_not_reported(
    store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = left_in(store)
    monkeypatch.setattr(artifacts, "sync", full)
    monkeypatch.setattr(spool, "sync", full)
    ended = cli("iters=5", "tracking.experiment=mine")
    assert ended.code == 1
    assert ended.err.endswith(
        "mlflow.db: [Errno 28] No space left on device, and outputs/spool cannot be written "
        "either: No space left on device.\n"
    )
    assert left_in(store) == before
    assert not any((store / "outputs" / "artifacts").iterdir())


def test_a_run_whose_end_cannot_be_written_is_failed(
    store: Path, cli: CLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "LASTING", 0)
    write = artifacts.write_files

    def late(folders: dict[Path, dict[str, bytes]]) -> None:
        if any("trajectory.parquet" in files for files in folders.values()):
            full()
        write(folders)

    monkeypatch.setattr(artifacts, "write_files", late)
    monkeypatch.setattr(spool, "sync", full)
    ended = cli("iters=5")
    assert ended.code == 1
    assert "No space left on device" in ended.err
    run = left_in(store)[-1]
    assert (run.status, run.tags["gdexp.outcome"]) == ("FAILED", "failed")
    assert "gdexp.process" not in run.tags


DAMAGES: dict[str, Callable[[Path], object]] = {
    "vanishes": Path.unlink,
    "is garbage": lambda path: path.write_bytes(b"not a database at all " * 50_000),
    "is cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "is empty": lambda path: path.write_bytes(b""),
    "is a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_store_that_is_damaged_in_the_middle_of_a_run(
    damage: str, mine: tuple[str, ...], store: Path
) -> None:
    (store / "wait").touch()
    running = subprocess.Popen(
        [sys.executable, "-m", "gdexp", *mine, "loss.waits=true", "iters=150"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=store,
        env=clean_environment(),
    )
    eventually((store / "waiting").exists)
    DAMAGES[damage](store / "outputs" / "mlflow.db")
    (store / "wait").unlink()
    _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    assert "Traceback" not in err
    assert err.startswith("the store cannot be written (")
    assert err.splitlines()[-1].startswith("kept in outputs/spool as run ")
    assert "recorded as run" not in err


def test_a_store_that_others_hold_for_long(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tracking_helpers import finished

    monkeypatch.setattr("gdexp.tracking.database.PATIENCE", 0.1)
    opened = connect({})
    with contextlib.closing(sqlite3.connect(store / "outputs" / "mlflow.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WriteError, match=r"^A run cannot .*: database is locked\.$"):
            opened.write([finished()])
    opened.write([finished()])
    assert len(opened.runs()) == 2

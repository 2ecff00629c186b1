"""What tests import by name: commands as processes, the tree of processes, the store's records."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pytest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CHECKOUT = Path(__file__).resolve().parent.parent
CONF = CHECKOUT / "conf"
# Each of the tests' processes computes with one thread: on tables this small, others only wait. It
# is read when NumPy and torch are imported, and the commands that tests start do without it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
PATIENCE = float(os.environ.get("GDEXP_TEST_PATIENCE", "1200"))  # seconds; ends a hang, only


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


CLI = Callable[..., Ended]


def required(what: str) -> NoReturn:
    """Skip for want of a program, or fail where everything is said to be there."""
    if os.environ.get("GDEXP_REQUIRE_ALL") == "1":
        pytest.fail(f"{what} is missing, and GDEXP_REQUIRE_ALL=1 says that it must not be")
    pytest.skip(f"needs {what}")


def first_quick(cases: Iterable[Any], quick: int) -> list[Any]:
    """Cases of a parametrized test, of which all but the first ones are slow."""
    listed = [case if isinstance(case, tuple) else (case,) for case in cases]
    marks = [()] * quick + [(pytest.mark.slow,)] * len(listed)
    return [pytest.param(*case, marks=mark) for case, mark in zip(listed, marks, strict=False)]


# Commands


def clean_environment() -> dict[str, str]:
    """The environment without the settings of MLflow, Hydra and OpenMP, and without passwords."""
    others = ("MLFLOW_", "HYDRA_", "OMP_", "GDEXP_CREDENTIALS")
    return {k: v for k, v in os.environ.items() if not k.startswith(others)}


def process(*args: str, cwd: Path | None = None, **env: str) -> Ended:
    """``python -m gdexp ARGS`` as a process of its own."""
    return python("-m", "gdexp", *args, cwd=cwd, **env)


def python(*args: str, cwd: Path | None = None, **env: str) -> Ended:
    """``python ARGS`` as a process of its own, waited for."""
    done = subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean_environment() | env,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def eventually(true: Callable[[], Any]) -> Any:
    """The first value that is true; asks again and again."""
    deadline = time.monotonic() + PATIENCE
    while not (value := true()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return value


# Tables


def csv_refusal(folder: Path, content: str | bytes, settings: dict[str, object]) -> str:
    """The sentence with which a file t.csv of this content is refused."""
    from gdexp import data
    from gdexp.errors import ConfigError

    (folder / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as refused:
        data.csv(**({"path": "t.csv", "target": "y"} | settings)).load()  # type: ignore[arg-type]
    return str(refused.value)


# The tree of processes


def children(of: int | None = None) -> set[int]:
    """All living descendants of a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it has just ended
                continue
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    known, fresh = set(), {of or os.getpid()}
    while fresh:
        known |= fresh
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - known
    return known - {of or os.getpid()}


def workers_of(of: int) -> set[int]:
    """The processes below one that are loky's or busy Ray's workers, by their command lines."""
    marks = ("popen_loky", "ray::timed")
    return {pid for pid in children(of) if any(mark in command(pid) for mark in marks)}


def of_session(leader: int) -> list[str]:
    """The commands of a terminal session's living processes, orphans too."""
    commands = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            state, _, _, session_id = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if state != "Z" and int(session_id) == leader:
                commands.append(command(int(entry.name)))
    return commands


def command(pid: int) -> str:
    """A process's command line; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


# The store's records


def client(folder: Path) -> MlflowClient:
    """A client of the store in a working folder."""
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{folder}/outputs/mlflow.db")


def runs(opened: MlflowClient, experiment: str = "gdexp") -> list[Run]:
    """All runs of an experiment, oldest first."""
    found = opened.get_experiment_by_name(experiment)
    assert found is not None
    return opened.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"])


def last(opened: MlflowClient, experiment: str = "gdexp") -> Run:
    """The run that started last."""
    return runs(opened, experiment)[-1]


def curve(opened: MlflowClient, run_id: str, name: str) -> dict[int, float]:
    """A metric's values by step."""
    return {m.step: m.value for m in opened.get_metric_history(run_id, name)}


def artifact(opened: MlflowClient, run_id: str, name: str) -> Path:
    """The path of a run's artifact."""
    return Path(opened.download_artifacts(run_id, name))


def newest_checkpoints() -> Path:
    """The folder of the checkpoints that were written last, from the working folder."""
    return max(Path("outputs/checkpoints").iterdir(), key=lambda folder: folder.name)


def refused(cli: CLI, *typed: str) -> str:
    """The sentence with which a command is refused, having changed no file."""
    before = sorted(Path().rglob("*"))
    ended = cli(*typed)
    assert (ended.code, ended.out) == (2, "")
    assert sorted(Path().rglob("*")) == before
    assert ended.err.startswith("gdexp: ")
    return ended.err.removeprefix("gdexp: ").rstrip("\n")

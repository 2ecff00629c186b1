"""The folder ``shards`` of a sweep, through which its tasks tell of their runs.

The records of the runs are in ``outputs/spool``, where every command can deliver them. Here is what
the process that waits for the tasks prints and returns: results without their data, in files that a
task writes every second or so. They also tell a task that is started again which runs are done.
"""

from __future__ import annotations

import os
import pickle
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from hydra.core.utils import JobReturn, JobStatus

from gdexp.config.job import Job
from gdexp.config.paths import write_whole
from gdexp.descent.result import Result
from gdexp.descent.trajectory import Trajectory
from gdexp.errors import ConfigError
from gdexp.sweep.progress import Tally

NAME = "shards"
DELAY = 1.0  # seconds for which a run waits for others to share its file
DYING = 5.0  # seconds for which a task may outlive the process that started it


class Ended(NamedTuple):
    """A run that has ended in a task.

    Attributes:
        number: the job's number.
        result: its result, without job, data and predictor; None if it failed.
        failure: why it failed, or "".
    """

    number: int
    result: Result | None
    failure: str


@dataclass(frozen=True)
class Exchange:
    """The folder, as the tasks of one launch use it.

    Args:
        folder: where it is.
        launch: the id of the launch.
    """

    folder: Path
    launch: str

    @classmethod
    def opened(cls, folder: Path) -> Exchange:
        """Begin a launch in this folder; what an earlier one has left is removed."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        exchange = cls(folder, uuid4().hex)
        exchange.announce("")
        return exchange

    def announce(self, cancel: str) -> None:
        """Name the launch, which all other launches have then been superseded by.

        Args:
            cancel: the command that cancels its tasks, or "".
        """
        write_whole(self.folder / "launch", f"{self.launch}\n{cancel}".encode())

    def is_current(self) -> bool:
        """Whether no later launch has superseded this one."""
        return _announced(self.folder)[0] == self.launch

    @contextmanager
    def locked(self, shard: int) -> Iterator[None]:
        """Hold the lock of a shard while it is computed.

        Raises:
            TimeoutError: another task computes it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / f"{shard}.lock", timeout=DYING)
        try:
            lock.acquire()
        except Timeout as error:
            raise TimeoutError(f"another task computes shard {shard}") from error
        except (OSError, NotImplementedError):  # a file system without locks
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def files(self, shard: int | None = None) -> list[Path]:
        """The files that the tasks of all shards, or of one, have written so far."""
        with suppress(OSError):  # lets a network file system look again
            self.folder.chmod(self.folder.stat().st_mode)
        which = "*" if shard is None else f"{shard}"
        return sorted(self.folder.glob(f"{self.launch}-{which}-*.pickle"))

    def write(self, shard: int, runs: list[Ended]) -> None:
        """Write a file of runs that have ended."""
        name = f"{self.launch}-{shard}-{time.time_ns():020d}-{os.getpid()}.pickle"
        write_whole(self.folder / name, pickle.dumps(runs))

    def close(self) -> None:
        """Remove the folder: all tasks have ended, and what they told is known."""
        shutil.rmtree(self.folder, ignore_errors=True)


def read(path: Path) -> list[Ended]:
    """The runs in a file of a task; none if the machine went down while it was written."""
    try:
        runs: list[Ended] = pickle.loads(path.read_bytes())
        return runs
    except Exception:  # a damaged file may raise anything
        return []


def _announced(folder: Path) -> tuple[str, str]:
    """The current launch, and the command that cancels its tasks."""
    try:
        launch, _, cancel = (folder / "launch").read_text().partition("\n")
    except OSError:
        return "", ""
    return launch, cancel


def check_ended(folder: Path, sweep_id: str) -> None:
    """Refuse to resume a sweep whose tasks are still running; waits a moment for dying ones.

    Raises:
        ConfigError: a task is running.
    """
    from filelock import FileLock, Timeout

    cancel = _announced(folder)[1]
    for path in sorted(folder.glob("*.lock")):
        try:
            with FileLock(path, timeout=DYING):
                pass
        except Timeout as error:
            advice = f"Wait for them, or cancel them: {cancel}" if cancel else "Wait for them"
            raise ConfigError(
                f"sweep.resume: tasks of {sweep_id} are still running. {advice}."
            ) from error
        except (OSError, NotImplementedError):  # a file system without locks
            return


class Report(Tally):
    """Tells the waiting process of the runs that have ended in this task.

    Args:
        exchange: the folder.
        shard: the number of the shard.
    """

    def __init__(self, exchange: Exchange, shard: int) -> None:
        super().__init__(0)
        self._exchange, self._shard = exchange, shard
        self._runs: list[Ended] = []
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def ended(self, job: Job, returned: JobReturn, result: Result | None = None) -> None:
        """Report a run that has ended."""
        failure = str(returned._return_value) if returned.status is JobStatus.FAILED else ""
        if failure:
            self.failures.append((" ".join(job.typed), failure))
        assert job.number is not None
        with self._lock:
            self._runs.append(Ended(job.number, result and _without_data(result), failure))
            if self._timer is None:
                self._timer = threading.Timer(DELAY, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write what has been reported and is not written yet."""
        with self._lock:
            runs, self._runs = self._runs, []
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if runs:
                self._exchange.write(self._shard, runs)


def _without_data(result: Result) -> Result:
    """A result that can be pickled, and is not larger than its trajectory."""
    ran = result.trajectory
    names = tuple(ran.measures)
    table = Trajectory.of(ran.table.copy(), ran.names, ran.length, ran.diverged, names)
    return replace(result, trajectory=table, job=None, data=None, fitted=None)

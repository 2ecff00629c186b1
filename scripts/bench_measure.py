"""The rows of the benchmark: two sides timed side by side, and a target."""

from __future__ import annotations

import functools
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_INHERITED = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_NAME", "PYTHONPATH"),
    "PYTHONDONTWRITEBYTECODE",  # with it, every process would compile gdexp anew
)


@dataclass(frozen=True)
class Target:
    """A bound on the ratio ours / theirs of two times, or on an amount of some unit.

    >>> Target(at_most=1.05).shown(0.87), Target(times_faster=50).shown(1 / 63)
    ('0.87x', '63x faster')
    >>> str(Target(at_most=60, unit=" ns")), Target(unit=" s").shown(5.25), str(Target(unit=" s"))
    ('<= 60 ns', '5.25 s', 'none')
    """

    at_most: float = 0
    times_faster: float = 0
    unit: str = "x"

    def __str__(self) -> str:
        if self.times_faster:
            return f">= {self.times_faster:g}x faster"
        return f"<= {self.at_most:g}{self.unit}" if self.at_most else "none"

    def verdict(self, value: float, wrong: str) -> str:
        """``ok`` if the unrounded value is within the bound and nothing is wrong, else ``miss``."""
        bound = 1 / self.times_faster if self.times_faster else self.at_most
        if wrong or not bound:
            return "miss" if wrong else ""
        return "ok" if value <= bound else "miss"

    def shown(self, value: float) -> str:
        """The ratio or amount, worded as the target."""
        return f"{1 / value:.3g}x faster" if self.times_faster else f"{value:.2f}{self.unit}"


@dataclass(frozen=True)
class Measured:
    """A ratio ours / theirs or an amount, how it was measured, and an error, if any."""

    value: float
    how: str
    wrong: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: our side.
        against: their side; "-" if an amount is measured.
        target: the bound.
        measure: times both sides; raises UnavailableError if it cannot.
    """

    what: str
    against: str
    target: Target
    measure: Callable[[Bench], Measured]


class UnavailableError(Exception):
    """A row cannot be measured here; the message says how to enable it."""


@dataclass(frozen=True)
class Bench:
    """The folder for a row's files, and how thoroughly to measure."""

    folder: Path
    quick: bool
    long: bool

    def rounds(self, full: int) -> int:
        """The number of times to measure both sides."""
        return 1 if self.quick else full

    def size(self, full: int) -> int:
        """The number of rows or iterations of a long computation: a hundredth for a rough look."""
        return full // 100 if self.quick else full

    def process(self, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``python *words`` in a folder.

        Raises:
            RuntimeError: the process failed.
        """
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=cwd, env=_environment(), capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr}")
        return done

    def seconds(self, cwd: Path, *words: str) -> float:
        """The seconds that a process ``python *words`` takes."""
        return clocked(lambda: self.process(cwd, *words))

    def cpu_seconds(self, cwd: Path, *words: str) -> float:
        """The CPU seconds that a process ``python *words`` takes, with its own processes."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.process(cwd, *words)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def imported(self, cwd: Path, names: Sequence[str], *words: str) -> list[str]:
        """Which of these packages ``python *words`` imports."""
        log = self.process(cwd, "-X", "importtime", *words).stderr
        return [name for name in names if re.search(rf"\| +{name}$", log, re.MULTILINE)]

    def empty(self, name: str) -> Path:
        """A new, empty folder."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def with_store(self, name: str) -> Path:
        """A new folder that contains a SQLite store, outputs/mlflow.db."""
        path = self.empty(name)
        shutil.copytree(_template(self), path, dirs_exist_ok=True)
        return path


@functools.cache
def _template(bench: Bench) -> Path:
    path = bench.empty("template")
    bench.process(path, "-m", "gdexp", "iters=1")
    return path


def _environment() -> dict[str, str]:
    """The environment of every process: this checkout, no telemetry, the default store."""
    kept = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
    return kept | {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}


def clocked(work: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cpu_clocked(work: Callable[[], object]) -> float:
    """The CPU seconds that a call takes, of all threads."""
    started = time.process_time()
    work()
    return time.process_time() - started


@dataclass(frozen=True)
class Medians:
    """The median seconds of both sides of a row.

    Attributes:
        ours: our side.
        theirs: their side.
        rounds: how often each side was measured.
    """

    ours: float
    theirs: float
    rounds: int

    @property
    def ratio(self) -> float:
        """Ours / theirs."""
        return self.ours / self.theirs

    def __str__(self) -> str:
        times = f"{self.ours:.2f} s and {self.theirs:.2f} s"
        return f"{times}, medians of {self.rounds} interleaved pairs of processes"


def interleaved(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int, warm: bool = True
) -> Medians:
    """Measure both sides in pairs, back to back, in alternating order.

    Args:
        ours: runs our side and returns its time.
        theirs: runs their side and returns its time.
        rounds: the number of pairs.
        warm: whether to run both sides once beforehand, unmeasured; never for a single round.
    """
    if warm and rounds > 1:
        ours(), theirs()
    times: tuple[list[float], list[float]] = [], []
    for turn in range(rounds):
        for side in ((1, 0), (0, 1))[turn % 2]:
            times[side].append((ours, theirs)[side]())
    return Medians(*map(statistics.median, times), rounds)


def side_by_side(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int, warm: bool = True
) -> float:
    """The ratio of the medians of :func:`interleaved`."""
    return interleaved(ours, theirs, rounds, warm).ratio
